"""The documentation as a site: built without a warning, read without a network."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tests.unit.test_docs import ROOT

EXAMPLES = {
    "api.html": "somnoflow.score",
    "adding.html": "epochnet",
    "changelog.html": "Unreleased",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs") / "site"
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "WARNING" not in done.stdout
    return folder


def test_every_page_of_docs_is_there_and_in_the_menu(site: Path) -> None:
    pages = {path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")}
    menu = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))["nav"]
    named = set(re.findall(r"[\w/-]+\.md", str(menu)))
    assert named == {page.as_posix() for page in pages} | {"changelog.md"}
    for name in named:
        assert (site / name).with_suffix(".html").is_file()


def test_pages_say_what_they_are_for(site: Path) -> None:
    for name, text in EXAMPLES.items():
        assert text in (site / name).read_text("utf-8")


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    loaded = re.compile(
        r"<(?:script|img|iframe|link)\b[^>]*?(?:src|href)=[\"']?((?:https?:)?//[^\s>]+)"
    )
    found = {
        (page.name, address)
        for page in site.rglob("*.html")
        for address in loaded.findall(page.read_text("utf-8"))
    }
    assert found == set()
    for style in site.rglob("*.css"):
        assert not re.search(r"(?:@import|url\()\s*[\"']?(?:https?:)?//", style.read_text("utf-8"))


def test_the_search_needs_no_server(site: Path) -> None:
    index = (site / "search/search_index.js").read_text("utf-8")
    assert index.startswith("var __index = ")
    assert "DeepSleepNet" in index
    assert "site/iframe-worker.js" in (site / "index.html").read_text("utf-8")
