"""After files changed behind the hub's back, each event still has its position, or gets one."""

from __future__ import annotations

import errno
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.document import KEYS, Keys
from hub.formats import NDJSON, TSV
from hub.storage import index as index_module
from hub.storage import ordering
from hub.storage import runs as runs_module
from hub.storage import sequencer as sequencer_module
from hub.storage.alignment import Alignment, Found
from hub.storage.index import Additions, Index
from hub.storage.journal import Journal, Record
from hub.storage.log import Log
from hub.storage.logfile import Disk, Reading
from hub.storage.rescue import Rescued
from hub.storage.sequencer import Sequencer
from hub.storage.soundness import faults
from hub.storage.terms import terms_of
from tests.storage.disks import FaultyDisk
from tests.storage.logs import Logs, order_of, runs_of

Order = dict[int, tuple[str, int]]


class Bench:
    """Logs and an index, which is opened anew for every alignment."""

    def __init__(self, directory: Path) -> None:
        self.logs = Logs(directory / "events")
        self.path = directory / "index.sqlite"
        self.index = Index(self.path)
        self.index.open()
        self.journal = Journal(directory, Disk(), sync=False)
        self.journal.clear()
        self.highest = 0

    def align(
        self,
        *,
        trusted: dict[Log, int] | None = None,
        gone: tuple[int, ...] = (),
        disk: Disk | None = None,
        keys: Keys = KEYS,
    ) -> Order:
        """Align with all logs as they are; return the order."""
        disk = disk or Disk()
        sequencer, alignment = self.parts(disk, keys)
        found = [
            Found(log, log.version, log.length, (trusted or {}).get(log, 0))
            for log in self.logs.all
        ]
        try:
            alignment.align(self.logs.all, found, gone, self.highest)
        finally:
            self.highest = max([self.highest, *(log.number for log in self.logs.all)])
        assert sequencer.head == sequencer.indexed == self.index.head()
        self.check(keys)
        return order_of(self.index, self.logs)

    def parts(self, disk: Disk, keys: Keys = KEYS) -> tuple[Sequencer, Alignment]:
        """A sequencer and an alignment, as of a new start."""
        parts = disk, self.logs.path, keys
        sequencer = Sequencer(self.index, self.journal, *parts, sync=False)
        return sequencer, Alignment(self.index, self.journal, sequencer, *parts)

    def check(self, keys: Keys = KEYS) -> None:
        """The runs of sound logs tell what stands in the files."""
        assert list(faults(self.index.db)) == []
        postings = set(self.index.db.execute("SELECT * FROM postings"))
        for run in runs_of(self.index):
            (log,) = [each for each in self.logs.all if each.number == run.log]
            if log.damage:
                continue
            data = self.logs.path(log).read_bytes()
            text = data[run.offset : run.offset + run.size]
            assert data[: run.offset].count(b"\n") == run.revision - 1
            assert (text.count(b"\n"), text[-1:], zlib.crc32(text)) == (
                run.count,
                b"\n",
                run.checksum,
            )
            for term in terms_of(text.split(b"\n")[:-1], log.format, keys):
                assert (term, run.position) in postings

    def restart(self) -> None:
        """Of logs only what the index knows of them is known, as at a new start."""
        self.index.close()
        numbers = {entry.name: entry.number for entry in self.index.open()}
        for log in self.logs.all:
            log.number = numbers.get(log.name, 0)

    def cut(self, log: Log, version: int) -> None:
        """Leave so many events."""
        path = self.logs.path(log)
        lines = path.read_bytes().split(b"\n")[:version]
        path.write_bytes(b"".join(line + b"\n" for line in lines))
        log.version, log.length = version, path.stat().st_size


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(runs_module, "RUN_EVENTS", 4)
    return Bench(tmp_path)


def follow_something(bench: Bench) -> None:
    bench.index.db.execute("INSERT INTO derived VALUES (1,'view','{}',0,11,0,56,'{}')")


def is_followed(bench: Bench) -> bool:
    return bench.index.db.execute("SELECT * FROM derived").fetchone() is not None


