"""The grid of models: which rows a configuration asks for, and what each of their jobs gets."""

import re
from pathlib import Path
from typing import Any

import pytest

from somnoflow.config.base import ConfigError
from somnoflow.config.heads import Linear
from somnoflow.config.pretrain import Recipe
from somnoflow.config.root import Config, read_config
from somnoflow.config.subset import SubsetSlice, read_subset
from somnoflow.grid import Encoder, ModelRow, encoders, rows, subset_rows, whole_rows
from somnoflow.plan import Plan

WORKFLOW = Path(__file__).parents[2] / "workflow"
DATASETS, RULES = WORKFLOW / "datasets", WORKFLOW / "rules"
STUDY: dict[str, Any] = {
    "split": {"folds": 2},
    "pretrain": {
        "channels": ["EEG_C4", "ECG"],
        "learning_rate": 0.5,
        "variants": {"masked": {"objective": "masked"}},
    },
    "heads": {"names": ["linear", "mamba"]},
    "finetune": {"names": ["partial-lstm", "scratch-lstm"]},
    "synthsleepnet": {"channels": []},
    "supervised": {"names": []},
    "baselines": {"majority": False},
    "label_efficiency": {"methods": ["linear", "scratch-lstm"], "percents": [5, 100], "seeds": 2},
}
MONTAGE = ["EEG_C4", "EOG_L", "EMG_CHIN", "ECG"]
FUSED: dict[str, Any] = {
    "split": {"folds": 2},
    "heads": {"names": ["linear"], "tasks": ["staging", "apnea"]},
    "unimodal": {
        "channels": ["EEG_C4", "EEG_C3", "EOG_L", "ECG"],
        "heads": ["linear"],
        "tasks": ["staging"],
    },
    "synthsleepnet": {
        "channels": ["EEG_C4", "EOG_L", "ECG"],
        "others": {"heart": ["ECG"]},
        "methods": ["linear", "lora-mamba2"],
        "tasks": ["staging", "respiratory"],
    },
    "supervised": {"names": []},
    "baselines": {"majority": False},
    "label_efficiency": {
        "encoders": ["neuronet", "unimodal", "synthsleepnet"],
        "methods": ["linear", "partial-mamba", "lora-mamba2"],
        "by": ["epochs"],
        "percents": [5],
        "seeds": 1,
    },
}
SUPERVISED: dict[str, Any] = {
    "split": {"folds": 2},
    "heads": {"names": ["linear"]},
    "finetune": {"names": ["partial-mamba"]},
    "synthsleepnet": {"channels": []},
    "supervised": {
        "names": ["deepsleepnet", "seresnet_bilstm"],
        "balance": ["published", "weights"],
    },
    "baselines": {"yasa": ["EEG_C4"]},
}


def study() -> Config:
    return read_config(STUDY)


def fused() -> Config:
    return read_config(FUSED)


def test_every_encoder_gets_frozen_heads_and_the_base_is_fine_tuned_too() -> None:
    rows = list(whole_rows(study()))
    for channel in ("EEG_C4", "ECG"):
        methods = {(row.encoder, row.method) for row in rows if row.channel == channel}
        assert methods == {
            ("neuronet", "linear"),
            ("neuronet", "mamba"),
            ("neuronet", "partial-lstm"),
            ("neuronet", "scratch-lstm"),
            ("neuronet-masked", "linear"),
            ("neuronet-masked", "mamba"),
        }
    assert len(rows) == len(set(rows)) == 12


def test_curves_have_every_method_share_and_seed() -> None:
    rows = list(subset_rows(study()))
    # channels x methods x units x percents x seeds
    assert len(rows) == len(set(rows)) == 2 * 2 * 2 * 2 * 2
    assert {row.labels for row in rows} >= {"subjects-5-seed1", "epochs-100-seed2"}


@pytest.mark.parametrize(
    ("method", "tuning", "head"),
    [("linear", "", "linear"), ("partial-lstm_transformer", "partial", "lstm_transformer")],
)
def test_a_method_is_a_head_or_a_tuning_of_one(method: str, tuning: str, head: str) -> None:
    row = ModelRow("neuronet", "ECG", method, "staging", "all")
    assert (row.tuning, row.head) == (tuning, head)


