"""Finding logs: each case of a file that is, or is not, what the index knows."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path

import pytest
from msgspec import structs

from hub.event import IdOrder, file_name
from hub.formats import NDJSON, TSV
from hub.storage import opening as module
from hub.storage.index import Entry
from hub.storage.log import Log
from hub.storage.logfile import Disk
from hub.storage.opening import Opening, format_of
from hub.storage.recovery import Scan, scan
from tests import documents
from tests.storage.disks import FaultyDisk
from tests.storage.logs import Logs

FORMS = [TSV, NDJSON]
NAME = "a-log"
Known = dict[tuple[str, str], Entry]


class ReadCounter(Disk):
    """Counts the bytes that are read."""

    def __init__(self) -> None:
        self.bytes = 0

    def pread(self, fd: int, size: int, at: int) -> bytes:
        data = Disk.pread(fd, size, at)
        self.bytes += len(data)
        return data


class Bench:
    """A directory of logs, and what the index may know of them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "events"
        self.torn = directory / "torn"
        self.logs = Logs(self.directory)

    def make(self, form: str, count: int = 5, name: str = NAME) -> Path:
        log = self.logs.make(name, form)
        for _ in range(count):
            self.logs.grow(log)
        return self.logs.path(log)

    def entry(self, path: Path, number: int = 7) -> Entry:
        """The row of a log that is saved now."""
        form = path.suffix[1:]
        found = scan(Disk(), path, Scan(0, 0, "", IdOrder()), None, form)
        stat = path.stat()
        order = found.order
        return Entry(
            number,
            path.stem,
            form,
            stat.st_size,
            stat.st_mtime_ns,
            found.version,
            found.last_id,
            order.clock,
            order.ordered,
        )

    def open(self, *entries: Entry, disk: Disk | None = None) -> Opening:
        opening = Opening(self.directory, self.torn, disk or Disk())
        self.known: Known = {(each.name, each.format): each for each in entries}
        opening.find(self.known)
        return opening

    def one(self, *entries: Entry, disk: Disk | None = None) -> tuple[Log, int | None]:
        """The one log that is found, and how many bytes of it were trusted if it changed."""
        opening = self.open(*entries, disk=disk)
        (log,) = opening.logs.values()
        return log, opening.changed.get(log)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def touch(path: Path) -> None:
    os.utime(path, (1, 1))


@pytest.mark.parametrize("form", FORMS)
def test_a_new_file_is_read(bench: Bench, form: str) -> None:
    path = bench.make(form)
    log, trusted = bench.one()
    assert (log.name, log.format, log.made, log.number) == (NAME, form, True, 0)
    assert (log.version, log.length, log.damage) == (5, path.stat().st_size, None)
    assert (trusted, log.synced) == (0, 0)
    assert log.order.ordered


@pytest.mark.parametrize("form", FORMS)
def test_what_the_index_knows_is_not_read(bench: Bench, form: str) -> None:
    path = bench.make(form)
    entry = bench.entry(path)
    disk = ReadCounter()
    log, trusted = bench.one(entry, disk=disk)
    assert (disk.bytes, trusted) == (0, None)
    assert (log.version, log.length, log.number) == (5, entry.length, 7)
    assert (log.last_id, log.synced, log.order.clock) == (
        entry.last_id,
        entry.length,
        entry.clock,
    )
    assert bench.known == {}


