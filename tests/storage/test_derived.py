"""Derived streams: each matching event once, in order, however they are followed."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.matcher import compile_matcher
from hub.storage import derived as module
from hub.storage import index as index_module
from hub.storage.derived import Derived, DerivedStreams, members
from hub.storage.order import OrderCursor, Slice
from tests.storage.world import World

VIEWS = {
    "view": compile_matcher({"payload": {"type": "A"}}),
    "other": compile_matcher({"payload": {"n": {"$gt": 2}}}),
}

groups = st.lists(
    st.tuples(
        st.sampled_from(["log-a", "log-b"]),
        st.lists(
            st.fixed_dictionaries({"type": st.sampled_from("AB"), "n": st.integers(0, 5)}),
            min_size=1,
            max_size=8,
        ),
    ),
    max_size=5,
)


class Bench:
    """Derived streams over a world."""

    def __init__(self, directory: Path) -> None:
        self.world = World(directory)
        self.derived = DerivedStreams(self.world.index)
        self.pieces = 0

    def again(self, defined: dict[str, Any]) -> None:
        """Start anew with these definitions."""
        self.world.index.close()
        self.world.index.open()
        self.world.runs.load()
        self.derived = DerivedStreams(self.world.index)
        self.derived.load(defined)

    def follow(self, name: str, head: int | None = None) -> Derived:
        """Follow in pieces to a position, at last the end."""
        head = self.world.head if head is None else head
        while True:
            row = self.derived.follow(name, VIEWS[name], head, self.world.sources)
            self.pieces += 1
            if row.looked >= head:
                return row

    def check(self, name: str, head: int | None = None) -> None:
        head = self.world.head if head is None else head
        row = self.follow(name, head)
        expected = [
            event.position
            for event in self.world.events[:head]
            if VIEWS[name].matches_document(event.document)
        ]
        db = self.world.index.db
        assert (row.name, row.version) == (name, len(expected))
        assert members(db, row.number, 1, row.version) == expected
        assert members(db, row.number, 2, 3) == expected[1:3]

    def rows(self) -> int:
        (count,) = self.world.index.db.execute("SELECT count(*) FROM members").fetchone()
        return int(count)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    for n in range(50):
        bench.world.add([("log-a", [{"type": "AB"[n % 2], "n": n % 7}])])
    yield bench
    bench.world.close()


@given(
    st.lists(
        st.tuples(groups, st.sampled_from(["view", "other", "both", "again", "forget"])),
        max_size=8,
    ),
    st.integers(1, 10),
)
@settings(max_examples=60)
def test_however_it_is_followed_each_event_is_in_it_once(
    tmp_path_factory: pytest.TempPathFactory,
    wanted: list[tuple[list[tuple[str, list[dict[str, Any]]]], str]],
    piece: int,
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "LEAST_PIECE", piece)
        patch.setattr(module, "MOST_PIECE", 2 * piece)
        bench = Bench(tmp_path_factory.mktemp("derived"))
        for added, what in wanted:
            bench.world.add(added)
            if what in ("view", "both"):
                bench.check("view")
            if what in ("other", "both"):
                bench.check("other", bench.world.head // 2)
            if what == "again":
                bench.again(VIEWS)
            if what == "forget":
                bench.derived.remove("view")
        bench.check("view")
        bench.check("other")
        bench.world.close()


def test_a_restart_goes_on_where_it_was(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEAST_PIECE", 10)
    first = bench.derived.follow("view", VIEWS["view"], bench.world.head, bench.world.sources)
    assert (first.looked, first.version) == (10, 5)
    bench.again(VIEWS)
    looked: list[int] = []

    class Watching(OrderCursor):
        def __init__(self, scope: Any, low: int, high: int) -> None:
            looked.append(low)
            super().__init__(scope, low, high)

    monkeypatch.setattr(module, "OrderCursor", Watching)
    bench.check("view")
    assert looked[0] == 11


def test_what_is_defined_no_longer_is_dropped(bench: Bench) -> None:
    bench.follow("view")
    bench.follow("other")
    bench.again({"other": VIEWS["other"]})
    bench.check("other")
    assert bench.world.index.db.execute("SELECT name FROM derived").fetchall() == [("other",)]
    bench.check("view")


@pytest.mark.parametrize("restart", [True, False])
def test_another_matcher_begins_anew(bench: Bench, restart: bool) -> None:
    bench.follow("view")
    changed = compile_matcher({"payload": {"type": "B", "n": 3}})
    if restart:
        bench.again({"view": changed})
    row = bench.derived.follow("view", changed, bench.world.head, bench.world.sources)
    expected = [
        event.position for event in bench.world.events if changed.matches_document(event.document)
    ]
    assert members(bench.world.index.db, row.number, 1, row.version) == expected
    assert bench.rows() == len(expected) > 0


def test_what_is_removed_leaves_nothing(bench: Bench) -> None:
    bench.follow("view")
    bench.derived.remove("view")
    bench.derived.remove("never-there")
    assert bench.rows() == 0
    bench.check("view")


def test_what_could_not_be_removed_stands_in_nobodys_way(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index is locked for a moment, or full."""
    bench.follow("view")
    other = sqlite3.connect(bench.world.index._path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr(index_module, "_BUSY_MILLISECONDS", 0)
    bench.world.index._waits = None
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        bench.derived.remove("view")
    other.close()
    bench.check("other")  # it has another number
    bench.check("view")
    bench.derived.remove("view")
    bench.derived.remove("other")
    assert bench.rows() == 0


def test_what_an_earlier_stream_left_at_its_number_is_cleared(bench: Bench) -> None:
    db = bench.world.index.db
    db.executemany("INSERT INTO members VALUES (1,?,?)", [(n, 5 * n) for n in range(1, 200)])
    bench.check("view")
    assert bench.rows() == 25


def test_what_fails_is_done_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(OrderCursor):
        def read(self, *arguments: Any) -> Slice | None:
            raise OSError("no")

    with monkeypatch.context() as patch:
        patch.setattr(module, "OrderCursor", Failing)
        with pytest.raises(OSError, match="no"):
            bench.follow("view")
    bench.check("view")


def test_pieces_take_about_a_moment(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others wait for the index's thread meanwhile."""
    monkeypatch.setattr(module, "LEAST_PIECE", 2)
    bench.follow("view")
    quick, bench.pieces = bench.pieces, 0
    assert quick < 10  # they grow
    monkeypatch.setattr(module, "PIECE_SECONDS", 0)
    bench.follow("other")
    assert bench.pieces == 25  # they stay small


def test_it_belongs_to_one_thread_at_a_time(bench: Bench) -> None:
    """Which one is all the same: at opening it is another."""
    thread = threading.Thread(target=bench.follow, args=("view",))
    thread.start()
    thread.join()
    bench.check("view")
