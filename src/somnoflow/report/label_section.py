"""What the report says about label efficiency: curves, tables, and what pre-training is worth."""

from collections.abc import Iterable
from dataclasses import dataclass

from somnoflow.evaluate.seeds import RANGE, STUDENT, Spread
from somnoflow.report.figures import Picture
from somnoflow.report.label_curves import Curve, LabelEfficiency, Panel, Size, pairs
from somnoflow.report.label_figure import draw_curves
from somnoflow.report.naming import BASE, TASK_WORDS
from somnoflow.report.tables import (
    NOTHING,
    UNBROKEN,
    Table,
    decimal,
    difference,
    make_table,
    plural,
    score,
    score_with_interval,
)
from somnoflow.tasks import TASKS

HOW_TO = (
    "No model was trained on a part of the labels. To see how many labels are enough, name methods "
    "in the configuration, such as label_efficiency: {methods: [linear, partial-mamba, "
    "scratch-mamba]}."
)
NEEDS_SCRATCH = (
    "What pre-training is worth is not visible here: no method was trained from scratch with the "
    "same context module as a pre-trained one. Add such a pair to label_efficiency.methods, for "
    "example partial-mamba and scratch-mamba."
)
WORDS = {"subjects": "whole subjects left out", "epochs": "single epochs left out"}


@dataclass(frozen=True)
class LabelPanel:
    """What the page shows about one task, one source and one way to leave labels out."""

    title: str
    picture: Picture
    sentences: list[str]
    tables: list[Table]


def label_panels(found: LabelEfficiency, *, simulated: str) -> list[LabelPanel]:
    """Make picture, sentences and tables for each task, source and way to leave labels out."""
    panels = []
    for panel in found.panels:
        curves, sizes = panel.curves, found.sizes_of(panel.task, panel.by)
        title = panel_title(panel)
        tables = [results_table(curves, sizes, simulated=simulated)]
        if worth := worth_table(curves, sizes, simulated=simulated):
            tables.append(worth)
        panels.append(
            LabelPanel(
                title=title,
                picture=draw_curves(curves, sizes, title=title, said=interval_words(curves),
                                    simulated=simulated),
                sentences=worth_sentences(curves, simulated=simulated),
                tables=tables,
            )
        )  # fmt: skip
    return panels


def panel_title(panel: Panel) -> str:
    """Name a panel; a task other than staging is named first."""
    asked = f"{TASK_WORDS[panel.task].capitalize()}: " if TASKS[panel.task].rare else ""
    return f"{asked}{panel.source.title}: {WORDS[panel.by]}"


def interval_words(curves: Iterable[Curve]) -> str:
    """Say how the intervals over seeds were made, and over how many seeds."""
    curves = list(curves)
    spreads = [c.spread(percent, c.scores[0]) for c in curves for percent in c.percents]
    return spread_words(spreads, confidence=curves[0].confidence)


def spread_words(spreads: list[Spread], *, confidence: float) -> str:
    """Say what the intervals of these means are."""
    numbers = sorted({spread.n for spread in spreads})
    seeds = plural(numbers[-1], "seed")
    seeds = f"{numbers[0]} to {seeds}" if len(numbers) > 1 else seeds
    kinds = {spread.kind for spread in spreads}
    said = []
    if STUDENT in kinds:
        said.append(f"the {100 * confidence:g} % interval of the mean (Student t)")
    if RANGE in kinds:
        said.append("the lower and the higher of two seeds")
    if not said:
        return f"n = {seeds}, so there is no interval"
    return f"{' or '.join(said)}, n = {seeds}"


def sizes_tables(found: LabelEfficiency, *, simulated: str) -> list[Table]:
    """Say for each task how many labels each share is, and which classes have none."""
    return [sizes_table(found, task=task, simulated=simulated) for task in found.tasks]


def sizes_table(found: LabelEfficiency, *, task: str, simulated: str) -> Table:
    """Say how many labels of a task each share is, and which classes have none."""
    mine = [curve for curve in found.curves if curve.name.task == task]
    classes = TASKS[task].classes
    numeric = ["Subjects", "Epochs", *(name.capitalize() if TASKS[task].rare else name
                                       for name in classes)]  # fmt: skip
    last = f"{'Classes' if TASKS[task].rare else 'Stages'} without any label"
    rows, groups = [], []
    for unit in dict.fromkeys(curve.by for curve in mine):
        for percent, size in found.sizes_of(task, unit).items():
            rows.append(
                [
                    f"{percent:g} %",
                    f"{number(size.subjects)} of {number(size.of_subjects)}",
                    f"{number(size.epochs)} of {number(size.of_epochs)}",
                    *(number(size.classes[name]) for name in classes),
                    without_words(size),
                ]
            )
            groups.append(WORDS[unit].capitalize())
    return make_table(
        f"Labels that a training sees ({TASK_WORDS[task]}): mean over folds and seeds. A larger "
        "share holds the smaller ones of its seed. Validation and test subjects keep all of "
        "theirs.",
        columns=["Labels", *numeric, last],
        numeric=numeric,
        prose=[last],
        rows=rows,
        groups=groups,
        simulated=simulated,
    )


def notes(found: LabelEfficiency) -> list[str]:
    """Say what a reader must know before the curves."""
    paired = any(pairs(panel.curves) for panel in found.panels)
    # Only NeuroNet can be trained from scratch.
    known = any(panel.source.encoder == BASE for panel in found.panels)
    return alike_sentences(found) + ([NEEDS_SCRATCH] if known and not paired else [])


