"""Streams through the client: commits, reads, queries, decisions."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from hub.client import (
    ConditionConflict,
    Decision,
    Document,
    Hub,
    InvalidRequest,
    NameTaken,
    Query,
    StreamClosed,
    UnknownStream,
    VersionConflict,
)
from tests.client.test_reading import SECONDS


async def types(documents: object) -> str:
    return "".join([each.type async for each in documents])  # type: ignore[attr-defined]


async def test_a_commit_tells_what_it_did(client: Hub) -> None:
    big = {"type": "A", "n": 10**30, "d": Decimal("1.2345678901234567890")}
    done = await client.commit("art/1", [big, {"type": "B"}], metadata={"user": "ann"})
    assert (done.stream, done.stream_version, done.version, done.position) == ("art/1", 0, 2, 2)
    assert done.events == [big, {"type": "B"}]
    assert done.metadata == {"user": "ann"}
    first, second = [each async for each in client.read("art/1")]
    assert first.payload == big
    assert (first.stream, first.revision, first.type) == ("art/1", 1, "A")
    assert second.metadata["commitId"] == done.id
    assert second.metadata["committedAt"] == done.committed_at
    assert second.metadata["user"] == "ann"


async def test_of_several_only_one_may_go_on(client: Hub) -> None:
    await client.commit("art", [{"type": "A"}], expected_version="empty")
    with pytest.raises(VersionConflict) as caught:
        await client.commit("art", [{"type": "B"}], expected_version="empty")
    assert (caught.value.status, caught.value.code) == (409, "version_conflict")
    assert caught.value.details == {"expected": 0, "actual": 1}
    with pytest.raises(InvalidRequest, match="has no events"):
        await client.commit("art", [])


async def test_reads_in_windows(client: Hub) -> None:
    await client.commit("art", [{"type": each} for each in "ABCDE"])
    await client.commit("bio", [{"type": each} for each in "XY"])
    assert await types(client.read("art")) == "ABCDE"
    assert await types(client.read("art", from_=2, until=4)) == "BCD"
    assert await types(client.read("art", from_=-2)) == "DE"
    assert await types(client.read("art", backwards=2)) == "ED"
    assert await types(client.read("art", from_="start", forwards=1)) == "A"
    assert await types(client.read("_all", from_=5)) == "EXY"
    assert await types(client.read(streams=["bio", "art"], from_=4)) == "DEXY"
    assert await types(client.read(selector=[["art", ["A", "E"]]])) == "AE"
    assert await types(client.read("art", filter={"payload": {"type": "C"}})) == "C"
    assert [await client.version("art"), await client.version("_all")] == [5, 7]
    assert await client.version(streams=["art", "bio"]) == 7
    found = client.read("art")
    with pytest.raises(RuntimeError, match="iterate first"):
        print(found.version)
    assert await types(found) == "ABCDE"
    assert found.version == 5


async def test_names_that_need_care_in_a_url(client: Hub) -> None:
    for name in ("a/b", "a#b", "a=b", "a+b", "a:b", "a~b", "a@b", "a.b/version", "category/x"):
        await client.commit(name, [{"type": "T", "name": name}])
        assert [each.stream async for each in client.read(name)] == [name]
        assert await client.version(name) == 1
    assert len([each async for each in client.read(category="a")]) == 1
    joined = client.read(streams=["a#b", "a+b", "a=b"])
    assert sorted([each.stream async for each in joined]) == ["a#b", "a+b", "a=b"]


async def test_what_is_read_has_to_be_said_once(client: Hub) -> None:
    for given in ({}, {"category": "a", "streams": ["b"]}):
        with pytest.raises(InvalidRequest, match="give one of"):
            client.read(**given)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match=r"\['art'\] is one"):
        client.read(streams="art")
    with pytest.raises(UnknownStream):
        await types(client.read("nothing"))
    with pytest.raises(InvalidRequest, match="a query needs"):
        client.query()
    with pytest.raises(InvalidRequest, match="a query needs"):
        client.query(types=["A"], selector=["B"])


async def test_following_has_numbers(client: Hub) -> None:
    await client.commit("art", [{"type": each} for each in "AB"])
    await client.commit("bio", [{"type": "X"}])
    async with client.follow("art", from_=2) as live, client.follow("_all", from_="end") as new:
        assert (await anext(live)).number == 2
        assert (await anext(new)).number == 3
        await client.commit("art", [{"type": "C"}])
        for each, number in ((live, 3), (new, 4)):
            found = await asyncio.wait_for(anext(each), SECONDS)
            assert (found.type, found.number) == ("C", number)
        assert new.version == 3


async def test_queries(client: Hub) -> None:
    await client.commit("art", [{"type": "A", "tags": ["x"]}, {"type": "B", "tags": ["x", "y"]}])
    await client.commit("bio", [{"type": "A", "tags": ["y"]}])
    assert await types(client.query(types=["A"])) == "AA"
    assert await types(client.query(tags=["x", "y"])) == "B"
    assert await types(client.query(types=["A", "B"], tags=["x"])) == "AB"
    assert await types(client.query(items=[{"types": ["B"]}, {"tags": ["y"]}])) == "BA"
    assert await types(client.query(selector=["bio"])) == "A"
    assert await types(client.query(types=["A"], from_=2)) == "A"
    matcher = {"stream": "bio"}
    assert await types(client.query(types=["A"], filter=matcher)) == "A"
    async with client.follow_query(Query(tags=["y"]), from_=3) as live:
        assert (await anext(live)).stream == "bio"
        await client.commit("new", [{"type": "C", "tags": ["y"]}])
        assert (await asyncio.wait_for(anext(live), SECONDS)).number == 4


async def test_a_condition_holds_until_one_more_comes(client: Hub) -> None:
    found = client.query(types=["A"])
    assert await types(found) == ""
    await client.commit("art", [{"type": "A"}], condition=found.condition)
    with pytest.raises(ConditionConflict) as caught:
        await client.commit("art", [{"type": "A"}], condition=found.condition)
    assert caught.value.details == {"stream": "art", "position": 1}


async def test_many_that_decide_at_once_keep_the_rule(client: Hub) -> None:
    async def take_a_seat(name: str) -> bool:
        async def decide(seen: list[Document]) -> Decision | None:
            await asyncio.sleep(0)
            if len(seen) >= 5:
                return None
            seat = {"type": "Taken", "by": name, "tags": ["room:1"]}
            return Decision("room-1", [seat], {"by": name})

        query = Query(types=["Taken"], tags=["room:1"])
        return await client.decide(query, decide, attempts=50) is not None

    got = await asyncio.gather(*(take_a_seat(f"p{n}") for n in range(12)))
    assert sum(got) == 5
    assert await client.version("room-1") == 5


async def test_a_decision_that_never_comes_in_time_is_given_up(client: Hub) -> None:
    calls = 0

    async def too_slow(seen: list[Document]) -> Decision:
        nonlocal calls
        calls += 1
        await client.commit("other", [{"type": "A"}])  # somebody is always faster
        return Decision("art", [{"type": "A"}])

    with pytest.raises(ConditionConflict) as caught:
        await client.decide(Query(types=["A"]), too_slow, attempts=3)
    assert calls == 3
    assert caught.value.__notes__ == ["decided 3 times, and each time somebody was faster"]

    def refuses(seen: list[Document]) -> Decision:
        raise PermissionError("no")

    with pytest.raises(PermissionError):
        await client.decide(Query(types=["A"]), refuses)


async def test_streams_are_listed_derived_closed_and_deleted(client: Hub) -> None:
    await client.commit("art-1", [{"type": "A"}])
    await client.publish("art-2", "text")
    assert await client.derive("all-a", {"payload": {"type": "A"}}) == 1
    assert await types(client.read("all-a")) == "A"
    found = {each.name: each async for each in client.streams()}
    assert set(found) == {"all-a", "art-1", "art-2"}
    assert (found["art-1"].format, found["art-2"].format) == ("ndjson", "tsv")
    assert [found[each].derived for each in ("all-a", "art-1")] == [True, False]
    assert found["art-2"].metadata["bytes"] == len("2026-11-20T11:40:10.793214Z\t\ttext\n")
    assert found["all-a"].metadata == {}
    assert [each.name async for each in client.streams(prefix="art")] == ["art-1", "art-2"]
    with pytest.raises(NameTaken):
        await client.derive("art-1", {"payload": {"type": "A"}})
    await client.delete_stream("all-a")
    with pytest.raises(UnknownStream):
        await client.version("all-a")
    assert await client.close_stream("art-1") == 1
    with pytest.raises(StreamClosed):
        await client.commit("art-1", [{"type": "B"}])


async def test_a_list_of_many_comes_in_pages(client: Hub) -> None:
    await asyncio.gather(*(client.publish(f"page-{n:04}", "1") for n in range(1100)))
    names = [each.name async for each in client.streams(prefix="page-")]
    assert names == [f"page-{n:04}" for n in range(1100)]


async def test_a_read_waits_as_long_as_the_hub(client: Hub) -> None:
    await client.commit("art", [{"type": "A"}])
    waiting = asyncio.ensure_future(types(client.read("art", from_=1, until=2)))
    await asyncio.sleep(0.2)
    await client.commit("art", [{"type": "B"}])
    assert await asyncio.wait_for(waiting, SECONDS) == "AB"
