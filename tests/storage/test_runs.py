"""Runs: what lies together in a log and in the order, small enough to be looked through."""

from __future__ import annotations

import errno
import sqlite3
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.document import KEYS
from hub.formats import NDJSON, TSV
from hub.storage import runs as module
from hub.storage.index import Additions, Index
from hub.storage.log import Committed, Log
from hub.storage.logfile import Disk
from hub.storage.runs import Runs, Taken, parts_of
from hub.storage.terms import terms_of
from tests.storage.disks import FaultyDisk
from tests.storage.logs import Logs, order_of, runs_of


class Bench:
    """Runs of an index, and the logs that they are of."""

    def __init__(self, directory: Path, disk: Disk | None = None) -> None:
        self.logs = Logs(directory / "events")
        self.index = Index(directory / "index.sqlite")
        self.index.open()
        self.runs = Runs(self.index, disk or Disk(), self.logs.path, KEYS, sync=False)
        self.head = self.runs.load()
        self.new: list[Log] = []
        self.queue: list[Taken] = []

    def make(self, name: str, form: str = TSV) -> Log:
        log = self.logs.make(name, form)
        log.number = len(self.logs.all)
        self.new.append(log)
        return log

    def take(self, commit: Committed) -> None:
        """Give a group its positions."""
        log = commit.log
        self.queue.append(
            Taken(
                self.head + 1,
                log,
                commit.revision,
                commit.start,
                commit.end,
                commit.count,
                commit.lines,
            )
        )
        self.head += commit.count

    def write(self) -> None:
        self.runs.write(self.new, self.queue)
        self.new, self.queue = [], []

    def check(self) -> None:
        """Each run is what its log has there; its terms can be found."""
        postings = set(self.index.db.execute("SELECT * FROM postings"))
        for run in runs_of(self.index):
            log = self.logs.all[run.log - 1]
            data = self.logs.path(log).read_bytes()
            assert data[: run.offset].count(b"\n") == run.revision - 1
            text = data[run.offset : run.offset + run.size]
            assert text.endswith(b"\n")
            assert (text.count(b"\n"), zlib.crc32(text)) == (run.count, run.checksum)
            assert run.count <= module.RUN_EVENTS
            assert run.size <= module.RUN_BYTES or run.count == 1
            terms = terms_of(text.split(b"\n")[:-1], log.format, KEYS)
            assert terms
            assert {(term, run.position) for term in terms} <= postings


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.index.close()


groups = st.lists(
    st.tuples(
        st.integers(0, 2),  # which log
        st.integers(1, 9),  # events
        st.booleans(),  # whether its lines are held
        st.booleans(),  # whether the index is written behind it
        st.booleans(),  # whether the hub is started anew then
        st.sampled_from([0, 0, 150]),  # more bytes of each event
    ),
    max_size=25,
)


