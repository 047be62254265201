"""The models that score nights: bundles, or files of weights with the settings that they lack.

What is decided here:

- A bundle says itself how its signals are made, so that nobody can give it others.
- An event is said from a bundle's threshold on, which the validation subjects chose; files of
  weights have none, and 0.5 is taken.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from somnoflow.bundles.bundle import DEFAULT, find_bundle, is_bundle, open_bundle, shipped
from somnoflow.config.base import ConfigError
from somnoflow.io.digest import sha256_file
from somnoflow.models.encoders import load_encoder
from somnoflow.models.errors import WeightsError
from somnoflow.models.heads import Head, load_head
from somnoflow.models.night_stager import KIND as NIGHT
from somnoflow.models.night_stager import load_night_stager
from somnoflow.models.tuned import load_tuned
from somnoflow.models.weights import read_about
from somnoflow.nights import fit_signals
from somnoflow.scoring.choice import Choice, Settings
from somnoflow.scoring.scorer import Scorer
from somnoflow.stages import EPOCH_SECONDS
from somnoflow.training.device import choose_device, prepare

THRESHOLD = 0.5
NO_CONFIGURATION = "the defaults, no --configfile was given"


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
    kinds = ("head", "stager", "fused_stager", "supervised", NIGHT, "neuronet", "synthsleepnet")
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
    whole, about = load_night_stager(model) if kind == NIGHT else load_tuned(model)
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
