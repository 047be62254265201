"""Pictures over all models: size against score, and one night stacked."""

import re

import numpy as np
import polars as pl
import pytest
from tests.unit.test_report import drawing, scores

from somnoflow.evaluate.confusion import count_test_epochs
from somnoflow.report.comparison_section import SCHEMA
from somnoflow.report.naming import ModelName, Source
from somnoflow.report.size_figure import LINE, draw_sizes, spread_out
from somnoflow.report.sources import Cohort, Model
from somnoflow.report.stacked_night import MAX_MODELS, stacked_night

SYSTEMS = ("neuronet", "tinysleepnet", "majority")


def comparison(rows):
    empty = dict.fromkeys(SCHEMA)
    return pl.DataFrame([empty | row for row in rows], schema=SCHEMA)


def row(encoder, *, parameters=None, macro_f1=0.7, **more):
    own = {"kind": "trained here", "task": "staging", "encoder": encoder, "channel": "EEG_C4"}
    return own | {"method": "linear", "parameters": parameters, "macro_f1": macro_f1,
                  "confidence": 0.95} | more  # fmt: skip


def test_every_model_of_stages_is_named_with_size_and_score():
    rows = [
        row("neuronet", parameters=151_949, macro_f1_low=0.6, macro_f1_high=0.8),
        row("tinysleepnet", parameters=97_000, macro_f1=0.701),
        row("majority", macro_f1=0.1),
        row("tinysleepnet", parameters=97_000, kind="published", macro_f1=0.8),
        row("synthsleepnet", parameters=5, task="apnea"),
    ]
    picture = draw_sizes(comparison(rows), simulated="simulated")
    assert "of 3 models" in picture.alt
    assert "linear probe with 151,949 parameters: 0.700 [0.600, 0.800]" in picture.alt
    assert "Majority class, EEG_C4: frozen, linear probe without parameters: 0.100" in picture.alt
    assert "synthsleepnet" not in picture.alt.lower()
    assert picture.simulated == "simulated"
    assert draw_sizes(comparison(rows[:1]), simulated="") is None


def test_labels_of_equal_models_do_not_overlap():
    rows = [row("neuronet", parameters=10**5, macro_f1=0.6 + k / 1000) for k in range(30)]
    svg = drawing({"src": draw_sizes(comparison(rows), simulated="").uri})
    labels = re.findall(r'translate\([\d.]+ ([\d.]+)\)">\d+  NeuroNet', svg)
    assert len(labels) == 30
    heights = np.sort([float(y) for y in labels])
    assert np.diff(heights).min() > 72 * LINE * 0.9


@pytest.mark.parametrize("seed", range(5))
def test_values_are_moved_apart_and_keep_their_order(seed):
    wanted = np.random.default_rng(seed).uniform(0, 1, 12)
    found = spread_out(wanted, gap=0.1)
    assert np.diff(np.sort(found)).min() > 0.1 - 1e-9
    assert (np.argsort(found) == np.argsort(wanted)).all()
    # A group that touches stands around the mean of what it wants.
    assert found.mean() == pytest.approx(wanted.mean())
    assert spread_out([0.1, 0.5, 0.9], gap=0.1).tolist() == [0.1, 0.5, 0.9]
    assert spread_out([], gap=0.1).tolist() == []
    inside = spread_out([0.95, 0.96, 0.97], gap=0.1, low=0, high=1)
    assert inside == pytest.approx([0.8, 0.9, 1.0])


@pytest.fixture
def models(tmp_path):
    """Models of growing skill on five nights, one of them far better scored than the others."""
    rng = np.random.default_rng(1)
    nights = [rng.integers(0, 5, 40) for _ in range(5)]
    found = []
    for k in range(MAX_MODELS + 2):
        frames = [scores(rng, night, f"sim/s{n}", 0, 0.3 + n / 8) for n, night in enumerate(nights)]
        path = tmp_path / f"model{k}" / "predictions.parquet"
        path.parent.mkdir()
        pl.concat(frames).write_parquet(path)
        name = ModelName(Source("neuronet", f"EEG_{k}"), "linear")
        metrics = {"pooled": {"macro_f1": k / 20}}
        found.append(Model(name, metrics, [path], count_test_epochs([path])))
    return found


def cohort():
    rows = [{"dataset": "sim", "recording": f"s{n}n1", "simulated": True} for n in range(5)]
    nothing = pl.DataFrame()
    return Cohort(pl.DataFrame(rows), nothing, nothing, nothing, [])


def test_the_night_of_median_agreement_is_stacked(models):
    night = stacked_night(models[:3], cohort())
    assert night.rule.startswith("s2n1 of subject sim/s2: of 5 test recordings the one with the")
    picture = night.picture
    assert picture.simulated == "simulated"
    svg = drawing({"src": picture.uri})
    dots = re.findall(r'<path d="([^"]*)"[^>]*stroke: #d7191c', svg)
    rows = [model.counted.table["recording"].to_list().index("s2n1") for model in models[:3]]
    wrong = [
        int((matrix := model.counted.confusion[place]).sum() - np.trace(matrix))
        for model, place in zip(models[:3], rows, strict=True)
    ]
    assert [path.count("M") for path in dots] == wrong
    for model, errors in zip(models[:3], wrong, strict=True):
        assert re.search(rf"{re.escape(model.name.title)} \d+ %, {errors} error", picture.alt)


def test_many_models_are_chosen_by_rank_and_it_is_said(models):
    night = stacked_night(models, cohort())
    assert f"{MAX_MODELS} of {MAX_MODELS + 2} models are drawn, at even steps of rank" in night.rule
    assert night.picture.alt.count("error") == MAX_MODELS
    assert models[0].name.title in night.picture.alt
    assert models[-1].name.title in night.picture.alt


def test_no_predictions_no_stack():
    model = Model(ModelName(Source("neuronet", "EEG"), "linear"), {}, [], None)
    assert stacked_night([model], cohort()) is None
