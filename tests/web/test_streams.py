"""The doors of streams: commits, derived streams, lists, joins, categories, queries."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
from io import BytesIO
from pathlib import Path
from urllib.parse import quote

import pytest

from hub.event import time_of
from hub.options import Durability
from tests.conftest import Client, StartHub
from tests.web.streaming import Document, commit, of_type, read, types
from tests.web.wire import NDJSON, TSV, get, post, post_batch, refused, rows


@pytest.fixture
async def hub(start_hub: StartHub) -> Client:
    """A hub that leaves syncing to the system: these tests are about something else."""
    return await start_hub(durability=Durability.OS)


# Commits


async def test_a_commit_and_its_answer(hub: Client, events: Path) -> None:
    body: Document = {
        "events": [{"type": "OrderPlaced", "n": 1}, {"type": "OrderPaid", "tags": ["vip"]}],
        "expectedVersion": 0,
        "metadata": {"by": "me", "trace": [1, 2]},
    }
    async with hub.post("/streams/orders-1/commit", json=body) as answer:
        assert (answer.status, answer.reason) == (201, "Created")
        assert answer.headers["Content-Type"] == "application/json"
        told = json.loads(await answer.read())
    assert list(told) == [
        "commitId", "committedAt", "by", "trace", "streamName", "streamVersion", "version",
        "position", "events",
    ]  # fmt: skip
    identity, at = told.pop("commitId"), told.pop("committedAt")
    assert told == {
        "by": "me",
        "trace": [1, 2],
        "streamName": "orders-1",
        "streamVersion": 0,
        "version": 2,
        "position": 2,
        "events": body["events"],
    }
    found = await read(hub, "/streams/orders-1")
    text = (events / "orders-1.ndjson").read_text()
    assert text == "".join(
        json.dumps(each, separators=(",", ":")) + "\n"
        for each in (
            {
                "stream": "orders-1",
                "payload": payload,
                "metadata": {
                    "id": found[number]["metadata"]["id"],
                    "commitId": identity,
                    "committedAt": at,
                    "commitVersion": number,
                    "commitSize": 2,
                    "streamVersion": number,
                    "by": "me",
                    "trace": [1, 2],
                },
            }
            for number, payload in enumerate(body["events"])
        )
    )
    moment = time_of(found[0]["metadata"]["id"])
    assert moment
    assert abs(moment // 1000 - at) < 10_000


async def test_versions_and_positions_go_on(hub: Client) -> None:
    first = await commit(hub, "first", *of_type("A", "B"))
    other = await commit(hub, "other", *of_type("C"))
    again = await commit(hub, "first", *of_type("D"), expectedVersion=2)
    assert [each["streamVersion"] for each in (first, other, again)] == [0, 0, 2]
    assert [each["version"] for each in (first, other, again)] == [2, 1, 3]
    assert [each["position"] for each in (first, other, again)] == [2, 3, 4]


async def test_metadata_that_is_called_as_the_answers_own_members(hub: Client) -> None:
    metadata = {"version": "x", "position": "y", "streamName": "z", "events": [], "own": 1.0}
    async with hub.post(
        "/streams/orders/commit", json={"events": [{}], "metadata": metadata}
    ) as answer:
        members = json.loads(await answer.read(), object_pairs_hook=list)
    names = [name for name, _ in members]
    assert len(set(names)) == len(names)
    told = dict(members)
    assert (told["version"], told["position"], told["streamName"]) == (1, 1, "orders")
    assert told["own"] == 1.0
    found = (await read(hub, "/streams/orders"))[0]["metadata"]
    assert {key: found[key] for key in metadata} == metadata


@pytest.mark.parametrize("expected", [None, "any", -1, 0, "empty", "emptyStream"])
async def test_versions_that_a_new_stream_has(hub: Client, expected: object) -> None:
    assert (await commit(hub, "a", *of_type("A"), expectedVersion=expected))["version"] == 1


@pytest.mark.parametrize(
    ("expected", "told"), [(0, 0), ("empty", 0), ("emptyStream", 0), (1, 1), (3, 3), (2**70, 2**70)]
)
async def test_a_version_that_is_another(
    hub: Client, events: Path, expected: object, told: int
) -> None:
    await commit(hub, "orders", *of_type("A", "B"))
    body = {"events": of_type("C"), "expectedVersion": expected}
    async with hub.post("/streams/orders/commit", json=body) as answer:
        assert answer.status == 409
        assert await answer.json() == {
            "error": f"stream 'orders' has version 2, not {told}",
            "code": "version_conflict",
            "expected": told,
            "actual": 2,
        }
    assert types(await read(hub, "/streams/_all")) == "AB"
    async with hub.post("/streams/unknown/commit", json={**body, "expectedVersion": 5}) as answer:
        assert (answer.status, (await answer.json())["actual"]) == (409, 0)
    assert not (events / "unknown.ndjson").exists()
    await refused(await hub.get("/streams/unknown"), 404, "unknown_stream")


BODIES = [
    (b"", 400, "invalid_request"),
    (b"{", 400, "invalid_request"),
    (b"[]", 400, "invalid_request"),
    (b"{}", 400, "invalid_request"),
    (b'{"events":[]}', 400, "invalid_request"),
    (b'{"events":{"type":"A"}}', 400, "invalid_request"),
    (b'{"events":[{}],"unknown":1}', 400, "invalid_request"),
    (b'{"events":[{}],"expectedVersion":"x"}', 400, "invalid_request"),
    (b'{"events":[{}],"metadata":[]}', 400, "invalid_request"),
    (b'{"events":[{}],"metadata":{"commitId":1}}', 400, "invalid_request"),
    (b'{"events":[{}],"condition":{}}', 400, "invalid_request"),
    (b'{"events":[{}],"condition":"x"}', 400, "invalid_request"),
    (b'{"events":[{"a":"\xff"}]}', 400, "invalid_request"),
    (b'{"events":[{"a":"\\ud800"}]}', 400, "invalid_request"),
    (b'{"events":[{},1]}', 422, "invalid_event"),
    (b'{"events":[{"type":"a\\nb"}]}', 422, "invalid_event"),
    (b'{"events":[{"a":' + b"[" * 300 + b"]" * 300 + b"}]}", 422, "invalid_event"),
    (b'{"events":[{"type":"%b"}]}' % (b"a" * 257), 422, "invalid_event"),
    (b'{"events":[{"a":"%b"}]}' % (b"a" * 2**20), 413, "too_large"),
]


async def test_bodies_that_are_refused(hub: Client, events: Path) -> None:
    for body, status, code in BODIES:
        for chunked in (True, None):
            sent = BytesIO(body)
            answer = await hub.post("/streams/orders/commit", data=sent, chunked=chunked)
            await refused(answer, status, code)
    assert not (events / "orders.ndjson").exists()
    assert await (await hub.get("/streams")).json() == {"streams": []}


async def test_all_events_or_none(hub: Client) -> None:
    good = [{"n": number} for number in range(1000)]
    for bad in (5, {"type": "a\tb"}):
        body = {"events": [*good, bad]}
        async with hub.post("/streams/orders/commit", json=body) as answer:
            await refused(answer, 422, "invalid_event", "event 1001")
    await refused(await hub.get("/streams/orders"), 404, "unknown_stream")
    assert (await commit(hub, "orders", *good))["version"] == 1000


async def test_a_large_commit_is_one_commit(hub: Client) -> None:
    """It is read on a thread, and answered like a small one."""
    sent = [{"type": "A", "n": number, "x": "y" * 50} for number in range(5000)]
    told = await commit(hub, "orders", *sent, metadata={"by": "me"})
    assert (told["version"], told["position"], told["events"]) == (5000, 5000, sent)
    found = await read(hub, "/streams/orders")
    assert [each["payload"] for each in found] == sent
    assert {each["metadata"]["commitSize"] for each in found} == {5000}


async def test_the_limit_for_requests(start_hub: StartHub) -> None:
    hub = await start_hub(max_request_bytes=10_000)
    for body in (
        {"events": [{"a": "x" * 10_000}]},
        {"events": [{}] * 30, "metadata": {"a": "x" * 500}},
    ):
        for chunked in (True, None):
            data = json.dumps(body).encode()
            answer = await hub.post("/streams/orders/commit", data=data, chunked=chunked)
            await refused(answer, 413, "too_large", "10000")


async def test_what_is_sent_compressed(hub: Client) -> None:
    body = gzip.compress(b'{"events":[{"type":"A"}]}')
    for encoding, status in (("gzip", 201), ("br", 400)):
        async with hub.post(
            "/streams/orders/commit", data=body, headers={"Content-Encoding": encoding}
        ) as answer:
            assert answer.status in (status, 415)


async def test_payloads_come_back_as_they_were_sent(hub: Client, events: Path) -> None:
    payload = (
        '{"type":"A","n":' + "1234567890" * 6 + ',"e":1E+2,"f":1.10,"z":-0,"type":"B",'
        '"u":"\\u00e4\\ud83d\\ude00ä\\u0000\\u2028\u2028\u0085","deep":'
        + "[" * 200
        + "]" * 200
        + "}"
    )
    async with hub.post(
        "/streams/orders/commit", data=f'{{"events": [ {payload} ]}}'.encode()
    ) as answer:
        assert answer.status == 201
        assert payload.encode() in await answer.read()
    _, body = await get(hub, "/streams/orders")
    assert payload.encode() in body
    _, body = await get(hub, "/streams/_all")
    assert payload.encode() in body
    assert types(await read(hub, "/query", types="B")) == "B"
    assert await read(hub, "/query", types="A") == []


# Names

NAMES = [
    "a", "7", "orders-1", "orders_x", "orders/eu/1", "a:b", "a@b.c", "a~b", "a+b", "a=b", "a#b",
    "a.b", "a/from/b", "a/until/3", "x/forwards/1", "join", "category", "version", "commit",
    "close", "a/version", "a/commit", "a/close", "category/orders", "from/1", "join/from/1",
    "-abc", "_ab1", "a__b", "A" * 200,
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
async def test_names(hub: Client, name: str) -> None:
    encoded = quote(name, safe="")
    path = f"/streams/{encoded}"
    # A slash need not be encoded where nothing else is meant by what follows.
    for spelling in {encoded, quote(name)}:
        body = {"events": of_type("A")}
        async with hub.post(f"/streams/{spelling}/commit", json=body) as answer:
            assert answer.status == 201, await answer.text()
            assert (await answer.json())["streamName"] == name
    found = await read(hub, path)
    assert [each["stream"] for each in found] == [name] * len(found)
    assert await read(hub, f"{path}/from/-1/until/end") == found[-1:]
    answer, _ = await get(hub, path)
    assert answer.headers["x-event-store-stream"] == name
    version = await (await hub.get(f"{path}/version")).json()
    assert version == {"stream": name, "version": len(found)}
    listed = await (await hub.get("/streams")).json()
    assert [each["stream"] for each in listed["streams"]] == [name]
    assert (await hub.post(f"{path}/close")).status == 200
    assert (await hub.delete(path)).status == 409


NO_NAMES = [
    "_all", "_hub", "a..b", "a/", "/a", "-", "../etc", "a b", "ä", "a\0b", "a?", "%", "a%", "a::b",
    "a/../b", "A" * 201, "/".join("a" * 90), "a//b", "streams/", "x_/_y",
]  # fmt: skip


async def test_names_that_no_stream_has(hub: Client, events: Path) -> None:
    for name in NO_NAMES:
        path = f"/streams/{quote(name, safe='')}"
        answers = [
            await hub.post(f"{path}/commit", json={"events": of_type("A")}),
            await hub.post(f"{path}/close"),
        ]
        if name != "_all":
            answers += [
                await hub.put(path, json={"payload": {"type": "A"}}),
                await hub.delete(path),
                await hub.get(path),
            ]
        for answer in answers:
            await refused(answer, 400, "invalid_name")
        assert os.listdir(events) == [".hub"]


async def test_a_path_that_is_not_utf8(hub: Client) -> None:
    for path in ("/streams/%ff", "/streams/a%C3/version"):
        await refused(await hub.get(path), 400, "invalid_name")


async def test_what_is_done_to_a_stream_is_not_defined(hub: Client) -> None:
    for path in ("a/commit", "a/close", "a/version", "a/from/3", "category/a"):
        for answer in (
            await hub.put(f"/streams/{path}", json=A),
            await hub.delete(f"/streams/{path}"),
        ):
            await refused(answer, 405, "method_not_allowed", "as %2F")
        encoded = quote(path, safe="")
        assert (await hub.put(f"/streams/{encoded}", json=A)).status == 201
        assert (await hub.delete(f"/streams/{encoded}")).status == 204


# One namespace with channels


async def test_a_stream_is_a_channel_and_a_channel_is_a_stream(hub: Client, events: Path) -> None:
    await commit(hub, "orders-1", {"type": "A", "n": 1.0})
    identity = await post(hub, "/orders-1?event=B", '{"n": 2}')
    await post(hub, "/a-channel?event=C", "text")
    await commit(hub, "a-channel", {"type": "D"})
    answer, body = await get(hub, "/orders-1")
    assert answer.headers["Content-Type"].startswith("text/tab-separated-values")
    found = [line.split(b"\t") for line in body.split(b"\n")[:-1]]
    assert [row[1:] for row in found] == [
        [b"A", b'{"type":"A","n":1.0}'],
        [b"B", b'{"type":"B","n":2}'],
    ]
    assert found[1][0] == identity.encode()
    documents = await read(hub, "/streams/orders-1")
    assert types(documents) == "AB"
    assert [each["metadata"]["streamVersion"] for each in documents] == [0, 1]
    assert [row[1:] for row in rows(events)] == [[b"C", b"text"], [b"D", b'{"type":"D"}']]
    documents = await read(hub, "/streams/a-channel")
    assert [each["payload"] for each in documents] == [{"type": "C", "data": "text"}, {"type": "D"}]
    assert types(await read(hub, "/streams/_all")) == "ABCD"
    assert (await commit(hub, "a-channel", {}, expectedVersion=2))["position"] == 5
    listed = (await (await hub.get("/streams")).json())["streams"]
    assert {each["stream"]: each["format"] for each in listed} == {
        "a-channel": "tsv",
        "orders-1": "ndjson",
    }


async def test_a_commit_with_metadata_to_a_channels_log(hub: Client, events: Path) -> None:
    await post(hub, "/a-channel", "text")
    body = {"events": of_type("A"), "metadata": {"by": "me"}}
    answer = await hub.post("/streams/a-channel/commit", json=body)
    await refused(answer, 409, "format_conflict", "metadata")
    assert len(rows(events)) == 1
    await commit(hub, "a-channel", *of_type("A"), metadata={})
    assert len(rows(events)) == 2


async def test_a_commit_to_a_channels_log_is_all_or_nothing(hub: Client, events: Path) -> None:
    await post(hub, "/a-channel", "text")
    sent = [{"type": "A", "n": number, "text": "x\ty"} for number in range(300)]
    told = await commit(hub, "a-channel", *sent, expectedVersion=1)
    assert (told["version"], told["events"]) == (301, sent)
    assert [each["payload"] for each in await read(hub, "/streams/a-channel/from/2")] == sent
    body: Document = {"events": [*sent, 5]}
    await refused(await hub.post("/streams/a-channel/commit", json=body), 422, "invalid_event")
    body = {"events": sent, "expectedVersion": 7}
    assert (await hub.post("/streams/a-channel/commit", json=body)).status == 409
    assert len(rows(events)) == 301


async def test_batches_to_a_streams_log(hub: Client) -> None:
    await commit(hub, "orders-1", *of_type("A"))
    await post_batch(hub, b"7\tB\tx\n8\tC\t{}\n", TSV, "/orders-1")
    await post_batch(hub, b'{"n":1}\n{"type":"E"}\n', NDJSON, "/orders-1?event=D")
    found = await read(hub, "/streams/orders-1")
    assert types(found) == "ABCDE"
    assert [each["metadata"]["commitSize"] for each in found] == [1, 2, 2, 2, 2]
    assert [each["metadata"]["commitVersion"] for each in found] == [0, 0, 1, 0, 1]
    assert [each["metadata"]["id"] for each in found[1:3]] == ["7", "8"]


# Derived streams

A = {"payload": {"type": "A"}}


@pytest.mark.parametrize("wrapped", [True, False])
async def test_a_derived_stream(hub: Client, wrapped: bool) -> None:
    await commit(hub, "first", *of_type("A", "B"))
    await post(hub, "/channel-1?event=A", "text")
    body = {"matcher": A} if wrapped else A
    for status in (201, 200, 200):
        async with hub.put("/streams/only-a", json=body) as answer:
            assert (answer.status, await answer.json()) == (
                status,
                {"stream": "only-a", "version": 2},
            )
    await commit(hub, "other", *of_type("B", "A"))
    found = await read(hub, "/streams/only-a")
    assert [each["stream"] for each in found] == ["first", "channel-1", "other"]
    assert [each["stream"] for each in await read(hub, "/streams/only-a/from/2/until/2")] == [
        "channel-1"
    ]
    assert await (await hub.get("/streams/only-a/version")).json() == {
        "stream": "only-a",
        "version": 3,
    }


async def test_a_derived_stream_is_the_same_after_a_restart(
    start_hub: StartHub, events: Path
) -> None:
    hub = await start_hub()
    await commit(hub, "first", *of_type("A", "B", "A"))
    assert (await hub.put("/streams/only-a", json=A)).status == 201
    assert (await hub.put("/streams/made", json={"stream": "made"})).status == 201
    await hub.close()
    hub = await start_hub()
    await commit(hub, "first", *of_type("A"))
    assert len(await read(hub, "/streams/only-a")) == 3
    assert (await hub.put("/streams/only-a", json=A)).status == 200
    assert (await hub.put("/streams/made", json={"stream": "made"})).status == 200
    answer = await hub.put("/streams/only-a", json={"payload": {"type": "B"}})
    await refused(answer, 409, "name_taken", "only-a")
    await hub.delete("/streams/only-a")
    await hub.close()
    hub = await start_hub()
    await refused(await hub.get("/streams/only-a"), 404, "unknown_stream")


async def test_what_the_name_of_a_derived_stream_is_taken_for(hub: Client) -> None:
    await commit(hub, "first", *of_type("A"))
    await post(hub, "/channel-1", "text")
    for name in ("first", "channel-1"):
        await refused(await hub.put(f"/streams/{name}", json=A), 409, "name_taken")
    await hub.put("/streams/only-a", json=A)
    for other in ({"payload": {"type": "B"}}, {}, {"stream": "only-a"}):
        await refused(await hub.put("/streams/only-a", json=other), 409, "name_taken")
    body = {"events": of_type("A")}
    await refused(await hub.post("/streams/only-a/commit", json=body), 409, "conflict")
    await refused(await hub.post("/streams/only-a/close"), 409, "conflict")
    await refused(await hub.post("/only-a", data=b"x"), 409, "name_taken")


async def test_an_empty_log(hub: Client, events: Path) -> None:
    for name in ("orders-1", "orders/2"):
        for body, status in (({"stream": name}, 201), ({"matcher": {"stream": [name]}}, 200)):
            async with hub.put(f"/streams/{name}", json=body) as answer:
                assert (answer.status, await answer.json()) == (
                    status,
                    {"stream": name, "version": 0},
                )
    assert (events / "orders-1.ndjson").read_bytes() == b""
    assert (events / "orders%2F2.ndjson").exists()
    assert await read(hub, "/streams/orders-1") == []
    assert await read(hub, "/streams/orders-1/from/start/until/end") == []
    assert await read(hub, "/streams/orders-1/from/end/until/start") == []
    assert await read(hub, "/streams/orders-1/backwards/3") == []
    await commit(hub, "orders-1", *of_type("A"), expectedVersion="empty", metadata={"a": 1})
    async with hub.put("/streams/orders-1", json={"stream": "orders-1"}) as answer:
        assert (answer.status, (await answer.json())["version"]) == (200, 1)


async def test_a_derived_stream_without_events(hub: Client) -> None:
    await hub.put("/streams/only-a", json=A)
    for window in ("", "/from/start/until/end", "/from/end/until/start", "/backwards/2", "/from/1"):
        assert await read(hub, f"/streams/only-a{window}") == []


NO_MATCHERS = [
    b"",
    b"{",
    b"[]",
    b"1",
    b"null",
    b'{"payload":{"$x":1}}',
    b'{"more":1}',
    b'{"matcher":1}',
    b'{"matcher":{},"more":1}',
    b"[" * 100_000,
    b'{"payload":{"a":[]}}',
]


async def test_matchers_that_are_none(hub: Client) -> None:
    for body in NO_MATCHERS:
        await refused(await hub.put("/streams/only-a", data=body), 400, "invalid_request")
        await refused(await hub.get("/streams/only-a"), 404, "unknown_stream")


async def test_a_stream_is_removed_only_if_no_event_goes(hub: Client) -> None:
    await commit(hub, "first", *of_type("A"))
    await hub.put("/streams/only-a", json=A)
    async with hub.delete("/streams/only-a") as answer:
        assert (answer.status, await answer.read()) == (204, b"")
    for answer in (await hub.get("/streams/only-a"), await hub.delete("/streams/only-a")):
        await refused(answer, 404, "unknown_stream")
    await refused(await hub.delete("/streams/first"), 409, "conflict", "never")
    # The name is free again, for anything.
    async with hub.put("/streams/only-a", json={"payload": {"type": "B"}}) as answer:
        assert (answer.status, (await answer.json())["version"]) == (201, 0)
    await hub.delete("/streams/only-a")
    await commit(hub, "only-a", *of_type("B"))


async def test_definitions_at_the_same_time(hub: Client) -> None:
    """Whoever is told 200 or 409 is told what is on disk."""

    async def put(kind: str) -> int:
        async with hub.put("/streams/derived", json={"payload": {"type": kind}}) as answer:
            return answer.status

    statuses = await asyncio.gather(*(put(kind) for kind in "ABABABAB"))
    assert sorted(statuses) == [200, 200, 200, 201, 409, 409, 409, 409]
    removed = await asyncio.gather(*(hub.delete("/streams/derived") for _ in range(4)))
    assert sorted(each.status for each in removed) == [204, 404, 404, 404]


# Sealed streams


async def test_a_sealed_stream(start_hub: StartHub) -> None:
    hub = await start_hub()
    await commit(hub, "orders-1", *of_type("A", "B"))
    await post(hub, "/a-channel", "text")
    for name, version in (("orders-1", 2), ("a-channel", 1)):
        for _ in range(2):
            async with hub.post(f"/streams/{name}/close") as answer:
                assert (answer.status, await answer.json()) == (
                    200,
                    {"stream": name, "version": version, "closed": True},
                )
    for _ in range(2):
        for name in ("orders-1", "a-channel"):
            body = {"events": of_type("A")}
            for answer in (
                await hub.post(f"/streams/{name}/commit", json=body),
                await hub.post(f"/{name}", data=b"x"),
                await hub.post(f"/{name}", data=b"\t\tx\n", headers=TSV),
            ):
                await refused(answer, 409, "stream_closed", name)
        assert types(await read(hub, "/streams/orders-1")) == "AB"
        listed = (await (await hub.get("/streams")).json())["streams"]
        assert [each["closed"] for each in listed] == [True, True]
        await hub.close()
        hub = await start_hub()


async def test_what_cannot_be_sealed(hub: Client) -> None:
    await refused(await hub.post("/streams/unknown/close"), 404, "unknown_stream")
    await hub.put("/streams/only-a", json=A)
    await refused(await hub.post("/streams/only-a/close"), 409, "conflict")


# The list


async def test_the_list(hub: Client) -> None:
    assert await (await hub.get("/streams")).json() == {"streams": []}
    await commit(hub, "b", *of_type("A", "B"))
    await post(hub, "/aaaa", "text")
    await hub.put("/streams/c/only-a", json=A)
    await commit(hub, "c-1", *of_type("A"))
    await hub.post("/streams/b/close")
    listed = (await (await hub.get("/streams")).json())["streams"]
    for each in listed:
        each["metadata"] = {}
    keys = ("stream", "version", "closed", "format", "derived", "metadata")
    assert [list(each) for each in listed] == [list(keys)] * 4
    assert [tuple(each.values()) for each in listed] == [
        ("aaaa", 1, False, "tsv", False, {}),
        ("b", 2, True, "ndjson", False, {}),
        ("c-1", 1, False, "ndjson", False, {}),
        ("c/only-a", 2, False, "ndjson", True, {}),
    ]


async def test_the_list_tells_of_the_last_event(start_hub: StartHub, events: Path) -> None:
    hub = await start_hub()
    last = await post(hub, "/aaaa", "text")
    await post(hub, "/bbbb?id=own", "text")
    await hub.put("/cccc")
    await hub.put("/streams/only-a", json=A)
    await hub.close()
    hub = await start_hub()  # what it tells is known without a look into the logs
    found = (await (await hub.get("/streams")).json())["streams"]
    assert {each["stream"]: each["metadata"] for each in found} == {
        "aaaa": {
            "bytes": (events / "aaaa.tsv").stat().st_size,
            "lastId": last,
            "lastTime": (time_of(last) or 0) // 1000,
        },
        # An id that is no time: then it is the file's.
        "bbbb": {
            "bytes": len("own\t\ttext\n"),
            "lastId": "own",
            "lastTime": (events / "bbbb.tsv").stat().st_mtime_ns // 1_000_000,
        },
        "cccc": {"bytes": 0, "lastId": "", "lastTime": None},
        "only-a": {},
    }


async def test_who_knows_the_list_is_told_so(hub: Client) -> None:
    await post(hub, "/a-channel")
    async with hub.get("/streams") as answer:
        assert answer.headers["Vary"] == "Accept, Accept-Encoding"
        known = {"If-None-Match": answer.headers["ETag"]}
    async with hub.get("/streams", headers=known) as answer:
        assert (answer.status, await answer.read()) == (304, b"")
    await post(hub, "/a-channel")
    async with hub.get("/streams", headers=known) as answer:
        assert (answer.status, (await answer.json())["streams"][0]["version"]) == (200, 2)


async def test_the_pages_of_the_list(hub: Client) -> None:
    names = sorted(f"{head}-{number}" for head in ("a", "b", "c") for number in range(5))
    await asyncio.gather(*(commit(hub, name, {}) for name in names))

    async def listed(query: str) -> list[str]:
        async with hub.get(f"/streams?{query}") as answer:
            return [each["stream"] for each in (await answer.json())["streams"]]

    assert await listed("") == names
    assert await listed("prefix=b") == names[5:10]
    assert await listed("prefix=b-4") == ["b-4"]
    assert await listed("prefix=x") == []
    assert await listed("after=b-3") == names[9:]
    assert await listed("after=zz") == []
    assert await listed("limit=0") == []
    assert await listed("prefix=b&after=b-1&limit=2") == ["b-2", "b-3"]
    paged: list[str] = []
    while page := await listed(f"limit=4&after={paged[-1] if paged else ''}"):
        paged += page
    assert paged == names
    for bad in ("limit=x", "limit=-1", "limit="):
        await refused(await hub.get(f"/streams?{bad}"), 400, "invalid_request", "limit")


async def test_pages_of_other_origins_see_the_headers(start_hub: StartHub) -> None:
    hub = await start_hub(cors=("https://example.com",))
    origin = {"Origin": "https://example.com"}
    answer = await hub.post("/streams/a/commit", json={"events": of_type("A")}, headers=origin)
    assert answer.status == 201
    async with hub.get("/query?types=A", headers=origin) as answer:
        assert answer.headers["Access-Control-Allow-Origin"] == "https://example.com"
        exposed = answer.headers["Access-Control-Expose-Headers"].split(", ")
        own = [each for each in answer.headers if each.lower().startswith("x-event-store-")]
        assert len(own) == 3
        assert set(own) <= set(exposed)
