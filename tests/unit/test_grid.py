"""The grid of models: which rows a configuration asks for, and what each of their jobs gets."""

from pathlib import Path
from typing import Any

import pytest

from somnoflow.config.base import ConfigError
from somnoflow.config.pretrain import Recipe
from somnoflow.config.root import Config, read_config
from somnoflow.config.subset import SubsetSlice, read_subset
from somnoflow.grid import ModelRow, subset_rows, whole_rows
from somnoflow.plan import Plan

DATASETS = Path(__file__).parents[2] / "workflow" / "datasets"
STUDY: dict[str, Any] = {
    "split": {"folds": 2},
    "pretrain": {
        "channels": ["EEG_C4", "ECG"],
        "learning_rate": 0.5,
        "variants": {"masked": {"objective": "masked"}},
    },
    "heads": {"names": ["linear", "mamba"]},
    "finetune": {"names": ["partial-lstm", "scratch-lstm"]},
    "label_efficiency": {"methods": ["linear", "scratch-lstm"], "percents": [5, 100], "seeds": 2},
}


def study() -> Config:
    return read_config(STUDY)


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
    row = ModelRow("neuronet", "ECG", method, "all")
    assert (row.tuning, row.head) == (tuning, head)


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
    scratch = {"methods": ["scratch-mamba"]}
    read_config({"pretrain": knn, "label_efficiency": scratch})


def test_one_more_channel_or_variant_leaves_the_others_as_they_were() -> None:
    wildcards = {"encoder": "neuronet", "channel": "EEG_C4"}
    less = {**STUDY, "pretrain": {"channels": ["EEG_C4"], "learning_rate": 0.5}}
    slices = [Plan(x, datasets=DATASETS).cfg("pretrain")(wildcards) for x in (STUDY, less)]
    assert slices[0] == slices[1]


def test_each_draw_of_labels_is_also_a_training_seed() -> None:
    plan = Plan(STUDY, datasets=DATASETS)
    seeds = {
        labels: plan.slice("head", {"head": "linear", "labels": labels}).recipe.seed
        for labels in ("all", "epochs-5-seed1", "epochs-5-seed2")
    }
    assert seeds == {"all": 1, "epochs-5-seed1": 1, "epochs-5-seed2": 2}


def test_only_training_from_scratch_knows_the_recipe_of_the_encoder() -> None:
    plan = Plan(STUDY, datasets=DATASETS)
    wildcards = {"encoder": "neuronet", "channel": "ECG", "head": "lstm", "labels": "all"}
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
    paths = [artefact.path for artefact in Plan(STUDY, datasets=DATASETS).artefacts()]
    assert len(paths) == len(set(paths))
    assert not [path for path in paths if "{" in path]


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
        ("pretrain", {"channels": ["ECG", "ECG"]}, "pretrain.channels: named twice: ECG"),
        ("split", {"external": ["ucddb"]}, "split.external names ucddb, wanted some of datasets"),
    ],
)
def test_mistakes_are_named(section: str, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_config({section: values})
