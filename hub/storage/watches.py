"""Tells commits under way that carry a condition of every event that gets its place.

Owns the time between the reading of what has positions already and the moment
when a commit gets its place: no event comes unseen in it. Must not know what
the conditions are.

Looking takes time of the event loop, so a turn of it has a budget. Of a batch
that goes beyond, a watch is not sure: its commit waits until the batch has its
position, and checks again by the index. One that never comes to be sure *insists*:
in its turn at its log it waits for all that has its place already, and whatever
gets its place meanwhile, and may be ruled out, gets its position behind it. Only
one insists at a time, and meanwhile no other commit with a condition gets its
place: so nobody whom it waits for waits for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import asynccontextmanager

from msgspec import Struct

from hub.document import Keys, documents
from hub.errors import ConditionConflict, HubError, VersionConflict
from hub.formats import NDJSON, split_rows
from hub.storage.group import Entry
from hub.storage.log import Guard, Log, Turn

Sees = Callable[[str, bytes], bool]
"""Whether a document (without LF) of a stream is one that a condition rules out."""


POLL_SECONDS = 0.001
"""Between two looks at whether an event that a watch has seen is written."""

UNSEEN_SECONDS = 0.01
"""The same for a batch that nobody looked at, which is large, or for one who insists."""

LOOK_BYTES = 1024 * 1024
"""What all watches together look at in one turn of the event loop: some 100 ms of small events."""

_GIVEN_UP = "the commit was given up"

logger = logging.getLogger(__name__)


class Hit(Struct):
    """An event that a condition rules out, or what may have one."""

    log: Log
    entry: Entry | None  # None: lines by hand, or one who insists came first
    seen: bool = True  # False: it is one of a batch that nobody looked at

    def is_under_way(self) -> bool:
        """Whether it may yet fail to be written."""
        return any(each is self.entry for each in self.log.forming)


class Watch:
    """One commit's eyes. `hit` is the first such event, `own` what the commit brings."""

    def __init__(self, sees: Sees, active: Collection[Log], all_watches: Watches) -> None:
        self._sees = sees
        self._active = active
        self._all = all_watches
        self.hit: Hit | None = None
        self.own: Hit | None = None  # once it has its place
        self.insists = False  # until then
        self.closed = False
        self._unseen: list[Hit] = []  # the last of each log that was under way already

    def look(self, log: Log, entry: Entry, found: Iterable[bytes] | None) -> bool:
        """Look at the documents of a batch, or not; return whether one may be ruled out."""
        may_be = found is None or any(self._is_seen(log.name, each) for each in found)
        if may_be and self.hit is None and not self.insists:
            self.hit = Hit(log, entry, found is not None)
        return may_be

    def leave(self, log: Log) -> None:
        """Do not look at what is under way on a log: `unseen` waits for it."""
        if log.forming:
            self._unseen.append(Hit(log, log.forming[-1], False))

    def insist(self, log: Log) -> None:
        """Come to this log before all that has no place yet, whatever it is.

        The condition must then be checked, after `unseen`, and the commit get its place,
        or the watch be closed. Raises `ConditionConflict` if it is closed already.
        """
        if self.closed:
            raise ConditionConflict(_GIVEN_UP)
        self._all.insisting = self, log
        self.insists = True
        self.hit = None
        for each in self._active:
            self.leave(each)

    def gives_way(self) -> bool:
        """Whether another commit insists: then this one cannot get its place now."""
        if self._all.insisting is None or self._all.insisting[0] is self:
            return False
        self.hit = self.hit or Hit(self._all.insisting[1], None)
        return True

    async def unseen(self) -> None:
        """Wait for what was under way and not looked at: it has its position then, or failed."""
        while self._unseen and not self.closed:
            if self._unseen[-1].is_under_way():
                await asyncio.sleep(UNSEEN_SECONDS)
            else:
                self._unseen.pop()

    def is_under_way(self) -> bool:
        """Whether the commit has its place, or its turn, but no position yet."""
        return self.insists or (self.own is not None and self.own.is_under_way())

    def brings_to(self, log: Log) -> bool:
        """Whether it is this log that the commit goes to."""
        return self.own is not None and self.own.log is log

    def _is_seen(self, stream: str, document: bytes) -> bool:
        try:
            return self._sees(stream, document)
        except Exception:  # those who bring the event are not to blame
            logger.exception("a condition cannot be held against an event of %r", stream)
            return True

    async def is_true(self) -> bool:
        """Whether the hit is one: the event came to be. Waits until that is known."""
        hit = self.hit
        if hit is None or hit.entry is None:
            return False
        while hit.is_under_way():  # noqa: ASYNC110 - this is rare, and soon over
            await asyncio.sleep(POLL_SECONDS if hit.seen else UNSEEN_SECONDS)
        return hit.seen and hit.entry.receipt.position > 0


