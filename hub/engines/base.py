"""What services need of an engine, whichever it is.

Owns the protocol and nothing else. Places in a log are opaque integers that an
engine gives out and takes back; for the `files` engine they are byte offsets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from hub.document import Draft, Keys
from hub.formats import Batch
from hub.matcher import Matcher
from hub.selector import Condition
from hub.storage.group import Receipt
from hub.storage.log import Committed
from hub.storage.order import Slice
from hub.storage.places import BLOCK
from hub.storage.plan import Scope
from hub.storage.search import Selection, Window

__all__ = [
    "BLOCK",
    "Committed",
    "Cursor",
    "Engine",
    "LogState",
    "Receipt",
    "Scope",
    "Selection",
    "Slice",
    "Window",
]


class Cursor(Protocol):
    """A reader's place in the global order; only its engine looks into it."""


class LogState(Protocol):
    """What is known of a log; changes as it grows."""

    @property
    def name(self) -> str: ...
    @property
    def format(self) -> str: ...
    @property
    def length(self) -> int:
        """The place behind its last event."""

    @property
    def version(self) -> int: ...
    @property
    def last_id(self) -> str: ...
    @property
    def damage(self) -> str | None: ...
    @property
    def closed(self) -> bool:
        """Whether it is sealed: it takes no events, for good."""


class Engine(Protocol):
    """Keeps logs. Only names that have been checked may be given to it."""

    on_commit: list[Callable[[Committed], None]]
    """Called in the event loop, in order, with every group that has become visible."""

    on_indexed: list[Callable[[], None]]
    """Called in the event loop when there are new positions to be told."""

    keys: Keys
    """Where in a payload its type and its tags are."""

    async def open(self) -> None:
        """Make ready; raises `StartupError`."""

    async def close(self) -> None:
        """Commit what is pending and let go of everything."""

    def logs(self) -> Iterable[LogState]:
        """Every log that has been written."""

    def names(self, prefix: str, after: str = "", limit: int | None = None) -> Sequence[str]:
        """The first `limit` names behind `after` that begin with a prefix, in their order.

        Those of logs and of derived streams; `find` may not know a log that is being made.
        Costs time by what it returns.
        """

    def find(self, name: str) -> LogState | None:
        """A log, or None if it was never written."""

    def append(self, name: str, batch: Batch) -> asyncio.Future[Receipt]:
        """Commit a batch. The future ends when it is as durable as promised, or with an error.

        Cancelling is safe: the batch is committed whole or not at all.
        """

    async def look(self, name: str) -> None:
        """Take in what was added to a log other than by `append`, if the engine allows that.

        Raises `ReadFailed` if it is not known what a log holds.
        """

    async def window(self, name: str, wanted: Selection, end: int) -> Window:
        """The places that a selection covers, of the log up to `end`. Raises `UnknownId`."""

    async def resume(self, name: str, identity: str, end: int, *, seen: bool = False) -> int | None:
        """Where a reader goes on from this id, or this time; None if the id is unknown.

        So is with `seen`, where it is said to be an event's, a time later than the last event.
        """

    async def read(self, name: str, start: int, end: int, size: int = BLOCK) -> bytes:
        """Whole lines from `start` on, not beyond `end`: as many as fit into `size`, or one."""

    async def count(self, name: str, start: int, end: int) -> int:
        """How many events stand between two places."""

    def file(self, name: str) -> Path:
        """The file whose bytes between two places are those of the log."""

    async def written(self, names: Sequence[str]) -> Mapping[str, int]:
        """When each of these logs was written last, in milliseconds since 1970, where known."""

    async def make(self, name: str, form: str) -> bool:
        """Make an empty log; False if it is there already. Raises `FormatConflict`."""

    async def seal(self, name: str) -> None:
        """Let a log take no more events, for good."""

    def commit(
        self,
        name: str,
        draft: Draft,
        expected: int | None = None,
        condition: Condition | None = None,
    ) -> Awaitable[Receipt]:
        """Commit events to a stream, all or none, and wait until their position can be told.

        Without a condition they are on their way when this returns. `expected`
        is the version that the stream must have. Raises
        `VersionConflict`, `ConditionConflict`, `StreamClosed`,
        `FormatConflict`, `LogUnavailable`. Cancelling is safe: the events are
        committed whole or not at all, and never against the condition.
        """

    async def place(self, name: str, revision: int) -> int:
        """The place of the event with this revision, from 1 to the version + 1."""

    async def read_back(self, name: str, start: int, end: int) -> bytes:
        """Whole lines before `end`, not before `start`: a piece that is cheap to hold."""

    @property
    def head(self) -> int:
        """The position of the last event that can be told."""

    async def settle(self) -> int:
        """Wait until every event that is visible has a position that can be told; the last."""

    def follow_order(self, on: bool) -> None:
        """Say that somebody waits for positions, or does so no longer."""

    def cursor(self, scope: Scope, low: int, high: int, *, backwards: bool = False) -> Cursor:
        """A reader of the global order between two positions; for one task at a time."""

    async def read_order(self, cursor: Cursor) -> Slice | None:
        """What comes next: documents, perhaps none of them; None at the end."""

    @property
    def derived(self) -> Mapping[str, Matcher]:
        """The derived streams, by name."""

    async def derive(self, name: str, matcher: Matcher) -> None:
        """Define a derived stream, durably."""

    async def underive(self, name: str) -> None:
        """Take a derived stream away; no event is touched."""

    async def version_of(self, derived: str) -> int:
        """How many events a derived stream has now."""

    async def read_derived(self, name: str, revisions: Sequence[int]) -> list[bytes]:
        """The documents of a derived stream with these revisions, in this order, with LF.

        Perhaps only of the first of them: a piece that is cheap to hold.
        """
