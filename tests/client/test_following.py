"""What is worth another try, how long is waited, and what `on_reconnect` is told."""

from __future__ import annotations

import asyncio
import time

import pytest

from hub.client import Disconnected, Hub, Reconnecting, UnexpectedAnswer
from hub.client.following import LONGEST_SECONDS, Following, is_worth_a_try
from hub.errors import HubError
from hub.sse import Parser
from tests.client.servers import answer, serve

STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nretry: 10\n:\n"
EVENT = b"event: t\ndata: a\ndata: b\nid: 1\n\n"


@pytest.mark.parametrize(
    ("status", "worth"),
    [
        *[(each, False) for each in (400, 401, 403, 404, 405)],
        *[(each, True) for each in (408, 429, 500, 502, 503)],
    ],
)
def test_what_blames_the_hub_is_worth_a_try(status: int, worth: bool) -> None:
    error = UnexpectedAnswer("")
    error.status = status
    assert is_worth_a_try(error) is worth
    assert is_worth_a_try(Disconnected(""))


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden", "404 Not Found"])
async def test_a_refusal_ends_it_also_later(status: str) -> None:
    waits: list[Reconnecting] = []
    async with serve(STREAM + EVENT, answer(status)) as server, Hub(server.url) as hub:
        events = hub.subscribe("orders", since="start", on_reconnect=waits.append)
        found = await anext(events)
        assert (found.id, found.event, found.data) == ("1", "t", "a\nb")
        with pytest.raises(UnexpectedAnswer, match=f"status {status[:3]}"):
            await anext(events)
    assert [(each.error, each.attempt) for each in waits] == [(None, 1)]
    assert server[0].startswith(b"GET /orders?since=start ")
    assert b"Last-Event-ID" not in server[0]
    assert server[1].startswith(b"GET /orders ")
    assert b"Last-Event-ID: 1" in server[1]


async def test_other_answers_are_waited_through_ever_longer() -> None:
    waits: list[Reconnecting] = []
    bad = answer("502 Bad Gateway")
    answers = [STREAM + EVENT, bad, b"nonsense\r\n\r\n", bad, STREAM, STREAM]
    later = STREAM + EVENT.replace(b"id: 1", b"id: 2")
    async with serve(*answers, later) as server, Hub(server.url) as hub:
        events = hub.subscribe("orders", since="start", on_reconnect=waits.append)
        assert [(await anext(events)).id for _ in range(2)] == ["1", "2"]
        await events.aclose()
    assert [each.attempt for each in waits] == [1, 2, 3, 4, 1, 1]
    errors = [type(each.error).__name__ for each in waits]
    bad_name = "UnexpectedAnswer"
    assert errors == ["NoneType", bad_name, "Disconnected", bad_name, "NoneType", "NoneType"]
    for wanted, each in zip((10, 20, 40, 80, 10, 10), waits, strict=True):
        assert 0.5 * wanted <= 1000 * each.seconds <= 1.5 * wanted


async def test_a_message_that_breaks_off_never_was() -> None:
    half = STREAM + EVENT + b"event: t\ndata: half\nid: 2\n"
    whole = STREAM + b"data: whole\nid: 2\n\n"
    async with serve(half, whole) as server, Hub(server.url) as hub:
        events = hub.subscribe("orders", since="start")
        assert [(await anext(events)).data for _ in range(2)] == ["a\nb", "whole"]
        await events.aclose()


@pytest.mark.parametrize("endless", [b": " + b"x" * 3000, b"data: x\n" * 1000])
async def test_an_event_that_never_ends_ends_it(
    monkeypatch: pytest.MonkeyPatch, endless: bytes
) -> None:
    monkeypatch.setattr(Parser.__init__, "__defaults__", ("", "message", 1000))
    async with serve(STREAM + EVENT + endless) as server, Hub(server.url) as hub:
        events = hub.subscribe("orders", since="start")
        assert (await anext(events)).id == "1"
        with pytest.raises(UnexpectedAnswer, match="has more than 1000 bytes") as told:
            await anext(events)
    assert told.value.status == 200
    assert len(server) == 1  # it is not tried again


def test_a_hub_cannot_send_its_readers_away_for_ever() -> None:
    following = Following(0, None)
    following.ask_for(10**17)
    assert following._backoff.next() <= 1.5 * LONGEST_SECONDS


async def test_a_hook_that_raises_ends_it() -> None:
    def enough(told: Reconnecting) -> None:
        raise KeyboardInterrupt

    async with serve(STREAM) as server, Hub(server.url) as hub:
        with pytest.raises(KeyboardInterrupt):
            await anext(hub.subscribe("orders", since="start", on_reconnect=enough))


async def test_the_first_connection_is_tried_for_as_long_as_there_is_patience() -> None:
    following = Following(0.6, None)
    begun = time.monotonic()

    async def try_on() -> None:
        while True:
            await following.pause(Disconnected(""))

    with pytest.raises(HubError):
        await try_on()
    assert time.monotonic() - begun < 0.7
    following.connected()
    following.ask_for(1)
    for _ in range(5):
        await following.pause(Disconnected(""))
    waiting = asyncio.create_task(Following(60, None).pause(None))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
