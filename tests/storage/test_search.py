"""Every way of finding a place, against a model that reads the whole log."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.document import Keys
from hub.errors import UnknownId
from hub.event import IdOrder, id_at, time_of
from hub.formats import NDJSON, TSV
from hub.storage import places, search
from hub.storage.logfile import Disk
from hub.storage.search import Reader, Selection, Window

Line = tuple[str, str, str]

BASE = 1_800_000_000_000_000

IDS = ["a", "aa", "ab", "b", "a b", "ä", "\u2028", "2026", "2026-01-01", "2026-01-01T00:00:00Z"]
TIMES = [
    "2026-01-01",
    "2026-01-01T00:00:00Z",
    "2026-01-01T01:00:00+01:00",  # the same moment as the two above
    "2026-01-01T00:00:00.000001Z",
    "2026-01-01 00:00:01",
    "2026-01-02",
    "2027-12-31T23:59:59.999999Z",
]
TYPES = ["", "t", "tt", "other"]


def lines_with(ids: st.SearchStrategy[list[str]]) -> st.SearchStrategy[list[Line]]:
    """Logs with these ids, some lines of them longer than a block."""
    data = st.one_of(st.text("xy\tz\x0b", max_size=8), st.integers(60, 300).map("long".__mul__))

    def fill(chosen: list[str]) -> st.SearchStrategy[list[Line]]:
        rest = st.lists(
            st.tuples(st.sampled_from(TYPES), data), min_size=len(chosen), max_size=len(chosen)
        )
        return rest.map(lambda each: [(i, *r) for i, r in zip(chosen, each, strict=True)])

    return ids.flatmap(fill)


def _moment(text: str) -> int:
    moment = time_of(text)
    assert moment is not None
    return moment


hub_ids = st.lists(st.integers(1, 5), max_size=40).map(
    lambda gaps: [id_at(BASE + sum(gaps[: n + 1])) for n in range(len(gaps))]
)
times = st.lists(st.sampled_from(TIMES), max_size=30).map(lambda ids: sorted(ids, key=_moment))
unordered = st.lists(st.sampled_from(TIMES), max_size=30)
anything = st.lists(st.sampled_from(IDS), max_size=30)
logs = lines_with(st.one_of(hub_ids, times, unordered, anything))


def as_document(line: Line, number: int) -> bytes:
    """A line as one of a log of documents; some as a person might write it."""
    identity, event, data = line
    payload = {"type": event, "text": data, "id": "a"} if event else {"type": 1, "text": data}
    document = {"stream": "abcd", "payload": payload, "metadata": {"id": identity, "user": "b"}}
    if number % 3 == 1:
        document = dict(reversed(document.items()))
    separators = (", ", ": ") if number % 3 else (",", ":")
    text = json.dumps(document, ensure_ascii=number % 2 == 1, separators=separators)
    return text.encode() + b"\n"


class Model:
    """The same questions, answered from a list."""

    def __init__(self, lines: list[Line], form: str = TSV) -> None:
        self.lines = lines
        self.form = form
        if form == TSV:
            self.bytes = [f"{i}\t{t}\t{d}\n".encode() for i, t, d in lines]
        else:
            self.bytes = [as_document(line, number) for number, line in enumerate(lines)]
        self.places = [0]
        for each in self.bytes:
            self.places.append(self.places[-1] + len(each))
        self.end = self.places[-1]
        order = IdOrder()
        order.extend([i.encode() for i, _, _ in lines])
        self.ordered = order.ordered

    def run(self, identity: str) -> tuple[int, int] | None:
        ids = [i for i, _, _ in self.lines]
        if identity not in ids:
            return None
        last = len(ids) - 1 - ids[::-1].index(identity)
        first = last
        while first and ids[first - 1] == identity:
            first -= 1
        return first, last

    def after_time(self, moment: int) -> int:
        behind = 0
        for number, (identity, _, _) in enumerate(self.lines, 1):
            when = time_of(identity)
            if when is not None and when <= moment:
                behind = number
        return self.places[behind]

    def of_type(self, start: int, end: int, only: str | None) -> list[int]:
        """The numbers of the lines between two places that are of a type."""
        return [
            n
            for n, (_, event, _) in enumerate(self.lines)
            if start <= self.places[n] < end and only in (None, event)
        ]

    def place(self, identity: str, which: int) -> int:
        run = self.run(identity)
        if run:
            return self.places[run[which] + 1]
        moment = time_of(identity)
        if moment is None:
            raise UnknownId(identity)
        return self.after_time(moment)

    def window(self, wanted: Selection) -> Window:
        start, end = 0, self.end
        if wanted.since is not None:
            start = self.place(wanted.since, 0)
        if wanted.until is not None:
            end = self.place(wanted.until, 1)
        start = min(start, end)
        if wanted.tail is not None:
            found = self.of_type(start, end, wanted.event)[-wanted.tail :] if wanted.tail else []
            all_of_them = len(found) < wanted.tail
            start = start if all_of_them else self.places[found[0]] if found else end
        if wanted.limit is not None:
            found = self.of_type(start, end, wanted.event)[: wanted.limit]
            all_of_them = len(found) < wanted.limit
            end = end if all_of_them else self.places[found[-1] + 1] if found else start
        found = self.of_type(start, end, wanted.event)
        return Window(start, end, self.lines[found[-1]][0] if found else None)


@contextmanager
def stored(model: Model) -> Iterator[Path]:
    """The log as a file, with another line behind its committed end."""
    more = Model([("2020-01-01T00:00:00Z", "tt", "not committed")], model.form).bytes[0]
    with NamedTemporaryFile() as file:
        file.write(b"".join(model.bytes) + more)
        file.flush()
        yield Path(file.name)


@contextmanager
def reader_of(model: Model, ordered: bool) -> Iterator[Reader]:
    with stored(model) as path:
        fd = os.open(path, os.O_RDONLY)
        try:
            yield Reader(Disk(), fd, model.end, ordered, model.form)
        finally:
            os.close(fd)


@contextmanager
def small_blocks(block: int) -> Iterator[None]:
    with (
        mock.patch.object(places, "BLOCK", block),
        mock.patch.object(places, "PROBE", 40),
        mock.patch.object(search, "PROBE", 40),
    ):
        yield


blocks = st.sampled_from([7, 64, 1000])
forms = st.sampled_from([TSV, NDJSON])
ids = st.one_of(
    st.sampled_from(IDS + TIMES),
    st.integers(-2, 130).map(lambda each: id_at(BASE + each)),
    st.sampled_from(
        ["", "a\tt", "a\tt\tx", "b\naa", "\ud800", "\udcff", "long", "2026-01-01T", "x"]
    ),
)
maybe_number = st.one_of(st.none(), st.integers(0, 35))


@given(logs, forms, blocks, st.lists(ids, max_size=8))
def test_places_of_ids(lines: list[Line], form: str, block: int, wanted: list[str]) -> None:
    model = Model(lines, form)
    for ordered in {False, model.ordered}:
        with small_blocks(block), reader_of(model, ordered) as reader:
            for identity in [*wanted, *(i for i, _, _ in lines[::7])]:
                run = model.run(identity)
                assert reader.after_id(identity) == (run and model.places[run[0] + 1])
                assert reader.through_id(identity) == (run and model.places[run[1] + 1])


@given(logs, forms, blocks, st.lists(st.integers(-3, 130), max_size=8))
def test_places_of_times(lines: list[Line], form: str, block: int, moments: list[int]) -> None:
    model = Model(lines, form)
    known = [when for i, _, _ in lines[::5] if (when := time_of(i)) is not None]
    for ordered in {False, model.ordered}:
        with small_blocks(block), reader_of(model, ordered) as reader:
            for moment in [*(BASE + each for each in moments), *known, *(k - 1 for k in known)]:
                assert reader.after_time(moment) == model.after_time(moment)


@given(logs, forms, blocks, st.data())
def test_counting_lines(lines: list[Line], form: str, block: int, data: st.DataObject) -> None:
    model = Model(lines, form)
    start = data.draw(st.sampled_from(model.places))
    only = data.draw(st.sampled_from([None, *TYPES]))
    number = data.draw(st.integers(0, len(lines) + 2))
    event = None if only is None else only.encode()
    found = model.of_type(start, model.end, only)
    with small_blocks(block), reader_of(model, False) as reader:
        first = found[:number]
        expected = start if not number else model.end
        if len(first) == number and first:
            expected = model.places[first[-1] + 1]
        assert reader.first(number, start, event) == expected
        last = found[-number:] if number else []
        expected = model.end if not number else start
        if len(last) == number and last:
            expected = model.places[last[0]]
        assert reader.last(number, start, event) == expected
        assert reader.last_id(start, event) == (lines[found[-1]][0] if found else None)
        assert reader.count(start, model.end) == len(model.of_type(start, model.end, None))


@given(
    logs,
    forms,
    blocks,
    st.builds(
        Selection,
        since=st.one_of(st.none(), ids),
        until=st.one_of(st.none(), ids),
        tail=maybe_number,
        limit=maybe_number,
        event=st.one_of(st.none(), st.sampled_from(TYPES)),
    ),
)
def test_windows(lines: list[Line], form: str, block: int, wanted: Selection) -> None:
    model = Model(lines, form)
    for ordered in {False, model.ordered}:
        with small_blocks(block), stored(model) as path:
            try:
                expected = model.window(wanted)
            except UnknownId:
                with pytest.raises(UnknownId):
                    search.window(Disk(), path, model.end, ordered, wanted, form)
            else:
                assert search.window(Disk(), path, model.end, ordered, wanted, form) == expected


@given(logs, forms, blocks, ids)
def test_resuming(lines: list[Line], form: str, block: int, identity: str) -> None:
    model = Model(lines, form)
    try:
        expected: int | None = model.place(identity, 0)
    except UnknownId:
        expected = None
    for ordered in {False, model.ordered}:
        with small_blocks(block), stored(model) as path:
            assert search.resume(Disk(), path, model.end, ordered, identity, form) == expected
            # An id that was seen is in the log, or is not later than its last event.
            moment, last = time_of(identity), time_of(lines[-1][0]) if lines else -(2**70)
            later = moment is not None and last is not None and moment > last
            unknown = later and all(each != identity for each, *_ in lines)
            found = search.resume(Disk(), path, model.end, ordered, identity, form, seen=True)
            assert found == (None if unknown else expected)


@given(logs, forms, blocks)
def test_what_a_log_ends_with(lines: list[Line], form: str, block: int) -> None:
    model = Model(lines, form)
    with small_blocks(block), stored(model) as path:
        for number, place in enumerate(model.places):
            before = lines[number - 1][0] if number else ""
            assert search.ends_with(Disk(), path, place, before, form)
            assert not search.ends_with(Disk(), path, place, before + "x", form)
            assert not place or not search.ends_with(Disk(), path, place - 1, before, form)


LINES = [("a", "t", "1"), ("b", "t", "2"), ("b", "tt", "3"), ("c", "t", "4"), ("a", "", "5")]
LOGS = [Model(LINES), Model(LINES, NDJSON)]
both = pytest.mark.parametrize("log", LOGS, ids=[TSV, NDJSON])


def _window(log: Model, wanted: Selection) -> bytes:
    with stored(log) as path:
        found = search.window(Disk(), path, log.end, log.ordered, wanted, log.form)
        assert found.start <= found.end
        return path.read_bytes()[found.start : found.end]


@both
def test_a_run_of_one_id_is_read_again_rather_than_lost(log: Model) -> None:
    assert _window(log, Selection(since="b")) == b"".join(log.bytes[2:])
    assert _window(log, Selection(until="b")) == b"".join(log.bytes[:3])
    assert _window(log, Selection(since="b", until="b")) == log.bytes[2]


@both
def test_a_selection_that_ends_before_it_begins_is_empty(log: Model) -> None:
    assert _window(log, Selection(since="a", until="b")) == b""
    assert _window(log, Selection(since="c", until="b", tail=3)) == b""


@both
def test_an_id_is_not_found_across_columns_or_lines(log: Model) -> None:
    with stored(log) as path:
        for identity in ("a\tt", "b\tt\t2", "t\t1\nb", "a\tt\t1\nb", "\ud800", "", 'a"', "id"):
            assert search.resume(Disk(), path, log.end, False, identity, log.form) is None


def test_the_type_of_a_document_may_have_another_key() -> None:
    log = LOGS[1]
    with stored(log) as path:
        for wanted, number in ((Selection(tail=1, event="3"), 2), (Selection(limit=2), 0)):
            keys = Keys(type="text")
            found = search.window(Disk(), path, log.end, False, wanted, NDJSON, keys)
            assert found.start == log.places[number]
        last = search.window(Disk(), path, log.end, False, Selection(event="2"), NDJSON, keys)
        assert last.last_id == "b"


def test_a_file_that_holds_no_documents_any_more_ends_with_none() -> None:
    with NamedTemporaryFile() as file:
        file.write(b"nonsense\n")
        file.flush()
        assert not search.ends_with(Disk(), Path(file.name), 9, "a", NDJSON)


class CountingDisk(Disk):
    """Counts the bytes that are read."""

    def __init__(self) -> None:
        self.bytes = 0
        self.reads = 0

    def pread(self, fd: int, size: int, at: int) -> bytes:
        data = os.pread(fd, size, at)
        self.bytes += len(data)
        self.reads += 1
        return data


def _large_log(path: Path, form: str, count: int, long_line_at: int = -1) -> list[str]:
    ids = [id_at(BASE + 1000 * n) for n in range(count)]
    line = "%s\tt\t%s\n"
    if form == NDJSON:
        line = '{"metadata":{"id":"%s"},"stream":"log","payload":{"a":"%s"}}\n'
    with open(path, "w") as file:
        for n, identity in enumerate(ids):
            size = 2_000_000 if n == long_line_at else 50
            file.write(line % (identity, "x" * size))
    return ids


@pytest.mark.parametrize("form", [TSV, NDJSON])
@pytest.mark.parametrize("long_line_at", [-1, 0, 100_000, 199_999])
def test_a_place_in_a_large_log_is_found_by_a_few_reads(
    tmp_path: Path, long_line_at: int, form: str
) -> None:
    path = tmp_path / "log"
    known = _large_log(path, form, 200_000, long_line_at)
    end = path.stat().st_size
    chance = random.Random(1)
    for number in [0, 1, 99_999, 100_000, 100_001, 199_999, *chance.choices(range(200_000), k=5)]:
        disk = CountingDisk()
        place = search.resume(disk, path, end, True, known[number], form)
        with open(path, "rb") as file:
            file.seek(place or 0)
            line = file.readline().decode()
        assert line[19 if form == NDJSON else 0 :][:27] == (known[number + 1 :] or [""])[0]
        assert disk.reads < 400
        assert disk.bytes < 20_000_000 or long_line_at >= 0


@pytest.mark.parametrize("form", [TSV, NDJSON])
def test_an_unordered_log_is_searched_from_its_end(tmp_path: Path, form: str) -> None:
    path = tmp_path / "log"
    known = _large_log(path, form, 100_000)
    disk = CountingDisk()
    assert search.resume(disk, path, path.stat().st_size, False, known[-10], form)
    assert disk.bytes < 3 * places.BLOCK


def test_a_file_that_has_become_shorter_ends_a_search_with_an_error(tmp_path: Path) -> None:
    path = tmp_path / "log"
    known = _large_log(path, TSV, 1000)
    size = path.stat().st_size
    os.truncate(path, size // 2 + 5)
    for work in (
        lambda: search.resume(Disk(), path, size, True, known[-1]),
        lambda: search.resume(Disk(), path, size, False, known[-1]),
        lambda: search.window(Disk(), path, size, True, Selection(tail=5)),
    ):
        with pytest.raises(OSError, match="shorter than what was written"):
            work()