def test_encoders_of_single_modalities_come_before_their_fusions() -> None:
    assert encoders(fused()) == [
        Encoder("neuronet", "EEG_C4"),
        Encoder("unimodal", "EEG"),
        Encoder("unimodal", "EOG"),
        Encoder("unimodal", "ECG"),
        Encoder("synthsleepnet", "all"),
        Encoder("synthsleepnet", "heart"),
    ]


def test_without_fusions_and_heads_no_modality_is_pre_trained() -> None:
    assert {one.encoder for one in encoders(study())} == {"neuronet", "neuronet-masked"}
    heads = {**STUDY, "unimodal": {"tasks": ["staging"]}}
    assert "unimodal" in {one.encoder for one in encoders(read_config(heads))}


def test_each_encoder_is_asked_for_the_tasks_of_its_section() -> None:
    found = {(row.encoder, row.channel, row.method, row.task) for row in whole_rows(fused())}
    assert found == {
        *(
            ("neuronet", "EEG_C4", method, task)
            for method in ("linear", "partial-mamba")
            for task in ("staging", "apnea")
        ),
        *(("unimodal", name, "linear", "staging") for name in ("EEG", "EOG", "ECG")),
        *(
            ("synthsleepnet", name, method, task)
            for name in ("all", "heart")
            for method in ("linear", "lora-mamba2")
            for task in ("staging", "respiratory")
        ),
    }


def test_curves_are_of_the_methods_that_an_encoder_has() -> None:
    methods: dict[str, set[tuple[str, str]]] = {}
    for row in subset_rows(fused()):
        methods.setdefault(row.encoder, set()).add((row.method, row.task))
    both = ("staging", "respiratory")
    assert methods == {
        "neuronet": {(m, t) for m in ("linear", "partial-mamba") for t in ("staging", "apnea")},
        "unimodal": {("linear", "staging")},
        "synthsleepnet": {(m, t) for m in ("linear", "lora-mamba2") for t in both},
    }


def test_tables_of_features_are_asked_for_stages_alone(tmp_path: Path) -> None:
    table = {"path": str(tmp_path / "t.csv"), "dataset": "simulated"}
    config = read_config({**FUSED, "features": {"mine": table}})
    assert {row.task for row in rows(config) if row.encoder == "features"} == {"staging"}


def test_a_fusion_is_made_of_the_encoders_of_its_modalities() -> None:
    plan = Plan(FUSED, datasets=DATASETS)
    of = {name: plan.fused({"channel": name, "fold": "1"}) for name in ("all", "heart")}
    path = "results/pretrain/unimodal/{}/fold=1/encoder.safetensors"
    assert of["all"] == [path.format(name) for name in ("EEG", "EOG", "ECG")]
    assert of["heart"] == [path.format("ECG")]
    assert plan.slice("fuse", {"channel": "all"}).channels == ["EEG_C4", "EOG_L", "ECG"]


def test_all_channels_of_a_modality_train_one_encoder() -> None:
    plan = Plan(FUSED, datasets=DATASETS)
    slice_ = plan.slice("pretrain", {"encoder": "unimodal", "channel": "EEG"})
    assert (slice_.channel, slice_.channels) == ("EEG", ["EEG_C4", "EEG_C3"])
    assert slice_.recipe.frame_window == fused().unimodal.frame_window == 4
    other = plan.slice("pretrain", {"encoder": "neuronet", "channel": "EEG_C4"})
    assert (other.channels, other.recipe.frame_window) == (["EEG_C4"], 3)


def test_the_deep_probe_is_that_of_synthsleepnet_and_its_encoders() -> None:
    plan = Plan(FUSED, datasets=DATASETS)
    wildcards = {"head": "linear", "task": "respiratory", "labels": "all"}
    hidden = {
        encoder: plan.slice("head", {**wildcards, "encoder": encoder}).hidden
        for encoder in ("neuronet", "unimodal", "synthsleepnet")
    }
    deep = fused().synthsleepnet.linear
    assert hidden == {"neuronet": None, "unimodal": deep.hidden, "synthsleepnet": deep.hidden}
    slice_ = plan.slice("head", {**wildcards, "encoder": "synthsleepnet"})
    assert (slice_.task, type(slice_.recipe)) == ("respiratory", Linear)
    assert slice_.recipe.passes == deep.passes