@pytest.mark.parametrize("form", FORMS)
def test_only_what_is_new_is_read(bench: Bench, form: str) -> None:
    path = bench.make(form, 8000)
    entry = bench.entry(path)
    bench.logs.grow(bench.logs.all[0], 3)
    disk = ReadCounter()
    log, trusted = bench.one(entry, disk=disk)
    assert disk.bytes < entry.length
    assert (log.version, trusted, log.synced) == (8003, entry.length, entry.length)
    assert log.length == path.stat().st_size


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("how", ["touched", "shorter", "another", "behind another", "emptied"])
def test_a_file_that_is_another_is_read_whole_and_nothing_trusted(
    bench: Bench, form: str, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = bench.make(form)
    entry = bench.entry(path)
    text = path.read_bytes()
    lines = text.split(b"\n")
    if how == "touched":
        touch(path)
    elif how == "shorter":
        path.write_bytes(b"\n".join(lines[:3]) + b"\n")
    elif how == "emptied":
        path.write_bytes(b"")
    else:
        path.write_bytes(b"")
        log = bench.logs.all[0]
        log.version = log.length = 0
        bench.logs.grow(log, 9 if how == "behind another" else 4, size=7)
    log, trusted = bench.one(entry)
    assert trusted == log.synced == 0
    versions = {"touched": 5, "shorter": 3, "another": 4, "behind another": 9, "emptied": 0}
    assert log.version == versions[how]
    assert (log.number, log.damage) == (7, None)
    assert log.length == path.stat().st_size
    lost = f"bytes, but {len(text)} had been written"
    assert (lost in caplog.text) is (path.stat().st_size < len(text))


def test_a_log_of_which_only_the_number_is_known_is_read(bench: Bench) -> None:
    """So the index has it until it is saved for the first time."""
    path = bench.make(TSV)
    new = Entry(7, NAME, TSV, 0, 0, 0, "", 0, True)
    log, trusted = bench.one(new)
    assert (log.version, trusted, log.number) == (5, 0, 7)
    path.write_bytes(b"")
    log, trusted = bench.one(new)
    assert (log.version, trusted) == (0, 0)  # what has positions must be looked at


def test_what_is_known_of_others_is_left(bench: Bench) -> None:
    path = bench.make(TSV)
    gone = Entry(9, "gone", TSV, 5, 5, 1, "1", 0, True)
    log, _ = bench.one(bench.entry(path), gone)
    assert log.number == 7
    assert bench.known == {("gone", TSV): gone}


# Two files


@pytest.mark.parametrize(
    ("known", "chosen"), [((), TSV), ((TSV,), TSV), ((NDJSON,), NDJSON), ((TSV, NDJSON), TSV)]
)
def test_of_two_files_the_known_one_is_the_log(
    bench: Bench, known: tuple[str, ...], chosen: str, caplog: pytest.LogCaptureFixture
) -> None:
    paths = {form: bench.make(form, 3 if form == TSV else 4) for form in FORMS}
    before = {form: path.read_bytes() for form, path in paths.items()}
    log, _ = bench.one(*(bench.entry(paths[form], number) for number, form in enumerate(known, 7)))
    assert (log.format, log.version) == (chosen, 3 if chosen == TSV else 4)
    other = NDJSON if chosen == TSV else TSV
    assert f"{paths[other]} is passed over: {NAME}.{chosen} has this name" in caplog.text
    assert {form: path.read_bytes() for form, path in paths.items()} == before


@pytest.mark.parametrize("known", [(), (TSV,), (NDJSON,), (TSV, NDJSON)])
@pytest.mark.parametrize("full", FORMS)
def test_of_an_empty_and_another_file_the_other_is_the_log(
    bench: Bench, known: tuple[str, ...], full: str
) -> None:
    """Whatever the index knows of them: in the other there may be what was acknowledged."""
    paths = {form: bench.make(form, 3 if form == full else 0) for form in FORMS}
    log, _ = bench.one(*(bench.entry(paths[form], number) for number, form in enumerate(known, 7)))
    assert (log.format, log.version) == (full, 3)


def test_a_file_that_lost_its_events_is_not_replaced_by_another(bench: Bench) -> None:
    paths = {form: bench.make(form, 3) for form in FORMS}
    entry = bench.entry(paths[NDJSON])
    paths[NDJSON].write_bytes(b"")
    log, _ = bench.one(entry)
    assert log.format == NDJSON


def test_a_directory_is_no_file(bench: Bench) -> None:
    bench.make(NDJSON, 3)
    (bench.directory / f"{NAME}.{TSV}").mkdir()
    log, _ = bench.one()
    assert (log.format, log.version) == (NDJSON, 3)
    assert format_of(bench.directory, NAME, TSV) == NDJSON
    assert format_of(bench.directory, "other", TSV) == TSV
    assert format_of(bench.directory, "other", NDJSON) == NDJSON


def test_names_are_encoded(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("orders/1", "a:b@c~d+e=f-g#h.i"):
        bench.make(NDJSON, 2, name)
    (bench.directory / "a%2fb.ndjson").write_bytes(b"")  # it must be %2F
    (bench.directory / "a.b").write_text("no log")
    opening = bench.open()
    assert {name: log.version for name, log in opening.logs.items()} == {
        "orders/1": 2,
        "a:b@c~d+e=f-g#h.i": 2,
    }
    assert caplog.text.count("is not the file of a log") == 1


# What a crash leaves


def test_a_torn_commit_vanishes_whole_wherever_it_is_torn(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    path = bench.make(NDJSON, 3)
    sound = path.read_bytes()
    commit = documents.commit(NAME, 3, b'{"type":"A"}', b'{"type":"B","x":"\xc3\xa4"}', b"{}")
    for cut in range(1, len(commit)):
        path.write_bytes(sound + commit[:cut])
        caplog.clear()
        log, _ = bench.one()
        assert (log.version, log.damage) == (3, None), cut
        assert path.read_bytes() == sound
        told = f"cut off a torn write that was never acknowledged: {cut} bytes at offset"
        assert f"{told} {len(sound)}" in caplog.text
        kept = bench.torn / f"{path.name}-{len(sound)}"
        assert kept.read_bytes() == commit[:cut]
    path.write_bytes(sound + commit)
    log, _ = bench.one()
    assert log.version == 6


def test_the_whole_commits_before_a_torn_one_stay(bench: Bench) -> None:
    """They were written in one group with it; nobody was told of any of them."""
    path = bench.make(NDJSON, 3)
    entry = bench.entry(path)
    whole = documents.commit(NAME, 3, b"{}", b"{}")
    torn = documents.commit(NAME, 5, b"{}", b"{}")
    with open(path, "ab") as file:
        file.write(whole + torn[:-10])
    log, trusted = bench.one(entry)
    assert (log.version, trusted) == (5, entry.length)
    assert path.stat().st_size == entry.length + len(whole)


@pytest.mark.parametrize("form", FORMS)
def test_an_unfinished_group_is_cut_whole(bench: Bench, form: str) -> None:
    path = bench.make(form, 3)
    sound = path.read_bytes()
    path.write_bytes(sound + b"\0" + sound[1:])
    log, _ = bench.one()
    assert (log.version, path.read_bytes()) == (3, sound)


@pytest.mark.parametrize("form", FORMS)
def test_what_was_promised_is_never_cut_off(bench: Bench, form: str) -> None:
    path = bench.make(form)
    entry = bench.entry(path)
    text = path.read_bytes()
    for broken in (text[:-1] + b"x", text[:-1] + b"\0"):
        path.write_bytes(broken)
        touch(path)
        log, trusted = bench.one(entry)
        assert (log.damage or "").startswith("line 5: ")
        assert (log.version, trusted) == (4, 0)
        assert path.read_bytes() == broken


@pytest.mark.parametrize("form", FORMS)
def test_damage_is_told_and_what_is_before_it_is_there(
    bench: Bench, form: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = bench.make(form)
    text = path.read_bytes()
    path.write_bytes(text + b"no event at all\n" + text)
    log, _ = bench.one()
    assert (log.damage or "").startswith("line 6: ")
    assert (log.version, log.length) == (5, len(text))
    assert f"{path} takes no writes: line 6" in caplog.text


def test_a_block_that_a_power_cut_kept_from_the_disk_is_cut_off(bench: Bench) -> None:
    path = bench.make(TSV)
    entry = bench.entry(path)
    text = path.read_bytes()
    path.write_bytes(text + b"2026\tt\tda" + bytes(100) + b"\n2026\tt\tlater\n")
    log, _ = bench.one(entry)
    assert (log.damage, path.read_bytes()) == (None, text)


@pytest.mark.parametrize("form", FORMS)
def test_a_block_that_a_power_cut_kept_of_a_log_just_made_is_cut_off(
    bench: Bench, form: str
) -> None:
    """Of the log the index knows the number and nothing else: it is younger than a saving."""
    path = bench.make(form)
    entry = structs.replace(bench.entry(path), length=0, version=0, last_id="", modified=0)
    whole = path.read_bytes()
    path.write_bytes(whole + bytes(512) + whole)
    log, _ = bench.one(entry)
    assert (log.damage, path.read_bytes()) == (None, whole)
    path.write_bytes(whole + bytes(512) + whole)
    log, _ = bench.one()  # of a log that nobody knows nothing is cut
    assert log.damage == "line 6: it begins with NULs"
    assert path.read_bytes() != whole


@pytest.mark.parametrize("call", ["open", "fstat", "pread"])
def test_a_file_that_cannot_be_read_stops_no_other(bench: Bench, call: str) -> None:
    bench.make(TSV, 3, "one-log")
    bench.make(TSV, 3, "other-log")
    opening = bench.open(disk=FaultyDisk(call, 1, errno.EIO))
    damaged = [log for log in opening.logs.values() if log.damage]
    assert [log.damage for log in damaged] == [
        "its file cannot be read or mended: Input/output error"
    ]
    assert sorted(log.version for log in opening.logs.values()) == [0, 3]


def test_when_the_end_cannot_be_compared_all_is_read(bench: Bench) -> None:
    path = bench.make(TSV)
    entry = bench.entry(path)
    bench.logs.grow(bench.logs.all[0])
    log, trusted = bench.one(entry, disk=FaultyDisk("open", 1, errno.EMFILE))
    assert (log.version, log.damage, trusted) == (6, None, 0)


def test_what_is_cut_off_need_not_be_kept(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    path = bench.make(TSV)
    text = path.read_bytes()
    path.write_bytes(text + b"torn")
    bench.torn.write_text("in the way")
    log, _ = bench.one()
    assert (log.version, path.read_bytes()) == (5, text)
    assert "could not keep what is cut off" in caplog.text


def test_a_long_reading_tells_how_far_it_is(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(module, "PROGRESS_INTERVAL", 0)
    bench.make(TSV)
    bench.one()
    assert f"log {NAME}: reading it again, 100 %" in caplog.text


def test_every_file_name_of_a_log_is_found(bench: Bench) -> None:
    assert file_name("a.b", TSV) == "a.b.tsv"
    bench.make(TSV, 1, "a.b")
    assert list(bench.open().logs) == ["a.b"]
