"""Lines that somebody appends by hand while the hub runs are events."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.conftest import Client

LINE = "2020-01-01T00:00:00Z\tnote\tby hand\n"


def _append(events: Path, text: str, name: str = "a-channel") -> None:
    with open(events / f"{name}.tsv", "a") as file:
        file.write(text)


async def test_history_has_what_was_appended_by_hand(hub: Client, events: Path) -> None:
    await hub.post("/a-channel", data=b"by curl")
    _append(events, LINE)
    body = await (await hub.get("/a-channel")).text()
    assert body == (events / "a-channel.tsv").read_text()
    assert body.endswith("\tby curl\n" + LINE)


async def test_a_file_made_by_hand_is_a_channel(hub: Client, events: Path) -> None:
    _append(events, LINE)
    answer = await hub.get("/a-channel")
    assert await answer.text() == LINE
    assert answer.headers["Last-Event-ID"] == "2020-01-01T00:00:00Z"
    await hub.post("/a-channel", data=b"by curl")
    assert (events / "a-channel.tsv").read_text().startswith(LINE)


async def test_subscribers_get_what_was_appended_by_hand(hub: Client, events: Path) -> None:
    for name in ("a-channel", "never-written"):
        headers = {"Accept": "text/event-stream"}
        async with hub.get(f"/{name}", headers=headers) as stream:
            await stream.content.readuntil(b":\n")
            _append(events, LINE, name)
            frame = await asyncio.wait_for(stream.content.readuntil(b"\n\n"), 10)
        assert frame == b"event: note\ndata: by hand\nid: 2020-01-01T00:00:00Z\n\n"


async def test_a_subscription_knows_at_once_what_was_appended_by_hand(
    hub: Client, events: Path
) -> None:
    await hub.post("/a-channel?id=1", data=b"by curl")
    _append(events, LINE)
    headers = {"Accept": "text/event-stream", "Last-Event-ID": "2020-01-01T00:00:00Z"}
    async with hub.get("/a-channel", headers=headers) as stream:
        assert stream.headers["Last-Event-ID"] == "2020-01-01T00:00:00Z"  # else: a reset
        await hub.post("/a-channel?id=2", data=b"new")
        assert (await stream.content.readuntil(b"\n\n")).endswith(b"data: new\nid: 2\n\n")


async def test_a_line_that_is_not_finished_is_not_shown(hub: Client, events: Path) -> None:
    await hub.post("/a-channel", data=b"by curl")
    before = await (await hub.get("/a-channel")).text()
    _append(events, LINE.rstrip("\n"))
    assert await (await hub.get("/a-channel")).text() == before
    answer = await hub.post("/a-channel", data=b"meanwhile")
    assert answer.status == 503
    assert "by hand" in (await answer.json())["error"]
    _append(events, "\n")
    assert (await hub.post("/a-channel", data=b"again")).status == 201
    after = await (await hub.get("/a-channel")).text()
    assert after.startswith(before + LINE)
    assert after.endswith("\tagain\n")


async def test_looking_does_not_get_in_the_way_of_writing(hub: Client, events: Path) -> None:
    async def post() -> None:
        for _ in range(50):
            assert (await hub.post("/a-channel", data=b"x")).status == 201

    async def read() -> None:
        for _ in range(50):
            body = await (await hub.get("/a-channel")).read()
            assert body == b"" or body.endswith(b"\n")

    await asyncio.gather(post(), read(), post(), read())
    assert (events / "a-channel.tsv").read_text().count("\n") == 100
