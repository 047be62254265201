"""Methods of the run as a text for a paper, and where systems deviate from their published code.

The text says what the configuration, the tables and each step's run.json say, and nothing else.
References are numbered in the order in which they are cited.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from somnoflow.config.report import ReportSlice
from somnoflow.report.data_sections import leaks
from somnoflow.report.naming import (
    BASE,
    NO_CHANNEL,
    STAGER,
    TASK_WORDS,
    UNIMODAL,
    YASA,
    encoder_words,
)
from somnoflow.report.sources import Cohort, Model, Run
from somnoflow.report.tables import Table, make_table, plural

REFERENCES = Path(__file__).with_name("references.tsv")
DEVIATIONS = Path(__file__).with_name("deviations.tsv")
HUMANS = Path(__file__).with_name("human_agreement.tsv")
PER_NIGHT = "consensus of the others, per night"
# Deviations of what stands on an encoder, whichever it is.
HEADS = "heads"
SCALINGS = {"robust_z": "its median and interquartile range"}
# A system that is built here of parts of another one is cited as that.
CITED_AS = {UNIMODAL: "synthsleepnet"}
PACKAGES = ("torch", "scikit-learn", "scipy", "numpy", "polars", "mne")


@dataclass(frozen=True)
class Methods:
    """Paragraphs with numbers of references in brackets, and the references in order."""

    paragraphs: list[str]
    references: list[str]


@dataclass
class _Citations:
    known: dict[str, str]
    cited: list[str] = field(default_factory=list)

    def __call__(self, *keys: str) -> str:
        """Cite; nothing for a system that has no reference."""
        numbers = []
        for key in keys:
            if key in self.known:
                if key not in self.cited:
                    self.cited.append(key)
                numbers.append(str(self.cited.index(key) + 1))
        return f" [{', '.join(numbers)}]" if numbers else ""


def methods_text(
    *, cohort: Cohort, models: Sequence[Model], runs: Sequence[Run], cfg: ReportSlice
) -> Methods | None:
    """Write the methods of the run; None where no model was judged.

    Parameters
    ----------
    cohort
        Recordings and split.
    models
        Evaluated models.
    runs
        run.json of the files that the report is made from.
    cfg
        How signals were filtered and cut.
    """
    judged = [model for model in models if model.metrics is not None]
    if not judged:
        return None
    cite = _Citations({row["key"]: row["text"] for row in _read(REFERENCES)})
    paragraphs = [
        _data(cohort),
        _signals(cohort, runs, cfg, cite),
        _split(cohort),
        _models(judged, runs, cite),
        _statistics(judged, cite),
        _software(runs, cite),
    ]
    return Methods(paragraphs, [cite.known[key] for key in cite.cited])


def _data(cohort: Cohort) -> str:
    table = cohort.recordings
    origin = {
        "": "",
        "simulated": " All recordings are simulated.",
        "partly simulated": f" {table['simulated'].sum():,} of them are simulated.",
    }
    rejected = (
        f" {plural(cohort.rejected.height, 'file')} could not be used."
        if cohort.rejected.height
        else ""
    )
    return (
        f"Data. We used {plural(table.height, 'recording')} of "
        f"{plural(table['subject'].n_unique(), 'subject')} "
        f"({_list(sorted(table['dataset'].unique()))}; {table['hours'].sum():,.1f} hours, "
        f"{int(table['scored'].sum()):,} epochs of 30 s with a stage W, N1, N2, N3 or REM)."
        f"{origin[cohort.simulated]}{rejected}"
    )


def _signals(cohort: Cohort, runs: Sequence[Run], cfg: ReportSlice, cite: _Citations) -> str:
    taken = cohort.taken["channel"].unique().to_list()
    channels = [name for name in cfg.signals.channels if name in taken]
    bands = [
        f"{modality} {low:g} to {high:g} Hz"
        for modality, (low, high) in cfg.signals.filters.items()
        if any(f"{name}_".startswith(f"{modality}_") for name in channels)
    ]
    told = [f"Signals. Channels: {_list(channels)}."]
    if bands:
        told.append(
            "Whole recordings were band-pass filtered with the FIR design of MNE-Python"
            f"{cite('mne')} ({_list(bands)})."
        )
    told.append(
        f"They were resampled to {cfg.signals.sampling_rate} Hz and cut into epochs of 30 s."
    )
    scalings = {slice_["scaling"] for slice_ in _slices(runs) if "scaling" in slice_}
    told += [
        f"The amplitude of each channel of a recording was scaled by {SCALINGS.get(name, name)}."
        for name in sorted(scalings)
    ]
    margin = cfg.signals.wake_margin_minutes
    told.append(
        "All wake was kept."
        if margin is None
        else f"Wake more than {margin:g} min before or after sleep was left out."
    )
    told.append(
        "Epochs whose signal is missing, flat, clipped or disconnected were neither trained on nor "
        "judged."
    )
    return " ".join(told)


def _split(cohort: Cohort) -> str:
    def sizes(role: str) -> str:
        numbers = sorted({len(fold[role]) for fold in cohort.folds})
        return f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"

    apart = (
        "Subjects had two roles in one fold: results of it are not valid."
        if leaks(cohort)
        else "Pre-training saw no validation or test subject."
    )
    external = (
        f" Tested only: {_list(cohort.external_datasets)}." if cohort.external_datasets else ""
    )
    return (
        f"Split. Subjects were dealt into {plural(len(cohort.folds), 'fold')}, so that all nights "
        f"of a person are on one side. Subjects of a fold: {sizes('train')} to train, "
        f"{sizes('val')} to validate and {sizes('test')} to test. {apart}{external}"
    )


def _models(models: Sequence[Model], runs: Sequence[Run], cite: _Citations) -> str:
    systems: dict[str, list[Model]] = {}
    for model in models:
        systems.setdefault(model.name.source.encoder, []).append(model)
    recipes = _recipes(runs)
    said = []
    for encoder, own in systems.items():
        known = CITED_AS.get(encoder, BASE if encoder.startswith(BASE) else encoder)
        options = recipes.get(encoder, {})
        size = [
            *([f"size {options['preset']}"] if "preset" in options else []),
            *([plural(options["passes"], "pass")] if "passes" in options else []),
        ]
        channels = dict.fromkeys(model.name.source.channel for model in own)
        reads = [name for name in channels if name != NO_CHANNEL]
        words = dict.fromkeys(model.name.words for model in own)
        said.append(
            f"{encoder_words(encoder)}{cite(known)}"
            f"{' (' + ', '.join(size) + ')' if size else ''}"
            f"{' on ' + _list(reads) if reads else ''}: "
            f"{'; '.join(words)}"
        )
    tasks = [TASK_WORDS[task] for task in dict.fromkeys(model.name.task for model in models)]
    elsewhere = any((m.name.source.encoder, m.name.method) == (YASA, STAGER) for m in models)
    return (
        f"Models. Tasks: {_list(tasks)}. {'. '.join(said)}. Whatever was chosen (the pass that is "
        "used, thresholds) was chosen on validation subjects; test subjects were read for the "
        "results alone." + (" YASA's own stager was trained elsewhere." if elsewhere else "")
    )


def _statistics(models: Sequence[Model], cite: _Citations) -> str:
    intervals = (models[0].metrics or {})["intervals"]
    return (
        "Statistics. Accuracy, macro F1 and Cohen's kappa"
        f"{cite('kappa')} are of the test epochs of all folds together. Intervals are "
        f"{100 * intervals['confidence']:g} % percentile intervals of "
        f"{intervals.get('resamples', 0):,} bootstrap resamples of the test subjects"
        f"{cite('bootstrap')}. Models were compared with the best one over the same test subjects "
        f"by Wilcoxon's signed-rank test{cite('wilcoxon')}, two-sided, with Holm's correction"
        f"{cite('holm')}; intervals and tests cover the choice of subjects, not another training."
    )


def _software(runs: Sequence[Run], cite: _Citations) -> str:
    versions: dict[str, set[str]] = {}
    for run in runs:
        for package, version in ((run.content or {}).get("versions") or {}).items():
            versions.setdefault(package, set()).add(str(version))
    named = {name: " and ".join(sorted(found)) for name, found in versions.items()}
    if not named:
        return "Software. Not known: no run.json was found."
    packages = [f"{name} {named[name]}" for name in PACKAGES if name in named]
    return (
        f"Software. Somnoflow {named.get('somnoflow', '(version not known)')} with Python "
        f"{named.get('python', '(version not known)')}, Snakemake"
        f"{' ' + named['snakemake'] if 'snakemake' in named else ''}{cite('snakemake')}"
        f"{', ' + ', '.join(packages) if packages else ''}."
    )


def _recipes(runs: Sequence[Run]) -> dict[str, dict[str, Any]]:
    """Give the recipe of each system's own training, as its run.json noted it."""
    found: dict[str, dict[str, Any]] = {}
    for run in runs:
        slice_ = _slice(run)
        parts = run.file.parts
        if not isinstance(slice_.get("recipe"), dict):
            continue
        if "pretrain" in parts:
            found.setdefault(parts[-4], slice_["recipe"])
        elif "preset" in slice_["recipe"] and "heads" in parts:
            found.setdefault(parts[parts.index("heads") + 1], slice_["recipe"])
    return found


