"""A model that scores nights: a bundle, or files of weights, with all that its signals need.

What is decided here:

- The numbers are those that the workflow gives the same night, where it keeps the whole of it; a
  bundle's temperature is applied to them, which changes no answer.
- Recordings of any length are scored that have one whole epoch (`LONGEST_SECONDS` is the most that
  any reader takes): limits of length keep damaged files out of trainings.
- An event is said from a bundle's threshold on, which the validation subjects chose; files of
  weights have none, and 0.5 is taken.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import polars as pl
import torch

from somnoflow.bundles.bundle import DEFAULT, find_bundle, is_bundle, open_bundle, shipped
from somnoflow.config.base import ConfigError
from somnoflow.config.dataset import Reading
from somnoflow.config.pack import Pack
from somnoflow.config.signals import Channel, Electrode, Signals
from somnoflow.evaluate.calibration import apply_temperature
from somnoflow.io.digest import sha256_file
from somnoflow.io.rejection import Rejection
from somnoflow.io.source import SourceRecording
from somnoflow.models.encoders import load_encoder
from somnoflow.models.errors import WeightsError
from somnoflow.models.heads import Head, load_head
from somnoflow.models.tuned import load_tuned
from somnoflow.models.weights import read_about
from somnoflow.night import (
    COMMON_NAMES,
    PACK,
    SIGNALS,
    CutNight,
    Night,
    cut_night,
    scale_night,
    signals_for,
)
from somnoflow.nights import fit_signals
from somnoflow.scoring.hypnogram import Hypnogram
from somnoflow.scoring.montage import Montage, choose_montage
from somnoflow.stages import EPOCH_SECONDS
from somnoflow.tasks import Task
from somnoflow.training.device import choose_device, prepare
from somnoflow.training.predicting import predict_rows
from somnoflow.training.reading import Floats

THRESHOLD = 0.5
DECIMALS = 6
NO_CONFIGURATION = "the defaults, no --configfile was given"


@dataclass(frozen=True, eq=False)
class Settings:
    """How signals become what a model reads, where no bundle says it.

    Attributes
    ----------
    signals, pack
        As for `night.read_night`.
    source
        Where they come from, to be said; None where nobody named any.
    """

    signals: Signals = SIGNALS
    pack: Pack = PACK
    source: str | None = None


@dataclass(frozen=True)
class Choice:
    """What a person may choose beside the model.

    Attributes
    ----------
    reading
        What the labels and units of recordings mean.
    channels
        As `allowed` of `montage.choose_montage`.
    vote
        As there.
    stride
        Step between windows in epochs; the bundle's, or a window, where None.
    threshold
        Probability from which on an epoch has the event; the bundle's, or 0.5, where None.
    """

    reading: Reading = COMMON_NAMES
    channels: tuple[str, ...] | None = None
    vote: bool = True
    stride: int | None = None
    threshold: float | None = None


def make_choice(
    *,
    reading: Reading | None = None,
    names: Mapping[str, str] | None = None,
    channels: Sequence[str] | None = None,
    vote: bool = True,
    stride: int | None = None,
    threshold: float | None = None,
) -> Choice:
    """Make a choice of what a person wrote.

    Parameters
    ----------
    reading
        What labels and units mean; common names are looked up where None.
    names
        Canonical channel or electrode of further labels; they come before those of `reading`.
    channels, vote, stride, threshold
        As in `Choice`.

    Raises
    ------
    ConfigError
        When a channel is not known.
    """
    known = reading or COMMON_NAMES
    meanings = dict(names or {})
    _require_known(meanings.values(), known=(*get_args(Channel), *get_args(Electrode)))
    _require_known(channels or (), known=get_args(Channel))
    others = {label: name for label, name in known.channels.items() if label not in meanings}
    return Choice(
        reading=Reading.model_validate({**known.model_dump(), "channels": {**meanings, **others}}),
        channels=None if channels is None else tuple(channels),
        vote=vote,
        stride=stride,
        threshold=threshold,
    )


def _require_known(names: Iterable[str], *, known: Sequence[str]) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigError(
            f"{', '.join(map(repr, unknown))} is no channel that Somnoflow knows, wanted some of: "
            f"{', '.join(known)}"
        )


@dataclass(frozen=True, eq=False)
class Scorer:
    """An encoder of epochs and a head on its features, in evaluation mode, and their settings.

    Attributes
    ----------
    name
        Of the bundle or file, for people.
    encoder
        With `sampling_rate` and `samples`; as for `training.encoding.embed_rows`.
    head
        On its features.
    channels
        What the encoder reads.
    device
        Where the encoder computes.
    signals, pack
        How its signals were made; `signals` with its sampling rate.
    stride
        Step between windows in epochs.
    threshold
        Probability from which on an epoch has the event; None for stages.
    temperature
        Of its probabilities; None where they are not calibrated.
    about
        What the bundle says of itself, as JSON; empty where it is none.
    settings_from
        Where `signals` and `pack` come from, to be said.
    made_by
        What made the answers, as JSON.
    choice
        What was chosen beside the model.
    """

    name: str
    encoder: Any
    head: Head
    channels: tuple[str, ...]
    device: torch.device
    signals: Signals
    pack: Pack
    stride: int
    threshold: float | None
    temperature: float | None
    about: Mapping[str, Any]
    settings_from: str
    made_by: Mapping[str, Any]
    choice: Choice

    @property
    def task(self) -> Task:
        """What it answers."""
        return self.head.task

    def predict(self, night: Night) -> Floats:
        """Give the probabilities (n, K) of the n usable epochs of a night, before calibration."""
        rows = night.rows(scored=False)
        return predict_rows(
            self.encoder, self.head, night, rows, stride=self.stride, device=self.device
        )

    def read(self, source: SourceRecording, *, recording: str) -> "Given":
        """Choose and read the channels of a recording that the model is given.

        Raises
        ------
        Rejection
            When the recording has no usable channel for it, or no whole epoch.
        """
        if source.seconds < EPOCH_SECONDS:
            raise Rejection(
                problem="recording too short",
                found=f"{source.seconds:.1f} s",
                wanted=f"at least an epoch of {EPOCH_SECONDS} s",
                advice="Leave it out",
            )
        montage = choose_montage(
            self.channels,
            source=source,
            reading=self.choice.reading,
            allowed=self.choice.channels,
            vote=self.choice.vote,
        )
        signals = signals_for(
            montage.channels, sampling_rate=self.signals.sampling_rate, like=self.signals
        )
        cut = cut_night(source, recording=recording, reading=self.choice.reading, signals=signals)
        return Given(montage, cut)

    def score(self, given: "Given") -> Hypnogram:
        """Say what every epoch of a night is."""
        cut, task = given.cut, self.task
        nights = [scale_night(cut, channels=way, pack=self.pack) for way in given.montage.ways]
        probabilities = _average([(night, self._calibrated(night)) for night in nights], task=task)
        return Hypnogram(
            recording=cut.recording,
            start=cut.start,
            task=task,
            table=answers(
                cut.onset_s, probabilities, task=task, threshold=self._calibrated_threshold()
            ),
            threshold=self._calibrated_threshold(),
            made_by=self.made_by,
            night={
                "epochs": len(probabilities),
                "usable": int(np.isfinite(probabilities[:, 0]).sum()),
                "channels": dict(cut.taken),
                "absent": dict(cut.absent),
                "remarks": [*given.montage.remarks, *cut.remarks],
            },
        )

    def _calibrated(self, night: Night) -> npt.NDArray[np.float64]:
        found = self.predict(night).astype(np.float64)
        return found if self.temperature is None else apply_temperature(found, self.temperature)

    def _calibrated_threshold(self) -> float | None:
        """Give the threshold of calibrated probabilities: the same epochs lie beyond it.

        A threshold that a person chose is one of the probabilities that are written.
        """
        if self.threshold is None or self.temperature is None or self.choice.threshold is not None:
            return self.threshold
        both = np.array([[1 - self.threshold, self.threshold]])
        return float(apply_temperature(both, self.temperature)[0, 1])


@dataclass(frozen=True, eq=False)
class Given:
    """What a model is given of a recording: which channels, and their epochs."""

    montage: Montage
    cut: CutNight

    @property
    def physical(self) -> Night:
        """The epochs of all channels that were read, in physical units."""
        return scale_night(self.cut, channels=self.montage.channels, pack=Pack(scaling="none"))


def load_scorers(
    models: Sequence[str | Path],
    *,
    encoder: Path | None = None,
    settings: Settings | None = None,
    choice: Choice | None = None,
    threads: int | None = None,
) -> list[Scorer]:
    """Load the models that score nights together, each for another task, stages first.

    Parameters
    ----------
    models
        Paths of bundles or of weights, or names of shipped bundles; the shipped default where
        there is none.
    encoder
        Weights of the encoder that a head was trained on, where `models` is that head.
    settings
        For models that are no bundles; the defaults where None.
    choice
        What else is wanted.
    threads
        CPU threads of torch; as many as it takes by itself where None.

    Raises
    ------
    ConfigError
        When an option does not go with the models, or two answer one question.
    WeightsError
        When a model cannot be used.
    """
    chosen = Choice() if choice is None else choice
    own = Settings() if settings is None else settings
    paths = [find_model(name) for name in models or [_default()]]
    if encoder is not None and len(paths) > 1:
        raise ConfigError(
            f"--encoder goes with one model, and {len(paths)} were named. Wanted: bundles"
        )
    device = choose_device(gpus=1)
    prepare(device, threads=torch.get_num_threads() if threads is None else threads)
    scorers = [_load(path, encoder=encoder, settings=own, choice=chosen, device=device)
               for path in paths]  # fmt: skip
    named: dict[str, Scorer] = {}
    for scorer in scorers:
        if scorer.task.name in named:
            raise ConfigError(
                f"{named[scorer.task.name].name} and {scorer.name} both answer "
                f"{scorer.task.name}, wanted one model for each task"
            )
        named[scorer.task.name] = scorer
    if chosen.threshold is not None and not any(scorer.task.rare for scorer in scorers):
        raise ConfigError(
            f"{scorers[0].name} gives stages, and --threshold is for events. Wanted: without it"
        )
    return sorted(scorers, key=lambda scorer: scorer.task.rare)


def find_model(name: str | Path) -> Path:
    """Give the path of a model that is named by its path, or by the name of a shipped bundle.

    Raises
    ------
    WeightsError
        When there is neither.
    """
    path = Path(name)
    # What is missing under a file's name is named by its reader.
    return path if path.exists() or path.suffix == ".safetensors" else find_bundle(name)


def _default() -> Path:
    known = shipped()
    if DEFAULT not in known:
        raise WeightsError(
            "no model was named, and this installation of Somnoflow brings none. Wanted: --model "
            "with a bundle (somnoflow models lists them), or with the weights of a training"
        )
    return known[DEFAULT]


def _load(
    path: Path, *, encoder: Path | None, settings: Settings, choice: Choice, device: torch.device
) -> Scorer:
    """Load one model; its settings are its bundle's, or those that are given."""
    if not is_bundle(path):
        named = {"model_sha256": path, "encoder_sha256": encoder}
        files = [path] if encoder is None else [encoder, path]
        scorer = _rebuild(files, named=path, settings=settings, choice=choice, device=device)
        digests = {name: file and sha256_file(file) for name, file in named.items()}
        return _finished(scorer, made_of={"model": path.name, **digests})
    if settings.source is not None:
        raise ConfigError(
            f"{path} is a bundle, which says itself how its signals are made. Wanted: without "
            "--configfile"
        )
    if encoder is not None:
        raise ConfigError(f"{path} is a bundle, which has its own encoder. Wanted: no --encoder")
    with open_bundle(path) as bundle:
        about = bundle.about
        scorer = _rebuild(
            bundle.model_files,
            named=path,
            settings=Settings(about.signals, about.pack, f"the bundle {about.name}"),
            choice=replace(choice, stride=choice.stride or about.stride),
            device=device,
        )
        if scorer.task.name != about.task or list(scorer.channels) != list(about.channels):
            raise WeightsError(
                f"the weights of {path} answer {scorer.task.name} from "
                f"{', '.join(scorer.channels)}, its description says {about.task} from "
                f"{', '.join(about.channels)}. Get the bundle again"
            )
        threshold = about.threshold if choice.threshold is None else scorer.threshold
        return _finished(
            replace(
                scorer,
                name=about.name,
                threshold=threshold,
                temperature=about.calibration.temperature,
                about=about.model_dump(mode="json"),
                choice=choice,
            ),
            made_of={"model": about.name, "bundle_sha256": bundle.digest},
        )


