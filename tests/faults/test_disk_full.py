"""Every command on a disk without room: it says so, leaves nothing half-written, and goes on."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import somnoflow.commands
from somnoflow.io.atomic import TEMPORARY
from tests.faults.replay import Job, largest_job, moved
from tests.workflow.project import Project

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("tiny")]

STAGES = sorted(
    path.stem
    for path in Path(somnoflow.commands.__path__[0]).glob("*.py")
    if path.stem != "__init__"
)
NOT_IN_THE_TINY_RUN = {"fetch", "features"}
PAGE = 4096  # bytes; files on a tmpfs take whole pages
MIB = 1024**2


class SmallDisk:
    """A disk on which all but a few pages is taken."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def leave(self, pages: int) -> None:
        """Leave so much room, and nothing of an earlier call: a log that is cut gives room back."""
        self.make_room()
        for path in self.files():
            path.unlink()
        zeros = bytes(MIB)
        with self._ballast.open("wb", buffering=0) as file:
            with suppress(OSError):
                while file.write(zeros):
                    pass
            file.truncate(file.tell() - pages * PAGE)

    def make_room(self) -> None:
        """Leave all room."""
        self._ballast.unlink(missing_ok=True)

    def files(self) -> list[Path]:
        """Give all files but the ballast."""
        return [path for path in self.folder.rglob("*") if path.is_file() and path != self._ballast]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={64 * MIB}", "tmpfs", place],
        capture_output=True, check=False,
    )  # fmt: skip
    if mounted.returncode:
        pytest.skip(f"no small disk: {mounted.stderr.decode().strip()}")
    yield SmallDisk(place)
    subprocess.run(["umount", place], check=True)


def needed(job: Job) -> int:
    """Give the pages that the declared outputs take; run.json takes more."""
    return sum(-(-job.made(name).stat().st_size // PAGE) for name in job.outputs)


@pytest.mark.parametrize("stage", [name for name in STAGES if name not in NOT_IN_THE_TINY_RUN])
def test_a_command_on_a_full_disk(
    finished: Project, disk: SmallDisk, tmp_path: Path, stage: str
) -> None:
    job = largest_job(finished.folder, stage)
    pages = needed(job)
    for free in sorted({0, pages // 2, pages}):
        disk.leave(free)
        done = job.again(disk.folder, log=tmp_path / "said.log")
        assert done.code == 1, (free, done.said)
        (error,) = [line for line in done.said.splitlines() if line.startswith("ERROR")]
        assert f"DiskFullError: {disk.folder}/" in error, done.said
        assert "was not written: the disk is full" in error
        assert "Make room" in error
        left = disk.files()
        assert not [path for path in left if path.name.startswith(TEMPORARY)]
        assert not [name for name in job.outputs if moved(name, disk.folder) in left]
    disk.make_room()
    done = job.again(disk.folder, log=tmp_path / "said.log")
    assert done.code == 0, done.said
    for name in job.outputs:
        assert moved(name, disk.folder).read_bytes() == job.made(name).read_bytes(), name
    assert not [path for path in disk.files() if path.name.startswith(TEMPORARY)]


def test_every_command_is_tried() -> None:
    assert set(STAGES) > NOT_IN_THE_TINY_RUN
