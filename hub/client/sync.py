"""The client for programs without asyncio: scripts, notebooks, shells.

`Hub` has the methods of `hub.client.Hub`, without `await`, and its iterators are for
`for`. Each call is one of the asynchronous client, on an event loop in a thread of its
own; there is no second implementation. Functions that a program passes in are called in
the thread of the call: handlers, deciders, and iterables of events; they may use the hub
themselves. Reducers of `scan` and `progress`, `on_reconnect`, `on_reset` are called in
the loop's thread; they may not.

It owns what is forwarded, and how. It must not know HTTP.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from functools import reduce, wraps
from itertools import islice
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar

from hub import client
from hub.client.connection import TIMEOUT_SECONDS
from hub.client.crossing import LoopThread, in_caller
from hub.client.documents import Documents as AsyncDocuments
from hub.client.folding import Reducer
from hub.client.following import OnReconnect
from hub.client.importing import Events
from hub.client.place import START
from hub.client.reacting import ATTEMPTS, H, OnError
from hub.client.streams import ATTEMPTS as DECISIONS
from hub.client.streams import Decider
from hub.client.values import Commit, Decision, Document, Published, Query

P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

PULLED = 500
"""Events that are taken at once of what a program publishes."""


class Iteration(Iterator[T], Generic[T]):
    """What reads give: for `for`, once.

    Leaving the loop closes the connection as soon as nobody refers to this any more; to
    have it closed at once, enter it by `with`, or call `close`.
    """

    def __init__(self, hub: Hub, chunks: AsyncGenerator[Sequence[T], None]) -> None:
        self._items = _each(hub, chunks)

    def __iter__(self) -> Iterator[T]:
        return self._items

    def __next__(self) -> T:
        return next(self._items)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection. More than once does no harm."""
        self._items.close()


class Documents(Iteration[Document]):
    """What a read of streams gives; its attributes are known from the first document on."""

    def __init__(self, hub: Hub, documents: AsyncDocuments) -> None:
        super().__init__(hub, documents.chunks)
        self._documents = documents

    @property
    def version(self) -> int:
        """The last revision, or position, that there was at the time of the answer."""
        return self._documents.version

    @property
    def condition(self) -> str:
        """Of a query: the condition for a commit, that no more such events came."""
        return self._documents.condition


def _each(hub: Hub, chunks: AsyncGenerator[Sequence[T], None]) -> Generator[T, None, None]:
    loop = hub._loop
    try:
        while (chunk := loop.run(_next(chunks))) is not None:
            yield from chunk
    finally:
        if loop.alive:
            loop.run(_close(chunks))


async def _next(chunks: AsyncGenerator[Sequence[T], None]) -> Sequence[T] | None:
    return await anext(chunks, None)


async def _close(chunks: AsyncGenerator[Any, None]) -> None:
    await chunks.aclose()


def _like(method: Callable[..., Any]) -> Callable[[F], F]:
    """The name, signature and text of a method of the asynchronous client."""

    def copy(twin: F) -> F:
        wraps(method)(twin)
        return twin

    return copy


