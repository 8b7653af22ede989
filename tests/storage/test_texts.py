"""The bytes of runs, read with few calls, are those that stand where the index says."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.document import KEYS
from hub.formats import NDJSON
from hub.lines import reversed_lines
from hub.storage import texts
from hub.storage.log import Log
from hub.storage.logfile import Disk
from hub.storage.sources import Sources
from hub.storage.texts import Columns, Queue, text_of, texts_of


class Files(NamedTuple):
    """Two logs whose lines are all different, and where each line begins."""

    sources: Sources
    texts: list[bytes]
    places: list[list[int]]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    directory = tmp_path_factory.mktemp("logs")
    lines = [[b"%d-%d" % (log, n) + b"x" * (n % 7) + b"\n" for n in range(40)] for log in (0, 1)]
    logs = [Log(name, NDJSON) for name in ("a", "b")]
    for log, own in zip(logs, lines, strict=True):
        (directory / log.name).write_bytes(b"".join(own))
    places = [[sum(map(len, own[:n])) for n in range(len(own) + 1)] for own in lines]

    def path(log: Log) -> str:
        return str(directory / log.name)

    nothing = dict[str, None]().get
    sources = Sources(Disk(), path, nothing, logs.__getitem__, nothing, KEYS)
    return Files(sources, [b"".join(own) for own in lines], places)


def columns(files: Files, runs: list[tuple[int, int, int]]) -> Columns:
    """Runs of one log each: which, the first line, how many."""
    positions: list[int] = []
    position = 1
    offsets, sizes = [], []
    for log, first, count in runs:
        positions.append(position)
        position += count
        offsets.append(files.places[log][first])
        sizes.append(files.places[log][first + count] - offsets[-1])
    logs, _, counts = map(list, zip(*runs, strict=True))
    return Columns(positions, logs, offsets, counts, sizes)


runs = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 36), st.integers(1, 4)), min_size=1)


@given(runs, st.booleans(), st.sampled_from([0, 20, 4096]))
@settings(max_examples=300)
def test_runs_read_together_are_those_read_one_by_one(
    files: Files, wanted: list[tuple[int, int, int]], backwards: bool, gap: int
) -> None:
    """Also where an index is damaged, and a log's runs are not in its order."""
    found = columns(files, wanted)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(texts, "GAP", gap)
        one_by_one = texts_of(found.rows([first + 1 for _, first, _ in wanted]), files.sources)
    assert one_by_one == [
        files.texts[log][files.places[log][first] : files.places[log][first + count]]
        for log, first, count in wanted
    ]
    together = text_of(found, files.sources, backwards=backwards)
    if backwards:
        one_by_one = [reversed_lines(text) for text in one_by_one]
    assert together in (None, b"".join(one_by_one))


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(1, 4)), min_size=1, max_size=18))
def test_runs_of_logs_in_turn_are_read_together(
    files: Files, wanted: list[tuple[int, int]]
) -> None:
    lines = [0, 0]
    told = []
    for log, count in wanted:
        told.append((log, lines[log], min(count, 40 - lines[log])))
        lines[log] += told[-1][2]
    told = [each for each in told if each[2]]
    for backwards in (False, True):
        found = columns(files, told[::-1] if backwards else told)
        assert text_of(found, files.sources, backwards=backwards) is not None


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("wrong", ["two in one", "no end", "not so many"])
def test_what_is_not_as_the_index_says_is_not_read(
    files: Files, wrong: str, count: int, backwards: bool
) -> None:
    told = [(log, first, count) for first in range(0, 12, count) for log in (0, 1)]
    found = columns(files, told)
    if wrong == "two in one":  # of one that counts as an event, the line behind it is one more
        del found.logs[2], found.offsets[2], found.counts[2], found.positions[2]
        found.sizes[0] += found.sizes.pop(2)
    elif wrong == "no end":
        found.sizes[-1] -= 1
    else:
        found.counts[-1] += 1
    if backwards:
        columns_of = (found.positions, found.logs, found.offsets, found.counts, found.sizes)
        found = Columns(*[list(reversed(each)) for each in columns_of])
    assert text_of(found, files.sources, backwards=backwards) is None


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), max_size=40))
def test_a_queue_gives_everything_in_pieces(wanted: list[tuple[int, int]]) -> None:
    """As many as it takes to come to either bound."""
    counts, sizes = [each[0] for each in wanted], [each[1] for each in wanted]
    numbers = list(range(len(wanted)))
    queue = Queue(Columns(numbers, numbers, numbers, counts, sizes))
    taken: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(texts, "EVENTS", 12)
        patch.setattr(texts, "PIECE", 20)
        while queue:
            assert len(queue) == len(wanted) - len(taken)
            part = queue.take()
            assert sum(part.counts[:-1]) < 12
            assert sum(part.sizes[:-1]) < 20
            taken += part.positions
            assert sum(part.counts) >= 12 or sum(part.sizes) >= 20 or not queue
    assert taken == numbers
