"""SynthSleepNet in the report: one modality or several, embeddings in a plane, events.

Run as a program, `python -m tests.unit.test_report_multimodal FOLDER`, it writes a made-up page
with four modalities, their fusion, all tasks, curves and embeddings in a plane, to be looked at.
"""

import json
import re
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.unit.test_event_report import ablated
from tests.unit.test_label_efficiency import add_counts, add_curve, section, write
from tests.unit.test_report import WHOLE, Reader, Results, drawing, scores

from somnoflow.commands.evaluate_events import evaluate_events
from somnoflow.config.evaluate import Evaluate
from somnoflow.data.projection import PCA_COLUMNS, TSNE_COLUMNS, write_projection
from somnoflow.evaluate.bootstrap import percentile_interval
from somnoflow.report.modality_section import compare, modality_panels
from somnoflow.report.naming import ModelName, Source
from somnoflow.report.projection_section import read_projections, subject_colours
from somnoflow.report.sources import Model, read_models
from somnoflow.report.tables import MINUS
from somnoflow.tasks import TASKS

EEG, ECG, FUSED = "unimodal/EEG/linear", "unimodal/ECG/linear", "synthsleepnet/all/linear"
CFG = Evaluate(resamples=200)
RATE = 0.15


def events_of(rng, stage):
    """Draw runs of epochs with an event in sleep."""
    label = np.zeros(len(stage), np.int8)
    for start in np.flatnonzero((rng.random(len(stage)) < RATE / 2) & (stage > 0)):
        label[start : start + 2] = 1
    return label


