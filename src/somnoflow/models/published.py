"""NeuroNet's published checkpoints (repository dlcjfgmlnasa/NeuroNet) and ours, both ways.

A published checkpoint is a torch file with the state of the authors' class (`model_state`) and the
arguments that it was built with (`model_parameter`). Both models compute the same; what differs:

- names, see `published_name`;
- convolutions: theirs have one dimension, ours two, the first of size 1;
- positions: theirs hold those of CLS too, which are zero, and are made on a grid one wide, so half
  of their values are the same everywhere. Ours are part of the state and take over any others;
- `projectors_bn`, which the authors build and never call, is left out here and written as new.

What the authors' class has no argument for takes its published value: the sizes of the frame
backbone, the hybrid objective, `stop_gradient` no and `mask_block` 1.
"""

import pickle
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from somnoflow.io.atomic import atomic
from somnoflow.models.errors import WeightsError
from somnoflow.models.neuronet import NeuroNet, whole
from somnoflow.models.pretrained import load_neuronet
from somnoflow.models.weights import write_weights

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
BACKBONE = {"stem": 32, "stem_stride": 2, "channels": [32, 32, 48, 64], "strides": [1, 1, 2, 2]}

CLS_POSITION = "autoencoder.pos_embed"
UNUSED = "projectors_bn"
TORCH_SUFFIXES = (".pth", ".pt", ".ckpt")
ZIP = b"PK\x03\x04"  # how files of torch begin
HEADER = 8  # bytes of a safetensors file before its header, which is JSON
MOST = 3


def convert(source: Path, to: Path, *, channel: str | None = None) -> str:
    """Convert a published checkpoint to an encoder of ours, or an encoder to a checkpoint.

    Parameters
    ----------
    source
        Either of the two; its content decides, not its name.
    to
        File to write: `.safetensors` for an encoder; `.pth`, `.pt` or `.ckpt` for a checkpoint.
    channel
        What a published encoder was trained on, such as `EEG_C4`; its file does not say.

    Returns
    -------
    One line that says what was written.

    Raises
    ------
    WeightsError
        When the file is neither, is damaged, or does not fit, or `to` is there already; the
        message names the numbers.
    OSError
        When a file cannot be read or written.
    """
    published = _is_published(source)
    wanted = (".safetensors",) if published else TORCH_SUFFIXES
    if to.suffix not in wanted:
        raise WeightsError(
            f"{source} would become {'an encoder' if published else 'a published checkpoint'}, "
            f"found --to {to.name}, wanted a name that ends in {' or '.join(wanted)}"
        )
    if to.exists():
        raise WeightsError(f"{to} is there already. Wanted: a new name after --to")
    made = _to_encoder(source, to, channel) if published else _to_checkpoint(source, to)
    return f"{to}: {made}"


def _is_published(source: Path) -> bool:
    """Tell a torch file from a safetensors file by how it begins."""
    with source.open("rb") as file:
        begins = file.read(HEADER + 1)
    if begins.startswith(ZIP):
        return True
    if begins[HEADER:] != b"{":
        raise WeightsError(
            f"{source} has {source.stat().st_size} bytes and is neither a torch file nor a "
            f"safetensors file: it begins with {begins!r}. Wanted: a published checkpoint, saved "
            "by torch 1.6 or newer (older ones can be loaded and saved again), or an encoder of "
            "Somnoflow"
        )
    return False


def _to_encoder(source: Path, to: Path, channel: str | None) -> str:
    if channel is None:
        raise WeightsError(
            f"{source} does not say which channel it was trained on. Wanted: --channel, such as "
            "--channel EEG_C4"
        )
    checkpoint = read_checkpoint(source)
    with _naming(source):
        model, about = to_neuronet(checkpoint)
    with atomic(to) as path:
        write_weights(path, model.state_dict(), {**about, "channel": channel})
    return f"an encoder, {_described(model)}, for {channel}"


def _to_checkpoint(source: Path, to: Path) -> str:
    model, about = _read_encoder(source)
    with _naming(source):
        checkpoint = to_published(model)
    with atomic(to) as path:
        torch.save(checkpoint, path)
    return f"a published checkpoint, {_described(model)}, of {about['channel']}"


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error


