"""What a model says of every epoch of a night.

What few who hold a hypnogram ask of it (files, statistics, YASA) is imported when it is asked for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from somnoflow.tasks import Task

if TYPE_CHECKING:
    from somnoflow.evaluate.sleep_statistics import SleepStatistics


@dataclass(frozen=True, eq=False)
class Hypnogram:
    """The answers of one model for the N epochs of one night.

    Attributes
    ----------
    recording
        Name of the recording, without folder and suffix.
    start
        When the recording begins; None where the file does not tell.
    task
        What was asked.
    table
        One row per epoch: `epoch`, `onset_s` (seconds from the start of the recording), the class's
        name in the column of the task (`stage`, or the event), its probability as `confidence`, and
        the probabilities of all classes (`p_W` ...). Null where an epoch has no usable signal.
    threshold
        Probability from which on an epoch has the event; None for stages.
    made_by
        What made it, as JSON: model, digests, settings.
    night
        What the night was read from, as JSON: `epochs`, `usable`, `channels` (the labels that each
        channel was made of), `absent` (why a channel is not there), `remarks`.
    """

    recording: str
    start: datetime | None
    task: Task
    table: pl.DataFrame
    threshold: float | None
    made_by: Mapping[str, Any]
    night: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.table)

    @property
    def classes(self) -> list[str | None]:
        """The name of each epoch's class, N; None where it has no usable signal."""
        return self.table[self.task.column].to_list()

    @property
    def stages(self) -> list[str | None]:
        """The stage of each epoch, N: `W`, `N1`, `N2`, `N3`, `REM`; None without usable signal.

        Raises
        ------
        ValueError
            When the model was asked for an event.
        """
        if self.task.rare:
            raise ValueError(
                f"the model was asked for {self.task.name} and gives no stages, wanted a hypnogram "
                "of a model of stages; `classes` has its answers"
            )
        return self.classes

    @property
    def probabilities(self) -> npt.NDArray[np.float64]:
        """The probability of each class in each epoch, (N, K); NaN without an answer."""
        columns = self.table.select(pl.col(self.task.probabilities).fill_null(float("nan")))
        return columns.cast(pl.Float64).to_numpy()

    def statistics(
        self, *, lights_off_s: float | None = None, lights_on_s: float | None = None
    ) -> "SleepStatistics":
        """Give the sleep statistics by the AASM manual, as `evaluate.sleep_statistics` does.

        Parameters
        ----------
        lights_off_s, lights_on_s
            Seconds from the start of the recording; its begin and end where not known.
        """
        from somnoflow.evaluate.sleep_statistics import sleep_statistics  # noqa: PLC0415

        return sleep_statistics(
            self.stages,
            lights_off_s=lights_off_s,
            lights_on_s=lights_on_s,
            onset_s=float(self.table["onset_s"][0]),
        )

    def save(
        self, folder: str | Path, *, formats: Sequence[str] | None = None, name: str | None = None
    ) -> list[Path]:
        """Write the night as files for other programs; give their paths.

        Parameters
        ----------
        folder
            Made where it is not there; files of the same names are written anew.
        formats
            Some of `export.files.FORMATS` (`csv`, `edf`, `xml`, `bids`, `yasa`); all where None.
        name
            What the names of the files begin with; that of the recording where None.
        """
        from somnoflow.export.files import FORMATS, export_night  # noqa: PLC0415

        return export_night(
            self,
            to=Path(folder),
            name=self.recording if name is None else name,
            formats=FORMATS if formats is None else formats,
        )

    def to_yasa(self) -> Any:
        """Give a `yasa.Hypnogram` of the stages, with the start of the recording.

        YASA is needed (`pip install yasa`), and its import takes seconds.
        """
        import yasa  # noqa: PLC0415

        from somnoflow.export.yasa import STAGE_NAMES  # noqa: PLC0415

        stages = [STAGE_NAMES[stage] for stage in self.stages]
        return yasa.Hypnogram(stages, start=self.start)
