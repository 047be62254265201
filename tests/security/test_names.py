"""Names that a shell would obey, and an environment with a secret, in a real run."""

import json
import re
from pathlib import Path

import pytest

from tests.recordings import write_recording
from tests.workflow.project import Project

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("names")]

SECRET = "pa55w0rd-of-the-environment"  # noqa: S105
FOLDER = 'night\'s "$(touch pwned)" `touch pwned`; touch pwned & {x} %s'
NAMES = ("-rf.edf", "a b.edf", "$(touch pwned).edf", "`touch pwned`.edf", "x;touch pwned.edf",
         "it's.edf", 'say "no".edf', "{input}.edf", "<b>bold<.edf", "=1+1.edf")  # fmt: skip


def test_a_shell_obeys_no_name_and_no_file_holds_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Project.copy(tmp_path / "project", configfile="config/names.yaml")
    folder = tmp_path / FOLDER
    folder.mkdir()
    for number, name in enumerate(NAMES):
        path = folder / f"s{number}" / name
        path.parent.mkdir()
        write_recording(path, seconds=60)
    lab = project.folder / "workflow/datasets/lab"
    lab.mkdir()
    text = (lab.parent / "folder/dataset.yaml").read_text(encoding="utf-8")
    text = re.sub(r"(?m)^name: .*$", "name: lab", text)
    text = re.sub(r"(?m)^  signal: .*$", "  signal: '(?P<subject>s[0-9]+)/.*[.]edf'", text)
    (lab / "dataset.yaml").write_text(text, encoding="utf-8")
    (project.folder / project.configfile).write_text(
        "results: results/it's;touch&pwned\ndatasets: [lab]\nshards: 1\n"
        "folders:\n  lab: $LAB_NIGHTS\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("LAB_NIGHTS", str(folder))
    monkeypatch.setenv("SOME_TOKEN", SECRET)
    made = project.somnoflow("manifest", str(folder), "--dataset", "lab")
    assert made.returncode == 0, made.stderr
    checked = "results/it's;touch&pwned/check/dataset=lab/shard=0/recordings.json"
    printed = project.snakemake(checked)
    content = json.loads((project.folder / checked).read_text(encoding="utf-8"))
    found = {Path(one["signal"]).name for one in content["recordings"]}
    assert found == set(NAMES)
    assert not list(tmp_path.rglob("pwned*"))
    written = [path for path in project.folder.rglob("*") if path.is_file()]
    assert any(path.name == "run.json" for path in written)
    assert SECRET not in printed
    assert not [path for path in written if SECRET.encode() in path.read_bytes()]
