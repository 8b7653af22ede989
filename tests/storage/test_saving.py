"""Saving logs in the index. With a store around it: `test_store`."""

# ruff: noqa: ASYNC230  (nothing else runs in these loops)

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hub.document import KEYS
from hub.event import IdOrder
from hub.formats import NDJSON
from hub.storage import saving
from hub.storage.index import Entry, Index
from hub.storage.journal import Journal
from hub.storage.log import Log
from hub.storage.logfile import Disk
from hub.storage.saving import Saver
from hub.storage.sequencer import Sequencer
from tests.storage.logs import Logs
from tests.web.wire import eventually


class Bench:
    """Logs that have positions, and what is saved of them."""

    def __init__(self, directory: Path) -> None:
        self.logs = Logs(directory / "events")
        self.index = Index(directory / "index.sqlite")
        self.index.open()
        self.sequencer = Sequencer(
            self.index,
            Journal(directory, Disk(), sync=False),
            Disk(),
            self.logs.path,
            KEYS,
            sync=False,
        )
        self.sequencer.load({}, 0)
        self.sequencer.release(absent=False)
        self.saver = Saver(self.index, self.sequencer, self.logs.directory)
        self.attached = 0

    def grow(self, log: Log) -> None:
        commit = self.logs.grow(log)
        log.order = IdOrder(clock=log.version)
        self.sequencer.take(commit)
        self.saver.changed.add(log)

    async def attach(self) -> None:
        self.attached += 1

    def saved(self) -> dict[str, Entry]:
        rows = self.index.db.execute("SELECT * FROM logs WHERE length > 0").fetchall()
        return {row[1]: Entry(*row[:9]) for row in rows}

    async def close(self) -> None:
        await self.saver.close()
        await self.sequencer.close()
        self.index.close()


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    monkeypatch.setattr(saving, "SAVE_INTERVAL", 0.01)
    bench = Bench(tmp_path)
    yield bench
    await bench.close()


async def test_logs_are_saved_as_they_are(bench: Bench) -> None:
    a, b = bench.logs.make("log-a"), bench.logs.make("b/c", NDJSON)
    bench.grow(a)
    bench.grow(b)
    b.order.ordered = False
    b.last_id = "an-id"
    bench.saver.start(bench.attach)
    await eventually(lambda: len(bench.saved()) == 2)
    for log in (a, b):
        stat = bench.logs.path(log).stat()
        assert bench.saved()[log.name] == Entry(
            log.number,
            log.name,
            log.format,
            stat.st_size,
            stat.st_mtime_ns,
            log.version,
            log.last_id,
            log.order.clock,
            log.order.ordered,
        )
    assert bench.attached == 0
    bench.grow(a)
    await eventually(lambda: bench.saved()["log-a"].version == 2)


async def test_a_row_says_that_all_has_positions(bench: Bench) -> None:
    """The positions come first: else a crash between would lose them."""
    a = bench.logs.make("log-a")
    bench.grow(a)
    real = bench.index.save

    def save(entries: list[Entry]) -> None:
        assert bench.index.covered(a.number) == (a.version, a.length)
        real(entries)

    bench.index.save = save  # type: ignore[method-assign,assignment]
    bench.saver.start(bench.attach)
    await eventually(lambda: len(bench.saved()) == 1)


async def test_what_must_be_read_again_is_not_saved(bench: Bench) -> None:
    names = ("sound", "damaged", "removed", "grown")
    logs = {name: bench.logs.make(name) for name in names}
    for log in logs.values():
        bench.grow(log)
    await bench.sequencer.settle()
    logs["damaged"].damage = "line 7"
    bench.logs.path(logs["removed"]).unlink()
    with open(bench.logs.path(logs["grown"]), "ab") as file:
        file.write(b"more")
    unnumbered = bench.logs.make("empty")
    bench.saver.changed.add(unnumbered)
    bench.saver.start(bench.attach)
    await eventually(lambda: not bench.saver.changed and bench.saved() != {})
    assert set(bench.saved()) == {"sound"}


async def test_what_could_not_be_saved_is_saved_later(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving, "SAVED_AT_ONCE", 2)
    real = bench.index.add

    def fail(*_: object, **__: object) -> None:
        raise OSError("no")

    monkeypatch.setattr(bench.index, "add", fail)
    for n in range(5):
        bench.grow(bench.logs.make(f"log-{n}"))
    bench.saver.start(bench.attach)
    await asyncio.sleep(0.05)
    assert bench.saved() == {}
    monkeypatch.setattr(bench.index, "add", real)
    await eventually(lambda: len(bench.saved()) == 5)


async def test_without_an_index_it_is_looked_for(bench: Bench) -> None:
    bench.sequencer.release(absent=True)
    bench.saver.start(bench.attach)
    log = bench.logs.make("log-a")
    bench.grow(log)
    await eventually(lambda: bench.attached > 2)
    assert bench.saver.changed == {log}


async def test_closing_saves_once_more(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.saver.start(bench.attach)
    bench.grow(bench.logs.make("log-a"))
    await asyncio.sleep(0)
    await asyncio.wait_for(bench.saver.close(), 5)
    assert set(bench.saved()) == {"log-a"}
    await bench.close()


async def test_a_saver_that_was_never_started_can_be_closed(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    await bench.close()
