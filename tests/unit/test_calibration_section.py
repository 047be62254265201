"""What the report says about confidence: picture, tables, sentences; honest where nothing fits."""

import base64
import json

import numpy as np
import pytest
from tests.unit.test_report import Reader, Results

from somnoflow.config.evaluate import Evaluate
from somnoflow.evaluate.calibrate_folds import calibrate
from somnoflow.report.calibration_section import (
    MAX_DRAWN,
    calibration_panels,
    listed,
    read_calibrations,
)
from somnoflow.report.naming import ModelName, Source
from somnoflow.report.sources import Model
from somnoflow.tasks import TASKS

CFG = Evaluate(resamples=100)
METHODS = ("linear", "lstm", "partial-mamba", "partial-lstm", "transformer")


def bins(rng, *, ece):
    """Make bins whose confidence is above the accuracy by `ece`."""
    counts = [3, *rng.integers(20, 60, 14).tolist()]
    middle = (np.arange(15) + 0.5) / 15
    return [
        {"low": k / 15, "high": (k + 1) / 15, "epochs": n, "confidence": middle[k],
         "accuracy": max(0.0, middle[k] - ece)}
        for k, n in enumerate(counts)
    ]  # fmt: skip


def content(*, task="staging", temperature=1.8, subjects=True):
    rng = np.random.default_rng(0)
    sides = {
        when: {"ece": ece, "nll": 2 * ece, "brier": ece, "bins": bins(rng, ece=ece)}
        for when, ece in (("before", 0.123), ("after", 0.021))
    }
    values = {"kept_accuracy": 0.91, "all_accuracy": 0.84, "review_accuracy": 0.56, "gain": 0.07}
    inside = {"confidence": 0.95, "reason": None}
    inside |= {name: [value - 0.01, value + 0.01] for name, value in values.items()}
    if not subjects:
        inside |= dict.fromkeys(values) | {"reason": "1 test subject(s) with judged epochs"}
    fold = {"fold": 0, "temperature": temperature, "reason": None, "epochs": 500}
    if temperature is None:
        fold["reason"] = "7 validation epochs, wanted at least 100"
    return {
        "task": task,
        "classes": list(TASKS[task].classes),
        "folds": [fold],
        "test": sides
        | {"epochs": 600, "review": {"share": 0.8, "epochs": 600, "intervals": inside} | values},
    }


def write(folder, *names, **about):
    paths = []
    for name in names:
        path = folder / name / f"task={about.get('task', 'staging')}/labels=all/calibration.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(content(**about)))
        paths.append(path)
    return paths


def judged(macro):
    return [
        Model(ModelName(Source("neuronet", "EEG_C4"), method), {"pooled": {"macro_f1": value}}, [],
              None)
        for method, value in macro.items()
    ]  # fmt: skip


def drawing(picture):
    return base64.b64decode(picture.uri.partition("base64,")[2]).decode()


def test_one_panel_of_stages_with_everything(tmp_path):
    found = read_calibrations(write(tmp_path, "neuronet/EEG_C4/linear"))
    (panel,) = calibration_panels(found, [], simulated="simulated")
    assert panel.title == "Staging"
    assert panel.sentences == [
        "NeuroNet, EEG_C4: frozen, linear probe on simulated data: of the 80 % most confident "
        "epochs of each recording 0.910 [0.900, 0.920] are right, of all 0.840 [0.830, 0.850], of "
        "those on the review list 0.560 [0.550, 0.570]."
    ]
    scores, review = panel.tables
    assert scores.rows == [
        ["frozen, linear probe", "0.123", "0.021", "0.246", "0.042", "1.80", "600"]
    ]
    assert review.rows[0][3] == "+0.070 [+0.060, +0.080]"
    assert {one.simulated for one in (panel.picture, scores, review)} == {"simulated"}
    for words in ("validation subjects", "test subjects"):
        assert words in panel.picture.caption
        assert words in scores.caption
    assert "ECE 0.123 before, 0.021 after" in panel.picture.alt


