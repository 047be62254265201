"""NeuroNet's published checkpoints and ours, both ways.

They come from two repositories, dlcjfgmlnasa/NeuroNet and dlcjfgmlnasa/SynthSleepNet, whose classes
have the same arguments; the second has a larger frame backbone with squeeze and excitation, by
which its checkpoints are known, and trains positions.

A published checkpoint is a torch file with the state of the authors' class (`model_state`) and the
arguments that it was built with (`model_parameter`). Both models compute the same; what differs:

- names, see `published_name`;
- convolutions: theirs have one dimension, ours two, the first of size 1;
- positions: theirs hold those of CLS too, which are zero where they are not trained, and are made
  on a grid one wide, so half of their values are the same everywhere. Ours are part of the state
  and take over any others;
- `projectors_bn`, which the authors build and never call, is left out here and written as new.

What the authors' class has no argument for takes its published value: the sizes of the frame
backbone, the hybrid objective, `stop_gradient` no and `mask_block` 1.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from somnoflow.models.errors import WeightsError
from somnoflow.models.neuronet import NeuroNet, whole
from somnoflow.models.published_checkpoint import require_entries, require_tensors

KERNELS = (3, 5, 7)
# Ours: the authors'.
ARGUMENTS = {
    "sampling_rate": "fs",
    "epoch_seconds": "second",
    "frame_window": "time_window",
    "frame_step": "time_step",
    "encoder_dim": "encoder_embed_dim",
    "encoder_heads": "encoder_heads",
    "encoder_blocks": "encoder_depths",
    "decoder_dim": "decoder_embed_dim",
    "decoder_heads": "decoder_heads",
    "decoder_blocks": "decoder_depths",
    "projection": "projection_hidden",
    "temperature": "temperature",
}
# Kept by the authors among `hyperparameter`, if at all: their class does not take them.
TRAINED_WITH = {"mask_ratio": 0.8, "alpha": 1.0}
BACKBONE: dict[str, Any] = {
    "stem": 32, "stem_stride": 2, "channels": [32, 32, 48, 64], "strides": [1, 1, 2, 2],
    "squeeze": None,
}  # fmt: skip
SQUEEZED_BACKBONE: dict[str, Any] = {
    "stem": 64, "stem_stride": 2, "channels": [64, 128, 128, 256], "strides": [1, 1, 2, 2],
    "squeeze": 16,
}  # fmt: skip

POSITIONS = "autoencoder.pos_embed"
CLS_POSITION = "autoencoder.cls_position"  # ours alone: theirs is the first of the positions
SQUEEZED = "frame_backbone.model.layer3x3_1.0.se.fc.0.weight"
UNUSED = "projectors_bn"


def to_neuronet(checkpoint: Mapping[str, Any]) -> tuple[NeuroNet, dict[str, Any]]:
    """Build our model with the weights of a published checkpoint.

    Parameters
    ----------
    checkpoint
        With `model_state` and `model_parameter`; `mask_ratio` and `alpha` are taken from
        `hyperparameter` where they are, and else have their published values.

    Returns
    -------
    model : NeuroNet
        On the CPU.
    about : dict
        Its description as `pretrained.load_neuronet` reads it, but for `channel`.

    Raises
    ------
    WeightsError
        When keys, arguments or tensors are missing, unknown or of another shape.
    """
    require_entries(checkpoint, {"model_state", "model_parameter"}, of="the checkpoint")
    state = checkpoint["model_state"]
    model = _build(
        checkpoint["model_parameter"],
        checkpoint.get("hyperparameter", {}),
        squeezed=isinstance(state, Mapping) and SQUEEZED in state,
    )
    _check_state(state, wanted=_to_state(model), model=model)
    positions = state[POSITIONS]
    if model.cls_position is None and positions[:, 0].any():
        raise WeightsError(
            f"{POSITIONS} of CLS is up to {positions[:, 0].abs().max():.3g}, wanted 0 as the "
            "authors' code makes it: this checkpoint comes from other code"
        )
    state = {**state, POSITIONS: positions[:, 1:], CLS_POSITION: positions[:, :1]}
    model.load_state_dict(
        {
            name: state[published_name(name)].reshape(values.shape)
            for name, values in model.state_dict().items()
        }
    )
    about = {
        "kind": "neuronet",
        "preset": "published",
        "architecture": model.architecture,
        "sampling_rate": model.sampling_rate,
        "best_pass": None,  # the file does not say
    }
    return model, about


def to_published(model: NeuroNet) -> dict[str, Any]:
    """Give the published checkpoint of a model: what the authors' class and scripts read.

    Raises
    ------
    WeightsError
        When the authors' class cannot hold it: another frame backbone, or an epoch or a frame
        that does not last whole seconds.
    """
    sizes = model.architecture
    backbone = BACKBONE if sizes["squeeze"] is None else SQUEEZED_BACKBONE
    other = {name: sizes[name] for name, value in backbone.items() if sizes[name] != value}
    if other:
        raise WeightsError(
            f"the authors' class has a frame backbone of {_shown(backbone)}; found {_shown(other)}"
        )
    parameter = {theirs: sizes[ours] for ours, theirs in ARGUMENTS.items()}
    for name in ("second", "time_window"):
        if parameter[name] != int(parameter[name]):
            raise WeightsError(f"the authors' {name} is in whole seconds, found {parameter[name]}")
        parameter[name] = int(parameter[name])
    parameter["time_step"] = _seconds(
        sizes["frame_step"], rate=model.sampling_rate, samples=model.step, cut=int
    )
    return {
        "model_name": "NeuroNet",
        "model_state": _to_state(model),
        "model_parameter": parameter,
        "hyperparameter": {
            "sfreq": model.sampling_rate,
            "rfreq": model.sampling_rate,
            **{name: sizes[name] for name in TRAINED_WITH},
        },
    }


def published_name(name: str) -> str:
    """Give the authors' name of one of our tensors.

    >>> published_name("frame_backbone.branches.1.0.shortcut.0.weight")
    'frame_backbone.model.layer5x5_1.0.downsample.0.weight'
    >>> published_name("encoder_blocks.3.attn.qkv.bias")
    'autoencoder.encoder_block.3.attn.qkv.bias'
    """
    if name.startswith("frame_backbone.feature_layer."):
        return name
    if name.startswith("frame_backbone."):
        name = re.sub(r"\bbranches\.(\d+)\.(\d+)\.", _layer, name)
        name = name.replace(".shortcut.", ".downsample.").replace(".squeeze.", ".se.fc.")
        return name.replace("frame_backbone.", "frame_backbone.model.", 1)
    if name.startswith("projection."):
        return name.replace("projection.", "projectors.", 1)
    name = re.sub(r"\b(encoder|decoder)_blocks\.", r"\1_block.", name)
    name = re.sub(r"\bpositions$", "pos_embed", name)
    return "autoencoder." + name.replace("decoder_positions", "decoder_pos_embed")


def _layer(match: re.Match[str]) -> str:
    kernel, block = KERNELS[int(match[1])], int(match[2]) + 1
    return f"layer{kernel}x{kernel}_{block}.0."


def _build(
    parameter: Mapping[str, Any], hyperparameter: Mapping[str, Any], *, squeezed: bool
) -> NeuroNet:
    require_entries(parameter, set(ARGUMENTS.values()), of="model_parameter", closed=True)
    require_entries(hyperparameter, set(), of="hyperparameter")
    sizes = {ours: parameter[theirs] for ours, theirs in ARGUMENTS.items()}
    for name, value in TRAINED_WITH.items():
        sizes[name] = hyperparameter.get(name, value)
    return build_neuronet(sizes, squeezed=squeezed, of="model_parameter")


def build_neuronet(sizes: Mapping[str, Any], *, squeezed: bool, of: str) -> NeuroNet:
    """Build our NeuroNet of the authors' sizes, under our names of them.

    Parameters
    ----------
    sizes
        Arguments of `NeuroNet`, without those of the frame backbone.
    squeezed
        Whether it is one of SynthSleepNet's.
    of
        What describes it, for messages.

    Raises
    ------
    WeightsError
        When the sizes are those of no model.
    """
    try:
        rate, step = sizes["sampling_rate"], sizes["frame_step"]
        cut = _seconds(step, rate=rate, samples=int(step * rate), cut=whole)
        backbone = SQUEEZED_BACKBONE if squeezed else BACKBONE
        return NeuroNet(**{**sizes, "frame_step": cut}, **backbone, trainable_positions=squeezed)
    except (TypeError, ValueError) as error:
        raise WeightsError(f"{of} describes no NeuroNet: {error}") from error


def _seconds(seconds: float, *, rate: int, samples: int, cut: Callable[[float], int]) -> float:
    """Give `seconds`, or others where `cut` would not find the `samples` that were meant.

    The authors cut 0.29 s x 100 Hz = 28.999... down to 28 samples, we to 29.
    """
    return seconds if cut(seconds * rate) == samples else (samples + 0.5) / rate


def _to_state(model: NeuroNet) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    for name, values in model.state_dict().items():
        theirs = values.squeeze(2) if values.ndim == 4 else values
        state[published_name(name)] = theirs.clone(memory_format=torch.contiguous_format)
    positions = state[POSITIONS]
    cls_position = state.pop(CLS_POSITION, torch.zeros_like(positions[:, :1]))
    state[POSITIONS] = torch.cat([cls_position, positions], dim=1)
    unused = torch.nn.BatchNorm1d(model.architecture["projection"][-1], affine=False)
    state.update({f"{UNUSED}.{name}": values for name, values in unused.state_dict().items()})
    return state


def _check_state(state: Any, *, wanted: Mapping[str, Tensor], model: NeuroNet) -> None:
    require_entries(state, set(wanted), of="model_state", closed=True)
    positions = state[POSITIONS]
    if isinstance(positions, Tensor) and positions.ndim == 3:
        require_frames(positions.shape[1] - 1, model=model, of="model_parameter")
    require_tensors(state, wanted=wanted)


def require_frames(found: int, *, model: NeuroNet, of: str) -> None:
    """Raise `WeightsError` unless weights of `found` frames fit the framing that `of` tells."""
    if found != model.frames:
        raise WeightsError(
            f"the weights are of {found} frames, but {of} cuts an epoch of {model.samples} samples "
            f"into {model.frames} frames of {model.window} every {model.step}: state and framing "
            "are of different models"
        )


def _shown(sizes: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in sizes.items())
