"""What is known of one log while the hub runs, and what is told of each commit.

Owns the records, and nothing that is done with them.
"""

from __future__ import annotations

import asyncio

from msgspec import Struct

from hub.event import IdOrder
from hub.formats import TSV, Batch
from hub.storage.group import Receipt


class Log:
    """What is known of one log. Only its writer task changes it."""

    __slots__ = (
        "damage",
        "fd",
        "format",
        "last_id",
        "length",
        "made",
        "name",
        "opened",
        "order",
        "pending",
        "synced",
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
        self.unsound = False  # a sync failed: to be reopened before the next write
        self.damage: str | None = None
        self.fd: int | None = None  # open while its writer task runs, and a moment longer
        self.opened = 0.0  # when that was, on the monotonic clock
        self.pending: list[Pending] | None = None  # None: no writer task


class Pending(Struct):
    """A batch that waits for the disk."""

    batch: Batch
    done: asyncio.Future[Receipt]


class Committed(Struct, frozen=True):
    """A group that has become visible: bytes `start` to `end` of the log.

    `lines` are those bytes, or None when there are too many to hold.
    """

    log: Log
    start: int
    end: int
    count: int
    lines: bytes | None
    seconds: float  # from the start of the write to its end
