"""What streams are read together: the order of everything, joins, categories, queries."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from yarl import URL

from hub.document import Keys
from hub.engines.files import FilesEngine
from hub.options import Durability
from hub.web.context import HUB
from tests.conftest import Client, StartHub
from tests.web.streaming import Document, commit, of_type, read, split, types
from tests.web.wire import get, post, refused


@pytest.fixture
async def hub(start_hub: StartHub) -> Client:
    """A hub that leaves syncing to the system: these tests are about something else."""
    return await start_hub(durability=Durability.OS)


# The order of everything: _all, joins, categories


@pytest.fixture
async def store(hub: Client) -> Client:
    """Five streams of all kinds, with events A to H in this order."""
    await commit(hub, "orders-1", {"type": "A", "tags": ["x"]}, {"type": "B"})
    await post(hub, "/orders-2?event=C", '{"tags": ["x", "y"]}')
    await commit(hub, "orders/eu", {"type": "D"})
    await commit(hub, "other", {"type": "E", "tags": ["y"]}, {"type": "A", "tags": ["y"]})
    await commit(hub, "orders-1", {"type": "G"})
    await commit(hub, "ordersx", {"type": "H"})
    return hub


async def test_the_global_stream(store: Client) -> None:
    assert types(await read(store, "/streams/_all")) == "ABCDEAGH"
    assert types(await read(store, "/streams/_all/from/3/until/5")) == "CDE"
    assert types(await read(store, "/streams/_all/from/-2")) == "GH"
    assert types(await read(store, "/streams/_all/backwards/3")) == "HGA"
    assert types(await read(store, "/streams/_all/from/7/until/4")) == "GAED"
    answer, _ = await get(store, "/streams/_all")
    assert answer.headers["x-event-store-stream"] == "_all"
    assert answer.headers["x-event-store-version"] == "8"
    assert await (await store.get("/streams/_all/version")).json() == {
        "stream": "_all",
        "version": 8,
    }


JOINS = [
    ("orders-1", "ABG"),
    ("other,orders-1", "ABEAG"),
    (" other , orders-1 ,", "ABEAG"),
    ("orders-1,missing", "ABG"),
    ("missing", ""),
    ("A", "AA"),
    ("B,orders-2", "BC"),
    ("tags/x", "AC"),
    ("tags/y,orders/eu", "CDEA"),
    ("No such type", ""),
]


async def test_joins_of_streams(store: Client) -> None:
    for streams, expected in JOINS:
        assert types(await read(store, "/streams/join", streams=streams)) == expected
        turned = await read(store, "/streams/join/backwards/9", streams=streams)
        assert types(turned) == expected[::-1]


SELECTORS = [
    ("orders-1", "ABG"),
    (["orders-1", "orders/eu"], "ABDG"),
    ([["orders-1", "A"]], "A"),
    ([["orders-1", "A"], "D"], "AD"),
    ([["tags/x", ["A", "C"]]], "AC"),
    ([["tags/x", "tags/y"]], "C"),
    ([["tags/y", ["E", ["A", "other"]]]], "EA"),
    ([["orders-1", "other"]], ""),
]


async def test_joins_by_selector(store: Client) -> None:
    for selector, expected in SELECTORS:
        found = await read(store, "/streams/join", selector=json.dumps(selector))
        assert types(found) == expected


async def test_a_join_takes_derived_streams(store: Client) -> None:
    await store.put("/streams/with-x", json={"payload": {"tags": {"$has": "x"}}})
    assert types(await read(store, "/streams/join", streams="with-x,orders/eu")) == "ACD"
    assert types(await read(store, "/streams/join", selector=[["with-x", "orders-1"]])) == "A"


async def test_windows_of_joins_are_positions(store: Client) -> None:
    assert types(await read(store, "/streams/join/from/6/until/8", streams="orders-1,A")) == "AG"
    assert types(await read(store, "/streams/join/until/-3", streams="orders-1,A")) == "ABA"
    assert types(await read(store, "/streams/join/backwards/2", streams="orders-1")) == "G"
    answer, _ = await get(store, "/streams/join/from/6?streams=orders-1")
    assert answer.headers["x-event-store-stream"] == "join"
    assert answer.headers["x-event-store-version"] == "8"
    answer = await store.get("/streams/join/version?streams=orders-1")
    assert await answer.json() == {"stream": "join", "version": 8}


NO_JOINS = [
    "",
    "streams=",
    "streams=,",
    "streams=_all",
    "streams=a,_all",
    'selector="_all"',
    "selector=",
    'selector=[["a","_all"],"_all"]',
    "selector=[]",
    "selector=5",
    "selector=[1]",
    "selector=[[]]",
    "selector={}",
    'selector=["a"',
    "streams=a&filter=x",
    "streams=a&filter=[]",
    "selector=" + "[" * 20 + '"a"' + "]" * 20,
]


async def test_joins_that_make_no_sense(store: Client) -> None:
    for query in NO_JOINS:
        path = f"/streams/join?{quote(query, safe='=&')}"
        await refused(await store.get(path), 400, "invalid_request")


async def test_a_stream_that_is_called_join(store: Client) -> None:
    await commit(store, "join", *of_type("J"))
    assert types(await read(store, "/streams/join")) == "J"
    assert types(await read(store, "/streams/join", streams="other,join")) == "EAJ"


CATEGORIES = [("orders", "ABCDG"), ("orders/eu", ""), ("other", ""), ("missing", ""), ("ord", "")]


async def test_categories(store: Client) -> None:
    for category, expected in CATEGORIES:
        path = f"/streams/category/{category}"
        assert types(await read(store, path)) == expected
        assert types(await read(store, f"{path}/backwards/9")) == expected[::-1]
        answer, _ = await get(store, path)
        assert answer.headers["x-event-store-stream"] == f"category/{category}"
        assert answer.headers["x-event-store-version"] == "8"
        answer = await store.get(f"{path}/version")
        assert await answer.json() == {"stream": f"category/{category}", "version": 8}


async def test_categories_grow(store: Client) -> None:
    assert await read(store, "/streams/category/orders/eu") == []
    await commit(store, "orders/eu/1", *of_type("I"))
    await commit(store, "orders/eu-2", *of_type("K"))
    assert types(await read(store, "/streams/category/orders/eu")) == "IK"
    assert types(await read(store, "/streams/category/orders%2Feu")) == "IK"
    assert types(await read(store, "/streams/category/orders/from/5")) == "GIK"
    await store.put("/streams/orders-derived", json={"payload": {"type": "H"}})
    assert types(await read(store, "/streams/category/orders/from/5")) == "GHIK"


async def test_categories_that_no_stream_can_be_in(store: Client) -> None:
    for category in ("_all", "a::b", "%20"):
        await refused(await store.get(f"/streams/category/{category}"), 400, "invalid_name")


async def test_a_stream_that_is_called_as_a_category(store: Client) -> None:
    await commit(store, "category/orders", *of_type("K"))
    assert types(await read(store, "/streams/category/orders")) == "ABCDG"
    assert types(await read(store, "/streams/category%2Forders")) == "K"
    await refused(await store.get("/streams/category"), 404, "unknown_stream")


@pytest.mark.parametrize("path", ["orders-1", "_all", "join?streams=orders-1", "category/orders"])
async def test_filters(store: Client, path: str) -> None:
    path, _, query = path.partition("?")
    rest = dict([query.split("=")]) if query else {}
    found = await read(
        store,
        f"/streams/{path}",
        filter={"stream": "orders-1", "payload": {"type": ["B", "G"]}},
        **rest,
    )
    assert types(found) == "BG"
    assert await read(store, f"/streams/{path}", filter={"payload": {"no": 1}}, **rest) == []
    for bad in ("{", "[]", '{"payload":{"n":{"$x":1}}}', '{"x":1}'):
        answer = await store.get(f"/streams/{path}", params={"filter": bad, **rest})
        await refused(answer, 400, "invalid_request")


async def test_filters_of_derived_streams(store: Client) -> None:
    await store.put("/streams/with-y", json={"payload": {"tags": {"$has": "y"}}})
    wanted = {"stream": "other"}
    assert types(await read(store, "/streams/with-y", filter=wanted)) == "EA"
    assert types(await read(store, "/streams/with-y/backwards/1", filter=wanted)) == "A"


# Queries and conditions


async def query(client: Client, path: str = "/query", **parts: Any) -> tuple[str, Document]:
    """The types that a query finds, and its condition."""
    found = await read(client, path, **parts)
    texts = {key: each if type(each) is str else json.dumps(each) for key, each in parts.items()}
    async with client.get(path, params=texts) as answer:
        text = answer.headers["x-event-store-query-condition"]
    assert text.isascii()
    assert ": " not in text
    condition = json.loads(text)
    assert isinstance(condition, dict)
    return types(found), condition


BY_TYPE = [
    ("A", "AA", ["A"]),
    ("A,C", "ACA", ["A", "C"]),
    ("missing", "", ["missing"]),
    ("A,A, B,", "ABA", ["A", "B"]),
    ("orders-1", "", ["orders-1"]),
    ("ä b", "", ["ä b"]),
]


async def test_queries_by_type(store: Client) -> None:
    for names, expected, told in BY_TYPE:
        found, condition = await query(store, types=names)
        assert found == expected
        assert condition == {"selector": told, "types": told, "noneMatchAfter": 8}
        assert list(condition) == ["selector", "types", "noneMatchAfter"]


BY_ITEMS = [
    ([{"types": ["A"], "tags": ["x"]}], "A", [["tags/x", "A"]]),
    ([{"types": ["A"]}], "AA", ["A"]),
    ([{"types": ["A", "B"]}], "ABA", [[["A", "B"]]]),
    ([{"tags": ["x"]}], "AC", ["tags/x"]),
    ([{"tags": ["x", "y"]}], "C", [["tags/x", "tags/y"]]),
    ([{"types": ["A", "C"], "tags": ["y"]}], "CA", [["tags/y", ["A", "C"]]]),
    ([{"types": ["D"]}, {"tags": ["x"]}], "ACD", ["D", "tags/x"]),
    ([{}], "ABCDEAGH", ["_all"]),
    ([{"types": [], "tags": []}, {"types": ["A"]}], "ABCDEAGH", ["_all", "A"]),
]


async def test_queries_by_items(store: Client) -> None:
    for items, expected, selector in BY_ITEMS:
        found, condition = await query(store, query={"items": items})
        assert found == expected
        assert condition["selector"] == selector
        assert set(condition) == {"selector", "noneMatchAfter"}


async def test_queries_with_a_filter_and_a_beginning(store: Client) -> None:
    wanted = {"payload": {"tags": {"$hasAny": ["y"]}}}
    found, condition = await query(store, types="A,C", filter=wanted)
    assert found == "CA"
    assert condition["matcher"] == wanted
    assert list(condition) == ["selector", "types", "noneMatchAfter", "matcher"]
    assert (await query(store, "/query/from/4", types="A,C"))[0] == "A"
    assert (await query(store, "/query/from/9", types="A,C"))[0] == ""
    assert (await query(store, "/query/from/-3", types="A,C"))[0] == "A"
    assert (await query(store, "/query/from/start", types="A,C"))[0] == "ACA"
    # As in the URL of a stream, each part is decoded.
    async with store.get(URL("/query/from/%34?types=A,C", encoded=True)) as answer:
        assert types(split(await answer.text())) == "A"
    for path in ("/query/from/1%2F2", "/query/from/%FF"):
        async with store.get(URL(f"{path}?types=A", encoded=True)) as answer:
            assert answer.status == 400


NO_QUERIES = [
    "",
    "types=",
    "types=,",
    "query=",
    "query=[]",
    "query={}",
    'query={"items":[]}',
    'query={"items":[5]}',
    'query={"items":[{"types":"A"}]}',
    'query={"items":[{"more":[]}]}',
    'query={"items":[{"types":[1]}]}',
    'query={"items":[{}],"more":1}',
    "types=A&filter=5",
]


async def test_queries_that_make_no_sense(store: Client) -> None:
    for text in NO_QUERIES:
        path = f"/query?{quote(text, safe='=&')}"
        await refused(await store.get(path), 400, "invalid_request")


async def test_queries_from_nowhere(store: Client) -> None:
    for path in ("/query/from/0", "/query/from/x"):
        await refused(await store.get(f"{path}?types=A"), 400, "invalid_request", "from")
    answer = await store.get("/query/from/1/from/2?types=A")
    await refused(answer, 404, "not_found", "/query/from/{position}")


async def conditional(client: Client, stream: str, condition: object, **body: Any) -> int:
    """Commit an event of type Z if a condition holds; return the status."""
    async with client.post(
        f"/streams/{stream}/commit", json={"events": of_type("Z"), "condition": condition, **body}
    ) as answer:
        if answer.status == 409:
            assert (await error_of_conflict(answer))["code"] == "condition_conflict"
        return answer.status


async def error_of_conflict(answer: Any) -> Document:
    found = json.loads(await answer.read())
    assert set(found) <= {"error", "code", "stream", "position"}
    assert found.get("stream", "") in found["error"]
    assert "stream" in found or "position" in found
    assert isinstance(found, dict)
    return found


async def test_a_condition_holds_until_an_event_comes_that_it_means(store: Client) -> None:
    _, condition = await query(store, types="A,missing")
    await commit(store, "other", *of_type("B"))  # not meant
    assert await conditional(store, "decisions", condition) == 201
    for name, kind in (("brand-new", "missing"), ("orders-1", "A")):
        _, condition = await query(store, types="A,missing")
        await commit(store, name, *of_type(kind))
        assert await conditional(store, "decisions", condition) == 409
    assert types(await read(store, "/streams/decisions")) == "Z"
    body = {"events": of_type("Z"), "condition": condition}
    async with store.post("/streams/decisions/commit", json=body) as answer:
        told = await error_of_conflict(answer)
        assert (told["stream"], told["position"]) == ("orders-1", 12)


CONDITIONS = [
    ({"selector": ["_all"], "noneMatchAfter": 8}, 201),  # first: later, more has come
    ({"selector": ["A"], "noneMatchAfter": 6}, 201),
    ({"selector": ["A"], "noneMatchAfter": 5}, 409),
    ({"selector": "A", "noneMatchAfter": 5}, 409),
    ({"selector": ["other"], "noneMatchAfter": 5}, 409),
    ({"selector": ["other"], "noneMatchAfter": 6}, 201),
    ({"selector": ["_all"], "noneMatchAfter": 7}, 409),
    ({"selector": "_all", "noneMatchAfter": 0}, 409),
    ({"selector": ["unknown", "Unknown", "tags/unknown"], "noneMatchAfter": 0}, 201),
    ({"selector": [["tags/y", "A"]], "noneMatchAfter": 5}, 409),
    ({"selector": [["tags/x", "A"]], "noneMatchAfter": 5}, 201),
    ({"selector": ["tags/x"], "noneMatchAfter": 2}, 409),
    ({"types": ["H"], "noneMatchAfter": 7}, 409),
    ({"types": ["H"], "noneMatchAfter": 8}, 201),
    ({"types": ["orders-1"], "noneMatchAfter": 0}, 201),
    ({"selector": ["orders-1"], "types": ["orders-1"], "noneMatchAfter": 0}, 201),
    ({"selector": ["A"], "types": None, "matcher": None, "noneMatchAfter": 6}, 201),
    ({"types": ["A"], "noneMatchAfter": 0, "matcher": {"stream": "orders-2"}}, 201),
    ({"types": ["A"], "noneMatchAfter": 0, "matcher": {"stream": "other"}}, 409),
    ({"types": ["A"], "noneMatchAfter": 0, "matcher": {"payload": {"tags": ["x"]}}}, 201),
    ({"types": ["A"], "noneMatchAfter": 0, "matcher": {"payload": {"tags": {"$has": "x"}}}}, 409),
    ({"types": ["A"], "noneMatchAfter": 2**60}, 409),  # nobody can have seen that one
]


@pytest.mark.parametrize("as_text", [True, False])
async def test_conditions(store: Client, as_text: bool) -> None:
    for condition, status in CONDITIONS:
        given = json.dumps(condition) if as_text else condition
        for stream in ("orders-1", "orders-2", "brand-new"):
            if status == 201 and stream != "brand-new":
                continue  # its own event would be one that a later condition rules out
            assert await conditional(store, stream, given) == status


async def test_a_condition_on_a_derived_stream(store: Client) -> None:
    await store.put("/streams/with-y", json={"payload": {"tags": {"$has": "y"}}})
    for after, status in ((6, 201), (5, 409)):
        condition = {"selector": ["with-y"], "noneMatchAfter": after}
        assert await conditional(store, "decisions", condition) == status


NO_CONDITIONS = [
    {},
    [],
    5,
    "x",
    "",
    "[]",
    {"noneMatchAfter": 1},
    {"types": ["A"]},
    {"types": [], "n": 1},
    {"types": ["A"], "noneMatchAfter": -1},
    {"types": ["A"], "noneMatchAfter": 1.5},
    {"types": ["A"], "noneMatchAfter": "1"},
    {"types": ["A"], "noneMatchAfter": True},
    {"selector": [], "noneMatchAfter": 1},
    {"types": [], "noneMatchAfter": 1},
    {"types": "A", "noneMatchAfter": 1},
    {"types": ["A"], "noneMatchAfter": 1, "more": 1},
    {"types": ["A"], "noneMatchAfter": 1, "matcher": {"payload": {"a": {"$x": 1}}}},
    {"types": ["A"], "noneMatchAfter": 2**64},
]


async def test_conditions_that_are_none(store: Client) -> None:
    for condition in NO_CONDITIONS:
        body = {"events": of_type("Z"), "condition": condition}
        answer = await store.post("/streams/other/commit", json=body)
        await refused(answer, 400, "invalid_request")


async def test_a_condition_and_a_version(store: Client) -> None:
    good = {"types": ["A"], "noneMatchAfter": 8}
    bad = {"types": ["A"], "noneMatchAfter": 0}
    assert await conditional(store, "other", bad, expectedVersion=2) == 409
    body = {"events": of_type("Z"), "condition": good, "expectedVersion": 1}
    await refused_conflict(store, body)
    assert await conditional(store, "other", good, expectedVersion=2) == 201


async def refused_conflict(client: Client, body: Document) -> None:
    async with client.post("/streams/other/commit", json=body) as answer:
        assert answer.status == 409
        assert (await answer.json())["code"] == "version_conflict"


async def test_a_commit_is_not_ruled_out_by_itself(hub: Client) -> None:
    condition = {"types": ["Z"], "noneMatchAfter": 0}
    assert await conditional(hub, "first", condition) == 201
    assert await conditional(hub, "other", condition) == 409


async def test_what_comes_before_a_query_is_answered(
    store: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not sent: the condition does not cover it."""
    engine = store.app[HUB].engine
    settle = engine.settle

    async def overtaken() -> int:
        monkeypatch.undo()
        head = await settle()
        await commit(store, "other", *of_type("Q"))
        return head

    monkeypatch.setattr(engine, "settle", overtaken)
    async with store.get("/query?types=Q") as answer:
        condition = json.loads(answer.headers["x-event-store-query-condition"])
        assert (condition["noneMatchAfter"], await answer.read()) == (8, b"")
    assert types(await read(store, "/query", types="Q")) == "Q"