class Watches:
    """All watches that are open."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._open: set[Watch] = set()
        self._given_up: set[Watch] = set()  # their commits may be under way all the same
        self._looked = 0  # bytes, in this turn of the loop
        self._insisters = 0  # who insists or is about to
        self._turn = asyncio.Lock()
        self.insisting: tuple[Watch, Log] | None = None  # who has his turn, and where

    def open(self, sees: Sees, active: Collection[Log]) -> Watch:
        """Watch from now on, and what is on its way into the files of `active` logs.

        What of it cannot be looked at, `Watch.unseen` waits for. Close it in the end.
        """
        watch = Watch(sees, active, self)
        self._open.add(watch)
        for log in active:
            if self._may_look(sum([each.size for each in log.forming])):
                for entry in log.forming:
                    watch.look(log, entry, self._documents(log, entry))
            else:
                watch.leave(log)
        return watch

    def close(self, watch: Watch) -> None:
        """Watch no longer: a commit that has not got its place by now must not get it."""
        self._open.discard(watch)
        watch.closed = True
        self._end_turn(watch)
        if watch.is_under_way():
            self._given_up.add(watch)

    async def quiet(self) -> None:
        """Wait until nobody insists."""
        while self._insisters:  # noqa: ASYNC110 - this is rare
            await asyncio.sleep(UNSEEN_SECONDS)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """For one who will insist: one after the other, in the order in which they come."""
        self._insisters += 1
        try:
            async with self._turn:
                yield
        finally:
            self._insisters -= 1

    def _end_turn(self, watch: Watch) -> None:
        watch.insists = False
        if self.insisting is not None and self.insisting[0] is watch:
            self.insisting = None

    def tell(self, log: Log, entry: Entry, guard: Guard | None) -> list[Watch]:
        """Of a batch that has got its place: all but the one who brings it look at it.

        Returns whose commits got theirs before, though they rule it out, or may: it must
        not get a position before they do.
        """
        if not self._open and not self._given_up:
            return []
        own = _own(guard)
        if own is not None:
            own.own = Hit(log, entry)
            self._end_turn(own)
        self._given_up = {each for each in self._given_up if each.is_under_way()}
        others = [
            each
            for each in self._open | self._given_up
            if each is not own and (each.hit is None or each.is_under_way())
        ]
        found: list[bytes] | None = None
        seen = []
        for each in others:
            looks = self._may_look(entry.size)
            if looks and found is None:
                found = self._documents(log, entry)
            if each.look(log, entry, found if looks else None):
                seen.append(each)
        # In one log they come one after the other anyway.
        return [each for each in seen if each.is_under_way() and not each.brings_to(log)]

    def alarm(self, log: Log) -> None:
        """Of lines that came by hand: nobody may trust his condition before he has checked it."""
        for each in self._open:
            each.hit = each.hit or Hit(log, None)

    def _may_look(self, size: int) -> bool:
        """Whether one more watch may look at so many bytes in this turn of the loop."""
        if self._looked + size > LOOK_BYTES:
            return False
        if size and not self._looked:
            asyncio.get_running_loop().call_soon(self._renew)
        self._looked += size
        return True

    def _renew(self) -> None:
        self._looked = 0

    def _documents(self, log: Log, entry: Entry) -> list[bytes]:
        lines = b"".join(entry.lines())
        if log.format != NDJSON:
            revision = entry.receipt.version + 1
            lines = documents(split_rows(lines), log.name, revision, keys=self._keys)
        found = lines.split(b"\n")
        found.pop()
        return found


class CommitGuard:
    """What one commit needs to hold: the version of its stream, its condition."""

    def __init__(
        self, expected: int | None, watch: Watch | None = None, turn: Turn | None = None
    ) -> None:
        self._expected = expected
        self.watch = watch
        self.turn = turn

    def refusal(self, log: str, version: int) -> HubError | None:
        """Why the commit cannot come right behind this version, or None if it can."""
        expected, watch = self._expected, self.watch
        if expected is not None and expected != version:
            return VersionConflict(
                f"stream {log!r} has version {version}, not {expected}",
                expected=expected,
                actual=version,
            )
        if watch is None:
            return None
        if watch.closed:
            return ConditionConflict(_GIVEN_UP)
        watch.gives_way()
        return None if watch.hit is None else condition_conflict(watch.hit.log.name)


def condition_conflict(stream: str, position: int | None = None) -> ConditionConflict:
    """The answer to a condition that does not hold any more, because of an event of a stream."""
    where = "" if position is None else f", at position {position}"
    return ConditionConflict(
        f"an event that the condition rules out came to stream {stream!r}{where}: "
        "query again, decide again",
        **({} if position is None else {"position": position}),
        stream=stream,
    )


def _own(guard: Guard | None) -> Watch | None:
    return guard.watch if isinstance(guard, CommitGuard) else None
