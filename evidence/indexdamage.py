"""An index that is damaged at every byte, and what the hub makes of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from msgspec import structs

from evidence.damage import told_by_hub
from evidence.indexstates import (
    BASE,
    CLOSED,
    CLOSED_CLEANLY,
    DERIVED,
    KILLED,
    LONG,
    MATCHER,
    TAGS,
    TYPES,
    Damage,
    Sample,
    Writer,
    damages,
    documents_of,
    order_of,
)
from evidence.run import Run, check
from hub.document import KEYS, Draft, labels_reader
from hub.engines.base import Scope
from hub.engines.files import FilesEngine
from hub.errors import ConditionConflict, IndexFailed, ReadFailed, UnknownStream
from hub.formats import NDJSON, TSV, Batch
from hub.options import Durability
from hub.selector import Condition, parse_selector
from hub.storage import index
from hub.storage.verification import Verification

_labels = labels_reader(KEYS)

UNSEEN = "unseen, and without any effect"

_SELECTORS: dict[str, tuple[str, str]] = {
    **{kind: ("type", kind) for kind in TYPES},
    **{f"tags/{tag}": ("tag", tag) for tag in TAGS},
}

_STATES = {
    CLOSED_CLEANLY: "closed",
    KILLED: "killed, with a log of the index and an order journal",
    LONG: "closed, too long to be looked through at the start",
}


def every_byte(run: Run) -> list[str]:
    """Damage the index at every byte, in every way, and open the directory.

    A small directory with logs of each format, types, tags, a derived stream and an order
    between logs that is not that of time; as a hub leaves it that is closed, and that is
    killed. Its index is taken away, of another version, cut, zeroed by sectors, and has each
    byte that is not 0 changed; so are its write-ahead log and the order journal. The engine
    opens it, and all that can be asked for is held against the logs; then it is written to,
    and opened again. No log changes, each event has one position, and where an answer or a
    position is another than before the hub has said so; but of an index that is too long to
    be looked through at the start, wrong answers are possible that only `hub verify` names.
    Short: a sample; long: each byte after a clean close, and a larger sample of the rest.
    """
    return asyncio.run(_every_byte(run))


async def _every_byte(run: Run) -> list[str]:
    closed = await Writer(run.directory / "write-closed").closed()
    killed = await Writer(run.directory / "write-killed").killed()
    shown = [await _all_damages(run, closed), await _all_damages(run, killed)]
    before, index.CHECKED_BYTES = index.CHECKED_BYTES, 0
    try:
        shown.append(await _all_damages(run, structs.replace(closed, name=LONG)))
    finally:
        index.CHECKED_BYTES = before
    return shown


async def _all_damages(run: Run, sample: Sample) -> str:
    trial = _Trial(run.directory / sample.name, sample)
    for number, damage in enumerate(damages(sample, run), 1):
        await trial.go(damage)
        if number % 1000 == 0:
            run.say(f"{sample.name}: {number:,}")
    counts = ", ".join(f"{count:,} {what}" for what, count in sorted(trial.counts.items()))
    shown = f"{_STATES[sample.name]}: {counts}"
    run.say(shown)
    return shown


_Work = Callable[[], Awaitable[dict[int, bytes]]]


class _Unseen(Exception):
    """What was asked for was not right, and the hub had said nothing."""


class _Trial:
    """All changes of one sample."""

    def __init__(self, directory: Path, sample: Sample) -> None:
        self._directory = directory
        self._sample = sample
        self._checked = sample.name != LONG
        self._what = ""
        self._told: list[str] = []  # by the hub, of this change
        sample.restore(directory)
        self._sound = set(Verification(directory).run())
        self.counts: Counter[str] = Counter()

    async def go(self, damage: Damage) -> None:
        """Do it, open the directory, look at all that can be asked for, write, open it again."""
        self._what = f"{self._sample.name}, {damage.what}"
        self._sample.restore(self._directory)
        damage.apply(self._directory)
        found = set(Verification(self._directory).run()) - self._sound
        try:
            with told_by_hub() as self._told:
                outcome = await self._open_twice()
        except _Unseen as error:
            self._check(not self._checked, f"{error}, and nothing was said")
            self._check(any(each.grave for each in found), f"{error}, unseen by hub verify")
            outcome = "wrong answers, unsaid: hub verify names the damage"
        self._check(damage.files or not self._told, "a sound index is called bad")
        if self._told and self._sample.name != KILLED:
            self._check(found, "hub verify finds nothing")
        self.counts[outcome] += 1

    def _check(self, holds: object, promise: str) -> None:
        check(holds, f"{promise}: {self._directory}, {self._what}; told: {self._told}")

    def _keep(self, holds: object, promise: str) -> None:
        """What holds at least where the hub said something."""
        if not holds and not self._told:
            raise _Unseen(promise)
        self._check(holds, promise)

    async def _open_twice(self) -> str:
        order = await self._once_more(lambda: self._use(self._sample.order), lambda: self._use({}))
        moved = any(order.get(at) != each for at, each in self._sample.order.items())
        said = len(self._told)
        again = await self._once_more(self._look, self._look)
        late = not self._checked and len(self._told) > said  # it is found out just now
        self._check(again == order or late, "the next opening gives another order")
        if not self._told:
            return UNSEEN
        return "said, with positions given anew" if moved else "said, and each position kept"

    async def _once_more(self, work: _Work, again: _Work) -> dict[int, bytes]:
        """Where that fails, the hub has said why; at the next opening it does not fail."""
        try:
            return await work()
        except (ReadFailed, IndexFailed, UnknownStream) as error:
            self._keep(self._told, f"somebody is told {error}")
            return await again()

    async def _look(self) -> dict[int, bytes]:
        """Open, read, close; return the order."""
        engine = await self._open()
        try:
            order = await order_of(engine)
            await self._check_reading(engine, order)
            return order
        finally:
            await engine.close()

    async def _use(self, told: Mapping[int, bytes]) -> dict[int, bytes]:
        """Open, read, write, read, close; return the order. `told` was told before."""
        engine = await self._open()
        try:
            order = await order_of(engine)
            self._check_whole(order)
            moved = any(order.get(at) != each for at, each in told.items())
            kept = moved or not told or await engine.settle() >= self._sample.head
            self._keep(kept, "positions of a log that is gone are given again")
            self._keep(self._told or not moved, "positions are others")
            await self._check_reading(engine, order)
            return await self._write(engine, order)
        finally:
            await engine.close()

    async def _open(self) -> FilesEngine:
        engine = FilesEngine(self._directory, Durability.OS, clock=lambda: 2 * BASE)
        await engine.open()
        return engine

    def _check_whole(self, order: Mapping[int, bytes]) -> None:
        """Each event has one position; those of a log follow each other; no file has changed."""
        logs = documents_of(self._directory)
        for name, log in self._sample.documents.items():
            self._check(logs[name][: len(log)] == log, f"{name} is not what it was")
        for name, (content, _) in self._sample.files.items():
            if name.endswith((TSV, NDJSON, "json")):
                now = (self._directory / name).read_bytes()
                self._check(now.startswith(content), f"{name} has other bytes")
        at = {document: position for position, document in order.items()}
        self._keep(len(at) == len(order), "an event has two positions")
        self._keep(at.keys() == {each for log in logs.values() for each in log}, "events lack")
        for name, log in logs.items():
            places = [at[each] for each in log]
            self._keep(places == sorted(places), f"{name} has another order")

    async def _check_reading(self, engine: FilesEngine, order: Mapping[int, bytes]) -> None:
        """Logs, queries and derived streams have what the logs hold."""
        for log in engine.logs():
            self._check(not log.damage, f"{log.name} is called damaged: {log.damage}")
            text = await engine.read(log.name, 0, log.length)
            self._check(text == engine.file(log.name).read_bytes(), f"{log.name} is not whole")
            ends = [0, *(at for at, byte in enumerate(text, 1) if byte == 10)]
            numbers = range(1, log.version + 1)
            places = await asyncio.gather(*[engine.place(log.name, n) for n in numbers])
            self._keep(places == ends[:-1], f"events of {log.name} are looked for at {places}")
            self._check(log.closed == (log.name == CLOSED), f"{log.name} is closed or open")
        self._check(list(engine.derived) == [DERIVED], f"{DERIVED} is gone")
        for name in _SELECTORS:
            await self._check_query(engine, order, name)
        expected = [each for _, each in sorted(order.items()) if MATCHER.matches_document(each)]
        version = await engine.version_of(DERIVED)
        self._keep(version == len(expected), f"{DERIVED} has {version} events")
        found = await engine.read_derived(DERIVED, range(1, version + 1))
        self._keep([each[:-1] for each in found] == expected, f"{DERIVED} has other events")

    async def _check_query(
        self, engine: FilesEngine, order: Mapping[int, bytes], name: str
    ) -> None:
        """A query finds what it should; so does a commit that it must not have happened."""
        selector = parse_selector(name, allow_all=True)
        expected = {at: each for at, each in order.items() if _is_meant(each, name)}
        found = await order_of(engine, Scope(selector))
        self._keep(found == expected, f"a query for {name} finds other events")
        condition = Condition(selector, max(expected) - 1)
        try:
            await engine.commit("orders-1", Draft([b"{}"], [""], "a"), None, condition)
        except ConditionConflict:
            return
        self._keep(False, f"a commit that no {name} may come before is taken, though one did")

    async def _write(self, engine: FilesEngine, order: Mapping[int, bytes]) -> dict[int, bytes]:
        """Append and commit; return the order with these events at its end."""
        head = await engine.settle()
        await engine.append("chat", Batch.of_one("", "paid", b"after"))
        draft = Draft([b'{"type":"paid","n":0}'], ["paid"], "a")
        condition = Condition(parse_selector("sent", allow_all=True), head)
        receipt = await engine.commit("orders-1", draft, None, condition)
        self._keep(receipt.position == head + 2, f"position {receipt.position} behind {head}")
        now = await order_of(engine)
        old = {at: each for at, each in now.items() if at <= head}
        self._keep(old == order and len(now) == len(order) + 2, "what came later moved others")
        return now


def _is_meant(document: bytes, name: str) -> bool:
    labels = _labels(document)
    kind, value = _SELECTORS[name]
    return labels.type == value if kind == "type" else value in labels.tags
