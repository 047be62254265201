"""What a model that scored a night says of itself: training, results, calibration, origin."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from somnoflow.evaluate.respiratory_index import RespiratoryIndex, respiratory_index
from somnoflow.report.tables import plural, score, score_with_interval
from somnoflow.scoring.hypnogram import Hypnogram

EVENTS = {
    "respiratory": "apnea or hypopnea", "apnea": "apnea", "hypopnea": "hypopnea",
}  # fmt: skip
OF_SLEEP = {
    "respiratory": "AHI", "apnea": "apnea index", "hypopnea": "hypopnea index",
}  # fmt: skip
OF_RECORDING = {
    "respiratory": "REI", "apnea": "apneas per hour of recording",
    "hypopnea": "hypopneas per hour of recording",
}  # fmt: skip


# What is told of a model's results on test subjects, where it is there.
MEASURES = {
    "kappa": "kappa", "accuracy": "accuracy", "macro_f1": "macro F1",
    "average_precision": "average precision", "f1": "F1",
}  # fmt: skip


@dataclass(frozen=True)
class Scored:
    """A hypnogram with what its model says of itself (`BundleAbout`; empty where nothing)."""

    hypnogram: Hypnogram
    about: Mapping[str, Any]
    number: int

    @property
    def title(self) -> str:
        """Name of the model for people."""
        named: str = self.about.get("title") or self.about.get("name") or f"Model {self.number}"
        return named

    @property
    def event(self) -> str:
        """Name of the event that it looks for."""
        return EVENTS.get(self.hypnogram.task.name, self.hypnogram.task.name)

    def index(self, stages: Sequence[str | None] | None) -> RespiratoryIndex:
        """Count its events per hour."""
        task = self.hypnogram.task
        known = self._measures().get("events_per_epoch") or {}
        return respiratory_index(
            self.hypnogram.classes, event=task.classes[1], stages=stages,
            events_per_epoch=known.get("value"),
        )  # fmt: skip

    def trained_on(self) -> str:
        """Say whose nights it was trained on, and what it reaches."""
        training = self.about.get("training")
        if not training:
            return f"{self.title}: no model card, so it is not known what it was trained on."
        names = [
            one["title"] + (" (simulated)" if one["simulated"] else "")
            for one in training["datasets"]
        ]
        return (
            f"{self.title}: trained on {', '.join(names)}, "
            f"{plural(training['subjects'], 'subject')}, {plural(training['epochs'], 'epoch')}. "
            f"{training['statement']} {self.reached()}"
        )

    def reached(self) -> str:
        """Say what it reaches on test subjects."""
        metrics = self.about.get("metrics")
        found = [
            f"{label} {_measured(self._measures()[name])}"
            for name, label in MEASURES.items()
            if self._measures().get(name)
        ]
        if not metrics or not found:
            return "What it reaches on test subjects is not known."
        people = plural(metrics["subjects"], "subject")
        return f"On {people} it was not trained on: {', '.join(found)}. {metrics['statement']}"

    def calibrated(self) -> str:
        """Say whether its confidence can be taken as a share of right answers."""
        calibration = self.about.get("calibration") or {}
        if calibration.get("temperature") is None:
            return (
                "The confidence of this model was not calibrated: it orders epochs, but may be too "
                "high throughout."
            )
        return (
            "Confidence is the calibrated probability of the answer (temperature "
            f"{calibration['temperature']:.2f}; expected calibration error on "
            f"{plural(calibration['val_epochs'], 'epoch')} of validation subjects "
            f"{score(calibration['ece_before'])} before and {score(calibration['ece_after'])} "
            "after)."
        )

    def promise(self) -> str:
        """Say what reviewing the least certain epochs was worth where that was measured."""
        measured = (self.about.get("calibration") or {}).get("review")
        parts = ("kept_accuracy", "all_accuracy", "review_accuracy")
        if not measured or any(measured[part] is None for part in parts):
            return (
                "How much a review like this one gains was not measured for this model, or it is "
                "not told."
            )
        return (
            f"What that is worth, measured on {plural(measured['epochs'], 'epoch')} of its test "
            f"subjects, and not on this night: of the {100 * measured['share']:.0f} % most certain "
            f"epochs {100 * measured['kept_accuracy']:.1f} % were as the expert said, of all "
            f"{100 * measured['all_accuracy']:.1f} %, and of those left to review "
            f"{100 * measured['review_accuracy']:.1f} %."
        )

    @property
    def simulated(self) -> bool:
        """Whether any of the nights that it was trained on was simulated."""
        training = self.about.get("training") or {"datasets": []}
        return any(one["simulated"] for one in training["datasets"])

    def _measures(self) -> Mapping[str, Any]:
        metrics = self.about.get("metrics") or {}
        values: Mapping[str, Any] = metrics.get("values") or {}
        return values

    def index_name(self, index: RespiratoryIndex) -> str:
        """Name its events per hour, of sleep or of recording."""
        names = OF_SLEEP if index.of_sleep else OF_RECORDING
        return names.get(self.hypnogram.task.name, f"{self.event} per hour")

    def origin(self) -> list[list[str]]:
        """Say where it is from, in rows of what and value; digests whole, to be compared."""
        about = self.about
        settings = self.hypnogram.made_by.items()
        found = {
            "Bundle": about.get("name"),
            "Written by Somnoflow": about.get("somnoflow"),
            **{f"SHA-256 of {name}": one for name, one in (about.get("weights") or {}).items()},
            "Code that trained it": about.get("code"),
            "SHA-256 of its configuration": about.get("config"),
            **{name: value for name, value in settings if not isinstance(value, Mapping | list)},
        }
        return [[name, str(one)] for name, one in found.items() if one is not None]

    def settings(self) -> str:
        """Write all that made the hypnogram, as JSON."""
        return json.dumps(dict(self.hypnogram.made_by), indent=1, ensure_ascii=False, default=str)


def _measured(found: Mapping[str, Any]) -> str:
    return score_with_interval(found["value"], found.get("interval"))
