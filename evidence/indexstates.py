"""A small events directory as a hub leaves it, and what may become of its index's files.

Must not know what the hub has to make of that: this stands in `indexdamage.py`.
"""

from __future__ import annotations

import os
import random
import sqlite3
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from shutil import rmtree
from urllib.parse import unquote

from msgspec import Struct

from evidence.changes import SECTOR
from evidence.run import Run
from hub.document import Draft, documents
from hub.engines.files import FilesEngine
from hub.event import IdOrder
from hub.formats import TSV, Batch, split_rows
from hub.matcher import compile_matcher
from hub.options import Durability
from hub.storage.plan import Scope

_COLUMNS = {
    "logs": ("length", "version", "clock"),
    "runs": ("position", "log", "revision", "offset", "count", "size", "checksum", "terms"),
    "given": ("position",),
    "labelled": ("keys",),
    "postings": ("term", "position"),
    "derived": ("version", "looked", "total"),
    "members": ("revision", "position"),
}

INDEX, WAL, JOURNALS = "index.sqlite", "index.sqlite-wal", ("order-a", "order-b")

BASE = 1_800_000_000 * 10**9
_DAY = 86_400 * 10**9

DERIVED, CLOSED = "of-type-paid", "done-1"
MATCHER = compile_matcher({"payload": {"type": "paid"}})
TYPES, TAGS = ("paid", "sent", "note"), ("a:1", "b:2")

CHANNELS, STREAMS = ("chat", "news"), ("orders-1", "orders-2", "late/x")
_ROUNDS = 4

CLOSED_CLEANLY, KILLED, LONG = "closed", "killed", "long"
_ALL = 10**9
_CUT_STEP = 64
_MASKS = (*(1 << bit for bit in range(8)), 0xFF)


class Sample(Struct):
    """A directory: the content and modification time of each file, and what was told of it."""

    name: str
    files: dict[str, tuple[bytes, int]]
    order: dict[int, bytes]  # the document at each position that was told
    documents: dict[str, list[bytes]]  # of each log
    head: int  # the last position that was given

    def restore(self, directory: Path) -> None:
        """Make the directory what it was."""
        rmtree(directory, ignore_errors=True)
        for name, (content, modified) in self.files.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            os.utime(path, ns=(modified, modified))

    def own(self, name: str) -> bytes:
        """The content of one of the hub's own files, empty if there is none."""
        return self.files.get(f".hub/{name}", (b"", 0))[0]


class Damage(Struct, frozen=True):
    """What becomes of some of the hub's own files; None: it is gone."""

    what: str
    files: dict[str, bytes | None]

    def apply(self, directory: Path) -> None:
        """Do it; a file that has rotted keeps its time."""
        for name, content in self.files.items():
            path = directory / ".hub" / name
            if content is None:
                path.unlink(missing_ok=True)
                continue
            modified = path.stat().st_mtime_ns
            path.write_bytes(content)
            os.utime(path, ns=(modified, modified))


