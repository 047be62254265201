"""What the two halves of the pre-training objective are worth: variants beside the encoder itself.

A variant and the encoder are judged on the same subjects, so the interval is that of their
difference: the same subjects are drawn for both (a paired bootstrap), as intervals of single models
are (evaluate/bootstrap.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from somnoflow.evaluate.bootstrap import percentile_interval, resample
from somnoflow.evaluate.seeds import sign_of
from somnoflow.report.naming import BASE, ModelName, Source, encoder_words
from somnoflow.report.sources import Model, Run
from somnoflow.report.tables import NOTHING, Table, difference, make_table, plural, score

HALVES = ("masked", "contrastive")


@dataclass(frozen=True)
class Comparison:
    """The encoder less one variant of it, by one method: difference of macro F1."""

    base: Model
    variant: Model
    difference: float | None
    interval: list[float] | None

    @property
    def identical(self) -> bool:
        """Whether both got every test recording alike, which two trainings hardly ever do."""
        one, other = self.base.counted, self.variant.counted
        if one is None or other is None:
            return False
        return bool(np.array_equal(one.confusion, other.confusion))

    @property
    def sign(self) -> int:
        """1 where the whole interval is in favour of the encoder, -1 of the variant, else 0."""
        return sign_of(self.interval)


def comparisons(models: list[Model]) -> list[Comparison]:
    """Compare the encoder with each variant, for each channel and method that both have."""
    by_name = {model.name: model for model in models if model.metrics is not None}
    found = []
    for name, variant in by_name.items():
        if not name.source.encoder.startswith(f"{BASE}-"):
            continue
        base = by_name.get(ModelName(Source(BASE, name.source.channel), name.method, name.task))
        if base is not None:
            found.append(compare(base, variant))
    return found


def compare(base: Model, variant: Model) -> Comparison:
    """Compare the encoder with one variant by macro F1."""
    values = [(model.metrics or {})["pooled"]["macro_f1"] for model in (base, variant)]
    gap = None if None in values else values[0] - values[1]
    return Comparison(base, variant, gap, None if gap is None else paired_interval(base, variant))


def paired_interval(base: Model, variant: Model) -> list[float] | None:
    """Give the interval of the difference in macro F1 over test subjects that both have.

    None where predictions are missing, the subjects differ, or fewer than two have scored epochs.
    """
    settings = (base.metrics or {}).get("intervals", {})
    if base.counted is None or variant.counted is None or not settings:
        return None
    tested = [set(model.counted.table["subject"]) for model in (base, variant) if model.counted]
    if tested[0] != tested[1]:
        return None
    mine, other = base.counted.per_subject(), variant.counted.per_subject()
    drawn = mine.any(axis=(-2, -1)) & other.any(axis=(-2, -1))
    if drawn.sum() < 2:
        return None
    # The same seed and number of subjects is the same draws.
    draws: dict[str, Any] = {key: settings[key] for key in ("resamples", "seed")}
    gaps = resample(mine[drawn], **draws).macro_f1 - resample(other[drawn], **draws).macro_f1
    return percentile_interval(np.asarray(gaps), settings["confidence"])


def recipes(runs: Sequence[Run]) -> dict[str, dict[str, Any]]:
    """Give the recipe of each encoder as its run.json noted it."""
    found: dict[str, dict[str, Any]] = {}
    for run in runs:
        slice_ = ((run.content or {}).get("arguments") or {}).get("cfg")
        if isinstance(slice_, dict) and "objective" in slice_.get("recipe", {}):
            found.setdefault(run.file.parts[-4], slice_["recipe"])
    return found


def objective_of(encoder: str, known: dict[str, dict[str, Any]]) -> str:
    """Give the objective of an encoder as it was noted, else as its name says it."""
    if encoder in known:
        return str(known[encoder]["objective"])
    variant = encoder.removeprefix(f"{BASE}-")
    return variant if variant in HALVES else ("hybrid" if encoder == BASE else "")


def differs(variant: str, known: dict[str, dict[str, Any]]) -> str:
    """Say which options of a variant differ from the encoder's, as noted in run.json."""
    if variant not in known or BASE not in known:
        return "not known: no run.json"
    changed = [
        f"{option}: {value} instead of {known[BASE].get(option)}"
        for option, value in sorted(known[variant].items())
        if value != known[BASE].get(option)
    ]
    return ", ".join(changed) or "nothing"


def variant_table(
    found: list[Comparison], *, known: dict[str, dict[str, Any]], simulated: str
) -> Table | None:
    """Put the encoder and its variants side by side, by channel and method; None without any."""
    if not found:
        return None
    numeric = ["NeuroNet", "The variant", "Difference"]
    ordered = sorted(found, key=lambda one: (one.base.name.order, one.variant.name.order))
    confidence = 100 * (ordered[0].base.metrics or {})["intervals"]["confidence"]
    return make_table(
        "Macro F1 of NeuroNet and of its variants, with the same method on the same test epochs. "
        f"Difference: NeuroNet less the variant, in brackets with the {confidence:g} % interval, "
        "for which the same test subjects are drawn for both. It covers who was tested, not "
        "another training: each encoder was trained once per fold.",
        columns=["Variant", "What differs", *numeric, "Better"],
        numeric=numeric,
        prose=["Variant", "What differs"],
        rows=[
            [
                encoder_words(one.variant.name.source.encoder),
                differs(one.variant.name.source.encoder, known),
                *(score((m.metrics or {})["pooled"]["macro_f1"]) for m in (one.base, one.variant)),
                difference(one.difference, one.interval),
                _better(one),
            ]
            for one in ordered
        ],
        simulated=simulated,
        groups=[f"{one.base.name.source.channel}: {one.base.name.words}" for one in ordered],
        links=[(one.variant.name.anchor, one.variant.name.path) for one in ordered],
    )


def _better(one: Comparison) -> str:
    if one.identical:
        return "identical"
    if one.interval is None:
        return NOTHING
    return {1: "NeuroNet", -1: "the variant", 0: "not visible"}[one.sign]


def hybrid_sentences(
    found: list[Comparison], *, known: dict[str, dict[str, Any]], simulated: str
) -> list[str]:
    """Say for each half of the objective whether the hybrid of both beats it."""
    if not found or objective_of(BASE, known) != "hybrid":
        return []
    words = {"masked": "masked prediction only", "contrastive": "contrast only"}
    where = f" on {simulated} data" if simulated else ""
    sentences = []
    for half in HALVES:
        mine = [c for c in found if objective_of(c.variant.name.source.encoder, known) == half]
        if mine:
            sentences.append(f"The hybrid objective against {words[half]}{where}: {_verdict(mine)}")
    return sentences


def _verdict(found: list[Comparison]) -> str:
    """Count wins, losses and differences that are not visible, and give the range of them."""
    known = [one for one in found if one.difference is not None]
    if not known:
        return "not defined."
    judged = [one for one in known if one.interval is not None]
    alike = sum(one.identical for one in judged)
    signs = [one.sign for one in judged if not one.identical]
    told = [
        f"{says} in {signs.count(sign)}"
        for sign, says in ((1, "better"), (-1, "worse"), (0, "no visible difference"))
        if signs.count(sign)
    ]
    if alike:
        told.append(f"identical results, as if the encoders were the same, in {alike}")
    told += [f"no interval in {len(known) - len(judged)}"] if len(judged) < len(known) else []
    each = ", ".join(
        f"{one.base.name.source.channel}, {one.base.name.words} "
        f"{difference(one.difference, one.interval)}"
        for one in known
    )
    return f"{', '.join(told)} of {plural(len(known), 'comparison')}. Macro F1: {each}."
