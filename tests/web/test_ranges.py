"""Ranges of a history, and those who fetch only what is new."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.conftest import Client
from tests.web.wire import AS_NDJSON, NOT_PACKED, PACKED, get, post


@pytest.mark.parametrize(
    ("header", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-", 0, None),
        ("bytes=100-199", 100, 200),
        ("bytes=100-", 100, None),
        ("bytes=-100", -100, None),
        ("bytes=-1000000000", 0, None),
        ("bytes=100-1000000000000", 100, None),
        ("Bytes=1-2", 1, 3),
    ],
)
async def test_ranges(
    hub: Client, channel: bytes, header: str, start: int, stop: int | None
) -> None:
    # A range is of the file as it is, even for those who would take it compressed.
    for accept in (NOT_PACKED, PACKED):
        answer, body = await get(hub, Range=header, **accept)
        assert (answer.status, body) == (206, channel[start:stop])
        first = channel.index(body) if len(body) > 1 else 0
        end = len(channel) if stop is None else stop
        assert answer.headers["Content-Range"] == f"bytes {first}-{end - 1}/{len(channel)}"
        assert answer.headers["Content-Length"] == str(len(body))
        assert answer.headers.get("Last-Event-ID") == ("59" if stop is None else None)


@pytest.mark.parametrize(
    "header", ["bytes={size}-", "bytes={size}-{size}", "bytes=-0", "bytes=9999999-"]
)
async def test_ranges_beyond_the_end(hub: Client, channel: bytes, header: str) -> None:
    answer, body = await get(hub, Range=header.format(size=len(channel)))
    assert (answer.status, body) == (416, b"")
    assert answer.headers["Content-Range"] == f"bytes */{len(channel)}"
    assert answer.headers["Last-Event-ID"] == "59"


@pytest.mark.parametrize(
    "header",
    ["", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=5-4", "bytes=0-1,3-4", "bytes=--1",
     "lines=0-1", "bytes=0 - 1", "bytes=\u0660-", "bytes=1-2x", "bytes=" + "1" * 5000 + "-"],
)  # fmt: skip
async def test_ranges_that_make_no_sense_are_ignored(
    hub: Client, channel: bytes, header: str
) -> None:
    answer, body = await get(hub, Range=header)
    assert (answer.status, body) == (200, channel)


async def test_a_range_only_if_nothing_else_changed(hub: Client, channel: bytes) -> None:
    tag = (await get(hub))[0].headers["ETag"]
    assert (await get(hub, Range="bytes=1-2", If_Range=tag))[0].status == 206
    for other in ('"x"', f"W/{tag}", "Sat, 21 Nov 2026 01:40:30 GMT"):
        answer, body = await get(hub, Range="bytes=1-2", If_Range=other)
        assert (answer.status, body) == (200, channel)


async def test_a_range_of_a_selection(hub: Client, channel: bytes) -> None:
    _, whole = await get(hub, "/a-channel?since=50")
    answer, body = await get(hub, "/a-channel?since=50", Range="bytes=10-")
    assert (answer.status, body) == (206, whole[10:])
    assert answer.headers["Content-Range"] == f"bytes 10-{len(whole) - 1}/{len(whole)}"


async def test_no_range_of_what_is_made_on_the_way(hub: Client, channel: bytes) -> None:
    for path, headers in (("/a-channel?event=a", {}), ("/a-channel", AS_NDJSON)):
        answer, _ = await get(hub, path, Range="bytes=1-2", **headers)
        assert answer.status == 200
        assert "Accept-Ranges" not in answer.headers


async def test_head_has_no_range(hub: Client, channel: bytes) -> None:
    answer = await hub.head("/a-channel", headers={**NOT_PACKED, "Range": "bytes=1-2"})
    assert (answer.status, answer.headers["Content-Length"]) == (200, str(len(channel)))


async def test_a_range_of_an_empty_history(hub: Client) -> None:
    answer, _ = await get(hub, Range="bytes=0-")
    assert answer.status == 416
    assert answer.headers["Content-Range"] == "bytes */0"


async def test_curl_fetches_only_what_is_new(hub: Client, channel: bytes, tmp_path: Path) -> None:
    async def curl() -> int:
        """Fetch; return how many bytes of body came."""
        url = str(hub.make_url("/a-channel"))
        process = await asyncio.create_subprocess_exec(
            "curl", "-sS", "-C", "-", "-O", "-w", "%{size_download}", url,
            cwd=tmp_path, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, _ = await process.communicate()
        assert process.returncode == 0
        return int(out)

    fetched = tmp_path / "a-channel"
    assert await curl() == len(channel)
    assert await curl() == 0
    assert fetched.read_bytes() == channel
    identity = await post(hub, "/a-channel?event=new", "data")
    assert await curl() == len(f"{identity}\tnew\tdata\n")
    assert await curl() == 0
    assert fetched.read_bytes() == channel + f"{identity}\tnew\tdata\n".encode()
