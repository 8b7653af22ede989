"""Keeps a subscription alive: connects, reads, connects again.

Owns when it is worth another try, and the hub's ways to say things in a stream of
events. Where to begin is asked of the reader, each time. It must not know what is
followed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing

from hub import sse
from hub.client.backoff import Backoff
from hub.client.connection import Connection, Parameters
from hub.client.errors import ClientClosed, endless
from hub.client.values import Reconnecting
from hub.errors import HubError, TooLarge

RESET_TYPE = "hub-reset"
RETRY_SECONDS = 0.5
"""What is waited before a hub has said how long."""

LONGEST_SECONDS = 300.0
"""The most that a hub can ask for."""

OnHead = Callable[[Mapping[str, str]], None]
OnReconnect = Callable[[Reconnecting], object]


class Following:
    """Waits between tries; gives up where that is pointless.

    Until the first connection that is after `patience` seconds, later never.
    """

    def __init__(self, patience: float, on_reconnect: OnReconnect | None) -> None:
        self._on_reconnect = on_reconnect
        self._backoff = Backoff(RETRY_SECONDS)
        self._until: float | None = time.monotonic() + patience  # None: for ever

    def connected(self) -> None:
        """A connection came about."""
        self._until = None
        self._backoff.succeed()

    def ask_for(self, milliseconds: int) -> None:
        """The hub wants this to be waited."""
        self._backoff.base = min(milliseconds / 1000, LONGEST_SECONDS)

    async def pause(self, error: HubError | None) -> None:
        """Wait before the next try; raise the error if there is to be none."""
        if error is not None and not is_worth_a_try(error):
            raise error
        attempt, seconds = self._backoff.attempt + 1, self._backoff.next()
        over = self._until is not None and time.monotonic() + seconds > self._until
        if error is not None and over:
            raise error
        if self._on_reconnect is not None:
            self._on_reconnect(Reconnecting(error, attempt, seconds))
        await asyncio.sleep(seconds)


def is_worth_a_try(error: HubError) -> bool:
    """Whether it may be gone at the next try: no answer, or one that blames the hub."""
    if isinstance(error, ClientClosed):
        return False
    return error.status is None or error.status >= 500 or error.status in (408, 425, 429)


async def follow(
    connection: Connection,
    path: str,
    params: Parameters,
    begin: Callable[[], Awaitable[str]],
    following: Following,
    on_head: OnHead | None = None,
) -> AsyncGenerator[Sequence[sse.Message] | None, None]:
    """The messages of a URL, for ever; None where the hub begins again from the start.

    `begin` gives the cursor for each connection: the id of what was seen last, or
    nothing. `params` are looked at after that. `on_head` gets the headers of each
    answer. The caller has to have taken in a chunk when it asks for the next.
    """
    while True:
        error = None
        try:
            headers = {"Accept": sse.CONTENT_TYPE, "Accept-Encoding": "identity"}
            if cursor := await begin():
                headers["Last-Event-ID"] = cursor
            pieces = _connect(connection, path, params, headers, following, on_head)
            async with aclosing(pieces):
                async for chunk in pieces:
                    yield chunk
        except HubError as reason:
            error = reason
        await following.pause(error)


async def _connect(
    connection: Connection,
    path: str,
    params: Parameters,
    headers: dict[str, str],
    following: Following,
    on_head: OnHead | None,
) -> AsyncGenerator[Sequence[sse.Message] | None, None]:
    parser = sse.Parser(default_type="")
    first = True
    opened = connection.open("GET", path, params=params, headers=headers, patience=0.0)
    async with opened as response:
        following.connected()
        if on_head is not None:
            on_head(response.headers)
        pieces = connection.pieces(response)
        async with aclosing(pieces):
            async for piece in pieces:
                messages = _feed(parser, piece)
                if parser.retry is not None:
                    following.ask_for(parser.retry)
                if not messages:
                    continue
                # An event that somebody called so has an id.
                if first and messages[0].event == RESET_TYPE and not messages[0].id:
                    yield None
                    messages = messages[1:]
                first = False
                if messages:
                    yield messages
            _feed(parser, b"")  # perhaps there was a fault behind the last messages


def _feed(parser: sse.Parser, piece: bytes) -> Sequence[sse.Message]:
    try:
        return parser.feed(piece)
    except TooLarge as error:
        raise endless(200, str(error)) from None
