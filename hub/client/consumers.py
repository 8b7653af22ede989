"""Consumers: folds that the hub runs.

Owns what is asked of `/consumers`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from msgspec import Struct

from hub.client.connection import Connection, Door, segment
from hub.client.following import Following, OnReconnect, follow
from hub.client.iteration import Iteration
from hub.client.payloads import from_json, to_json
from hub.client.targets import Number, target_of, window
from hub.client.values import Consumer
from hub.errors import TimedOut

STOPPED = "stopped"

PAUSE_SECONDS = 0.1
"""Between two questions to a hub that does not wait itself."""


class _Identified(Struct):
    identifier: str
    stream: str


class _Listed(Struct):
    consumers: list[_Identified]


class Consumers(Door):
    """The methods of a `Hub` for consumers."""

    async def put_consumer(
        self,
        identifier: str,
        handler: str,
        stream: str | None = None,
        *,
        category: str | None = None,
        streams: Sequence[str] | None = None,
        selector: Sequence[Any] | None = None,
        filter: Mapping[str, Any] | None = None,  # noqa: A002
        state: Mapping[str, Any] | None = None,
        from_: Number | None = None,
    ) -> Consumer:
        """Make a consumer, or replace it, which begins again; it is on disk on return.

        `handler` is the text of a JavaScript function `(event, state, metadata) =>
        newState`; `state` what it begins with, by default `{}`. What it consumes is
        named as for `read`; the first `from_` events count as seen. Raises
        `InvalidHandler`, `UnknownStream`, `TooManyConsumers`, `TooLarge`.

        Example::

            await hub.commit("order-22", [{"type": "Placed"}, {"type": "Placed"}])
            count = "(event, state) => ({n: (state.n ?? 0) + 1})"
            await hub.put_consumer("counter", count, "order-22")
            consumer = await hub.wait_for("counter", 2)
            assert consumer.state == {"n": 2}
        """
        target = target_of(stream, category, streams, selector, filter)
        name = target.path.removeprefix("/streams/")
        body: dict[str, Any] = {"handler": handler}
        if state is not None:
            body["state"] = state
        answer = await self._connection.request(
            "PUT",
            f"/consumers/{segment(identifier)}/stream/{name}{window(from_=from_)}",
            params=target.params,
            body=to_json(body),
        )
        return answer.json(Consumer)

    async def consumer(self, identifier: str) -> Consumer:
        """A consumer as it is now. Raises `UnknownConsumer`.

        Example::

            await hub.put_consumer("all", "(event, state) => state", "_all")
            print((await hub.consumer("all")).position)
        """
        answer = await self._connection.request("GET", f"/consumers/{segment(identifier)}")
        return answer.json(Consumer)

    async def consumers(self) -> dict[str, str]:
        """The identifiers of all consumers, and what each consumes.

        Example::

            await hub.put_consumer("all", "(event, state) => state", "_all")
            assert (await hub.consumers())["all"] == "_all"
        """
        answer = await self._connection.request("GET", "/consumers")
        return {each.identifier: each.stream for each in answer.json(_Listed).consumers}

    async def wait_for(
        self, identifier: str, number: int, *, seconds: float | None = None
    ) -> Consumer:
        """Wait until a consumer has folded the event `number`, or one behind it.

        `number` is a revision or a position, as in `Consumer.position`: the `version`
        or `position` of a commit. Waits for `seconds`, or for ever. Raises `TimedOut`
        when they are over, or at once if the consumer has stopped; `UnknownConsumer`.

        Example::

            await hub.put_consumer("count", "(event, state) => ({n: (state.n ?? 0) + 1})", "_all")
            done = await hub.commit("order-23", [{"type": "Placed"}])
            consumer = await hub.wait_for("count", done.position, seconds=10)
            assert consumer.position >= done.position
        """
        path = f"/consumers/{segment(identifier)}/until/{int(number)}"
        try:
            async with asyncio.timeout(seconds):
                while True:
                    try:
                        return (await self._connection.request("GET", path)).json(Consumer)
                    except TimedOut:  # the hub waits no longer; the consumer may have stopped
                        if (await self.consumer(identifier)).status == STOPPED:
                            raise
                    await asyncio.sleep(PAUSE_SECONDS)
        except TimeoutError:
            raise TimedOut(
                f"consumer {identifier!r} did not reach {number} within {seconds:g} s"
            ) from None

    def follow_consumer(
        self, identifier: str, *, on_reconnect: OnReconnect | None = None
    ) -> Iteration[Consumer]:
        """A consumer as it is, then each change of it, for ever; who is slow gets the latest.

        It is kept alive as `subscribe` keeps it. Raises `UnknownConsumer`, also when it
        was deleted.

        Example::

            await hub.put_consumer("seen", "(event, state) => ({last: event.type})", "_all")
            async for each in hub.follow_consumer("seen"):
                print(each.position, each.state)
                break
        """
        return Iteration(_changes(self._connection, identifier, on_reconnect))

    async def reset_consumer(
        self,
        identifier: str,
        *,
        state: Mapping[str, Any] | None = None,
        from_: Number | None = None,
    ) -> Consumer:
        """Let a consumer begin again, also if it had stopped.

        `state` and `from_` are from now on those of its making; what is not given stays.

        Example::

            await hub.put_consumer("all", "(event, state) => state", "_all")
            consumer = await hub.reset_consumer("all", state={"n": 1}, from_="end")
            assert consumer.state == {"n": 1}
        """
        body = {"state": state, "from": from_}
        answer = await self._connection.request(
            "POST",
            f"/consumers/{segment(identifier)}/reset",
            body=to_json({key: value for key, value in body.items() if value is not None}),
        )
        return answer.json(Consumer)

    async def delete_consumer(self, identifier: str) -> None:
        """Remove a consumer. Raises `UnknownConsumer`.

        Example::

            await hub.put_consumer("all", "(event, state) => state", "_all")
            await hub.delete_consumer("all")
        """
        await self._connection.request("DELETE", f"/consumers/{segment(identifier)}")


async def _changes(
    connection: Connection, identifier: str, on_reconnect: OnReconnect | None
) -> AsyncGenerator[Sequence[Consumer], None]:
    path = f"/consumers/{segment(identifier)}"
    answer = await connection.request("GET", path)
    last = answer.json(Consumer)
    yield [last]

    async def begin() -> str:
        return ""

    following = Following(connection.patience, on_reconnect)
    messages = follow(connection, path, {}, begin, following)
    async with aclosing(messages):
        async for chunk in messages:
            for message in chunk or ():
                now = _after(last, message.event, message.data, int(message.id))
                if now != last:
                    last = now
                    yield [now]


def _after(last: Consumer, event: str, data: str, position: int) -> Consumer:
    told = from_json(data)
    stopped = event == STOPPED
    return Consumer(
        identifier=last.identifier,
        stream=last.stream,
        position=position,
        state=last.state if stopped else told,
        status=STOPPED if stopped else None,
        error=told["error"] if stopped else None,
    )
