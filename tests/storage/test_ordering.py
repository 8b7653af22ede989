"""The order of time over logs, held against a naive merge."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.event import id_at, time_of
from hub.formats import NDJSON, TSV
from hub.storage import ordering
from hub.storage.journal import Record
from hub.storage.log import Log
from hub.storage.logfile import Disk
from hub.storage.ordering import Stretch, Tail, as_told, in_time_order
from tests import documents
from tests.storage.logs import BASE, Logs

IDS = ["no-time", "", *(id_at(BASE + n) for n in range(5))]
OTHER_TIMES = ["2027-01-15T09:00:00+01:00", "2027-01-15", "1969-01-01", "9999-12-31T23:59:59Z"]


def grow(logs: Logs, log: Log, ids: list[str], size: int) -> None:
    """Append events with these ids; in a log of documents, as one commit that begins so."""
    filling = "x" * size
    if log.format == TSV:
        lines = "".join(f"{each or '-'}\tt\t{filling}\n" for each in ids).encode()
    else:
        lines = b"".join(
            documents.written(
                log.name,
                each or "-",
                {"x": filling},
                commitVersion=at,
                commitSize=len(ids),
                commitId=f"c{log.version}",
                streamVersion=log.version + at,
            )
            for at, each in enumerate(ids)
        )
    logs.append(log, lines)


def naive(groups: list[tuple[Log, list[str]]]) -> list[tuple[str, int]]:
    """The order as it is defined: each event's time is the highest of its log up to it.

    Of a commit only its first event's counts. Equal times go by the log's name.
    """
    now: dict[str, str] = {}
    version: dict[str, int] = {}
    keyed: list[tuple[str, str, int]] = []
    for log, ids in groups:
        for at, each in enumerate(ids):
            moment = time_of(each) if log.format == TSV or not at else None
            when = "" if moment is None or moment < 0 else id_at(moment)
            now[log.name] = max(now.get(log.name, ""), when)
            version[log.name] = version.get(log.name, 0) + 1
            keyed.append((now[log.name], log.name, version[log.name]))
    return [(name, revision) for _, name, revision in sorted(keyed)]


def flat(stretches: list[Stretch]) -> list[tuple[str, int]]:
    return [(each.log.name, each.revision + at) for each in stretches for at in range(each.count)]


groups_of_ids = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.lists(st.sampled_from(IDS + OTHER_TIMES), min_size=1, max_size=5),
        st.sampled_from([0, 30, 200]),
    ),
    max_size=30,
)


@given(groups_of_ids, st.sampled_from([60, 300, 4096]))
@settings(max_examples=150)
def test_it_is_that_of_a_naive_merge(
    tmp_path_factory: pytest.TempPathFactory,
    wanted: list[tuple[int, list[str], int]],
    least: int,
) -> None:
    logs = Logs(tmp_path_factory.mktemp("logs"))
    made = [logs.make(f"log-{n}", NDJSON if n % 2 else TSV) for n in range(4)]
    groups = [(made[which], ids) for which, ids, _ in wanted]
    for which, ids, size in wanted:
        grow(logs, made[which], ids, size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ordering, "LEAST_BYTES", least)
        patch.setattr(ordering, "HELD_BYTES", 0)
        tails = [Tail(log, logs.path(log), 1, 0, log.length) for log in made]
        found = list(in_time_order(Disk(), tails))
    assert flat(found) == naive(groups)
    for each in found:
        data = logs.path(each.log).read_bytes()
        assert data[each.start : each.start + len(each.lines)] == each.lines
        assert each.lines.count(b"\n") == each.count


@given(groups_of_ids, st.data())
@settings(max_examples=50)
def test_a_tail_begins_and_ends_where_it_is_told(
    tmp_path_factory: pytest.TempPathFactory,
    wanted: list[tuple[int, list[str], int]],
    data: st.DataObject,
) -> None:
    logs = Logs(tmp_path_factory.mktemp("logs"))
    made = [logs.make(f"log-{n}") for n in range(4)]
    for which, ids, size in wanted:
        grow(logs, made[which], ids, size)
    tails, left = [], []
    for log in made:
        places = [0]
        for line in logs.path(log).read_bytes().split(b"\n")[:-1]:
            places.append(places[-1] + len(line) + 1)
        first = data.draw(st.integers(0, log.version))
        last = data.draw(st.integers(first, log.version))
        tails.append(Tail(log, logs.path(log), first + 1, places[first], places[last]))
        left += [(log.name, revision) for revision in range(first + 1, last + 1)]
    assert sorted(flat(list(in_time_order(Disk(), tails)))) == left


def test_a_commit_stays_together_however_large(tmp_path: Path) -> None:
    """It is read in many pieces, and another log has an event of the same time."""
    logs = Logs(tmp_path / "logs")
    a, z = logs.make("a-log"), logs.make("z-log", NDJSON)
    grow(logs, z, [id_at(BASE)] * 2000, 100)
    grow(logs, a, [id_at(BASE)], 0)
    grow(logs, a, [id_at(BASE + 1)], 0)
    tails = [Tail(log, logs.path(log), 1, 0, log.length) for log in (z, a)]
    assert logs.path(z).stat().st_size > ordering.MOST_BYTES
    found = flat(list(in_time_order(Disk(), tails)))
    assert found == [("a-log", 1), *(("z-log", n) for n in range(1, 2001)), ("a-log", 2)]
    later = Tail(a, logs.path(a), 2, len(f"{IDS[-1]}\tt\t\n"), a.length)
    found = flat(list(in_time_order(Disk(), [Tail(z, logs.path(z), 1, 0, z.length), later])))
    assert found == [*(("z-log", n) for n in range(1, 2001)), ("a-log", 2)]


def test_what_was_in_time_order_stays_so(tmp_path: Path) -> None:
    """Long stretches of one log are taken at once."""
    logs = Logs(tmp_path / "logs")
    a, b = logs.make("log-a"), logs.make("log-b")
    for log in (a, b, a):
        logs.grow(log, 1000)
    tails = [Tail(log, logs.path(log), 1, 0, log.length) for log in (b, a)]
    found = list(in_time_order(Disk(), tails))
    assert [each.log.name for each in found] == ["log-a", "log-b", "log-a"]
    assert [each.count for each in found] == [1000] * 3


def test_no_tails_no_events() -> None:
    assert list(in_time_order(Disk(), [])) == []


def test_a_file_that_is_shorter_is_an_error(tmp_path: Path) -> None:
    logs = Logs(tmp_path / "logs")
    log = logs.make("log-a")
    logs.grow(log, 3)
    path = logs.path(log)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(OSError, match="ends before byte"):
        list(in_time_order(Disk(), [Tail(log, path, 1, 0, log.length)]))


def test_many_logs_are_not_held_in_memory(tmp_path: Path) -> None:
    """So much of each is read ahead that all together do not pass the bound."""

    class Watching(Disk):
        most = 0

        def pread(self, fd: int, size: int, at: int) -> bytes:
            self.most = max(self.most, size)
            return Disk.pread(fd, size, at)

    logs = Logs(tmp_path / "logs")
    made = [logs.make(f"log-{n:04}") for n in range(300)]
    for log in made:
        logs.grow(log, 20, size=20_000)
    disk = Watching()
    tails = [Tail(log, logs.path(log), 1, 0, log.length) for log in made]
    assert sum(each.count for each in in_time_order(disk, tails)) == 6000
    assert disk.most <= ordering.HELD_BYTES // 300


# The order that was told


def tail_of(logs: Logs, log: Log) -> Tail:
    return Tail(log, logs.path(log), 1, 0, log.length)


def ids_of(logs: Logs, log: Log) -> list[str]:
    lines = logs.path(log).read_text().split("\n")[:-1]
    if log.format == TSV:
        return [line.partition("\t")[0] for line in lines]
    return [json.loads(line)["metadata"]["id"] for line in lines]


def revisions(stretches: list[Stretch]) -> dict[int, tuple[str, int]]:
    return {
        each.position + at: (each.log.name, each.revision + at)
        for each in stretches
        for at in range(each.count)
    }


@pytest.mark.parametrize("form", [TSV, NDJSON])
@pytest.mark.parametrize("least", [64, 4096])
def test_what_was_told_comes_at_its_position_and_the_rest_by_time(
    tmp_path: Path, form: str, least: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ordering, "LEAST_BYTES", least)
    logs = Logs(tmp_path / "events")
    a, b = logs.make("log-a", form), logs.make("log-b", form)
    for _ in range(4):
        logs.grow(a, 3)
        logs.grow(b, 2)
    tails = {log.name: tail_of(logs, log) for log in (a, b)}
    records = [Record(5, 1, 4, "log-b"), Record(9, 1, 7, "log-a"), Record(16, 5, 1, "log-b")]
    told = list(as_told(Disk(), tails, records))
    assert revisions(told) == {
        **{4 + n: ("log-b", n) for n in range(1, 5)},
        **{8 + n: ("log-a", n) for n in range(1, 8)},
        16: ("log-b", 5),
    }
    rest = list(in_time_order(Disk(), tails.values()))
    assert [each.position for each in rest] == [0] * len(rest)
    for log in (a, b):
        own = [each for each in told + rest if each.log is log]
        assert b"".join(each.lines for each in own) == logs.path(log).read_bytes()
        assert [each.start for each in own] == [
            sum(len(other.lines) for other in own[:at]) for at in range(len(own))
        ]
    by_time = [(each.log.name, each.revision + at) for each in rest for at in range(each.count)]
    at_times = naive([(log, [each]) for log in (a, b) for each in ids_of(logs, log)])
    assert by_time == [each for each in at_times if each[1] > (7 if each[0] == "log-a" else 5)]


def test_what_a_log_lacks_leaves_its_positions_free(tmp_path: Path) -> None:
    logs = Logs(tmp_path / "events")
    a, b = logs.make("log-a"), logs.make("log-b")
    logs.grow(a, 3)
    logs.grow(b, 3)
    tails = {log.name: tail_of(logs, log) for log in (a, b)}
    records = [
        Record(1, 1, 2, "log-gone"),
        Record(3, 1, 5, "log-a"),  # two too many
        Record(8, 2, 1, "log-b"),  # not the one that comes next
        Record(9, 1, 2, "log-b"),
    ]
    assert revisions(list(as_told(Disk(), tails, records))) == {
        **{2 + n: ("log-a", n) for n in (1, 2, 3)},
        **{8 + n: ("log-b", n) for n in (1, 2)},
    }
