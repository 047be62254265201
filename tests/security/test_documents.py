"""XML and YAML that want memory, time or a command to be run."""

from itertools import pairwise
from pathlib import Path

import pytest

from somnoflow.config.base import ConfigError
from somnoflow.config.dataset_file import read_dataset
from somnoflow.config.files import load_values
from somnoflow.config.root import Config, read_config, validate
from somnoflow.io.annotation_xml import parse_xml
from somnoflow.io.rejection import Rejection
from tests.security.little import run_in_little_memory

SIMULATED = Path(__file__).parents[2] / "workflow/datasets/simulated/dataset.yaml"
READ_XML = """
try:
    print("read", parse_xml(Path(sys.argv[1])).tag)
except Rejection as rejection:
    print(rejection.problem)
"""
XML_IMPORTS = """
from pathlib import Path
from somnoflow.io.annotation_xml import parse_xml
from somnoflow.io.rejection import Rejection
"""
READ_YAML = """
try:
    read_dataset(Path(sys.argv[1]))
except ConfigError as error:
    print(str(error)[:500])
"""
YAML_IMPORTS = """
from pathlib import Path
from somnoflow.config.base import ConfigError
from somnoflow.config.dataset_file import read_dataset
"""


def dataset(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "dataset.yaml").write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("content", "outcome"),
    [
        pytest.param("<a>" * 100_000 + "</a>" * 100_000, "read a", id="100,000 deep"),
        # Each name has its namespace before it: a million of them would be 100 GB.
        pytest.param(
            f'<a xmlns="{"u" * 100_000}">' + "<b/>" * 1_000_000 + "</a>", "refused XML",
            id="a namespace of 100,000 letters",
        ),
        pytest.param(
            f'<a xmlns:x="{"u" * 10_000}" '
            + " ".join(f'x:a{number}="1"' for number in range(100_000)) + "/>",
            "refused XML", id="100,000 attributes of a long namespace",
        ),
        pytest.param("<a>" * 2_000_001, "annotation file too large", id="2,000,001 tags"),
        pytest.param("<a>" + " " * 2**25 + "</a>", "annotation file too large", id="32 MiB"),
    ],
)  # fmt: skip
def test_xml_costs_little(tmp_path: Path, content: str, outcome: str) -> None:
    path = tmp_path / "scoring.xml"
    path.write_text(content, encoding="utf-8")
    told = run_in_little_memory(imports=XML_IMPORTS, code=READ_XML, arguments=(path,))
    assert told.strip() == outcome


def test_xml_in_another_encoding_hides_no_document_type(tmp_path: Path) -> None:
    path = tmp_path / "scoring.xml"
    bomb = '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'
    path.write_text(bomb, encoding="utf-16")
    with pytest.raises(Rejection, match="refused XML"):
        parse_xml(path)


def test_xml_includes_nothing(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    path = tmp_path / "scoring.xml"
    path.write_text(
        '<a xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include href="secret.txt" parse="text"/>'
        "</a>"
    )
    assert "secret" not in "".join(parse_xml(path).itertext())


def test_aliases_that_expand_are_refused(tmp_path: Path) -> None:
    letters = "abcdefghij"
    lines = [f"{letters[0]}: &{letters[0]} [{', '.join(['x'] * 10)}]"]
    lines += [
        f"{after}: &{after} [{', '.join([f'*{before}'] * 10)}]"
        for before, after in pairwise(letters)
    ]
    folder = dataset(tmp_path / "bomb", "\n".join([*lines, "name: *j"]))
    told = run_in_little_memory(
        imports=YAML_IMPORTS, code=READ_YAML, arguments=(folder,), seconds=60
    )
    assert "dataset.yaml is not YAML as it is wanted here" in told
    assert "without anchors" in told


def test_a_configuration_that_expands_is_not_written_out(tmp_path: Path) -> None:
    """Snakemake reads config.yaml itself, so that aliases reach the check."""
    bomb: object = "x"
    for _ in range(9):
        bomb = [bomb] * 10
    with pytest.raises(ConfigError, match="shards: found") as error:
        read_config({"shards": bomb})
    assert len(str(error.value)) < 2000


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: !!python/object/apply:os.system ['touch {mark}']", "python/object/apply"),
        ("name: !!python/name:os.system", "python/name"),
        ("name: a\nname: b", "'name' twice"),
        ("reading:\n  stages:\n    labels: {W: W, W: N1}", "'W' twice"),
        ("[" * 100_000, "nested too deeply"),
        ("name: \x00", "special characters"),
    ],
    ids=["object", "name", "twice", "twice below", "deep", "NUL"],
)
def test_what_is_not_plain_yaml_is_refused(tmp_path: Path, text: str, said: str) -> None:
    mark = tmp_path / "mark"
    with pytest.raises(ConfigError, match=said):
        read_dataset(dataset(tmp_path / "lab", text.replace("{mark}", str(mark))))
    assert not mark.exists()


@pytest.mark.parametrize("text", ["shards: " + "[" * 100_000, "shards: 2\nshards: 3"])
def test_configurations_too(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"config\.yaml is not YAML"):
        load_values(default=path)


def test_a_long_value_is_shown_in_part() -> None:
    with pytest.raises(ConfigError) as error:
        validate(Config, {"results": "{" + "x" * 10_000}, what="it")
    assert "results: found '{xxx" in str(error.value)
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize("name", ["../evil", "a b", "$(touch x)", "a;b", "-rf x", "a\nb", "é"])
def test_a_dataset_s_name_is_plain(tmp_path: Path, name: str) -> None:
    text = SIMULATED.read_text(encoding="utf-8").replace("name: simulated", f"name: {name!r}")
    with pytest.raises(ConfigError, match="name: found"):
        read_dataset(dataset(tmp_path / "lab", text))


@pytest.mark.parametrize(
    "url",
    [
        "https://me:pa55@host/files", "https://pa55@host/files", "https://host/files?token=pa55",
        "https://host/files#pa55", "https://me:pa55@[bad/files",
    ],
)  # fmt: skip
def test_an_address_with_a_secret_is_refused_and_not_repeated(tmp_path: Path, url: str) -> None:
    text = SIMULATED.read_text(encoding="utf-8").replace(
        "source: simulate", f"source: url\nurl: {url!r}"
    )
    folder = dataset(tmp_path / "simulated", text)
    with pytest.raises(ConfigError, match="netrc") as error:
        read_dataset(folder)
    assert "pa55" not in str(error.value)
