"""Label efficiency in the report: curves over seeds, sizes of subsets, what pre-training is worth.

Run as a program, `python tests/unit/test_label_efficiency.py FOLDER`, it writes a made-up page with
thirty models, variants and curves, to be looked at.
"""

import json
import math
import re
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from scipy import stats
from tests.unit.test_report import Reader, Results, drawing

from somnoflow.config.context import ContextName
from somnoflow.config.finetune import Tuning
from somnoflow.config.heads import ProbeName
from somnoflow.config.pretrain import BASE as CONFIGURED_BASE
from somnoflow.config.synthsleepnet import LORA, SYNTHSLEEPNET
from somnoflow.config.unimodal import UNIMODAL
from somnoflow.evaluate.seeds import RANGE, STUDENT, over_seeds, sign_of
from somnoflow.report.label_curves import read_label_efficiency, scores_of
from somnoflow.report.label_section import HOW_TO, NEEDS_SCRATCH, worth_sentences
from somnoflow.report.naming import BASE, ENCODERS, HEADS, TASK_WORDS, TUNINGS, ModelName, Source
from somnoflow.report.results import spread
from somnoflow.report.sources import Model, read_models
from somnoflow.report.tables import MINUS, NOTHING, difference
from somnoflow.report.variants import comparisons, hybrid_sentences, paired_interval, recipes
from somnoflow.tasks import TASKS

SIZES = {"subjects": {5: (1, 100), 50: (4, 400), 100: (8, 800)},
         "epochs": {5: (8, 40), 50: (8, 400), 100: (8, 800)}}  # fmt: skip
HYBRID, MASKED = "neuronet/EEG_C4/linear", "neuronet-masked/EEG_C4/linear"


