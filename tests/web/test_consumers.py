"""The door of consumers, over HTTP only."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import time
import tracemalloc
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest

from hub import sse
from hub.consumers import consumer
from hub.consumers.checkpoint import Checkpoints, Definition, Progress
from hub.consumers.registry import EMPTY as EMPTY_STATE
from hub.web.context import HUB
from tests.conftest import Client, StartHub
from tests.web.wire import (
    PATIENCE,
    Subscription,
    append_by_hand,
    eventually,
    get,
    post,
    refused,
    subscribe,
)

COUNT = "(event, state) => ({ n: (state.n || 0) + 1 })"
LAST = "(event, state) => ({ last: event })"
THROW = "(event, state) => { if (event.bad) throw new Error('bad'); state.n = (state.n || 0) + 1 }"
EMPTY = {"stream": "orders-1"}


async def put(
    hub: Client, path: str, handler: str = COUNT, status: int = 201, **body: object
) -> dict[str, Any]:
    async with hub.put(f"/consumers/{path}", json={"handler": handler, **body}) as answer:
        assert answer.status == status, await answer.text()
        assert answer.content_type == "application/json"
        return await answer.json()  # type: ignore[no-any-return]  # any JSON


async def commit(hub: Client, stream: str, *events: object) -> dict[str, Any]:
    path = f"/streams/{quote(stream, safe='')}/commit"
    async with hub.post(path, json={"events": events}) as answer:
        assert answer.status == 201, await answer.text()
        return await answer.json()  # type: ignore[no-any-return]  # any JSON


async def read(hub: Client, path: str, status: int = 200) -> dict[str, Any]:
    async with hub.get(f"/consumers/{path}") as answer:
        assert answer.status == status, await answer.text()
        return await answer.json()  # type: ignore[no-any-return]  # any JSON


@pytest.fixture
async def orders(hub: Client) -> Client:
    """A hub with the stream `orders-1`, of three events."""
    await commit(hub, "orders-1", *({"type": "OrderPlaced", "orderId": at} for at in (1, 2, 3)))
    return hub


async def test_a_consumer_from_its_beginning_to_its_end(orders: Client) -> None:
    made = await put(orders, "one/stream/orders-1", state={"n": 10})
    assert made == {
        "identifier": "one",
        "stream": "orders-1",
        "position": 0,
        "state": {"n": 10},
    }
    there = {"identifier": "one", "stream": "orders-1", "position": 3, "state": {"n": 13}}
    assert await read(orders, "one/until/3") == there
    assert await read(orders, "one") == there
    async with orders.get("/consumers") as answer:
        listed = {"identifier": "one", "stream": "orders-1", "position": 3, "seen": 3, "version": 3}
        assert await answer.json() == {"consumers": [listed]}
    async with orders.delete("/consumers/one") as answer:
        assert (answer.status, await answer.read()) == (204, b"")
    assert (await read(orders, "one", 404))["code"] == "unknown_consumer"
    async with orders.get("/consumers") as answer:
        assert await answer.json() == {"consumers": []}


async def test_the_list_tells_how_far_each_is(orders: Client) -> None:
    await commit(orders, "other", {"n": 1}, {"n": 2})
    await put(orders, "one/stream/category/orders")
    await put(orders, "two/stream/orders-1", "(event) => { throw new Error('no') }")
    await read(orders, "one/until/3")

    async def listed() -> list[dict[str, Any]]:
        async with orders.get("/consumers") as answer:
            found: list[dict[str, Any]] = (await answer.json())["consumers"]
            return sorted(found, key=lambda each: str(each["identifier"]))

    deadline = time.monotonic() + PATIENCE
    while (found := await listed())[0]["seen"] < 5 or "status" not in found[1]:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    one, two = found
    # What stands in other streams is not in its state, but it has seen that.
    assert (one["position"], one["seen"], one["version"]) == (3, 5, 5)
    assert (two["position"], two["seen"], two["version"]) == (0, 0, 3)
    assert (two["status"], "no" in two["error"]) == ("stopped", True)
    assert "state" not in one


async def test_putting_again_replaces(orders: Client) -> None:
    await put(orders, "one/stream/orders-1")
    await read(orders, "one/until/3")
    again = await put(orders, "one/stream/orders-1/from/1", LAST, 200, state={"last": None})
    assert again["position"] == 1
    assert again["state"] == {"last": None}
    assert (await read(orders, "one/until/3"))["state"]["last"]["orderId"] == 3


async def test_the_first_events_can_count_as_seen(orders: Client) -> None:
    reader = "(event, state) => ({ lastSeen: event.orderId ?? state.lastSeen })"
    made = await put(orders, "reader/stream/orders-1/from/3", reader, state={"lastSeen": None})
    assert made == {
        "identifier": "reader",
        "stream": "orders-1",
        "position": 3,
        "state": {"lastSeen": None},
    }
    await commit(orders, "orders-1", {"type": "OrderPlaced", "orderId": "x"})
    assert await read(orders, "reader/after/3") == {
        **made,
        "position": 4,
        "state": {"lastSeen": "x"},
    }
    assert (await put(orders, "start/stream/orders-1/from/start"))["position"] == 0
    assert (await put(orders, "end/stream/orders-1/from/end"))["position"] == 4


@pytest.mark.parametrize("state", [{}, {"state": None}, {"state": {}}])
async def test_without_a_state_it_begins_with_an_empty_one(orders: Client, state: Any) -> None:
    assert (await put(orders, "one/stream/orders-1", **state))["state"] == {}


@pytest.mark.parametrize("name", ["orders/eu/1", "a:b@c~d+e=f-g#h.i", "orders-1/from"])
@pytest.mark.parametrize("safe", ["", "/", "/:@~+=-."])
async def test_every_name_of_a_stream_fits_into_the_url(hub: Client, name: str, safe: str) -> None:
    await commit(hub, name, {"n": 1}, {"n": 2})
    stream = quote(name, safe=safe)
    made = await put(hub, f"one/stream/{stream}")
    assert (made["stream"], made["position"]) == (name, 0)
    made = await put(hub, f"one/stream/{stream}/from/1", status=200)
    assert (made["stream"], made["position"]) == (name, 1)
    assert (await read(hub, "one/until/2"))["state"] == {"n": 1}


@pytest.mark.parametrize("name", ["a/from/1", "a/from/b"])
async def test_a_name_that_ends_like_a_start_has_to_be_encoded(hub: Client, name: str) -> None:
    await commit(hub, name, {"n": 1})
    assert (await put(hub, f"one/stream/{quote(name, safe='')}"))["stream"] == name
    assert (await read(hub, "one/until/1"))["state"] == {"n": 1}
    async with hub.put(f"/consumers/two/stream/{name}", json={"handler": COUNT}) as answer:
        assert answer.status in (400, 404)  # it is `a` from 1 on, or from nowhere


@pytest.mark.parametrize(
    ("stream", "position", "numbers"),
    [
        ("orders-1", 2, [0, 3]),
        ("a-channel", 2, [1, 5]),
        ("odd", 3, [1, 3, 5]),
        ("_all", 6, [0, 1, 2, 3, 4, 5]),
        ("category/orders", 5, [0, 2, 3, 4]),
        ("category/orders/eu", 5, [4]),
        ("join?streams=orders-1,a-channel", 6, [0, 1, 3, 5]),
        ("join?selector=" + quote('[["category/orders", "Odd"]]'), 0, []),
        ("join?selector=" + quote('["Odd"]'), 6, [1, 3, 5]),
        ("_all?filter=" + quote('{"payload": {"n": {"$gt": 3}}}'), 6, [4, 5]),
    ],
)
async def test_any_stream_can_be_consumed(
    hub: Client, stream: str, position: int, numbers: list[int]
) -> None:
    async with hub.put("/streams/odd", json={"payload": {"type": "Odd"}}) as answer:
        assert answer.status == 201
    await commit(hub, "orders-1", {"type": "Even", "n": 0})
    await post(hub, "/a-channel?event=Odd", '{"n": 1}')
    await commit(hub, "orders-2", {"type": "Even", "n": 2})
    await commit(hub, "orders-1", {"type": "Odd", "n": 3})
    handler = "(e, s, m) => { (s.seen ??= []).push([e.n, m.stream]) }"
    made = await put(hub, f"one/stream/{stream}", handler)
    await commit(hub, "orders/eu/1", {"type": "Even", "n": 4})
    await post(hub, "/a-channel?event=Odd", '{"n": 5}')
    there = await read(hub, f"one/until/{position}")
    seen = there["state"].get("seen", [])
    assert [n for n, _ in seen] == numbers
    assert there["position"] == position
    names = ["orders-1", "a-channel", "orders-2", "orders-1", "orders/eu/1", "a-channel"]
    assert [name for _, name in seen] == [names[n] for n in numbers]
    assert unquote(made["stream"]) == unquote(stream)


LOG = "(event, state, metadata) => { (state.of ??= []).push(metadata.stream) }"


@pytest.mark.parametrize(
    ("path", "told", "of"),
    [
        ("category/ord", "category/ord", ["ord-1", "ord/eu-1"]),
        ("category/ord%2Feu", "category/ord/eu", ["ord/eu-1"]),
        ("category%2Ford", "category%2Ford", ["category/ord"]),
        ("category%2ford%2Feu", "category%2Ford/eu", ["category/ord/eu"]),
        ("category%2Ford/eu", "category%2Ford/eu", ["category/ord/eu"]),
    ],
)
async def test_a_stream_that_is_called_like_a_category(
    start_hub: StartHub, path: str, told: str, of: list[str]
) -> None:
    """What is read at `/streams/…` is what is folded, also after a restart."""
    hub = await start_hub()
    for name in ("category/ord", "ord-1", "category/ord/eu", "ord/eu-1"):
        await commit(hub, name, {"n": 1})
    made = await put(hub, f"one/stream/{path}", LOG)
    assert made["stream"] == told
    for each in (path, told):
        _, body = await get(hub, f"/streams/{each}")
        assert [json.loads(line)["stream"] for line in body.splitlines()] == of
    last = 1 if "%2" in path[:11] else 2 if path == "category/ord" else 4
    assert (await read(hub, f"one/until/{last}"))["state"]["of"][0] == of[0]
    await hub.close()
    hub = await start_hub()
    async with hub.post("/consumers/one/reset") as answer:
        assert (await answer.json())["stream"] == told
    deadline = time.monotonic() + PATIENCE
    while (await read(hub, "one"))["state"].get("of") != of:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def test_a_consumer_that_was_kept_by_a_decoded_name_is_that_of_the_category(
    start_hub: StartHub, events: Path
) -> None:
    """As it was when it was made, by a hub that told the two apart no longer."""
    keep_by_hand(events, Definition("one", "category/ord", 0, LOG, EMPTY_STATE))
    hub = await start_hub()
    await commit(hub, "category/ord", {"n": 1})
    await commit(hub, "ord-1", {"n": 1})
    assert (await read(hub, "one/until/2"))["state"] == {"of": ["ord-1"]}


def keep_by_hand(events: Path, definition: Definition) -> None:
    directory = events / ".hub" / "consumers"
    directory.mkdir(parents=True)
    Checkpoints(directory).write(definition, Progress(0, 0, EMPTY_STATE))


async def test_text_of_a_channel_is_the_data_of_its_events(hub: Client) -> None:
    await post(hub, "/a-channel?event=said&id=x1", "Hello\nworld")
    await put(hub, "one/stream/a-channel", "(e, s, m) => ({ e, id: m.id })")
    assert (await read(hub, "one/until/1"))["state"] == {
        "e": {"type": "said", "data": "Hello\nworld"},
        "id": "x1",
    }


async def test_integers_beyond_2_to_the_53rd_are_those_of_javascript(hub: Client) -> None:
    body = b'{"events": [{"n": 9007199254740993, "f": 0.1}]}'
    async with hub.post("/streams/big-1/commit", data=body) as answer:
        assert answer.status == 201
    await put(hub, "one/stream/big-1", LAST)
    assert (await read(hub, "one/until/1"))["state"]["last"] == {"n": 9007199254740992, "f": 0.1}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_request"),
        (b"not json", "invalid_request"),
        (b"[]", "invalid_request"),
        (b"{}", "invalid_request"),
        (b'{"handler": 1}', "invalid_request"),
        (b'{"handler": null}', "invalid_request"),
        (b'{"handler": "() => 1", "state": []}', "invalid_request"),
        (b'{"handler": "() => 1", "state": 1}', "invalid_request"),
        (b'{"handler": "() => 1", "state": "{}"}', "invalid_request"),
        (b'{"handler": "() => 1", "state": {"a": "\xff"}}', "invalid_request"),
        (b'{"handler": "() => 1", "state": {"a": "\\ud800"}}', "invalid_request"),
        (b'{"handler": "() => \\"\\ud800\\""}', "invalid_request"),
        (b'{"handler": "() => 1", "state": {"a":' + b"[" * 9999 + b"]" * 9999 + b"}}", "invalid_"),
        (b'{"handler": ""}', "invalid_handler"),
        (b'{"handler": "42"}', "invalid_handler"),
        (b'{"handler": "(event, state) => {"}', "invalid_handler"),
        (b'{"handler": "async () => 1"}', "invalid_handler"),
        (b'{"handler": "require(\'fs\').readFileSync"}', "invalid_handler"),
        (b'{"handler": "() => \'\\u0000\'"}', "invalid_handler"),
        (b'{"handler": "(() => { for (;;); })()"}', "invalid_handler"),
    ],
)
async def test_a_body_that_does_not_do_is_refused(
    start_hub: StartHub, body: bytes, code: str
) -> None:
    hub = await start_hub(consumer_seconds=0.2)
    await commit(hub, "orders-1", {"n": 1})
    async with hub.put("/consumers/one/stream/orders-1", data=body) as answer:
        error = await answer.json()
        assert answer.status == 400, error
        assert error["code"].startswith(code), error
    await read(hub, "one", 404)


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("one/stream/nowhere", 404, "unknown_stream"),
        ("one/stream/orders..1", 400, "invalid_name"),
        ("one/stream/orders-1/from/-1", 400, "invalid_request"),
        ("one/stream/orders-1/from/1.5", 400, "invalid_request"),
        ("one/stream/orders-1/from/%C2%B2", 400, "invalid_request"),
        ("one/stream/orders-1/from/9999999999999999", 400, "invalid_request"),
        ("one/stream/orders%FF", 400, "invalid_name"),
        ("one/stream/category%252Ford", 400, "invalid_name"),
        ("one/stream/_all%3Ffilter={}", 400, "invalid_name"),
        ("one/stream/join?streams=_all,orders-1", 400, "invalid_request"),
        ("one/stream/join?selector=no", 400, "invalid_request"),
        ("one/stream/_all?filter=no", 400, "invalid_request"),
        ("reader%2F1/stream/orders-1", 400, "invalid_name"),
        ("a.b/stream/orders-1", 400, "invalid_name"),
        ("%C3%A4/stream/orders-1", 400, "invalid_name"),
        ("x" * 101 + "/stream/orders-1", 400, "invalid_name"),
        ("one/stream/", 404, "not_found"),
        ("one/stream", 404, "not_found"),
        ("one", 405, "method_not_allowed"),
    ],
)
async def test_a_place_that_does_not_do_is_refused(
    orders: Client, path: str, status: int, code: str
) -> None:
    async with orders.put(f"/consumers/{path}", json={"handler": COUNT}) as answer:
        await refused(answer, status, code)
    async with orders.get("/consumers") as answer:
        assert await answer.json() == {"consumers": []}


async def test_sizes_have_limits(start_hub: StartHub) -> None:
    hub = await start_hub(max_handler_bytes=100, max_state_bytes=200, max_consumers=2)
    await commit(hub, "orders-1", {"n": 1})
    path = "/consumers/one/stream/orders-1"
    async with hub.put(path, json={"handler": "() => '" + "ä" * 50 + "'"}) as answer:
        await refused(answer, 413, "too_large", "the handler has 108 bytes", "100")
    async with hub.put(path, json={"handler": COUNT, "state": {"a": "x" * 200}}) as answer:
        await refused(answer, 413, "too_large", "the state has 20", "200")
    await put(hub, "one/stream/orders-1", "(e, s) => 'x'.repeat(300)")
    stopped = (await read(hub, "one/until/1", 408))["error"]
    assert "event 1: the state has 302 bytes; the limit is 200" in stopped
    await put(hub, "two/stream/orders-1")
    async with hub.put("/consumers/three/stream/orders-1", json={"handler": COUNT}) as answer:
        await refused(answer, 429, "too_many_consumers", "2")
    await put(hub, "two/stream/orders-1", status=200)


async def test_a_body_may_be_compressed(orders: Client) -> None:
    body = gzip.compress(json.dumps({"handler": COUNT}).encode())
    headers = {"Content-Encoding": "gzip"}
    async with orders.put("/consumers/one/stream/orders-1", data=body, headers=headers) as answer:
        assert answer.status == 201


async def test_pages_of_other_origins_cannot_write(orders: Client) -> None:
    await put(orders, "one/stream/orders-1")
    headers = {"Origin": "https://elsewhere.example"}
    for method, path in (
        ("PUT", "/consumers/two/stream/orders-1"),
        ("DELETE", "/consumers/one"),
        ("POST", "/consumers/one/reset"),
    ):
        async with orders.request(method, path, headers=headers, json={}) as answer:
            await refused(answer, 403, "forbidden_origin")
    await read(orders, "one")


async def test_waiting_until_an_event_has_been_folded(orders: Client) -> None:
    await put(orders, "one/stream/orders-1")
    waiting = [asyncio.ensure_future(read(orders, path)) for path in ("one/until/4", "one/after/3")]
    await asyncio.sleep(0.05)
    assert not any(each.done() for each in waiting)
    await commit(orders, "orders-1", {"n": 4})
    for each in await asyncio.gather(*waiting):
        assert (each["position"], each["state"]) == (4, {"n": 4})
    assert (await read(orders, "one/until/0"))["position"] == 4
    assert (await read(orders, "one/after/3"))["position"] == 4


async def test_waiting_has_an_end(start_hub: StartHub) -> None:
    hub = await start_hub(read_timeout=0.1)
    await commit(hub, "orders-1", {"n": 1})
    await put(hub, "one/stream/orders-1")
    await read(hub, "one/until/1")
    for path in ("one/until/2", "one/after/1"):
        async with hub.get(f"/consumers/{path}") as answer:
            await refused(answer, 408, "timed_out", "did not reach version 2", "it is at 1")


@pytest.mark.parametrize("number", ["-1", "x", "1.0", "%20", "9" * 16, "%D9%A3"])
async def test_what_is_waited_for_is_a_number(orders: Client, number: str) -> None:
    await put(orders, "one/stream/orders-1")
    for word in ("until", "after"):
        async with orders.get(f"/consumers/one/{word}/{number}") as answer:
            await refused(answer, 400, "invalid_request")


async def test_nobody_waits_for_what_is_not_there(orders: Client) -> None:
    for path in ("other", "other/until/1", "other/after/1"):
        assert (await read(orders, path, 404))["code"] == "unknown_consumer"
    for method, path in (("DELETE", "/consumers/other"), ("POST", "/consumers/other/reset")):
        async with orders.request(method, path) as answer:
            await refused(answer, 404, "unknown_consumer")


async def test_those_who_wait_are_counted(start_hub: StartHub) -> None:
    hub = await start_hub(max_subscriptions=2, read_timeout=30)
    await commit(hub, "orders-1", {"n": 1})
    await put(hub, "one/stream/orders-1")
    waiting = [asyncio.ensure_future(read(hub, "one/until/2")) for _ in range(2)]
    await asyncio.sleep(0.1)
    async with hub.get("/consumers/one/until/2") as answer:
        await refused(answer, 503, "busy", "2")
    await read(hub, "one/until/1")  # that takes no waiting
    await commit(hub, "orders-1", {"n": 2})
    await asyncio.gather(*waiting)


async def test_an_error_stops_a_consumer_before_its_event(orders: Client) -> None:
    await put(orders, "one/stream/orders-1", THROW)
    await commit(orders, "orders-1", {}, {"bad": True}, {})
    begun = time.monotonic()
    async with orders.get("/consumers/one/until/6") as answer:
        await refused(answer, 408, "timed_out", "did not reach version 6", "Error: bad")
    assert time.monotonic() - begun < 5
    assert await read(orders, "one") == {
        "identifier": "one",
        "stream": "orders-1",
        "position": 4,
        "state": {"n": 4},
        "status": "stopped",
        "error": "event 5: Error: bad (line 1)",
    }
    assert (await read(orders, "one/until/4"))["status"] == "stopped"
    fixed = THROW.replace("throw new Error('bad')", "return")
    again = await put(orders, "one/stream/orders-1/from/4", fixed, 200, state={"n": 4})
    assert "status" not in again
    assert (await read(orders, "one/until/6"))["state"] == {"n": 5}


async def test_a_reset_begins_again(orders: Client) -> None:
    await put(orders, "one/stream/orders-1/from/1", state={"n": 10})
    assert (await read(orders, "one/until/3"))["state"] == {"n": 12}
    path = "/consumers/one/reset"
    async with orders.post(path) as answer:
        assert (answer.status, await answer.json()) == (
            200,
            {"identifier": "one", "stream": "orders-1", "position": 1, "state": {"n": 10}},
        )
    assert (await read(orders, "one/until/3"))["state"] == {"n": 12}
    async with orders.post(path, json={"state": {"n": 0}, "from": 2}) as answer:
        assert (await answer.json())["position"] == 2
    assert (await read(orders, "one/until/3"))["state"] == {"n": 1}
    async with orders.post(path, json={"from": "start"}) as answer:
        assert (await answer.json())["position"] == 0
    assert (await read(orders, "one/until/3"))["state"] == {"n": 3}
    for bad in (b"[]", b"x", b'{"from": -1}', b'{"from": 1.5}', b'{"state": []}', b'{"from": []}'):
        async with orders.post(path, data=bad) as answer:
            await refused(answer, 400, "invalid_request")
    assert (await read(orders, "one"))["state"] == {"n": 3}


async def test_a_restart_goes_on_by_itself(start_hub: StartHub) -> None:
    hub = await start_hub()
    await commit(hub, "orders-1", *({"n": at} for at in range(100)))
    await put(hub, "one/stream/orders-1")
    await put(hub, "bad/stream/orders-1", "(e, s) => { if (e.n === 7) e.a.b; s.n = e.n }")
    await read(hub, "one/until/100")
    stopped = await read(hub, "bad/until/7")
    while "error" not in stopped:
        stopped = await read(hub, "bad")
    await hub.close()
    hub = await start_hub()
    assert await read(hub, "bad") == stopped
    assert stopped["error"].startswith("event 8: TypeError")
    assert (await read(hub, "one"))["position"] == 100
    await commit(hub, "orders-1", {"n": 100})
    assert (await read(hub, "one/until/101"))["state"] == {"n": 101}


async def test_head_answers_as_get_does(orders: Client) -> None:
    await put(orders, "one/stream/orders-1")
    await read(orders, "one/until/3")
    answer, body = await get(orders, "/consumers/one")
    async with orders.head("/consumers/one") as head:
        assert (head.status, head.headers["Content-Length"]) == (200, str(len(body)))
    assert answer.headers["Content-Length"] == str(len(body))


def states(messages: list[Any]) -> list[tuple[str, Any]]:
    return [(each.id, json.loads(each.data)) for each in messages]


async def test_a_live_view_gives_the_state_and_then_each_change(orders: Client) -> None:
    await put(orders, "one/stream/orders-1")
    await read(orders, "one/until/3")
    async with subscribe(orders, "/consumers/one") as live:
        assert live.raw.startswith(b"retry: 2000\n:\n")
        assert live.headers["Cache-Control"] == "no-cache, no-transform"
        first = await live.take(1)
        assert first[0].event == "message"
        assert states(first) == [("3", {"n": 3})]
        for at in (4, 5, 6):
            await commit(orders, "orders-1", {"n": at})
            assert states(await live.take(1)) == [(str(at), {"n": at})]
        assert b'data: {"n":4}\nid: 4\n\n' in live.raw


async def test_a_live_view_shows_changes_of_the_state_only(orders: Client) -> None:
    await put(orders, "one/stream/orders-1", "(e, s) => { if (e.seen) s.seen = e.seen }")
    await read(orders, "one/until/3")
    async with subscribe(orders, "/consumers/one") as live:
        assert states(await live.take(1)) == [("3", {})]
        await commit(orders, "orders-1", {"n": 4})
        await read(orders, "one/until/4")
        await commit(orders, "orders-1", {"seen": 1})
        assert states(await live.take(1)) == [("5", {"seen": 1})]


async def test_a_live_view_follows_what_becomes_of_its_consumer(orders: Client) -> None:
    await put(orders, "one/stream/orders-1", THROW)
    await read(orders, "one/until/3")
    async with subscribe(orders, "/consumers/one") as live:
        await live.take(1)
        await commit(orders, "orders-1", {"bad": True})
        (stopped,) = await live.take(1)
        assert (stopped.event, stopped.id) == ("stopped", "3")
        assert json.loads(stopped.data) == {"error": "event 4: Error: bad (line 1)"}
        await put(orders, "one/stream/orders-1/from/4", THROW, 200, state={"n": 100})
        assert states(await live.take(1)) == [("4", {"n": 100})]
        await commit(orders, "orders-1", {})
        assert states(await live.take(1)) == [("5", {"n": 101})]
        async with orders.delete("/consumers/one"):
            pass
        assert await live.rest() == []


async def test_a_live_view_of_one_that_has_stopped_says_so(orders: Client) -> None:
    await put(orders, "one/stream/orders-1", "() => missing")
    await read(orders, "one/until/1", 408)
    async with subscribe(orders, "/consumers/one") as live:
        assert [each.event for each in await live.take(2)] == ["message", "stopped"]


async def test_an_idle_live_view_is_kept_open(start_hub: StartHub) -> None:
    hub = await start_hub(heartbeat=0.05)
    await commit(hub, "orders-1", {"n": 1})
    await put(hub, "one/stream/orders-1")
    async with subscribe(hub, "/consumers/one") as live:
        await live.take(1)
        before = live.raw.count(b":\n")
        while live.raw.count(b":\n") < before + 3:
            assert await live.more()


async def test_live_views_are_counted_and_turned_away(start_hub: StartHub) -> None:
    hub = await start_hub(max_subscriptions=1)
    await commit(hub, "orders-1", {"n": 1})
    await put(hub, "one/stream/orders-1")
    async with subscribe(hub, "/consumers/one") as live:
        await live.take(1)
        async with subscribe(hub, "/consumers/one") as other:
            assert await other.rest() == []
            assert b"retry: 30000" in other.raw
        async with hub.get("/health") as answer:
            assert (await answer.json())["subscribers"] == 1


async def test_a_live_view_ends_with_the_hub(start_hub: StartHub) -> None:
    hub = await start_hub()
    await commit(hub, "orders-1", {"n": 1})
    await put(hub, "one/stream/orders-1")
    async with subscribe(hub, "/consumers/one") as live:
        waiting = asyncio.ensure_future(read(hub, "one/until/9", 503))
        await live.take(1)
        await asyncio.sleep(0.1)
        begun = time.monotonic()
        ended = asyncio.ensure_future(live.rest())
        await hub.server.close()
        await ended
        assert time.monotonic() - begun < 2
        assert (await waiting)["code"] == "closing"


async def test_who_is_slow_gets_the_latest_state_only(orders: Client) -> None:
    await put(orders, "one/stream/orders-1", "(e, s) => ({ n: e.n, pad: 'x'.repeat(1e6) })")
    await read(orders, "one/until/3")
    async with orders.get(
        "/consumers/one", headers={"Accept": "text/event-stream"}, read_bufsize=1024
    ) as answer:
        for at in range(60):
            await commit(orders, "orders-1", {"n": at})
            await read(orders, f"one/until/{at + 4}")
        live = Subscription(answer)
        taken = await live.until_data(
            json.dumps({"n": 59, "pad": "x" * 1_000_000}, separators=(",", ":"))
        )
    assert len(taken) < 30
    assert taken[-1].id == "63"


async def test_followers_share_what_they_are_sent(
    orders: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many do not read: none holds a state of its own."""
    size, count = 5_000_000, 20  # more than the kernel takes
    await put(orders, "one/stream/orders-1", f"(e, s) => ({{ n: e.n, pad: 'x'.repeat({size}) }})")
    await read(orders, "one/until/3")
    made: list[bytes] = []
    frames = sse.frames

    def framed(rows: Any) -> bytes:
        made.append(frames(rows))
        return made[-1]

    monkeypatch.setattr(sse, "frames", framed)
    request = b"GET /consumers/one HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n"
    stalled: list[socket.socket] = []
    tracemalloc.start()

    async def add(at: int) -> int:
        """Change the state; return how many bytes are held then."""
        await commit(orders, "orders-1", {"n": at})
        await read(orders, f"one/until/{at}")
        await asyncio.sleep(0.1)
        return tracemalloc.get_traced_memory()[0]

    try:
        alone = max([await add(at) for at in (4, 5, 6)])
        for _ in range(count):
            one = socket.socket()
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            one.setblocking(False)
            stalled.append(one)
            url = orders.make_url("/")
            await asyncio.get_running_loop().sock_connect(one, (url.host, url.port))
            await asyncio.get_running_loop().sock_sendall(one, request)
        context = orders.app[HUB]
        await eventually(lambda: len(context.subscriptions) == count)
        for at in (7, 8, 9):
            held = await add(at)
    finally:
        tracemalloc.stop()
        for one in stalled:
            one.close()
    assert len(made) == 1  # they have yet to take it
    assert held < alone + count * size / 2
    follow = partial(subscribe, orders, "/consumers/one")
    async with follow() as live, follow() as other:
        for identity in ("9", "10"):
            assert [(await each.take(1))[0].id for each in (live, other)] == [identity] * 2
            await commit(orders, "orders-1", {"n": 10})
    assert len(made) in (3, 4)  # the last may have been taken, too


