"""The store that streams are read from: two streams, their events in turn.

Owns what is in it. The files are written as the hub would have written them, one
event a commit, and the hub orders them by the time of their ids when it opens
them. Made once for a run and a size; what measures may add streams of other
names.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks import servers
from benchmarks.run import Run, say
from hub.document import Draft, lines_of
from hub.event import ids_from

TYPE = "BenchEvent"
RARE = "RareEvent"
"""Type and tag of `RARE_EVENTS` events that lie evenly between the others, in every size."""

RARE_EVENTS = 10
STREAMS = ("stream-1", "stream-2")
CATEGORY = "stream"
PAYLOAD = "x" * 460

SMALL, LARGE = 10_000, 1_000_000
"""Events of a store."""

OPTIONS = ("--durability", "os")

_FIRST_ID = 1_700_000_000_000_000  # microseconds: some moment of 2023
_PIECE = 10_000  # events written at a time
_COMMIT_ID = "9b2f6c1e-6a0d-4c1b-8f57-%012x"


def store(run: Run, count: int) -> Path:
    """The events directory of a store with `count` events, which the index knows."""
    directory = run.shared / f"store-{count}"
    if not directory.exists():
        directory.mkdir()
        say(f"  a store of {count:,} events")
        _write(directory, count)
        with servers.hub(run.cores.server, directory, *OPTIONS) as hub:
            say(f"  opened for the first time in {hub.start_seconds:.2f} s")
    return directory


def of_stream(count: int) -> int:
    """How many events the first stream of a store has."""
    return (count + 1) // 2


def _write(directory: Path, count: int) -> None:
    rare = {count * (2 * each + 1) // (2 * RARE_EVENTS) for each in range(RARE_EVENTS)}
    for first in range(0, count, _PIECE):
        lines: list[list[bytes]] = [[] for _ in STREAMS]
        ids = ids_from(_FIRST_ID + first, min(_PIECE, count - first))
        for number, identity in enumerate(ids, first):
            side = number % len(STREAMS)
            lines[side].append(_line(number, side, identity, number in rare))
        for name, each in zip(STREAMS, lines, strict=True):
            with open(directory / f"{name}.ndjson", "ab") as file:
                file.write(b"".join(each))


def _line(number: int, side: int, identity: bytes, rare: bool) -> bytes:
    payload = b'{"type":"%b","seq":%d,"payload":"%b"}' % (
        (RARE if rare else TYPE).encode(),
        number,
        PAYLOAD.encode(),
    )
    if rare:
        payload = b'%b,"tags":["%b"]}' % (payload[:-1], RARE.encode())
    draft = Draft([payload], [], _COMMIT_ID % number)
    moment = (_FIRST_ID + number) // 1000
    return lines_of(draft, STREAMS[side], number // 2, [identity], moment)
