"""Readers of the global order find what a plain list has, whatever is asked for."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub.selector import parse_selector, query_of_types
from hub.selector.parsing import SELECTOR_DEPTH, SELECTOR_TERMS
from hub.storage import order, plan, runs, texts
from hub.storage.logfile import Disk
from hub.storage.order import documents_at
from hub.storage.plan import Scope
from hub.storage.sources import seer
from hub.storage.texts import LogChanged
from tests.storage.disks import FaultyDisk
from tests.storage.scopes import Test, groups, make_world, scopes
from tests.storage.world import World

bounds = st.tuples(st.integers(-3, 80), st.integers(0, 80)) | st.just((1, 1000))


class Noting(Disk):
    """Notes how many bytes each read asks for."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        vars(self)["pread"] = self._pread

    def _pread(self, fd: int, size: int, at: int) -> bytes:
        self.sizes.append(size)
        return os.pread(fd, size, at)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few events come to every bound."""
    monkeypatch.setattr(runs, "RUN_EVENTS", 4)
    monkeypatch.setattr(order, "ROWS", 4)
    monkeypatch.setattr(order, "WINDOW", 9)
    monkeypatch.setattr(order, "PIECE", 900)
    monkeypatch.setattr(texts, "PIECE", 900)
    monkeypatch.setattr(texts, "GAP", 200)
    monkeypatch.setattr(plan, "COUNTED", 3)


@given(
    groups, st.lists(st.tuples(scopes(), bounds, st.booleans()), min_size=1, max_size=8), st.data()
)
@settings(max_examples=200)
def test_a_cursor_finds_what_the_list_has(
    tmp_path_factory: pytest.TempPathFactory,
    wanted: list[tuple[str, list[dict[str, Any]]]],
    reads: list[tuple[tuple[Scope, Test], tuple[int, int], bool]],
    data: st.DataObject,
) -> None:
    world = make_world(tmp_path_factory.mktemp("world"))
    split = data.draw(st.integers(0, len(wanted)))
    world.add(wanted[:split])
    if data.draw(st.booleans()):  # started anew
        world.index.close()
        world.index.open()
        world.runs.load()
    for each in wanted[split:]:
        world.add([each])
    for (scope, test), (low, high), backwards in reads:
        high = min(high, world.head)
        expected = [
            event for event in world.events if low <= event.position <= high and test(event)
        ]
        if backwards:
            expected.reverse()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(plan, "DRIVERS", data.draw(st.integers(1, order.ROWS)))
            patch.setattr(plan, "LOOKS", data.draw(st.integers(1, 6)))
            for bound in ("WORTH", "WORTH_UNTESTED"):
                value = getattr(plan, bound)
                patch.setattr(plan, bound, data.draw(st.sampled_from([0.0, value, 100.0])))
            assert world.read(scope, low, high, backwards=backwards) == expected
    world.close()


MANY = [f"T{n}" for n in range(SELECTOR_TERMS)]
"""Types and tags that there are, as many as a selector may have."""


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Events of every one of many types, with as many tags, in logs that are called like some."""
    world = make_world(tmp_path_factory.mktemp("wide"))
    for n, name in enumerate(MANY):
        if n % 10 == 0:
            log = name if n % 50 == 0 else "log-b"
            some = MANY[n : n + 10]
            world.add([(log, [{"type": each, "tags": [f"{each}-x"]} for each in some])])
    yield world
    world.close()