def _slices(runs: Sequence[Run]) -> list[dict[str, Any]]:
    return [_slice(run) for run in runs]


def _slice(run: Run) -> dict[str, Any]:
    found = ((run.content or {}).get("arguments") or {}).get("cfg")
    return found if isinstance(found, dict) else {}


def _list(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def deviations_table(models: Sequence[Model]) -> Table | None:
    """List where the systems of this run deviate from their published code; None for none."""
    systems = {CITED_AS.get(name, name) for name in (m.name.source.encoder for m in models)}
    systems |= {BASE, HEADS} if any(name.startswith(BASE) for name in systems) else set()
    rows = [row for row in _read(DEVIATIONS) if row["encoder"] in systems]
    if not rows:
        return None
    titles = {HEADS: "Heads and context modules"}
    return make_table(
        "Where the systems of this run deviate from their published code.",
        columns=["Published", "Here"],
        prose=["Published", "Here"],
        rows=[[row["published"], row["here"]] for row in rows],
        groups=[titles.get(row["encoder"]) or encoder_words(row["encoder"]) for row in rows],
    )


def human_sentence() -> str:
    """Say how well experts agree with each other, on other nights than those of this run."""
    rows = [row for row in _read(HUMANS) if row["measure"] == PER_NIGHT]
    told = ", ".join(
        f"{float(row['kappa']):.2f} ({row['cohort']}, {row['nights']} nights)" for row in rows
    )
    return (
        "Humans on other nights, for orientation: each of "
        f"{rows[0]['scorers']} experts against the consensus of the others reaches a mean kappa "
        f"per night of {told}. They did not score the nights of this run, so no model here is "
        f"above or below them. Source: {rows[0]['source']}."
    )


def _read(path: Path) -> list[dict[str, str]]:
    table = pl.read_csv(path, separator="\t", infer_schema=False, quote_char=None)
    return table.fill_null("").to_dicts()
