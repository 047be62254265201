"""Put all models into one table, beside what was published."""

from dataclasses import replace

from somnoflow.compare.differences import read_facts
from somnoflow.compare.latex import to_latex
from somnoflow.compare.networks import read_networks
from somnoflow.compare.page import to_html
from somnoflow.compare.paired import paired_differences, read_subjects
from somnoflow.compare.published import read_published
from somnoflow.compare.table import compare_models
from somnoflow.config.compare import CompareSlice
from somnoflow.entry import Input, Inputs, Output, command
from somnoflow.report.comparison_section import comparison_panels
from somnoflow.report.sources import read_models


def compare(
    *,
    metrics: Inputs,
    judged: Inputs,
    models: Inputs,
    recordings: Input,
    split: Input,
    table: Output,
    tex: Output,
    html: Output,
    cfg: CompareSlice,
) -> None:
    """Put all models into one table, beside what was published.

    Parameters
    ----------
    metrics
        `metrics.json` of each model that was trained on all labels.
    judged
        `recordings.tsv` beside each of them: what a model reaches in each test recording.
    models
        Weights of the first fold, of encoders and heads, whose parameters are counted.
    recordings, split
        TSV table of the recordings; folds and roles.
    table, tex, html
        The same table three times: all numbers as CSV, and for readers.
    cfg
        In which points this run differs from published ones.
    """
    found = read_models(metrics=metrics, predictions=[])
    comparison = compare_models(
        found,
        networks=read_networks(models),
        facts=read_facts(recordings=recordings, split=split, cfg=cfg),
        published=read_published(),
        paired=paired_differences(found, read_subjects(judged)),
    )
    comparison.write_csv(table)
    panels = comparison_panels(comparison)
    # Links lead to places of the report.
    tables = [replace(one, links=()) for panel in panels for one in panel.tables]
    tex.write_text(to_latex(tables), encoding="utf-8")
    html.write_text(to_html(tables), encoding="utf-8")


if __name__ == "__main__":
    command(compare)
