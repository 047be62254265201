"""What the report says about events and modalities left out: complete, escaped, honest.

Run as a program, `python tests/unit/test_event_report.py FILE`, it writes a page of made-up results
to be looked at.
"""

import base64
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from jinja2 import Environment, StrictUndefined

from somnoflow.config.evaluate import Evaluate
from somnoflow.evaluate.ablation import Ablation, summarise_ablation
from somnoflow.evaluate.confusion import Counted
from somnoflow.evaluate.event_metrics import summarise
from somnoflow.evaluate.event_nights import Nights, calibrate
from somnoflow.evaluate.events import COUNTS, Epochs, Events
from somnoflow.report.ablation_section import Ablated, ablation_panels, by_size, read_ablations
from somnoflow.report.event_section import event_panels, in_order, score_table
from somnoflow.report.naming import ModelName, Source
from somnoflow.report.page import TEMPLATE
from somnoflow.report.sources import Model
from somnoflow.report.template import CSS, HEAD, TABLE
from somnoflow.tasks import TASKS

SCRIPT = "<script>alert(1)</script>"
BODY = """<!DOCTYPE html><html><head><meta charset="utf-8"><style>{{ css }}</style></head><body>
<div class="layout"><nav></nav><main>
{% for p in events %}<h3>{{ p.title }}</h3>
{% for text in p.sentences %}<p>{{ text }}</p>{% endfor %}
{{ table(p.table) }}{% for one in p.pictures %}{{ picture(one) }}{% endfor %}
{% for one in p.more %}{{ table(one) }}{% endfor %}{% endfor %}
{% for p in ablations %}<h3>{{ p.title }}</h3>
{% for text in p.sentences %}<p>{{ text }}</p>{% endfor %}
{{ picture(p.picture) }}{% for one in p.tables %}{{ table(one) }}{% endfor %}{% endfor %}
</main></div></body></html>"""
MODELS = (
    ("unimodal", "EEG", "linear"),
    ("synthsleepnet", "all", "lora-mamba2"),
    ("synthsleepnet", "all", "linear"),
)


