"""What part of a log a read gets, and where a subscription begins: held against a plain model."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.engines.base import Selection
from hub.errors import InvalidRequest
from hub.event import Event, id_at, time_of
from hub.formats import encode_line
from hub.web.selection import cursor_of, number_of, selection_of
from tests.conftest import Client
from tests.web.wire import TSV, post_batch, serving

BASE = 1_795_174_810_000_000


class Query(NamedTuple):
    """The parameters of a read; None where one is not given."""

    since: str | None
    until: str | None
    tail: int | None
    limit: int | None
    event: str | None

    def parameters(self) -> dict[str, str]:
        return {name: str(value) for name, value in self._asdict().items() if value is not None}


class Selected(NamedTuple):
    """What a read should give: numbers of events, counted from 0, and the cursor behind them."""

    events: list[int]
    cursor: str


def behind(log: list[Event], cursor: str, *, through: bool) -> int | None:
    """How many events come before the place that a cursor means; None if it means none."""
    same = [at for at, event in enumerate(log) if event.id == cursor]
    if same:
        first = last = same[-1]
        while first > 0 and log[first - 1].id == cursor:
            first -= 1
        return 1 + (last if through else first)
    moment = time_of(cursor)
    if moment is None:
        return None
    times = [time_of(event.id) for event in log]
    return max(
        (at for at, when in enumerate(times, 1) if when is not None and when <= moment), default=0
    )


def select(log: list[Event], query: Query) -> Selected | None:
    """What the hub should answer; None if it should refuse."""
    if query.tail is not None and query.limit is not None:
        return None
    start, end = 0, len(log)
    if query.since is not None and query.since not in ("start", "earliest"):
        place = behind(log, query.since, through=False)
        if place is None:
            return None
        start = place
    if query.until is not None:
        place = behind(log, query.until, through=True)
        if place is None:
            return None
        end = place
    start = min(start, end)
    found = [at for at in range(start, end) if query.event in (None, log[at].event)]
    if query.tail is not None:
        found = found[-query.tail :] if query.tail else []
    if query.limit is not None:
        if not query.limit:
            end = start
        found = found[: query.limit]
    if found:
        return Selected(found, log[found[-1]].id)
    return Selected([], log[end - 1].id if end else "start")


own = st.integers(0, 12).map(lambda step: id_at(BASE + step))
seconds = st.integers(-1, 3).map(lambda step: id_at(BASE + step * 500_000)[:-8] + "Z")
strange = st.sampled_from(["7", "x", "ä b", "2026-11-20", id_at(BASE + 5)])
in_order = st.lists(own).map(sorted)
mixed = st.lists(st.one_of(own, seconds, strange))


@st.composite
def logs(draw: st.DrawFn) -> list[Event]:
    ids = draw(st.one_of(in_order, mixed))
    types = st.sampled_from(["", "a", "b"])
    return [Event(each, draw(types), str(number)) for number, each in enumerate(ids)]


cursors = (
    st.none()
    | own
    | seconds
    | strange
    | st.sampled_from(["start", "earliest", "unknown", "9999-12-31"])
)
counts = st.none() | st.integers(0, 5) | st.just(10**17)
queries = st.builds(
    Query, cursors, cursors.filter(lambda each: each not in ("start", "earliest")),
    counts, counts, st.sampled_from([None, None, "a", "b", "", "c"]),
)  # fmt: skip


async def check(hub: Client, log: list[Event], query: Query) -> None:
    expected = select(log, query)
    parameters = query.parameters()
    async with hub.get("/a-channel", params=parameters) as answer:
        if expected is None:
            assert answer.status in (400, 422)
            return
        assert answer.status == 200, await answer.text()
        body = b"".join(encode_line(log[at]) for at in expected.events)
        assert await answer.read() == body
        assert answer.headers["Last-Event-ID"] == expected.cursor
    accept = {"Accept": "application/x-ndjson"}
    async with hub.get("/a-channel", params=parameters, headers=accept) as answer:
        lines = (await answer.text()).split("\n")
        assert lines.pop() == ""
        documents = [json.loads(line) for line in lines]
        assert [each["metadata"]["streamVersion"] for each in documents] == expected.events
        assert [each["metadata"]["id"] for each in documents] == [
            log[at].id for at in expected.events
        ]
        assert answer.headers["Last-Event-ID"] == expected.cursor


@settings(max_examples=80)
@given(logs(), st.lists(queries, min_size=10, max_size=20))
def test_every_combination_against_the_model(log: list[Event], wanted: list[Query]) -> None:
    async def run(base: Path) -> None:
        async with serving(base) as hub:
            if log:
                await post_batch(hub, b"".join(map(encode_line, log)), TSV, "/a-channel")
            for query in wanted:
                await check(hub, log, query)

    with TemporaryDirectory() as base:
        asyncio.run(run(Path(base)))


@pytest.mark.parametrize("name", ["limit", "tail"])
@pytest.mark.parametrize("value", ["", "-1", "+1", "1.0", "x", "\u0661", "1e3", " 1", "1" * 19])
def test_what_is_no_number(name: str, value: str) -> None:
    request = make_mocked_request("GET", "/a-channel")
    request = request.clone(rel_url=request.rel_url.with_query({name: value}))
    with pytest.raises(InvalidRequest, match=f"'{name}' must be a whole number"):
        number_of(request, name)
    with pytest.raises(InvalidRequest):
        selection_of(request)


def test_numbers() -> None:
    request = make_mocked_request("GET", "/a-channel?limit=007&tail=0")
    assert number_of(request, "limit") == 7
    assert number_of(request, "tail") == 0
    assert number_of(request, "other") is None


def test_an_empty_parameter_selects_nothing_but_a_type() -> None:
    request = make_mocked_request("GET", "/a-channel?since=&until=&event=")
    assert selection_of(request) == Selection(event="")
    assert selection_of(make_mocked_request("GET", "/a-channel?since=start")) == Selection()


SPELLINGS = ["lastEventID", "last_event_id", "lastEventId", "since"]


@pytest.mark.parametrize("at", range(len(SPELLINGS)))
def test_the_first_spelling_of_a_cursor_wins(at: int) -> None:
    query = "&".join(f"{name}=by-{name}" for name in reversed(SPELLINGS[at:]))
    request = make_mocked_request("GET", f"/a-channel?{query}")
    assert cursor_of(request) == (f"by-{SPELLINGS[at]}", SPELLINGS[at] != "since")
    request = make_mocked_request("GET", f"/a-channel?{query}", {"Last-Event-ID": "by-header"})
    assert cursor_of(request) == ("by-header", True)
    request = make_mocked_request("GET", f"/a-channel?{query}", {"Last-Event-ID": ""})
    assert cursor_of(request) == (f"by-{SPELLINGS[at]}", SPELLINGS[at] != "since")


def test_without_a_cursor_there_is_none() -> None:
    assert cursor_of(make_mocked_request("GET", "/a-channel?since=&lastEventID=")) == (None, False)