ORDERED = """(event, state, metadata) => {
    const seen = state[metadata.stream] ??= 0;
    if (metadata.streamVersion !== seen) throw new Error(`${metadata.streamVersion} after ${seen}`);
    state[metadata.stream] = seen + 1;
}"""


@pytest.mark.parametrize("stream", ["_all", "category/orders", "join?streams=orders-1,orders-3"])
async def test_no_event_is_missed_or_out_of_order_while_many_write(
    hub: Client, stream: str
) -> None:
    await commit(hub, "orders-1", {"n": 0})
    await put(hub, f"one/stream/{stream}", ORDERED)

    async def write(name: str) -> int:
        last = 0
        for at in range(40):
            last = (await commit(hub, name, *({"n": n} for n in range(at % 5 + 1))))["position"]
        return last

    names = [f"orders-{at}" for at in range(6)]
    await asyncio.gather(*(write(name) for name in names))
    await commit(hub, "orders-1", {"n": 0})
    last = (await commit(hub, "orders-3", {"n": 0}))["position"]
    found = (await read(hub, f"one/until/{last}"))["state"]
    counts = dict.fromkeys(names, 120) | {"orders-1": 122, "orders-3": 121}
    if stream.startswith("join"):
        counts = {name: counts[name] for name in ("orders-1", "orders-3")}
    assert found == counts


