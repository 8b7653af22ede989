"""`hub bench`: it ends, with a table, and says what it wrote."""

from __future__ import annotations

import json

from tests.cli.commands import run
from tests.process import HubProcess


def test_a_table(server: HubProcess) -> None:
    done = run("bench", "--seconds", "0.2", "--connections", "2", url=server.url)
    assert done.code == 0, done
    assert done.lines[0].split() == ["LOAD", "EVENTS", "EVENTS/s", "MB/s", "p50", "ms", "p99", "ms"]
    assert len(done.lines) == 5
    told = done.err.partition("which stay: ")[2].strip().split(", ")
    listed = run("ls", "--prefix", "bench-", url=server.url).lines
    assert sorted(told) == [line.split("\t")[0] for line in listed]


def test_json(url: str) -> None:
    done = run("bench", "--seconds", "0.2", "--size", "1000", "--json", url=url)
    posts, batches, live, history = map(json.loads, done.lines)
    assert posts["events"] > 0
    assert history["events"] == batches["events"]
    assert 0 < live["p50"] <= live["p99"]


def test_without_a_hub() -> None:
    assert run("bench", url="http://127.0.0.1:1").code == 1
