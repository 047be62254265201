"""Sleep statistics: nights counted by hand, YASA's, and what holds for every night."""

import math
import subprocess
import sys
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from somnoflow.evaluate.sleep_statistics import SLEEP_STAGES, SleepStatistics, sleep_statistics
from somnoflow.stages import STAGE_NAMES

NIGHT = ["W"] * 4 + ["N1"] * 2 + ["N2"] * 6 + ["N3"] * 4 + ["W"] * 2 + ["REM"] * 4 + ["W"] * 6
YASA_NAMES = {"W": "WAKE", "N1": "N1", "N2": "N2", "N3": "N3", "REM": "REM", None: "UNS"}
stages_of_nights = st.lists(st.sampled_from([*STAGE_NAMES, None]), min_size=1, max_size=60)


def all_nights() -> list[list[str | None]]:
    """Give drawn nights with long runs, and the odd ones."""
    rng = np.random.default_rng(7)
    names = np.array([*STAGE_NAMES, None], dtype=object)
    drawn = [
        list(np.repeat(names[rng.integers(0, 6, 40)], rng.integers(1, 30, 40))) for _ in range(8)
    ]
    return [
        *drawn, NIGHT, ["W"] * 20, ["N2", "W"], ["W", "N2"], ["REM"] * 3, [None, "W", None],
        ["W", None, "N1", None, "W", "N2", None], ["N2"] * 2881,
    ]  # fmt: skip


def test_a_night_counted_by_hand() -> None:
    assert sleep_statistics(NIGHT) == SleepStatistics(
        lights_off="recording", lights_on="recording", first_epoch=0, end_epoch=28,
        tib=14.0, spt=9.0, tst=8.0, se=100 * 8 / 14, sme=100 * 8 / 9, sol=2.0, rem_latency=7.0,
        waso=4.0, wake_in_spt=1.0,
        minutes={"W": 6.0, "N1": 1.0, "N2": 3.0, "N3": 2.0, "REM": 2.0},
        percent={"N1": 12.5, "N2": 37.5, "N3": 25.0, "REM": 25.0},
        latency={"N1": 2.0, "N2": 3.0, "N3": 6.0, "REM": 9.0},
        awakenings=2, stage_shifts=6, scored_epochs=28, unscored_epochs=0,
    )  # fmt: skip


def test_lights_crop_the_night() -> None:
    cropped = sleep_statistics(NIGHT, lights_off_s=60, lights_on_s=23 * 30)
    assert (cropped.lights_off, cropped.lights_on) == ("given", "given")
    assert (cropped.first_epoch, cropped.end_epoch) == (2, 23)
    assert (cropped.tib, cropped.sol, cropped.waso) == (10.5, 1.0, 1.5)
    assert (cropped.rem_latency, cropped.latency["REM"]) == (7.0, 8.0)


@pytest.mark.parametrize(
    ("off", "on", "first", "end"),
    [(0.0, 840.0, 0, 28), (14.9, 839.0, 0, 28), (15.0, 825.0, 0, 27), (15.1, 826.0, 1, 28),
     (45.0, 100.0, 1, 3)],
)  # fmt: skip
def test_an_epoch_counts_whose_middle_is_in_bed(
    off: float, on: float, first: int, end: int
) -> None:
    found = sleep_statistics(NIGHT, lights_off_s=off, lights_on_s=on)
    assert (found.first_epoch, found.end_epoch) == (first, end)
    middles = [30 * n + 15 for n in range(len(NIGHT))]
    assert found.end_epoch - found.first_epoch == sum(off <= middle < on for middle in middles)


def test_lights_count_from_the_start_of_the_recording() -> None:
    late = sleep_statistics(NIGHT, lights_off_s=112.5, lights_on_s=832.5, onset_s=12.5)
    assert (late.first_epoch, late.end_epoch) == (3, 27)


def test_lights_outside_the_recording_are_those_of_the_recording() -> None:
    found = sleep_statistics(NIGHT, lights_off_s=-600, lights_on_s=1e5)
    assert found == sleep_statistics(NIGHT)
    assert sleep_statistics(NIGHT, lights_off_s=0, lights_on_s=840).lights_on == "given"


