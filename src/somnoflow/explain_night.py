"""`somnoflow explain`: where in some epochs of a night a model finds its answer.

What is decided here:

- The model sees the night around an epoch, as when it is scored; only the epochs that are asked for
  are explained.
- An epoch without a usable signal is left out, and named.
"""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from somnoflow.bundles.bundle import is_bundle, open_bundle
from somnoflow.config.base import ConfigError
from somnoflow.config.dataset import Reading
from somnoflow.config.pack import Pack
from somnoflow.config.signals import Signals
from somnoflow.config.unimodal import modality_of
from somnoflow.data.packed import Rows
from somnoflow.explain.explaining import NightExplainer, explanation_rows
from somnoflow.explain.explanation import read_explanations, write_explanations
from somnoflow.explain.model import ExplainedModel, load_explained
from somnoflow.explain.physical import Measured
from somnoflow.inspect.naming import split_suffix
from somnoflow.io.atomic import atomic
from somnoflow.io.rejection import Rejection
from somnoflow.models.errors import WeightsError
from somnoflow.night import Night, read_night
from somnoflow.nights import fit_signals
from somnoflow.report.explanation_figure import draw_explanation
from somnoflow.report.explanation_section import words_for
from somnoflow.report.figures import Picture
from somnoflow.report.tables import plural
from somnoflow.report.template import fill_in
from somnoflow.signals.channels import STORAGE
from somnoflow.stages import EPOCH_SECONDS
from somnoflow.tasks import Task
from somnoflow.training.device import choose_device, prepare

TEMPLATE = Path(__file__).with_name("explain_night.html")


class NightMeasures:
    """Reads epochs of a night in physical units.

    Parameters
    ----------
    night
        Read without scaling.
    """

    def __init__(self, night: Night) -> None:
        self._night = night

    def read(self, rows: Rows, *, channel: str) -> Measured:
        """Read epochs in which the channel is present."""
        values = self._night.signals[rows, self._night.channels.index(channel)]
        return Measured(values, STORAGE[modality_of(channel)].unit)


def explain_night(
    recording: Path,
    *,
    files: Sequence[Path],
    wanted: range,
    asked: str | None,
    out: Path,
    reading: Reading,
    signals: Signals,
    pack: Pack,
    settings_from: str,
) -> int:
    """Write a page, a drawing of each epoch, and the table of the heat.

    Parameters
    ----------
    recording
        EDF, BDF, FIF or BrainVision.
    files
        Of the model, as `explain.model.load_explained` takes them; or one bundle, whose own
        `signals` and `pack` are taken.
    wanted
        Epochs to explain, numbered from 0.
    asked
        Class that the heat is to be of; the likeliest of each epoch where None.
    out
        Folder of the files: `<name>.html`, `<name>-epoch<k>.svg` and `<name>.parquet`
        (`explain.explanation`); files of these names are written anew.
    reading, signals, pack
        As for `night.read_night`.
    settings_from
        Where `signals` and `pack` come from, to be said.

    Returns
    -------
    Number of epochs that have no usable signal and so no explanation.

    Raises
    ------
    ConfigError
        When the recording cannot be used, has no such epochs, or the model no such class; nothing
        was written then.
    WeightsError
        When the model cannot be used.
    """
    if is_bundle(files[0]):
        with open_bundle(files[0]) as bundle:
            return explain_night(
                recording,
                files=bundle.model_files,
                wanted=wanted,
                asked=asked,
                out=out,
                reading=reading,
                signals=bundle.about.signals,
                pack=bundle.about.pack,
                settings_from=f"the bundle {bundle.about.name}",
            )
    model = load_explained(files)
    task = model.task
    target = None if asked is None else _class_of(asked, task=task, of=files[-1])
    night, physical = _read(
        recording, model=model, reading=reading, signals=signals, pack=pack, of=files[0]
    )
    if not 0 <= wanted.start < wanted.stop <= len(night):
        raise ConfigError(
            f"found epochs {wanted.start} to {wanted.stop - 1}, wanted some of 0 to "
            f"{len(night) - 1}: {recording} has {len(night)} epochs of {EPOCH_SECONDS} s"
        )
    usable = night.rows(scored=False)
    chosen = usable[(usable >= wanted.start) & (usable < wanted.stop)]
    lost = [number for number in wanted if number not in set(chosen.tolist())]
    if not len(chosen):
        raise ConfigError(
            f"no epoch from {wanted.start} to {wanted.stop - 1} of {recording} has a usable "
            f"signal of {', '.join(model.channels)}. Wanted: other epochs; see the quality of all "
            "with: somnoflow embed, column quality"
        )
    prepare(choose_device(0), threads=torch.get_num_threads())
    explainer = NightExplainer(model, night, usable)
    measures = NightMeasures(physical)
    rows: list[dict[str, Any]] = []
    for row in tqdm(chosen.tolist(), unit="epoch", disable=None):
        answer = explainer.explain(row, asked=target)
        predicted = int(answer.probabilities.argmax())
        rows += explanation_rows(
            explainer, row, answer=answer, predicted=predicted, measures=measures
        )
    told = [
        f"{recording.name}, {plural(len(chosen), 'epoch')} of {EPOCH_SECONDS} s, numbered from 0. "
        f"Model: {' and '.join(path.name for path in files)}. "
        + "; ".join(f"{name} from {label}" for name, label in night.taken.items())
        + f". Filters, quality and scaling: {settings_from}.",
        *(f"Without {name}: {why}." for name, why in night.absent.items()),
        *([f"Without a usable signal: {', '.join(map(str, lost))}."] if lost else []),
    ]
    _write(rows, told=told, task=task, name=split_suffix(recording.name)[0], out=out)
    tqdm.write("\n".join(told))
    return len(lost)


