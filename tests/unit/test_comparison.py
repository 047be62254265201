"""All models in one table beside published results: numbers, facts, and the three files of it.

Run as a program, `python -m tests.unit.test_comparison FOLDER`, it writes made-up results of all
systems and the report on them, to be looked at.
"""

import json
import re
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
import yaml
from scipy.stats import wilcoxon
from tests.unit.test_report import Reader, Results

from somnoflow.compare.differences import differences, read_facts
from somnoflow.compare.latex import escape
from somnoflow.compare.networks import Network, channels_of, read_network, read_networks, size_of
from somnoflow.compare.paired import holm, paired_differences, read_subjects
from somnoflow.compare.published import read_published, read_recipe
from somnoflow.config.compare import COMPARED, CompareSlice
from somnoflow.config.root import read_config
from somnoflow.config.supervised import Supervised
from somnoflow.evaluate.metrics import pooled
from somnoflow.fingerprint import closure, data_files
from somnoflow.grid import MAJORITY, STAGER, SUPERVISED, YASA, whole_rows
from somnoflow.models.heads import LinearProbe, write_linear
from somnoflow.models.neuronet import NeuroNet, without_pretraining
from somnoflow.models.supervised import build_supervised, describe_supervised
from somnoflow.models.weights import write_weights
from somnoflow.report import naming
from somnoflow.report.comparison_section import comparison_panels, read_comparison
from somnoflow.report.naming import ModelName, Source
from somnoflow.report.sources import Model
from somnoflow.stages import STAGE_NAMES

MODELS = (
    "majority/none/constant",
    "yasa/EEG_C4/stager",
    "tinysleepnet/EEG_C4/published",
    "neuronet/EEG_C4/linear",
    "deepsleepnet/EEG_C4/weights",
    "deepsleepnet/EEG_C4/published",
    "seresnet_bilstm/EEG_C4/published",
)
RECIPES = {"deepsleepnet": {"preset": "tiny", "passes": 3, "cnn_passes": 100}}
COLUMNS = ("accuracy", "macro_f1", "kappa", *(f"f1_{name}" for name in STAGE_NAMES))


def slice_of(**changed):
    same = {"datasets": {"lab": None}, "wake_margin_minutes": 30, "recipes": {}}
    return CompareSlice(**same | changed)


def facts_of(folder: Path, *, cfg, simulated="false", dataset="lab", subjects=20, trained=None):
    """Write a table of recordings and a split of one night each; read the facts of them."""
    table, split = folder / "recordings.tsv", folder / "split.json"
    names = {dataset, trained or dataset}
    rows = [{"dataset": name, "simulated": simulated} for name in sorted(names)]
    pl.DataFrame(rows).write_csv(table, separator="\t")
    folds = [
        f'{{"test": ["{dataset}/s{k}"], "train": ["{trained or dataset}/t"]}}'
        for k in range(subjects)
    ]
    split.write_text(f'{{"folds": [{", ".join(folds)}]}}')
    return read_facts(recordings=table, split=split, cfg=cfg)


def published_of(encoder, dataset):
    return next(p for p in read_published() if (p.encoder, p.dataset) == (encoder, dataset))


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("comparison")
    return Results(folder, nights=4, epochs=40, models=MODELS, skills=[0.5 + k / 20
                   for k in range(len(MODELS))])  # fmt: skip


@pytest.fixture(scope="module")
def files(results):
    path = results.compare(recipes=RECIPES)
    return {suffix: path.with_suffix(suffix) for suffix in (".csv", ".tex", ".html")}


@pytest.fixture(scope="module")
def table(files):
    return read_comparison(files[".csv"])


def test_a_row_per_model_in_the_order_of_the_systems_then_baselines(table):
    own = table.filter(pl.col("kind") != "published")
    assert own["encoder"].to_list() == [
        "neuronet", "seresnet_bilstm", "deepsleepnet", "deepsleepnet", "tinysleepnet", "yasa",
        "majority",
    ]  # fmt: skip
    assert own["method"].to_list()[2:4] == ["published", "weights"]
    assert own["kind"].to_list()[4:] == ["trained here", "trained elsewhere", "not trained"]
    assert set(own["subjects"]) == {4}


def test_numbers_and_intervals_are_those_of_the_metrics(results, table):
    metrics = pl.read_json(results.inputs["metrics"][2]).row(0, named=True)
    row = table.row(by_predicate=pl.col("model").str.contains("TinySleepNet, EEG"), named=True)
    for name in ("accuracy", "macro_f1", "kappa"):
        assert row[name] == metrics["pooled"][name]
        assert [row[f"{name}_low"], row[f"{name}_high"]] == list(metrics["intervals"][name])
    for stage in STAGE_NAMES:
        assert row[f"f1_{stage}"] == metrics["pooled"]["per_class"][stage]["f1"]
    assert row["epochs"] == metrics["counts"]["scored"]


