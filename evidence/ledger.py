"""What writers and readers wrote down, each in a file of its own, and whether it fits the log.

Owns the form of these files, and the rules by which everything that anybody was
told has to fit the one order that the hub gives in the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import IO, TypeVar

import msgspec
from msgspec import Struct

from evidence.events import Document, stored_of, token_of
from evidence.run import Broken, check

T = TypeVar("T", bound=Struct)

POSTED = ("post", "tsv", "ndjson")


class Write(Struct, omit_defaults=True):
    """What somebody sent; times are of the machine's one monotonic clock, in seconds."""

    number: int
    door: str  # post, tsv, ndjson, commit
    stream: str
    kind: str
    tokens: list[int]
    began: float
    expected: int | None = None
    after: int | None = None  # of a condition: no `Decided` after this position
    status: int = 0  # 0: nobody knows
    ended: float = 0.0
    position: int = 0
    version: int = 0  # of the stream, before this
    id: str = ""  # of the last event, if it was posted


class Seen(Struct, omit_defaults=True):
    """An event that somebody got, and its number or id there."""

    path: str
    id: str
    token: int
    whole: bool = True  # each byte of it was right
    reset: bool = False  # the hub did not know where to go on


class Folded(Struct):
    """A consumer's answer."""

    path: str
    position: int
    state: dict[str, int]


class Ledger:
    """A file of lines, written at once so that nothing is forgotten when its writer goes."""

    def __init__(self, path: Path) -> None:
        self._file: IO[bytes] = open(path, "ab", buffering=0)  # noqa: SIM115 - to the end

    def put(self, entry: Struct) -> None:
        """Write one line."""
        self._file.write(msgspec.json.encode(entry) + b"\n")


def writes_in(paths: Iterable[Path]) -> list[Write]:
    """Every write, as it was last known, in the order in which they began."""
    found: dict[tuple[Path, int], Write] = {}
    for path in paths:
        for line in _lines(path):
            write = msgspec.json.decode(line, type=Write)
            found[path, write.number] = write
    return sorted(found.values(), key=lambda each: each.began)


def entries_in(path: Path, kind: type[T]) -> list[T]:
    """What a reader wrote down."""
    return [msgspec.json.decode(line, type=kind) for line in _lines(path)]


def _lines(path: Path) -> list[bytes]:
    return path.read_bytes().split(b"\n")[:-1]


class Order:
    """All that the hub has in the end: the documents of `_all`, in the order of positions."""

    def __init__(self, lines: Sequence[bytes]) -> None:
        self.lines = lines
        self.documents: list[Document] = [msgspec.json.decode(line) for line in lines]
        self.tokens = [token_of(each) for each in self.documents]
        self.places = {token: place for place, token in enumerate(self.tokens, 1)}

    def __iter__(self) -> Iterator[tuple[int, Document, int]]:
        """The position, the document and the token of each."""
        return zip(count(1), self.documents, self.tokens, strict=False)

    def check_writes(self, writes: Iterable[Write]) -> None:
        """Everything acknowledged is there once, byte for byte, in order, where it was told.

        What was not is whole or absent, what was refused is absent.
        """
        check(len(self.places) == len(self.tokens), "an event is there twice")
        claimed: set[tuple[str, int]] = set()
        known: set[int] = set()
        latest = 0  # position of what had been acknowledged when a write began
        ended: list[tuple[float, int]] = []
        for each in writes:
            known.update(each.tokens)
            here = self._place_of(each)
            if not here:
                continue
            before: int = self.documents[here[0] - 1]["metadata"]["streamVersion"]
            if each.status == 201 and each.position:
                told, is_so = (each.position, each.version), (here[-1], before)
                check(told == is_so, f"{each}: position, version are {is_so}")
            if each.expected is not None:
                check(before == each.expected, f"{each} came after version {before}")
                check((each.stream, before) not in claimed, f"{each} came second")
                claimed.add((each.stream, before))
            if each.after is not None:
                between = self.documents[each.after : here[0] - 1]
                ruled_out = [one for one in between if one["payload"]["type"] == "Decided"]
                check(not ruled_out, f"{each} came though its condition did not hold")
            # Whatever had been acknowledged before this one began, lies before it.
            for moment, place in ended:
                if moment < each.began:
                    latest = max(latest, place)
            ended = [pair for pair in ended if pair[0] >= each.began]
            check(here[0] > latest, f"{each} lies before what was acknowledged before it")
            if each.status == 201:
                ended.append((each.ended, here[-1]))
        unknown = set(self.places) - known
        check(not unknown, f"there are events that nobody wrote: {sorted(unknown)[:5]}")

    def _place_of(self, write: Write) -> list[int]:
        here = [self.places[token] for token in write.tokens if token in self.places]
        if write.status == 201:
            check(len(here) == len(write.tokens), f"it was acknowledged and is lost: {write}")
        check(len(here) in (0, len(write.tokens)), f"only a part of it is there: {write}")
        # A commit that is answered 503 may be stored: its position could not be told.
        refused = write.status in (400, 409, 422, 507)
        refused |= write.status == 503 and write.door in POSTED
        check(not here or not refused, f"refused, but there: {write}")
        if not here:
            return here
        # A commit also in the order over all logs; a batch that a crash kept from the index may
        # get its positions by the times of its events, some of another log between them.
        versions = [self.documents[place - 1]["metadata"]["streamVersion"] for place in here]
        for numbers in (versions,) if write.door in POSTED else (versions, here):
            run = list(range(numbers[0], numbers[0] + len(numbers)))
            check(numbers == run, f"not in one piece, but at {numbers}: {write}")
        identity = self.documents[here[-1] - 1]["metadata"]["id"]
        check(write.id in ("", identity), f"it has the id {identity}: {write}")
        posted = write.door in POSTED
        for token, place in zip(write.tokens, here, strict=True):
            payload = stored_of(token, write.kind, posted=posted)
            begin = b'{"stream":%b,"payload":%b,"metadata":' % (
                msgspec.json.encode(write.stream),
                payload,
            )
            check(self.lines[place - 1].startswith(begin), f"other bytes at {place}: {write}")
        return here

    def check_streams(self) -> None:
        """Each stream has its own revisions, without a gap, in the order of positions."""
        versions: dict[str, int] = {}
        for place, each in enumerate(self.documents, 1):
            version = versions.get(each["stream"], 0)
            found = each["metadata"]["streamVersion"]
            check(found == version, f"position {place}: streamVersion {found}, not {version}")
            versions[each["stream"]] = version + 1


def check_reading(path: str, seen: Sequence[Seen], wanted: Sequence[tuple[str, int]]) -> None:
    """A reader got each event that it asked for exactly once, in order, under its id."""
    for place, each in enumerate(seen):
        where = f"reader of {path}, event {place + 1}: {each}"
        check(not each.reset, f"{where}: it had to start over")
        check(each.whole, f"{where}: other bytes")
        check(place < len(wanted), f"{where}: there is no such event")
        check((each.id, each.token) == wanted[place], f"{where} instead of {wanted[place]}")
    if len(seen) < len(wanted):
        raise Broken(f"reader of {path} got {len(seen)} events of {len(wanted)}")
