"""Evaluate one model on its test subjects, all folds together."""

import logging

from somnoflow.config.evaluate import Evaluate
from somnoflow.entry import Inputs, Output, command
from somnoflow.evaluate.calibrate_folds import calibrate
from somnoflow.evaluate.confusion import count_test_epochs
from somnoflow.evaluate.metrics import recording_table, summarise
from somnoflow.io.atomic import write_json
from somnoflow.tasks import TASKS


def evaluate(
    *,
    predictions: Inputs,
    metrics: Output,
    recordings: Output,
    calibration: Output,
    cfg: Evaluate,
) -> None:
    """Evaluate one model on its test subjects, all folds together.

    Parameters
    ----------
    predictions
        One `predictions.parquet` per fold. Rows with the role "test" are judged; those with the
        role "val" only fit the temperature.
    metrics
        JSON, see `somnoflow.evaluate.metrics.summarise`.
    recordings
        TSV, one row per test recording.
    calibration
        JSON, see `somnoflow.evaluate.calibrate_folds.calibrate`.
    cfg
        Section `evaluate` of the configuration.
    """
    counted = count_test_epochs(predictions)
    content = summarise(counted, cfg=cfg)
    write_json(metrics, content)
    recording_table(counted).write_csv(recordings, separator="\t", float_precision=6)
    write_json(calibration, calibrate(predictions, task=TASKS["staging"], cfg=cfg))
    logging.getLogger(__name__).info(
        "%d of %d test epochs of %d subjects compared",
        content["counts"]["scored"],
        content["counts"]["epochs"],
        content["subjects"],
    )


if __name__ == "__main__":
    command(evaluate)
