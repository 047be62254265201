"""A result that was damaged on the disk is named, refused by what reads it, and made anew."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from somnoflow.config.files import load_values
from somnoflow.freshness import Verdict, judge
from somnoflow.plan import Plan
from tests.faults.replay import RESULTS, largest_job, moved
from tests.workflow.project import Project

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("tiny")]


def flip(content: bytes) -> bytes:
    """Change one bit in the middle."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def cut(content: bytes) -> bytes:
    """Keep the first half."""
    return content[: len(content) // 2]


def empty(content: bytes) -> bytes:
    """Keep nothing."""
    return content[:0]


Damage = Callable[[bytes], bytes]
DAMAGES: tuple[Damage, ...] = (flip, cut, empty)
SHARD = "dataset=simulated/shard=0"
EMBEDDED = "embeddings/neuronet/EEG_C4/fold=0"
MODEL = "neuronet/EEG_C4/mamba/task=staging/labels=all"
# File, a stage that reads it, and the input that names it where it is none itself.
READ_BY = {
    f"check/{SHARD}/recordings.json": ("parse", None),
    f"signals/{SHARD}/part-0.parquet": ("pack", f"signals/{SHARD}/index.json"),
    f"packed/{SHARD}/epochs.parquet": ("pretrain", f"packed/{SHARD}/index.json"),
    f"packed/{SHARD}/index.json": ("pretrain", None),
    "split/split.json": ("subset", None),
    "labels/task=staging/labels=all/fold=0/labels.parquet": ("train", None),
    "pretrain/neuronet/EEG_C4/fold=0/encoder.safetensors": ("embed", None),
    f"{EMBEDDED}/{SHARD}.parquet": ("head", f"{EMBEDDED}/index.json"),
    f"heads/{MODEL}/fold=0/head.safetensors": ("score", None),
    f"scores/{MODEL}/fold=0/predictions.parquet": ("evaluate", None),
    f"metrics/{MODEL}/metrics.json": ("compare", None),
    "comparison/comparison.csv": ("report", None),
}
# Samples for training are too many to be hashed by each job that reads some of them: a job notices
# another size, `somnoflow check` another content.
SIGNALS = f"packed/{SHARD}/signals.npy"


@pytest.fixture
def damage(finished: Project) -> Iterator[Callable[[str, Damage], None]]:
    """Give what damages a file of the results until the test is over."""
    kept: dict[Path, bytes] = {}

    def spoil(file: str, how: Damage) -> None:
        path = finished.folder / RESULTS / file
        path.write_bytes(how(kept.setdefault(path, path.read_bytes())))

    yield spoil
    for path, content in kept.items():
        path.write_bytes(content)


@pytest.fixture
def plan(finished: Project, monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.chdir(finished.folder)
    return Plan(load_values([Path(finished.configfile)]), datasets=Path("workflow/datasets"))


def spoilt_by(plan: Plan, file: str) -> list[str]:
    """Give the reasons that name a file."""
    return [
        judgement.reason
        for judgement in judge(plan)
        if judgement.verdict is Verdict.STALE and f"{RESULTS}/{file} " in judgement.reason
    ]


@pytest.mark.parametrize("file", READ_BY)
def test_a_damaged_file_is_refused_by_what_reads_it(
    finished: Project, damage: Callable[[str, Damage], None], tmp_path: Path, file: str
) -> None:
    stage, named = READ_BY[file]
    job = largest_job(finished.folder, stage, reads=f"{RESULTS}/{named or file}")
    for how in DAMAGES:
        damage(file, how)
        done = job.again(tmp_path, log=tmp_path / "said.log")
        assert done.code == 1, (how.__name__, done.said)
        (error,) = [line for line in done.said.splitlines() if line.startswith("ERROR")]
        assert f"{RESULTS}/{file} has changed since" in error, (how.__name__, done.said)
        assert "Delete it, and the workflow" in error or "snakemake --forcerun" in error
        assert not [name for name in job.outputs if moved(name, tmp_path).exists()]


def test_somnoflow_check_names_each_damaged_file(
    plan: Plan, damage: Callable[[str, Damage], None]
) -> None:
    assert not [found for found in judge(plan) if found.verdict is not Verdict.FRESH]
    # A flip of one bit in each: the first that is damaged spoils what comes after it.
    unnamed = []
    for file in (*READ_BY, SIGNALS):
        path = Path(RESULTS, file)
        before = path.read_bytes()
        damage(file, flip)
        reasons = spoilt_by(plan, file)
        if f"{RESULTS}/{file} has changed" not in reasons:
            unnamed.append((file, reasons))
        path.write_bytes(before)
    # Parts of embeddings and of the report are named by their index, which is read by all.
    assert [file for file, _ in unnamed] == [f"{EMBEDDED}/{SHARD}.parquet"]


def test_packed_signals_that_were_cut_are_refused(
    finished: Project, damage: Callable[[str, Damage], None], tmp_path: Path
) -> None:
    job = largest_job(finished.folder, "pretrain", reads=f"{RESULTS}/packed/{SHARD}/index.json")
    for how in (cut, empty):
        damage(SIGNALS, how)
        done = job.again(tmp_path, log=tmp_path / "said.log")
        assert done.code == 1, done.said
        (error,) = [line for line in done.said.splitlines() if line.startswith("ERROR")]
        assert f"{RESULTS}/{SIGNALS}" in error, done.said
        assert "snakemake --forcerun pack" in error


@pytest.mark.parametrize("kept", ["weights.safetensors", "training.csv"])
def test_what_is_kept_of_a_finished_training_is_not_copied_when_it_is_damaged(
    finished: Project, tmp_path: Path, kept: str
) -> None:
    job = largest_job(finished.folder, "finetune")
    assert job.again(tmp_path, log=tmp_path / "said.log").code == 0
    (path,) = (tmp_path / "resume/finetune").rglob(kept)
    before = path.read_bytes()
    for how in DAMAGES:
        path.write_bytes(how(before))
        done = job.again(tmp_path, log=tmp_path / "said.log")
        assert done.code == 1, (how.__name__, done.said)
        assert f"{path} is damaged" in done.said
        assert f"Delete the folder {path.parent} to train from the beginning" in done.said


@pytest.mark.parametrize(
    ("file", "rule", "command"),
    [(SIGNALS, "pack", ("--forcerun", "pack")), ("split/split.json", "split", ())],
)
def test_the_documented_command_makes_a_damaged_file_anew(
    editable: Project, damage: Callable[[str, Damage], None], file: str, rule: str,
    command: tuple[str, ...],
) -> None:  # fmt: skip
    path = editable.folder / RESULTS / file
    before = path.read_bytes()
    damage(file, flip)
    if not command:
        path.unlink()
    editable.snakemake(f"{RESULTS}/{file}", "--allowed-rules", rule, *command)
    assert path.read_bytes() == before