def _call(
    method: Callable[Concatenate[client.Hub, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Hub, P], T]:
    @_like(method)
    def twin(hub: Hub, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return hub._loop.run(method(hub._hub, *args, **kwargs))

    return twin


def _iterate(
    method: Callable[Concatenate[client.Hub, P], client.Iteration[T]],
) -> Callable[Concatenate[Hub, P], Iteration[T]]:
    @_like(method)
    def twin(hub: Hub, /, *args: P.args, **kwargs: P.kwargs) -> Iteration[T]:
        return Iteration(hub, method(hub._hub, *args, **kwargs).chunks)

    return twin


def _read(
    method: Callable[Concatenate[client.Hub, P], AsyncDocuments],
) -> Callable[Concatenate[Hub, P], Documents]:
    @_like(method)
    def twin(hub: Hub, /, *args: P.args, **kwargs: P.kwargs) -> Documents:
        return Documents(hub, method(hub._hub, *args, **kwargs))

    return twin


class Hub:
    """`hub.client.Hub` without `await`. Any number of threads may use it at once.

    Close it, by `with` or `close`; else it is closed when the program ends.

    Example::

        with Hub("http://localhost:9000") as hub:
            hub.publish("orders", {"item": "tea"}, event="placed")
            for event in hub.history("orders"):
                print(event.id, event.json()["item"])
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float = TIMEOUT_SECONDS,
        patience: float = 0.0,
        compress: bool = False,
    ) -> None:
        self._hub = client.Hub(
            url, headers=headers, timeout=timeout, patience=patience, compress=compress
        )
        self._loop = LoopThread()
        self._finalizer = weakref.finalize(self, _end, self._loop, self._hub)

    @property
    def url(self) -> str:
        """The hub's URL, without a password."""
        return self._hub.url

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection; what is under way ends with `ClientClosed`.

        More than once does no harm.
        """
        self._finalizer()

    health = _call(client.Hub.health)

    publish = _call(client.Hub.publish)
    history = _iterate(client.Hub.history)
    subscribe = _iterate(client.Hub.subscribe)
    replay = _iterate(client.Hub.replay)
    scan = _iterate(client.Hub.scan)

    commit = _call(client.Hub.commit)
    read = _read(client.Hub.read)
    follow = _read(client.Hub.follow)
    query = _read(client.Hub.query)
    follow_query = _read(client.Hub.follow_query)
    version = _call(client.Hub.version)
    streams = _iterate(client.Hub.streams)
    derive = _call(client.Hub.derive)
    delete_stream = _call(client.Hub.delete_stream)
    close_stream = _call(client.Hub.close_stream)

    put_consumer = _call(client.Hub.put_consumer)
    consumer = _call(client.Hub.consumer)
    consumers = _call(client.Hub.consumers)
    wait_for = _call(client.Hub.wait_for)
    follow_consumer = _iterate(client.Hub.follow_consumer)
    reset_consumer = _call(client.Hub.reset_consumer)
    delete_consumer = _call(client.Hub.delete_consumer)

    @_like(client.Hub.publish_many)
    def publish_many(
        self,
        channel: str,
        events: Events,
        *,
        event: str = "",
        progress: Callable[[Published], object] | None = None,
    ) -> Published:
        pulled = _pulled(events) if isinstance(events, Iterable) else events
        work = self._hub.publish_many(channel, pulled, event=event, progress=progress)
        return self._loop.run(work)

    @_like(client.Hub.fold)
    def fold(
        self,
        channel: str,
        reducer: Reducer[S],
        initial: S,
        *,
        since: str | None = None,
        until: str | None = None,
        tail: int | None = None,
        event: str | None = None,
    ) -> S:
        events = self.history(channel, since=since, until=until, tail=tail, event=event)
        return reduce(reducer, events, initial)

    @_like(client.Hub.decide)
    def decide(self, query: Query, decider: Decider, *, attempts: int = DECISIONS) -> Commit | None:
        async def decided(found: list[Document]) -> Decision | None:
            decision: Decision | None = await in_caller(decider, found)
            return decision

        return self._loop.run(self._hub.decide(query, decided, attempts=attempts))

    @_like(client.Hub.on)
    def on(self, channel: str, event: str | None = None) -> Callable[[H], H]:
        def register(handler: H) -> H:
            self._hub.on(channel, event)(_called_here(handler))
            return handler

        return register

    @_like(client.Hub.run)
    def run(
        self,
        *,
        position: str | os.PathLike[str] | None = None,
        since: str | None = START,
        attempts: int = ATTEMPTS,
        on_error: OnError | None = None,
        on_reconnect: OnReconnect | None = None,
    ) -> None:
        self._loop.run(
            self._hub.run(
                position=position,
                since=since,
                attempts=attempts,
                on_error=None if on_error is None else _called_here(on_error),
                on_reconnect=on_reconnect,
            )
        )


def _called_here(function: Callable[P, Any]) -> Callable[P, Awaitable[Any]]:
    @_like(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> Awaitable[Any]:
        return in_caller(function, *args, **kwargs)

    return call


async def _pulled(events: Iterable[Any]) -> AsyncIterator[Any]:
    """The events, each taken in the thread of the program's call."""
    iterator = iter(events)
    while chunk := await in_caller(lambda: list(islice(iterator, PULLED))):
        for each in chunk:
            yield each


def _end(loop: LoopThread, hub: client.Hub) -> None:
    loop.close(hub.close())
