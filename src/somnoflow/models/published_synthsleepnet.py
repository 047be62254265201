"""SynthSleepNet's published checkpoints (repository dlcjfgmlnasa/SynthSleepNet) become ours.

A published checkpoint is a torch file with the state of the authors' class, its encoders adapted by
peft (`multimodal_model_state`), the arguments of encoders, fusion and adapters
(`unimodal_parameter`, `multimodal_parameter`, `lora_parameter`), and the channels (`ch_names`).
Both models compute the same embedding; what differs:

- names, see `published_name`, and those of the channels;
- adapters: theirs stand beside the frozen weights, here they are folded in, W + scale B A with
  scale = alpha / sqrt(rank), so that our file needs no peft;
- encoders, as in `published.py`; their decoders are not in the file, so ours are said to have the
  published sizes, which no embedding depends on;
- `cls_token` of the fusion, which the authors' code never uses, is left out.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from somnoflow.models.errors import WeightsError
from somnoflow.models.neuronet import NeuroNet
from somnoflow.models.published import ARGUMENTS, build_neuronet, require_frames
from somnoflow.models.published import published_name as published_encoder_name
from somnoflow.models.published_checkpoint import require_entries, require_tensors
from somnoflow.models.synthsleepnet import SynthSleepNet, describe_synthsleepnet

STATE = "multimodal_model_state"
KEYS = {STATE, "unimodal_parameter", "multimodal_parameter", "lora_parameter", "ch_names"}
# The authors': ours.
CHANNELS = {
    "EEG_C4": "EEG_C4", "EEG_C3": "EEG_C3", "EOG_Left": "EOG_L", "EOG_Right": "EOG_R",
    "EMG": "EMG_CHIN", "EMG_Chin": "EMG_CHIN", "ECG": "ECG", "Airflow": "AIRFLOW",
}  # fmt: skip
# Ours: the authors'.
UNIMODAL = {
    name: ARGUMENTS[name]
    for name in (
        "sampling_rate", "epoch_seconds", "frame_window", "frame_step",
        "encoder_dim", "encoder_heads", "encoder_blocks",
    )
}  # fmt: skip
FUSION = {
    name: ARGUMENTS[name]
    for name in (
        "encoder_dim", "encoder_heads", "encoder_blocks",
        "decoder_dim", "decoder_heads", "decoder_blocks", "projection", "temperature",
    )
}  # fmt: skip
FITTED = {"backbone_embed_dim", "num_backbone_frames"}  # to the encoders
LORA = {"lora_r", "lora_alpha", "lora_dropout"}
TRAINED_WITH = {"mask_ratio": 0.4, "alpha": 1.0}

UNUSED = "cls_token"
ADAPTED = re.compile(r"encoders\.\w+\.encoder_blocks\.\d+\.attn\.proj\.(weight|bias)")
ENCODER = re.compile(r"encoders\.(\w+)\.(.+)")
POSITION = re.compile(r"(encoders\.\w+\.)(positions|cls_position)")
# Ours: theirs, of names that go on with a channel; the layers between hold no weights.
BY_CHANNEL = {
    "modality_tokens": "modal_token_dict",
    "decoder_blocks": "multimodal_decoder_block_dict",
    "decoder_pred": "multimodal_decoder_pred_dict",
    "unimodal_projection": "backbone_projector_dict",
}
SHARED = {
    "positions": "multimodal_encoder_pos_embed",
    "encoder_blocks": "multimodal_encoder_block",
    "encoder_norm": "multimodal_encoder_norm",
    "decoder_positions": "multimodal_decoder_pos_embed",
    "decoder_norm": "multimodal_decoder_norm",
    "fusion_projection": "fusion_projector",
    "decoder_embed": "decoder_embed",
    "mask_token": "mask_token",
}
EMBEDDING_LAYERS = {"0": "0", "1": "2", "3": "5"}


def to_synthsleepnet(checkpoint: Mapping[str, Any]) -> tuple[SynthSleepNet, dict[str, Any]]:
    """Build our model with the weights of a published checkpoint.

    Parameters
    ----------
    checkpoint
        With `KEYS`; `mask_ratio` and `alpha` are taken from `hyperparameter` where they are, and
        else have their published values.

    Returns
    -------
    model : SynthSleepNet
        On the CPU, without adapters.
    about : dict
        Its description as `load_synthsleepnet` reads it.

    Raises
    ------
    WeightsError
        When keys, arguments, channels or tensors are missing, unknown or of another shape.
    """
    require_entries(checkpoint, KEYS, of="the checkpoint")
    theirs = read_channels(checkpoint["ch_names"])
    lora = checkpoint["lora_parameter"]
    require_entries(lora, LORA, of="lora_parameter", closed=True)
    rank, alpha = lora["lora_r"], lora["lora_alpha"]
    if not (isinstance(rank, int) and rank > 0):
        raise WeightsError(f"lora_r is {rank!r}, wanted a rank, such as 4")
    if not isinstance(alpha, int | float):
        raise WeightsError(f"lora_alpha is {alpha!r}, wanted a number, such as 16")
    model = _build(checkpoint, channels=list(theirs))
    state = checkpoint[STATE]
    wanted = _layout(model, theirs=theirs, rank=rank)
    require_entries(state, set(wanted), of=STATE, closed=True)
    require_tensors(state, wanted=wanted)
    scale = alpha / math.sqrt(rank)  # rank-stabilised, as published
    model.load_state_dict(
        {
            name: _tensor(name, state=state, theirs=theirs, scale=scale)
            .to(values.dtype)
            .reshape(values.shape)
            .clone()
            for name, values in model.state_dict().items()
        },
        assign=True,
    )
    about = {"preset": "published", "channel": "published", "best_pass": None}
    return model, describe_synthsleepnet(model, about)


def read_channels(names: Any) -> dict[str, str]:
    """Give the authors' name of each of our channels, in the order of the checkpoint.

    Raises
    ------
    WeightsError
        When there is none, one is unknown, or two are the same.
    """
    known = ", ".join(CHANNELS)
    if not isinstance(names, list | tuple) or not names:
        raise WeightsError(f"ch_names is {names!r}, wanted a list of channels, of: {known}")
    unknown = [name for name in names if name not in CHANNELS]
    if unknown:
        raise WeightsError(f"ch_names has {', '.join(map(str, unknown))}; known are {known}")
    theirs = {CHANNELS[name]: name for name in names}
    if len(theirs) != len(names):
        raise WeightsError(f"ch_names is {', '.join(names)}, wanted each channel once")
    return theirs


def published_name(name: str, *, theirs: Mapping[str, str]) -> str:
    """Give the authors' name of one of our tensors; `theirs` are their channels by ours.

    >>> published_name("encoders.EOG_L.positions", theirs={"EOG_L": "EOG_Left"})
    'backbone_networks.EOG_Left.base_model.model.pos_embed'
    >>> published_name("embedding.EOG_L.3.bias", theirs={"EOG_L": "EOG_Left"})
    'backbone_embedded.EOG_Left.5.bias'
    """
    if match := ENCODER.fullmatch(name):
        own = published_encoder_name(match[2]).removeprefix("autoencoder.")
        if ADAPTED.fullmatch(name):
            own = own.replace(".proj.", ".proj.base_layer.")
        return f"backbone_networks.{theirs[match[1]]}.base_model.model.{own}"
    first, _, rest = name.partition(".")
    if first in SHARED:
        return ".".join(filter(None, [SHARED[first], rest]))
    channel, _, rest = rest.partition(".")
    if first == "embedding":
        layer, _, rest = rest.partition(".")
        return f"backbone_embedded.{theirs[channel]}.{EMBEDDING_LAYERS[layer]}.{rest}"
    return ".".join(filter(None, [BY_CHANNEL[first], theirs[channel], rest]))


def _build(checkpoint: Mapping[str, Any], *, channels: list[str]) -> SynthSleepNet:
    """Build our model without memory for its weights."""
    unimodal, fusion = checkpoint["unimodal_parameter"], checkpoint["multimodal_parameter"]
    hyperparameter = checkpoint.get("hyperparameter", {})
    require_entries(unimodal, set(UNIMODAL.values()), of="unimodal_parameter", closed=True)
    require_entries(fusion, {*FUSION.values(), *FITTED}, of="multimodal_parameter", closed=True)
    require_entries(hyperparameter, set(), of="hyperparameter")
    sizes = {ours: fusion[name] for ours, name in FUSION.items()}
    for name, value in TRAINED_WITH.items():
        sizes[name] = hyperparameter.get(name, value)
    with torch.device("meta"):
        encoder = build_neuronet(
            {ours: unimodal[name] for ours, name in UNIMODAL.items()},
            squeezed=True,
            of="unimodal_parameter",
        )
        _require_fit(fusion, encoder=encoder)
        try:
            return SynthSleepNet(dict.fromkeys(channels, encoder), **sizes)
        except (TypeError, ValueError) as error:
            raise WeightsError(f"multimodal_parameter describes no fusion: {error}") from error


def _require_fit(fusion: Mapping[str, Any], *, encoder: NeuroNet) -> None:
    require_frames(fusion["num_backbone_frames"], model=encoder, of="unimodal_parameter")
    if fusion["backbone_embed_dim"] != encoder.dimension:
        raise WeightsError(
            f"backbone_embed_dim is {fusion['backbone_embed_dim']}, but the encoders of "
            f"unimodal_parameter give {encoder.dimension} values"
        )


def _layout(model: SynthSleepNet, *, theirs: Mapping[str, str], rank: int) -> dict[str, Tensor]:
    """Give the tensors of a published state, of which only the shapes mean anything."""
    layout: dict[str, Tensor] = {UNUSED: torch.empty(1, 1, model.dimension, device="meta")}
    for name, values in model.state_dict().items():
        shape = list(values.squeeze(2).shape if values.ndim == 4 else values.shape)
        if position := POSITION.fullmatch(name):
            if position[2] == "cls_position":
                continue  # theirs is the first of the positions
            shape[1] += 1
        own = published_name(name, theirs=theirs)
        layout[own] = torch.empty(shape, device="meta")
        if ADAPTED.fullmatch(name) and values.ndim == 2:
            out, into = shape
            layout[_adapter(own, "A")] = torch.empty(rank, into, device="meta")
            layout[_adapter(own, "B")] = torch.empty(out, rank, device="meta")
    return layout


def _tensor(
    name: str, *, state: Mapping[str, Tensor], theirs: Mapping[str, str], scale: float
) -> Tensor:
    """Give the values of one of our tensors."""
    if match := POSITION.fullmatch(name):
        own = published_name(f"{match[1]}positions", theirs=theirs)
        return state[own][:, :1] if match[2] == "cls_position" else state[own][:, 1:]
    own = published_name(name, theirs=theirs)
    if ADAPTED.fullmatch(name) and name.endswith(".weight"):
        change = state[_adapter(own, "B")] @ state[_adapter(own, "A")]
        return state[own] + scale * change
    return state[own]


def _adapter(base: str, which: str) -> str:
    """Give the name of an adapter's matrix from that of the weight beside it."""
    return base.replace(".base_layer.", f".lora_{which}.default.")
