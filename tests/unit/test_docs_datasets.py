"""docs/datasets.md: its examples are read as it says, and its tables are what the files say."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel
from tests.unit.test_docs import ROOT, blocks

from somnoflow.config.annotation import Annotation, AnnotationFormat
from somnoflow.config.dataset import (
    Alternative,
    Dataset,
    Files,
    Reading,
    SubjectTable,
    Subset,
)
from somnoflow.config.dataset_file import read_dataset
from somnoflow.config.root import read_config, validate
from somnoflow.config.signals import Channel, Electrode
from somnoflow.config.vocabularies import VOCABULARIES
from somnoflow.io.annotations import read_scoring
from somnoflow.signals.names import common_names

PAGE = ROOT / "docs/datasets.md"
TEXT = PAGE.read_text("utf-8")
EXAMPLES: list[dict[str, Any]] = [yaml.safe_load(text) for text in blocks(PAGE, "yaml")]
WHOLE = EXAMPLES[0]
CONFIG = EXAMPLES[1]
FORMATS = [example for example in EXAMPLES if "format" in example]
PARTS = [one for one in EXAMPLES if one not in (WHOLE, CONFIG) and one not in FORMATS]


def test_the_example_and_its_configuration_fit_together() -> None:
    dataset = validate(Dataset, WHOLE, what="docs/datasets.md")
    config = read_config(CONFIG)
    assert config.datasets == [dataset.name] == list(config.folders)


@pytest.mark.parametrize("part", PARTS, ids="+".join)
def test_a_part_fits_into_the_example(part: dict[str, Any]) -> None:
    base = {key: value for key, value in WHOLE.items() if key not in part}
    validate(Dataset, {**base, **part}, what="docs/datasets.md")


@pytest.mark.parametrize("example", FORMATS, ids=lambda example: example["format"])
def test_the_sample_of_a_format_is_read_as_shown(tmp_path: Path, example: dict[str, Any]) -> None:
    sample = blocks(PAGE, "text")[FORMATS.index(example)]
    path = tmp_path / "sample"
    path.write_text(sample, "utf-8")
    scoring = read_scoring(path, Annotation.model_validate(example))
    assert len(scoring.stages) >= 1
    assert not scoring.unused
    assert not scoring.notes


def test_each_format_has_a_sample() -> None:
    known = set(AnnotationFormat.__args__)  # type: ignore[attr-defined]
    assert {example["format"] for example in FORMATS} == known - {"edf+"}
    assert set(re.findall(r"^\*\*`(.+?)`\*\*", TEXT, re.MULTILINE)) == known


@pytest.mark.parametrize(
    "section", [Dataset, Files, SubjectTable, Reading, Alternative, Subset, Annotation]
)
def test_every_key_is_explained(section: type[BaseModel]) -> None:
    missing = [key for key in section.model_fields if not re.search(rf"`(\w+\.)?{key}\W", TEXT)]
    assert missing == []


def test_channels_electrodes_and_vocabularies_are_all_named() -> None:
    listed = set(re.findall(r"[\w+]+", TEXT))
    wanted = {*Channel.__args__, *Electrode.__args__, *VOCABULARIES}  # type: ignore[attr-defined]
    assert wanted <= listed


def test_the_table_of_names_is_the_table_that_is_used() -> None:
    rows = [
        f"| `{row.channel}` | {', '.join(f'`{name}`' for name in row.names)} | {row.remark} |"
        for row in common_names()
    ]
    assert "\n".join(["|---|---|---|", *rows, ""]) in TEXT, "\n".join(rows)


def test_the_known_datasets_are_those_of_their_files() -> None:
    rows = []
    for path in sorted(ROOT.glob("workflow/datasets/*/dataset.yaml")):
        dataset = read_dataset(path.parent)
        how = " ".join(dataset.how_to_get.split())
        rows.append(f"| `{dataset.name}` | {dataset.title} | {dataset.licence} | {how} |")
    assert "\n".join(["|---|---|---|---|", *rows, ""]) in TEXT, "\n".join(rows)
