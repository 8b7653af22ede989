"""Async iterators that can be closed, over what comes in chunks.

Owns how chunks become single items: an item costs no await of its own.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Generic, Self, TypeVar

T = TypeVar("T")


class Iteration(AsyncIterator[T], Generic[T]):
    """What reads give: for `async for`, once.

    Leaving the loop, by `break`, an error or cancellation, closes the connection soon
    after. To have it closed at once, and whatever refers to the iterator, enter it::

        async with hub.subscribe("orders") as events:
            async for event in events:
                ...

    Nothing is requested before the first item is asked for. Cancelling is safe at any
    time, but ends the iteration.
    """

    def __init__(self, chunks: AsyncGenerator[Sequence[T], None]) -> None:
        self.chunks = chunks
        """The same items as they came, several at a time."""
        self._items = _each(chunks)

    def __aiter__(self) -> AsyncIterator[T]:
        return self._items  # itself, so that a step is not a call more

    async def __anext__(self) -> T:
        return await anext(self._items)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connection. More than once does no harm."""
        await self._items.aclose()
        await self.chunks.aclose()


# No method: an iterator that refers to itself would live on after `break`.
async def _each(chunks: AsyncGenerator[Sequence[T], None]) -> AsyncGenerator[T, None]:
    async with aclosing(chunks):
        async for chunk in chunks:
            for item in chunk:
                yield item
