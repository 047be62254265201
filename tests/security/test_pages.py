"""Pages that a browser opens: they load nothing, run nothing and say what others wrote as text."""

import re
from pathlib import Path

import pytest

from somnoflow.report.template import fill_in

SOURCE = Path(__file__).parents[2] / "src/somnoflow"
TEMPLATES = sorted(SOURCE.rglob("*.html"))
HOSTILE = "</title></style><script>alert(1)</script><img src=x onerror=alert(1)>\"'&"


def test_every_page_forbids_scripts_and_connections() -> None:
    assert len(TEMPLATES) >= 5
    whole = [path for path in TEMPLATES if "<html" in path.read_text(encoding="utf-8")]
    assert whole
    for path in whole:
        text = path.read_text(encoding="utf-8")
        (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)
        rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
        assert rules.pop("default-src") == "'none'", path
        assert set(rules) <= {"img-src", "style-src"}, path
        assert rules.get("img-src", "data:") == "data:", path
        # Before anything that a text could be in.
        assert text.index("Content-Security-Policy") < text.index("<title>"), path


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_templates_hold_no_script_and_trust_no_text(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"<script|<iframe|<object|javascript:|\son\w+=", text, re.IGNORECASE)
    assert not re.search(r"\|\s*safe\b|autoescape\s+false", text)


def test_nothing_marks_others_text_as_safe() -> None:
    """Markup() is for our own file of styles alone; SVG is drawn by escaped texts."""
    marked = [
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        if re.search(r"\bMarkup\(", path.read_text(encoding="utf-8"))
    ]
    assert marked == ["report/template.py"]


def test_a_template_escapes(tmp_path: Path) -> None:
    template = tmp_path / "page.html"
    template.write_text('<p title="{{ text }}">{{ text }}</p>')
    page = fill_in(template, text=HOSTILE)
    assert "<script" not in page
    assert "onerror=alert(1)>" not in page
    assert page.count("&lt;script&gt;") == 2
