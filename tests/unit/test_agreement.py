"""How far scorers agree: counted by hand, by scikit-learn, and through the command."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from tests.scorings import write_nsrr_xml, write_profusion_xml

from somnoflow.agreement.nights import read_scorings
from somnoflow.cli import main
from somnoflow.evaluate.agreement import (
    ScoredNight,
    count_pairs,
    find_consensus,
    intraclass_correlation,
    limits_of_agreement,
    soft_agreement,
    summarise,
)

NAMES = ("W", "N1", "N2", "N3", "REM")
NIGHT = ["W", "W", "N1", "N2", "N2", "N3", "N3", "N2", "REM", "REM", "W", "N2"]
TABLE = "recording,scorer,epoch,stage"


def stages(*rows: Sequence[int]) -> np.ndarray:
    return np.asarray(rows, np.int8)


def write_csv(path: Path, names: Sequence[str], *, first: int = 0) -> Path:
    rows = [f"{n},{30 * n},{name}" for n, name in enumerate(names, start=first)]
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(["epoch,onset_s,stage", *rows]) + "\n")
    return path


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["agree", *map(str, arguments)])
    return int(caught.value.code or 0)


def fail(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert run(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    return captured.err


def test_consensus_needs_a_majority_of_two_votes() -> None:
    found = find_consensus(stages([0, 0, 1, 2, -1, 4], [0, 1, 2, -1, -1, 4], [0, 1, 4, -1, 3, -1]))
    assert found.stage.tolist() == [0, 1, -1, -1, -1, 4]
    assert found.votes.tolist() == [3, 3, 3, 1, 1, 2]
    assert found.tied.tolist() == [False, False, True, False, False, False]
    assert found.unanimous.tolist() == [True, False, False, False, False, True]


def test_a_soft_tie_goes_to_the_trusted_scorer_of_a_tied_stage() -> None:
    four = stages([0, 0, 2, 2, 1], [0, 0, 2, 2, 1], [1, 0, 2, 2, 2], [1, 1, 1, 1, 2])
    trust = soft_agreement(four)
    # Epoch 0, scorer 1: the others say 0, 1, 1, so its 0 has half the votes of their 1.
    assert trust[0] == pytest.approx((0.5 + 1 + 1 + 1 + 0.5) / 5)
    assert trust.argmin() == 3
    assert find_consensus(four).stage.tolist() == [-1, 0, 2, 2, -1]
    assert find_consensus(four, ties="soft").stage.tolist() == [0, 0, 2, 2, 1]


def test_values_are_those_of_scikit_learn() -> None:
    from sklearn.metrics import cohen_kappa_score, confusion_matrix, f1_score

    rng = np.random.default_rng(1)
    a = rng.integers(-1, 5, 400).astype(np.int8)
    b = np.where(rng.random(400) < 0.7, a, rng.integers(-1, 5, 400)).astype(np.int8)
    both = (a >= 0) & (b >= 0)
    assert (count_pairs(a, b) == confusion_matrix(a[both], b[both])).all()
    night = ScoredNight("n", "", 0.0, np.stack([a, b]))
    (pair,) = summarise([night], scorers="ab", voters="ab", ties="drop")["pairs"]
    assert pair["epochs"] == both.sum()
    assert pair["one_only"] == ((a >= 0) != (b >= 0)).sum()
    assert pair["pooled"]["kappa"] == pytest.approx(cohen_kappa_score(a[both], b[both]), abs=1e-6)
    f1 = f1_score(a[both], b[both], average=None)
    assert [pair["pooled"][f"f1_{name}"] for name in NAMES] == pytest.approx(f1, abs=1e-6)


def test_each_scorer_is_judged_without_its_own_vote() -> None:
    night = ScoredNight("n", "", 0.0, stages([0, 1, 2, 3], [0, 1, 2, 3], [4, 4, 4, 4]))
    found = summarise([night], scorers="abc", voters="abc", ties="drop")
    accuracy = [one["pooled"]["accuracy"] for one in found["against_others"]]
    assert accuracy == [None, None, 0.0]
    assert [one["tied"] for one in found["against_others"]] == [4, 4, 0]


def test_a_scorer_without_a_vote_faces_as_many_votes_as_the_voters() -> None:
    votes = stages([0, 0, 2, 2], [0, 0, 2, 2], [0, 0, 2, 1], [0, 0, 2, 1])
    found = summarise([ScoredNight("n", "", 0.0, votes)], scorers="abcm", voters="abc", ties="drop")
    model = found["against_others"][3]
    # Without a, or without b, the last epoch is tied; without c it is N2.
    assert (model["votes"], model["tied"]) == (False, round(2 / 3))
    assert model["pooled"]["accuracy"] == pytest.approx(9 / 10)
    assert model["per_night"]["accuracy"]["mean"] == pytest.approx((1 + 1 + 3 / 4) / 3, abs=1e-6)
    assert found["consensus"]["tied"] == 0


def test_two_scorers_have_no_others_and_nothing_is_nan() -> None:
    night = ScoredNight("n", "", 0.0, stages([0, 0, 0], [0, 0, 0]))
    found = summarise([night], scorers="ab", voters="ab", ties="drop")
    assert found["against_others"] == []
    assert found["pairs"][0]["pooled"]["kappa"] is None
    json.dumps(found, allow_nan=False)


def test_limits_of_agreement_by_hand() -> None:
    found = limits_of_agreement(np.array([1.0, 2, 3, np.nan]), np.array([2.0, 4, 6, 1]))
    assert (found["n"], found["difference"], found["sd"]) == (3, 2, 1)
    assert (found["low"], found["high"]) == (0.04, 3.96)
    assert limits_of_agreement(np.array([1.0]), np.array([2.0]))["low"] is None


def test_intraclass_correlation_of_shrout_and_fleiss() -> None:
    # The example of their table 2; ICC(2,1) is .29 there.
    rated = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9],
                      [6, 2, 4, 7]], float)  # fmt: skip
    assert round(intraclass_correlation(rated), 2) == 0.29
    assert np.isnan(intraclass_correlation(np.ones((3, 2))))


def test_formats_of_one_night_are_the_same_scoring(tmp_path: Path) -> None:
    concepts = dict(zip(NAMES, ("Wake|0", "Stage 1 sleep|1", "Stage 2 sleep|2",
                                "Stage 4 sleep|4", "REM sleep|5"), strict=True))  # fmt: skip
    nsrr = [(30.0 * n, 30.0, concepts[name]) for n, name in enumerate(NIGHT)]
    codes = [{"W": "0", "N1": "1", "N2": "2", "N3": "3", "REM": "5"}[name] for name in NIGHT]
    bids = tmp_path / "bids_events.tsv"
    rows = [f"{30 * n}\t30\t{name}" for n, name in enumerate(NIGHT)]
    bids.write_text("\n".join(["onset\tduration\ttrial_type", *rows]) + "\n")
    codes_file = tmp_path / "codes.txt"
    codes_file.write_text("\n".join(["Wake" if name == "W" else name for name in NIGHT]) + "\n")
    files = [
        write_csv(tmp_path / "model.csv", NIGHT),
        write_nsrr_xml(tmp_path / "nsrr.xml", nsrr),
        write_profusion_xml(tmp_path / "profusion.xml", codes),
        bids,
        codes_file,
    ]
    found = read_scorings(files, [None] * len(files))
    (night,) = found.nights
    assert (night.stages == [[NAMES.index(name) for name in NIGHT]]).all()
    assert found.scorers == ("model", "nsrr", "profusion", "bids_events", "codes")
    assert any("nsrr: scored by Rechtschaffen and Kales" in text for text in found.notes)


def test_lengths_and_pages_that_differ_are_said(tmp_path: Path) -> None:
    whole = write_csv(tmp_path / "whole.csv", NIGHT)
    part = write_csv(tmp_path / "part.csv", NIGHT[2:-1], first=2)
    pages = tmp_path / "pages.tsv"
    short = [name for name in NIGHT for _ in range(3)][::2]  # 20-s pages of the same night
    rows = [f"{20 * n}\t20\t{name}" for n, name in enumerate(short)]
    pages.write_text("\n".join(["onset\tduration\ttrial_type", *rows]) + "\n")
    found = read_scorings([whole, part, pages], [None] * 3)
    (night,) = found.nights
    assert night.stages.shape == (3, 12)
    assert night.stages[1].tolist() == [-1, -1, *night.stages[0, 2:-1].tolist(), -1]
    assert (night.stages[2] == night.stages[0]).all()
    said = " / ".join(found.notes)
    assert "part: begins 2 epochs later and ends 1 epoch earlier than the others" in said
    assert "pages: pages of 20 s" in said


def test_folders_are_scorers_and_what_does_not_match_is_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("one", "two"):
        for night in ("P1", "P2"):
            write_csv(tmp_path / folder / f"{night}.csv", NIGHT)
    write_csv(tmp_path / "two" / "P1_events.csv", NIGHT)
    write_csv(tmp_path / "two" / "P3.csv", NIGHT)
    (tmp_path / "two" / "P4.csv").write_text("nothing\n")
    (tmp_path / "two" / "rejected.tsv").write_text("")
    out = tmp_path / "out"
    assert run(tmp_path / "one", tmp_path / "two", "--out", out) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "all: 2 nights, 2 scorers, 24 epochs" in said
    assert "P3: scored by two alone" in said
    assert "two: no scorings: P4.csv, rejected.tsv" in said
    assert "P1_events.csv: another file of P1, P1.csv is taken" in said
    content = json.loads((out / "agreement.json").read_text())
    assert content["cohorts"]["all"]["pairs"][0]["pooled"]["kappa"] == 1.0
    names = {"pairs", "against_others", "confusion", "statistics", "nights", "consensus"}
    assert {path.stem for path in out.glob("*.csv")} == names
    with (out / "consensus.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["stage"] for row in rows if row["recording"] == "P2"] == NIGHT


def test_a_table_of_cohorts_and_three_scorers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        f"{cohort},n{cohort},{scorer},{n},{name}"
        for cohort in "xy"
        for scorer in ("a", "b", "c")
        for n, name in enumerate(NIGHT)
    ]
    table = tmp_path / "table.csv"
    table.write_text("\n".join([f"cohort,{TABLE}", *rows]) + "\n")
    assert run(table) == 0
    said = capsys.readouterr().out
    assert [f"{name}: " in said for name in ("x", "y", "all")] == [True] * 3
    assert "100.0 % are unanimous and 0.0 % tied" in said
    assert run(table, "--ties", "soft") == 0
    assert "highest soft agreement" in capsys.readouterr().out
    assert run(table, "--without-vote", "c") == 0
    assert "fewer than three scorers have a vote" in capsys.readouterr().out
    assert "no scorer is called d" in fail(capsys, table, "--without-vote", "d")


def test_numbers_need_somebody_to_explain_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    code = {"W": "0", "REM": "1", "N1": "2", "N2": "3", "N3": "5"}
    codes = tmp_path / "codes.txt"
    codes.write_text("\n".join(code[name] for name in NIGHT) + "\n")
    other = write_csv(tmp_path / "other.csv", NIGHT)
    assert "Numbers mean other things" in fail(capsys, codes, other)
    assert "wanted one for all" in fail(capsys, codes, other, "--labels", "ucddb", "-", "-")
    assert "no scoring 'x'" in fail(capsys, codes, other, "--labels", "ucddb:x", "-")
    assert "wanted another name for each" in fail(capsys, codes, other, "--names", "expert")
    named = ("--names", "expert", "model")
    assert run(codes, other, "--labels", "ucddb", "-", *named) == 0
    said = capsys.readouterr().out
    # Names that everybody knows mean the same beside a dataset's codes.
    assert run(codes, other, "--labels", "ucddb", *named) == 0
    assert capsys.readouterr().out == said
    assert "1.000" in said
    assert "expert | model" in said


def test_a_dataset_says_which_files_of_a_folder_are_scorings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    lab = tmp_path / "lab"
    write_csv(tmp_path / "model" / "ucddb002.csv", NIGHT)
    lab.mkdir()
    (lab / "ucddb002_events.tsv").write_text("onset\tduration\ttrial_type\n")
    code = {"W": "0", "REM": "1", "N1": "2", "N2": "3", "N3": "4"}
    (lab / "ucddb002_stage.txt").write_text("\n".join(code[name] for name in NIGHT) + "\n")
    assert run(lab, tmp_path / "model", "--labels", "ucddb", "-") == 0
    said = capsys.readouterr().out
    assert "1 night, 2 scorers, 12 epochs" in said
    assert "no scorings: ucddb002_events.tsv" in " ".join(said.split())


def test_a_mistake_is_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    night = write_csv(tmp_path / "night.csv", NIGHT)
    empty = tmp_path / "empty.csv"
    empty.write_text("")
    wrong = write_csv(tmp_path / "wrong.csv", ["W", "N5"])
    late = write_csv(tmp_path / "late.csv", NIGHT, first=100)
    twice = tmp_path / "twice.csv"
    twice.write_text("epoch,stage\n0,W\n0,N1\n")
    assert "does not exist" in fail(capsys, night, tmp_path / "no.csv")
    assert "lacks the columns recording, scorer" in fail(capsys, night)
    assert "folder of one scorer" in fail(capsys, tmp_path)
    assert "is a folder and" in fail(capsys, tmp_path, night)
    assert "empty annotation file" in fail(capsys, night, empty)
    assert "unknown stage label: found 'N5' in line 3" in fail(capsys, night, wrong)
    assert "an epoch stands there twice" in fail(capsys, night, twice)
    assert "no epoch has a stage of two scorers" in fail(capsys, night, late)
    twice.write_text("epoch,stage\n0,W\n1\n")
    assert "line 3 of twice.csv with another number of cells" in fail(capsys, night, twice)
    twice.write_text('epoch,stage\n0,"W\n1,N1\n')
    assert "damaged table" in fail(capsys, night, twice)
    single = tmp_path / "single.csv"
    single.write_text(f"{TABLE}\nn,a,0,W\n")
    assert "holds 1 scorer(s)" in fail(capsys, single)
    single.write_text(f"{TABLE}\nn,a,0,7\nn,b,0,0\n")
    assert "has the stage '7'" in fail(capsys, single)