class Writer:
    """Writes the sample: in each round some events to each log, none in the order of time."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._now = BASE
        self._count = 0

    async def closed(self) -> Sample:
        """As it is after two clean closes; the last log that was written to is taken away."""
        engine = await self._begin()
        await self._rounds(engine, _ROUNDS)
        await self._commit(engine, "gone-1", 2)
        await engine.version_of(DERIVED)
        order = await order_of(engine)
        await engine.close()
        (self.directory / "gone-1.ndjson").unlink()
        engine = await self._open()  # which forgets it, and follows the derived stream anew
        await engine.version_of(DERIVED)
        await engine.close()
        sample = self._sample(CLOSED_CLEANLY, order)
        sample.order = {at: each for at, each in order.items() if b'"gone-1"' not in each}
        return sample

    async def killed(self) -> Sample:
        """As a kill leaves it that comes before the index has the last positions."""
        engine = await self._begin()
        await self._rounds(engine, _ROUNDS // 2)
        await engine.version_of(DERIVED)
        await engine.close()
        engine = await self._open()
        for _ in range(_ROUNDS // 2):
            for name in CHANNELS[::-1]:  # of these only the index has the positions
                await self._post(engine, name, 1)
                await engine.settle()
            await self._rounds(engine, 1)
            await engine.version_of(DERIVED)
        order = await order_of(engine)
        for name in STREAMS:  # these positions are in the journal only
            await self._commit(engine, name, 2)
        sample = self._sample(KILLED, order)
        sample.order = await order_of(engine)
        sample.head = max(sample.order)
        await engine.close()
        return sample

    async def _open(self) -> FilesEngine:
        engine = FilesEngine(self.directory, Durability.OS, clock=lambda: self._now)
        await engine.open()
        return engine

    async def _begin(self) -> FilesEngine:
        """Open it for the first time; there are a derived stream and a closed one."""
        engine = await self._open()
        await engine.derive(DERIVED, MATCHER)
        await self._commit(engine, CLOSED, 1)
        await engine.seal(CLOSED)
        checkpoint = self.directory / ".hub" / "consumers" / "a.json"
        checkpoint.parent.mkdir()
        checkpoint.write_bytes(b'{"what":"no index may touch"}\n')
        return engine

    async def _rounds(self, engine: FilesEngine, count: int) -> None:
        for _ in range(count):
            for at, name in enumerate(CHANNELS):
                await self._post(engine, name, 1 + 2 * at)
            for at, name in enumerate(STREAMS):
                await self._commit(engine, name, 1 + at)
            await engine.settle()

    def _next(self, name: str) -> tuple[int, str]:
        """The number of the next event, and its type; its time follows from its log."""
        self._count += 1
        self._now = BASE + len(name) % 4 * _DAY - self._count * 10**9
        return self._count, TYPES[self._count % len(TYPES)]

    async def _post(self, engine: FilesEngine, name: str, count: int) -> None:
        lines = b""
        for _ in range(count):
            number, kind = self._next(name)
            lines += b"\t%b\ttext %d\n" % (kind.encode(), number)
        await engine.append(name, Batch([lines], count, count, "", "", IdOrder()))

    async def _commit(self, engine: FilesEngine, name: str, count: int) -> None:
        payloads, types = [], []
        for _ in range(count):
            number, kind = self._next(name)
            tag = TAGS[number % len(TAGS)]
            payloads.append(
                b'{"type":"%b","tags":["%b"],"n":%d}' % (kind.encode(), tag.encode(), number)
            )
            types.append(kind)
        await engine.commit(name, Draft(payloads, types, f"{self._count:08x}"))

    def _sample(self, name: str, order: dict[int, bytes]) -> Sample:
        files = {
            str(path.relative_to(self.directory)): (path.read_bytes(), path.stat().st_mtime_ns)
            for path in sorted(self.directory.rglob("*"))
            if path.is_file() and not path.name.endswith("-shm")
        }
        return Sample(name, files, order, documents_of(self.directory), max(order))


def documents_of(directory: Path) -> dict[str, list[bytes]]:
    """The documents of each log, as they are read from its file."""
    found = {}
    for path in sorted([*directory.glob("*.tsv"), *directory.glob("*.ndjson")]):
        name = unquote(path.stem)
        text = path.read_bytes()
        if path.suffix[1:] == TSV:
            text = documents(split_rows(text), name, 1)
        found[name] = text.split(b"\n")[:-1]
    return found


async def order_of(engine: FilesEngine, scope: Scope | None = None) -> dict[int, bytes]:
    """The document at each position, of a scope."""
    cursor = engine.cursor(scope or Scope(), 1, await engine.settle())
    found: dict[int, bytes] = {}
    while (part := await engine.read_order(cursor)) is not None:
        found.update(part.each())
    return found


def damages(sample: Sample, run: Run) -> Iterator[Damage]:
    """What may become of the index and of the order journal: first of all nothing."""
    chance = run.chance(sample.name)
    yield Damage("nothing", {})
    yield from _whole(sample)
    if not sample.own(WAL):
        yield from _values(sample.own(INDEX))
    most = run.pick(18, _ALL if sample.name == CLOSED_CLEANLY else 300)
    for name in (INDEX, WAL, *JOURNALS):
        content = sample.own(name)
        steps = _CUT_STEP if name in (INDEX, WAL) else 1
        for length in _some(range(0, len(content), steps), most // 3, chance):
            yield Damage(f"{name} cut at {length}", {name: content[:length]})
        zeros = [at for at in range(0, len(content), SECTOR) if any(content[at : at + SECTOR])]
        for at in _some(zeros, most // 3, chance):
            bad = content[:at] + bytes(len(content[at : at + SECTOR])) + content[at + SECTOR :]
            yield Damage(f"{name} zeroed from {at}", {name: bad})
        used = [at for at, byte in enumerate(content) if byte]
        for at in _some(used, most, chance):
            mask = chance.choice(_MASKS)
            bad = content[:at] + bytes([content[at] ^ mask]) + content[at + 1 :]
            yield Damage(f"{name} byte {at} ^ {mask:02x}", {name: bad})


def _whole(sample: Sample) -> Iterator[Damage]:
    """Files that are gone, or of another kind."""
    index = sample.own(INDEX)
    yield Damage("no index", {INDEX: None, WAL: None})
    yield Damage("an empty index", {INDEX: b""})
    yield Damage("text for an index", {INDEX: b"no database\n" * 1000})
    for form in (b"\1\1", b"\1\2", b"\2\1", b"\3\2", b"\2\3"):
        yield Damage(f"format {form!r}", {INDEX: index[:18] + form + index[20:]})
    for version in (0, 1, 99):
        bad = index[:60] + struct.pack(">I", version) + index[64:]
        yield Damage(f"version {version}", {INDEX: bad, WAL: None})
    if sample.own(WAL):
        yield Damage("no index, but its log", {INDEX: None})
        yield Damage("no log of the index", {WAL: None})
        yield Damage("no order journal", dict.fromkeys(JOURNALS))


def _values(index: bytes) -> Iterator[Damage]:
    """A value in a row in the middle of a table is another: SQLite itself does not mind."""
    for table, columns in _COLUMNS.items():
        for column in columns:
            db = sqlite3.connect(":memory:")
            db.deserialize(index[:18] + b"\1\1" + index[20:])  # one in memory has no log
            (middle,) = db.execute(f"SELECT count(*) / 2 FROM {table}").fetchone()
            rows = db.execute(f"SELECT * FROM {table} LIMIT 1 OFFSET {middle}")
            row = rows.fetchone()
            where = " AND ".join(f"{name} IS ?" for name, *_ in rows.description)
            change = f"{column} = {column} + 1" if column != "keys" else "keys = keys || 'x'"
            db.execute(f"UPDATE OR REPLACE {table} SET {change} WHERE {where}", row)
            db.commit()
            bad = db.serialize()
            db.close()
            yield Damage(f"{column} in {table}", {INDEX: bad[:18] + b"\2\2" + bad[20:]})


def _some(places: Sequence[int], most: int, chance: random.Random) -> Sequence[int]:
    """All of them, or a sample in their order."""
    return places if len(places) <= most else sorted(chance.sample(places, most))
