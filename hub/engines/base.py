"""What services need of an engine, whichever it is.

Owns the protocol and nothing else. Places in a log are opaque integers that an
engine gives out and takes back; for the `files` engine they are byte offsets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from hub.formats import Batch
from hub.storage.group import Receipt
from hub.storage.log import Committed
from hub.storage.search import Selection, Window

__all__ = ["Committed", "Engine", "LogState", "Receipt", "Selection", "Window"]


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


class Engine(Protocol):
    """Keeps logs. Only names that have been checked may be given to it."""

    on_commit: list[Callable[[Committed], None]]
    """Called in the event loop, in order, with every group that has become visible."""

    async def open(self) -> None:
        """Make ready; raises `StartupError`."""

    async def close(self) -> None:
        """Commit what is pending and let go of everything."""

    def logs(self) -> Iterable[LogState]:
        """Every log that has been written."""

    def find(self, name: str) -> LogState | None:
        """A log, or None if it was never written."""

    def append(self, name: str, batch: Batch) -> asyncio.Future[Receipt]:
        """Commit a batch. The future ends when it is as durable as promised, or with an error.

        Cancelling is safe: the batch is committed whole or not at all.
        """

    async def look(self, name: str) -> None:
        """Take in what was added to a log other than by `append`, if the engine allows that."""

    async def window(self, name: str, wanted: Selection, end: int) -> Window:
        """The places that a selection covers, of the log up to `end`. Raises `UnknownId`."""

    async def resume(self, name: str, identity: str, end: int) -> int | None:
        """Where a reader that has seen this id goes on; None if the id is unknown."""

    async def read(self, name: str, start: int, end: int) -> bytes:
        """Whole lines from `start` on, not beyond `end`: a piece that is cheap to hold."""

    async def count(self, name: str, start: int, end: int) -> int:
        """How many events stand between two places."""

    def file(self, name: str) -> Path:
        """The file whose bytes between two places are those of the log."""
