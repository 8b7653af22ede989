"""What is known of one log while the hub runs, and what is told of each commit.

Owns the records, and nothing that is done with them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from msgspec import Struct

from hub.document import Draft
from hub.errors import HubError
from hub.event import IdOrder
from hub.formats import TSV, Batch
from hub.storage.group import Entry, Receipt


class Log:
    """What is known of one log. Only its writer task changes it."""

    __slots__ = (
        "closed",
        "damage",
        "fd",
        "format",
        "forming",
        "last_id",
        "length",
        "made",
        "name",
        "number",
        "opened",
        "order",
        "pending",
        "synced",
        "synced_version",
        "uncut",
        "unread",
        "unsound",
        "version",
    )

    def __init__(self, name: str, form: str = TSV) -> None:
        self.name = name
        self.format = form
        self.length = 0  # bytes that readers may see
        self.version = 0  # events in them
        self.last_id = ""
        self.order = IdOrder()  # of its ids
        self.made = False  # its file exists
        self.synced = 0  # bytes known to be on disk
        self.synced_version = 0  # events in them
        self.unsound = False  # a sync failed: to be reopened before the next write
        self.uncut = False  # and some of what was refused may be in the file
        self.damage: str | None = None
        self.unread = False  # and nothing of it could be read: what is in it is not known
        self.closed = False  # sealed: takes no writes for good
        self.number = 0  # in the index; 0: it has none yet
        self.forming: list[Entry] = []  # on their way into the file
        self.fd: int | None = None  # open while its writer task runs, and a moment longer
        self.opened = 0.0  # when that was, on the monotonic clock
        self.pending: list[Pending] | None = None  # None: no writer task


Tell = Callable[[asyncio.Future[Receipt], Receipt], None]


def tell(done: asyncio.Future[Receipt], receipt: Receipt) -> None:
    """Tell who commits that it is stored."""
    if not done.done():
        done.set_result(receipt)


class Pending(Struct):
    """A batch that waits for the disk."""

    batch: Batch | Draft
    done: asyncio.Future[Receipt]
    guard: Guard | None = None
    tell: Tell = tell  # once it is stored, and has its position


Turn = Callable[[Log], Awaitable[None]]


class Guard(Protocol):
    """What must still hold when a commit gets its place.

    With `turn` it gets it alone: nothing comes to the log while that is awaited, which
    raises `HubError` if the commit is refused, and the guard is asked right behind it.
    """

    @property
    def turn(self) -> Turn | None: ...

    def refusal(self, log: str, version: int) -> HubError | None:
        """Why the commit cannot come right behind this version, or None if it can."""


class Earlier(Protocol):
    """A batch of another log that must have its position before one that came later."""

    def is_under_way(self) -> bool:
        """Whether it has yet to get it, or to fail."""


class Committed(Struct, frozen=True):
    """A group that has become visible: bytes `start` to `end` of the log.

    `lines` are those bytes, or None when there are too many to hold.
    """

    log: Log
    start: int
    end: int
    count: int
    revision: int  # of its first event
    lines: bytes | None
    seconds: float  # from the start of the write to its end
    by_hand: bool = False
