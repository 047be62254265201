"""The page of one scored night: what was said of it, how sure that is, and what to look at again.

One HTML file without scripts that fetches nothing. What is decided here:

- The first model of stages is the one that is reviewed; of a night without one, the first model of
  events. The others stand beside it.
- Whatever was not known is said: lights, the clock, what a model was trained on, a lost signal.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from textwrap import fill, shorten
from typing import Any
from urllib.parse import quote

import numpy as np

from somnoflow.evaluate.review import Review, choose_review, spread_out
from somnoflow.evaluate.sleep_statistics import SleepStatistics
from somnoflow.night import Night
from somnoflow.report.night_models import Scored
from somnoflow.report.night_review import answers_of, clock_time, review_table, say_review
from somnoflow.report.night_spectrum import channel_of_spectrum
from somnoflow.report.night_statistics import hours_and_minutes, stage_table, statistics_table
from somnoflow.report.tables import NOTHING, Table, make_table, plural, rough_share
from somnoflow.report.template import fill_in
from somnoflow.scoring.hypnogram import Hypnogram
from somnoflow.stages import EPOCH_SECONDS, STAGE_NAMES

TEMPLATE = Path(__file__).with_name("night_page.html")
MAX_TRACES = 12
# What a file holds, by how its name ends; the longer ending first.
FILES = {
    "-annotations.edf": "EDF+ annotations, for EDFbrowser, MNE and most viewers",
    "_events.tsv": "BIDS events",
    "_events.json": "what the columns of the BIDS events mean",
    "-yasa.csv": "a stage for each epoch, as YASA writes it",
    ".csv": "each epoch: answer, confidence, probabilities",
    ".xml": "NSRR-style annotations",
    ".json": "what made the answers",
}


def night_page(
    hypnograms: Sequence[Hypnogram],
    *,
    night: Night | None,
    statistics: SleepStatistics | None,
    models: Sequence[Mapping[str, Any]],
    files: Sequence[str],
    review_share: float = 0.2,
) -> str:
    """Write the page of a night.

    Parameters
    ----------
    hypnograms
        What models said of the same N epochs of one recording.
    night
        In physical units, with the same epochs; None where the signal is gone.
    statistics
        Of the first model of stages; None where there is none.
    models
        What the bundle of each hypnogram says of its model (`BundleAbout` as JSON); empty where it
        was no bundle.
    files
        Names of the files beside the page.
    review_share
        Share of the usable epochs that is to be looked at again.

    Returns
    -------
    HTML.

    Raises
    ------
    ValueError
        When there is no epoch, hypnograms and night are not of the same epochs, or their number is
        not that of the models.
    """
    _require_same(hypnograms, night=night, models=models)
    scored = [
        Scored(one, about, number)
        for number, (one, about) in enumerate(zip(hypnograms, models, strict=True), start=1)
    ]
    page = _Page(scored, night=night, statistics=statistics, share=review_share)
    main = page.main
    pictures = page.pictures()
    return fill_in(
        TEMPLATE,
        title=f"Night {main.hypnogram.recording}",
        facts=page.facts(),
        simulated=[one.title for one in scored if one.simulated],
        trained=[one.trained_on() for one in scored],
        agree=page.agreement(),
        notes=page.notes(),
        statistics=page.statistics_tables(),
        lights=page.lights(),
        breathing=page.breathing(),
        of_sleep=bool(page.stages),
        review_said=[say_review(page.review), main.calibrated(), main.promise()],
        review_table=review_table(main.hypnogram, page.review),
        channels=page.channels(),
        remarks=page.remarks(),
        files=[(_link(name), name, _what(name)) for name in files],
        provenance=page.provenance(),
        settings=[(one.title, one.settings()) for one in scored],
        **pictures,
    )


def _require_same(
    hypnograms: Sequence[Hypnogram], *, night: Night | None, models: Sequence[Mapping[str, Any]]
) -> None:
    if not hypnograms or not len(hypnograms[0]):
        raise ValueError("no epoch of the night was scored, wanted a hypnogram with at least one")
    if len(models) != len(hypnograms):
        raise ValueError(
            f"{plural(len(models), 'model')} for {plural(len(hypnograms), 'hypnogram')}, wanted "
            "one, or an empty one, for each"
        )
    onsets = [one.table["onset_s"].to_numpy() for one in hypnograms]
    for onset in [*onsets, *([] if night is None else [night.onset_s])]:
        if len(onset) != len(onsets[0]) or not np.allclose(onset, onsets[0]):
            raise ValueError(
                f"{len(onset)} and {len(onsets[0])} epochs that do not begin together, wanted the "
                "same ones: give hypnograms and signals of one reading of one recording"
            )


class _Page:
    """The parts of a page."""

    def __init__(
        self,
        scored: Sequence[Scored],
        *,
        night: Night | None,
        statistics: SleepStatistics | None,
        share: float,
    ) -> None:
        self.stages = [one for one in scored if not one.hypnogram.task.rare]
        self.events = [one for one in scored if one.hypnogram.task.rare]
        self.scored = [*self.stages, *self.events]
        self.main = self.scored[0]
        self.night = night
        self.statistics = statistics
        self.review: Review = choose_review(self.main.hypnogram, share=share)
        self.traced = sorted(spread_out(self.review.rows.tolist(), most=MAX_TRACES))

    @cached_property
    def said_stages(self) -> list[str | None] | None:
        return self.stages[0].hypnogram.classes if self.stages else None

    def facts(self) -> list[tuple[str, str]]:
        """Give the numbers at the top, with their names."""
        hypnogram = self.main.hypnogram
        start, n = hypnogram.start, len(hypnogram)
        facts = [
            (f"{start:%H:%M}", f"start, {start:%Y-%m-%d}") if start else (NOTHING, "start unknown"),
            (hours_and_minutes(n * EPOCH_SECONDS / 60), f"duration, {plural(n, 'epoch')}"),
            (rough_share(self.review.usable, n), "of epochs with a usable signal"),
        ]
        if self.statistics is not None and self.statistics.scored_epochs:
            facts += [
                (hours_and_minutes(self.statistics.tst), "total sleep time"),
                (_percent(self.statistics.se), "sleep efficiency"),
            ]
        for one in self.events:
            index = one.index(self.said_stages)
            known = index.estimated is not None
            facts.append(
                (_rate(index.estimated if known else index.at_least),
                 f"{one.index_name(index)}, {'estimated' if known else 'at least'}"),
            )  # fmt: skip
        return facts

    def agreement(self) -> str:
        """Say how often several models of stages agree."""
        if len(self.stages) < 2:
            return ""
        answers = [one.hypnogram.classes for one in self.stages]
        judged = [said for said in zip(*answers, strict=True) if None not in said]
        agree = sum(len(set(said)) == 1 for said in judged)
        return (
            f"The {len(answers)} models of stages say the same in "
            f"{rough_share(agree, len(judged))} of the {plural(len(judged), 'epoch')} that all of "
            "them scored."
        )

    def notes(self) -> list[str]:
        """Say what is unusual about this night."""
        hypnogram, notes = self.main.hypnogram, []
        said = self.said_stages or []
        if not self.review.usable:
            notes.append("No epoch has a usable signal: nothing could be scored.")
        elif self.stages:
            found = {name for name in said if name}
            if found == {STAGE_NAMES[0]}:
                notes.append("No sleep was found: every usable epoch is wake.")
            elif STAGE_NAMES[-1] not in found:
                notes.append("No REM sleep was found.")
        if 2 * self.review.usable < len(hypnogram) and self.review.usable:
            notes.append("Fewer than half of the epochs have a usable signal.")
        if len(hypnogram) * EPOCH_SECONDS < 3600:
            notes.append("The recording is shorter than an hour: models were trained on nights.")
        if self.night is None:
            notes.append("The signals were not at hand: no spectrum, traces or signal quality.")
        return notes

    def pictures(self) -> dict[str, Any]:
        """Draw all pictures."""
        # matplotlib takes a second: a program that asks for no page does not pay for it.
        from somnoflow.report.figures import COLOURS, Picture  # noqa: PLC0415
        from somnoflow.report.night_figures import Drawn, night_picture, quality_strip  # noqa: PLC0415
        from somnoflow.report.night_traces import draw_traces  # noqa: PLC0415

        lights_off, lights_on = self._lights_s()
        drawn = Drawn(
            stages=[(_short(one.title), one.hypnogram) for one in self.stages],
            events=[(_short(one.event), one.hypnogram) for one in self.events],
            review=self.review,
            traced=self.traced,
            night=self.night,
            start=self.main.hypnogram.start,
            lights_off=lights_off,
            lights_on=lights_on,
        )
        told = self._told()
        picture = night_picture(drawn, alt=told, caption=self._caption(), simulated="")
        answers = answers_of(self.main.hypnogram, self.traced)
        traces: list[Picture | None] = [None] * len(answers)
        quality = None
        if self.night is not None:
            quality = quality_strip(drawn, self.night, recording=self.main.hypnogram.recording)
            traces = draw_traces(self.night, answers)
        return {
            "picture_of_night": picture,
            "quality": quality,
            "traced": list(zip(answers, traces, strict=True)),
            "colours": COLOURS,
        }

    def _told(self) -> str:
        """Say in words what the picture of the night shows."""
        hypnogram = self.main.hypnogram
        said = hypnogram.classes
        n = self.review.usable
        shares = ", ".join(
            f"{name} {rough_share(said.count(name), n)}" for name in hypnogram.task.classes
        )
        begins = [
            self._time(row)
            for row, name in enumerate(said)
            if name == "REM" and (row == 0 or said[row - 1] != "REM")
        ]
        rem = f" REM begins at {', '.join(begins[:8])}." if begins else ""
        more = f" and {len(begins) - 8} later times." if len(begins) > 8 else ""
        lost = len(said) - n
        doubt = (
            f" Least certain are {plural(len(self.review.rows), 'epoch')}, with a confidence of "
            f"{self.review.limit:.2f} or less."
            if self.review.limit is not None
            else ""
        )
        events = "".join(
            f" {one.event}: {plural(one.index(self.said_stages).epochs, 'epoch')}."
            for one in self.events
        )
        return (
            f"{hypnogram.recording} over time. Of {plural(n, 'usable epoch')}: {shares}.{rem}"
            f"{more} {plural(lost, 'epoch')} without a usable signal.{doubt}{events}"
        )

    def _caption(self) -> str:
        parts = []
        if self.stages:
            parts.append("stages; below them the probability of each, in the same colours")
        parts.append("confidence")
        if self.traced:
            parts[-1] += (
                f", with the {plural(len(self.review.rows), 'epoch')} to look at again in orange "
                "and triangles at those that are drawn below"
            )
        if self.night is not None and channel_of_spectrum(self.night) is not None:
            parts.append("spectrogram")
        if self.events:
            parts.append(
                "probability of an event, blue where the model says that there is one, with its "
                "threshold"
            )
        said = "; ".join(parts)
        return f"{said[:1].upper()}{said[1:]}. Grey: no usable signal."

    def statistics_tables(self) -> list[Table]:
        if self.statistics is None:
            return []
        return [statistics_table(self.statistics), stage_table(self.statistics)]

    def _lights_s(self) -> tuple[float | None, float | None]:
        """Give the seconds of lights off and on, where they are known."""
        found = self.statistics
        if found is None:
            return None, None
        onset = self.main.hypnogram.table["onset_s"]
        begin, end = onset[found.first_epoch], onset[found.end_epoch - 1] + EPOCH_SECONDS
        return (
            float(begin) if found.lights_off == "given" else None,
            float(end) if found.lights_on == "given" else None,
        )

    def lights(self) -> str:
        """Say what stands for lights off and on."""
        said = []
        known = zip(("off", "on"), self._lights_s(), ("start", "end"), strict=True)
        for name, seconds, stand_in in known:
            if seconds is None:
                said.append(
                    f"Lights {name} is not known: the {stand_in} of the recording stands for it."
                )
            else:
                said.append(f"Lights {name} at {self._clock(seconds)}.")
        if self.statistics is not None and self.statistics.unscored_epochs:
            found = self.statistics
            whole = found.scored_epochs + found.unscored_epochs
            said.append(
                f"{rough_share(found.unscored_epochs, whole)} of the time in bed has no stage and "
                "counts as neither sleep nor wake: sleep time and efficiency are too low by what "
                "was slept there, and the first REM may lie there."
            )
        return " ".join(said)

    def breathing(self) -> Table | None:
        """Count the events of each model of events."""
        if not self.events:
            return None
        rows = []
        for one in self.events:
            index = one.index(self.said_stages)
            rows.append([
                one.event, f"{index.epochs:,}", f"{index.runs:,}", f"{index.hours:.2f}",
                one.index_name(index), _rate(index.at_least), _rate(index.estimated), one.title,
            ])  # fmt: skip
        of = "hours of scored sleep" if self.stages else "hours of recording with a usable signal"
        numeric = ["Epochs", "Runs of them", "Hours", "At least", "Estimated"]
        return make_table(
            f"Epochs in which a model says that there is an event, over {of}.",
            columns=["Event", *numeric[:3], "Index", *numeric[3:], "Model"],
            numeric=numeric, prose=["Model"], rows=rows,
        )  # fmt: skip

    def channels(self) -> Table:
        """Say what each channel was made of, and why others are not there."""
        made: dict[str, str] = {}
        absent: dict[str, str] = {}
        for one in self.scored:
            made |= one.hypnogram.night.get("channels") or {}
            absent |= one.hypnogram.night.get("absent") or {}
        lost = {name: why for name, why in absent.items() if name not in made}
        return make_table(
            f"{plural(len(made), 'channel')} of the recording that the models read, and what is "
            "not there.",
            columns=["Channel", "Label in the recording", "Not there because"],
            prose=["Label in the recording", "Not there because"],
            rows=[
                *([name, str(label), ""] for name, label in made.items()),
                *([name, NOTHING, str(why)] for name, why in lost.items()),
            ],
        )

    def remarks(self) -> list[str]:
        said = [str(text) for one in self.scored for text in one.hypnogram.night.get("remarks", [])]
        return list(dict.fromkeys(said))

    def provenance(self) -> Table:
        rows = [(one.title, row) for one in self.scored for row in one.origin()]
        return make_table(
            "What the answers were made with.",
            columns=["What", "Value"],
            prose=["Value"],
            rows=[row for _, row in rows],
            groups=[title for title, _ in rows],
        )

    def _time(self, row: int) -> str:
        return self._clock(self.main.hypnogram.table["onset_s"][row])

    def _clock(self, seconds: float) -> str:
        return clock_time(seconds, start=self.main.hypnogram.start)


def _percent(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.0f} %"


def _rate(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.1f}"


def _short(text: str) -> str:
    """Break a name into lines that fit beside a panel."""
    return fill(shorten(text, 60, placeholder="..."), 22)


def _link(name: str) -> str:
    """Give a relative address: a name with a colon is no other kind of address."""
    return "./" + quote(name)


def _what(name: str) -> str:
    return next((what for end, what in FILES.items() if name.endswith(end)), "")