async def test_what_is_sent_with_a_query_is_what_its_condition_covers(store: Client) -> None:
    """Events that come while a query is answered are in both of them, or in neither."""

    async def write() -> None:
        for _ in range(60):
            await commit(store, "other", *of_type("Q"))

    writing = asyncio.create_task(write())
    while not writing.done():
        async with store.get("/query?types=Q") as answer:
            condition = json.loads(answer.headers["x-event-store-query-condition"])
            lines = (await answer.text()).split("\n")
            assert int(answer.headers["x-event-store-version"]) == condition["noneMatchAfter"]
        assert len(lines) - 1 == max(0, condition["noneMatchAfter"] - 8)
    await writing


async def test_the_keys_of_types_and_tags_are_options(start_hub: StartHub, events: Path) -> None:
    keys = Keys("kind", "labels")
    hub = await start_hub(engine=FilesEngine(events, keys=keys), type_key="kind", tags_key="labels")
    await commit(hub, "a", {"type": "A", "kind": "B", "tags": ["x"], "labels": ["y"]})
    for wanted, count in (("B", 1), ("A", 0)):
        assert len(await read(hub, "/query", types=wanted)) == count
    for tag, count in (("y", 1), ("x", 0)):
        assert len(await read(hub, "/query", query={"items": [{"tags": [tag]}]})) == count
