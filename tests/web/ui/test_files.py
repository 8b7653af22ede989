"""The files of the page: small modules, which make no HTML and no code of text."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.test_mirror import LINES, PACKAGE

UI = PACKAGE / "web" / "ui"
OWN = sorted(each for each in UI.rglob("*.js") if "vendor" not in each.parts)

UNSAFE = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|srcdoc|\beval\b|new Function|https?://(?!local)"
)
"""What could make more than text of an event, or reach elsewhere."""


@pytest.mark.parametrize("path", OWN, ids=lambda path: str(path.relative_to(UI)))
def test_each_module(path: Path) -> None:
    text = path.read_text()
    assert text.startswith("/**\n"), "it says what it is for"
    assert text.count("\n") < LINES
    found = {each for each in UNSAFE.findall(text) if each}
    if path.name == "fold-worker.js":
        found -= {"new Function"}  # which has a policy of its own
    if path.name == "sparkline.js":
        found -= {"http://"}  # the name of a format
    assert not found


def test_the_page_loads_only_what_is_there() -> None:
    page = (UI / "index.html").read_text()
    for name in re.findall(r'(?:src|href)="/ui/([^"]+)"', page):
        assert (UI / name).is_file()
    assert not re.findall(r'\son\w+=|style="|<script>', page)
