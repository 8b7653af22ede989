"""Log files as bytes, on disks that fail, under power cuts, and beside other writers."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.event import IdOrder
from hub.storage import logfile
from hub.storage.logfile import Disk, FileChanged, Reading, Unsynced
from hub.storage.recovery import Scan, scan
from tests.storage.disks import FAULTS, Appender, FaultyDisk, RecordingDisk

BEFORE = b"1\tt\tone\n2\tt\ttwo\n"
LINES = [b"3\tt\tthree\n4\tt\tfo", b"ur\n", b"5\tt\tfive\n"]
AFTER = BEFORE + b"".join(LINES)

Append = Callable[[Disk, Path], int]


def append_one(disk: Disk, path: Path, *, sync: bool = True) -> int:
    fd = logfile.open_for_append(disk, path)
    try:
        return logfile.append(disk, fd, len(BEFORE), b"".join(LINES), sync=sync)
    finally:
        logfile.close(disk, fd)


def append_group(disk: Disk, path: Path, *, sync: bool = True) -> int:
    fd = logfile.open_for_append(disk, path)
    try:
        return logfile.append_group(disk, fd, path, len(BEFORE), LINES, sync=sync)
    finally:
        logfile.close(disk, fd)


def outcome(
    append: Callable[..., int], disk: Disk, path: Path, *, sync: bool = True
) -> int | OSError | Unsynced | FileChanged:
    """What an append returns or raises."""
    try:
        return append(disk, path, sync=sync)
    except (OSError, Unsynced, FileChanged) as error:
        return error


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "log"
    path.write_bytes(BEFORE)
    return path


def scanned(path: Path) -> Scan:
    return scan(Disk(), path, Scan(0, 0, "", IdOrder()))


both = pytest.mark.parametrize("append", [append_one, append_group])


@both
@pytest.mark.parametrize("sync", [False, True])
def test_what_is_appended_stands_behind_what_was_there(
    append: Callable[..., int], path: Path, sync: bool
) -> None:
    assert append(Disk(), path, sync=sync) == len(AFTER)
    assert path.read_bytes() == AFTER


@both
@pytest.mark.parametrize("sync", [False, True])
@pytest.mark.parametrize(("call", "error"), FAULTS)
def test_a_fault_leaves_all_or_nothing(
    append: Callable[..., int], path: Path, sync: bool, call: str, error: int
) -> None:
    for number in count(1):
        path.write_bytes(BEFORE)
        disk = FaultyDisk(call, number, error)
        end = outcome(append, disk, path, sync=sync)
        if isinstance(end, int):
            assert end == len(AFTER)
            assert path.read_bytes() == AFTER
        else:
            assert path.read_bytes() == BEFORE
        if isinstance(end, OSError):
            assert end.errno == (error or errno.EIO)
            assert not (sync and call == "fdatasync")
        elif isinstance(end, Unsynced):
            assert end.cause.errno == error
            assert sync
        if not disk.fired:
            break
    assert number > 1 or call in ("fsync", "fstat", "pread", "fdatasync", "pwrite")


@both
@pytest.mark.parametrize("first", ["pwritev", "fdatasync", "pwrite"])
def test_when_the_cutting_back_fails_too_the_log_must_be_reopened(
    append: Append, path: Path, first: str
) -> None:
    disk = FaultyDisk(first, 1, errno.ENOSPC)

    def ftruncate(fd: int, length: int) -> None:
        raise OSError(errno.EIO, "no")

    setattr(disk, "ftruncate", ftruncate)  # noqa: B010
    uncut = False
    try:
        append(disk, path)
    except Unsynced as failure:
        uncut = failure.uncut
        logfile.reopen(Disk(), path, len(BEFORE), len(BEFORE))
        assert path.read_bytes() == BEFORE
    assert uncut == disk.fired


@pytest.mark.parametrize("fault", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_no_failed_sync(path: Path, fault: int) -> None:
    with pytest.raises(OSError, match=os.strerror(fault)):
        append_one(FaultyDisk("pwritev", 1, fault), path)


def test_a_failed_write_and_sync_in_one_call_counts_as_a_failed_sync(path: Path) -> None:
    with pytest.raises(Unsynced) as failure:
        append_one(FaultyDisk("pwritev", 1, errno.EIO), path)
    assert not failure.value.uncut
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        append_one(FaultyDisk("pwritev", 1, errno.EIO), path, sync=False)


def test_where_write_and_sync_are_not_one_call_they_are_two(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = os.pwritev, []

    def pwritev(fd: int, data: Any, at: int, flags: int) -> int:
        if flags:
            raise OSError(errno.EOPNOTSUPP, "no flags here")
        calls.append("write")
        return real(fd, data, at)

    monkeypatch.setattr(os, "pwritev", pwritev)
    monkeypatch.setattr(os, "fdatasync", lambda fd: calls.append("sync"))
    assert append_one(Disk(), path) == len(AFTER)
    assert path.read_bytes() == AFTER
    assert calls == ["write", "sync"]


# Power cuts


def after_a_power_cut(now: bytes, synced: bytes) -> Iterator[bytes]:
    """What a disk may hold: of what changed since the last sync any part, in any order."""
    yield synced
    yield now
    for length in range(len(synced), len(now) + 1):
        yield now[:length]
        yield synced + bytes(length - len(synced))  # the length got there, the bytes did not
        yield now[: len(synced)] + bytes(length - len(synced))
        hole = len(synced) + (length - len(synced)) // 2
        yield now[: len(synced)] + bytes(hole - len(synced)) + now[hole:length]
        yield now[:hole] + bytes(length - hole) + now[length:]


@pytest.mark.parametrize("first", [b"", BEFORE])
def test_after_a_power_cut_at_any_step_a_group_is_whole_or_absent(
    tmp_path: Path, first: bytes
) -> None:
    path, copy = tmp_path / "log", tmp_path / "copy"
    path.write_bytes(first)
    disk = RecordingDisk(path)
    fd = logfile.open_for_append(disk, path)
    end = logfile.append_group(disk, fd, path, len(first), LINES, sync=True)
    os.close(fd)
    after = first + b"".join(LINES)
    assert disk.synced == after == path.read_bytes()
    assert end == len(after)
    assert len(disk.states) > 6
    seen = set()
    for now, synced in disk.states:
        for content in after_a_power_cut(now, synced):
            copy.write_bytes(content)
            found = scanned(copy)
            sound = content[: found.length]
            assert sound in (first, after)
            assert found.damage is None or found.zeroed
            seen.add(sound)
        # A crash of the process alone loses nothing that was written.
        copy.write_bytes(now)
        assert scanned(copy).damage is None
    assert seen == {first, after}


def test_an_append_that_returned_survives_a_power_cut(path: Path) -> None:
    disk = RecordingDisk(path)
    append_one(disk, path)
    assert disk.synced == AFTER


class FailingOnce(RecordingDisk):
    """Its n-th sync fails."""

    def __init__(self, path: Path, number: int) -> None:
        super().__init__(path)
        self.left = number

    def fdatasync(self, fd: Any) -> None:
        self.left -= 1
        if not self.left:
            raise OSError(errno.EIO, "no")
        super().fdatasync(fd)


def test_what_was_refused_does_not_come_back_after_a_power_cut(path: Path) -> None:
    """A refused write is cut off on the disk too, where the disk still does what it is told."""
    for number in (1, 2):
        path.write_bytes(BEFORE)
        disk = FailingOnce(path, number)
        assert isinstance(outcome(append_group, disk, path), Unsynced)
        assert disk.synced == BEFORE


# Other writers


@both
@pytest.mark.parametrize("before", [False, True])
def test_lines_that_somebody_appends_meanwhile_are_kept(
    append: Append, path: Path, before: bool
) -> None:
    theirs = b"9\tt\ttheirs\n"
    for number in range(1, 5):
        path.write_bytes(BEFORE)
        end = outcome(append, Appender(path, number, theirs, before=before), path)
        if isinstance(end, FileChanged):
            assert path.read_bytes() == BEFORE + theirs
            assert end.size == len(BEFORE + theirs)
        else:  # theirs came last, and is found at the next write
            assert end == len(AFTER)
            assert path.read_bytes() in (AFTER, AFTER + theirs)


@both
@pytest.mark.parametrize("length", [0, 5, len(BEFORE) - 1])
def test_a_file_that_was_cut_shorter_is_told(append: Append, path: Path, length: int) -> None:
    os.truncate(path, length)
    with pytest.raises(FileChanged) as change:
        append(Disk(), path)
    assert change.value.size == length
    assert path.read_bytes() == BEFORE[:length]


# Reopening


def test_reopening_cuts_and_writes_again_what_may_not_be_on_disk(path: Path) -> None:
    path.write_bytes(AFTER + b"rest that nobody was promised")
    disk = RecordingDisk(path)
    logfile.reopen(disk, path, len(BEFORE), len(AFTER))
    assert path.read_bytes() == disk.synced == AFTER


def test_reopening_leaves_what_is_somebody_elses(path: Path) -> None:
    path.write_bytes(AFTER + b"by hand")
    logfile.reopen(Disk(), path, len(BEFORE), len(AFTER), uncut=False)
    assert path.read_bytes() == AFTER + b"by hand"


@pytest.mark.parametrize(("synced", "names"), [(0, 1), (1, 0)])
def test_reopening_a_log_of_which_nothing_was_on_disk_syncs_its_name(
    path: Path, synced: int, names: int
) -> None:
    calls: list[str] = []

    class Watching(Disk):
        def fsync(self, fd: Any) -> None:
            calls.append(os.readlink(f"/proc/self/fd/{fd}"))

    logfile.reopen(Watching(), path, synced, len(BEFORE))
    assert calls == [str(path.parent)] * names


@given(
    st.integers(0, 3 * 4096).flatmap(lambda good: st.tuples(st.integers(0, good), st.just(good)))
)
def test_reopening_writes_all_from_the_last_synced_byte_on(lengths: tuple[int, int]) -> None:
    synced, good = lengths
    content = os.urandom(good)
    written: list[tuple[int, int]] = []

    class Memory(Disk):
        def open(self, *_: Any, **__: Any) -> int:
            return os.memfd_create("log")

        def fstat(self, fd: Any) -> os.stat_result:
            os.write(fd, content)
            return os.fstat(fd)

        def pwrite(self, fd: Any, data: Any, at: int) -> int:
            written.append((at, at + len(data)))
            return os.pwrite(fd, data, at)

    logfile.reopen(Memory(), Path("log"), synced, good)
    assert not good or (written[0][0] <= max(0, synced - 1) and written[-1][1] == good)


@pytest.mark.parametrize("call", ["open", "fstat", "ftruncate", "pread", "pwrite", "fdatasync"])
def test_reopening_tells_that_the_disk_still_fails(path: Path, call: str) -> None:
    for number in count(1):
        disk = FaultyDisk(call, number, errno.EIO)
        if number > 1 and not _reopen_fails(disk, path):
            break
        assert path.read_bytes() == BEFORE
    assert number > 1
    assert not disk.fired


def _reopen_fails(disk: FaultyDisk, path: Path) -> bool:
    try:
        logfile.reopen(disk, path, 0, len(BEFORE))
    except OSError:
        return True
    return False


def test_reopening_finds_a_disk_that_forgets(path: Path) -> None:
    class Forgetful(Disk):
        reads = 0

        def pread(self, fd: Any, size: int, at: int) -> bytes:
            self.reads += 1
            return os.pread(fd, size, at) if self.reads == 1 else bytes(size)

    with pytest.raises(OSError, match="does not give back"):
        logfile.reopen(Forgetful(), path, 0, len(BEFORE))


def test_reopening_a_file_that_lost_bytes_is_refused(path: Path) -> None:
    with pytest.raises(OSError, match="were acknowledged"):
        logfile.reopen(Disk(), path, 0, len(BEFORE) + 1)


# The rest


def test_a_new_file_is_in_its_directory_for_good(tmp_path: Path) -> None:
    synced: list[str] = []

    class Watching(Disk):
        def fsync(self, fd: Any) -> None:
            synced.append(os.readlink(f"/proc/self/fd/{fd}"))
            os.fsync(fd)

    os.close(logfile.open_for_append(Watching(), tmp_path / "new", new=True, sync=True))
    assert synced == [str(tmp_path)]
    os.close(logfile.open_for_append(Watching(), tmp_path / "other", new=True))
    assert len(synced) == 1
    logfile.sync(Watching(), tmp_path / "other", new=True)
    assert synced == [str(tmp_path)] * 2
    assert (tmp_path / "new").read_bytes() == b""


def test_making_a_log_leaves_one_that_is_there(path: Path) -> None:
    os.close(logfile.open_for_append(Disk(), path, new=True, sync=True))
    assert path.read_bytes() == BEFORE


def test_a_new_file_whose_entry_cannot_be_synced_is_not_left_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="error"):
        logfile.open_for_append(
            FaultyDisk("fsync", 1, errno.EIO), tmp_path / "new", new=True, sync=True
        )
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("before", [None, b"", BEFORE])
def test_a_new_file_whose_entry_cannot_be_synced_is_taken_away_if_it_is_ours(
    tmp_path: Path, before: bytes | None
) -> None:
    path = tmp_path / "new"
    if before is not None:
        path.write_bytes(before)
    disk = FaultyDisk("fsync", 1, errno.EIO)
    with pytest.raises(OSError, match="error"):
        logfile.open_for_append(disk, path, new=True, sync=True)
    assert (path.read_bytes() if path.exists() else None) == before


def test_lines_that_came_into_a_new_file_meanwhile_stay(tmp_path: Path) -> None:
    class Busy(Disk):
        def fsync(self, fd: Any) -> None:
            (tmp_path / "new").write_bytes(BEFORE)
            raise OSError(errno.EIO, "input/output error")

    with pytest.raises(OSError, match="error"):
        logfile.open_for_append(Busy(), tmp_path / "new", new=True, sync=True)
    assert (tmp_path / "new").read_bytes() == BEFORE


@both
def test_no_descriptor_is_left_open(append: Append, path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for call, error in FAULTS:
        for number in range(1, 5):
            path.write_bytes(BEFORE)
            if call != "close":
                outcome(append, FaultyDisk(call, number, error), path)
    assert len(os.listdir("/proc/self/fd")) == before


def test_cutting_tells_how_much_went(path: Path) -> None:
    assert logfile.cut(Disk(), path, len(BEFORE) - 5) == 5
    assert path.read_bytes() == BEFORE[:-5]


def test_reading_that_is_abandoned_ends_and_closes(path: Path) -> None:
    path.write_bytes(b"some text")
    reading = Reading(Disk())
    before = len(os.listdir("/proc/self/fd"))
    with logfile.opened(reading, path, os.O_RDONLY) as fd:
        assert reading.pread(fd, 4, 5) == b"text"
        reading.go_on()
        reading.abandoned = True
        with pytest.raises(OSError, match="cancel"):
            reading.pread(fd, 4, 5)
        with pytest.raises(OSError, match="cancel"):
            reading.go_on()
    assert len(os.listdir("/proc/self/fd")) == before
