"""Write the report: one HTML page with everything a reader needs to judge the results."""

import logging

from somnoflow.config.report import ReportSlice
from somnoflow.entry import Input, Inputs, Output, command
from somnoflow.io.atomic import write_json
from somnoflow.report.ablation_section import read_ablations
from somnoflow.report.calibration_section import read_calibrations
from somnoflow.report.comparison_section import read_comparison
from somnoflow.report.explanation_section import read_explained
from somnoflow.report.files import Files, write_files
from somnoflow.report.label_curves import read_label_efficiency
from somnoflow.report.page import render
from somnoflow.report.projection_section import read_projections
from somnoflow.report.quality import read_quality
from somnoflow.report.sources import read_cohort, read_models, read_runs, read_training


def report(
    *,
    recordings: Input,
    rejected: Input,
    channels: Input,
    packed: Inputs,
    split: Input,
    metrics: Inputs,
    calibrations: Inputs,
    predictions: Inputs,
    training: Inputs,
    curves: Inputs,
    counts: Inputs,
    ablations: Inputs,
    projections: Inputs,
    explanations: Inputs,
    comparison: Input,
    page: Output,
    contents: Output,
    cfg: ReportSlice,
) -> None:
    """Write the report: one HTML page with everything a reader needs to judge the results.

    Parameters
    ----------
    recordings, rejected, channels
        TSV tables of the signals.
    packed
        `index.json` of each packed shard; the quality of each epoch is in `epochs.parquet` beside.
    split
        Folds and roles.
    metrics
        `results/metrics/<encoder>/<channel>/<method>/task=<task>/labels=all/metrics.json`
        of each model that was trained on all labels.
    calibrations
        `calibration.json` beside each of `metrics`.
    predictions
        `results/scores/<encoder>/<channel>/<method>/task=<task>/labels=all/fold=<k>/predictions.parquet`.
    training
        `results/pretrain/<encoder>/<channel>/fold=<k>/training.csv` and
        `results/heads/<encoder>/<channel>/<method>/task=<task>/labels=all/fold=<k>/training.csv`.
    curves
        `results/metrics/<encoder>/<channel>/<method>/task=<task>/labels=<subset>/metrics.json`
        of each model that was trained on a subset of the labels.
    counts
        `results/labels/task=<task>/labels=<subset>/fold=<k>/counts.json`.
    ablations
        `results/ablation/synthsleepnet/<fusion>/metrics.json`.
    projections
        `results/projection/synthsleepnet/<fusion>/fold=0/projection.parquet`.
    explanations
        `results/explain/<encoder>/<channel>/<method>/task=staging/labels=all/fold=0/explanation.parquet`.
    comparison
        `results/comparison/comparison.csv`.
    page
        HTML.
    contents
        JSON with the SHA-256 of each figure (SVG) and table (CSV) of the page, which are written
        into the folders `figures` and `tables` beside it.
    cfg
        Sections `report` and `signals` of the configuration.
    """
    files = Files()
    text = render(
        cohort=read_cohort(
            recordings=recordings, rejected=rejected, channels=channels, split=split
        ),
        quality=read_quality(packed),
        models=read_models(metrics=metrics, predictions=predictions),
        calibrated=read_calibrations(calibrations),
        trained=read_training(training),
        efficiency=read_label_efficiency(curves=curves, counts=counts),
        comparison=read_comparison(comparison),
        ablations=read_ablations(ablations),
        projections=read_projections(projections),
        explained=read_explained(explanations),
        runs=read_runs(
            [
                recordings,
                rejected,
                channels,
                split,
                *training,
                *predictions,
                *metrics,
                *packed,
                *curves,
                *counts,
                *ablations,
                *projections,
                *explanations,
                comparison,
            ]
        ),
        files=files,
        cfg=cfg,
    )
    page.write_text(text, encoding="utf-8")
    write_json(contents, {"sha256": write_files(contents.parent, files)})
    logging.getLogger(__name__).info("%.1f MB", len(text.encode()) / 1e6)


if __name__ == "__main__":
    command(report)