def test_published_results_stand_once_below_the_model_of_their_method(table):
    kinds = table.filter(pl.col("encoder") == "deepsleepnet").select("kind", "dataset").rows()
    assert [kind for kind, _ in kinds] == ["trained here", *["published"] * 3, "trained here"]
    assert [name for _, name in kinds[1:4]] == ["Sleep-EDF-20", "MASS-SS3", "Sleep-EDFX"]
    row = table.row(by_predicate=pl.col("dataset") == "MASS-SS3", named=True)
    assert [row[name] for name in COLUMNS[:3]] == [0.862, 0.817, 0.80]
    told = row["what_differs"]
    for words in ("simulated nights, not MASS-SS3", "4 subjects, not 62", "size tiny, not the",
                  "3 passes over the nights, not 200", "not known: channel, folds"):  # fmt: skip
        assert words in told
    assert "CNNs alone" not in told


def test_every_published_number_is_of_its_source():
    found = read_published()
    assert {one.encoder for one in found} == {
        "neuronet", "synthsleepnet", "seresnet_bilstm", "deepsleepnet", "tinysleepnet",
    }  # fmt: skip
    for one in found:
        assert all(0.3 < value < 1 for value in one.scores.values()), one
        assert one.scores
        assert one.source
    shhs = published_of("seresnet_bilstm", "SHHS")
    assert shhs.no_target == ("accuracy",)
    assert published_of("deepsleepnet", "Sleep-EDF-20").scores["f1_N1"] == 0.466
    assert not any("few labels" in one.note for one in found)
    data = {path.name for path in data_files("somnoflow.compare.published")}
    assert data == {"published.tsv", "recipes.tsv"}
    assert "somnoflow.compare.published" in closure("somnoflow.commands.compare")


def test_what_is_as_published_is_not_called_different(tmp_path):
    theirs = published_of("deepsleepnet", "Sleep-EDF-20")
    recipe = {option.name: option.published for option in read_recipe("deepsleepnet")}
    cfg = slice_of(
        datasets={"sleep-edfx": "sleep-edf-20"},
        recipes={"deepsleepnet": {"preset": "published", **recipe}},
    )
    facts = facts_of(tmp_path, cfg=cfg, dataset="sleep-edfx")
    name = ModelName(Source("deepsleepnet", "EEG_Fpz"), "published")
    ours = {"channels": ["EEG_Fpz"], "subjects": 20, "facts": facts}
    assert differences(name, **ours, theirs=theirs) == ["not known: chosen on whom"]


def test_options_that_differ_are_named_whatever_the_size(tmp_path):
    changed = {"preset": "published", "passes": 200, "dropout": 0.2, "window": 10}
    cfg = slice_of(recipes={"tinysleepnet": changed | {"learning_rate": 3e-3}})
    facts = facts_of(tmp_path, cfg=cfg)
    name = ModelName(Source("tinysleepnet", "EEG_Fpz"), "published")
    theirs = published_of("tinysleepnet", "Sleep-EDF-20")
    told = differences(name, channels=["EEG_Fpz"], subjects=20, facts=facts, theirs=theirs)
    assert told[-4:-1] == [
        "10 epochs in a window, not 20", "0.2 as dropout, not 0.5",
        "0.003 as learning rate, not 0.0001",
    ]  # fmt: skip


@pytest.mark.parametrize("name", SUPERVISED)
def test_published_options_are_those_of_the_recipe_file(name):
    path = Path(__file__).parents[2] / f"config/{name}.yaml"
    recipe = getattr(read_config(yaml.safe_load(path.read_text())).supervised, name)
    options = {option.name: option.published for option in read_recipe(name)}
    assert options == {key: getattr(recipe, key) for key in options}
    unpublished = {"preset"} | ({"passes", "dropout"} if name == "seresnet_bilstm" else set())
    assert set(options) == {key for key in COMPARED if hasattr(recipe, key)} - unpublished


