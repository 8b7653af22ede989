"""Going through a log by its lines, against a list of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.storage import places
from hub.storage.logfile import Disk, opened
from hub.storage.places import Walk

lines_of_a_log = st.lists(
    st.one_of(st.binary(max_size=8), st.integers(20, 300).map(b"long".__mul__)).map(
        lambda each: each.replace(b"\n", b"") + b"\n"
    ),
    max_size=30,
)
blocks = st.sampled_from([1, 7, 64, 1000])


@contextmanager
def stored(lines: list[bytes], block: int) -> Iterator[tuple[Path, list[int]]]:
    """A log read in small blocks, with more behind its end; its file, and where lines begin."""
    starts = [0]
    for each in lines:
        starts.append(starts[-1] + len(each))
    with (
        NamedTemporaryFile() as file,
        mock.patch.object(places, "BLOCK", block),
        mock.patch.object(places, "PROBE", 5),
    ):
        file.write(b"".join(lines) + b"not committed\n\0")
        file.flush()
        yield Path(file.name), starts


def within(starts: list[int], data: st.DataObject) -> tuple[int, int]:
    """Two lines, the first not behind the other."""
    first, last = sorted(data.draw(st.integers(0, len(starts) - 1)) for _ in range(2))
    return first, last


@given(lines_of_a_log, blocks, st.data())
def test_blocks_are_whole_lines_and_lose_none(
    lines: list[bytes], block: int, data: st.DataObject
) -> None:
    with stored(lines, block) as (path, starts):
        first, last = within(starts, data)
        found: list[bytes] = []
        place = starts[first]
        while piece := places.block(Disk(), path, place, starts[last], block):
            assert piece.endswith(b"\n")
            assert len(piece) <= max(block, 2 * len(lines[starts.index(place)]))
            found.append(piece)
            place += len(piece)
        assert b"".join(found) == b"".join(lines[first:last])


@given(lines_of_a_log, blocks, st.data())
def test_blocks_before_a_place_are_whole_lines_and_lose_none(
    lines: list[bytes], block: int, data: st.DataObject
) -> None:
    with stored(lines, block) as (path, starts):
        first, last = within(starts, data)
        found: list[bytes] = []
        place = starts[last]
        while piece := places.block_before(Disk(), path, starts[first], place):
            number = starts.index(place)
            assert piece.endswith(b"\n")
            assert len(piece) <= max(block, 2 * len(lines[number - 1]))
            place -= len(piece)
            assert place in starts
            found.insert(0, piece)
        assert b"".join(found) == b"".join(lines[first:last])
        with opened(Disk(), path, os.O_RDONLY) as fd:
            walk = Walk(Disk(), fd, starts[-1])
            together = list(walk.blocks_before(starts[first], starts[last]))
            assert [piece for _, piece in together] == found[::-1]
            backwards = list(walk.backwards(starts[first], starts[last]))
        expected = [(starts[n], lines[n]) for n in range(first, last)]
        assert backwards == expected[::-1]


@given(lines_of_a_log, blocks, st.data())
def test_counting_and_skipping_lines(lines: list[bytes], block: int, data: st.DataObject) -> None:
    with stored(lines, block) as (path, starts):
        first, last = within(starts, data)
        number = data.draw(st.integers(0, last - first + 2))
        start, end = starts[first], starts[last]
        assert places.count(Disk(), path, start, end) == last - first
        expected = starts[min(first + number, last)]
        assert places.skip(Disk(), path, start, number, end) == expected
        with opened(Disk(), path, os.O_RDONLY) as fd:
            walk = Walk(Disk(), fd, end)
            assert walk.last_lines(number, start) == starts[max(first, last - number)]
            for at in range(first, last):
                assert walk.line(starts[at]) == lines[at]
                assert walk.line_end(starts[at] + len(lines[at]) // 2) == starts[at + 1]
            assert walk.line(end) == b""
            assert walk.line_end(end) == end


def test_no_file_is_opened_to_skip_nothing() -> None:
    assert places.skip(Disk(), Path("nowhere"), 7, 0, 10) == 7


def test_a_file_that_is_shorter_than_it_was_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"line\n" * 10)
    for start in (0, 48, 50, 55):
        for work in (places.block, places.block_before, places.count):
            with pytest.raises(OSError, match="shorter than what was written"):
                work(Disk(), path, start, 60)
        with pytest.raises(OSError, match="shorter than what was written"):
            places.skip(Disk(), path, start, 20, 60)


def test_a_log_that_does_not_end_with_a_line_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"line\nno end")
    with pytest.raises(OSError, match="does not end with a line break"):
        places.block(Disk(), path, 5, 11)


def test_any_number_of_lines_of_a_block_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "log"
    lines = [b"x" * (n * n % 7) + b"\n" for n in range(60)]
    path.write_bytes(b"".join(lines))
    size = path.stat().st_size
    for number in range(61):
        assert places.skip(Disk(), path, 0, number, size) == len(b"".join(lines[:number]))
