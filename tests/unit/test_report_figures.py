"""Pictures over all models: size against score, and one night stacked."""

import re

import numpy as np
import polars as pl
import pytest
from matplotlib.figure import Figure
from tests.unit.test_report import drawing, night, scores

from somnoflow.evaluate.confusion import count_test_epochs
from somnoflow.report.comparison_section import SCHEMA
from somnoflow.report.explanation_figure import envelope
from somnoflow.report.figures import _steps, draw_dots, hypnogram, make_picture
from somnoflow.report.naming import ModelName, Source
from somnoflow.report.size_figure import LINE, draw_sizes, spread_out
from somnoflow.report.sources import Cohort, Model
from somnoflow.report.stacked_night import MAX_MODELS, draw_stacked, stacked_night

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
    made = stacked_night(models[:3], cohort())
    assert made.rule.startswith("s2n1 of subject sim/s2: of 5 test recordings the one with the")
    picture = made.picture
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
    made = stacked_night(models, cohort())
    assert f"{MAX_MODELS} of {MAX_MODELS + 2} models are drawn, at even steps of rank" in made.rule
    assert made.picture.alt.count("error") == MAX_MODELS
    assert models[0].name.title in made.picture.alt
    assert models[-1].name.title in made.picture.alt


def test_lines_are_small_and_rounding_does_not_add_up():
    places = np.cumsum(np.random.default_rng(0).uniform(0.11, 0.19, 500))
    path = "".join(f"{'L' if k else 'M'} {x:.6f} 7.25 \n" for k, x in enumerate(places))
    short = _steps(path)
    assert len(short) < len(path) / 3
    first, steps = re.fullmatch(r"M([\d.]+) 7.2l(.*)", short).groups()
    walked = float(first) + np.cumsum([float(x) for x in steps.split()[::2]])
    assert walked == pytest.approx(places[1:], abs=0.051)
    assert _steps("M 1.0 2.0 L 0.5 2.0 z M 3.0 1.0 L 3.0 1.0") == "M1 2l-.5 0zM3 1l0 0"


def test_a_drawing_with_curves_keeps_them():
    figure = Figure(figsize=(1, 1))
    figure.add_axes((0, 0, 1, 1)).plot([0.5], [0.5], "o")
    svg = drawing({"src": make_picture(figure, alt="", caption="", simulated="").uri})
    assert re.search(r'd="M [-\d. ]+\nC ', svg)
    assert "<g id=" not in svg


def test_a_last_digit_that_cannot_be_seen_changes_no_byte():
    """Sums of other threads end in other digits, and matplotlib names ids after such numbers."""

    def picture(nudge):
        figure = Figure(figsize=(3, 2))
        for row in range(2):
            axes = figure.add_axes((0.1, 0.1 + 0.4 * row + nudge, 0.8, 0.3))
            axes.plot(range(9), marker="o")
        return make_picture(figure, alt="", caption="", simulated="")

    assert picture(0.0) == picture(1e-12)
    svg = drawing({"src": picture(0.0).uri})
    named = re.findall(r'\bid="([^"]+)"', svg)
    assert len(named) == len(set(named)) >= 4
    assert set(re.findall(r'(?:url\(|href=")#([^")]+)', svg)) == set(named)


def test_pictures_of_whole_nights_stay_small():
    rng = np.random.default_rng(2)
    epochs = scores(rng, night(rng, 960), "sim/s0", 0, 0.6)
    one = hypnogram(epochs, recording="s0", model="m", simulated="")
    stack = draw_stacked(dict.fromkeys("abcdefghijkl", epochs), recording="s0", simulated="")
    dots = Figure(figsize=(5, 5))
    draw_dots(dots.add_subplot(), *rng.normal(0, 1, (2, 4000)), colour="#000000", size=3)
    cloud = make_picture(dots, alt="", caption="", simulated="")
    trace = Figure(figsize=(10, 2))
    trace.add_subplot().plot(*envelope(rng.normal(0, 1, 3000), columns=360))
    line = make_picture(trace, alt="", caption="", simulated="")
    sizes = [len(picture.uri) / 1000 for picture in (one, stack, cloud, line)]
    # In kB, as measured, with a tenth to spare.
    assert (np.array(sizes) < [51, 250, 80, 19.5]).all(), sizes


def test_no_predictions_no_stack():
    model = Model(ModelName(Source("neuronet", "EEG"), "linear"), {}, [], None)
    assert stacked_night([model], cohort()) is None