def test_each_fact_that_differs_is_named(tmp_path):
    theirs = published_of("tinysleepnet", "Sleep-EDF-20")
    cfg = slice_of(datasets={"lab": None, "sim": None}, wake_margin_minutes=None)
    facts = facts_of(tmp_path, cfg=cfg, subjects=3, trained="sim")
    name = ModelName(Source("tinysleepnet", "EEG_C4"), "plain")
    ours = {"channels": ["EEG_C4"], "subjects": 24, "facts": facts}
    assert differences(name, **ours, theirs=theirs) == [
        "lab, not Sleep-EDF-20",
        "trained on sim",
        "24 subjects, not 20",
        "EEG_C4, not EEG_Fpz",
        "3 folds, not 20",
        "classes as they are, not classes as published",
        "not known: wake kept",
    ]
    fused = ModelName(Source("synthsleepnet", "all"), "linear")
    theirs = published_of("synthsleepnet", "SHHS1")
    told = differences(fused, **ours, theirs=theirs)
    assert told[0] == "lab, not SHHS1"
    assert "folds by subjects, not recordings" in told
    assert "chosen on validation subjects, not test subjects" in told
    cfg = slice_of(datasets={"shhs": "shhs1"})
    first = {**ours, "facts": facts_of(tmp_path, cfg=cfg, dataset="shhs")}
    assert "SHHS1" not in "; ".join(differences(fused, **first, theirs=theirs))


def named(method):
    return ModelName(Source("neuronet", "EEG_C4"), method)


def judged(folder, methods, values):
    """Write recordings.tsv of models and give them with metrics; `values` are of the subjects."""
    models, paths = [], []
    for method, scores in zip(methods, values, strict=True):
        name = named(method)
        path = folder / name.path / "labels=all/recordings.tsv"
        path.parent.mkdir(parents=True)
        rows = [
            {"subject": f"lab/{k}", "recording": f"{k}n{night}", "accuracy": value,
             "macro_f1": value + shift, "kappa": value}
            for k, value in enumerate(scores) for night, shift in ((1, -0.01), (2, 0.01))
        ]  # fmt: skip
        pl.DataFrame(rows).write_csv(path, separator="\t")
        intervals = {"confidence": 0.95, "resamples": 500, "seed": 3}
        metrics = {"pooled": {"macro_f1": np.mean(scores)}, "intervals": intervals}
        models.append(Model(name, metrics, [], None))
        paths.append(path)
    return models, read_subjects(paths)


def test_each_model_is_compared_with_the_best_over_the_same_subjects(tmp_path):
    rng = np.random.default_rng(0)
    best = rng.uniform(0.6, 0.8, 12)
    values = [best - 0.05 + rng.normal(0, 0.01, 12), best, best - 0.02 - rng.normal(0, 0.05, 12)]
    methods = ("linear", "partial-mamba", "knn")
    found = paired_differences(*judged(tmp_path, methods, values))
    assert set(found) == {named("linear"), named("knn")}
    for method, scores in zip(methods, values, strict=True):
        if method == "partial-mamba":
            continue
        row, gaps = found[named(method)], scores - best
        assert row["reference"] == named("partial-mamba").title
        assert row["paired_subjects"] == 12
        # Two recordings of a subject are one value: their mean.
        assert row["macro_f1_difference"] == pytest.approx(gaps.mean(), abs=1e-6)
        assert row["macro_f1_p"] == pytest.approx(wilcoxon(gaps).pvalue)
        low, high = row["macro_f1_difference_low"], row["macro_f1_difference_high"]
        assert low < gaps.mean() < high
        spread = 1.96 * gaps.std() / 12**0.5
        assert (high - low) / 2 == pytest.approx(spread, rel=0.2)
    assert found[named("linear")]["kappa_p_holm"] == pytest.approx(
        2 * found[named("linear")]["kappa_p"]
    )


def test_few_subjects_are_not_tested(tmp_path):
    values = [[0.5] * 5, [0.6, 0.7, 0.8, 0.7, 0.6]]
    row = paired_differences(*judged(tmp_path, ("linear", "knn"), values))[named("linear")]
    assert row["accuracy_difference"] == pytest.approx(-0.18)
    assert row["paired_subjects"] == 5
    untested = ("difference_low", "difference_high", "p", "p_holm")
    assert {row[f"accuracy_{name}"] for name in untested} == {None}


def test_a_score_that_is_not_defined_leaves_its_subject_out(tmp_path):
    values = [[0.5, 0.6, 0.7, 0.8, 0.9, 0.8, 0.9], [0.9] * 7]
    models, subjects = judged(tmp_path, ("linear", "knn"), values)
    first = pl.int_range(pl.len()) == 0
    own = subjects[named("linear")]
    subjects[named("linear")] = own.with_columns(kappa=pl.when(first).then(None).otherwise("kappa"))
    row = paired_differences(models, subjects)[named("linear")]
    assert row["accuracy_difference"] == pytest.approx(np.mean(values[0]) - 0.9, abs=1e-6)
    assert row["kappa_difference"] == pytest.approx(np.mean(values[0][1:]) - 0.9, abs=1e-6)


