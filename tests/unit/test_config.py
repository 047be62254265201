"""Configurations: a mistake is named with its key, the value found and what is allowed."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from snakemake.utils import update_config

from somnoflow.config.annotation import Annotation
from somnoflow.config.base import ConfigError
from somnoflow.config.dataset_file import read_dataset
from somnoflow.config.documents import as_markdown, as_schema, as_yaml
from somnoflow.config.files import load_values
from somnoflow.config.folder import expand
from somnoflow.config.root import Config, read_config, resolve_folder
from somnoflow.config.supervised import SUPERVISED, Supervised, TrainSlice

SECTIONS = (
    "simulate", "signals", "split", "pretrain", "unimodal", "heads", "synthsleepnet", "evaluate",
    "projection", "report",
)  # fmt: skip
DATASET: dict[str, Any] = {
    "name": "lab", "title": "t", "source": "folder", "licence": "l", "citation": "c",
    "how_to_get": "h", "files": {"signal": r"(?P<subject>.*)\.edf", "stages": "(?P<subject>.*)"},
    "reading": {
        "channels": {"EEG": "EEG_C4"}, "stages": {"format": "codes", "stages": {0: "W", 5: "REM"}},
    },
}  # fmt: skip


def mistakes(values: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        read_config(values)
    return str(caught.value)


def nested(key: str, value: Any) -> dict[str, Any]:
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


@pytest.mark.parametrize(
    ("key", "hint"),
    [("shard", "shards"), ("simulate.subject", "subjects"), ("signals.channel", "channels"),
     ("signals.quality.flat_sd", "flat_std"), ("split.fold", "folds"),
     ("pretrain.batchsize", "batch_size"), ("heads.linear.pases", "passes"),
     ("unimodal.channel", "channels"), ("synthsleepnet.other", "others"),
     ("synthsleepnet.lora.ranks", "rank"), ("projection.perplexities", "perplexity"),
     ("evaluate.resample", "resamples"), ("report.titles", "title"), ("pretrian", "pretrain")],
)  # fmt: skip
def test_an_unknown_key_is_named_with_the_nearest_known_one(key: str, hint: str) -> None:
    said = mistakes(nested(key, 3))
    assert f"{key}: no such key. Did you mean '{hint}'?" in said
    assert "Known here: " in said


def test_a_key_like_no_other_gets_no_guess() -> None:
    said = mistakes({"xyzzy": 1})
    assert "Did you mean" not in said
    assert "xyzzy: no such key. Known here: baselines, datasets, evaluate" in said


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [("shards", 0, "greater than or equal to 1"), ("shards", "many", "integer"),
     ("simulate.hours", 0, "0.1"), ("split.folds", 0, "1"), ("split.validation", 1, "less than 1"),
     ("pretrain.preset", "XL", "'tiny', 'T'"), ("heads.names", ["lineal"], "'linear'"),
     ("signals.channels", ["EEG_C5"], "'EEG_C4', 'EEG_C3'"), ("evaluate.resamples", 5, "100"),
     ("report.hypnograms", -1, "0"), ("strict", "maybe", "boolean"), ("simulate", None, "dict"),
     ("projection.epochs", 3, "greater than or equal to 50"),
     ("synthsleepnet.mask_ratio", 1, "less than 1"), ("synthsleepnet.lora.rank", 0, "1"),
     ("signals.minimum_minutes", float("inf"), "finite"), ("datasets", [], "at least 1"),
     ("pretrain.learning_rate", float("nan"), "finite"), ("shards", {"a": 1}, "integer")],
)  # fmt: skip
def test_a_wrong_value_is_named_with_what_is_allowed(key: str, value: Any, allowed: str) -> None:
    said = mistakes(nested(key, value))
    found = value[0] if isinstance(value, list) and value else value
    assert f"  {key}" in said
    assert f"found {found!r}; " in said
    assert allowed in said


def test_every_section_is_checked_and_every_mistake_told() -> None:
    said = mistakes({section: {"unheard_of": 1} for section in SECTIONS})
    assert [f"{section}.unheard_of" in said for section in SECTIONS] == [True] * len(SECTIONS)
    assert len(said.splitlines()) == 1 + len(SECTIONS)


@pytest.mark.parametrize(
    ("values", "said"),
    [({"datasets": ["a", "a"]}, "a dataset is named twice: a, a"),
     ({"pretrain": {"channels": ["EEG_Fpz"]}}, "pretrain.channels names EEG_Fpz"),
     ({"signals": {"channels": ["ECG", "ECG"]}}, "channels are named twice"),
     ({"signals": {"filters": {"EEG": [0.5, 60]}}}, "half of sampling_rate"),
     ({"signals": {"filters": {"EEG": [30, 3]}}}, "0 <= low < high"),
     ({3: 4}, "Keys should be strings")],
)  # fmt: skip
def test_values_that_do_not_fit_together(values: dict[Any, Any], said: str) -> None:
    assert said in mistakes(values)


def test_values_never_change_afterwards() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Config().split.folds = 9  # type: ignore[misc]


def test_a_folder_by_environment_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = read_config({"folders": {"lab": "$LAB_NIGHTS/edf"}})
    monkeypatch.delenv("LAB_NIGHTS", raising=False)
    with pytest.raises(ConfigError, match="LAB_NIGHTS, which is not set") as caught:
        resolve_folder(config, "lab")
    assert "export LAB_NIGHTS=" in str(caught.value)
    monkeypatch.setenv("LAB_NIGHTS", "")
    with pytest.raises(ConfigError, match="LAB_NIGHTS, which is not set"):
        resolve_folder(config, "lab")
    monkeypatch.setenv("LAB_NIGHTS", str(tmp_path))
    with pytest.raises(ConfigError, match=r"folders\.lab is '\$LAB_NIGHTS/edf'.* no such folder"):
        resolve_folder(config, "lab")
    (tmp_path / "edf").mkdir()
    assert resolve_folder(config, "lab") == tmp_path / "edf"
    assert resolve_folder(config, "other") is None


def test_the_home_of_nobody() -> None:
    with pytest.raises(ConfigError, match="cannot be found"):
        expand("~no-such-user-here/nights")


def test_overlays_are_merged_and_lists_replaced(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("split: {folds: 4, seed: 1}\ndatasets: [a, b]\n")
    (tmp_path / "o.yaml").write_text("split: {folds: 2}\ndatasets: [c]\n")
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    overlays = [tmp_path / "o.yaml", tmp_path / "empty.yaml"]
    values = load_values(overlays, default=tmp_path / "c.yaml")
    assert values == {"split": {"folds": 2, "seed": 1}, "datasets": ["c"]}


trees = st.recursive(
    st.none() | st.integers(0, 3) | st.lists(st.integers(0, 3), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
sections = st.dictionaries(st.sampled_from("abc"), trees, max_size=3)


@settings(deadline=None)
@given(st.lists(sections, min_size=2, max_size=3))
def test_overlays_are_merged_as_snakemake_does(
    tmp_path_factory: pytest.TempPathFactory, layers: list[dict[str, Any]]
) -> None:
    folder = tmp_path_factory.getbasetemp()
    paths = []
    for number, layer in enumerate(layers):
        paths.append(folder / f"layer{number}.yaml")
        paths[-1].write_text(yaml.safe_dump(layer))
    wanted = copy.deepcopy(layers[0])
    for layer in layers[1:]:
        update_config(wanted, copy.deepcopy(layer))
    assert load_values(paths[1:], default=paths[0]) == wanted


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"a: [1", "is not YAML"), (b"a: \xff", "is not YAML"), (b"- 1\n- 2\n", "holds a list"),
     (b"\ta: 1", "is not YAML"), (b"word", "holds a str")],
)  # fmt: skip
def test_a_file_that_is_no_configuration(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "c.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=said):
        load_values(default=tmp_path / "c.yaml")


def test_a_missing_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="run this in the project's folder"):
        load_values(default=tmp_path / "config.yaml")


@pytest.mark.parametrize(
    "changes",
    [{}, {"report": {"title": "it's: a #title\nof 'two' lines, " + "long " * 40}},
     {"folders": {"a b": "$X/~"}, "heads": {"names": ["knn"]}, "results": "r/ü"},
     {"signals": {"filters": {}, "sampling_rate": 128}},
     {"synthsleepnet": {"others": {"heart": ["ECG"]}, "methods": ["lora-bimamba"]}}],
)  # fmt: skip
def test_the_written_configuration_reads_as_the_same(changes: dict[str, Any]) -> None:
    config = read_config(changes)
    assert read_config(yaml.safe_load(as_yaml(config))) == config


def test_documents_name_every_option() -> None:
    table, schema = as_markdown(Config()), as_schema(Config())
    for section in SECTIONS:
        for name in type(getattr(Config(), section)).model_fields:
            assert f"`{section}.{name}" in table
            assert f'"{name}"' in schema


def write_dataset(folder: Path, values: Any, *, name: str = "lab") -> Path:
    (folder / name).mkdir()
    (folder / name / "dataset.yaml").write_text(yaml.safe_dump(values))
    return folder / name


def changed(key: str, value: Any) -> dict[str, Any]:
    values = copy.deepcopy(DATASET)
    update_config(values, nested(key, value))
    return values


def test_a_dataset_is_read_with_codes_as_text(tmp_path: Path) -> None:
    dataset = read_dataset(write_dataset(tmp_path, DATASET))
    assert isinstance(dataset.reading.stages, Annotation)
    assert dataset.reading.stages.stages == {"0": "W", "5": "REM"}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            changed("reading.stages.formats", "x"),
            "reading.stages.formats: no such key. Did you mean",
        ),
        (changed("reading.channels.EEG", "EEG_X"), "  reading.channels.EEG: found 'EEG_X'"),
        (changed("reading.stages.stages", ["W"]), "dictionary"),
        (changed("reading.stages.stages", {"1": "S1"}), "'N1'"),
        (changed("files.signal", "(?P<subject>"), "no regular expression"),
        (changed("files.signal", r".*\.edf"), "wanted a group (?P<subject>...)"),
        (changed("files.stages", None), "files.stages and reading.stages, or neither"),
        (changed("files.events", "(?P<subject>.*)"), "files.events and reading.events"),
        (changed("source", "url"), "wanted the address under `url`"),
        (changed("name", "other"), "has the name 'other', wanted 'lab'"),
        ({k: v for k, v in DATASET.items() if k != "licence"}, "licence: Field required"),
        (None, "found None"),
    ],
)
def test_a_wrong_dataset_file(tmp_path: Path, values: Any, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_dataset(write_dataset(tmp_path, values))
    assert said in str(caught.value)
    assert "dataset.yaml" in str(caught.value)


def test_an_unknown_dataset_names_the_known_ones(tmp_path: Path) -> None:
    write_dataset(tmp_path, DATASET)
    with pytest.raises(ConfigError, match=r"no dataset 'lap'.*Known datasets: lab"):
        read_dataset(tmp_path / "lap")


@pytest.mark.parametrize("content", [b"a: [", b"\xff\xfe"])
def test_a_dataset_file_that_is_no_yaml(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "dataset.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match="is not YAML"):
        read_dataset(tmp_path)


@pytest.mark.parametrize("name", ["simulated", "sleep-edfx", "ucddb"])
def test_the_datasets_of_the_project_are_in_order(name: str) -> None:
    folder = Path(__file__).parents[2] / "workflow" / "datasets" / name
    assert read_dataset(folder).name == name


@pytest.mark.parametrize("name", SUPERVISED)
def test_a_recipe_is_that_of_the_named_model_whatever_else_it_fits(name: str) -> None:
    told = TrainSlice.model_validate(
        {
            "name": name,
            "channel": "EEG_C4",
            "sampling_rate": 100,
            "task": "staging",
            "balance": "plain",
            "recipe": {"passes": 3},
        }
    )
    kind = Supervised.model_fields[name].annotation
    assert kind is not None
    assert isinstance(told.recipe, kind)
    assert TrainSlice.model_validate_json(told.model_dump_json()) == told
    with pytest.raises(ValueError, match="nonsense"):
        TrainSlice.model_validate({**told.model_dump(), "recipe": {"nonsense": 3}})