def test_without_an_index_the_order_is_that_of_time(bench: Bench) -> None:
    a, b = bench.logs.make("log-a"), bench.logs.make("log-b", NDJSON)
    c = bench.logs.make("log-c")
    for log, count in ((c, 3), (a, 2), (c, 6)):
        bench.logs.grow(log, count)
    order = bench.align()
    wanted = [("log-c", n) for n in (1, 2, 3)] + [("log-a", 1), ("log-a", 2)]
    wanted += [("log-c", n) for n in range(4, 10)]
    assert list(order.values()) == wanted
    assert b.number == 0  # it has no events yet


def test_what_has_a_position_keeps_it_and_what_has_none_comes_behind(bench: Bench) -> None:
    a, b = bench.logs.make("log-a"), bench.logs.make("log-b", NDJSON)
    bench.logs.grow(b, 2)
    bench.logs.grow(a, 2)
    before = bench.align()
    trusted = {log: log.length for log in (a, b)}
    bench.logs.grow(a, 2)
    bench.logs.grow(b, 1)
    after = bench.align(trusted=trusted)
    assert list(after) == list(range(1, 8))
    assert {at: after[at] for at in before} == before
    assert bench.align(trusted=trusted) == after
    assert bench.align() == after


def test_what_is_as_it_was_is_not_read(bench: Bench) -> None:
    a, b = bench.logs.make("log-a"), bench.logs.make("log-b", NDJSON)
    for log in (a, b, a):
        bench.logs.grow(log, 10)
    order = bench.align()
    disk = FaultyDisk("open", 1, errno.EIO, lasting=True)
    assert bench.align(trusted={log: log.length for log in (a, b)}, disk=disk) == order


def test_the_index_may_know_more_than_was_saved_of_a_log(bench: Bench) -> None:
    a = bench.logs.make("log-a")
    bench.logs.grow(a, 3)
    saved = a.length
    bench.logs.grow(a, 7)
    order = bench.align()
    follow_something(bench)
    assert bench.align(trusted={a: saved}) == order
    assert is_followed(bench)


@pytest.mark.parametrize("form", [TSV, NDJSON])
@pytest.mark.parametrize("version", [0, 1, 3, 4, 5, 9])
def test_a_log_that_lost_its_end_leaves_a_gap_that_is_never_filled(
    bench: Bench, form: str, version: int, caplog: pytest.LogCaptureFixture
) -> None:
    a, b = bench.logs.make("log-a", form), bench.logs.make("log-b")
    for log in (a, b, a):
        bench.logs.grow(log, 5)
    before = bench.align()
    follow_something(bench)
    bench.cut(a, version)
    after = bench.align()
    assert after == {
        at: where for at, where in before.items() if where[0] == "log-b" or where[1] <= version
    }
    assert not is_followed(bench)
    assert f"{bench.logs.path(a)} is not what it was" in caplog.text
    bench.logs.grow(a, 3)
    bench.logs.grow(b)
    again = bench.align()
    assert {at: again[at] for at in after} == after
    assert set(again) - set(after) == {16, 17, 18, 19}
    assert sorted(again[at] for at in range(16, 20)) == [
        ("log-a", version + 1),
        ("log-a", version + 2),
        ("log-a", version + 3),
        ("log-b", 6),
    ]


def test_events_that_were_changed_keep_their_positions_and_are_found_anew(bench: Bench) -> None:
    a = bench.logs.make("log-a")
    bench.logs.grow(a, 10)
    before = bench.align()
    path = bench.logs.path(a)
    text = path.read_bytes().replace(b'"type":"t', b'"type":"other-')
    path.write_bytes(text)
    a.length = len(text)
    assert bench.align() == before


def test_lines_put_in_between_shift_what_is_behind(bench: Bench) -> None:
    """A position is that of a revision; whoever edits a file decides what that is."""
    a, b = bench.logs.make("log-a"), bench.logs.make("log-b")
    for log in (a, b):
        bench.logs.grow(log, 6)
    before = bench.align()
    path = bench.logs.path(a)
    lines = path.read_bytes().split(b"\n")
    lines[2:2] = [b"mine\tMine\tby hand"]
    path.write_bytes(b"\n".join(lines))
    a.version, a.length = 7, path.stat().st_size
    after = bench.align()
    assert after == before | {13: ("log-a", 7)}