def _class_of(asked: str, *, task: Task, of: Path) -> int:
    if asked not in task.classes:
        raise ConfigError(f"{of} knows no class {asked!r}, wanted one of {', '.join(task.classes)}")
    return task.classes.index(asked)


def _read(
    recording: Path,
    *,
    model: ExplainedModel,
    reading: Reading,
    signals: Signals,
    pack: Pack,
    of: Path,
) -> tuple[Night, Night]:
    """Read a night as the model does, and once more in physical units."""
    encoder = model.encoder
    if encoder.samples != EPOCH_SECONDS * encoder.sampling_rate:
        raise WeightsError(
            f"{of} reads epochs of {encoder.samples / encoder.sampling_rate:g} s, wanted "
            f"{EPOCH_SECONDS} s: epochs are cut at this length"
        )
    if not recording.is_file():
        raise ConfigError(f"{recording} is not there. Wanted: a recording")
    rate = encoder.sampling_rate
    signals = fit_signals(signals, channels=model.channels, sampling_rate=rate)
    unscaled = pack.model_copy(update={"scaling": "none"})
    try:
        night, physical = (
            read_night(
                recording, channels=model.channels, sampling_rate=rate, reading=reading,
                signals=signals, pack=own,
            )
            for own in (pack, unscaled)
        )  # fmt: skip
    except Rejection as rejection:
        raise ConfigError(f"{recording}: {rejection}") from rejection
    return night, physical


def _write(
    rows: list[dict[str, Any]], *, told: Sequence[str], task: Task, name: str, out: Path
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    with atomic(out / f"{name}.parquet") as path:
        write_explanations(path, rows, task=task, about={"told": list(told)})
        table = read_explanations(path, task=task).table
    pictures: list[Picture] = []
    for (epoch,), own in table.group_by("epoch", maintain_order=True):
        picture = draw_explanation(own, task=task, model=name, simulated="")
        drawn = base64.b64decode(picture.uri.partition(",")[2])
        with atomic(out / f"{name}-epoch{epoch}.svg") as path:
            path.write_bytes(drawn)
        pictures.append(picture)
    page = fill_in(
        TEMPLATE,
        title=f"What the model looks at: {name}",
        told=told,
        words=words_for(set(table["method"])),
        pictures=pictures,
    )
    with atomic(out / f"{name}.html") as path:
        path.write_text(page, encoding="utf-8")