def event_metrics(task, *, skill, subjects=6, epochs=200, seed=0, known=True, unusable=0):
    """Judge made-up scores that tell events by `skill`."""
    rng = np.random.default_rng(seed)
    often = np.clip(rng.gamma(1.2, 0.09, subjects), 0.01, 0.6)
    hidden = np.repeat(rng.random((subjects, epochs // 3 + 1)), 3, axis=1)[:, :epochs]
    label = hidden < often[:, None]
    score = 1 / (1 + np.exp(2 - skill * label + rng.normal(0, 1, label.shape)))
    if unusable:
        label, score = label[:, unusable:], score[:, unusable:]
    names = [f"r{k:02d}" for k in range(subjects)]
    found = Epochs(
        recordings=pl.DataFrame(
            {
                "dataset": "sim",
                "subject": [f"sim/{name}" for name in names],
                "recording": names,
                "fold": 0,
                **dict.fromkeys(COUNTS, 0),
            }
        ).with_columns(
            epochs=pl.lit(epochs), judged=pl.lit(label.shape[1]), unusable=pl.lit(unusable),
            positives=pl.Series(label.sum(axis=1)),
        ),
        row=np.repeat(np.arange(subjects), label.shape[1]),
        epoch=np.tile(np.arange(label.shape[1]), subjects),
        asleep=np.ones(label.size, bool),
        label=label.ravel(),
        predicted=(score > 0.3).ravel(),
        score=score.ravel(),
    )  # fmt: skip
    hours = label.shape[1] / 120
    table = found.recordings.select("dataset", "subject", "recording", "fold").with_columns(
        sleep_hours=pl.lit(hours),
        true_epochs=label.sum(axis=1),
        predicted_epochs=(score > 0.3).sum(axis=1),
        true_per_hour=label.sum(axis=1) / hours,
        predicted_per_hour=(score > 0.3).sum(axis=1) / hours,
        ahi=1.2 * label.sum(axis=1) / hours if known else np.full(subjects, np.nan),
    )
    calibration = calibrate(table[:2])
    ratio = calibration["events_per_epoch"][0] if known else np.nan
    nights = table.with_columns(
        estimated_ahi=ratio * pl.col("predicted_per_hour"),
        usual_ahi=pl.lit(14.0),
        usual_per_hour=pl.lit(11.0),
    )
    events = Events(TASKS[task], found, found, {0: 0.3})
    return summarise(events, Nights(nights, calibration), cfg=Evaluate(resamples=100))


def judged(task="respiratory", models=MODELS, **how):
    return [
        Model(ModelName(Source(encoder, channel), method, task),
              event_metrics(task, skill=1.5 + 0.5 * k, **how), [], None)
        for k, (encoder, channel, method) in enumerate(models)
    ]  # fmt: skip


def ablated(modalities=("EEG", "EOG", "EMG", "ECG"), *, subjects=5, epochs=200, name="all"):
    rng = np.random.default_rng(1)
    strength = dict(zip(modalities, (0.5, 0.42, 0.3, 0.15, 0.1), strict=False))
    true = [rng.integers(0, 5, epochs) for _ in range(subjects)]
    counted = {}
    for size in range(len(modalities), 0, -1):
        for subset in combinations(modalities, size):
            miss = np.prod([1 - strength[one] for one in subset])
            confusion = np.zeros((subjects, 5, 5), int)
            for k, stage in enumerate(true):
                right = rng.random(epochs) > miss
                np.add.at(
                    confusion[k], (stage, np.where(right, stage, rng.integers(0, 5, epochs))), 1
                )
            table = pl.DataFrame(
                {"dataset": "sim", "subject": [f"sim/{k}" for k in range(subjects)],
                 "recording": [f"r{k}" for k in range(subjects)], "epochs": epochs,
                 "scored": epochs, "unscored": 0, "unusable": 0}
            )  # fmt: skip
            counted[subset] = Counted(table, confusion)
    metrics = summarise_ablation(Ablation(modalities, counted), cfg=Evaluate(resamples=100))
    return Ablated(Source("synthsleepnet", name), metrics)


def render(events=(), ablations=()):
    """Put panels into a page with the macros of the report."""
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    macros = "".join(path.read_text(encoding="utf-8") for path in (HEAD, TABLE))
    macros += TEMPLATE.read_text(encoding="utf-8").split("{{ head() }}")[0]
    css = CSS.read_text(encoding="utf-8").replace("max-height: 36rem", "max-height: none")
    return environment.from_string(macros + BODY).render(
        events=events, ablations=ablations, css=css, simulated="simulated"
    )


@pytest.fixture(scope="module")
def models():
    return judged()


@pytest.fixture(scope="module")
def panel(models):
    return event_panels(models, simulated="simulated")[0]


def test_the_baseline_stands_first_and_models_are_not_sorted_by_result(models, panel):
    table = panel.table
    assert table.groups[0] == "Baseline"
    assert table.rows[0][0] == "always none"
    prevalence = models[0].metrics["prevalence"]
    assert table.rows[0][1] == f"{prevalence:.3f}"
    assert table.rows[0][2] == "0.500"
    assert [row[0] for row in table.rows[1:]] == [
        "frozen, linear probe", "fine-tuned (LoRA), Mamba-2 context", "frozen, linear probe",
    ]  # fmt: skip
    assert [model.name.source.encoder for model in in_order(models)] == [
        "synthsleepnet", "synthsleepnet", "unimodal",
    ]  # fmt: skip


def test_numbers_have_intervals_and_captions_say_prevalence_and_n(models, panel):
    first = in_order(models)[0].metrics
    low, high = first["intervals"]["auprc"]
    assert panel.table.rows[1][1] == f"{first['pooled']['auprc']:.3f} [{low:.3f}, {high:.3f}]"
    words = f"n = 1,200 epochs, {first['counts']['positives']} with the event"
    for table in (panel.table, *panel.more[:3]):
        assert words in table.caption
        assert table.simulated == "simulated"
        assert all(len(row) == len(table.columns) for row in table.rows)


def test_each_value_is_in_a_table_once(panel):
    names = [column.name for table in (panel.table, *panel.more[:3]) for column in table.columns]
    for name in ("Sensitivity", "Specificity", "PPV", "NPV", "F1", "Accuracy", "Kappa", "AUROC",
                 "AUPRC", "Balanced accuracy", "Event F1"):  # fmt: skip
        assert names.count(name) == 1


def test_respiratory_events_have_the_ahi_and_its_classes(models, panel):
    severity = panel.more[-1]
    assert [row[0] for row in severity.rows] == ["under 5", "5 to 15", "15 to 30", "30 and more"]
    assert sum(int(row[-1]) for row in severity.rows) == 6
    assert len(panel.pictures) == 2
    assert "AHI of 6 recordings" in panel.pictures[1].caption
    assert any("AHI, estimated" in table.caption for table in panel.more)


def test_other_events_and_unknown_ahi_have_none():
    apnea = event_panels(judged("apnea", MODELS[:1]), simulated="")[0]
    assert (apnea.title, len(apnea.pictures)) == ("Apnea", 1)
    unknown = event_panels(judged(models=MODELS[:1], known=False), simulated="")[0]
    assert len(unknown.pictures) == 1
    assert "AHI: not known of any test recording." in unknown.sentences


def test_panels_are_of_events_only():
    staging = Model(ModelName(Source("neuronet", "EEG_C4"), "linear"), {"pooled": {}}, [], None)
    empty = Model(ModelName(Source("neuronet", "EEG_C4"), "knn", "apnea"), None, [], None)
    assert event_panels([staging, empty], simulated="") == []


def test_models_of_other_epochs_have_their_own_baseline(models):
    other = judged(models=[("unimodal", "ECG", "linear")], unusable=50)
    table = score_table(in_order([*models, *other]), {"F1": "f1"}, "", simulated="")
    assert [row[0].split(" (")[0] for row in table.rows[:2]] == ["always none"] * 2
    assert [column.name for column in table.columns] == ["Model", "F1", "n", "Prevalence"]
    assert [row[2] for row in table.rows] == ["1,200", "900", "1,200", "1,200", "1,200", "900"]
    sentences = event_panels([*models, *other], simulated="")[0].sentences
    assert sum("test epochs judged" in text for text in sentences) == 2


def test_a_model_without_any_event_is_said_to_have_none():
    model = judged(models=MODELS[:1])[0]
    pooled = dict.fromkeys(model.metrics["pooled"]) | {"accuracy": 1.0}
    model.metrics.update(pooled=pooled, curve={"recall": [], "precision": []}, prevalence=0.0,
                         notes=["auprc is not defined: no epoch has the event."])  # fmt: skip
    panel = event_panels([model], simulated="")[0]
    assert panel.table.rows[1][1] == "\N{EN DASH}"
    assert "auprc is not defined: no epoch has the event." in panel.sentences


def test_at_most_four_curves_are_drawn():
    many = [("unimodal", f"EEG{k}", "linear") for k in range(6)]
    picture = event_panels(judged(models=many, subjects=3), simulated="")[0].pictures[0]
    assert "4 of 6 models are drawn" in picture.caption
    assert "EEG4" not in picture.alt


def test_pictures_are_the_same_bytes_again(models, panel):
    again = event_panels(models, simulated="simulated")[0]
    assert [one.uri for one in again.pictures] == [one.uri for one in panel.pictures]


@pytest.fixture(scope="module")
def left_out():
    return ablated()


def test_subsets_stand_by_size_with_the_baseline_first(left_out):
    panel = ablation_panels([left_out], simulated="simulated")[0]
    table = panel.tables[0]
    assert table.rows[0][0].startswith("always ")
    assert table.groups[1:3] == ("4 modalities", "3 modalities")
    assert len(table.rows) == 16
    values = [one["pooled"]["macro_f1"] for one in by_size(left_out.metrics)]
    assert values[1:5] == sorted(values[1:5], reverse=True)
    assert table.rows[1][2] == "\N{EN DASH}"
    assert table.rows[2][2].startswith("\N{MINUS SIGN}0.")
    text = base64.b64decode(panel.picture.uri.split(",")[1]).decode()
    for name in ("EEG", "EOG", "EMG", "ECG", "macro F1"):
        assert f">{name}</text>" in text
    assert panel.picture.simulated == "simulated"
    assert "on simulated data" in panel.sentences[0]
    assert "EEG " in panel.sentences[1]


def test_a_subset_without_a_number_is_drawn_as_not_defined(left_out):
    metrics = dict(left_out.metrics, subsets=[dict(one) for one in left_out.metrics["subsets"]])
    last = metrics["subsets"][-1]
    last["pooled"] = last["pooled"] | {"macro_f1": None}
    last["difference"] = {"macro_f1": None, "interval": None, "subjects": 0, "reason": "none"}
    panel = ablation_panels([Ablated(left_out.source, metrics)], simulated="")[0]
    text = base64.b64decode(panel.picture.uri.split(",")[1]).decode()
    assert ">not defined</text>" in text


def test_one_modality_is_said_to_be_alone():
    panel = ablation_panels([ablated(("EEG",))], simulated="")[0]
    assert panel.sentences == ["EEG is the only modality, so none can be left out."]
    assert len(panel.tables[0].rows) == 2


def test_files_are_read_by_their_path(tmp_path):
    path = tmp_path / "ablation" / "synthsleepnet" / "two" / "metrics.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"modalities": ["EEG"]}')
    found = read_ablations([path])
    assert found == [Ablated(Source("synthsleepnet", "two"), {"modalities": ["EEG"]})]


def test_foreign_texts_are_escaped():
    models = judged(models=[("unimodal", SCRIPT, SCRIPT)], subjects=3)
    left_out = ablated(("EEG", SCRIPT), name=SCRIPT)
    page = render(
        event_panels(models, simulated="simulated"),
        ablation_panels([left_out], simulated="simulated"),
    )
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert page.count('class="badge">simulated') >= 8


if __name__ == "__main__":
    shown = [
        *judged(subjects=24, epochs=900),
        *judged("apnea", subjects=24, epochs=900, seed=3),
    ]
    Path(sys.argv[1]).write_text(
        render(event_panels(shown, simulated="simulated"),
               ablation_panels([ablated(subjects=24)], simulated="simulated")),
        encoding="utf-8",
    )  # fmt: skip