def test_logs_that_are_gone_leave_gaps(bench: Bench) -> None:
    a, b = bench.logs.make("log-a"), bench.logs.make("log-b")
    for log in (a, b, a, b):
        bench.logs.grow(log, 2)
    before = bench.align()
    follow_something(bench)
    bench.logs.all.remove(b)
    after = bench.align(gone=(b.number,))
    assert after == {at: where for at, where in before.items() if where[0] == "log-a"}
    assert not is_followed(bench)
    # Their numbers and positions are not given again.
    b.number = 0
    bench.logs.all.append(b)
    again = bench.align()
    assert b.number == 3
    assert again == after | {9 + n: ("log-b", n + 1) for n in range(4)}


def test_only_what_was_found_gets_positions(bench: Bench) -> None:
    """The log may grow meanwhile: whoever writes to it gives positions to that."""
    a = bench.logs.make("log-a")
    bench.logs.grow(a, 3)
    found = Found(a, a.version, a.length)
    bench.logs.grow(a, 4)
    sequencer, alignment = bench.parts(Disk())
    alignment.align([a], [found], (), 0)
    assert sequencer.head == found.version
    assert order_of(bench.index, bench.logs) == {n: ("log-a", n) for n in (1, 2, 3)}
    follow_something(bench)
    found = Found(a, 2, len(b"".join(bench.logs.path(a).read_bytes().split(b"\n")[:2])) + 2)
    sequencer, alignment = bench.parts(Disk())
    alignment.align([a], [found], (), 1)
    assert order_of(bench.index, bench.logs) == {n: ("log-a", n) for n in (1, 2)}


# Damaged logs


def test_a_damaged_log_keeps_the_positions_of_what_is_hidden(bench: Bench) -> None:
    a = bench.logs.make("log-a")
    bench.logs.grow(a, 10)
    before = bench.align()
    version, length = a.version, a.length
    path = bench.logs.path(a)
    sound = path.read_bytes()
    lines = sound.split(b"\n")
    path.write_bytes(b"\n".join([*lines[:5], b"damage", *lines[6:]]))
    a.damage, a.version, a.length = "line 6", 5, len(b"\n".join(lines[:5])) + 1
    assert bench.align() == before
    path.write_bytes(sound)
    a.damage, a.version, a.length = None, version, length
    assert bench.align() == before


def test_a_damaged_log_of_another_content_loses_what_is_hidden(bench: Bench) -> None:
    a = bench.logs.make("log-a")
    bench.logs.grow(a, 10)
    bench.align()
    path = bench.logs.path(a)
    text = path.read_bytes().replace(b'"n":', b'"m":  ')
    path.write_bytes(text)
    lines = text.split(b"\n")
    a.damage, a.version, a.length = "line 6", 5, len(b"\n".join(lines[:5])) + 1
    assert list(bench.align()) == [1, 2, 3, 4, 5]
    a.damage, a.version, a.length = None, 10, len(text)
    assert list(bench.align()) == [1, 2, 3, 4, 5, 11, 12, 13, 14, 15]


def test_what_is_sound_of_a_damaged_log_gets_positions(bench: Bench) -> None:
    a = bench.logs.make("log-a")
    bench.logs.grow(a, 5)
    a.damage = "line 6"
    assert len(bench.align()) == 5


def test_a_damaged_log_that_cannot_be_read_stops_no_other(bench: Bench) -> None:
    a, b = bench.logs.make("log-a"), bench.logs.make("log-b")
    bench.logs.grow(a, 5)
    before = bench.align()
    bench.logs.path(a).unlink()
    a.damage, a.version, a.length = "it cannot be read", 0, 0
    bench.logs.grow(b)
    assert bench.align() == before | {6: ("log-b", 1)}