def event_rows(rng, stage, label, *, subject, fold, role, task, skill):
    """Make predictions of one night: `skill` parts the scores of the two classes."""
    n = len(stage)
    p = 1 / (1 + np.exp(-(rng.normal(0, 1, n) + skill * (label - 0.5) - 1)))
    usable = np.ones(n, bool)
    usable[n // 2 : n // 2 + n // 30] = False
    p = np.where(usable, p, np.nan).astype(np.float32)
    frame = pl.DataFrame(
        {
            "dataset": "sim", "subject": subject, "recording": f"{subject[4:]}n1",
            "epoch": np.arange(n, dtype=np.int32), "onset_s": 30.0 * np.arange(n),
            "fold": np.full(n, fold, np.int32), "role": role, "stage": stage.astype(np.int8),
            "label": label, "usable": usable,
            "predicted": np.where(usable, p > 0.5, -1).astype(np.int8),
            "threshold": np.full(n, 0.5, np.float32), "p_none": 1 - p, f"p_{task}": p,
        }
    )  # fmt: skip
    return frame.with_columns(pl.col("p_none", f"p_{task}").fill_nan(None))


def add_event_model(results, model, *, task, skill, seed=3):
    """Write predictions of an event and the metrics of them."""
    rng = np.random.default_rng(seed)
    labels = [events_of(np.random.default_rng(k), stage) for k, stage in enumerate(results.stages)]
    split = json.loads(results.inputs["split"].read_text())
    paths = []
    for fold in split["folds"]:
        frames = [
            event_rows(
                rng, results.stages[k], labels[k], subject=subject, fold=fold["fold"], role=role,
                task=task, skill=skill,
            )
            for role in ("val", "test")
            for k, subject in enumerate(results.subjects)
            if subject in fold[role]
        ]  # fmt: skip
        folder = results.root / "scores" / model / f"task={task}/labels=all/fold={fold['fold']}"
        folder.mkdir(parents=True)
        pl.concat(frames).write_parquet(folder / "predictions.parquet")
        paths.append(folder / "predictions.parquet")
    metrics = results.root / "metrics" / model / f"task={task}/labels=all/metrics.json"
    metrics.parent.mkdir(parents=True)
    evaluate_events(
        predictions=paths, cohort=results.inputs["recordings"], metrics=metrics,
        recordings=metrics.with_name("recordings.tsv"), task=task, cfg=CFG,
        calibration=metrics.with_name("calibration.json"),
    )  # fmt: skip
    results.inputs["predictions"] += paths
    results.inputs["metrics"].append(metrics)


def add_validation(results, model, *, skill):
    """Add rows of the validation subjects to predictions of stages."""
    rng = np.random.default_rng(5)
    for fold in json.loads(results.inputs["split"].read_text())["folds"]:
        path = results.root / f"scores/{model}/{WHOLE}/fold={fold['fold']}/predictions.parquet"
        stages = dict(zip(results.subjects, results.stages, strict=True))
        rows = [scores(rng, stages[s], s, fold["fold"], skill) for s in fold["val"]]
        test = pl.read_parquet(path, hive_partitioning=False)
        frames = [test, *(frame.with_columns(role=pl.lit("val")) for frame in rows)]
        pl.concat(frames).write_parquet(path)


def add_projection(results, fusion, *, epochs, subjects=4, alike=False):
    """Write embeddings in a plane: clusters by stage, a little apart by subject."""
    rng = np.random.default_rng(9)
    stage, subject = rng.integers(0, 5, epochs), rng.integers(0, subjects, epochs)
    angle = stage * 2 * np.pi / 5
    place = np.column_stack([np.cos(angle), np.sin(angle)]) + 0.1 * subject[:, None]
    place = place + rng.normal(0, 0.15, place.shape)
    places = np.zeros((epochs, 4)) if alike else np.hstack([place, 20 * place[:, ::-1]])
    table = pl.DataFrame(
        {
            "dataset": ["sim"] * epochs, "subject": [f"sim/s{k:02d}" for k in subject],
            "recording": [f"s{k:02d}n1" for k in subject], "epoch": np.arange(epochs),
            "stage": stage,
            **dict(zip((*PCA_COLUMNS, *TSNE_COLUMNS), places.T, strict=True)),
        },
        schema_overrides={"epoch": pl.Int32, "stage": pl.Int8},
    )  # fmt: skip
    few = epochs < 3
    about = {
        "epochs": 0 if few else epochs, "of": epochs if few or alike else 3 * epochs,
        "explained_variance": None if few else [0, 0] if alike else [0.41, 0.17],
        "perplexity": None if few else 30,
    }  # fmt: skip
    path = results.root / f"projection/synthsleepnet/{fusion}/fold=0/projection.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_projection(path, table.clear() if few else table, about=about)
    results.inputs["projections"].append(path)
    return path


def add_ablation(results):
    """Write the results of every subset of four modalities."""
    path = write(results, "ablation/synthsleepnet/all/metrics.json", ablated().metrics)
    results.inputs["ablations"].append(path)


def models_of(results):
    return read_models(metrics=results.inputs["metrics"], predictions=results.inputs["predictions"])


# One modality or several


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Stages and apnea by two encoders of one modality and their fusion, which is the best."""
    folder = tmp_path_factory.mktemp("multimodal")
    made = Results(folder, nights=8, epochs=120, models=(EEG, ECG, FUSED), skills=(0.7, 0.5, 0.85))
    for model, skill in ((EEG, 0.7), (ECG, 0.5), (FUSED, 0.85)):
        add_validation(made, model, skill=skill)
    for model, skill in ((EEG, 1.0), (ECG, 2.5), (FUSED, 2.0)):
        add_event_model(made, model, task="apnea", skill=skill)
    add_projection(made, "all", epochs=60)
    add_ablation(made)
    return made


@pytest.fixture(scope="module")
def page(results):
    return results.page(hypnograms=1)


def test_events_are_no_stages_in_the_report(page):
    reader = section(page, "summary", "comparison")
    assert "3 models trained on all labels" in reader.text
    assert "apnea" not in reader.text
    whole = Reader(page)
    assert {link[1:] for link in whole.links if link.startswith("#")} <= set(whole.ids)


def test_events_and_subsets_have_sections(page):
    events = section(page, "events", "modalities")
    assert "Apnea" in events.text
    assert "SynthSleepNet, all" in events.text
    subsets = section(page, "ablation", "embedding")
    assert "All 4 modalities together reach" in subsets.text
    assert len(subsets.images) == 1


def test_several_modalities_that_beat_one_are_told_with_interval(results):
    stages, _ = modality_panels(models_of(results), simulated="simulated")
    (text,) = stages.sentences
    assert stages.title == "Staging"
    assert text.startswith("SynthSleepNet, all (frozen, linear probe) on simulated data beats EEG ")
    assert re.search(r"by \+0\.\d+ \[\+0\.\d+, \+0\.\d+\] \(macro F1 0\.\d+ against", text)
    assert re.search(r"On validation subjects \+0\.\d+ \(0\.\d+ against 0\.\d+\)\.", text)


def test_several_modalities_that_do_not_beat_one_are_told_so(results):
    _, apnea = modality_panels(models_of(results), simulated="")
    (text,) = apnea.sentences
    assert apnea.title == "Apnea"
    assert "beat ECG alone" in text
    assert "AUPRC" in text
    assert " beats " not in text
    assert MINUS in text


def test_the_difference_is_that_of_the_two_metrics(results):
    models = {model.name: model for model in models_of(results)}
    for task, best, key in (("staging", "EEG", "macro_f1"), ("apnea", "ECG", "auprc")):
        fused = models[ModelName(Source("synthsleepnet", "all"), "linear", task)]
        single = [
            models[ModelName(Source("unimodal", name), "linear", task)] for name in ("ECG", "EEG")
        ]
        found = compare(fused, single, validation=dict.fromkeys(models))
        assert found.single.name.source.channel == best
        values = [m.metrics["pooled"][key] for m in (fused, found.single)]
        assert found.difference == pytest.approx(values[0] - values[1])
        assert found.interval[0] < found.difference < found.interval[1]
        own = compare(fused, [fused], validation=dict.fromkeys(models))
        assert own.interval == [0, 0]


def test_a_paired_interval_of_events_is_that_of_the_subjects_drawn(results):
    """A difference that every subject has alike is certain, however far subjects are apart."""
    models = {model.name: model for model in models_of(results)}
    fused, single = (
        models[ModelName(Source(*source), "linear", "apnea")]
        for source in (("synthsleepnet", "all"), ("unimodal", "EEG"))
    )
    found = compare(fused, [single], validation=dict.fromkeys(models))
    alone = [model.metrics["intervals"]["auprc"] for model in (fused, single)]
    paired = found.interval[1] - found.interval[0]
    assert paired < np.hypot(*(high - low for low, high in alone)) * 1.2
    assert percentile_interval(np.array([1.0]), 0.95) == [1, 1]


def test_the_table_has_all_rows_intervals_and_whom_they_are_compared_with(page):
    shown = section(page, "modalities", "ablation")
    assert "Macro F1 of staging on test subjects with the 95 % interval" in shown.text
    assert "AUPRC of apnea on test subjects with the 95 % interval" in shown.text
    assert shown.text.count("SynthSleepNet's encoder of one modality, EEG") == 2
    assert "which is in its favour" in shown.text
    assert "simulated" in shown.text


def test_another_method_is_named_as_a_possible_cause(results):
    models = {model.name: model for model in models_of(results)}
    one = models[ModelName(Source("synthsleepnet", "all"), "linear", "staging")]
    tuned = Model(
        ModelName(one.name.source, "lora-mamba2"), one.metrics, one.predictions, one.counted
    )
    single = models[ModelName(Source("unimodal", "EEG"), "linear", "staging")]
    (panel,) = modality_panels([single, tuned], simulated="")
    assert "EEG alone (frozen, linear probe; the method differs too)" in panel.sentences[0]
    assert panel.table.rows[-1][-1] == "EEG, frozen, linear probe"


def test_without_single_modalities_the_page_says_how_to_get_them(tmp_path):
    made = Results(tmp_path, models=(FUSED,), nights=4)
    shown = section(made.page(hypnograms=0), "modalities", "ablation").text
    assert "Add staging to unimodal.tasks in the configuration" in shown
    assert "Macro F1 of staging" not in shown


def test_without_synthsleepnet_there_is_no_such_section(tmp_path):
    text = Results(tmp_path, models=(), nights=2).page()
    assert 'id="modalities"' not in text
    assert 'id="embedding"' not in text


def test_without_predictions_the_difference_has_no_interval(results):
    bare = [Model(m.name, m.metrics, [], None) for m in models_of(results)]
    for panel in modality_panels(bare, simulated=""):
        assert "without an interval" in panel.sentences[0]
        assert "No scores on validation subjects." in panel.sentences[0]


def test_events_tested_on_strangers_are_a_warning(results, tmp_path):
    content = json.loads(results.inputs["split"].read_text())
    content["folds"][0]["test"][0] = "sim/elsewhere"
    split = tmp_path / "split.json"
    split.write_text(json.dumps(content))
    kept, results.inputs["split"] = results.inputs["split"], split
    text = Reader(results.page(hypnograms=0)).text
    results.inputs["split"] = kept
    assert re.search(r"4 more: tested on 1 subject that the split does not test", text)


# Embeddings in a plane


def test_embeddings_are_drawn_by_stage_and_by_subject(page):
    shown = section(page, "embedding", "labels")
    stages, subjects = shown.images
    assert "60 of 180 epochs with a stage and an embedding" in shown.text
    assert "4 recordings of 4 subjects, as many of each recording as can be" in shown.text
    assert "mean nothing" in shown.text
    assert shown.text.count("simulated") == 2
    assert re.search(r"coloured by stage: W \d+, N1 \d+", stages["alt"])
    assert "first component (41 % of the variance)" in drawing(stages)
    assert "perplexity 30" in drawing(stages)
    assert "sim/s03" in drawing(subjects)
    assert drawing(stages) != drawing(subjects)


def test_too_few_epochs_are_a_sentence_and_no_picture(tmp_path):
    made = Results(tmp_path, models=(), nights=2)
    add_projection(made, "all", epochs=2)
    shown = section(made.page(), "embedding", "labels")
    assert "No picture: 2 epochs with a stage and an embedding" in shown.text
    assert "wanted at least 3" in shown.text
    assert shown.images == []


def test_embeddings_that_are_all_the_same_are_called_so(tmp_path):
    made = Results(tmp_path, models=(), nights=2)
    add_projection(made, "all", epochs=12, alike=True)
    shown = section(made.page(), "embedding", "labels")
    assert "All embeddings are the same" in shown.text
    assert len(shown.images) == 2


def test_many_subjects_are_not_named_but_have_colours(tmp_path):
    made = Results(tmp_path, models=(), nights=2)
    add_projection(made, "all", epochs=300, subjects=30)
    images = section(made.page(), "embedding", "labels").images
    assert "sim/s03" not in drawing(images[1])
    assert len(set(subject_colours(30))) == 30


def test_names_of_subjects_are_escaped_in_the_legend(tmp_path):
    made = Results(tmp_path, models=(), nights=2)
    path = add_projection(made, "all", epochs=6, subjects=1)
    found = read_projections([path])[0].projected
    odd = found.table.with_columns(subject=pl.lit("<script>$\\frac{"))
    write_projection(path, odd, about=found.about)
    (_, image) = section(made.page(), "embedding", "labels").images
    assert "&lt;script&gt;$\\frac{" in drawing(image)


def test_thousands_of_dots_stay_small(tmp_path):
    made = Results(tmp_path, models=(), nights=2)
    add_projection(made, "all", epochs=2000)
    images = section(made.page(), "embedding", "labels").images
    assert all(len(image["src"]) < 400_000 for image in images)


def test_a_projection_outside_its_folder_is_named(tmp_path):
    path = tmp_path / "projection.parquet"
    with pytest.raises(ValueError, match=r"not in a folder <encoder>/<channel>/fold=<k>"):
        read_projections([path])


def made_up_page(folder: Path) -> None:
    """Write a page of four modalities and their fusion, three tasks and curves."""
    single = [f"unimodal/{name}/linear" for name in ("EEG", "EOG", "EMG", "ECG")]
    fused = ["synthsleepnet/all/linear", "synthsleepnet/all/lora-mamba2"]
    models = ["neuronet/EEG_C4/linear", "neuronet/EEG_C4/mamba", *single, *fused]
    skills = (0.7, 0.74, 0.68, 0.62, 0.4, 0.35, 0.72, 0.8)
    results = Results(folder, nights=12, epochs=600, folds=4, models=models, skills=skills)
    for model, skill in zip(models, skills, strict=True):
        add_validation(results, model, skill=skill)
    for seed, task in enumerate(name for name in TASKS if TASKS[name].rare):
        for model, skill in zip([*single, *fused], (0.6, 0.5, 0.4, 1.2, 1.6, 2.4), strict=True):
            add_event_model(results, model, task=task, skill=skill - 0.4 * seed, seed=seed)
    sizes = {"epochs": {1: (22, 168), 5: (24, 840), 100: (24, 16800)}}
    rng = np.random.default_rng(4)
    for task, lacks, base in (("staging", "N3", 0.5), ("apnea", "apnea", 0.3)):
        add_counts(results, seeds=(1, 2, 3), folds=4, sizes=sizes, task=task, lacks=lacks)
        for model in ("linear", "lora-mamba2"):
            values = {
                percent: list(base + 0.06 * np.log(percent) + rng.normal(0, 0.02, 3))
                for percent in sizes["epochs"]
            }
            add_curve(results, f"synthsleepnet/all/{model}", values, task=task)
    add_projection(results, "all", epochs=2000, subjects=6)
    add_ablation(results)
    results.page(hypnograms=2, quality_recordings=2)


if __name__ == "__main__":
    made_up_page(Path(sys.argv[1]))
