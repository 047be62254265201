"""Several people on one results folder: files have the rights that everyone's umask gives."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.replay import largest_job, moved
from tests.workflow.project import Project

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("tiny")]

# Each way to write: JSON, Parquet, arrays, weights and what is kept of a training, zip, HTML.
STAGES = ("split", "parse", "pack", "embed", "head", "bundle", "report")
OWNER, MEMBER, GROUP = 60001, 60002, 60003


@pytest.mark.parametrize("umask", [0o077, 0o022, 0o002], ids=oct)
def test_files_have_the_rights_that_the_umask_gives(
    finished: Project, tmp_path: Path, umask: int
) -> None:
    folder = tmp_path / "results"
    for stage in STAGES:
        job = largest_job(finished.folder, stage)
        done = job.again(folder, log=tmp_path / "said.log", umask=umask)
        assert done.code == 0, done.said
    wrong = []
    for path in folder.rglob("*"):
        wanted = (0o777 if path.is_dir() else 0o666) & ~umask
        if stat.S_IMODE(path.stat().st_mode) != wanted:
            wrong.append((str(path), oct(path.stat().st_mode)))
    assert not wrong


def test_a_member_of_the_group_goes_on_where_the_owner_stopped(
    finished: Project, tmp_path: Path
) -> None:
    if os.geteuid() != 0:
        pytest.skip("to be two users needs root")
    folder = tmp_path / "results"
    folder.mkdir()
    os.chown(folder, OWNER, GROUP)
    folder.chmod(0o775)
    job = largest_job(finished.folder, "head")

    def run_as(user: int) -> None:
        # Python itself may lie where only root reads: all may be read, and nothing more written.
        done = subprocess.run(
            ["setpriv", f"--reuid={user}", f"--regid={GROUP}", "--clear-groups",
             "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search",
             sys.executable, "-m", job.module, *job.options(folder)],
            cwd=finished.folder, umask=0o002, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    run_as(OWNER)
    written = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.stat().st_uid for path in written} == {OWNER}
    assert all(path.stat().st_mode & stat.S_IRGRP for path in written)
    for name in job.outputs[1:]:
        moved(name, folder).unlink()
    run_as(MEMBER)
    for name in job.outputs:
        assert moved(name, folder).stat().st_uid == MEMBER
        assert moved(name, folder).read_bytes() == job.made(name).read_bytes()