def _rebuild(
    files: Sequence[Path], *, named: Path, settings: Settings, choice: Choice, device: torch.device
) -> Scorer:
    """Rebuild a model from its weights: of a whole model, or of an encoder and its head."""
    *encoders, model = files
    try:
        encodes, head, channels = _parts(model, encoder=encoders[0] if encoders else None)
    except ValueError as error:
        raise WeightsError(str(error)) from error
    found = encodes.samples / encodes.sampling_rate
    if found != EPOCH_SECONDS:
        raise WeightsError(
            f"{files[0]} reads epochs of {found:g} s, wanted {EPOCH_SECONDS} s: epochs "
            "are cut at this length"
        )
    window: int = getattr(head, "window", 1)
    stride = window if choice.stride is None else choice.stride
    if stride > window:
        raise ConfigError(
            f"--stride is {stride}, wanted at most the {window} epochs of a window of {named}: "
            "epochs between windows would get no answer"
        )
    threshold = THRESHOLD if choice.threshold is None else choice.threshold
    return Scorer(
        name=named.name,
        encoder=encodes.to(device),
        head=head,
        channels=channels,
        device=device,
        signals=fit_signals(
            settings.signals, channels=channels, sampling_rate=encodes.sampling_rate
        ),
        pack=settings.pack,
        stride=stride,
        threshold=threshold if head.task.rare else None,
        temperature=None,
        about={},
        settings_from=settings.source or NO_CONFIGURATION,
        made_by={},
        choice=choice,
    )


