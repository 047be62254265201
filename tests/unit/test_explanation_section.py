"""Explained epochs in the report: a picture of each, with words for those who do not see it."""

import base64
import re

import numpy as np
import polars as pl
import pytest
from tests.unit.test_label_efficiency import section
from tests.unit.test_report import WHOLE, Results

from somnoflow.explain.explanation import GRAD_CAM, ROLLOUT, write_explanations
from somnoflow.report.explanation_figure import LEVELS, draw_explanation, envelope
from somnoflow.report.explanation_section import explanation_words, read_explained
from somnoflow.report.figures import COLOURS
from somnoflow.stages import STAGE_NAMES
from somnoflow.tasks import TASKS

T = 3000
TASK = TASKS["staging"]


def row(*, epoch=3, stage=2, predicted=2, channel="EEG_C4", method=GRAD_CAM, **changes):
    """Make a row: heat in the second third, one spindle at its beginning."""
    heat = np.zeros(T)
    heat[1000:2000] = np.linspace(0, 1, 1000)
    rng = np.random.default_rng(epoch)
    return {
        "dataset": "sim", "subject": "sim/s00", "recording": "s00n1", "epoch": epoch,
        "onset_s": 30.0 * epoch, "stage": stage, "predicted": predicted, "explained": predicted,
        **{name: 0.6 if k == predicted else 0.1 for k, name in enumerate(TASK.probabilities)},
        "channel": channel, "sampling_rate": 100, "unit": "uV",
        "signal": (20 * rng.normal(size=T)).tolist(), "method": method, "heat": heat.tolist(),
        "spindles": [{"onset_s": 10.0, "duration_s": 0.8}], "slow_waves": [],
        **changes,
    }  # fmt: skip


def add(results, model, rows, *, each=1):
    path = results.root / "explain" / model / WHOLE / "fold=0" / "explanation.parquet"
    path.parent.mkdir(parents=True)
    write_explanations(path, rows, task=TASK, about={"each": each, "seed": 1, "of": 1200})
    results.inputs["explanations"].append(path)
    return path


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    made = Results(tmp_path_factory.mktemp("explained"), nights=2)
    add(made, "tinysleepnet/EEG_C4/published",
        [row(stage=k, epoch=k, predicted=min(k, 3)) for k in range(5)])  # fmt: skip
    add(made, "synthsleepnet/all/linear",
        [row(channel=channel, method=method, spindles=None, slow_waves=None, unit="mV")
         for channel in ("EOG_L", "ECG") for method in (GRAD_CAM, ROLLOUT)])  # fmt: skip
    return made


@pytest.fixture(scope="module")
def page(results):
    return results.page()


def svg_of(uri):
    return base64.b64decode(uri.partition(",")[2]).decode()


def draw(rows, **changes):
    table = pl.DataFrame(rows, infer_schema_length=None)
    return draw_explanation(table, task=TASK, model="M", simulated="", **changes)


def test_each_model_has_its_epochs(page):
    reader = section(page, "explanations", "training")
    assert len(reader.images) == 6
    assert "What models look at" in reader.text
    assert "5 epochs drawn from 1,200 test epochs of fold 0: 1 of each stage" in reader.text
    assert "4 are scored right, 1 wrong" in reader.text
    assert "Fewer epochs were there of W, N1, N3, REM." in reader.text
    assert "Grad-CAM tells which parts" in reader.text
    assert "Attention roll-out tells" in reader.text
    assert "simulated" in reader.text
    assert 'href="#explanations"' in page


def test_a_picture_has_its_words(page):
    reader = section(page, "explanations", "training")
    texts = [image["alt"] for image in reader.images]
    assert all(len(text) > 60 for text in texts)
    assert "Epoch 4 of s00n1: expert REM, predicted N3 (0.60)." in " ".join(texts)
    assert "EEG_C4: 1 spindle and 0 slow waves detected." in " ".join(texts)
    assert "Trace of EOG_L, ECG over 30 s" in " ".join(texts)


def test_without_explanations_it_is_said_how_to_get_them(tmp_path):
    page = Results(tmp_path / "none", nights=2).page()
    reader = section(page, "explanations", "training")
    assert "explain.epochs of the configuration is 0" in reader.text
    assert not reader.images
    assert explanation_words([]) == []


def test_the_drawing_shows_trace_heat_probabilities_and_events():
    picture = draw([row()])
    svg = svg_of(picture.uri)
    for text in ("EEG_C4", "µV", "Grad-CAM", "spindles", "slow waves", *STAGE_NAMES, "0.60"):
        assert f">{text}</text>" in svg
    assert all(colour.lower() in svg.lower() for colour in (LEVELS[0], LEVELS[-1], "#009E73"))
    assert COLOURS["N2"].lower() in svg.lower()
    assert "<image" not in svg
    assert len(picture.uri) < 40_000
    assert svg_of(draw([row()]).uri) == svg


def test_a_channel_without_detection_has_no_lane():
    svg = svg_of(draw([row(channel="ECG", spindles=None, slow_waves=None)]).uri)
    assert "spindles" not in svg
    assert "detected" not in draw([row(spindles=None, slow_waves=None)]).caption.split("Trace")[0]


def test_heat_that_says_nothing_is_told():
    none, even = np.zeros(T).tolist(), np.linspace(0.8, 1, T).tolist()
    told = draw([row(heat=none), row(method=ROLLOUT, heat=even)]).caption
    assert "Grad-CAM: nothing in this epoch speaks for the class." in told
    assert "Attention roll-out is almost even, from 0.80 to 1.00." in told
    assert "almost even" not in draw([row()]).caption


def test_a_class_that_was_asked_for_and_an_unscored_epoch_are_told():
    told = draw([row(stage=-1, explained=4)]).caption
    assert told.startswith("Epoch 3 of s00n1: predicted N2 (0.60). The heat is of REM.")


def test_a_trace_keeps_its_peaks():
    signal = np.random.default_rng(0).normal(size=T)
    signal[1234], signal[2001] = 50, -40
    seconds, values = envelope(signal, columns=400)
    assert len(values) <= 800
    assert (np.diff(seconds) > 0).all()
    assert seconds[values.argmax()] == pytest.approx(12.34)
    assert seconds[values.argmin()] == pytest.approx(20.01)
    assert envelope(signal[:500], columns=400)[1].size == 500


def test_files_that_are_none_are_named(results, tmp_path):
    [path, _] = results.inputs["explanations"]
    moved = tmp_path / "explanation.parquet"
    moved.write_bytes(path.read_bytes())
    with pytest.raises(ValueError, match="its fold is not known"):
        read_explained([moved])
    strange = path.parents[1] / "fold=1" / "explanation.parquet"
    strange.parent.mkdir()
    pl.DataFrame({"epoch": [1]}).write_parquet(strange)
    with pytest.raises(ValueError, match=re.escape("lacks ['dataset'")):
        read_explained([strange])
