"""What is sound, torn or damaged in a file that was cut, flipped or zeroed at any place."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.event import IdOrder, id_at
from hub.storage import recovery
from hub.storage.logfile import Disk
from hub.storage.recovery import Scan, scan
from tests.storage.disks import FaultyDisk

BASE = 1_800_000_000_000_000
LINES = [f"{id_at(BASE + n)}\ttype{n}\t{'data ' * n}ä\n".encode() for n in range(9)]
LOG = b"".join(LINES)
PLACES = [len(b"".join(LINES[:n])) for n in range(len(LINES) + 1)]


def begin() -> Scan:
    return Scan(0, 0, "", IdOrder())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log"


def scanned(path: Path, content: bytes) -> Scan:
    path.write_bytes(content)
    found = scan(Disk(), path, begin())
    assert found.length in PLACES
    assert content[: found.length] == LOG[: found.length] or content not in LOG
    assert found.version == content[: found.length].count(b"\n")
    assert found.damage or found.length + found.torn == len(content)
    return found


def test_a_sound_log(path: Path) -> None:
    found = scanned(path, LOG)
    assert (found.length, found.version, found.torn, found.damage) == (len(LOG), 9, 0, None)
    assert found.last_id == id_at(BASE + 8)
    assert found.order == IdOrder(BASE + 8, BASE, BASE + 8, True)


def test_an_empty_log(path: Path) -> None:
    path.write_bytes(b"")
    assert scan(Disk(), path, begin()) == begin()


def test_a_log_that_ends_at_any_byte_is_sound_up_to_its_last_whole_line(path: Path) -> None:
    for length in range(len(LOG)):
        found = scanned(path, LOG[:length])
        assert found.length == max(place for place in PLACES if place <= length)
        assert found.damage is None


def test_with_any_byte_flipped_what_lies_before_is_served_and_the_line_is_named(
    path: Path,
) -> None:
    for at in range(len(LOG)):
        line = max(n for n, place in enumerate(PLACES) if place <= at)
        for bit in (0x01, 0x20, 0x80, 0xFF):
            content = bytearray(LOG)
            content[at] ^= bit
            path.write_bytes(content)
            found = scan(Disk(), path, begin())
            assert bytes(content[: PLACES[line]]) == LOG[: PLACES[line]]
            assert found.length >= PLACES[line]
            if found.damage:
                assert found.damage.startswith(f"line {found.version + 1}: ")
                assert found.length in PLACES
            elif found.torn:  # its last LF was hit
                assert at == len(LOG) - 1
                assert found.length == PLACES[-2]


def test_a_column_that_is_lost_is_damage(path: Path) -> None:
    content = LINES[0] + LINES[1].replace(b"\t", b" ") + LINES[2]
    path.write_bytes(content)
    found = scan(Disk(), path, begin())
    assert found.length == PLACES[1]
    assert found.damage == ("line 2: it is not 'id TAB event TAB data': it has fewer than two TABs")
    assert not found.zeroed


def test_with_any_part_zeroed_what_lies_before_is_served(path: Path) -> None:
    for size in (1, 2, 16, 100):
        for at in range(0, len(LOG), 7):
            content = LOG[:at] + bytes(min(size, len(LOG) - at)) + LOG[at + size :]
            line = max(n for n, place in enumerate(PLACES) if place <= at)
            path.write_bytes(content)
            found = scan(Disk(), path, begin())
            assert found.length == PLACES[line]
            # One NUL at the start of a line is the mark of a group.
            marked = size == 1 and at in PLACES
            to_the_end = not content[at:].strip(b"\0") or b"\n" not in content[at:]
            if marked or to_the_end:
                assert found.damage is None
                assert found.torn == len(LOG) - found.length
            else:
                assert found.damage
                assert found.damage.startswith(f"line {line + 1}: ")
                assert found.zeroed


@pytest.mark.parametrize("number", range(9))
def test_an_unfinished_group_is_torn(path: Path, number: int) -> None:
    content = b"".join(LINES[:number]) + b"\0" + b"".join(LINES[number:])[1:]
    path.write_bytes(content)
    found = scan(Disk(), path, begin())
    assert found.length == PLACES[number]
    assert found.torn == len(LOG) - PLACES[number]
    assert found.damage is None


def test_a_line_without_id_or_with_a_cr_is_damage(path: Path) -> None:
    for line in (b"\tt\tdata\n", b"i\tt\tdata\r\n", b"\n", b"i\tt\t\xff\n", b"one\ttwo\n"):
        path.write_bytes(LINES[0] + line + LINES[1])
        found = scan(Disk(), path, begin())
        assert found.length == len(LINES[0])
        assert found.damage
        assert found.damage.startswith("line 2: ")


@given(st.integers(1, 200), st.integers(0, len(LOG)), st.integers(0, 9))
def test_reading_goes_on_where_it_ended_in_pieces_of_any_size(
    piece: int, length: int, known: int
) -> None:
    with mock.patch.object(recovery, "PIECE", piece):
        expected = scan(Memory(LOG[:length]), Path("log"), begin())
        known = min(known, expected.version)
        before = scan(Memory(b"".join(LINES[:known])), Path("log"), begin())
        found = scan(Memory(LOG[:length]), Path("log"), before)
    assert found == expected


class Memory(Disk):
    """One file, in memory."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def open(self, *_: Any, **__: Any) -> int:
        return -1

    def close(self, fd: int) -> None:
        pass

    def fstat(self, fd: Any) -> Any:
        return mock.Mock(st_size=len(self.content))

    def pread(self, fd: Any, size: int, at: int) -> bytes:
        return self.content[at : at + size]


def test_a_long_line_across_pieces(path: Path) -> None:
    long = b"i\tt\t" + b"x" * 5000 + b"\n"
    with mock.patch.object(recovery, "PIECE", 100):
        path.write_bytes(LINES[0] + long + LINES[1] + long[:-1])
        found = scan(Disk(), path, begin())
    assert (found.version, found.torn, found.damage) == (3, 5004, None)


def test_a_long_torn_tail_is_not_held_in_memory() -> None:
    held = 0

    class Endless(Memory):
        def pread(self, fd: Any, size: int, at: int) -> bytes:
            nonlocal held
            held = max(held, size)
            return bytes(size) if at else b"x"

        def fstat(self, fd: Any) -> Any:
            return mock.Mock(st_size=1024**3)

    found = scan(Endless(b""), Path("log"), begin())
    assert found.torn == 1024**3
    assert held == recovery.PIECE


def test_progress_is_told(path: Path) -> None:
    told: list[tuple[int, int]] = []
    path.write_bytes(LOG)
    with mock.patch.object(recovery, "PIECE", 100):
        scan(Disk(), path, begin(), lambda done, total: told.append((done, total)))
    assert told == sorted(told)
    assert told[-1] == (len(LOG), len(LOG))


def test_what_was_read_before_a_disk_fails_is_kept(path: Path) -> None:
    path.write_bytes(LOG)
    found = begin()
    with mock.patch.object(recovery, "PIECE", 150), pytest.raises(OSError, match="error"):
        scan(FaultyDisk("pread", 3, errno.EIO), path, found)
    assert found.length in PLACES[1:-1]
    assert found.version == PLACES.index(found.length)
