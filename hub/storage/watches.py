"""Tells commits under way that carry a condition of every event that gets its place.

Owns the time between the reading of what has positions already and the moment
when a commit gets its place: no event comes unseen in it. Must not know what
the conditions are.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from msgspec import Struct

from hub.document import Keys, documents
from hub.errors import ConditionConflict, HubError, VersionConflict
from hub.formats import NDJSON, split_rows
from hub.storage.group import Entry
from hub.storage.log import Guard, Log

Sees = Callable[[str, bytes], bool]
"""Whether a document (without LF) of a stream is one that a condition rules out."""


POLL_SECONDS = 0.001
"""Between two looks at whether an event that a watch has seen is written."""

logger = logging.getLogger(__name__)


class Hit(Struct):
    """An event that a condition rules out, or lines by hand that may have one."""

    log: Log
    entry: Entry | None  # None: lines by hand

    def is_under_way(self) -> bool:
        """Whether it may yet fail to be written."""
        return any(each is self.entry for each in self.log.forming)


class Watch:
    """One commit's eyes. `hit` is the first such event, `own` what the commit brings."""

    def __init__(self, sees: Sees) -> None:
        self._sees = sees
        self.hit: Hit | None = None
        self.own: Hit | None = None  # once it has its place
        self.closed = False

    def look(self, log: Log, entry: Entry, found: Iterable[bytes]) -> bool:
        """Look at the documents of a batch; return whether one is ruled out."""
        seen = any(self._is_seen(log.name, each) for each in found)
        if seen and self.hit is None:
            self.hit = Hit(log, entry)
        return seen

    def is_under_way(self) -> bool:
        """Whether the commit has its place, but no position yet."""
        return self.own is not None and self.own.is_under_way()

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
            await asyncio.sleep(POLL_SECONDS)
        return hit.entry.receipt.position > 0


class Watches:
    """All watches that are open."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._open: set[Watch] = set()
        self._given_up: set[Watch] = set()  # their commits may be under way all the same

    def open(self, sees: Sees, active: Iterable[Log]) -> Watch:
        """Watch from now on, and what is on its way into the files of `active` logs.

        Close it in the end.
        """
        watch = Watch(sees)
        self._open.add(watch)
        for log in active:
            for entry in log.forming:
                watch.look(log, entry, self._documents(log, entry))
        return watch

    def close(self, watch: Watch) -> None:
        """Watch no longer: a commit that has not got its place by now must not get it."""
        self._open.discard(watch)
        watch.closed = True
        if watch.is_under_way():
            self._given_up.add(watch)

    def tell(self, log: Log, entry: Entry, guard: Guard | None) -> list[Watch]:
        """Of a batch that has got its place: all but the one who brings it look at it.

        Returns whose commits got theirs before, though they rule it out: it must not
        get a position before they do.
        """
        if not self._open and not self._given_up:
            return []
        own = _own(guard)
        if own is not None:
            own.own = Hit(log, entry)
        self._given_up = {each for each in self._given_up if each.is_under_way()}
        others = [
            each
            for each in self._open | self._given_up
            if each is not own and (each.hit is None or each.is_under_way())
        ]
        found = self._documents(log, entry) if others else []
        seen = [each for each in others if each.look(log, entry, found)]
        # In one log they come one after the other anyway.
        return [each for each in seen if each.is_under_way() and not each.brings_to(log)]

    def alarm(self, log: Log) -> None:
        """Of lines that came by hand: nobody may trust his condition before he has checked it."""
        for each in self._open:
            each.hit = each.hit or Hit(log, None)

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

    def __init__(self, expected: int | None, watch: Watch | None = None) -> None:
        self._expected = expected
        self.watch = watch

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
            return ConditionConflict("the commit was given up")
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
