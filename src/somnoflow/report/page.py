"""The report: one HTML page without scripts that needs nothing but itself.

Each function below makes what one section of `page.html` shows; the template escapes every text,
since names of subjects, labels of channels and notes come from other people's files.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from somnoflow.config.report import Report
from somnoflow.evaluate.confusion import RECORDING_KEY, agreement, scan_test_epochs
from somnoflow.report.figures import (
    COLOURS,
    LOSSES,
    UNKNOWN,
    Picture,
    f1_by_stage,
    hypnogram,
    stage_distribution,
    training_curves,
)
from somnoflow.report.sources import ROLES, Cohort, Curves, Model, Run
from somnoflow.report.tables import (
    NOTHING,
    Table,
    count,
    make_table,
    plural,
    score,
    score_with_interval,
    share,
)
from somnoflow.stages import STAGE_NAMES

TEMPLATE = Path(__file__).with_name("page.html")
CSS = Path(__file__).with_name("page.css")
FEW_SUBJECTS = 10
MAX_GRID = 60
# Dark text stays readable (contrast 4.9 to 1) on the fullest cell.
DARKEST = 0.6


@dataclass(frozen=True)
class ConfusionCell:
    """Share of the true stage, count, and opacity of the background, `shade`."""

    text: str
    n: str
    shade: float
    diagonal: bool


@dataclass(frozen=True)
class ModelSection:
    """What the page shows about one model."""

    name: str
    anchor: str
    sentences: list[str]
    confusion: list[tuple[str, str, list[ConfusionCell]]]
    tables: list[Table]


@dataclass(frozen=True)
class Night:
    """The hypnograms of one recording by all models."""

    title: str
    pictures: list[Picture]


def render(
    *, cohort: Cohort, models: list[Model], curves: list[Curves], runs: list[Run], cfg: Report
) -> str:
    """Write the page.

    Parameters
    ----------
    cohort
        Recordings, rejected files, channels and split.
    models
        Evaluated models, sorted by name.
    curves
        Training tables.
    runs
        Provenance of the files the page was made from.
    cfg
        Title and number of hypnograms.
    """
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals.update(colours=COLOURS, unknown=UNKNOWN, stages=STAGE_NAMES)
    chosen, rule = choose_recordings(models, cfg.hypnograms)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        css=Markup(CSS.read_text(encoding="utf-8")),  # noqa: S704 - our own file
        title=cfg.title,
        simulated=cohort.simulated,
        simulated_recordings=int(cohort.recordings["simulated"].sum()),
        facts=facts(cohort, models),
        warnings=warnings(cohort, models, runs),
        headline=headline(models, simulated=cohort.simulated),
        f1_picture=f1_picture(models, simulated=cohort.simulated),
        cohort_tables=cohort_tables(cohort),
        cohort_picture=(
            stage_distribution(cohort.recordings, simulated=cohort.simulated)
            if cohort.recordings.height
            else None
        ),
        rejected=rejected_table(cohort),
        flagged=flagged_tables(cohort),
        split_tables=split_tables(cohort),
        split_leaks=leaks(cohort),
        model_sections=[model_section(model, simulated=cohort.simulated) for model in models],
        hypnogram_rule=rule,
        nights=nights(models, chosen, cohort),
        training=training_pictures(curves, simulated=cohort.simulated),
        untrained=[one.name for one in curves if not _drawable(one)],
        provenance=provenance_table(runs),
        versions=versions_table(runs),
    )


def facts(cohort: Cohort, models: list[Model]) -> list[tuple[str, str]]:
    """Give the few numbers on top: what was there, what was not taken, what was judged."""
    recordings = cohort.recordings
    return [
        (count(recordings["subject"].n_unique()), "subjects"),
        (count(recordings.height), "recordings"),
        (f"{recordings['hours'].sum():,.1f}", "hours"),
        (count(int(recordings["scored"].sum())), "scored epochs"),
        (count(cohort.rejected.height), "files rejected"),
        (count(len(models)), "models judged"),
    ]


def warnings(cohort: Cohort, models: list[Model], runs: list[Run]) -> list[str]:
    """Say what a reader must know before the numbers."""
    found = []
    judged = [model for model in models if model.metrics is not None]
    fewest = min((m.metrics["intervals"]["subjects"] for m in judged if m.metrics), default=None)
    if fewest is not None and fewest < FEW_SUBJECTS:
        found.append(
            f"Only {plural(fewest, 'test subject')}: "
            + (
                "the intervals are a rough guide and tend to be too narrow."
                if fewest > 1
                else "no intervals."
            )
        )
    scored = {model.metrics["counts"]["scored"] for model in judged if model.metrics}
    if len(scored) > 1:
        found.append(
            f"The models were judged on different numbers of epochs ({min(scored):,} to "
            f"{max(scored):,}): small differences between them may come from that."
        )
    if leaks(cohort):
        found.append("Subjects have two roles in one fold: see Split. The results are not valid.")
    found += unlike_split(cohort, models)
    if cohort.rejected.height:
        found.append(f"{plural(cohort.rejected.height, 'file')} could not be used: see Rejected.")
    unjudged = [model.name for model in models if model.metrics is None]
    if unjudged:
        found.append(f"No metrics were given for {', '.join(unjudged)}.")
    changed = [str(run.file) for run in runs if run.changed]
    if changed:
        found.append(f"Changed after they were made: {', '.join(changed)}. See Provenance.")
    return found


def unlike_split(cohort: Cohort, models: list[Model]) -> list[str]:
    """Compare the subjects that were tested with those the split names as test subjects."""
    planned = {(subject, fold["fold"]) for fold in cohort.folds for subject in fold["test"]}
    found = []
    for model in models:
        if model.counted is None:
            continue
        tested = set(model.counted.table.select("subject", "fold").rows())
        if strays := sorted({subject for subject, _ in tested - planned}):
            found.append(
                f"{model.name} was tested on {plural(len(strays), 'subject')} that the split "
                f"does not test in that fold: {', '.join(strays)}. Do not use its results."
            )
        if absent := sorted({subject for subject, _ in planned - tested}):
            found.append(
                f"{model.name} has no test predictions of {plural(len(absent), 'subject')}: "
                f"{', '.join(absent[:MAX_GRID])}."
            )
    return found


def headline(models: list[Model], *, simulated: str) -> Table | None:
    """Put all models in one table, by name and not by result, with the constant answer below."""
    judged = [(model.name, model.metrics) for model in models if model.metrics is not None]
    if not judged:
        return None
    rows = []
    for name, metrics in judged:
        pooled, intervals = metrics["pooled"], metrics["intervals"]
        values = (score_with_interval(pooled[key], intervals[key]) for key in METRICS.values())
        rows.append([name, *values, *_sizes(metrics)])
    confidence = 100 * judged[0][1]["intervals"]["confidence"]
    numeric = [*METRICS, "Subjects", "Recordings", "Epochs"]
    return make_table(
        f"Test results of {plural(len(judged), 'model')}, ordered by name, not by result. In "
        f"brackets the {confidence:g} % interval over test subjects. The baseline gives every "
        "epoch the most frequent true stage of the same test epochs.",
        columns=["Model", *numeric],
        numeric=numeric,
        rows=rows + _baseline_rows(judged),
        simulated=simulated,
    )


def _sizes(metrics: dict[str, Any]) -> list[str]:
    return [
        count(metrics["subjects"]),
        count(metrics["recordings"]),
        count(metrics["counts"]["scored"]),
    ]


def _baseline_rows(judged: list[tuple[str, dict[str, Any]]]) -> list[list[str]]:
    """Give one row for each different baseline: models that share their epochs share it."""
    shared: dict[tuple[str, ...], list[str]] = {}
    for name, metrics in judged:
        base = metrics["baseline"]
        if base["stage"] is not None:
            values = (score(base[key]) for key in METRICS.values())
            row = (f"Baseline: always {base['stage']}", *values, *_sizes(metrics))
            shared.setdefault(row, []).append(name)
    return [
        [row[0] if len(shared) == 1 else f"{row[0]} ({', '.join(names)})", *row[1:]]
        for row, names in shared.items()
    ]


METRICS = {"Accuracy": "accuracy", "Macro F1": "macro_f1", "Kappa": "kappa"}


def f1_picture(models: list[Model], *, simulated: str) -> Picture | None:
    """Draw F1 by stage of all models that were judged."""
    judged = [(model.name, model.metrics) for model in models if model.metrics is not None]
    return f1_by_stage(judged, simulated=simulated) if judged else None


def cohort_tables(cohort: Cohort) -> list[Table]:
    """List the recordings, and the source of each channel."""
    mixed = cohort.simulated == "partly simulated"
    rows = []
    for row in cohort.recordings.iter_rows(named=True):
        stages = [share(row[name] or 0, row["scored"] or 0) for name in STAGE_NAMES]
        hours = NOTHING if row["hours"] is None else f"{row['hours']:.1f}"
        start = (row["start"] or NOTHING).replace("T", " ")[:16]
        rows.append(
            [row["recording"], row["subject"], row["night"] or NOTHING, start, hours,
             count(row["epochs"]), count(row["scored"]), count(row["unscored"]), *stages,
             *(["yes" if row["simulated"] else "no"] if mixed else [])]
        )  # fmt: skip
    numbers = ["Hours", "Epochs", "Scored", "Unscored", *STAGE_NAMES]
    recordings = make_table(
        f"{plural(len(rows), 'recording')}. Stages in % of the scored epochs; an epoch is 30 s.",
        columns=[
            "Recording", "Subject", "Night", "Start", *numbers, *(["Simulated"] if mixed else []),
        ],
        numeric=numbers,
        rows=rows,
        simulated=cohort.simulated,
    )  # fmt: skip
    taken = cohort.channels.filter(pl.col("problem") == "")
    by_channel = (
        cohort.channels.group_by("dataset", "channel")
        .agg(
            asked=pl.len(),
            taken=(pl.col("problem") == "").sum(),
        )
        .join(
            taken.group_by("dataset", "channel").agg(
                pl.col("source", "unit", "sampling_rate").unique().sort().str.join(", ")
            ),
            on=["dataset", "channel"],
            how="left",
        )
        .sort("dataset", "channel")
    )
    channels = make_table(
        "Where each channel comes from.",
        columns=["Channel", "Data set", "Recordings with it", "Label in the file", "Unit",
                 "Recorded at (Hz)"],
        numeric=["Recordings with it"],
        rows=[
            [row["channel"], row["dataset"], f"{row['taken']:,} of {row['asked']:,}",
             *(row[name] or NOTHING for name in ("source", "unit", "sampling_rate"))]
            for row in by_channel.iter_rows(named=True)
        ],
        simulated=cohort.simulated,
    )  # fmt: skip
    return [recordings, channels]


def rejected_table(cohort: Cohort) -> Table | None:
    """List the files that were not used, each with its reason and what to do; None for none."""
    rows = [
        [row["file"] or row["recording"], row["dataset"], row["stage"], row["problem"],
         row["found"] or NOTHING, row["wanted"] or NOTHING, row["advice"] or NOTHING]
        for row in cohort.rejected.iter_rows(named=True)
    ]  # fmt: skip
    if not rows:
        return None
    return make_table(
        f"{plural(len(rows), 'file')} not used.",
        columns=["File", "Data set", "Found at", "Problem", "Found", "Wanted", "What to do"],
        prose=["Problem", "Found", "Wanted", "What to do"],
        rows=rows,
    )


def flagged_tables(cohort: Cohort) -> list[Table]:
    """List recordings and channels that were used, or only partly, and deserve a look."""
    tables = []
    noted = cohort.recordings.filter((pl.col("notes") != "") | (pl.col("flat") > 0))
    if noted.height:
        tables.append(
            make_table(
                f"{plural(noted.height, 'recording')} used, with remarks.",
                columns=["Recording", "Data set", "Flat epochs", "Of epochs", "Remark"],
                numeric=["Flat epochs", "Of epochs"],
                prose=["Remark"],
                rows=[
                    [row["recording"], row["dataset"], count(row["flat"]), count(row["epochs"]),
                     row["notes"] or NOTHING]
                    for row in noted.iter_rows(named=True)
                ],
                simulated=cohort.simulated,
            )
        )  # fmt: skip
    bad = cohort.channels.filter(
        (pl.col("problem") != "") | (pl.col("flat") > 0) | (pl.col("clipped") > 0)
    )
    if bad.height:
        tables.append(
            make_table(
                f"{plural(bad.height, 'channel')} missing or with flat or clipped epochs.",
                columns=["Recording", "Data set", "Channel", "Label in the file", "Flat epochs",
                         "Clipped epochs", "Of epochs", "Why missing"],
                numeric=["Flat epochs", "Clipped epochs", "Of epochs"],
                prose=["Why missing"],
                rows=[
                    [row["recording"], row["dataset"], row["channel"], row["source"] or NOTHING,
                     count(row["flat"]), count(row["clipped"]), count(row["epochs"]),
                     row["problem"] or NOTHING]
                    for row in bad.iter_rows(named=True)
                ],
                simulated=cohort.simulated,
            )
        )  # fmt: skip
    return tables


def split_tables(cohort: Cohort) -> list[Table]:
    """Say who is where: numbers of each fold, and the role of each subject in each fold."""
    counts = make_table(
        f"Subjects in each of {plural(len(cohort.folds), 'fold')}. Pre-training reads signals "
        "only, never stages.",
        columns=["Fold", "Pre-training", "Training", "Validation", "Test"],
        numeric=["Pre-training", "Training", "Validation", "Test"],
        rows=[
            [str(fold["fold"]), *(count(len(fold[role])) for role in ROLES)]
            for fold in cohort.folds
        ],
    )
    subjects = sorted({name for fold in cohort.folds for role in ROLES for name in fold[role]})
    if len(subjects) > MAX_GRID:
        return [counts]
    grid = make_table(
        "Role of each subject in each fold.",
        columns=["Subject", *(f"Fold {fold['fold']}" for fold in cohort.folds)],
        rows=[[name, *(role_of(name, fold) for fold in cohort.folds)] for name in subjects],
    )
    return [counts, grid]


def role_of(subject: str, fold: dict[str, Any]) -> str:
    """Name the role of a subject in a fold; two roles that exclude each other are both named."""
    roles = [name for name in ("test", "val", "train") if subject in fold[name]]
    if subject in fold["pretrain"]:
        # Training subjects are pre-trained on as well: no second role.
        roles += ["pretrain"] if roles and roles != ["train"] else []
        roles = roles or ["pretrain only"]
    return " + ".join(roles) or NOTHING


def leaks(cohort: Cohort) -> list[str]:
    """Find subjects whose roles in one fold exclude each other."""
    found = []
    for fold in cohort.folds:
        roles = {role: set(fold[role]) for role in ROLES}
        learned = roles["pretrain"] | roles["train"]
        both = (roles["test"] & (learned | roles["val"])) | (roles["val"] & learned)
        found += [f"fold {fold['fold']}: {subject}" for subject in sorted(both)]
    return found


def model_section(model: Model, *, simulated: str) -> ModelSection:
    """Make sentences, confusion matrix and tables of one model."""
    tables, sentences, confusion = [], [], []
    if model.metrics is None:
        sentences.append("No metrics.json was given for this model.")
    else:
        sentences = count_sentences(model.metrics)
        confusion = confusion_cells(model.metrics["pooled"]["confusion_matrix"])
        tables.append(stage_table(model, simulated=simulated))
        tables += dataset_tables(model, simulated=simulated)
    if model.counted is None:
        sentences.append("No predictions were given for this model: no table per recording.")
    else:
        tables.append(recording_table(model, simulated=simulated))
    return ModelSection(
        name=model.name,
        anchor="model-" + "".join(c if c.isalnum() else "-" for c in model.name),
        sentences=sentences,
        confusion=confusion,
        tables=tables,
    )


def count_sentences(metrics: dict[str, Any]) -> list[str]:
    """Say how many epochs the numbers stand on, where the others went, and what is undefined."""
    counts, intervals = metrics["counts"], metrics["intervals"]
    per, sd = metrics["per_recording"]["macro_f1"], metrics["per_recording"]["macro_f1"]["sd"]
    sentences = [
        f"{counts['scored']:,} of {counts['epochs']:,} test epochs compared, from "
        f"{plural(metrics['recordings'], 'recording')} of "
        f"{plural(metrics['subjects'], 'subject')}. Not compared: {counts['unscored']:,} without "
        f"a stage and {counts['unusable']:,} with a stage but no usable signal."
    ]
    if per["n"]:
        sentences.append(
            f"Macro F1 per recording: mean {score(per['mean'])}, median {score(per['median'])}, "
            f"standard deviation {score(sd)} (n = {per['n']})."
        )
    if intervals["reason"]:
        sentences.append(f"No intervals: {intervals['reason']}.")
    sentences += metrics["notes"]
    for name, n in intervals["undefined_resamples"].items():
        if n < intervals["resamples"]:
            sentences.append(
                f"{name} was not defined in {n:,} of {intervals['resamples']:,} resamples; its "
                "interval is that of the others."
            )
    return sentences


def confusion_cells(matrix: list[list[int]]) -> list[tuple[str, str, list[ConfusionCell]]]:
    """Give, for each true stage, its name, its number of epochs and its row of cells."""
    rows = []
    for i, (name, row) in enumerate(zip(STAGE_NAMES, matrix, strict=True)):
        total = sum(row)
        cells = [
            ConfusionCell(share(n, total), count(n), DARKEST * n / total if total else 0.0, i == j)
            for j, n in enumerate(row)
        ]
        rows.append((name, count(total), cells))
    return rows


def stage_table(model: Model, *, simulated: str) -> Table:
    """Give precision, sensitivity and F1 of each stage."""
    metrics = model.metrics or {}
    pooled, intervals = metrics["pooled"], metrics["intervals"]
    return make_table(
        f"Each stage, pooled over {metrics['counts']['scored']:,} epochs; F1 with the "
        f"{100 * intervals['confidence']:g} % interval over "
        f"{plural(intervals['subjects'], 'subject')}; n: true epochs.",
        columns=["Stage", "F1", "Precision", "Sensitivity", "n"],
        numeric=["F1", "Precision", "Sensitivity", "n"],
        rows=[
            [
                name,
                score_with_interval(values["f1"], intervals["f1"][name]),
                score(values["precision"]),
                score(values["recall"]),
                count(values["support"]),
            ]
            for name, values in ((name, pooled["per_class"][name]) for name in STAGE_NAMES)
        ],
        simulated=simulated,
    )


def dataset_tables(model: Model, *, simulated: str) -> list[Table]:
    """Give the headline of each data set, where there are several."""
    datasets = (model.metrics or {}).get("datasets", {})
    if not datasets:
        return []
    columns = [*METRICS, "Baseline accuracy", "Subjects", "Recordings", "Epochs"]
    return [
        make_table(
            f"{model.name}: each data set by itself.",
            columns=["Data set", *columns],
            numeric=columns,
            rows=[
                [
                    name,
                    *(
                        score_with_interval(block["pooled"][key], block["intervals"][key])
                        for key in METRICS.values()
                    ),
                    score(block["baseline"]["accuracy"]),
                    count(block["subjects"]),
                    count(block["recordings"]),
                    count(block["counts"]["scored"]),
                ]
                for name, block in sorted(datasets.items())
            ],
            simulated=simulated,
        )
    ]


def recording_table(model: Model, *, simulated: str) -> Table:
    """Give counts and agreement of each test recording of a model with predictions."""
    if model.counted is None:
        raise ValueError(f"{model.name} has no predictions")
    values = agreement(model.counted.confusion)
    rows = []
    for i, row in enumerate(model.counted.table.iter_rows(named=True)):
        numbers = [count(row[name]) for name in ("scored", "unscored", "unusable")]
        scores = [score(getattr(values, key)[i]) for key in METRICS.values()]
        rows.append([row["recording"], row["subject"], str(row["fold"]), *scores, *numbers])
    numeric = ["Fold", *METRICS, "Epochs compared", "Without a stage", "No usable signal"]
    return make_table(
        f"{plural(len(rows), 'test recording')} of {model.name}.",
        columns=["Recording", "Subject", *numeric],
        numeric=numeric,
        rows=rows,
        simulated=simulated,
    )


def choose_recordings(models: list[Model], wanted: int) -> tuple[pl.DataFrame, str]:
    """Choose test recordings from the worst to the best, and say how.

    Recordings are ranked by their kappa (mean over the models; recordings without a kappa come
    first) and taken at even steps of rank, so that poor nights are shown as well as good ones.

    Returns
    -------
    tuple
        Key columns of the chosen recordings in the order of rank with `kappa`, and the rule in
        words.
    """
    tables = [
        model.counted.table.select(RECORDING_KEY).with_columns(
            kappa=pl.Series(agreement(model.counted.confusion).kappa).fill_nan(None)
        )
        for model in models
        if model.counted is not None
    ]
    if not tables or not wanted:
        empty = pl.DataFrame(schema=[*RECORDING_KEY, "kappa"])
        return empty, "No hypnograms: " + (
            "the configuration asks for none." if tables else "no predictions were given."
        )
    ranked = (
        pl.concat(tables)
        .group_by(RECORDING_KEY)
        .agg(pl.col("kappa").mean())
        .sort("kappa", *RECORDING_KEY, nulls_last=False)
    )
    if ranked.height <= wanted:
        return ranked, (
            f"All {plural(ranked.height, 'test recording')}, from the lowest kappa to the highest "
            "(mean over the models)."
        )
    places = np.unique(np.linspace(0, ranked.height - 1, wanted).round().astype(int))
    return ranked[places], (
        f"{len(places)} of {ranked.height:,} test recordings, at even steps of rank from the "
        "lowest kappa (mean over the models) to the highest: poor nights are shown as well as "
        "good ones."
    )


def nights(models: list[Model], chosen: pl.DataFrame, cohort: Cohort) -> list[Night]:
    """Draw the chosen recordings, each by every model."""
    drawn: dict[tuple[str, ...], list[Picture]] = {key: [] for key in chosen.drop("kappa").rows()}
    for model in models:
        for path in model.predictions:
            if not drawn:
                continue
            keys = chosen.lazy().select(RECORDING_KEY)
            rows_of_chosen = scan_test_epochs(path).join(keys, on=RECORDING_KEY, how="semi")
            epochs = rows_of_chosen.collect().sort("epoch")
            for key, rows in epochs.group_by(RECORDING_KEY, maintain_order=True):
                dataset, subject, recording = (str(part) for part in key)
                badge = "simulated" if cohort.is_simulated(dataset, recording) else ""
                drawn[dataset, subject, recording].append(
                    hypnogram(rows, recording=recording, model=model.name, simulated=badge)
                )
    kappas = dict(zip(drawn, chosen["kappa"].to_list(), strict=True))
    return [
        Night(f"{key[2]} (subject {key[1]}; mean kappa {score(kappas[key])})", pictures)
        for key, pictures in drawn.items()
    ]


def training_pictures(curves: list[Curves], *, simulated: str) -> list[Picture]:
    """Draw the losses of each network that was trained in passes."""
    return [
        training_curves(one.name, folds, simulated=simulated)
        for one in curves
        if (folds := _drawable(one))
    ]


def _drawable(curves: Curves) -> dict[str, pl.DataFrame]:
    return {
        fold: frame
        for fold, frame in curves.folds.items()
        if any(name in frame.columns and frame[name].count() for name in LOSSES)
    }


def provenance_table(runs: list[Run]) -> Table:
    """Say what made each file, with which code, when and at what cost."""
    folder = _common_folder([run.file.parent for run in runs])
    rows = []
    for run in runs:
        made = run.content
        name = str(run.file.relative_to(folder))
        if made is None:
            rows.append([name, "no run.json beside the file", *[NOTHING] * 7])
            continue
        state = {None: "not in run.json", True: "CHANGED since", False: "as made"}[run.changed]
        rows.append(
            [
                name,
                str(made.get("module", NOTHING)),
                state,
                str(made.get("code", NOTHING))[:12],
                _short_commit(made.get("git_commit")),
                str(made.get("started", NOTHING)).replace("T", " ").removesuffix("+00:00"),
                _plain_number(made.get("seconds"), ".1f"),
                _plain_number(made.get("peak_memory_mib"), ",.0f"),
                str(made.get("device", NOTHING)),
            ]
        )
    numeric = ["Seconds", "Peak memory (MiB)"]
    return make_table(
        f"{plural(len(rows), 'file')} this page was made from, in {folder}.",
        columns=["File", "Made by", "Content", "Code", "Commit", "Started (UTC)", *numeric,
                 "Device"],
        numeric=numeric,
        rows=rows,
    )  # fmt: skip


def _common_folder(folders: list[Path]) -> Path:
    """Give the folder all others are in; the empty path where there is none."""
    candidates = [folders[0], *folders[0].parents]
    return next(
        (path for path in candidates if all(folder.is_relative_to(path) for folder in folders)),
        Path(),
    )


def _short_commit(commit: str | None) -> str:
    if not commit:
        return NOTHING
    return commit[:12] + ("+" if commit.endswith("+") else "")


def _plain_number(value: float | None, form: str) -> str:
    return NOTHING if value is None else format(value, form)


def versions_table(runs: list[Run]) -> Table | None:
    """Give the version of each package; several where steps ran with different ones."""
    found: dict[str, set[str]] = {}
    for run in runs:
        for package, version in ((run.content or {}).get("versions") or {}).items():
            found.setdefault(package, set()).add(str(version))
    if not found:
        return None
    mixed = [name for name, versions in found.items() if len(versions) > 1]
    said = f" Steps ran with different versions of {', '.join(sorted(mixed))}." if mixed else ""
    return make_table(
        f"Packages, as noted by the steps.{said}",
        columns=["Package", "Version"],
        rows=[[name, ", ".join(sorted(found[name]))] for name in sorted(found)],
    )
