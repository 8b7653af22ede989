"""The benchmarks run, and their table comes out. How fast anything is, is not tested."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.latency import Latencies
from benchmarks.plot import Panel, svg
from benchmarks.report import Figure, Goal, Grid, compared, table

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

SYSTEMS = ["hub, always", "hub, os", "nginx + nchan", "Redis Streams", "NATS JetStream"]


def quick(*names: str, plot: Path | None = None) -> str:
    """What a quick run of these measurements prints."""
    command = [sys.executable, "-m", "benchmarks", "--quick"]
    if plot is not None:
        command += ["--plot", str(plot)]
    for each in names:
        command += ["--only", each]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def tables(text: str) -> list[dict[str, list[str]]]:
    """The rows of each table, by the first cell of each."""
    found = []
    for part in text.split("\n\n"):
        lines = part.split("\n")
        if lines[0].startswith("|"):
            rows = [[each.strip() for each in line.strip("|").split("|")] for line in lines[2:]]
            found.append({row[0]: row[1:] for row in rows})
    return found


def cells(text: str) -> dict[str, list[str]]:
    """The rows of a table by the first word of each."""
    rows = [line.strip("| ").split("|") for line in text.split("\n") if line.startswith("|")]
    return {
        row[0].partition(":")[0].strip(): [each.strip() for each in row[1:]] for row in rows[2:]
    }


def number(cell: str) -> float:
    return float(cell.split()[0].replace(",", ""))


def test_a_quick_run_prints_a_table_with_figures() -> None:
    text = quick(*MEASURED)
    rows = cells(text)
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
    assert "fdatasync" in text


@pytest.mark.timeout(300)
def test_the_hub_stands_beside_its_peers() -> None:
    rates, use = tables(quick("beside"))
    for system in SYSTEMS:
        (name,) = (each for each in rates if each.startswith(system))
        durability, *figures = rates[name]
        assert "answered" in durability or durability == "in memory"
        assert len(figures) == len(use[name]) == 5
        assert all(number(each) > 0 for each in figures)
        assert all("%" in each for each in use[name])


@pytest.mark.timeout(300)
def test_latency_is_told_in_percentiles() -> None:
    lines = [line for line in quick("latency").split("\n") if line.startswith("| 1 ")]
    late, use = lines
    cells = [each.strip() for each in late.strip("|").split("|")]
    assert cells[:2] == ["1", "1,000"]
    assert len(cells) == 2 + len(SYSTEMS)
    for each in cells[2:]:
        if not each.startswith("not reached: "):  # the machine may be busy
            median, most, nearly_all = map(float, each.split(" / "))
            assert 0 < median <= most <= nearly_all
    assert use.count("%") == 2 * len(SYSTEMS)


@pytest.mark.timeout(300)
def test_growth_is_drawn(tmp_path: Path) -> None:
    plot = tmp_path / "growth.svg"
    found = tables(quick("growth", plot=plot))
    assert [list(rows) for rows in found] == [["100", "1,000", "5,000"], ["1", "20", "200"]]
    for rows in found:
        assert all(number(each) > 0 for figures in rows.values() for each in figures)
    root = ElementTree.parse(plot).getroot()
    points = [each for each in root.iter() if each.get("class") == "point"]
    assert len(points) == 2 * 3 * 3  # two kinds of growth, three figures, three sizes


def test_more_is_drawn_further_up() -> None:
    text = svg("Title", "a < b", [[Panel("posts/s", "events", [(1, 10), (10, 100), (1000, 5)])]])
    root = ElementTree.fromstring(text)
    points = [each for each in root.iter() if each.get("class") == "point"]
    first, second, last = (
        (float(each.get("cx", "")), float(each.get("cy", ""))) for each in points
    )
    assert first[0] < second[0] < last[0]
    assert second[1] < first[1] < last[1]


def test_percentiles_are_upper_bounds_in_milliseconds() -> None:
    found = Latencies([each / 1000 for each in range(1, 1001)])
    assert found.percentile(0.5) == pytest.approx(500, abs=0.02)
    assert found.percentile(0.999) == pytest.approx(999, abs=0.02)


def test_the_ratio_is_the_median_of_the_rounds() -> None:
    goal = Goal(0.8, at_least=True)
    figure = compared("a: b", "posts/s", [80, 90, 10], [100, 100, 100], goal)
    assert figure.ratio == 0.8
    assert figure.met


def test_what_could_not_be_measured_says_why() -> None:
    text = table([Figure("live-1", notes=("not measured: nginx is not installed",))])
    assert cells(text)["live-1"] == ["not measured", "—", "—", "—", "—"]
    assert "- live-1: not measured: nginx is not installed" in text


def test_a_table_of_its_own_says_what_is_missing() -> None:
    text = str(Grid("Posts", ("server", "posts/s"), (("hub", "1"),), missing=("no Redis",)))
    assert text.startswith("Posts:\n\n| server | posts/s |\n| ------ | ------- |\n| hub    | 1")
    assert text.endswith("\n- not measured: no Redis")


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
