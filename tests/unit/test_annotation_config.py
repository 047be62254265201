"""What dataset.yaml may say of annotations, and the vocabularies it may name."""

from itertools import combinations
from typing import Any

import pytest
from pydantic import ValidationError

from somnoflow.config.annotation import Annotation
from somnoflow.config.vocabularies import VOCABULARIES, fold


def refused(**values: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        Annotation.model_validate(values)
    return str(caught.value)


@pytest.mark.parametrize(
    ("option", "value", "formats"),
    [("page_seconds", 20, {"codes", "edf+", "bids-tsv", "csv", "noxturnal-csv"}),
     ("encoding", "utf-16", {"codes", "csv", "noxturnal-csv"}),
     ("columns", {"label": "stage"}, {"bids-tsv", "csv", "noxturnal-csv"}),
     ("separator", ";", {"csv"}), ("decimal", ",", {"csv"}), ("times", "clock", {"csv"}),
     ("day_first", True, {"csv", "noxturnal-csv"})],
)  # fmt: skip
def test_an_option_of_another_format_is_an_error(
    option: str, value: Any, formats: set[str]
) -> None:
    for form in ("codes", "edf+", "bids-tsv", "nsrr-xml", "profusion-xml", "csv", "noxturnal-csv"):
        if form in formats:
            assert getattr(Annotation.model_validate({"format": form, option: value}), option)
        else:
            assert f"{option} is an option of" in refused(format=form, **{option: value})


def test_columns_that_cannot_be_are_errors() -> None:
    assert "wanted one of them" in refused(format="csv", columns={"duration": "a", "end": "b"})
    assert "given by BIDS" in refused(format="bids-tsv", columns={"onset": "begin"})
    assert "page_seconds" in refused(format="codes", page_seconds=25)


def test_a_vocabulary_is_known_beside_the_labels_of_the_dataset_which_win() -> None:
    annotation = Annotation(
        format="edf+", vocabulary=["edf+"], stages={"SLEEP  stage w": "unscored", "Nap": "N1"}
    )
    assert annotation.stages["SLEEP  stage w"] == "unscored"
    assert "Sleep stage W" not in annotation.stages
    assert (annotation.stages["Nap"], annotation.stages["Sleep stage 4"]) == ("N1", "N3")
    assert annotation.marks == {"Lights off": "lights_off", "Lights on": "lights_on"}
    moved = Annotation(format="nsrr-xml", vocabulary=["nsrr"], marks={"Wake|0": "lights_on"})
    assert "Wake|0" not in moved.stages


@pytest.mark.parametrize("name", list(VOCABULARIES))
def test_a_section_survives_being_written_and_read(name: str) -> None:
    form = {"nsrr": "nsrr-xml", "profusion": "profusion-xml"}.get(name, "edf+")
    annotation = Annotation.model_validate({"format": form, "vocabulary": [name]})
    assert Annotation.model_validate_json(annotation.model_dump_json()) == annotation


def test_a_label_with_two_meanings_is_an_error() -> None:
    assert "'W ' means W and N1" in refused(format="edf+", stages={"w": "W", "W ": "N1"})
    assert "means W and arousal" in refused(
        format="edf+", stages={"A": "W"}, events={"a": "arousal"}
    )
    assert Annotation(format="edf+", stages={"w": "W", "W": "W"}).stages == {"w": "W", "W": "W"}


def test_codes_of_a_program_are_refused_in_the_files_of_others() -> None:
    assert "wanted the format profusion-xml" in refused(format="codes", vocabulary=["profusion"])


def test_only_profusion_knows_numbers() -> None:
    for name, vocabulary in VOCABULARIES.items():
        numbers = [label for label in vocabulary.stages if label.strip("-").isdigit()]
        assert bool(numbers) == (name == "profusion")


def test_no_two_vocabularies_contradict_each_other() -> None:
    for one, other in combinations(VOCABULARIES.values(), 2):
        for kind in ("stages", "events", "marks"):
            mine = {fold(label): name for label, name in getattr(one, kind).items()}
            its = {fold(label): name for label, name in getattr(other, kind).items()}
            assert not {label for label in mine.keys() & its.keys() if mine[label] != its[label]}


def test_stages_3_and_4_are_one_and_movement_is_none() -> None:
    expected = {"S3": "N3", "S4": "N3", "Movement time": "unscored", "?": "unscored"}
    assert {label: VOCABULARIES["rk"].stages[label] for label in expected} == expected
    assert VOCABULARIES["nsrr"].stages["Stage 4 sleep|4"] == "N3"
    assert VOCABULARIES["nsrr"].stages["Movement|6"] == "unscored"
    assert VOCABULARIES["profusion"].stages["4"] == "N3"
    assert VOCABULARIES["edf+"].stages["Movement time"] == "unscored"


def test_vocabularies_of_stages_alone_name_no_events() -> None:
    """A dataset without scored hypopneas must not get an AHI of 0."""
    assert not any(VOCABULARIES[name].events for name in ("rk", "aasm", "edf+"))
