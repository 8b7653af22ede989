"""Streams: commit, read, follow, query, decide.

Owns what is asked of `/streams` and `/query`. It must not know how a connection is
kept alive (`following`).
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from hub.client.backoff import Backoff
from hub.client.connection import Connection, Door, segment
from hub.client.documents import Documents, Head, follow_documents, read_documents
from hub.client.errors import UnexpectedAnswer
from hub.client.following import Following, OnReconnect
from hub.client.iteration import Iteration
from hub.client.payloads import to_json
from hub.client.targets import Number, Target, target_of, target_of_query, window
from hub.client.values import Commit, Decision, Document, Query, Stream
from hub.errors import ConditionConflict

ATTEMPTS = 10
"""How often `decide` tries."""

Decider = Callable[[list[Document]], Awaitable[Decision | None] | Decision | None]


class _Page(Struct):
    streams: list[Stream]


class Streams(Door):
    """The methods of a `Hub` for streams."""

    async def commit(
        self,
        stream: str,
        events: Iterable[Any],
        *,
        expected_version: int | str | None = None,
        condition: str | Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Commit:
        """Write one or more events to a stream, all or none.

        Each event is a JSON object, its `type` in it, perhaps with `tags`.
        `expected_version` is the one that the stream must have, a number or `"empty"`;
        `condition` is that of a query. `metadata` is kept with each event.

        Raises `VersionConflict` and `ConditionConflict`, with `details` of what is;
        `InvalidRequest`, `InvalidEvent`, `StreamClosed`, and what `publish` raises. As
        there, `Disconnected` leaves open whether it was stored.

        Example::

            placed = {"type": "Placed", "item": "tea", "tags": ["item:tea"]}
            done = await hub.commit("order-17", [placed], expected_version="empty")
            assert (done.version, done.events) == (1, [placed])
        """
        body = {
            "events": list(events),
            "expectedVersion": expected_version,
            "condition": condition,
            "metadata": metadata,
        }
        answer = await self._connection.request(
            "POST",
            f"/streams/{segment(stream)}/commit",
            headers={"Content-Type": "application/json"},
            body=to_json({key: value for key, value in body.items() if value is not None}),
        )
        return _commit_of(answer.json(dict[str, Any]))

    def read(
        self,
        stream: str | None = None,
        *,
        category: str | None = None,
        streams: Sequence[str] | None = None,
        selector: Sequence[Any] | None = None,
        from_: Number | None = None,
        until: Number | None = None,
        forwards: int | None = None,
        backwards: int | None = None,
        filter: Mapping[str, Any] | None = None,  # noqa: A002
    ) -> Documents:
        """Events of a stream, of `"_all"`, of a `category`, or of several `streams` together.

        `from_` and `until` are the first and the last, both inclusive: revisions of
        one stream, else positions; below zero from the end on; or `"start"`, `"end"`.
        `forwards` gives the first so many of these, `backwards` the last, newest
        first. `filter` is a matcher. A read whose `until` is beyond the end waits for
        what is missing, as long as the hub does: then `TimedOut`. Raises
        `UnknownStream`, `InvalidRequest`, `Disconnected` if it breaks off.

        Example::

            await hub.commit("order-18", [{"type": "Placed"}, {"type": "Paid"}])
            async for each in hub.read("order-18", from_=2):
                assert (each.type, each.revision) == ("Paid", 2)
            async for each in hub.read(category="order", backwards=10):
                print(each.stream, each.payload)
        """
        target = target_of(stream, category, streams, selector, filter)
        part = window(from_=from_, until=until, forwards=forwards, backwards=backwards)
        return self._read(Target(target.path + part, target.params))

    def follow(
        self,
        stream: str | None = None,
        *,
        category: str | None = None,
        streams: Sequence[str] | None = None,
        selector: Sequence[Any] | None = None,
        from_: Number | None = None,
        filter: Mapping[str, Any] | None = None,  # noqa: A002
        on_reconnect: OnReconnect | None = None,
        on_reset: Callable[[], object] | None = None,
    ) -> Documents:
        """The same, from `from_` on, by default the first, and then what is new, for ever.

        `number` of each document is its revision, or position. It is kept alive as
        `subscribe` keeps it.

        Example::

            await hub.commit("order-19", [{"type": "Placed"}])
            async for each in hub.follow("order-19"):
                assert (each.number, each.type) == (1, "Placed")
                break
        """
        target = target_of(stream, category, streams, selector, filter)
        return self._follow(target, from_, on_reconnect, on_reset)

    def query(
        self,
        *,
        types: Sequence[str] = (),
        tags: Sequence[str] = (),
        items: Sequence[Mapping[str, Sequence[str]]] = (),
        selector: Sequence[Any] | None = None,
        filter: Mapping[str, Any] | None = None,  # noqa: A002
        from_: int | None = None,
    ) -> Documents:
        """Events of whichever stream, in the order of all; see `Query` for which.

        `from_` is the position to begin at. The `condition` of what is returned can be
        given to `commit`: it is refused if one more such event has come.

        Example::

            await hub.commit("course-art", [{"type": "Defined", "tags": ["course:art"]}])
            found = hub.query(types=["Defined", "Subscribed"], tags=["course:art"])
            seen = [each async for each in found]
            subscribed = {"type": "Subscribed", "tags": ["course:art", "student:ann"]}
            await hub.commit("course-art", [subscribed], condition=found.condition)
        """
        asked = Query(types, tags, items, selector, filter)
        target = target_of_query(asked)
        return self._read(Target(target.path + window(from_=from_), target.params))

    def follow_query(
        self,
        query: Query,
        *,
        from_: int | None = None,
        on_reconnect: OnReconnect | None = None,
        on_reset: Callable[[], object] | None = None,
    ) -> Documents:
        """What a query finds, and then what is new, for ever; as `follow`.

        Example::

            await hub.commit("course-art", [{"type": "Defined", "tags": ["course:art"]}])
            async for each in hub.follow_query(Query(types=["Defined"])):
                print(each.number, each.payload)
                break
        """
        return self._follow(target_of_query(query), from_, on_reconnect, on_reset)

    async def decide(
        self, query: Query, decider: Decider, *, attempts: int = ATTEMPTS
    ) -> Commit | None:
        """Query, decide, and commit if nobody came in between; else do it again.

        `decider` gets all that the query finds, and returns a `Decision`, or None to
        leave it. It may be a coroutine function, may be called several times, and what
        it raises goes to the caller. After `attempts` in vain, each a little later than
        the one before, `ConditionConflict`. Returns the commit, None if there is none.

        Example::

            def enrol(seen):
                if sum(each.type == "Enrolled" for each in seen) >= 2:
                    return None  # full
                return Decision("course-art", [{"type": "Enrolled", "tags": ["course:art"]}])

            done = await hub.decide(Query(tags=["course:art"]), enrol)
            assert done is not None
        """
        target = target_of_query(query)
        backoff = Backoff(0.01, 1.0)
        while True:
            found = self._read(target)
            answer = decider([each async for each in found])
            decision = await answer if inspect.isawaitable(answer) else answer
            if decision is None:
                return None
            try:
                return await self.commit(
                    decision.stream,
                    decision.events,
                    condition=found.condition,
                    metadata=decision.metadata,
                )
            except ConditionConflict as error:
                wait = backoff.next()
                if backoff.attempt >= attempts:
                    error.add_note(f"decided {attempts} times, and each time somebody was faster")
                    raise
            await asyncio.sleep(wait)

    async def version(
        self,
        stream: str | None = None,
        *,
        category: str | None = None,
        streams: Sequence[str] | None = None,
        selector: Sequence[Any] | None = None,
    ) -> int:
        """The last revision of a stream; of `"_all"` and the others the last position.

        Example::

            await hub.commit("order-20", [{"type": "Placed"}, {"type": "Paid"}])
            assert await hub.version("order-20") == 2
        """
        target = target_of(stream, category, streams, selector, None)
        return int((await self._json("GET", target.path + "/version", target.params))["version"])

    def streams(self, *, prefix: str = "") -> Iteration[Stream]:
        """All streams and channels whose names begin with `prefix`, in the order of names.

        Example::

            await hub.publish("orders", "1")
            names = [each.name async for each in hub.streams(prefix="ord")]
            assert "orders" in names
        """
        return Iteration(_pages(self._connection, prefix))

    async def derive(self, stream: str, matcher: Mapping[str, Any]) -> int:
        """Make a stream of all events that a matcher matches; return its version.

        Raises `NameTaken` if something else has this name.

        Example::

            await hub.derive("placed-orders", {"payload": {"type": "Placed"}})
        """
        found = await self._json("PUT", f"/streams/{segment(stream)}", body=to_json(matcher))
        return int(found["version"])

    async def delete_stream(self, stream: str) -> None:
        """Take a derived stream away, never an event. Raises `UnknownStream`, `Conflict`.

        Example::

            await hub.derive("paid-orders", {"payload": {"type": "Paid"}})
            await hub.delete_stream("paid-orders")
        """
        await self._connection.request("DELETE", f"/streams/{segment(stream)}")

    async def close_stream(self, stream: str) -> int:
        """Let a log take no more events, for good; return its version.

        Example::

            await hub.commit("order-21", [{"type": "Placed"}])
            assert await hub.close_stream("order-21") == 1
        """
        found = await self._json("POST", f"/streams/{segment(stream)}/close")
        return int(found["version"])

    async def _json(
        self, method: str, path: str, params: Any = None, body: bytes | None = None
    ) -> dict[str, Any]:
        answer = await self._connection.request(method, path, params=params, body=body)
        return answer.json(dict[str, Any])

    def _read(self, target: Target) -> Documents:
        head = Head()
        return Documents(read_documents(self._connection, target, head), head)

    def _follow(
        self,
        target: Target,
        start: Number | None,
        on_reconnect: OnReconnect | None,
        on_reset: Callable[[], object] | None,
    ) -> Documents:
        head = Head()
        following = Following(self._connection.patience, on_reconnect)
        chunks = follow_documents(self._connection, target, start, head, following, on_reset)
        return Documents(chunks, head)


async def _pages(connection: Connection, prefix: str) -> AsyncGenerator[Sequence[Stream], None]:
    after: str | None = None
    while True:
        params = {"prefix": prefix or None, "after": after}
        answer = await connection.request("GET", "/streams", params=params)
        found = answer.json(_Page).streams
        if not found:
            return
        yield found
        after = found[-1].name


def _commit_of(told: dict[str, Any]) -> Commit:
    try:
        return Commit(
            id=told.pop("commitId"),
            committed_at=told.pop("committedAt"),
            stream=told.pop("streamName"),
            stream_version=told.pop("streamVersion"),
            version=told.pop("version"),
            position=told.pop("position"),
            events=told.pop("events"),
            metadata=told,
        )
    except KeyError as error:
        raise UnexpectedAnswer(f"the answer to a commit lacks {error}") from None