def alike_sentences(found: LabelEfficiency) -> list[str]:
    """Name shares that are the same labels, since each is rounded to at least one."""
    sentences = []
    for task, unit in dict.fromkeys((curve.name.task, curve.by) for curve in found.curves):
        same: dict[float, list[str]] = {}
        for percent, size in found.sizes_of(task, unit).items():
            n = size.subjects if unit == "subjects" else size.epochs
            same.setdefault(n, []).append(f"{percent:g}")
        of = f" ({TASK_WORDS[task]})" if len(found.tasks) > 1 else ""
        sentences += [
            f"{' and '.join(names)} % of the {unit} are the same labels{of}: {number(n)} "
            f"{unit if n != 1 else unit.removesuffix('s')}."
            for n, names in same.items()
            if len(names) > 1
        ]
    return sentences


def number(value: float) -> str:
    """Write a mean count, with a decimal where it is no whole number."""
    return decimal(value, places=0 if value == round(value) or value >= 100 else 1)


def without_words(size: Size) -> str:
    """Name the classes that have no label in some draws: "N1, N3 (2 of 6 draws)"."""
    if not size.without:
        return "none"
    named = [
        name if n == size.draws else f"{name} (in {n} of {size.draws} draws)"
        for name, n in size.without.items()
    ]
    return ", ".join(named)


def results_table(curves: list[Curve], sizes: dict[float, Size], *, simulated: str) -> Table:
    """Give mean, interval and each seed's value of each method and size."""
    scores = curves[0].scores
    rows, groups = [], []
    for curve in curves:
        for percent in curve.percents:
            spreads = [curve.spread(percent, one) for one in scores]
            seeds = curve.values(percent, scores[0])
            rows.append(
                [
                    f"{percent:g} %",
                    number(sizes[percent].subjects),
                    number(sizes[percent].epochs),
                    *(score_with_interval(s.mean, s.interval) for s in spreads),
                    ", ".join(f"{score(value)}" for value in seeds.values()),
                ]
            )
            groups.append(curve.name.words)
    seeds_said = ", ".join(map(str, curves[0].values(curves[0].percents[0], scores[0])))
    numeric = ["Subjects", "Epochs", *(one.heading for one in scores)]
    last = f"{scores[0].heading} of each seed"
    return make_table(
        f"Test results by labels seen, all folds pooled: mean over seeds, in brackets "
        f"{interval_words(curves)}. It covers which labels were drawn and the training, not who "
        f"was tested. Seeds: {seeds_said}.{_whole_words(curves)}",
        columns=["Labels", *numeric, last],
        numeric=[*numeric, last],
        rows=rows,
        groups=groups,
        simulated=simulated,
    )


def _whole_words(curves: list[Curve]) -> str:
    """Say what moves with the seed where all labels are seen."""
    whole = [curve.spread(100, curve.scores[0]) for curve in curves if 100 in curve.percents]
    if not whole:
        return ""
    still = any(one.interval and one.interval[0] == one.interval[1] for one in whole)
    return " At 100 % the seed changes the training only" + (
        "; where the interval has no width, the method has no seed." if still else "."
    )


def worth_table(curves: list[Curve], sizes: dict[float, Size], *, simulated: str) -> Table | None:
    """Give pre-trained less from scratch at each size; None where no pair was trained."""
    scores = curves[0].scores
    rows, groups, spreads = [], [], []
    for tuned, scratch in pairs(curves):
        for percent in tuned.percents:
            gains = [tuned.gain(scratch, percent, one) for one in scores]
            spreads.append(gains[0])
            rows.append(
                [
                    f"{percent:g} %",
                    number(sizes[percent].epochs),
                    *(difference(gain.mean, gain.interval) for gain in gains),
                    {1: "pre-trained", -1: "from scratch", 0: "not visible"}[gains[0].sign]
                    if gains[0].interval
                    else NOTHING,
                ]
            )
            groups.append(f"{tuned.name.words} less {scratch.name.words}")
    if not rows:
        return None
    numeric = ["Epochs", *(one.heading for one in scores)]
    return make_table(
        "Pre-trained less from scratch, seed by seed on the same labels; in brackets "
        f"{spread_words(spreads, confidence=curves[0].confidence)}. Better: by "
        f"{scores[0].words}, where the interval does not hold 0.",
        columns=["Labels", *numeric, "Better"],
        numeric=numeric,
        rows=rows,
        groups=groups,
        simulated=simulated,
    )


def worth_sentences(curves: list[Curve], *, simulated: str) -> list[str]:
    """Say at which sizes pre-training is worth something, costs something, or neither is seen."""
    where = f" on {simulated} data" if simulated else ""
    return [
        f"What pre-training is worth{where}, {tuned.name.words} against the same from scratch, by "
        f"share of the labels and {tuned.scores[0].words}: "
        f"{'; '.join(_worth(tuned, scratch))}."
        for tuned, scratch in pairs(curves)
    ]


def _worth(tuned: Curve, scratch: Curve) -> list[str]:
    by_sign: dict[str, list[str]] = {}
    for percent in tuned.percents:
        gain = tuned.gain(scratch, percent, tuned.scores[0])
        if gain.mean is None:
            told = "not defined"
        elif gain.interval is None:
            told = f"not to be judged from {plural(gain.n, 'seed')}"
        else:
            told = {1: "better", -1: "worse", 0: "not visible"}[gain.sign]
        by_sign.setdefault(told, []).append(
            f"{percent:g}{UNBROKEN}% ({difference(gain.mean, gain.interval)})"
        )
    return [f"{told} at {', '.join(places)}" for told, places in by_sign.items()]
