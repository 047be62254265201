"""What the documentation shows is what the program takes."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from somnoflow.cli import main
from somnoflow.config.root import read_config

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.M)


def test_the_configuration_of_the_quickstart_is_valid() -> None:
    config, unlabelled = (
        yaml.safe_load(text) for text in blocks(ROOT / "docs/quickstart.md", "yaml")
    )
    assert read_config(unlabelled).split.folds == 1
    assert read_config(config).heads.linear.passes == 100


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text("utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_exist(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    rules = {path.stem for path in (ROOT / "workflow/rules").glob("*.smk")}
    text = "".join(blocks(page, "bash")).replace("\\\n", " ")
    for words in (shlex.split(line, comments=True) for line in text.splitlines()):
        if words[:1] == ["make"]:
            assert words[1] in targets, words
        elif words[:1] == ["snakemake"]:
            assert words[3] in {"all", "data", "pretrained"} | rules, words
        elif words[:1] == ["somnoflow"] and words[1] != "--help":
            with pytest.raises(SystemExit) as stopped:
                main([words[1], "--help"])
            assert stopped.value.code == 0
    capsys.readouterr()


def test_the_readme_is_about_one_screen() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) < 120
