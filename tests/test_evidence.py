"""The programs of evidence hold, in their short setting; and they are in the documentation."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from evidence.__main__ import PROGRAMS
from tests.parts import require

COMPILED = ("clock", "faults", "flood", "power")
"""They put a small library of their own between the hub and the system."""

DOCS = Path(__file__).parents[1] / "docs" / "evidence.md"


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_short_run(name: str, tmp_path: Path) -> None:
    if name in COMPILED:
        require("gcc")
    command = [sys.executable, "-m", "evidence", name, "--directory", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{name} --seed 2026: kept" in result.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", PROGRAMS)
def test_each_is_in_the_documentation(name: str) -> None:
    assert f"## `{name}`" in DOCS.read_text()
