"""Evaluate one model of respiratory events on its test subjects."""

import logging

from somnoflow.config.evaluate import Evaluate
from somnoflow.entry import Input, Inputs, Output, command
from somnoflow.evaluate.calibrate_folds import calibrate
from somnoflow.evaluate.event_metrics import recording_table, summarise
from somnoflow.evaluate.event_nights import judge_nights
from somnoflow.evaluate.events import read_events
from somnoflow.io.atomic import write_json
from somnoflow.tasks import TASKS


def evaluate_events(
    *,
    predictions: Inputs,
    cohort: Input,
    metrics: Output,
    recordings: Output,
    calibration: Output,
    task: str,
    cfg: Evaluate,
) -> None:
    """Evaluate one model of respiratory events on its test subjects.

    Parameters
    ----------
    predictions
        One `predictions.parquet` per fold. Rows with the role "test" are judged; those with the
        role "val" only say how many events stand behind a predicted epoch, and fit the temperature.
    cohort
        TSV table of the recordings, with their true AHI where it is known.
    metrics
        JSON, see `somnoflow.evaluate.event_metrics.summarise`.
    recordings
        TSV, one row per test recording.
    calibration
        JSON, see `somnoflow.evaluate.calibrate_folds.calibrate`.
    task
        Name of the event, such as "apnea".
    cfg
        Section `evaluate` of the configuration.
    """
    events = [name for name, one in TASKS.items() if one.rare]
    if task not in events:
        raise ValueError(f"the task '{task}' asks for no event, wanted one of {', '.join(events)}")
    found = read_events(predictions, task=TASKS[task])
    nights = judge_nights(found, cohort=cohort)
    content = summarise(found, nights, cfg=cfg)
    write_json(metrics, content)
    recording_table(found, nights).write_csv(recordings, separator="\t", float_precision=6)
    write_json(calibration, calibrate(predictions, task=TASKS[task], cfg=cfg))
    logging.getLogger(__name__).info(
        "%d of %d test epochs of %d subjects judged, %d with the event",
        content["counts"]["judged"],
        content["counts"]["epochs"],
        content["subjects"],
        content["counts"]["positives"],
    )


if __name__ == "__main__":
    command(evaluate_events)