def test_modalities_are_left_out_where_there_are_some_and_stages_are_scored() -> None:
    plan = Plan(FUSED, datasets=DATASETS)
    assert plan.ablations() == ["results/ablation/synthsleepnet/all/metrics.json"]
    assert plan.ablated_head({"channel": "all", "fold": "1"}) == (
        "results/heads/synthsleepnet/all/linear/task=staging/labels=all/fold=1/head.safetensors"
    )
    tuned = {**FUSED, "synthsleepnet": {**FUSED["synthsleepnet"], "methods": ["lora-mamba2"]}}
    assert Plan(tuned, datasets=DATASETS).ablations() == []
    assert len(Plan(tuned, datasets=DATASETS).projections()) == 2


def test_a_plan_has_an_artefact_of_every_rule(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("")
    whole = {
        **FUSED,
        "finetune": {"names": ["partial-lstm"]},
        "features": {"mine": {"path": str(table), "dataset": "simulated"}},
        "supervised": {"names": ["tinysleepnet"]},
        "baselines": {"yasa": ["EEG_C4"]},
    }
    planned = {artefact.rule for artefact in Plan(whole, datasets=DATASETS).artefacts()}
    text = "".join(path.read_text("utf-8") for path in RULES.glob("*.smk"))
    # A simulated cohort is not fetched.
    assert planned == set(re.findall(r"^rule (\w+):", text, re.MULTILINE)) - {"fetch"}


def test_a_subset_is_read_from_its_name() -> None:
    assert read_subset("all") == SubsetSlice()
    assert read_subset("epochs-0.5-seed12") == SubsetSlice(by="epochs", percent=0.5, seed=12)
    with pytest.raises(ValueError, match="found labels 'half', wanted 'all' or such as"):
        read_subset("half")


def test_a_variant_changes_what_it_names_and_nothing_else() -> None:
    pretrain = study().pretrain
    base, masked = pretrain.recipe("neuronet"), pretrain.recipe("neuronet-masked")
    assert (base.objective, masked.objective) == ("hybrid", "masked")
    assert masked.learning_rate == 0.5
    assert base.model_copy(update={"objective": "masked"}) == masked


def test_a_variant_may_be_called_as_the_base_and_leaves_it_alone() -> None:
    pretrain = read_config({"pretrain": {"variants": {"neuronet": {"alpha": 0}}}}).pretrain
    assert pretrain.recipe("neuronet").alpha == 1
    assert pretrain.recipe("neuronet-neuronet").alpha == 0


def test_a_missing_table_is_named_before_anything_runs(tmp_path: Path) -> None:
    table = {"path": str(tmp_path / "none.csv"), "dataset": "simulated"}
    with pytest.raises(ConfigError, match=r"features\.mine\.path is .*none\.csv: no such file"):
        Plan({"features": {"mine": table}}, datasets=DATASETS)


def test_no_label_outside_a_share_chooses_the_encoder() -> None:
    """The nearest-neighbours probe of pre-training is fitted on the stages of all of them."""
    knn, curves = {"choose_by": "knn"}, {"methods": ["scratch-mamba", "linear"]}
    with pytest.raises(ConfigError, match=r"choose_by is 'knn'.* Set pretrain.choose_by to 'loss'"):
        read_config({"pretrain": knn, "label_efficiency": curves})
    for harmless in ({"methods": ["scratch-mamba"]}, {**curves, "encoders": ["unimodal"]}):
        read_config({"pretrain": knn, "label_efficiency": harmless})
    fused = {**curves, "encoders": ["synthsleepnet"]}
    with pytest.raises(ConfigError, match=r"Set unimodal.choose_by to 'loss', take synthsleepnet"):
        read_config({"unimodal": knn, "label_efficiency": fused})


def test_one_more_channel_or_variant_leaves_the_others_as_they_were() -> None:
    wildcards = {"encoder": "neuronet", "channel": "EEG_C4"}
    less = {**STUDY, "pretrain": {"channels": ["EEG_C4"], "learning_rate": 0.5}}
    slices = [Plan(x, datasets=DATASETS).cfg("pretrain")(wildcards) for x in (STUDY, less)]
    assert slices[0] == slices[1]


def test_each_draw_of_labels_is_also_a_training_seed() -> None:
    plan = Plan(STUDY, datasets=DATASETS)
    wildcards = {"encoder": "neuronet", "head": "linear", "task": "staging"}
    seeds = {
        labels: plan.slice("head", {**wildcards, "labels": labels}).recipe.seed
        for labels in ("all", "epochs-5-seed1", "epochs-5-seed2")
    }
    assert seeds == {"all": 1, "epochs-5-seed1": 1, "epochs-5-seed2": 2}


def test_only_training_from_scratch_knows_the_recipe_of_the_encoder() -> None:
    plan = Plan(STUDY, datasets=DATASETS)
    wildcards = {
        "encoder": "neuronet", "channel": "ECG", "head": "lstm", "task": "staging", "labels": "all",
    }  # fmt: skip
    scratch = {**wildcards, "tuning": "scratch", "fold": "1"}
    partial = {**wildcards, "tuning": "partial", "fold": "1"}
    # Of pre-training's recipe the sizes count: another learning rate is nothing to it.
    assert plan.slice("finetune", scratch).architecture == Recipe()
    assert plan.slice("finetune", partial).architecture is None
    assert plan.start(scratch) == []
    assert plan.start(partial) == [
        "results/pretrain/neuronet/ECG/fold=1/encoder.safetensors",
    ]


def test_all_artefacts_have_a_path_of_their_own() -> None:
    for config in (STUDY, FUSED):
        paths = [artefact.path for artefact in Plan(config, datasets=DATASETS).artefacts()]
        assert len(paths) == len(set(paths))
        assert not [path for path in paths if "{" in path]


def test_embeddings_of_the_picture_are_artefacts_where_no_head_reads_them() -> None:
    """Else `somnoflow check` would call the picture fresh when its embeddings are not."""
    tuned = {**FUSED, "synthsleepnet": {**FUSED["synthsleepnet"], "methods": ["lora-mamba2"]}}
    planned = list(Plan(tuned, datasets=DATASETS).artefacts())
    embedded = {artefact.path for artefact in planned if artefact.rule == "embed"}
    pictures = [artefact for artefact in planned if artefact.rule == "project"]
    assert pictures
    for one in pictures:
        assert f"results/embeddings/synthsleepnet/{one.wildcards['channel']}/fold=0/index.json" in (
            embedded
        )


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        ("finetune", {"names": ["mamba"]}, "finetune.names.0"),
        ("finetune", {"window": 5, "stride": 6}, "stride is 6 epochs, wanted at most window = 5"),
        ("heads", {"score_stride": 21}, "score_stride is 21 epochs, wanted at most window = 20"),
        ("pretrain", {"variants": {"A b": {}}}, "variant 'A b': wanted lower-case letters"),
        ("pretrain", {"variants": {"a": {"objectiv": "masked"}}}, "Did you mean 'objective'"),
        ("label_efficiency", {"percents": [0]}, "greater than 0"),
        ("label_efficiency", {"percents": [1e-5]}, "wanted at least 0.0001"),
        ("label_efficiency", {"percents": [5, 5.0]}, "named twice: epochs-5-seed1"),
        ("label_efficiency", {"methods": ["scratch-knn"]}, r"^.*\n.*'scratch-knn' is no method.*$"),
        ("heads", {"names": ["knn", "knn"]}, "heads.names: named twice: knn"),
        ("heads", {"tasks": ["snoring"]}, "'staging', 'apnea', 'hypopnea' or 'respiratory'"),
        ("unimodal", {"tasks": ["apnea", "apnea"]}, "unimodal.tasks: named twice: apnea"),
        ("unimodal", {"channels": ["EEG_C9"]}, "unimodal.channels.0: found 'EEG_C9'"),
        ("unimodal", {"channels": ["EEG_C4"]}, "no channel of EOG to train its encoder on"),
        ("unimodal", {"channels": [*MONTAGE, "ECG"]}, "unimodal.channels: named twice: ECG"),
        ("synthsleepnet", {"channels": ["EEG_C4", "EEG_C4"]}, "named twice: EEG_C4, EEG_C4"),
        ("synthsleepnet", {"channels": ["EEG_Fpz"]}, "synthsleepnet.channels names EEG_Fpz"),
        ("synthsleepnet", {"others": {"air": ["AIRFLOW"]}}, "others.air names AIRFLOW, but"),
        ("synthsleepnet", {"others": {"all": ["ECG"]}}, "'all': wanted lower-case letters"),
        ("synthsleepnet", {"others": {"a": []}}, "'a': wanted at least one channel"),
        ("synthsleepnet", {"methods": ["lora-linear"]}, "'lora-linear' is no method"),
        ("synthsleepnet", {"methods": ["partial-mamba"]}, "'partial-mamba' is no method"),
        ("label_efficiency", {"encoders": ["features"]}, "'unimodal' or 'synthsleepnet'"),
        ("pretrain", {"channels": ["ECG", "ECG"]}, "pretrain.channels: named twice: ECG"),
        ("split", {"external": ["ucddb"]}, "split.external names ucddb, wanted some of datasets"),
        ("supervised", {"names": ["tinysleepnet"] * 2}, "supervised.names: named twice: tinysleep"),
        ("supervised", {"balance": ["plain", "plain"]}, "supervised.balance: named twice: plain"),
        ("supervised", {"tasks": ["apnea", "apnea"]}, "supervised.tasks: named twice: apnea"),
        ("baselines", {"yasa": ["EEG_C4", "EEG_C4"]}, "baselines.yasa: named twice: EEG_C4"),
        ("baselines", {"yasa_heads": ["knn", "knn"]}, "baselines.yasa_heads: named twice: knn"),
        ("baselines", {"yasa": ["EEG_Fpz"]}, "baselines.yasa names EEG_Fpz, wanted channels of"),
    ],
)
def test_mistakes_are_named(section: str, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_config({section: values})


def test_supervised_models_read_channels_that_are_kept() -> None:
    other = {"channels": ["EEG_Fpz"]}
    read_config({"supervised": {**other, "names": []}})
    with pytest.raises(ConfigError, match=r"supervised\.channels names EEG_Fpz.*names: \[\]"):
        read_config({"supervised": {**other, "names": ["tinysleepnet"]}})


def test_yasa_wants_more_than_80_hz() -> None:
    signals = {"signals": {"sampling_rate": 80, "filters": {"EEG": [0.3, 35]}}}
    read_config({**signals, "baselines": {"yasa": []}})
    with pytest.raises(ConfigError, match="sampling_rate is 80 Hz, and YASA wants more than 80"):
        read_config({**signals, "baselines": {"yasa": ["EEG_C4"]}})


def test_supervised_models_and_baselines_are_rows() -> None:
    config = read_config(SUPERVISED)
    found = [(row.encoder, row.channel, row.method) for row in whole_rows(config)]
    assert found[2:] == [
        ("deepsleepnet", "EEG_C4", "published"),
        ("deepsleepnet", "EEG_C4", "weights"),
        ("seresnet_bilstm", "EEG_C4", "published"),
        ("seresnet_bilstm", "EEG_C4", "weights"),
        ("yasa", "EEG_C4", "boosting"),
        ("yasa", "EEG_C4", "stager"),
        ("majority", "none", "constant"),
    ]
    learned = {row.encoder: row.learned for row in whole_rows(config)}
    assert learned == {
        "neuronet": True,
        "deepsleepnet": True,
        "seresnet_bilstm": True,
        "yasa": False,  # the last of its rows, the stager
        "majority": False,
    }


def test_each_kind_of_model_is_trained_and_scored_by_its_own_rules() -> None:
    plan = Plan(SUPERVISED, datasets=DATASETS)
    made = {}
    for artefact in plan.artefacts():
        wildcards = artefact.wildcards
        if "method" in wildcards and wildcards.get("fold") == "0":
            key = wildcards["encoder"], wildcards["method"]
            made.setdefault(key, []).append(artefact.rule)
    assert made == {
        ("neuronet", "linear"): ["head", "score"],
        ("neuronet", "partial-mamba"): ["finetune", "score_tuned", "explain"],
        ("deepsleepnet", "published"): ["train", "score_tuned", "explain"],
        ("deepsleepnet", "weights"): ["train", "score_tuned"],
        ("seresnet_bilstm", "published"): ["train", "score_tuned", "explain"],
        ("seresnet_bilstm", "weights"): ["train", "score_tuned"],
        ("yasa", "boosting"): ["head", "score"],
        ("yasa", "stager"): ["score_yasa"],
        ("majority", "constant"): ["score_majority"],
    }


def test_features_of_yasa_are_made_once_for_all_folds() -> None:
    rules = [artefact.rule for artefact in Plan(SUPERVISED, datasets=DATASETS).artefacts()]
    assert rules.count("yasa") == rules.count("parse")
    assert rules.count("embed_yasa") == 2


def test_yasa_reads_eeg() -> None:
    with pytest.raises(ConfigError, match=r"ECG: YASA's features are of EEG channels"):
        read_config({"baselines": {"yasa": ["ECG"]}})
