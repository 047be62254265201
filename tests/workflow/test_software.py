"""What a profile alone says of the software reaches the jobs, and reruns none of them."""

import os
import sys
from pathlib import Path

import pytest

from tests.workflow.project import Project

pytestmark = pytest.mark.workflow

TARGET = "results/tiny/raw/dataset=simulated/shard=0/manifest.tsv"
# Stands for Apptainer: notes how it was called, and runs the command that was meant for the image.
APPTAINER = """\
#!/bin/sh
[ "$1" = --version ] && echo "apptainer version 1.4.0" && exit
echo "$@" >> {calls}
until [ "$1" = bash ]; do shift; done
exec "$@"
"""
# Stands for conda: an environment is an empty folder, and this Python goes on to do the work.
CONDA = """\
#!/bin/sh
case "$*" in
--version) echo "conda 25.9.1" ;;
"info --json") echo '{{"conda_prefix": "{base}", "platform": "linux-64"}}' ;;
"config --get channel_priority --json") echo '{{"get": {{"channel_priority": "strict"}}}}' ;;
"env create "*)
    while [ $# -gt 0 ]; do
        case "$1" in
        --file) cp "$2" {calls} ;;
        --prefix) mkdir -p "$2" ;;
        esac
        shift
    done ;;
clean*) ;;
*) echo "conda $*" >&2; exit 1 ;;
esac
"""
ACTIVATE = 'echo "activate $1" >> {calls}\n'


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where `module` and `apptainer` note how they were called."""
    calls = tmp_path / "calls"
    monkeypatch.setenv("BASH_FUNC_module%%", f'() {{ echo "module $@" >> {calls}; }}')
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in {"apptainer": APPTAINER, "conda": CONDA, "activate": ACTIVATE}.items():
        program = programs / name
        program.write_text(text.format(calls=calls, base=tmp_path))
        program.chmod(0o755)
    path = [str(programs), str(Path(sys.executable).parent), os.environ["PATH"]]
    monkeypatch.setenv("PATH", os.pathsep.join(path))
    return calls


def profile_with(project: Project, name: str, text: str) -> str:
    """Add lines to a copy of the profile for one machine."""
    source = project.folder / "profiles/default/profile.yaml"
    profile = project.folder / "profiles" / name / "profile.yaml"
    profile.parent.mkdir()
    profile.write_text(source.read_text(encoding="utf-8") + text, encoding="utf-8")
    return f"--workflow-profile={profile.parent}"


def test_modules_and_image_come_from_the_profile(tmp_path: Path, calls: Path) -> None:
    project = Project.copy(tmp_path / "project")
    modules = profile_with(
        project,
        "modules",
        "software-deployment-method: env-modules\nconfig:\n  modules: python/3.11 cuda/12.9\n",
    )
    project.snakemake(modules, TARGET)
    assert calls.read_text().splitlines() == ["module purge", "module load python/3.11 cuda/12.9"]
    assert project.planned(TARGET) == {}

    calls.unlink()
    image = profile_with(
        project,
        "image",
        "software-deployment-method: apptainer\nconfig:\n  image: /apps/s.sif\n"
        "apptainer-args: --nv\n",
    )
    assert project.planned(image, TARGET) == {}
    project.snakemake(image, "--force", TARGET)
    called = calls.read_text()
    assert " --nv " in called.partition(" /apps/s.sif bash -c ")[0]
    assert "somnoflow.commands.simulate" in called.partition(" /apps/s.sif bash -c ")[2]
    assert project.planned(TARGET) == {}


def test_lost_names_are_missed(tmp_path: Path, calls: Path) -> None:
    """A --config on the command line takes the place of the profile's."""
    project = Project.copy(tmp_path / "project")
    modules = profile_with(
        project,
        "modules",
        "software-deployment-method: env-modules\nconfig:\n  modules: python/3.11\n",
    )
    printed = project.snakemake(modules, TARGET, "--config", "shards=2", check=False)
    assert "found env-modules without 'modules'" in printed
    assert not calls.exists()


def test_conda_makes_the_environment_of_the_pins(tmp_path: Path, calls: Path) -> None:
    project = Project.copy(tmp_path / "project")
    conda = "--software-deployment-method=conda"
    project.snakemake(conda, "--conda-create-envs-only", TARGET)
    pins = (project.folder / "envs/somnoflow.yaml").read_text(encoding="utf-8")
    assert calls.read_text() == pins
    project.snakemake(conda, TARGET)
    assert calls.read_text().startswith(f"{pins}activate {project.folder}/.snakemake/conda/")
    assert project.planned(TARGET) == {}
