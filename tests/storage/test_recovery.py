"""What is sound, torn or damaged in a file that was cut, flipped or zeroed at any place."""

from __future__ import annotations

import errno
import re
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.event import IdOrder, id_at
from hub.formats import NDJSON
from hub.storage import recovery
from hub.storage.logfile import Disk
from hub.storage.recovery import Scan, scan
from tests.documents import BASE, commit, written
from tests.storage.disks import FaultyDisk

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


# Logs of documents

STREAM = "shop/orders"
FILE = Path("events/shop%2Forders.ndjson")


BY_HAND = written(STREAM, "by hand", {"type": "x"}, user=1)


def commits(*sizes: int) -> list[bytes]:
    """Commits of so many lines each; 0: a line by hand, of which none can be told to be torn."""
    found: list[bytes] = []
    version = 0
    for size in sizes:
        payloads = [f'{{"type":"t{n}","text":"{"ä" * n}"}}'.encode() for n in range(size)]
        by_hand = written(STREAM, id_at(BASE + version), {"type": "x"}, user=1)
        found.append(commit(STREAM, version, *payloads) if size else by_hand)
        version += size or 1
    return found


COMMITS = commits(1, 0, 3, 1, 2, 0, 4)
DOCUMENTS = b"".join(COMMITS)
ENDS = [len(b"".join(COMMITS[:n])) for n in range(len(COMMITS) + 1)]


def documents_scanned(content: bytes, before: Scan | None = None) -> Scan:
    return scan(Memory(content), FILE, before or begin(), None, NDJSON)


def numbered(scanned: Scan) -> int:
    """The line that is damaged."""
    assert scanned.damage
    number, _, reason = scanned.damage.removeprefix("line ").partition(": ")
    assert reason
    assert not scanned.torn
    return int(number)


def test_a_sound_log_of_documents() -> None:
    found = documents_scanned(DOCUMENTS)
    assert found == Scan(
        len(DOCUMENTS), 13, id_at(BASE + 12), IdOrder(BASE + 12, BASE, BASE + 12, True)
    )
    assert documents_scanned(b"") == begin()


def test_a_log_of_documents_that_ends_at_any_byte_is_sound_up_to_its_last_whole_commit() -> None:
    for length in range(len(DOCUMENTS)):
        found = documents_scanned(DOCUMENTS[:length])
        assert found.length == max(place for place in ENDS if place <= length)
        assert found.version == DOCUMENTS[: found.length].count(b"\n")
        assert (found.torn, found.damage) == (length - found.length, None)


@given(
    st.integers(1, 700), st.integers(0, len(DOCUMENTS)), st.integers(0, 7), st.sampled_from([0, 1])
)
def test_documents_are_read_on_in_pieces_of_any_size(
    piece: int, length: int, known: int, marks: int
) -> None:
    content = DOCUMENTS[:length] + marks * b"\0"
    with mock.patch.object(recovery, "PIECE", piece):
        expected = documents_scanned(content)
        known = len([place for place in ENDS[: known + 1] if place <= expected.length]) - 1
        before = documents_scanned(DOCUMENTS[: ENDS[known]])
        assert (before.length, before.torn) == (ENDS[known], 0)
        assert documents_scanned(content, before) == expected
    assert expected == documents_scanned(content)
    sound = documents_scanned(DOCUMENTS[: expected.length])
    assert (expected.order, expected.last_id) == (sound.order, sound.last_id)


def test_a_commit_of_many_pieces_is_not_held_in_memory() -> None:
    payloads = [b'{"text":"%b"}' % (b"x" * 100)] * 30_000
    whole = commit("log", 0, *payloads)
    held = 0

    class Counting(Memory):
        def pread(self, fd: Any, size: int, at: int) -> bytes:
            nonlocal held
            held = max(held, size)
            return super().pread(fd, size, at)

    for content in (whole, whole[:-1], whole[: whole.rfind(b"\n", 0, -1) + 1]):
        found = scan(Counting(content), Path("log"), begin(), None, NDJSON)
        expected = (len(whole), 30_000, 0) if content == whole else (0, 0, len(content))
        assert (found.length, found.version, found.torn) == expected
        assert not found.damage
    assert held == recovery.PIECE