def test_equal_models_differ_in_nothing(tmp_path):
    values = [[0.5, 0.6, 0.7, 0.8, 0.9, 0.8]] * 2
    models, subjects = judged(tmp_path, ("linear", "knn"), values)
    (row,) = paired_differences(models, subjects).values()
    assert (row["kappa_difference"], row["kappa_p"], row["kappa_p_holm"]) == (0, 1, 1)


def test_p_values_are_corrected_as_holm_does():
    # What p.adjust of R gives.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1, 1]
    assert holm([]) == []


def test_differences_are_in_all_three_files_and_the_reference_is_named(table, files):
    own = table.filter(pl.col("kind") != "published", pl.col("reference").is_not_null())
    assert own.height == len(MODELS) - 1
    (reference,) = own["reference"].unique()
    best = table.filter(pl.col("kind") != "published").sort("macro_f1")["model"][-1]
    assert reference == best
    for suffix in (".html", ".tex"):
        text = " ".join(files[suffix].read_text().split())
        assert "makes its lead optimistic" in text
        assert "n/a" in text
    assert set(own["paired_subjects"]) == {4}


def test_parameters_are_those_that_scoring_needs(tmp_path):
    sizes = {
        "encoder_dim": 8, "encoder_heads": 2, "encoder_blocks": 1, "decoder_dim": 8,
        "decoder_heads": 2, "decoder_blocks": 1, "projection": (8, 4), "stem": 4,
        "stem_stride": 4, "channels": (4, 4), "strides": (1, 2),
    }  # fmt: skip
    own = {}
    for source in (Source("neuronet", "EEG_C4"), Source("unimodal", "EEG")):
        trained = source.encoder == "unimodal"
        model = NeuroNet(sampling_rate=100, frame_window=3.0, frame_step=1.5,
                         trainable_positions=trained, **sizes)  # fmt: skip
        path = tmp_path / f"pretrain/{source.path}/fold=0/encoder.safetensors"
        path.parent.mkdir(parents=True)
        write_weights(path, model.state_dict(), {"kind": "neuronet", "channels": ["EEG_C3"]})
        needed = without_pretraining(model)
        own[path] = sum(p.numel() for p in needed.parameters())
        assert read_network(path) == Network(own[path], ("EEG_C3",))
    probe = LinearProbe(8, dropout=0.5)
    head = tmp_path / "heads/neuronet/EEG_C4/linear/task=staging/labels=all/fold=0/head.safetensors"
    head.parent.mkdir(parents=True)
    write_linear(head, probe, {})
    whole = sum(p.numel() for p in probe.parameters()) + next(iter(own.values()))
    networks = read_networks([*own, head])
    linear = ModelName(Source("neuronet", "EEG_C4"), "linear")
    assert size_of(linear, networks) == whole
    assert channels_of(linear, networks) == ("EEG_C3",)
    assert channels_of(linear, {}) == ("EEG_C4",)
    # A tuned encoder is in the file of the model, and counted there.
    tuned = ModelName(linear.source, "partial-mamba")
    assert size_of(tuned, networks | {tuned: Network(7)}) == 7
    write_weights(head, {"features": torch.zeros(3, 8)}, {"kind": "head", "head": "knn"})
    assert size_of(linear, read_networks([*own, head])) is None


@pytest.mark.parametrize("name", SUPERVISED)
def test_parameters_of_supervised_models(tmp_path, name):
    recipe = getattr(Supervised(), name)
    model = build_supervised(
        name, recipe, sampling_rate=100, samples=3000, task="staging", seen=None
    )
    path = tmp_path / "model.safetensors"
    about = {"name": name, "channel": "EEG_C4", "channels": ["EEG_C4"]}
    write_weights(path, model.state_dict(), describe_supervised(model, about))
    whole = sum(parameter.numel() for parameter in model.parameters())
    assert read_network(path) == Network(whole, ("EEG_C4",))


def test_latex_is_whole_and_escaped(files, table):
    text = files[".tex"].read_text()
    for name in ("table*", "tabular"):
        assert text.count(rf"\begin{{{name}}}") == text.count(rf"\end{{{name}}}") == 4
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 4
    assert text.isascii()
    for part in text.split(r"\begin{tabular}")[1:]:
        columns = re.match(r"\{((?:[lr]|p\{\d+cm\})+)\}", part).group(1)
        n = len(re.sub(r"\{.*?\}", "", columns))
        rows = [line for line in part.splitlines() if line.endswith(r"\\")]
        plain = [line for line in rows if not line.startswith(r"\multicolumn")]
        assert {len(re.findall(r"(?<!\\)&", line)) + 1 for line in plain} == {n}
        assert all(rf"\multicolumn{{{n}}}" in line for line in rows if line not in plain)
    assert not re.search(r"(?<!\\)[_#]", text.replace(r"\_", ""))
    assert r"EEG\_C4" in text
    assert escape("a_b & 5% \\x {y}") == r"a\_b \& 5\% \textbackslash{}x \{y\}"
    quiet = text.count(r"\quad published")
    assert quiet == table.filter(pl.col("kind") == "published").height + 1