async def test_a_stream_that_is_taken_away_stops_its_consumer(orders: Client) -> None:
    matcher = {"payload": {"type": "OrderPlaced"}}
    async with orders.put("/streams/placed", json=matcher) as answer:
        assert answer.status == 201
    await put(orders, "one/stream/placed")
    assert (await read(orders, "one/until/3"))["state"] == {"n": 3}
    async with orders.delete("/streams/placed") as answer:
        assert answer.status == 204
    await commit(orders, "orders-1", {"type": "OrderPlaced"})
    await asyncio.sleep(0.3)
    found = await read(orders, "one")
    assert (found["position"], found["state"], found["status"]) == (3, {"n": 3}, "stopped")
    assert "placed" in found["error"]


async def test_lines_that_are_appended_by_hand_are_folded(
    hub: Client, events: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer, "LOOK_SECONDS", 0.05)
    await post(hub, "/a-channel", "one")
    await put(hub, "one/stream/a-channel")
    await read(hub, "one/until/1")
    append_by_hand(events, b"x\t\ttwo\ny\t\tthree\n")
    assert (await read(hub, "one/until/3"))["state"] == {"n": 3}


async def test_a_member_that_is_misspelled_is_refused(orders: Client) -> None:
    body = {"handler": COUNT, "sate": {}}
    async with orders.put("/consumers/one/stream/orders-1", json=body) as answer:
        await refused(answer, 400, "invalid_request", "sate")
    await put(orders, "one/stream/orders-1", COUNT)
    before = await read(orders, "one/until/1")
    async with orders.post("/consumers/one/reset", json={"frm": 5}) as answer:
        await refused(answer, 400, "invalid_request", "frm")
    assert (await read(orders, "one"))["position"] >= before["position"]
