"""The tables of a night's sleep statistics."""

from somnoflow.evaluate.sleep_statistics import SLEEP_STAGES, SleepStatistics
from somnoflow.report.tables import NOTHING, UNBROKEN, Table, make_table
from somnoflow.stages import STAGE_NAMES


def statistics_table(found: SleepStatistics) -> Table:
    """Say what is reported of the night as a whole."""
    rows = [
        ["Time in bed (TIB)", _minutes(found.tib), "lights off to lights on"],
        ["Total sleep time (TST)", _minutes(found.tst), "N1, N2, N3 and REM"],
        ["Sleep efficiency (SE)", _percent(found.se), "TST as a share of TIB"],
        ["Sleep onset latency (SOL)", _minutes(found.sol), "lights off to the first sleep"],
        ["REM latency", _minutes(found.rem_latency), "first sleep to the first REM"],
        ["Wake after sleep onset (WASO)", _minutes(found.waso), "first sleep to lights on"],
        ["Wake in the sleep period", _minutes(found.wake_in_spt), "first sleep to last sleep"],
        ["Sleep period time (SPT)", _minutes(found.spt), "first sleep to last sleep"],
        ["Sleep maintenance efficiency", _percent(found.sme), "TST as a share of SPT"],
        ["Awakenings", f"{found.awakenings:,}", "changes from sleep to wake"],
        ["Stage shifts", f"{found.stage_shifts:,}", "changes of stage"],
        ["Epochs in bed without a stage", f"{found.unscored_epochs:,}", "no usable signal"],
    ]
    return make_table(
        "Sleep statistics by the AASM manual.",
        columns=["Measure", "Value", "What it is"],
        numeric=["Value"],
        prose=["What it is"],
        rows=rows,
    )


def stage_table(found: SleepStatistics) -> Table:
    """Say how long each stage was, and when it was first there."""
    rows = [
        [name, _minutes(found.minutes[name]),
         _percent(found.percent[name]) if name in SLEEP_STAGES else "",
         _minutes(found.latency[name]) if name in SLEEP_STAGES else ""]
        for name in STAGE_NAMES
    ]  # fmt: skip
    numeric = ["Time", "% of TST", "After lights off"]
    return make_table(
        "Stages in bed, and when each first came.",
        columns=["Stage", *numeric],
        numeric=numeric,
        rows=rows,
    )


def hours_and_minutes(minutes: float) -> str:
    """Write a time for people: "7 h 12 min"; below an hour with half minutes."""
    if minutes < 60:
        said = f"{minutes:g} min"
    else:
        said = f"{round(minutes) // 60} h {round(minutes) % 60:02d} min"
    return said.replace(" ", UNBROKEN)


def _minutes(value: float | None) -> str:
    return NOTHING if value is None else f"{value:,.1f} min"


def _percent(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.1f} %"
