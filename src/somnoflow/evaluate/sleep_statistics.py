"""Sleep statistics of one night, by the AASM manual.

What is decided here:

- The night is the epochs from lights off to lights on: those whose middle lies between them. Where
  one of the two is not known, or outside the recording, the recording's first or last epoch stands
  in for it, and the statistics say so.
- Sleep onset is the first epoch of any stage but W. Latencies of stages count from lights off; the
  REM latency counts from sleep onset, as the manual has it.
- WASO is all wake from sleep onset to lights on, as the manual has it. `wake_in_spt` is the part
  before the last sleep: where lights on is not known, it does not hang on when the recorder was
  switched off. It is what YASA calls WASO.
- An unscored epoch is neither sleep nor wake. Its time passes: it counts in TIB, in SPT and in
  latencies, and in nothing else. So a night with many of them has too low an efficiency, and its
  first REM may have been missed; `unscored_epochs` tells how many there are.
- A change of stage is counted between neighbouring scored epochs, not over an unscored one.
- What is not defined is None: latencies and shares of a night without sleep, the REM latency of one
  without REM, all but times in a night without a scored epoch.

Sources: Troester et al., The AASM Manual for the Scoring of Sleep and Associated Events, version 3
(2023), section on reported sleep data; Silber et al. 2007, J Clin Sleep Med 3:121.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, isfinite
from typing import Literal

import numpy as np
import numpy.typing as npt

from somnoflow.stages import EPOCH_SECONDS, STAGE_NAMES, Stage

Lights = Literal["given", "recording"]
SLEEP_STAGES = tuple(name for name in STAGE_NAMES if name != Stage.W.name)
_PER_MINUTE = 60 / EPOCH_SECONDS


@dataclass(frozen=True)
class SleepStatistics:
    """What is reported of a night: times in minutes, shares in percent.

    Attributes
    ----------
    lights_off, lights_on
        Whether the time was `given`, or is the begin or end of the `recording`.
    first_epoch, end_epoch
        The epochs in bed: `stages[first_epoch:end_epoch]`.
    tib
        Time in bed: from lights off to lights on (total recording time of the manual).
    spt
        Sleep period time: from sleep onset to the end of the last sleep; 0 without sleep.
    tst
        Total sleep time.
    se
        Sleep efficiency: TST as a share of TIB.
    sme
        Sleep maintenance efficiency: TST as a share of SPT.
    sol
        Sleep onset latency: from lights off to sleep onset.
    rem_latency
        From sleep onset to the first REM.
    waso
        Wake after sleep onset, until lights on.
    wake_in_spt
        Wake between sleep onset and the last sleep.
    minutes
        Time in each stage, W too.
    percent
        Time in each stage of sleep as a share of TST.
    latency
        From lights off to the first epoch of each stage of sleep.
    awakenings
        Changes from sleep to wake, the last one of the night too.
    stage_shifts
        Changes from a stage to another one, W too.
    scored_epochs, unscored_epochs
        Epochs in bed with and without a stage.
    """

    lights_off: Lights
    lights_on: Lights
    first_epoch: int
    end_epoch: int
    tib: float
    spt: float
    tst: float
    se: float | None
    sme: float | None
    sol: float | None
    rem_latency: float | None
    waso: float | None
    wake_in_spt: float | None
    minutes: Mapping[str, float]
    percent: Mapping[str, float | None]
    latency: Mapping[str, float | None]
    awakenings: int
    stage_shifts: int
    scored_epochs: int
    unscored_epochs: int


def sleep_statistics(
    stages: Sequence[str | None],
    *,
    lights_off_s: float | None = None,
    lights_on_s: float | None = None,
    onset_s: float = 0.0,
) -> SleepStatistics:
    """Give the sleep statistics of a night.

    Parameters
    ----------
    stages
        Name of each epoch's stage (`W`, `N1`, `N2`, `N3`, `REM`), N; None where it is unscored.
    lights_off_s, lights_on_s
        Seconds from the start of the recording; None where not known.
    onset_s
        Seconds from the start of the recording to the first epoch.

    Raises
    ------
    ValueError
        When there is no epoch, a stage is not known, a time is not finite, or no epoch lies between
        lights off and lights on.
    """
    codes = _codes(stages)
    first, lights_off = 0, _known(lights_off_s, name="lights_off_s")
    end, lights_on = len(codes), _known(lights_on_s, name="lights_on_s")
    if lights_off is not None:
        first = max(0, ceil((lights_off - onset_s) / EPOCH_SECONDS - 0.5))
    if lights_on is not None:
        end = min(len(codes), ceil((lights_on - onset_s) / EPOCH_SECONDS - 0.5))
    if first >= end:
        raise ValueError(
            f"no epoch lies between lights off at {lights_off_s} s and lights on at {lights_on_s} "
            f"s; the {len(codes)} epochs begin at {onset_s:g} s. Wanted: lights off before lights "
            "on, in seconds from the start of the recording"
        )
    recorded_until = onset_s + len(codes) * EPOCH_SECONDS
    return _report(
        codes[first:end],
        lights_off="recording" if lights_off is None or lights_off < onset_s else "given",
        lights_on="recording" if lights_on is None or lights_on > recorded_until else "given",
        first_epoch=first,
    )


def _codes(stages: Sequence[str | None]) -> npt.NDArray[np.int64]:
    unknown = sorted({str(one) for one in stages if one is not None and one not in STAGE_NAMES})
    if unknown:
        raise ValueError(
            f"{', '.join(unknown)} among the stages, wanted {', '.join(STAGE_NAMES)} or None"
        )
    if not len(stages):
        raise ValueError("a night without epochs, wanted one stage or None for each epoch")
    return np.array([Stage.UNSCORED if one is None else Stage[one] for one in stages], np.int64)


def _known(seconds: float | None, *, name: str) -> float | None:
    if seconds is not None and not isfinite(seconds):
        raise ValueError(f"{name} is {seconds}, wanted seconds, or None where it is not known")
    return seconds


def _report(
    codes: npt.NDArray[np.int64], *, lights_off: Lights, lights_on: Lights, first_epoch: int
) -> SleepStatistics:
    """Give the statistics of the epochs in bed."""
    scored, wake = codes != Stage.UNSCORED, codes == Stage.W
    asleep = scored & ~wake
    sleep = np.flatnonzero(asleep)
    onset, end = (int(sleep[0]), int(sleep[-1]) + 1) if len(sleep) else (0, 0)
    tib, spt, tst = _minutes(len(codes)), _minutes(end - onset), _minutes(len(sleep))
    neighbours = scored[:-1] & scored[1:]
    minutes = {name: _minutes(int((codes == Stage[name]).sum())) for name in STAGE_NAMES}
    firsts = {name: np.flatnonzero(codes == Stage[name])[:1] for name in SLEEP_STAGES}
    latency = {name: _minutes(int(at[0])) if len(at) else None for name, at in firsts.items()}
    rem = latency[Stage.REM.name]
    return SleepStatistics(
        lights_off=lights_off,
        lights_on=lights_on,
        first_epoch=first_epoch,
        end_epoch=first_epoch + len(codes),
        tib=tib,
        spt=spt,
        tst=tst,
        se=100 * tst / tib if scored.any() else None,
        sme=100 * tst / spt if spt else None,
        sol=_minutes(onset) if spt else None,
        rem_latency=None if rem is None else rem - _minutes(onset),
        waso=_minutes(int(wake[onset:].sum())) if spt else None,
        wake_in_spt=_minutes(int(wake[onset:end].sum())) if spt else None,
        minutes=minutes,
        percent={name: 100 * minutes[name] / tst if tst else None for name in SLEEP_STAGES},
        latency=latency,
        awakenings=int((asleep[:-1] & wake[1:]).sum()),
        stage_shifts=int((neighbours & (codes[:-1] != codes[1:])).sum()),
        scored_epochs=int(scored.sum()),
        unscored_epochs=int((~scored).sum()),
    )


def _minutes(epochs: int) -> float:
    return epochs / _PER_MINUTE
