"""The benchmarks run, and their table comes out. How fast anything is, is not tested."""

from __future__ import annotations

import subprocess
import sys

import pytest

from benchmarks.report import Figure, Goal, compared, table

MEASURED = {
    "post-1": ["post-1"],
    "live-32": ["live-32"],
    "history": ["history"],
    "batch": ["batch-tsv", "batch-ndjson"],
    "long": ["resume", "open"],
    "condition": [
        "query-type",
        "query-tag",
        "condition-fresh",
        "condition-old",
        "condition-tag",
        "condition-refused",
    ],
}


def cells(text: str) -> dict[str, list[str]]:
    """The rows of a table by the first word of each."""
    rows = [line.strip("| ").split("|") for line in text.split("\n") if line.startswith("|")]
    return {
        row[0].partition(":")[0].strip(): [each.strip() for each in row[1:]] for row in rows[2:]
    }


def number(cell: str) -> float:
    return float(cell.split()[0].replace(",", ""))


@pytest.mark.timeout(300)
def test_a_quick_run_prints_a_table_with_figures() -> None:
    command = [sys.executable, "-m", "benchmarks", "--quick"]
    for each in MEASURED:
        command += ["--only", each]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    rows = cells(result.stdout)
    assert list(rows) == [name for names in MEASURED.values() for name in names]
    for name, (hub, peer, ratio, goal, met) in rows.items():
        # Opening is a difference of two starts: in a quick run it may come out below 0.
        assert number(hub) > 0 or name == "open"
        assert met in ("yes", "NO")
        assert goal
        assert (peer == "—") == (ratio == "—")
        if peer != "—":
            assert number(peer) > 0
            assert number(ratio) > 0
    assert "fdatasync" in result.stdout


def test_the_ratio_is_the_median_of_the_rounds() -> None:
    goal = Goal(0.8, at_least=True)
    figure = compared("a: b", "posts/s", [80, 90, 10], [100, 100, 100], goal)
    assert figure.ratio == 0.8
    assert figure.met


def test_what_could_not_be_measured_says_why() -> None:
    text = table([Figure("live-1", notes=("not measured: nginx is not installed",))])
    assert cells(text)["live-1"] == ["not measured", "—", "—", "—", "—"]
    assert "- live-1: not measured: nginx is not installed" in text


@pytest.mark.parametrize(
    ("goal", "met", "missed", "text"),
    [
        (Goal(0.8, at_least=True), 0.8, 0.79, "≥ 0.8 x"),
        (Goal(12, at_least=False, unit="KiB"), 12, 12.1, "≤ 12 KiB"),
        (Goal(300_000, at_least=True, unit="events/s"), 3e5, 2.9e5, "≥ 300,000 events/s"),
    ],
)
def test_goals(goal: Goal, met: float, missed: float, text: str) -> None:
    assert goal.met(met)
    assert not goal.met(missed)
    assert str(goal) == text
