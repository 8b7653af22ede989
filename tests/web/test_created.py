"""The answer to a post says just what aiohttp's own would have said."""

from __future__ import annotations

import re

import pytest
from aiohttp import web

from hub.web.created import TEXT, Created, created
from tests.conftest import Client
from tests.web.wire import exchange

POST = b"POST /a-channel?id=7 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n%b\r\nx"
LAST = b"GET /nothing/here HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def head_of(raw: bytes) -> list[bytes]:
    """The lines of the first answer, in any order, with any date."""
    head = raw.partition(b"\r\n\r\n")[0]
    return sorted(re.sub(rb"Date: \w+, \d\d \w+ \d{4} [\d:]{8} GMT", b"Date", head).split(b"\r\n"))


async def test_it_says_what_aiohttp_would_have_said(
    hub: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = (await exchange(hub, POST % b"" + LAST)).raw
    plain = web.Response(status=201, body=b"7", headers={"Content-Type": TEXT})
    monkeypatch.setattr("hub.web.channels.created", lambda *_: plain)
    theirs = (await exchange(hub, POST % b"" + LAST)).raw
    assert head_of(ours) == head_of(theirs)
    assert ours.split(b"\r\n\r\n")[1].startswith(b"7HTTP/1.1 404")  # the connection goes on


@pytest.mark.parametrize("header", [b"Connection: close\r\n", b"Origin: http://localhost\r\n"])
async def test_whatever_is_special_is_left_to_aiohttp(hub: Client, header: bytes) -> None:
    closes = header.startswith(b"Connection")
    answer = await exchange(hub, POST % header + (b"" if closes else LAST))
    assert (answer.status, answer.raw.split(b"\r\n\r\n")[1][:1]) == (201, b"7")
    assert (b"Connection: close" in head_of(answer.raw)) == closes


async def test_http_1_0(hub: Client) -> None:
    answer = await exchange(hub, (POST % b"").replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert (answer.version, answer.status, answer.body) == ("HTTP/1.0", 201, b"7")


async def test_only_a_connection_that_stays_open_gets_it(hub: Client) -> None:
    seen: list[type] = []

    async def post(request: web.Request) -> web.StreamResponse:
        seen.append(type(created(request, b"7")))
        return web.Response()

    app = web.Application()
    app.router.add_post("/", post)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    for headers in ({}, {"Connection": "close"}, {"Origin": "http://x"}):
        await hub.session.post(url, headers=headers)
    await runner.cleanup()
    assert seen == [Created, web.Response, web.Response]