def test_the_best_few_are_drawn_and_all_are_in_the_table(tmp_path):
    names = [f"neuronet/EEG_C4/{method}" for method in METHODS]
    found = read_calibrations(write(tmp_path, *names, "majority/none/constant"))
    macro = dict(zip(METHODS, (0.5, 0.9, 0.8, 0.7, 0.6), strict=True))
    of_events = ModelName(Source("synthsleepnet", "all"), "linear", task="apnea")
    models = [*judged(macro), Model(of_events, {"pooled": {"auprc": 0.4}}, [], None)]
    (panel,) = calibration_panels(found, models, simulated="")
    assert panel.sentences[0].startswith("NeuroNet, EEG_C4: frozen, LSTM context: of the")
    assert len(panel.tables[0].rows) == len(panel.tables[1].rows) == len(METHODS) + 1
    assert f"The {MAX_DRAWN} of 5 models with the highest macro F1" in panel.picture.caption
    assert "linear probe" not in panel.picture.alt
    assert "Majority" not in panel.picture.alt
    assert panel.picture.alt.index("LSTM") < panel.picture.alt.index("Mamba")
    again = calibration_panels(found, judged(macro), simulated="")[0].picture
    assert drawing(again) == drawing(panel.picture)


def test_a_fold_without_a_temperature_says_why(tmp_path):
    names = ("neuronet/EEG_C4/linear", "neuronet/EEG_C4/lstm")
    found = read_calibrations(write(tmp_path, *names, temperature=None, subjects=False))
    (panel,) = calibration_panels(found, [], simulated="")
    assert "No intervals: 1 test subject(s) with judged epochs." in panel.sentences
    (told,) = [text for text in panel.sentences if "no temperature" in text]
    assert told.endswith(
        "no temperature in 1 of 1 fold, 1 is used there (fold 0: 7 validation epochs, wanted at "
        "least 100)."
    )
    assert "linear probe" in told
    assert "LSTM" in told
    assert [row[5] for row in panel.tables[0].rows] == ["\N{EN DASH}"] * 2


def test_events_have_a_table_and_no_review(tmp_path):
    found = read_calibrations(write(tmp_path, "synthsleepnet/all/linear", task="apnea"))
    (panel,) = calibration_panels(found, [], simulated="")
    assert panel.title == "Apnea"
    assert panel.picture is None
    (table,) = panel.tables
    assert "probability of the event" in table.caption


def test_many_temperatures_are_a_range():
    assert listed([1.0, None, 2.126]) == "1.00, \N{EN DASH}, 2.13"
    assert listed([1.5, None, 1.1, 1.2, 1.3, 2.0]) == "1.10 to 2.00"


def test_nothing_judged_gives_no_panel(tmp_path):
    assert calibration_panels([], [], simulated="") == []
    (path,) = write(tmp_path, "neuronet/EEG_C4/linear")
    empty = calibrate([], task=TASKS["staging"], cfg=CFG)
    path.write_text(json.dumps(empty))
    assert calibration_panels(read_calibrations([path]), [], simulated="") == []


def test_the_section_reads_what_the_command_writes():
    written = calibrate([], task=TASKS["staging"], cfg=CFG)
    made_up = content()
    assert made_up.keys() == written.keys()
    assert made_up["test"].keys() == written["test"].keys()
    assert made_up["test"]["before"].keys() == written["test"]["before"].keys()
    assert (
        made_up["test"]["before"]["bins"][0].keys() == written["test"]["before"]["bins"][0].keys()
    )
    review, given = (one["test"]["review"] for one in (written, made_up))
    assert given.keys() <= review.keys()
    assert given["intervals"].keys() <= review["intervals"].keys()


def test_models_of_fewer_labels_are_refused(tmp_path):
    path = tmp_path / "neuronet/EEG_C4/linear/task=staging/labels=epochs-5-seed1/calibration.json"
    with pytest.raises(ValueError, match="epochs-5-seed1"):
        read_calibrations([path])


def test_the_page_shows_what_the_metrics_stand_beside(tmp_path):
    results = Results(tmp_path, epochs=40, models=("neuronet/EEG_C4/linear",))
    results.inputs["calibrations"] = [
        path.with_name("calibration.json") for path in results.inputs["metrics"]
    ]
    page = results.page(hypnograms=0, quality_recordings=0)
    reader = Reader(page)
    assert "#calibration" in reader.links
    shown = page[page.index('id="calibration"') : page.index('id="events"')]
    assert shown.count("<img") == 1
    assert "no temperature in 2 of 2 folds, 1 is used there (fold 0: 0 validation epochs" in shown
    assert "What a review list is worth" in shown
