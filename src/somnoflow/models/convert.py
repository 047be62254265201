"""Published checkpoints become encoders of ours, and NeuroNet's encoders published checkpoints."""

from pathlib import Path
from typing import Any

import torch

from somnoflow.io.atomic import atomic
from somnoflow.models.errors import WeightsError
from somnoflow.models.neuronet import NeuroNet
from somnoflow.models.pretrained import load_neuronet
from somnoflow.models.published import to_neuronet, to_published
from somnoflow.models.published_checkpoint import is_torch_file, naming, read_checkpoint
from somnoflow.models.published_synthsleepnet import STATE, to_synthsleepnet
from somnoflow.models.synthsleepnet import KIND
from somnoflow.models.weights import read_about, write_weights

TORCH_SUFFIXES = (".pth", ".pt", ".ckpt")
HEADER = 8  # bytes of a safetensors file before its header, which is JSON


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
    if is_torch_file(source):
        return True
    with source.open("rb") as file:
        begins = file.read(HEADER + 1)
    if begins[HEADER:] != b"{":
        raise WeightsError(
            f"{source} has {source.stat().st_size} bytes and is neither a torch file nor a "
            f"safetensors file: it begins with {begins!r}. Wanted: a published checkpoint, saved "
            "by torch 1.6 or newer (older ones can be loaded and saved again), or an encoder of "
            "Somnoflow"
        )
    return False


def _to_encoder(source: Path, to: Path, channel: str | None) -> str:
    checkpoint = read_checkpoint(source)
    if STATE in checkpoint:
        return _to_fusion(source, to, checkpoint, channel=channel)
    if channel is None:
        raise WeightsError(
            f"{source} does not say which channel it was trained on. Wanted: --channel, such as "
            "--channel EEG_C4"
        )
    with naming(source):
        model, about = to_neuronet(checkpoint)
    with atomic(to) as path:
        write_weights(path, model.state_dict(), {**about, "channel": channel})
    return f"an encoder, {_described(model)}, for {channel}"


def _to_fusion(source: Path, to: Path, checkpoint: dict[str, Any], *, channel: str | None) -> str:
    with naming(source):
        model, about = to_synthsleepnet(checkpoint)
    channels = ", ".join(model.channels)
    if channel is not None:
        raise WeightsError(
            f"{source} is of SynthSleepNet and says itself that it was trained on {channels}. "
            "Wanted: no --channel"
        )
    with atomic(to) as path:
        write_weights(path, model.state_dict(), about)
    return (
        f"SynthSleepNet, {model.frames} frames of each channel at {model.sampling_rate} Hz, "
        f"{model.dimension} features, of {channels}"
    )


def _to_checkpoint(source: Path, to: Path) -> str:
    model, about = _read_encoder(source)
    with naming(source):
        checkpoint = to_published(model)
    with atomic(to) as path:
        torch.save(checkpoint, path)
    return f"a published checkpoint, {_described(model)}, of {about['channel']}"


def _described(model: NeuroNet) -> str:
    return (
        f"{model.frames} frames of {model.window} samples at {model.sampling_rate} Hz, "
        f"{model.dimension} features"
    )


def _read_encoder(path: Path) -> tuple[NeuroNet, dict[str, Any]]:
    try:
        if read_about(path, kind=("neuronet", KIND))["kind"] == KIND:
            raise WeightsError(
                f"{path} is SynthSleepNet, whose adapters are folded into its weights; the "
                "published layout wants them apart. Wanted: an encoder of NeuroNet, which can be "
                "converted both ways"
            )
        return load_neuronet(path)
    except (ValueError, RuntimeError) as error:
        raise WeightsError(str(error)) from error