@pytest.mark.parametrize(
    ("stages", "lights", "says"),
    [([], {}, "without epochs"), (["W", "N4"], {}, "N4 among the stages"),
     (["W"], {"lights_off_s": math.nan}, "lights_off_s is nan"),
     (["W"], {"lights_on_s": math.inf}, "lights_on_s is inf"),
     (NIGHT, {"lights_off_s": 500, "lights_on_s": 400}, "no epoch lies between"),
     (NIGHT, {"lights_off_s": 1e6}, "no epoch lies between"),
     (NIGHT, {"lights_on_s": 0}, "no epoch lies between")],
)  # fmt: skip
def test_what_is_no_night_is_refused(
    stages: list[str], lights: dict[str, float], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        sleep_statistics(stages, **lights)


def test_all_wake() -> None:
    found = sleep_statistics(["W"] * 10)
    assert (found.tib, found.tst, found.spt, found.se) == (5.0, 0.0, 0.0, 0.0)
    undefined = (found.sme, found.sol, found.waso, found.wake_in_spt, found.rem_latency)
    assert undefined == (None,) * 5
    assert set(found.percent.values()) == set(found.latency.values()) == {None}
    assert (found.awakenings, found.stage_shifts) == (0, 0)


def test_no_rem() -> None:
    found = sleep_statistics([stage for stage in NIGHT if stage != "REM"])
    assert (found.rem_latency, found.latency["REM"]) == (None, None)
    assert (found.minutes["REM"], found.percent["REM"]) == (0.0, 0.0)


@pytest.mark.parametrize("stage", [*STAGE_NAMES, None])
def test_one_epoch(stage: str | None) -> None:
    found = sleep_statistics([stage])
    asleep = stage in SLEEP_STAGES
    assert (found.tib, found.tst) == (0.5, 0.5 * asleep)
    assert found.se == (None if stage is None else 100.0 * asleep)
    assert found.sol == (0.0 if asleep else None)
    assert found.rem_latency == (0.0 if stage == "REM" else None)


def test_more_than_a_day() -> None:
    found = sleep_statistics(["W"] * 2000 + NIGHT * 40 + ["W"] * 1000)
    assert (found.tib, found.sol, found.rem_latency) == (2060.0, 1002.0, 7.0)
    assert found.awakenings == 80


def test_time_passes_while_nothing_is_scored() -> None:
    found = sleep_statistics(["W", None, "N2", None, "W", "N2", None, "W", None])
    assert (found.tib, found.sol, found.spt, found.tst) == (4.5, 1.0, 2.0, 1.0)
    assert (found.waso, found.wake_in_spt, found.minutes["W"]) == (1.0, 0.5, 1.5)
    assert (found.unscored_epochs, found.scored_epochs) == (4, 5)
    # Not known: whether the sleeper woke up or shifted in an unscored epoch.
    assert (found.awakenings, found.stage_shifts) == (0, 1)


def same(ours: float | None, theirs: float) -> bool:
    return math.isnan(theirs) if ours is None else math.isclose(ours, theirs, abs_tol=6e-5)


@pytest.mark.parametrize("stages", all_nights())
def test_equal_to_those_of_yasa(stages: list[str | None]) -> None:
    from yasa import Hypnogram
    from yasa import sleep_statistics as of_integers

    hypnogram = Hypnogram([YASA_NAMES[stage] for stage in stages])
    theirs, ours = hypnogram.sleep_statistics(), sleep_statistics(stages)
    named = {
        "TIB": ours.tib, "SPT": ours.spt, "TST": ours.tst, "SE": ours.se, "SME": ours.sme,
        "SOL": ours.sol, "WASO": ours.wake_in_spt, "Lat_REM": ours.latency["REM"],
        "WAKE": ours.minutes["W"], "SFI": 60 * ours.awakenings / ours.tst if ours.tst else None,
    }  # fmt: skip
    named |= {name: ours.minutes[name] for name in SLEEP_STAGES}
    named |= {f"%{name}": ours.percent[name] for name in SLEEP_STAGES}
    assert {name: theirs[name] for name, value in named.items() if not same(value, theirs[name])} \
        == {}  # fmt: skip
    assert theirs.get("UNS", 0) == ours.unscored_epochs / 2
    if ours.rem_latency is not None:
        assert ours.rem_latency == theirs["Lat_REM"] - theirs["SOL"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        older = of_integers(hypnogram.as_int().to_numpy(), sf_hyp=1 / 30)
    for name in SLEEP_STAGES:
        assert same(ours.latency[name], older[f"Lat_{name}"])
    counts = hypnogram.transition_matrix()[0].drop(index="UNS", columns="UNS", errors="ignore")
    kept = sum(counts.at[name, name] for name in counts.index if name in counts.columns)
    assert ours.stage_shifts == counts.to_numpy().sum() - kept


@settings(deadline=None)
@given(stages_of_nights)
def test_minutes_add_up(stages: list[str | None]) -> None:
    found = sleep_statistics(stages)
    assert sum(found.minutes.values()) + found.unscored_epochs / 2 == found.tib == len(stages) / 2
    assert sum(found.minutes[name] for name in SLEEP_STAGES) == found.tst <= found.spt <= found.tib
    if not found.tst:
        assert found.sol is found.waso is found.sme is None
        return
    assert found.sol is not None
    assert found.waso is not None
    assert found.wake_in_spt is not None
    assert found.sol == min(value for value in found.latency.values() if value is not None)
    assert math.isclose(sum(value or 0 for value in found.percent.values()), 100)
    assert found.wake_in_spt <= found.waso <= found.tib - found.sol - found.tst
    assert found.sol + found.spt <= found.tib
    if not found.unscored_epochs:
        assert found.wake_in_spt == found.spt - found.tst
        assert found.waso == found.tib - found.sol - found.tst
    assert found.awakenings <= found.stage_shifts < len(stages)


@settings(deadline=None)
@given(stages_of_nights, st.integers(0, 59), st.integers(1, 60))
def test_lights_are_the_same_as_a_shorter_recording(
    stages: list[str | None], first: int, end: int
) -> None:
    inside = stages[first:end]
    if not inside:
        return
    with_lights = sleep_statistics(stages, lights_off_s=30 * first, lights_on_s=30 * end)
    alone = sleep_statistics(inside)
    moved = {"lights_off", "lights_on", "first_epoch", "end_epoch"}
    assert {k: v for k, v in vars(with_lights).items() if k not in moved} == {
        k: v for k, v in vars(alone).items() if k not in moved
    }


def test_does_not_import_yasa() -> None:
    program = (
        "import sys, somnoflow.evaluate.sleep_statistics\n"
        "print(sorted({'yasa', 'pandas', 'scipy', 'torch', 'polars', 'mne'} & set(sys.modules)))"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert found.stdout.strip() == "[]"
