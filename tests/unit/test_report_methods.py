"""Methods text, deviations from published code and the human reference of the report."""

import re
from pathlib import Path

import polars as pl
import pytest

from somnoflow.config.report import ReportSlice
from somnoflow.config.signals import Signals
from somnoflow.report.methods_section import (
    DEVIATIONS,
    HUMANS,
    PER_NIGHT,
    REFERENCES,
    deviations_table,
    human_sentence,
    methods_text,
)
from somnoflow.report.naming import ENCODERS, ModelName, Source
from somnoflow.report.sources import Cohort, Model, Run

DOCS = Path(__file__).parents[2] / "docs"


def cohort(*, rejected=0, simulated=(True, True)):
    recordings = pl.DataFrame(
        {"dataset": "lab", "subject": ["lab/a", "lab/b"], "hours": [7.0, 8.04],
         "scored": [800, 900], "simulated": list(simulated)}
    )  # fmt: skip
    channels = pl.DataFrame({"channel": ["EEG_C4", "ECG"], "problem": ["", ""]})
    folds = [{"train": ["x"] * n, "val": ["y"], "test": ["z"], "pretrain": []} for n in (3, 4)]
    nothing = pl.DataFrame({"file": ["x"] * rejected})
    return Cohort(recordings, nothing, pl.DataFrame(), channels, folds)


def model(encoder, method="linear", channel="EEG_C4"):
    metrics = {"intervals": {"confidence": 0.9, "resamples": 2000}}
    return Model(ModelName(Source(encoder, channel), method), metrics, [], None)


def runs():
    content = {
        "arguments": {"cfg": {"recipe": {"preset": "tiny", "passes": 8}, "scaling": "robust_z"}},
        "versions": {"somnoflow": "0.1.0", "python": "3.11", "torch": "2.13"},
    }
    path = Path("results/pretrain/neuronet/EEG_C4/fold=0/training.csv")
    return [Run(path, content, False), Run(Path("results/x.tsv"), None, None)]


def text_of(models, *, cfg=None, **how):
    found = methods_text(
        cohort=cohort(**how), models=models, runs=runs(), cfg=cfg or ReportSlice(signals=Signals())
    )
    return found, "\n".join(found.paragraphs)


def test_the_text_says_what_the_run_says():
    _, text = text_of([model("neuronet"), model("deepsleepnet", "published")])
    for words in (
        "2 recordings of 2 subjects (lab; 15.0 hours, 1,700 epochs of 30 s",
        "All recordings are simulated.", "Channels: EEG_C4 and ECG.",
        "(EEG 0.5 to 40 Hz and ECG 3 to 30 Hz)", "resampled to 100 Hz", "All wake was kept.",
        "2 folds", "Subjects of a fold: 3 to 4 to train, 1 to validate and 1 to test",
        "(size tiny, 8 passes) on EEG_C4: frozen, linear probe",
        "90 % percentile intervals of 2,000",
        "Somnoflow 0.1.0 with Python 3.11", "torch 2.13", "interquartile range",
    ):  # fmt: skip
        assert words in text
    assert "could not be used" not in text
    assert "deepsleepnet" not in text


def test_what_is_configured_otherwise_is_said_otherwise():
    signals = Signals(channels=["EEG_C4"], sampling_rate=64, wake_margin_minutes=30, filters={})
    _, text = text_of(
        [model("yasa", "boosting")], cfg=ReportSlice(signals=signals), rejected=2,
        simulated=(False, True),
    )  # fmt: skip
    assert "resampled to 64 Hz" in text
    assert "Wake more than 30 min before or after sleep was left out" in text
    assert "1 of them are simulated" in text
    assert "2 files could not be used" in text
    assert "filtered" not in text


def test_references_are_numbered_as_they_are_cited_and_all_are_cited():
    found, text = text_of([model("unimodal"), model("synthsleepnet"), model("majority")])
    numbers = [int(n) for group in re.findall(r"\[([\d, ]+)\]", text) for n in group.split(",")]
    assert list(dict.fromkeys(numbers)) == list(range(1, len(found.references) + 1))
    assert sum("2502.17481" in reference for reference in found.references) == 1
    assert not any("TinySleepNet" in reference for reference in found.references)


def test_no_model_no_text():
    assert (
        methods_text(cohort=cohort(), models=[], runs=[], cfg=ReportSlice(signals=Signals()))
        is None
    )


def test_every_deviation_is_one_that_the_docs_name():
    docs = "".join((DOCS / name).read_text() for name in ("models.md", "synthsleepnet.md"))
    rows = pl.read_csv(DEVIATIONS, separator="\t", quote_char=None).to_dicts()
    plain = docs.replace("`", "")
    for row in rows:
        assert f"| {row['published']} | {row['here']} |" in plain, row
    assert {row["encoder"] for row in rows} <= {*ENCODERS, "heads"}


def test_deviations_are_those_of_the_systems_of_the_run():
    table = deviations_table([model("tinysleepnet"), model("majority")])
    assert set(table.groups) == {"TinySleepNet"}
    both = deviations_table([model("neuronet-masked")])
    assert set(both.groups) == {"NeuroNet", "Heads and context modules"}
    assert deviations_table([model("majority")]) is None


def test_humans_stand_beside_with_their_source():
    told = human_sentence()
    assert told.startswith("Humans on other nights")
    rows = pl.read_csv(HUMANS, separator="\t").filter(measure=PER_NIGHT).to_dicts()
    assert [row["cohort"] for row in rows] == ["DOD-H", "DOD-O"]
    for row in rows:
        assert f"{row['kappa']:.2f} ({row['cohort']}, {row['nights']} nights)" in told
        assert row["source"] in told


@pytest.mark.parametrize("path", [REFERENCES, DEVIATIONS, HUMANS])
def test_tables_have_no_address_that_a_page_could_load(path):
    assert "http" not in path.read_text()
