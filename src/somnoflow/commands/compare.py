"""Put all models into one table, beside what was published."""

from dataclasses import replace

from somnoflow.compare.differences import read_facts
from somnoflow.compare.latex import to_latex
from somnoflow.compare.networks import read_networks
from somnoflow.compare.page import to_html
from somnoflow.compare.published import read_published
from somnoflow.compare.table import compare_models
from somnoflow.config.compare import CompareSlice
from somnoflow.entry import Input, Inputs, Output, command
from somnoflow.report.comparison_section import comparison_panels
from somnoflow.report.sources import read_models


def compare(
    *,
    metrics: Inputs,
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
    models
        Weights of the first fold, of encoders and heads, whose parameters are counted.
    recordings, split
        TSV table of the recordings; folds and roles.
    table, tex, html
        The same table three times: all numbers as CSV, and for readers.
    cfg
        In which points this run differs from published ones.
    """
    comparison = compare_models(
        read_models(metrics=metrics, predictions=[]),
        networks=read_networks(models),
        facts=read_facts(recordings=recordings, split=split, cfg=cfg),
        published=read_published(),
    )
    comparison.write_csv(table)
    panels = comparison_panels(comparison)
    # Links lead to places of the report.
    tables = [replace(one, links=()) for panel in panels for one in panel.tables]
    tex.write_text(to_latex(tables), encoding="utf-8")
    html.write_text(to_html(tables), encoding="utf-8")


if __name__ == "__main__":
    command(compare)