@pytest.mark.parametrize("what", ["lost", "twice", "swapped", "of another"])
@pytest.mark.parametrize("number", range(11))
def test_a_line_that_is_not_where_it_belongs_is_damage(number: int, what: str) -> None:
    whole = commits(1, 3, 1, 2, 4)
    lines = b"".join(whole).split(b"\n")[:-1]
    damaged = number
    if what == "lost":
        del lines[number]
    elif what == "twice":
        lines.insert(number, lines[number])
        damaged += 1
    elif what == "swapped":
        lines[number : number + 2] = lines[number : number + 2][::-1]
    else:
        lines[number] = lines[number].replace(STREAM.encode(), b"shop/order")
    found = documents_scanned(b"\n".join([*lines, b""]))
    place = sum(len(each) + 1 for each in lines[:damaged])
    ends = [len(b"".join(whole[:n])) for n in range(len(whole) + 1)]
    if what == "swapped" and number == 10:
        assert (found.length, found.torn, found.damage) == (ends[-1], 0, None)
        return
    assert found.length == max(end for end in ends if end <= place)
    if what == "lost" and number == 10:
        assert (found.torn, found.damage) == (place - found.length, None)
    else:
        assert numbered(found) == damaged + 1
        assert not found.zeroed


def numbers(version: int, size: int, commit_id: str = "c", at: int | None = None) -> dict[str, Any]:
    """What a document says of its place."""
    place = {} if at is None else {"streamVersion": at}
    return {"commitVersion": version, "commitSize": size, "commitId": commit_id, **place}


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([numbers(1, 2)], "its commitVersion is 1 of 2, but the next of its commit is 0"),
        ([numbers(0, 0)], "its commitVersion is 0 of 0"),
        ([numbers(-1, 2)], "its commitVersion is -1 of 2"),
        ([numbers(0, 3), numbers(2, 3)], "but the next of its commit is 1"),
        ([numbers(0, 3), numbers(0, 3)], "its commitVersion is 0 of 3"),
        ([numbers(0, 2), numbers(1, 2, "d")], "of another commit, .* only 1 of 2 events"),
        ([numbers(0, 2), numbers(1, 3)], "of another commit"),
        ([numbers(0, 2), {}], "of another commit"),
        ([numbers(0, 1, at=3)], "its streamVersion is 3 instead of 2"),
        ([numbers(0, 1, at=1)], "its streamVersion is 1 instead of 2"),
        ([numbers(0, 2, at=2), numbers(1, 2, at=2)], "its streamVersion is 2 instead of 3"),
    ],
)
def test_what_a_commit_must_be(lines: list[dict[str, Any]], reason: str) -> None:
    before = commits(1)[0] + written(STREAM, "x", streamVersion=1)
    bad = b"".join([written(STREAM, "x", **each) for each in lines])
    for behind in (b"", written(STREAM, "y") * 2):
        found = documents_scanned(before + bad + behind)
        assert (found.length, found.version) == (len(before), 2)
        assert numbered(found) == 2 + len(lines)
        assert re.search(reason, found.damage or "")


def test_lines_by_hand_need_no_numbers() -> None:
    by_hand = (
        b' {"metadata" : {"id":"1"},\t"more":1, "payload": { } , "stream":"shop\\/orders"}\r\n'
    )
    content = COMMITS[0] + by_hand * 3
    found = documents_scanned(content)
    assert (found.length, found.version, found.last_id) == (len(content), 4, "1")
    assert not found.order.ordered


