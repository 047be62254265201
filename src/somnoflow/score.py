"""`somnoflow score`: what a trained model says of every epoch of some nights, a CSV for each.

What is decided here:

- The numbers are those that the workflow gives the same night, where it keeps the whole of it.
- An event is said from a probability of 0.5 on, unless another threshold is asked for: the one
  that a fold's validation subjects chose stands with the workflow's predictions.
- Beside each CSV a JSON file says what made it. A CSV that is there is not made again; one that
  another model or other settings made is not taken for it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import torch
from tqdm import tqdm

from somnoflow.config.base import ConfigError
from somnoflow.config.dataset import Reading
from somnoflow.config.pack import Pack
from somnoflow.config.signals import Signals
from somnoflow.io.atomic import atomic, write_json
from somnoflow.io.digest import sha256_file
from somnoflow.models.encoders import load_encoder
from somnoflow.models.errors import WeightsError
from somnoflow.models.heads import Head, load_head
from somnoflow.models.tuned import load_tuned
from somnoflow.models.weights import read_about
from somnoflow.night import Night
from somnoflow.nights import describe_night, do_nights, find_recordings, fit_signals, name_outputs
from somnoflow.stages import EPOCH_SECONDS
from somnoflow.tasks import Task
from somnoflow.training.device import choose_device, prepare
from somnoflow.training.predicting import predict_rows
from somnoflow.training.reading import Floats

THRESHOLD = 0.5
DECIMALS = 6


@dataclass(frozen=True, eq=False)
class Scorer:
    """An encoder of epochs and a head on its features, in evaluation mode.

    Attributes
    ----------
    encoder
        With `sampling_rate` and `samples`; as for `training.encoding.embed_rows`.
    head
        On its features.
    channels
        What the encoder reads.
    device
        Where the encoder computes.
    """

    encoder: Any
    head: Head
    channels: tuple[str, ...]
    device: torch.device

    @property
    def window(self) -> int:
        """Epochs that an answer is told from; 1 of probes."""
        window: int = getattr(self.head, "window", 1)
        return window

    def predict(self, night: Night, *, stride: int) -> Floats:
        """Give the probabilities (n, K) of the n usable epochs of a night."""
        rows = night.rows(scored=False)
        return predict_rows(self.encoder, self.head, night, rows, stride=stride, device=self.device)


def score_nights(
    given: Sequence[Path],
    *,
    model: Path,
    encoder: Path | None,
    out: Path,
    reading: Reading,
    signals: Signals,
    pack: Pack,
    settings_from: str,
    stride: int | None,
    threshold: float | None,
    force: bool,
) -> int:
    """Score every epoch of some recordings, and say of each what was done.

    Parameters
    ----------
    given
        Recordings, and folders with recordings.
    model, encoder
        As for `load_scorer`.
    out
        Folder of the files to write: `<name of the recording>.csv` with the columns of `answers`,
        a JSON file of the same name, and `rejected.tsv`.
    reading, signals, pack
        As for `night.read_night`.
    settings_from
        Where `signals` and `pack` come from, to be said.
    stride
        Step between windows in epochs; a window where None.
    threshold
        Probability from which on an epoch has the event, for models of events.
    force
        Whether files that are there are made again.

    Returns
    -------
    Number of rejected recordings.

    Raises
    ------
    ConfigError
        When a recording is not there, two would become one file, a file is there that was made
        otherwise, or an option does not go with the model; nothing was done then.
    WeightsError
        When the model cannot be used.
    """
    files = name_outputs(find_recordings(given), out=out, suffix=".csv")
    scorer = load_scorer(model, encoder=encoder)
    task = scorer.head.task
    stride = scorer.window if stride is None else stride
    _require_options(scorer, stride=stride, threshold=threshold, of=model)
    if task.rare and threshold is None:
        threshold = THRESHOLD
    rate = scorer.encoder.sampling_rate
    signals = fit_signals(signals, channels=scorer.channels, sampling_rate=rate)
    made_by = {
        "model_sha256": sha256_file(model),
        "encoder_sha256": sha256_file(encoder) if encoder else None,
        "task": task.name,
        "stride": stride,
        "threshold": threshold,
        "reading": reading.model_dump(mode="json"),
        "signals": signals.model_dump(mode="json"),
        "pack": pack.model_dump(mode="json"),
    }
    done = set() if force else _done(files, made_by=made_by)
    tqdm.write(
        f"{model}: {task.name} from {', '.join(scorer.channels)} at {rate} Hz; filters, quality "
        f"and scaling: {settings_from}"
    )

    def make(to: Path, night: Night) -> str:
        probabilities = scorer.predict(night, stride=stride)
        table = answers(night, probabilities, task=task, threshold=threshold)
        # The CSV comes last, and an old one goes first: one that is there is what its JSON says.
        to.unlink(missing_ok=True)
        with atomic(_beside(to)) as path:
            write_json(path, {"made_by": made_by, "night": _about(night)})
        with atomic(to) as path:
            table.write_csv(path)
        return describe_night(night)

    return do_nights(
        files, done=done, out=out, reading=reading, signals=signals, pack=pack, make=make
    )


def load_scorer(model: Path, *, encoder: Path | None) -> Scorer:
    """Rebuild a model from its file, or from those of a head and its encoder.

    Parameters
    ----------
    model
        Weights of a supervised or fine-tuned model, or of a head.
    encoder
        Weights of the encoder that a head was trained on.

    Raises
    ------
    WeightsError
        When a file is damaged or of another kind, or an encoder lacks or is too many.
    """
    device = choose_device(gpus=1)
    prepare(device, threads=torch.get_num_threads())
    try:
        scorer = _load(model, encoder=encoder, device=device)
    except ValueError as error:
        raise WeightsError(str(error)) from error
    found = scorer.encoder.samples / scorer.encoder.sampling_rate
    if found != EPOCH_SECONDS:
        raise WeightsError(
            f"{encoder or model} reads epochs of {found:g} s, wanted {EPOCH_SECONDS} s: epochs "
            "are cut at this length"
        )
    return scorer


def _load(model: Path, *, encoder: Path | None, device: torch.device) -> Scorer:
    kinds = ("head", "stager", "fused_stager", "supervised", "neuronet", "synthsleepnet")
    kind = read_about(model, kind=kinds)["kind"]
    if kind in ("neuronet", "synthsleepnet"):
        raise WeightsError(
            f"{model} is an encoder alone and gives no classes. Wanted: --model with its "
            f"head.safetensors, and --encoder {model}"
        )
    if kind == "head":
        if encoder is None:
            raise WeightsError(
                f"{model} is a head alone. Wanted: the encoder that it was trained on too, with "
                "--encoder"
            )
        encodes, about = load_encoder(encoder)
        head = load_head(model, dimension=encodes.dimension)
        return Scorer(encodes.to(device), head, tuple(about["channels"]), device)
    if encoder is not None:
        raise WeightsError(f"{model} is a whole model. Wanted: no --encoder beside it")
    whole, about = load_tuned(model)
    whole.to(device)
    return Scorer(whole.encoder, whole.head, tuple(about["channels"]), device)


def _require_options(scorer: Scorer, *, stride: int, threshold: float | None, of: Path) -> None:
    if stride > scorer.window:
        raise ConfigError(
            f"--stride is {stride}, wanted at most the {scorer.window} epochs of a window of {of}: "
            "epochs between windows would get no answer"
        )
    if threshold is not None and not scorer.head.task.rare:
        raise ConfigError(f"{of} gives stages, and --threshold is for events. Wanted: without it")


def answers(
    night: Night, probabilities: Floats, *, task: Task, threshold: float | None
) -> pl.DataFrame:
    """Give a row for each epoch of a night; one without a usable signal has no answer.

    Parameters
    ----------
    night
        N epochs, n of them usable.
    probabilities
        (n, K).
    task
        What was asked.
    threshold
        Probability from which on an epoch has the event; the likeliest class is said where None.

    Returns
    -------
    `epoch`, `onset_s` (seconds from the start of the recording), the class's name in the column of
    the task (`stage`, or the event), its probability as `confidence`, and all `probabilities`.
    """
    said = probabilities.argmax(axis=1)
    if threshold is not None:
        said = (probabilities[:, 1] >= threshold).astype(said.dtype)
    confidence = probabilities[range(len(said)), said]
    columns = pl.DataFrame(
        {
            task.column: [task.classes[number] for number in said],
            "confidence": confidence,
            **dict(zip(task.probabilities, probabilities.T, strict=True)),
        },
        schema={
            task.column: pl.String,
            **dict.fromkeys(("confidence", *task.probabilities), pl.Float64),
        },
    ).with_columns(pl.selectors.float().round(DECIMALS))
    rows = pl.Series("epoch", night.rows(scored=False)).cast(pl.Int32)
    return night.table.select("epoch", "onset_s").join(
        columns.with_columns(rows), on="epoch", how="left", maintain_order="left"
    )


def _beside(path: Path) -> Path:
    """Give the file that says what made a CSV."""
    return path.with_suffix(".json")


def _about(night: Night) -> dict[str, Any]:
    return {
        "epochs": len(night),
        "usable": len(night.rows(scored=False)),
        "channels": dict(night.taken),
        "absent": dict(night.absent),
        "remarks": list(night.remarks),
    }


def _done(files: Mapping[Path, Path], *, made_by: Mapping[str, Any]) -> set[Path]:
    """Give the files that are there; raise where one was made otherwise."""
    there = {to for to in files if to.exists()}
    for to in sorted(there):
        if _maker(_beside(to)) != made_by:
            raise ConfigError(
                f"{to} is there already, and another model or other settings made it. Wanted: "
                "another folder after --out, or --force to make it again"
            )
    return there


def _maker(beside: Path) -> Any:
    """Give what a JSON file says of its CSV; None where it is lost or damaged."""
    try:
        return json.loads(beside.read_text(encoding="utf-8"))["made_by"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
