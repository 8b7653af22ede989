"""What consumers need of streams: views that can be read in pieces and waited for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from msgspec import Struct


class Piece(Struct):
    """Some events of a view, in order.

    `documents` are compact JSON without a line break; `numbers` the revision or
    position of each; every number up to `end` has been looked at.
    """

    documents: list[bytes]
    numbers: Sequence[int]
    end: int


class View(Protocol):
    """A stream: a log, or what is selected from several."""

    def head(self) -> int:
        """The number of the last event that there may be."""

    async def settle(self) -> int:
        """The number of the last event, of all that were acknowledged. Cancelling is safe."""

    async def read(self, after: int, limit: int) -> Piece:
        """About `limit` events with numbers beyond `after`, fewer at the end.

        Cancelling is safe.
        """

    async def wait(self, after: int) -> None:
        """Return when there may be events beyond `after`. Cancelling is safe."""


OpenView = Callable[[str], Awaitable[View]]
"""From the stream's name, as it stands in the URL; raises `HubError` if there is none."""