def _parts(model: Path, *, encoder: Path | None) -> tuple[Any, Head, tuple[str, ...]]:
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
        return encodes, load_head(model, dimension=encodes.dimension), tuple(about["channels"])
    if encoder is not None:
        raise WeightsError(f"{model} is a whole model. Wanted: no --encoder beside it")
    whole, about = load_tuned(model)
    return whole.encoder, whole.head, tuple(about["channels"])


def _finished(scorer: Scorer, *, made_of: Mapping[str, Any]) -> Scorer:
    """Note what makes the answers of a model: two runs with the same give the same."""
    choice = scorer.choice
    made_by = {
        **made_of,
        "somnoflow": version("somnoflow"),
        "task": scorer.task.name,
        "stride": scorer.stride,
        "threshold": scorer.threshold,
        "temperature": scorer.temperature,
        "channels": None if choice.channels is None else list(choice.channels),
        "vote": choice.vote,
        "reading": choice.reading.model_dump(mode="json"),
        "signals": scorer.signals.model_dump(mode="json"),
        "pack": scorer.pack.model_dump(mode="json"),
    }
    return replace(scorer, made_by=made_by)


def _average(
    parts: Sequence[tuple[Night, npt.NDArray[np.float64]]], *, task: Task
) -> npt.NDArray[np.float64]:
    """Give the mean (N, K) over what is said of each epoch; NaN where nothing is."""
    epochs = len(parts[0][0])
    total = np.zeros((epochs, len(task.classes)))
    count = np.zeros((epochs, 1))
    for night, probabilities in parts:
        rows = night.rows(scored=False)
        total[rows] += probabilities
        count[rows] += 1
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def answers(
    onset_s: npt.NDArray[np.float64],
    probabilities: npt.NDArray[np.float64],
    *,
    task: Task,
    threshold: float | None,
) -> pl.DataFrame:
    """Give a row for each epoch of a night; one without a usable signal has no answer.

    Parameters
    ----------
    onset_s
        Seconds from the start of the recording to each of N epochs.
    probabilities
        (N, K); NaN where an epoch has no usable signal.
    task
        What was asked.
    threshold
        Probability from which on an epoch has the event; the likeliest class is said where None.

    Returns
    -------
    As `Hypnogram.table`.
    """
    usable = np.isfinite(probabilities[:, 0])
    rounded = probabilities.round(DECIMALS)
    said = np.where(usable[:, None], probabilities, 0).argmax(axis=1)
    if threshold is not None:
        said = (probabilities[:, 1] >= threshold).astype(np.int64)
    names = [task.classes[number] if known else None for number, known in
             zip(said, usable, strict=True)]  # fmt: skip
    confidence = rounded[np.arange(len(said)), said]
    return pl.DataFrame(
        {
            "epoch": np.arange(len(said), dtype=np.int32),
            "onset_s": onset_s,
            task.column: names,
            "confidence": confidence,
            **dict(zip(task.probabilities, rounded.T, strict=True)),
        },
        schema_overrides={task.column: pl.String},
    ).with_columns(pl.col("confidence", *task.probabilities).fill_nan(None))