@pytest.mark.parametrize(
    "bad",
    [b"\n", b"1\tt\tdata\n", b"{}\n", BY_HAND[:-3] + b"\n", BY_HAND[:-1] + BY_HAND,
     BY_HAND.replace(b"/", b"-"), BY_HAND.replace(b"by hand", b"\\t"),
     BY_HAND.replace(b"x", b"\xff")],
)  # fmt: skip
def test_what_is_no_document_is_damage(bad: bytes) -> None:
    for behind in (b"", BY_HAND, b"torn"):
        for before in range(len(COMMITS)):
            content = b"".join(COMMITS[:before])
            found = documents_scanned(content + bad + behind)
            assert found.length == len(content)
            assert numbered(found) == content.count(b"\n") + 1
    inside = COMMITS[2].split(b"\n")[0] + b"\n"
    found = documents_scanned(COMMITS[0] + COMMITS[1] + inside + bad + BY_HAND)
    assert (found.length, found.version, numbered(found)) == (ENDS[2], 2, 4)


@pytest.mark.parametrize("number", range(7))
def test_an_unfinished_group_of_documents_is_torn(number: int) -> None:
    place = ENDS[number]
    content = DOCUMENTS[:place] + b"\0" + DOCUMENTS[place + 1 :]
    for end in (len(content), len(content) - 1, place + 1):
        found = documents_scanned(content[:end])
        assert (found.length, found.torn, found.damage) == (place, end - place, None)


def test_with_any_part_of_documents_zeroed_what_lies_before_is_served() -> None:
    lines = DOCUMENTS.split(b"\n")[:-1]
    places = [sum(len(each) + 1 for each in lines[:n]) for n in range(len(lines) + 1)]
    for size in (1, 2, 16, 400):
        for at in sorted({*range(0, len(DOCUMENTS), 7), *places[:-1]}):
            content = (
                DOCUMENTS[:at] + bytes(min(size, len(DOCUMENTS) - at)) + DOCUMENTS[at + size :]
            )
            number = max(n for n, place in enumerate(places) if place <= at)
            found = documents_scanned(content)
            assert found.length == max(end for end in ENDS if end <= at)
            marked = size == 1 and at in ENDS
            to_the_end = not content[at:].strip(b"\0") or b"\n" not in content[at:]
            if marked or to_the_end:
                assert found.damage is None
                assert found.torn == len(DOCUMENTS) - found.length
            else:
                assert numbered(found) == number + 1
                assert found.zeroed


def test_with_any_byte_of_documents_flipped_what_lies_before_is_served() -> None:
    for at in range(len(DOCUMENTS)):
        for bit in (0x01, 0x20, 0x80, 0xFF):
            content = bytearray(DOCUMENTS)
            content[at] ^= bit
            found = documents_scanned(bytes(content))
            before = max(end for end in ENDS if end <= at)
            assert found.length >= before
            if found.damage:
                assert numbered(found) > found.version
                assert bytes(content[: found.length]).count(b"\n") == found.version
            elif found.torn:  # its last LF was hit, or a commit's last number
                assert found.length == before
            else:
                assert found.version == 13


def test_progress_is_told_of_a_long_commit() -> None:
    told: list[int] = []
    content = commit("log", 0, *[b"{}"] * 100)
    with mock.patch.object(recovery, "PIECE", 1000):
        scan(Memory(content), Path("log"), begin(), lambda done, _: told.append(done), NDJSON)
    assert told[0] < 1000
    assert told == sorted(set(told))
    assert told[-1] == len(content)


@given(
    st.lists(st.sampled_from(["x", "2026-01-01", "2026-01-02", id_at(BASE), id_at(BASE + 1)])),
    st.integers(1, 3),
    st.integers(100, 400),
)
def test_every_id_of_a_commit_counts(ids: list[str], parts: int, piece: int) -> None:
    size = max(1, len(ids) // parts)
    ids = ids[: size * parts]
    content = b"".join(
        written(STREAM, each, **numbers(n % size, size)) for n, each in enumerate(ids)
    )
    expected = IdOrder()
    for each in ids:
        expected.extend([each.encode()])
    with mock.patch.object(recovery, "PIECE", piece):
        found = documents_scanned(content)
    assert (found.length, found.order) == (len(content), expected)
    assert found.last_id == (ids[-1] if ids else "")