def add_counts(results, *, seeds, folds=2, sizes=SIZES, task="staging", lacks="N3"):
    """Write counts.json of subsets; the smallest ones of the first seed lack a class."""
    names = TASKS[task].classes
    for by, shares in sizes.items():
        for percent, (subjects, epochs) in shares.items():
            for seed in seeds:
                for fold in range(folds):
                    classes = dict.fromkeys(names, epochs // len(names))
                    if percent == min(shares) and seed == seeds[0]:
                        classes |= {lacks: 0, names[0]: 2 * classes[lacks]}
                    content = {
                        "by": by, "percent": percent, "seed": seed, "subjects": subjects,
                        "epochs": epochs, "classes": classes, "of": {"subjects": 8, "epochs": 800},
                    }  # fmt: skip
                    folder = f"labels/task={task}/labels={by}-{percent:g}-seed{seed}/fold={fold}"
                    results.inputs["counts"].append(
                        write(results, f"{folder}/counts.json", content)
                    )


def add_curve(results, model, values, *, by="epochs", task="staging"):
    """Write metrics.json for values of the first score by percent, one per seed from 1 on."""
    first, second = (one.key for one in scores_of(task))
    for percent, seeds in values.items():
        for seed, value in enumerate(seeds, 1):
            content = {
                "pooled": {first: value, second: None if value is None else value - 0.1},
                "intervals": {"confidence": 0.95},
                "baseline": {first: 0.125, second: 0.0},
            }
            folder = f"metrics/{model}/task={task}/labels={by}-{percent:g}-seed{seed}"
            results.inputs["curves"].append(write(results, f"{folder}/metrics.json", content))


def write(results, name, content):
    path = results.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def efficiency_of(results):
    return read_label_efficiency(curves=results.inputs["curves"], counts=results.inputs["counts"])


def section(page, name, end):
    return Reader(page[page.index(f'<section id="{name}"') : page.index(f'<section id="{end}"')])


@pytest.fixture
def results(tmp_path):
    return Results(tmp_path, models=(), nights=4)


# Intervals over seeds


def test_three_seeds_have_students_interval():
    values = [0.61, 0.64, 0.70]
    found = over_seeds(values, confidence=0.9)
    wanted = stats.t.interval(0.9, 2, loc=np.mean(values), scale=stats.sem(values))
    assert found.interval == pytest.approx(wanted)
    assert (found.n, found.kind) == (3, STUDENT)
    assert found.mean == pytest.approx(np.mean(values))


def test_two_seeds_have_their_range_and_one_has_nothing():
    two = over_seeds([0.7, 0.6], confidence=0.95)
    assert (two.interval, two.kind, two.mean) == ((0.6, 0.7), RANGE, pytest.approx(0.65))
    one = over_seeds([0.7, None], confidence=0.95)
    assert (one.n, one.mean, one.interval, one.kind) == (1, 0.7, None, "")
    assert over_seeds([None], confidence=0.95).mean is None


def test_an_interval_stays_in_its_bounds():
    wide = over_seeds([0.9, 0.99, 0.7], confidence=0.99, bounds=(0, 1))
    assert wide.interval[1] == 1
    assert wide.interval[0] > 0


def test_the_interval_holds_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(5)
    draws = rng.normal(0.6, 0.05, (2000, 3))
    found = [over_seeds(list(row), confidence=0.9).interval for row in draws]
    held = np.mean([low <= 0.6 <= high for low, high in found])
    assert held == pytest.approx(0.9, abs=0.03)


def test_the_sign_of_an_interval():
    assert [sign_of(x) for x in ((0.1, 0.2), (-0.2, -0.1), (-0.1, 0.1), (0, 0.1), None)] == [
        1, -1, 0, 0, 0,
    ]  # fmt: skip


# Names


def test_every_method_of_the_configuration_has_words():
    heads = [*get_args(ProbeName), *get_args(ContextName)]
    assert set(heads) == set(HEADS)
    assert {"", *get_args(Tuning), LORA} == set(TUNINGS)
    assert BASE == CONFIGURED_BASE
    assert {SYNTHSLEEPNET, UNIMODAL} <= set(ENCODERS)
    assert set(TASK_WORDS) == set(TASKS)
    source = Source("neuronet", "EEG_C4")
    for head in heads:
        assert ModelName(source, head).words == f"frozen, {HEADS[head]}"


def test_names_in_words():
    def title(path):
        encoder, channel, method = path.split("/")
        return ModelName(Source(encoder, channel), method).title

    assert title("neuronet/EEG_C4/mamba") == "NeuroNet, EEG_C4: frozen, Mamba context"
    assert title("neuronet/ECG/partial-lstm") == "NeuroNet, ECG: fine-tuned (partial), LSTM context"
    assert title("neuronet/ECG/scratch-mamba").endswith("trained from scratch, Mamba context")
    assert title(MASKED).startswith("NeuroNet with masked prediction only, EEG_C4:")
    assert title("neuronet-blocks/ECG/knn").startswith("NeuroNet, variant blocks, ECG:")
    assert title("features/ours/bimamba") == (
        "Table of features, ours: bidirectional Mamba context"
    )
    assert title("xgb/ECG/trees-of-2") == "xgb, ECG: trees-of-2"
    assert title("unimodal/EEG/linear") == (
        "SynthSleepNet's encoder of one modality, EEG: frozen, linear probe"
    )
    fused = ModelName(Source("synthsleepnet", "all"), "lora-mamba2", "apnea")
    assert fused.title == "SynthSleepNet, all: fine-tuned (LoRA), Mamba-2 context, apnea"
    assert fused.path == "synthsleepnet/all/lora-mamba2/task=apnea"


def test_models_are_ordered_by_encoder_channel_and_method():
    paths = [
        "neuronet/EEG_C4/linear", "neuronet/EEG_C4/mamba2", "neuronet/EEG_C4/partial-mamba",
        "neuronet/EEG_C4/scratch-lstm", "neuronet/ECG/knn", "neuronet-masked/EEG_C4/knn",
        "neuronet-contrastive/EEG_C4/linear", "neuronet-blocks/EEG_C4/linear",
        "unimodal/EEG/linear", "unimodal/EOG/linear", "unimodal/ECG/linear",
        "synthsleepnet/all/linear", "synthsleepnet/all/lora-mamba2",
        "features/ours/linear", "other/EEG_C4/linear",
    ]  # fmt: skip
    names = [ModelName(Source(*path.split("/")[:2]), path.split("/")[2]) for path in paths]
    names += [ModelName(names[0].source, "linear", task) for task in ("apnea", "hypopnea")]
    assert sorted(names[::-1], key=lambda name: name.order) == names


@pytest.mark.parametrize("place", ["epochs-5-seed1", "nothing"])
def test_a_model_of_a_subset_is_no_main_row(results, place):
    add_curve(results, HYBRID, {5: [0.5]})
    path = results.inputs["curves"][0]
    odd = path.parents[1] / (f"labels={place}" if place != "nothing" else "") / "metrics.json"
    with pytest.raises(ValueError, match=r"wanted 'all'|no folder <encoder>"):
        read_models(metrics=[odd], predictions=[])


def test_a_model_of_an_unknown_task_is_named(tmp_path):
    odd = tmp_path / "neuronet/ECG/linear/task=snoring/labels=all/metrics.json"
    with pytest.raises(ValueError, match="task 'snoring', wanted one of: staging, apnea"):
        read_models(metrics=[odd], predictions=[])


# Curves


def test_curves_are_means_over_seeds_at_the_number_of_labels(results):
    add_counts(results, seeds=(1, 2, 3))
    add_curve(results, HYBRID, {100: [0.7, 0.72, 0.71], 5: [0.5, 0.6, 0.55]})
    found = efficiency_of(results)
    (curve,) = found.curves
    assert curve.percents == [5, 100]
    assert [curve.spread(5, one).mean for one in curve.scores] == pytest.approx([0.55, 0.45])
    size = found.sizes["staging", "epochs", 5]
    assert (size.subjects, size.epochs, size.of_epochs, size.draws) == (8, 40, 800, 6)
    assert size.without == {"N3": 2}


def test_a_subset_without_counts_is_an_error(results):
    add_curve(results, HYBRID, {5: [0.5]})
    with pytest.raises(ValueError, match=r"no counts\.json of the labels epochs-5"):
        efficiency_of(results)


def test_a_model_of_all_labels_is_no_point_of_a_curve(results):
    path = write(results, f"metrics/{HYBRID}/task=staging/labels=all/metrics.json", {})
    with pytest.raises(ValueError, match="trained on all labels"):
        read_label_efficiency(curves=[path], counts=[])


def test_the_section_shows_numbers_sizes_seeds_and_missing_stages(results):
    add_counts(results, seeds=(1, 2, 3))
    values = [0.5, 0.61, 0.55]
    add_curve(results, HYBRID, {5: values, 100: [0.7, 0.72, 0.71]})
    page = results.page(hypnograms=0)
    text = section(page, "labels", "hypnograms").text
    found = over_seeds(values, confidence=0.95)
    assert f"{found.mean:.3f} [{found.interval[0]:.3f}, {found.interval[1]:.3f}]" in text
    assert "0.500, 0.610, 0.550" in text
    assert "95 % interval of the mean (Student t), n = 3 seeds" in text
    assert "N3 (in 2 of 6 draws)" in text
    assert "8 of 8" in text
    assert "40 of 800" in text
    assert NEEDS_SCRATCH in text
    assert "simulated" in text
    assert "6models on fewer labels" in Reader(page).text.replace(" models", "models")


def test_without_subsets_one_line_says_how_to_get_them(results):
    text = section(results.page(hypnograms=0), "labels", "hypnograms").text
    assert HOW_TO in text
    assert "Before" not in text
    assert len(text.split("\n\n")) <= 3


def test_two_seeds_show_their_range_and_one_none(tmp_path):
    for seeds, words in ((2, "the lower and the higher of two seeds, n = 2 seeds"),
                         (1, "n = 1 seeds, so there is no interval")):  # fmt: skip
        results = Results(tmp_path / str(seeds), models=(), nights=2)
        add_counts(results, seeds=tuple(range(1, seeds + 1)))
        add_curve(results, HYBRID, {5: [0.5, 0.6][:seeds]})
        assert (
            words.replace("1 seeds", "1 seed")
            in section(results.page(hypnograms=0), "labels", "hypnograms").text
        )


def test_each_method_has_its_colour_and_scratch_is_black(results):
    add_counts(results, seeds=(1, 2, 3))
    for model in ("linear", "partial-mamba", "scratch-mamba"):
        add_curve(results, f"neuronet/EEG_C4/{model}", {5: [0.5, 0.6, 0.5], 100: [0.7, 0.7, 0.8]})
    page = results.page(hypnograms=0)
    (image,) = section(page, "labels", "hypnograms").images
    svg = drawing(image)
    colours = set(re.findall(r"stroke: (#[0-9a-f]{6}); stroke-width: 1\.4", svg))
    dashed = re.findall(
        r"stroke-dasharray: [^;]*; stroke-dashoffset: 0; stroke: #000000; stroke-width: 1\.4", svg
    )
    assert colours == {"#0072b2", "#d55e00", "#000000"}
    assert dashed
    assert "linear probe 5 % 0.533" in image["alt"]


def test_channels_and_ways_to_leave_labels_out_stand_apart(results):
    add_counts(results, seeds=(1, 2, 3))
    for channel in ("EEG_C4", "ECG"):
        for by in SIZES:
            add_curve(results, f"neuronet/{channel}/knn", {5: [0.5, 0.6, 0.5]}, by=by)
    found = efficiency_of(results)
    assert [(panel.source.channel, panel.by) for panel in found.panels] == [
        ("EEG_C4", "subjects"), ("EEG_C4", "epochs"), ("ECG", "subjects"), ("ECG", "epochs"),
    ]  # fmt: skip
    assert len(section(results.page(hypnograms=0), "labels", "hypnograms").images) == 4


def test_each_task_has_curves_of_its_own(results):
    for task, lacks in (("staging", "N3"), ("apnea", "apnea")):
        add_counts(results, seeds=(1, 2, 3), task=task, lacks=lacks)
        add_curve(results, "synthsleepnet/all/linear", {5: [0.5, 0.6, 0.5]}, task=task)
    found = efficiency_of(results)
    assert [(panel.task, panel.source.encoder) for panel in found.panels] == [
        ("staging", "synthsleepnet"), ("apnea", "synthsleepnet"),
    ]  # fmt: skip
    page = section(results.page(hypnograms=0), "labels", "hypnograms")
    assert "Apnea: SynthSleepNet, all: single epochs left out" in page.text
    assert "Labels that a training sees (apnea)" in page.text
    assert "Classes without any label" in page.text
    assert "its AUPRC is the share of epochs with events" in page.text
    stages, events = page.images
    assert stages["alt"].startswith("Macro F1 by labelled")
    assert events["alt"].startswith("AUPRC by labelled")
    assert "macro F1" not in drawing(events)


def test_counts_of_another_task_are_not_taken(results):
    add_counts(results, seeds=(1,))
    add_curve(results, "synthsleepnet/all/linear", {5: [0.5]}, task="apnea")
    with pytest.raises(ValueError, match="epochs-5 of the task apnea was given"):
        efficiency_of(results)


def test_shares_that_are_the_same_labels_are_named(results):
    sizes = {"subjects": {1: (1, 100), 5: (1, 100), 100: (8, 800)}}
    add_counts(results, seeds=(1, 2), sizes=sizes)
    add_curve(results, HYBRID, {1: [0.5, 0.6], 100: [0.7, 0.7]}, by="subjects")
    text = section(results.page(hypnograms=0), "labels", "hypnograms").text
    assert "1 and 5 % of the subjects are the same labels: 1 subject." in text
    assert "where the interval has no width, the method has no seed" in text


# What pre-training is worth


def worth(results, tuned, scratch):
    add_counts(results, seeds=(1, 2, 3))
    add_curve(results, "neuronet/EEG_C4/partial-mamba", tuned)
    add_curve(results, "neuronet/EEG_C4/scratch-mamba", scratch)
    (panel,) = efficiency_of(results).panels
    return worth_sentences(panel.curves, simulated="simulated")


def test_what_pretraining_is_worth_at_each_size(results):
    (text,) = worth(
        results,
        {5: [0.60, 0.62, 0.61], 50: [0.70, 0.60, 0.72], 100: [0.70, 0.71, 0.72]},
        {5: [0.40, 0.41, 0.42], 50: [0.65, 0.68, 0.66], 100: [0.80, 0.82, 0.81]},
    )
    assert "on simulated data" in text
    assert "better at 5\N{NO-BREAK SPACE}% (+0.200 [" in text
    assert "not visible at 50\N{NO-BREAK SPACE}%" in text
    assert f"worse at 100\N{NO-BREAK SPACE}% ({MINUS}0.100 [" in text


def test_the_difference_is_taken_seed_by_seed(results):
    # All seeds move together: the difference is sure though each curve is not.
    tuned, scratch = {5: [0.3, 0.6, 0.9]}, {5: [0.25, 0.54, 0.85]}
    (text,) = worth(results, tuned, scratch)
    gaps = over_seeds([0.05, 0.06, 0.05], confidence=0.95)
    assert f"[+{gaps.interval[0]:.3f}, +{gaps.interval[1]:.3f}]" in text
    assert "better at 5\N{NO-BREAK SPACE}%" in text


def test_one_seed_decides_nothing(results):
    (text,) = worth(results, {5: [0.9]}, {5: [0.2]})
    assert "not to be judged from 1 seed at 5\N{NO-BREAK SPACE}%" in text
    assert "better" not in text


def test_another_context_module_is_no_pair(results):
    add_counts(results, seeds=(1, 2, 3))
    add_curve(results, "neuronet/EEG_C4/linear", {5: [0.9, 0.9, 0.9]})
    add_curve(results, "neuronet/EEG_C4/scratch-mamba", {5: [0.2, 0.2, 0.2]})
    (panel,) = efficiency_of(results).panels
    assert worth_sentences(panel.curves, simulated="") == []
    assert results.page(hypnograms=0).count(NEEDS_SCRATCH) == 1


# Variants of the objective


@pytest.fixture(scope="module")
def variants(tmp_path_factory):
    """Four models: the hybrid and its masked half, the better one first and then the worse one."""
    folder = tmp_path_factory.mktemp("variants")
    return Results(folder, nights=8, epochs=200, models=(MASKED, HYBRID))


def models_of(results):
    return read_models(metrics=results.inputs["metrics"], predictions=results.inputs["predictions"])


def test_the_difference_to_a_variant_has_a_paired_interval(variants):
    (one,) = comparisons(models_of(variants))
    values = [model.metrics["pooled"]["macro_f1"] for model in (one.base, one.variant)]
    assert one.base.name.path == f"{HYBRID}/task=staging"
    assert one.difference == pytest.approx(values[0] - values[1])
    assert one.interval[0] < one.difference < one.interval[1]
    assert one.sign == 1
    assert paired_interval(one.base, one.base) == [0, 0]


def test_the_verdict_on_the_hybrid_is_honest_in_both_directions(variants):
    models = models_of(variants)
    found = comparisons(models)
    (text,) = hybrid_sentences(found, known={}, simulated="simulated")
    assert text.startswith("The hybrid objective against masked prediction only on simulated data")
    assert "better in 1 of 1 comparison" in text
    base, variant = found[0].base, found[0].variant
    swapped = [Model(base.name, variant.metrics, [], variant.counted),
               Model(variant.name, base.metrics, [], base.counted)]  # fmt: skip
    (text,) = hybrid_sentences(comparisons(swapped), known={}, simulated="")
    assert "worse in 1 of 1 comparison" in text
    same = [base, Model(variant.name, base.metrics, [], base.counted)]
    (text,) = hybrid_sentences(comparisons(same), known={}, simulated="")
    assert "identical results, as if the encoders were the same, in 1 of 1 comparison" in text


def test_a_difference_that_may_be_chance_is_not_visible(tmp_path):
    results = Results(tmp_path, models=(MASKED, HYBRID), skills=(0.7, 0.7))
    found = comparisons(models_of(results))
    assert found[0].interval[0] < 0 < found[0].interval[1]
    (text,) = hybrid_sentences(found, known={}, simulated="")
    assert "no visible difference in 1 of 1 comparison" in text


def test_differences_are_written_with_their_sign():
    assert difference(0.1234, (-0.05, 0.2)) == f"+0.123 [{MINUS}0.050, +0.200]"
    assert difference(-0.00001) == "0.000"
    assert difference(None) == NOTHING


def test_without_predictions_a_difference_has_no_interval(variants):
    bare = [Model(m.name, m.metrics, [], None) for m in models_of(variants)]
    (one,) = comparisons(bare)
    assert one.interval is None
    (text,) = hybrid_sentences([one], known={}, simulated="")
    assert "no interval in 1 of 1 comparison" in text
    assert "better" not in text


def test_objectives_are_read_from_run_json(variants):
    (one,) = comparisons(models_of(variants))
    known = {"neuronet": {"objective": "masked"}, "neuronet-masked": {"objective": "masked"}}
    assert hybrid_sentences([one], known=known, simulated="") == []


def test_the_table_of_variants_says_what_differs(variants):
    for encoder, objective in (("neuronet", "hybrid"), ("neuronet-masked", "masked")):
        recipe = {"objective": objective, "passes": 8}
        content = {"arguments": {"cfg": {"recipe": recipe}}}
        path = write(variants, f"pretrain/{encoder}/EEG_C4/fold=0/run.json", content)
        training = path.with_name("training.csv")
        if not training.exists():
            training.write_text("pass,train_loss,val_loss,best\n1,2.0,2.1,true\n")
            variants.inputs["training"].append(training)
    page = variants.page(hypnograms=0)
    text = section(page, "results", "labels").text
    assert "objective: masked instead of hybrid" in text
    assert "passes" not in text
    assert "NeuroNet with masked prediction only" in text
    assert recipes([]) == {}


# Many models


def test_many_models_stay_readable(tmp_path):
    paths = [f"neuronet/EEG_C4/{method}" for method in ("linear", "knn", "lstm", "mamba")]
    results = Results(tmp_path, models=[*paths, "neuronet/ECG/linear"], nights=2, epochs=40)
    page = results.page(hypnograms=1)
    reader = Reader(page)
    models = [i for i in reader.attributes if i[:2] == ("details", "class")]
    unfolded = re.findall(r'<details class="model" open>', page)
    assert (len(models), len(unfolded)) == (5, 3)
    summary = section(page, "summary", "comparison")
    places = [link for link in summary.links if link.startswith("#")]
    assert places[:5] == [f"#{name}" for name in reader.ids if name.startswith("model-")]
    assert summary.text.count("NeuroNet, EEG_C4") == 1
    assert "3 of 5 models are drawn" in section(page, "hypnograms", "training").text
    # Those of the three, and one night by all models.
    assert len(section(page, "hypnograms", "training").images) == 4


def test_drawn_models_are_spread_over_the_ranks():
    def model(number, value):
        name = ModelName(Source("neuronet", "ECG"), f"m{number}")
        return Model(name, {"pooled": {"macro_f1": value}}, [], None)

    models = [model(k, value) for k, value in enumerate((0.5, None, 0.9, 0.1, 0.7))]
    assert [m.name.method for m in spread(models, 3)] == ["m0", "m1", "m2"]
    assert spread(models, 5) == models
    assert math.isclose(spread(models, 2)[1].metrics["pooled"]["macro_f1"], 0.9)


# External data sets


def test_external_subjects_are_named_and_counted(tmp_path):
    results = Results(tmp_path, models=())
    path = results.inputs["split"]
    content = json.loads(path.read_text())
    content["folds"][0]["test"].append("ext/a")
    content["external"] = ["ext/a", "ext/b"]
    path.write_text(json.dumps(content))
    text = section(results.page(), "split", "results").text
    assert "External, tested only" in text
    assert "ext, 1 subject, each by the models of one fold. 1 more subject without" in text
    assert "Of these external" in text
    assert "ext/b (external)" in text
    assert "two roles" not in text


@pytest.mark.parametrize("role", ["pretrain", "train", "val"])
def test_an_external_subject_in_training_is_a_leak(tmp_path, role):
    results = Results(tmp_path, models=())
    path = results.inputs["split"]
    content = json.loads(path.read_text())
    content["folds"][1][role].append("ext/a")
    content["external"] = ["ext/a"]
    path.write_text(json.dumps(content))
    text = Reader(results.page()).text
    assert "fold 1: ext/a" in text
    assert "Checked for this page" not in text


def made_up_page(folder: Path) -> None:
    """Write a page with many models, variants and curves."""
    tuned = [f"{tuning}-{head}" for tuning in ("partial", "full", "scratch")
             for head in ("lstm", "mamba")]  # fmt: skip
    models = [f"neuronet/{channel}/{method}" for channel in ("EEG_C4", "ECG")
              for method in (*HEADS, *tuned)]  # fmt: skip
    models += [f"neuronet-{half}/EEG_C4/{method}" for half in ("masked", "contrastive")
               for method in ("linear", "knn")]  # fmt: skip
    skills = np.random.default_rng(2).uniform(0.5, 0.8, len(models))
    results = Results(folder, nights=8, epochs=400, folds=4, models=models, skills=skills)
    sizes = {"subjects": {1: (1, 700), 5: (1, 700), 10: (2, 1400), 100: (24, 16800)},
             "epochs": {1: (22, 168), 5: (24, 840), 10: (24, 1680), 100: (24, 16800)}}  # fmt: skip
    add_counts(results, seeds=(1, 2, 3), folds=4, sizes=sizes)
    rng = np.random.default_rng(4)
    for by, shares in sizes.items():
        for base, method in ((0.5, "linear"), (0.55, "partial-mamba"), (0.3, "scratch-mamba")):
            gain = (0.78 - base) / math.log(100)
            values = {
                percent: list(base + gain * math.log(percent) + rng.normal(0, 0.02, 3))
                for percent in shares
            }
            add_curve(results, f"neuronet/EEG_C4/{method}", values, by=by)
    results.page(hypnograms=2, quality_recordings=2)


if __name__ == "__main__":
    made_up_page(Path(sys.argv[1]))