@given(groups)
@settings(max_examples=60)
def test_every_event_is_in_one_run_at_its_position(
    tmp_path_factory: pytest.TempPathFactory, wanted: list[tuple[int, int, bool, bool, bool, int]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "RUN_EVENTS", 7)
        patch.setattr(module, "RUN_BYTES", 600)
        directory = tmp_path_factory.mktemp("runs")
        bench = Bench(directory)
        logs = [bench.make("log-a"), bench.make("log-b", NDJSON), bench.make("log-c")]
        order: list[tuple[str, int]] = []
        for which, count, held, write, again, size in wanted:
            commit = bench.logs.grow(logs[which], count, held=held, size=size)
            order += [(logs[which].name, commit.revision + at) for at in range(count)]
            bench.take(commit)
            if write:
                bench.write()
            if write and again:
                assert bench.runs.load() == bench.head
        bench.write()
        assert order_of(bench.index, bench.logs) == dict(enumerate(order, 1))
        bench.check()
        bench.index.close()


def test_what_follows_in_one_log_grows_one_run(bench: Bench) -> None:
    a, b = bench.make("log-a"), bench.make("log-b")
    for log in (a, a, b, a, a):
        bench.take(bench.logs.grow(log, 2))
        bench.write()
    assert [(run.position, run.count) for run in runs_of(bench.index)] == [(1, 4), (5, 2), (7, 4)]
    bench.check()


def test_a_run_ends_where_it_would_be_too_large(bench: Bench) -> None:
    a = bench.make("log-a")
    bench.take(bench.logs.grow(a, module.RUN_EVENTS + 1))
    bench.take(bench.logs.grow(a, 1, size=module.RUN_BYTES))
    bench.take(bench.logs.grow(a, 1))
    bench.write()
    assert [run.count for run in runs_of(bench.index)] == [256, 1, 1, 1]
    bench.check()


@given(st.lists(st.integers(0, 30), min_size=1), st.integers(1, 5), st.integers(10, 100))
def test_parts_are_as_large_as_may_be(sizes: list[int], events: int, size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "RUN_EVENTS", events)
        patch.setattr(module, "RUN_BYTES", size)
        lines = [b"x" * each for each in sizes]
        parts = list(parts_of(lines))
    assert [line for part in parts for line in part] == lines
    for part, following in zip(parts, [*parts[1:], None], strict=True):
        total = sum(map(len, part)) + len(part)
        assert len(part) <= events
        assert total <= size or len(part) == 1
        if following:
            assert len(part) == events or total + len(following[0]) + 1 > size


def test_numbers_of_new_logs_are_written_with_their_first_events(bench: Bench) -> None:
    bench.take(bench.logs.grow(bench.make("log-a", NDJSON)))
    bench.write()
    rows = bench.index.db.execute("SELECT number, name, format, length FROM logs").fetchall()
    assert rows == [(1, "log-a", "ndjson", 0)]


# Failures


def test_what_fails_is_written_whole_the_next_time(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also the terms that were found before it failed."""
    a, b = bench.make("log-a"), bench.make("log-b")
    bench.take(bench.logs.grow(a))
    bench.write()

    def fail(index: Index, additions: Additions, **how: bool) -> None:
        raise sqlite3.OperationalError("no")

    bench.take(bench.logs.grow(a, 4))
    bench.take(bench.logs.grow(b, 4))
    with monkeypatch.context() as patch:
        patch.setattr(Index, "add", fail)
        with pytest.raises(sqlite3.OperationalError):
            bench.runs.write(bench.new, bench.queue)
    bench.take(bench.logs.grow(b))
    bench.write()
    assert [(run.position, run.count) for run in runs_of(bench.index)] == [(1, 5), (6, 5)]
    bench.check()


@pytest.mark.parametrize("call", ["open", "fstat", "pread"])
def test_a_file_that_cannot_be_read_just_now_is_waited_for(tmp_path: Path, call: str) -> None:
    disk = FaultyDisk(call, 1, errno.EMFILE)
    bench = Bench(tmp_path, disk)
    a, b = bench.make("log-a"), bench.make("log-b")
    bench.take(bench.logs.grow(a, 3))
    bench.take(bench.logs.grow(b, 3, held=False))
    with pytest.raises(OSError, match="open files"):
        bench.runs.write(bench.new, bench.queue)
    assert runs_of(bench.index) == []
    bench.write()
    assert len(order_of(bench.index, bench.logs)) == 6
    bench.check()
    bench.index.close()


@pytest.mark.parametrize("how", ["removed", "shorter", "other lines", "other places"])
def test_what_is_gone_leaves_a_gap_and_holds_nobody_up(
    bench: Bench, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    a, b = bench.make("log-a"), bench.make("log-b")
    bench.take(bench.logs.grow(a, 2))
    bench.write()
    bench.take(bench.logs.grow(a, 3, held=False))
    bench.take(bench.logs.grow(b, 2))
    bench.take(bench.logs.grow(a, 2))
    path = bench.logs.path(a)
    text = path.read_bytes()
    lines = text.split(b"\n")
    if how == "removed":
        path.unlink()
    elif how == "shorter":
        path.write_bytes(text[:-70])
    elif how == "other lines":
        path.write_bytes(text.replace(b"\tt\t", b"\tt\n", 3))
    else:
        path.write_bytes(b"x" + text + b"\n".join(lines[:3]))
    if how == "shorter":
        path.write_bytes(text[: len(text) // 2])
    bench.write()
    order = order_of(bench.index, bench.logs)
    assert order == {1: ("log-a", 1), 2: ("log-a", 2), 6: ("log-b", 1), 7: ("log-b", 2)}
    assert caplog.text.count("lacks events that were stored") == 1
    # Nothing of the log comes behind it: the revisions in the index have no gap.
    bench.take(bench.logs.grow(b))
    bench.take(bench.logs.grow(a))
    bench.write()
    assert {name for name, _ in order_of(bench.index, bench.logs).values()} == {"log-a", "log-b"}
    assert bench.index.covered(a.number)[0] == 2
    assert bench.index.head() == bench.head == 11


def test_after_a_gap_a_run_begins_anew(bench: Bench) -> None:
    a, b = bench.make("log-a"), bench.make("log-b")
    bench.take(bench.logs.grow(a))
    bench.take(bench.logs.grow(b, 2, held=False))
    bench.take(bench.logs.grow(a))
    bench.logs.path(b).unlink()
    bench.write()
    assert order_of(bench.index, bench.logs) == {1: ("log-a", 1), 4: ("log-a", 2)}
    bench.take(bench.logs.grow(b))
    bench.write()
    assert bench.runs.load() == 5
    bench.take(bench.logs.grow(a))
    bench.write()
    assert order_of(bench.index, bench.logs)[6] == ("log-a", 3)


def test_logs_whose_places_happen_to_be_the_same_share_no_run(bench: Bench) -> None:
    a, b = bench.make("log-a"), bench.make("log-b")
    for log in (b, a, b, a):  # all of one size
        bench.take(bench.logs.grow(log))
    bench.write()
    assert [run.count for run in runs_of(bench.index)] == [1, 1, 1, 1]
    assert [run.offset for run in runs_of(bench.index)][:2] == [0, 0]
    bench.check()


def test_a_large_group_is_read_in_pieces(bench: Bench) -> None:
    a = bench.make("log-a")
    bench.take(bench.logs.grow(a, 2))
    bench.take(bench.logs.grow(a, 40, held=False, size=30_000))
    bench.write()
    assert [(run.position, run.revision) for run in runs_of(bench.index)][-1] == (41, 41)
    assert len(order_of(bench.index, bench.logs)) == 42
    bench.check()


def test_of_another_index_nothing_is_taken_for_written(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    a = bench.make("log-a")
    first = bench.logs.grow(a)
    bench.take(first)
    bench.write()
    bench.index.condemn()
    bench.index.close()
    bench.index.open()
    bench.head = bench.runs.load()
    assert bench.head == 0
    bench.new.append(a)
    bench.take(first)
    bench.write()
    bench.check()
    bench.index.close()