@st.composite
def large_selectors(draw: st.DrawFn) -> Any:
    """Selectors up to what is allowed: as deep, as wide, of names that there are."""
    form = draw(st.sampled_from(["T{}", "tags/T{}-x"]))
    chance = draw(st.randoms(use_true_random=False))
    different = draw(st.integers(1, SELECTOR_TERMS))

    def part(levels: int, count: int) -> list[Any]:
        """An array of so many names, some of them in arrays of their own."""
        inner: list[Any] = []
        if levels > 1:
            for _ in range(chance.choice([1, 1, 1, 2, 5])):
                deep = chance.choice([1, count // 2, count - 1])
                if 0 < deep < count:
                    inner.append(part(levels - 1, deep))
                    count -= deep
        names = [form.format(chance.randrange(different)) for _ in range(count)]
        return chance.sample(inner + names, len(inner) + len(names))

    return part(draw(st.integers(1, SELECTOR_DEPTH)), draw(st.integers(1, SELECTOR_TERMS)))


@given(large_selectors(), st.booleans(), st.data())
@settings(max_examples=60, suppress_health_check=list(HealthCheck), deadline=None)
def test_every_selector_that_is_allowed_can_be_read(
    wide: World, spec: Any, backwards: bool, data: st.DataObject
) -> None:
    """SQLite bounds how deep an expression may nest, and how much its parser may hold."""
    wanted = Scope(parse_selector(spec, allow_all=True))
    sees = seer(wanted, wide.sources)
    expected = [event for event in wide.events if sees(event.stream, event.document)]
    if backwards:
        expected.reverse()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(order, "ROWS", 4096)
        patch.setattr(plan, "WORTH", data.draw(st.sampled_from([0.0, plan.WORTH, 100.0])))
        assert wide.read(wanted, backwards=backwards) == expected


@pytest.mark.parametrize("width", [1, 2, 3, 20, 60])
@pytest.mark.parametrize("form", ["T{}", "tags/T{}-x"])
def test_the_deepest_selectors_can_be_read(wide: World, width: int, form: str) -> None:
    for levels in (SELECTOR_DEPTH - 1, SELECTOR_DEPTH // 2):
        names = (form.format(n % len(MANY)) for n in range(10**6))
        spec: list[Any] = [next(names)]
        for _ in range(levels):
            spec = [spec, *[next(names) for _ in range(width)]]
        if levels * width < SELECTOR_TERMS:
            wanted = Scope(parse_selector(spec, allow_all=True))
            sees = seer(wanted, wide.sources)
            expected = [event for event in wide.events if sees(event.stream, event.document)]
            assert wide.read(wanted) == expected


@given(groups, st.data())
@settings(max_examples=50)
def test_documents_at_positions(
    tmp_path_factory: pytest.TempPathFactory,
    wanted: list[tuple[str, list[dict[str, Any]]]],
    data: st.DataObject,
) -> None:
    world = make_world(tmp_path_factory.mktemp("world"))
    world.add(wanted)
    positions = data.draw(st.lists(st.integers(1, world.head), max_size=10))
    found = documents_at(world.index.db, world.sources, positions)
    assert found == [world.events[at - 1].document + b"\n" for at in positions]
    world.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = make_world(tmp_path)
    for n in range(10):
        world.add([("log-a", [{"type": "A", "n": n}] * 3), ("log-b", [{"type": "B", "n": n}])])
    yield world
    world.close()


def test_what_is_passed_over_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of a log with gaps between them are read at once only as far as that is little."""
    monkeypatch.setattr(order, "ROWS", 10**6)
    monkeypatch.setattr(order, "WINDOW", 10**6)
    world = make_world(tmp_path)
    for n in range(100):  # another log between them, so that each is a run of its own
        for kind in "ABB":
            world.add([("log-a", [{"type": kind, "n": n}]), ("log-b", [{"type": "C"}])])
    disk = world.sources.disk = Noting()
    for backwards in (False, True):
        found = world.read(Scope(query_of_types(["A"])), backwards=backwards)
        assert len(found) == 100
    assert max(disk.sizes) <= 2 * texts.PIECE + texts.GAP
    assert len(disk.sizes) < 60
    world.close()


def test_documents_at_positions_are_no_more_than_asked_for(world: World) -> None:
    """Whole ones, from the first on; and what else the runs hold is not held with them."""
    for positions in (range(1, world.head + 1), range(world.head, 0, -3)):
        rest = list(positions)
        while rest:
            found = documents_at(world.index.db, world.sources, rest, 1000)
            assert found == [world.events[at - 1].document + b"\n" for at in rest[: len(found)]]
            assert found
            if len(found) < len(rest):
                assert 1000 <= sum(map(len, found)) < 1000 + 2 * texts.PIECE
            del rest[: len(found)]


def test_what_comes_while_a_cursor_reads_is_not_for_it(world: World) -> None:
    cursor = order.OrderCursor(Scope(), 1, world.head)
    found = cursor.read(world.index.db, world.sources)
    assert found
    count = len(found.numbers)
    before = world.head
    world.add([("log-b", [{"type": "A"}] * 9)])
    while (more := cursor.read(world.index.db, world.sources)) is not None:
        count += len(more.numbers)
    assert count == before


def test_what_lies_together_is_read_together(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who reads all wants few large pieces, each with one call for a log."""
    monkeypatch.setattr(texts, "PIECE", 10**6)
    monkeypatch.setattr(order, "ROWS", 10**6)
    monkeypatch.setattr(order, "WINDOW", 10**6)
    disk = world.sources.disk = Noting()
    for scope in (Scope(), Scope(streams=["log-a"]), Scope(query_of_types(["A", "B"]))):
        for backwards in (False, True):
            disk.sizes.clear()
            cursor = order.OrderCursor(scope, 1, world.head, backwards=backwards)
            part = cursor.read(world.index.db, world.sources)
            assert part
            assert len(part.numbers) == len(world.read(scope))
            assert cursor.read(world.index.db, world.sources) is None
            assert len(disk.sizes) <= 2 + len(world.by_name)


@pytest.mark.parametrize("backwards", [False, True])
def test_what_a_damaged_log_hides_is_passed_over(world: World, backwards: bool) -> None:
    """From its first damage on; the others are read on."""
    log = world.by_name["log-a"]
    text = world.logs.path(log).read_bytes()
    lines = text.split(b"\n")
    sound = 7
    log.damage, log.version = "line 8", sound
    log.length = sum(len(line) + 1 for line in lines[:sound])
    world.logs.path(log).write_bytes(text[: log.length] + b"x" * 10)  # what is behind is none
    expected = []
    revision = 0
    for event in world.events:
        revision += event.stream == "log-a"
        if event.stream == "log-b" or revision <= sound:
            expected.append(event)
    if backwards:
        expected.reverse()
    assert world.read(Scope(), backwards=backwards) == expected
    by_type = world.read(Scope(query_of_types(["A"])), backwards=backwards)
    assert by_type == [event for event in expected if event.stream == "log-a"]
    (first, *_) = [event.position for event in world.events if event not in expected]
    with pytest.raises(OSError, match=f"no event at position {first}"):
        documents_at(world.index.db, world.sources, [1, first])


@pytest.mark.parametrize("name", ["log-a", "log-b"])
def test_what_a_power_cut_left_empty_is_no_event(world: World, name: str) -> None:
    """A line that holds a lost page may have all its columns, and swallow those behind it."""
    path = world.logs.path(world.by_name[name])
    text = path.read_bytes()
    end = text.index(b"\n")
    path.write_bytes(text[: end - 1] + b"\0\0" + text[end + 1 :])
    for backwards in (False, True):
        with pytest.raises(OSError, match=f"{name}.* is damaged between lines 1 and.*NUL"):
            world.read(Scope(), backwards=backwards)


@pytest.mark.parametrize("bad", [b"\n", b"\xff"])
@pytest.mark.parametrize("name", ["log-a", "log-b"])
def test_what_is_no_event_any_more_is_named(world: World, name: str, bad: bytes) -> None:
    """Of bytes that were damaged since the hub has read them."""
    path = world.logs.path(world.by_name[name])
    text = path.read_bytes()
    path.write_bytes(text[:8] + bad + text[8 + len(bad) :])
    for backwards in (False, True):
        with pytest.raises(OSError, match=f"{name}.* is damaged between lines 1 and"):
            world.read(Scope(query_of_types(["A", "B"])), backwards=backwards)
    position = next(each.position for each in world.events if each.stream == "log-a")
    if name == "log-a":
        with pytest.raises(OSError, match="is damaged between lines 1 and"):
            documents_at(world.index.db, world.sources, [position])


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("backwards", [False, True])
def test_an_index_that_counts_otherwise_than_the_file_is_not_believed(
    world: World, backwards: bool, count: int
) -> None:
    """Else the events behind would be told at positions that are not theirs."""
    world.index.db.execute("UPDATE runs SET count = ? WHERE position = 5", (count,))
    for scope in (Scope(), Scope(streams=["log-a"]), Scope(query_of_types(["A"]))):
        with pytest.raises(LogChanged, match=f"are 3 lines, .* knows of {count} events"):
            world.read(scope, backwards=backwards)


def test_where_no_event_is_there_is_no_document(world: World) -> None:
    world.index.forget([world.by_name["log-a"].number])
    for gap in (1, 5):
        with pytest.raises(OSError, match=f"no event at position {gap}"):
            documents_at(world.index.db, world.sources, [4, gap])
    assert world.read(Scope()) == [each for each in world.events if each.stream == "log-b"]


def test_a_file_that_lacks_events_is_an_error(world: World) -> None:
    path = world.logs.path(world.by_name["log-a"])
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(OSError, match="shorter than its index knows"):
        world.read(Scope())
    path.unlink()
    with pytest.raises(FileNotFoundError):
        world.read(Scope())


@pytest.mark.parametrize("call", ["open", "pread"])
def test_an_error_of_reading_is_told(tmp_path: Path, call: str) -> None:
    disk = FaultyDisk(call, 1, errno.EIO)
    world = World(tmp_path, disk)
    world.add([("log-a", [{"type": "A"}])])
    with pytest.raises(OSError, match="Input/output"):
        world.read(Scope())
    world.close()
