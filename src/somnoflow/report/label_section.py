"""What the report says about label efficiency: curves, tables, and what pre-training is worth."""

from collections.abc import Iterable
from dataclasses import dataclass

from somnoflow.evaluate.seeds import RANGE, STUDENT, Spread
from somnoflow.report.figures import Picture
from somnoflow.report.label_curves import Curve, LabelEfficiency, Size, pairs
from somnoflow.report.label_figure import draw_curves
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
from somnoflow.stages import STAGE_NAMES

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
    """What the page shows about one source and one way to leave labels out."""

    title: str
    picture: Picture
    sentences: list[str]
    tables: list[Table]


def label_panels(found: LabelEfficiency, *, simulated: str) -> list[LabelPanel]:
    """Make picture, sentences and tables for each source and way to leave labels out."""
    panels = []
    for source, by, curves in found.panels:
        sizes = {percent: size for (unit, percent), size in found.sizes.items() if unit == by}
        title = f"{source.title}: {WORDS[by]}"
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


def interval_words(curves: Iterable[Curve]) -> str:
    """Say how the intervals over seeds were made, and over how many seeds."""
    curves = list(curves)
    spreads = [c.spread(percent, "macro_f1") for c in curves for percent in c.percents]
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


def sizes_table(found: LabelEfficiency, *, simulated: str) -> Table:
    """Say how many labels each share is, and which stages have none."""
    units = list(dict.fromkeys(curve.by for curve in found.curves))
    shown = sorted(
        (key for key in found.sizes if key[0] in units),
        key=lambda key: (units.index(key[0]), key[1]),
    )
    numeric = ["Subjects", "Epochs", *STAGE_NAMES]
    return make_table(
        "Labels that a training sees: mean over folds and seeds. A larger share holds the smaller "
        "ones of its seed. Validation and test subjects keep all of theirs.",
        columns=["Labels", *numeric, "Stages without any label"],
        numeric=numeric,
        prose=["Stages without any label"],
        rows=[
            [
                f"{percent:g} %",
                f"{number(size.subjects)} of {number(size.of_subjects)}",
                f"{number(size.epochs)} of {number(size.of_epochs)}",
                *(number(size.stages[name]) for name in STAGE_NAMES),
                without_words(size),
            ]
            for (_, percent), size in ((key, found.sizes[key]) for key in shown)
        ],
        groups=[WORDS[unit].capitalize() for unit, _ in shown],
        simulated=simulated,
    )


def notes(found: LabelEfficiency) -> list[str]:
    """Say what a reader must know before the curves."""
    paired = any(pairs(curves) for _, _, curves in found.panels)
    return alike_sentences(found) + ([] if paired else [NEEDS_SCRATCH])


def alike_sentences(found: LabelEfficiency) -> list[str]:
    """Name shares that are the same labels, since each is rounded to at least one."""
    sentences = []
    for unit in dict.fromkeys(curve.by for curve in found.curves):
        same: dict[float, list[str]] = {}
        for (by, percent), size in sorted(found.sizes.items()):
            if by == unit:
                same.setdefault(size.subjects if by == "subjects" else size.epochs, []).append(
                    f"{percent:g}"
                )
        sentences += [
            f"{' and '.join(names)} % of the {unit} are the same labels: {number(n)} "
            f"{unit if n != 1 else unit.removesuffix('s')}."
            for n, names in same.items()
            if len(names) > 1
        ]
    return sentences


def number(value: float) -> str:
    """Write a mean count, with a decimal where it is no whole number."""
    return decimal(value, places=0 if value == round(value) or value >= 100 else 1)


def without_words(size: Size) -> str:
    """Name the stages that have no label in some draws: "N1, N3 (2 of 6 draws)"."""
    if not size.without:
        return "none"
    named = [
        name if n == size.draws else f"{name} (in {n} of {size.draws} draws)"
        for name, n in size.without.items()
    ]
    return ", ".join(named)


def results_table(curves: list[Curve], sizes: dict[float, Size], *, simulated: str) -> Table:
    """Give mean, interval and each seed's value of each method and size."""
    rows, groups = [], []
    for curve in curves:
        for percent in curve.percents:
            spreads = {key: curve.spread(percent, key) for key in ("macro_f1", "kappa")}
            seeds = curve.values(percent, "macro_f1")
            rows.append(
                [
                    f"{percent:g} %",
                    number(sizes[percent].subjects),
                    number(sizes[percent].epochs),
                    *(score_with_interval(s.mean, s.interval) for s in spreads.values()),
                    ", ".join(f"{score(value)}" for value in seeds.values()),
                ]
            )
            groups.append(curve.name.words)
    seeds_said = ", ".join(map(str, curves[0].values(curves[0].percents[0], "macro_f1")))
    numeric = ["Subjects", "Epochs", "Macro F1", "Kappa"]
    last = "Macro F1 of each seed"
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
    whole = [curve.spread(100, "macro_f1") for curve in curves if 100 in curve.percents]
    if not whole:
        return ""
    still = any(one.interval and one.interval[0] == one.interval[1] for one in whole)
    return " At 100 % the seed changes the training only" + (
        "; where the interval has no width, the method has no seed." if still else "."
    )


def worth_table(curves: list[Curve], sizes: dict[float, Size], *, simulated: str) -> Table | None:
    """Give pre-trained less from scratch at each size; None where no pair was trained."""
    rows, groups, spreads = [], [], []
    for tuned, scratch in pairs(curves):
        for percent in tuned.percents:
            gain, kappa = (tuned.gain(scratch, percent, key) for key in ("macro_f1", "kappa"))
            spreads.append(gain)
            rows.append(
                [
                    f"{percent:g} %",
                    number(sizes[percent].epochs),
                    difference(gain.mean, gain.interval),
                    difference(kappa.mean, kappa.interval),
                    {1: "pre-trained", -1: "from scratch", 0: "not visible"}[gain.sign]
                    if gain.interval
                    else NOTHING,
                ]
            )
            groups.append(f"{tuned.name.words} less {scratch.name.words}")
    if not rows:
        return None
    numeric = ["Epochs", "Macro F1", "Kappa"]
    return make_table(
        "Pre-trained less from scratch, seed by seed on the same labels; in brackets "
        f"{spread_words(spreads, confidence=curves[0].confidence)}. Better: by macro F1, where the "
        "interval does not hold 0.",
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
        f"share of the labels and macro F1: {'; '.join(_worth(tuned, scratch))}."
        for tuned, scratch in pairs(curves)
    ]


def _worth(tuned: Curve, scratch: Curve) -> list[str]:
    by_sign: dict[str, list[str]] = {}
    for percent in tuned.percents:
        gain = tuned.gain(scratch, percent)
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