def _described(model: NeuroNet) -> str:
    return (
        f"{model.frames} frames of {model.window} samples at {model.sampling_rate} Hz, "
        f"{model.dimension} features"
    )


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a published checkpoint; no object but tensors, numbers, text, lists and maps is made.

    Raises
    ------
    WeightsError
        When the file is damaged, no torch file, or holds objects of other classes.
    """
    if not zipfile.is_zipfile(path):
        raise WeightsError(
            f"{path} has {path.stat().st_size} bytes and ends before its list of contents: an "
            "interrupted download? Fetch it again"
        )
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()  # torch itself does not compare the sums that it writes
    if damaged:
        raise WeightsError(f"{path} is damaged: {damaged} has another sum. Fetch it again")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        raise WeightsError(
            f"{path} holds {found[1] if found else 'objects'}, which could run code when loaded, "
            "and was not loaded. Wanted: tensors, numbers, text, lists and maps only"
        ) from error
    except RuntimeError as error:
        raise WeightsError(
            f"{path} cannot be read: {str(error).splitlines()[0]}. Fetch it again"
        ) from error
    if not isinstance(checkpoint, dict):
        raise WeightsError(
            f"{path} holds a {type(checkpoint).__name__}, wanted a map with model_state and "
            "model_parameter"
        )
    return checkpoint


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
    _require(checkpoint, {"model_state", "model_parameter"}, of="the checkpoint", closed=False)
    model = _build(checkpoint["model_parameter"], checkpoint.get("hyperparameter", {}))
    _check_state(checkpoint["model_state"], wanted=_to_state(model), model=model)
    state = dict(checkpoint["model_state"])
    cls_position = state[CLS_POSITION][:, :1]
    if cls_position.any():
        raise WeightsError(
            f"{CLS_POSITION} of CLS is up to {cls_position.abs().max():.3g}, wanted 0 as the "
            "authors' code makes it: this checkpoint comes from other code"
        )
    state[CLS_POSITION] = state[CLS_POSITION][:, 1:]
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
    other = {name: sizes[name] for name, value in BACKBONE.items() if sizes[name] != value}
    if other:
        raise WeightsError(
            f"the authors' class has a frame backbone of {_shown(BACKBONE)}; found {_shown(other)}"
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
        name = name.replace(".shortcut.", ".downsample.")
        return name.replace("frame_backbone.", "frame_backbone.model.", 1)
    if name.startswith("projection."):
        return name.replace("projection.", "projectors.", 1)
    name = re.sub(r"\b(encoder|decoder)_blocks\.", r"\1_block.", name)
    name = re.sub(r"\bpositions$", "pos_embed", name)
    return "autoencoder." + name.replace("decoder_positions", "decoder_pos_embed")


def _layer(match: re.Match[str]) -> str:
    kernel, block = KERNELS[int(match[1])], int(match[2]) + 1
    return f"layer{kernel}x{kernel}_{block}.0."


def _build(parameter: Mapping[str, Any], hyperparameter: Mapping[str, Any]) -> NeuroNet:
    _require(parameter, set(ARGUMENTS.values()), of="model_parameter", closed=True)
    _require(hyperparameter, set(), of="hyperparameter", closed=False)
    sizes = {ours: parameter[theirs] for ours, theirs in ARGUMENTS.items()}
    for name, value in TRAINED_WITH.items():
        sizes[name] = hyperparameter.get(name, value)
    try:
        rate, step = sizes["sampling_rate"], sizes["frame_step"]
        sizes["frame_step"] = _seconds(step, rate=rate, samples=int(step * rate), cut=whole)
        return NeuroNet(**sizes)
    except (TypeError, ValueError) as error:
        raise WeightsError(f"model_parameter describes no NeuroNet: {error}") from error


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
    positions = state[CLS_POSITION]
    state[CLS_POSITION] = torch.cat([torch.zeros_like(positions[:, :1]), positions], dim=1)
    unused = torch.nn.BatchNorm1d(model.architecture["projection"][-1], affine=False)
    state.update({f"{UNUSED}.{name}": values for name, values in unused.state_dict().items()})
    return state


def _check_state(state: Any, *, wanted: Mapping[str, Tensor], model: NeuroNet) -> None:
    _require(state, set(wanted), of="model_state", closed=True)
    positions = state[CLS_POSITION]
    if isinstance(positions, Tensor) and positions.ndim == 3:
        frames = positions.shape[1] - 1
        if frames != model.frames:
            raise WeightsError(
                f"the weights are of {frames} frames, but model_parameter cuts an epoch of "
                f"{model.samples} samples into {model.frames} frames of {model.window} every "
                f"{model.step}: state and framing are of different models"
            )
    for name, tensor in wanted.items():
        found = state[name]
        if not isinstance(found, Tensor) or found.shape != tensor.shape:
            shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise WeightsError(f"{name} is {shape}, wanted {tuple(tensor.shape)}")
        if not found.isfinite().all():
            raise WeightsError(f"{name} has {int((~found.isfinite()).sum())} values not finite")


def _require(found: Any, wanted: set[str], *, of: str, closed: bool) -> None:
    """Raise unless a map has the wanted names and, where `closed`, no others."""
    if not isinstance(found, Mapping):
        raise WeightsError(f"{of} is a {type(found).__name__}, wanted a map")
    missing = sorted(wanted - set(found))
    unknown = sorted(set(found) - wanted) if closed else []
    if missing or unknown:
        raise WeightsError(
            f"{of} has {len(found)} entries: {len(missing)} of {len(wanted)} are missing"
            f"{_listed(missing)}, {len(unknown)} are unknown{_listed(unknown)}"
        )


def _listed(names: list[str]) -> str:
    more = ", ..." if len(names) > MOST else ""
    return f" ({', '.join(names[:MOST])}{more})" if names else ""


def _shown(sizes: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in sizes.items())


def _read_encoder(path: Path) -> tuple[NeuroNet, dict[str, Any]]:
    try:
        return load_neuronet(path)
    except (ValueError, RuntimeError) as error:
        raise WeightsError(str(error)) from error