def test_page_of_its_own_needs_nothing(files):
    text = files[".html"].read_text()
    reader = Reader(text)
    assert not {"script", "link", "img"} & set(reader.tags)
    assert not re.search(r"https?://", text)
    assert reader.links == []
    assert "published on Sleep-EDF-78" in reader.text
    assert "published: NeuroNet-B + TCM on Sleep-EDFX" in reader.text
    assert "0.80" in reader.text
    assert "(0.7675)" in reader.text


def test_report_has_the_table_with_links_to_the_models(results):
    page = results.page(hypnograms=0)
    section = page[page.index('id="comparison"') : page.index('id="cohort"')]
    reader = Reader(f"<section {section[: section.rindex('<')]}")
    places = [link for link in reader.links if link.startswith("#")]
    assert len(places) == 3 * len(MODELS)
    assert {link[1:] for link in places} <= set(Reader(page).ids)
    assert page.index('id="summary"') < page.index('id="comparison"') < page.index('id="results"')
    assert 'class="badge">simulated<' in section


def test_no_model_no_table(tmp_path):
    results = Results(tmp_path, models=(), nights=2, epochs=20)
    path = results.compare()
    assert comparison_panels(read_comparison(path)) == []
    assert "No model was evaluated" in path.with_suffix(".html").read_text()


def test_a_constant_answer_is_shown_once_and_not_accused(results):
    page = results.page(hypnograms=0)
    assert ">always " in page
    path = results.inputs["metrics"][0]
    whole = path.read_text()
    metrics = json.loads(whole)
    matrix = metrics["pooled"]["confusion_matrix"]
    stage = STAGE_NAMES.index(metrics["baseline"]["stage"])
    constant = [[sum(row) * (k == stage) for k in range(5)] for row in matrix]
    metrics["pooled"] = pooled(np.array(constant))
    path.write_text(json.dumps(metrics))
    constant_page = results.page(hypnograms=0)
    path.write_text(whole)
    assert "gave every test epoch the same stage" not in constant_page
    assert ">always " not in constant_page
    assert "no constant answer does better" in constant_page


def test_names_are_those_of_the_grid_and_have_words():
    assert (naming.YASA, naming.STAGER, naming.MAJORITY) == (YASA, STAGER, MAJORITY)
    titles = {
        "deepsleepnet/EEG_C4/published": "DeepSleepNet, EEG_C4: classes as published",
        "seresnet_bilstm/EEG_C4/oversampling": "SE-ResNet-BiLSTM, EEG_C4: classes oversampled",
        "tinysleepnet/EEG_C4/weights": "TinySleepNet, EEG_C4: classes weighted",
        "yasa/EEG_C4/boosting": "YASA's features, EEG_C4: gradient boosting",
        "yasa/EEG_C4/stager": "YASA's features, EEG_C4: its own stager, trained elsewhere",
        "majority/none/constant": "Majority class: constant answer",
    }
    for path, title in titles.items():
        encoder, channel, method = path.split("/")
        assert ModelName(Source(encoder, channel), method).title == title


def test_benchmark_configuration_has_every_system():
    root = Path(__file__).parents[2]
    config = read_config(yaml.safe_load((root / "config/benchmark.yaml").read_text()))
    rows = {(row.encoder, row.method) for row in whole_rows(config)}
    assert {one.encoder for one in read_published()} <= {encoder for encoder, _ in rows}
    assert {("neuronet", "linear"), ("neuronet", "partial-mamba"), ("synthsleepnet", "lora-mamba2"),
            ("yasa", "boosting"), ("yasa", "stager"), ("majority", "constant"),
            ("deepsleepnet", "published"), ("seresnet_bilstm", "published")} <= rows  # fmt: skip
    assert (config.split.folds, config.simulate.subjects) == (4, 24)


if __name__ == "__main__":
    made = Results(Path(sys.argv[1]), nights=8, epochs=300, folds=4, models=MODELS,
                   skills=[0.5 + k / 20 for k in range(len(MODELS))])  # fmt: skip
    print(made.compare(recipes=RECIPES).with_suffix(".html"))
    made.page(hypnograms=1)