def test_an_error_while_reading_is_told(bench: Bench) -> None:
    a = bench.logs.make("log-a")
    bench.logs.grow(a, 5)
    bench.align()
    with pytest.raises(OSError, match="Input/output"):
        bench.align(disk=FaultyDisk("open", 1, errno.EIO))


changes = st.lists(
    st.one_of(
        st.tuples(st.just("grow"), st.integers(0, 2), st.integers(1, 6)),
        st.tuples(st.just("cut"), st.integers(0, 2), st.integers(1, 6)),
        st.tuples(st.just("edit"), st.integers(0, 2), st.integers(0, 6)),
        st.tuples(st.just("align"), st.booleans(), st.just(0)),
    ),
    max_size=20,
)


@given(changes)
@settings(max_examples=80)
def test_whatever_is_done_to_files_positions_stay(
    tmp_path_factory: pytest.TempPathFactory, wanted: list[tuple[str, int, int]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs_module, "RUN_EVENTS", 3)
        bench = Bench(tmp_path_factory.mktemp("alignment"))
        logs = [bench.logs.make(f"log-{n}", NDJSON if n % 2 else TSV) for n in range(3)]
        before: Order = {}
        given_ever: set[int] = set()
        trusted: dict[Log, int] = {}
        for what, which, number in [*wanted, ("align", True, 0)]:
            log = logs[which]
            if what == "grow":
                bench.logs.grow(log, number)
                continue
            if what == "cut":
                bench.cut(log, max(0, log.version - number))
                trusted.pop(log, None)
                continue
            if what == "edit":
                path = bench.logs.path(log)
                text = path.read_bytes().replace(b'"n":', b'"n": ', number)
                path.write_bytes(text)
                log.length = len(text)
                trusted.pop(log, None)
                continue
            after = bench.align(trusted=trusted if which else None)
            versions = {log.name: log.version for log in logs}
            for at, (name, revision) in before.items():
                if revision <= versions[name]:
                    assert after[at] == (name, revision)
                else:
                    assert after.get(at) is None
            new = set(after) - set(before)
            assert not new & given_ever
            assert sorted(after.values()) == sorted(
                (log.name, n) for log in logs for n in range(1, log.version + 1)
            )
            given_ever |= set(after)
            before = after
            trusted = {log: log.length for log in logs}
        bench.index.close()


def test_with_other_keys_every_event_is_found_anew_and_keeps_its_position(bench: Bench) -> None:
    """Events of both formats, and of a log whose end is hidden by damage."""
    lines, documents = bench.logs.make("lines"), bench.logs.make("documents", NDJSON)
    for _ in range(6):
        bench.logs.grow(lines, 2)
        bench.logs.grow(documents, 3)
    before = bench.align()
    other = Keys(type="n", tags="type")
    assert bench.align(keys=other) == before
    terms = {term for term, _ in bench.index.db.execute("SELECT * FROM postings")}
    wanted = [terms_of([b'a\tt\t{"type":"t%d"}' % n], TSV, other) for n in range(5)]
    assert terms == set().union(*wanted)  # as tags now, and what was a type is found no more
    hidden = bench.logs.grow(lines, 4)
    bench.align(keys=other)
    lines.damage, lines.length, lines.version = "x", hidden.start, lines.version - 4
    assert set(bench.align()) >= set(before)


# Positions that were told before the index had them


def test_what_was_told_keeps_its_position(bench: Bench) -> None:
    a, b = bench.logs.make("log-a"), bench.logs.make("log-b")
    bench.logs.grow(a, 2)
    before = bench.align()
    for _ in range(3):
        bench.logs.grow(a, 2)
        bench.logs.grow(b, 2)
    told = [Record(3, 1, 4, "log-b"), Record(7, 3, 3, "log-a")]
    bench.journal.append(told, 2)
    after = bench.align()
    assert after == before | {
        **{2 + n: ("log-b", n) for n in range(1, 5)},
        **{6 + n: ("log-a", 2 + n) for n in range(1, 4)},
        10: ("log-a", 6),
        11: ("log-a", 7),
        12: ("log-a", 8),
        13: ("log-b", 5),
        14: ("log-b", 6),
    }
    assert bench.journal.read() == []


def test_what_is_aligned_does_not_hang_on_the_log_of_the_index(bench: Bench) -> None:
    """Pages that failed to sync may be marked clean: they have to be written once more."""
    bench.logs.grow(bench.logs.make("a-log", TSV))
    before = bench.align()
    wal = bench.path.with_name(bench.path.name + "-wal")
    assert wal.stat().st_size == 0
    alone = Index(bench.path.with_name("alone.sqlite"))
    bench.path.with_name("alone.sqlite").write_bytes(bench.path.read_bytes())
    alone.open()
    assert order_of(alone, bench.logs) == before
    alone.close()


@pytest.mark.parametrize("sync", [True, False])
def test_the_journal_stays_as_long_as_the_index_hangs_on_its_log(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, sync: bool
) -> None:
    """It may be the only one that a power cut leaves; without syncing nothing is promised."""
    monkeypatch.setattr(index_module, "_BUSY_MILLISECONDS", 50)
    bench.journal.sync = sync
    a, b = bench.logs.make("log-a"), bench.logs.make("log-b")
    bench.logs.grow(a, 3)
    bench.logs.grow(b, 2)
    told = [Record(1, 1, 2, "log-b"), Record(3, 1, 1, "log-a")]
    bench.journal.append(told, 0)
    wanted = {1: ("log-b", 1), 2: ("log-b", 2), **{2 + n: ("log-a", n) for n in (1, 2, 3)}}
    reader = bench.index.reader()
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM runs").fetchall()
    if sync:
        with pytest.raises(OSError, match="stands in its log"):
            bench.align()
        assert bench.journal.read() == told
    else:
        assert bench.align() == wanted
    reader.close()
    assert bench.align() == wanted
    assert bench.journal.read() == []


def test_what_does_not_go_on_from_the_index_is_passed_over(bench: Bench) -> None:
    """It tells of another index: by now the order may be another."""
    a, b = bench.logs.make("log-a"), bench.logs.make("log-b")
    bench.logs.grow(a, 2)
    bench.logs.grow(b, 2)
    bench.journal.append([Record(2, 1, 2, "log-b"), Record(4, 1, 1, "log-a")], 0)
    order = bench.align()
    assert order == {1: ("log-a", 1), 2: ("log-a", 2), 3: ("log-b", 1), 4: ("log-b", 2)}
    assert bench.journal.read() == []


def test_what_the_index_has_and_what_comes_twice_is_passed_over(bench: Bench) -> None:
    a, b = bench.logs.make("log-a"), bench.logs.make("log-b")
    bench.logs.grow(a, 2)
    before = bench.align()
    bench.logs.grow(a)
    bench.logs.grow(b)
    bench.journal.append([Record(1, 1, 2, "log-a"), Record(3, 1, 1, "log-b")], 0)
    bench.journal.append([Record(3, 1, 1, "log-b"), Record(4, 3, 1, "log-a")], 0)
    assert bench.align() == before | {3: ("log-b", 1), 4: ("log-a", 3)}


def test_positions_of_what_is_gone_are_not_given_again(bench: Bench) -> None:
    a, b = bench.logs.make("log-a"), bench.logs.make("log-b")
    bench.logs.grow(a)
    bench.logs.grow(b)
    bench.journal.append([Record(1, 1, 3, "log-b"), Record(4, 1, 1, "log-c")], 0)
    assert bench.align() == {1: ("log-b", 1), 5: ("log-a", 1)}
    bench.logs.grow(b)
    assert bench.align() == {1: ("log-b", 1), 5: ("log-a", 1), 6: ("log-b", 2)}


def test_what_an_index_that_is_gone_told_is_kept(bench: Bench) -> None:
    a, b, c = (bench.logs.make(f"log-{name}") for name in "abc")
    for log in (a, b, c):
        bench.logs.grow(log, 3)
    records = [Record(1, 1, 2, "log-c"), Record(4, 1, 1, "log-b"), Record(5, 3, 1, "log-c")]
    records += [Record(6, 1, 2, "log-gone"), Record(8, 2, 1, "log-b")]
    bench.index.rescued = Rescued(records, 9)
    bench.journal.append([Record(10, 3, 1, "log-b"), Record(11, 1, 1, "log-a")], 0)
    told = {1: ("log-c", 1), 2: ("log-c", 2), 4: ("log-b", 1), 5: ("log-c", 3), 8: ("log-b", 2)}
    told |= {10: ("log-b", 3), 11: ("log-a", 1)}
    after = bench.align()
    assert after == told | {12: ("log-a", 2), 13: ("log-a", 3)}
    assert bench.index.rescued is None
    assert bench.align() == after


def test_what_it_told_is_kept_also_if_that_fails_half_way(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequencer_module, "HELD_BYTES", 1)
    a, b = bench.logs.make("log-a"), bench.logs.make("log-b")
    for log in (a, b):
        bench.logs.grow(log, 4)
    told = [Record(at + 1, at // 2 + 1, 1, f"log-{'ab'[(at + 1) % 2]}") for at in range(8)]
    bench.index.rescued = Rescued(told, 8)
    disk = FaultyDisk("pread", 2, errno.EIO)
    with pytest.raises(OSError, match="Input/output"):
        bench.align(disk=disk)
    assert 0 < bench.index.head() < 8
    after = bench.align()
    assert after == {at: (f"log-{'ab'[at % 2]}", (at + 1) // 2) for at in range(1, 9)}


def test_where_the_order_between_logs_is_a_guess_that_is_said(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    a, b = bench.logs.make("log-a"), bench.logs.make("log-b")
    bench.logs.grow(a, 2)
    bench.align()
    bench.logs.grow(a, 3)
    bench.align()
    bench.logs.grow(a)
    bench.logs.grow(b, 2)
    bench.journal.append([Record(6, 6, 1, "log-a")], 5)
    bench.align()  # the order follows from the one log's
    assert "had no position" not in caplog.text
    bench.logs.grow(a, 2)
    bench.logs.grow(b)
    bench.align()
    assert "3 events of 2 logs had no position: they get theirs in the order" in caplog.text


@pytest.mark.parametrize("number", range(2, 16))
def test_however_often_it_is_broken_off_what_was_told_keeps_its_position(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Each attempt fails at its n-th transaction, which may end in the midst of a record."""
    monkeypatch.setattr(sequencer_module, "HELD_BYTES", 200)
    monkeypatch.setattr(ordering, "LEAST_BYTES", 64)
    bench = Bench(tmp_path)
    a, b = bench.logs.make("log-a"), bench.logs.make("log-b", NDJSON)
    short = bench.logs.make("short")
    bench.logs.grow(a, 3)
    before = bench.align()
    for log, count in ((a, 20), (short, 4), (b, 30), (a, 7), (b, 5)):
        bench.logs.grow(log, count)
    told = [  # contrary to the times
        Record(4, 1, 30, "log-b"),
        Record(34, 1, 9, "short"),  # a power cut took five of them
        Record(43, 1, 6, "gone"),
        Record(49, 4, 20, "log-a"),
        Record(69, 31, 2, "log-b"),
    ]
    bench.journal.append(told, 3)
    real, left, failed = Index.add, 0, 0

    def add(index: Index, additions: Additions, **how: bool) -> None:
        nonlocal left, failed
        left -= 1
        if not left:
            failed += 1
            raise OSError(errno.ENOSPC, "no space")
        real(index, additions, **how)

    monkeypatch.setattr(Index, "add", add)
    for _ in range(100):
        left = number
        try:
            after = bench.align()
        except OSError:
            bench.restart()
        else:
            break
    assert failed > 1
    names = {log.name: log.version for log in bench.logs.all}
    wanted = before | {
        each.position + at: (each.log, each.revision + at)
        for each in told
        for at in range(each.count)
        if each.revision + at <= names.get(each.log, 0)
    }
    assert {at: after[at] for at in wanted} == wanted
    assert sorted(after.values()) == sorted(
        (name, n) for name, version in names.items() for n in range(1, version + 1)
    )
    assert min(set(after) - set(wanted)) == 71  # not where something was told that is gone
    assert bench.journal.read() == []


def test_left_off_at_any_moment_it_is_gone_on_with_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading, or adopting what was read: all that was told keeps its position."""
    monkeypatch.setattr(sequencer_module, "HELD_BYTES", 500)
    monkeypatch.setattr(ordering, "LEAST_BYTES", 256)
    bench = Bench(tmp_path)
    a, b = bench.logs.make("log-a"), bench.logs.make("log-b", NDJSON)
    bench.logs.grow(a, 3)
    before = bench.align()
    for log in (a, b, a, b):
        bench.logs.grow(log, 10)
    bench.journal.append([Record(4, 1, 15, "log-b"), Record(19, 4, 5, "log-a")], 3)
    wanted = before | {
        **{3 + n: ("log-b", n) for n in range(1, 16)},
        **{18 + n: ("log-a", 3 + n) for n in range(1, 6)},
    }
    real, left, moment = Reading.go_on, 0, 0

    def go_on(reading: Reading) -> None:
        nonlocal left
        left -= 1
        if not left:
            reading.abandoned = True
        real(reading)

    monkeypatch.setattr(Reading, "go_on", go_on)
    heads = set()
    while True:
        moment += 1
        left = moment
        try:
            after = bench.align()
        except OSError as error:
            assert error.errno == errno.ECANCELED  # noqa: PT017 - if there is one
            heads.add(bench.index.head())
            bench.restart()
        else:
            break
    assert moment > 5
    assert len(heads) > 2
    assert {at: after[at] for at in wanted} == wanted
    assert len(after) == 43


def test_what_was_read_before_it_is_left_off_waits_for_the_next(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be much, of many logs."""
    monkeypatch.setattr(sequencer_module, "HELD_BYTES", 500)
    a, b = bench.logs.make("log-a"), bench.logs.make("log-b")
    for _ in range(100):
        bench.logs.grow(a)
        bench.logs.grow(b)
    _, alignment = bench.parts(Disk())
    real = Index.add

    def add(index: Index, additions: Additions, **how: bool) -> None:
        alignment.reading.abandoned = True
        real(index, additions, **how)

    with monkeypatch.context() as patch:
        patch.setattr(Index, "add", add)
        with pytest.raises(OSError, match="cancel"):
            alignment.align([a, b], [Found(each, 100, each.length) for each in (a, b)], (), 0)
    assert 0 < bench.index.head() < 20
    bench.restart()
    assert len(bench.align()) == 200


def test_the_log_of_the_index_does_not_grow_as_long_as_it_is_aligned(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever closes the index soon would wait for what is in it."""
    monkeypatch.setattr(sequencer_module, "HELD_BYTES", 500)
    monkeypatch.setattr(ordering, "LEAST_BYTES", 256)
    monkeypatch.setattr(ordering, "MOST_BYTES", 256)
    monkeypatch.setattr(index_module, "LONG_BYTES", 100_000)
    bench.logs.grow(bench.logs.make("log-a"), 1000)
    wal = bench.path.with_name(bench.path.name + "-wal")
    real, longest = Index.add, 0

    def add(index: Index, additions: Additions, **how: bool) -> None:
        nonlocal longest
        real(index, additions, **how)
        longest = max(longest, wal.stat().st_size)

    monkeypatch.setattr(Index, "add", add)
    assert len(bench.align()) == 1000
    assert 100_000 < longest < 300_000


def test_a_journal_that_cannot_be_cleared_is_no_alignment(bench: Bench) -> None:
    """Else what it says might fit by chance one day."""
    bench.logs.grow(bench.logs.make("log-a"))
    bench.journal.append([Record(1, 1, 1, "log-a")], 0)
    bench.journal._disk = FaultyDisk("ftruncate", 1, 28)
    with pytest.raises(OSError, match="No space"):
        bench.align()
    assert bench.align() == {1: ("log-a", 1)}
