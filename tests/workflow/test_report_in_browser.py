"""The report as a browser sees it."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from somnoflow.io.digest import sha256_file
from tests.workflow.project import Project

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip

pytestmark = [
    pytest.mark.workflow,
    pytest.mark.xdist_group("tiny"),
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]


def browse(page: Path, *options: str, profile: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(CHROMIUM), *QUIET, f"--user-data-dir={profile}", *options, page.as_uri()],
        check=True,
        text=True,
        capture_output=True,
        timeout=120,
    )


@pytest.fixture
def page(finished: Project) -> Path:
    return finished.folder / "results/tiny/report/index.html"


def test_it_opens_without_a_console_message(page: Path, tmp_path: Path) -> None:
    seen = browse(page, "--dump-dom", "--enable-logging=stderr", profile=tmp_path)
    assert "Tiny run" in seen.stdout
    assert "SIMULATED DATA" in seen.stdout
    assert "CONSOLE" not in seen.stderr
    for section in ("events", "modalities", "ablation", "embedding"):
        assert f'<section id="{section}"' in seen.stdout


def test_each_recording_has_a_picture_of_its_quality(page: Path, tmp_path: Path) -> None:
    seen = browse(page, "--dump-dom", profile=tmp_path).stdout
    for recording in ("S0001", "S0002", "S0003", "S0004"):
        assert f'alt="Signal quality of {recording} over the night' in seen


def test_its_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = re.findall(r'<a [^>]*href="([^"]*)"', text)
    ids = set(re.findall(r' id="([^"]*)"', text))
    inside = {link[1:] for link in links if link.startswith("#")}
    beside = {link for link in links if not link.startswith("#")}
    assert inside <= ids
    digests = json.loads((page.parent / "contents.json").read_text())["sha256"]
    assert beside == set(digests)
    for path, digest in digests.items():
        assert sha256_file(page.parent / path) == digest


def test_its_figures_are_drawn_by_themselves(page: Path, tmp_path: Path) -> None:
    figure = page.parent / "figures/one-night-by-all-models.svg"
    seen = browse(figure, "--dump-dom", "--enable-logging=stderr", profile=tmp_path)
    assert "<svg" in seen.stdout
    assert "parsererror" not in seen.stdout
    assert "CONSOLE" not in seen.stderr


def test_it_can_be_printed_and_is_small(page: Path, tmp_path: Path) -> None:
    printed = tmp_path / "page.pdf"
    browse(page, f"--print-to-pdf={printed}", profile=tmp_path / "p")
    assert printed.read_bytes().startswith(b"%PDF")
    assert page.stat().st_size < 5_000_000


def test_it_is_drawn(page: Path, tmp_path: Path) -> None:
    picture = tmp_path / "page.png"
    browse(page, f"--screenshot={picture}", "--window-size=1200,2000", profile=tmp_path / "p")
    assert picture.stat().st_size > 50_000
