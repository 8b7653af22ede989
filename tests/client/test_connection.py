"""The boundary to aiohttp: every failure is an error of ours, and what is tried again."""

from __future__ import annotations

import asyncio
import re
import socket
import time

import pytest

from hub.client import (
    Disconnected,
    Hub,
    InvalidRequest,
    LogUnavailable,
    UnexpectedAnswer,
    Unreachable,
)
from hub.client.connection import is_passing
from hub.errors import Busy, Closing, HubError, IndexFailed, InvalidEvent
from tests.client.servers import answer, serve
from tests.process import HubProcess

BUSY = answer("503 X", b'{"error": "too much", "code": "busy"}')
INDEX = answer("503 X", b'{"error": "no position", "code": "index_failed"}')
CREATED = answer("201 Created", b"an-id")
OK = answer("200 OK", b'{"status": "ok"}')


@pytest.mark.parametrize(
    "url", ["", "localhost:9000", "ftp://x", "http://", "http://x/?a=1", "http:///x"]
)
def test_a_url_of_no_hub_is_refused_at_once(url: str) -> None:
    with pytest.raises(InvalidRequest, match=re.escape("http://localhost:9000 is one")):
        Hub(url)


async def test_nobody_there_is_said_with_the_url_and_without_the_password() -> None:
    async with Hub("http://ann:secret@127.0.0.1:9/hub/") as hub:
        assert hub.url == "http://127.0.0.1:9/hub"
        with pytest.raises(Unreachable) as caught:
            await hub.publish("orders", "1")
    assert "no hub answers at http://127.0.0.1:9/hub: Connect" in str(caught.value)
    assert (caught.value.code, caught.value.status) == ("unreachable", None)
    async with Hub("http://no-such-host.invalid") as hub:
        with pytest.raises(Unreachable, match=r"no hub answers at http://no-such-host\.invalid: "):
            await hub.health()


@pytest.mark.parametrize(
    "said",
    [
        None,
        b"",
        b"HTTP/1.1 201 Cre",
        b"HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\nabc",
        b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 201 Created\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
    ],
)
async def test_an_answer_that_breaks_off_or_is_none_is_disconnected(said: bytes | None) -> None:
    async with serve(said) as server, Hub(server.url, timeout=0.5) as hub:
        with pytest.raises(Disconnected, match=re.escape(server.url)) as caught:
            await hub.publish("orders", "1")
        assert len(server) == 1  # it may have been stored: not sent again
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize(
    ("said", "code", "message"),
    [
        (answer("502 Bad Gateway", b"<html>nginx</html>"), "unexpected_answer", "502: <html>nginx"),
        (answer("401 Unauthorized"), "unexpected_answer", "answered with status 401"),
        (answer("302 Found", b"", "Location: /login"), "unexpected_answer", "status 302"),
        (answer("418 X", b'{"error": "a sentence", "code": "new"}'), "new", "a sentence"),
        (answer("500 X", b'{"error": 7, "code": []}'), "unexpected_answer", "status 500"),
    ],
)
async def test_what_no_hub_says_is_told_with_its_status(
    said: bytes, code: str, message: str
) -> None:
    async with serve(said) as server, Hub(server.url) as hub:
        with pytest.raises(UnexpectedAnswer, match=message) as caught:
            await hub.publish("orders", "1")
    assert caught.value.code == code
    assert caught.value.status == int(said.split()[1])


async def test_a_page_in_place_of_a_hub_is_noticed_and_not_asked_for_ever() -> None:
    page = answer("200 OK", b"<html>\nLog in\n</html>", "Content-Type: text/html")
    async with serve(page) as server, Hub(server.url) as hub:
        for events in (
            hub.history("orders"),
            hub.subscribe("orders", since="start"),
            hub.replay("orders"),
            hub.read("orders"),
            hub.follow("orders"),
        ):
            with pytest.raises(UnexpectedAnswer, match=r"text/html, not .*: is it") as caught:
                await anext(events)
            assert caught.value.status == 200
        count = "(event, state) => state"
        for work in (
            hub.publish("orders", "1"),
            hub.publish_many("orders", "1"),
            hub.publish_many("orders", ["1"]),
            hub.commit("orders", [{"type": "A"}]),
            hub.version("orders"),
            hub.health(),
            hub.consumer("orders"),
            hub.consumers(),
            hub.put_consumer("orders", count, "_all"),
        ):
            with pytest.raises((UnexpectedAnswer, InvalidRequest)):
                await work


async def test_without_patience_nothing_is_tried_again() -> None:
    async with serve(BUSY, CREATED) as server, Hub(server.url) as hub:
        with pytest.raises(Busy) as caught:
            await hub.publish("orders", "1")
        assert caught.value.status == 503
        assert await hub.publish("orders", "1") == "an-id"


async def test_with_patience_what_was_surely_not_done_is_tried_again() -> None:
    async with serve(BUSY, BUSY, CREATED) as server, Hub(server.url, patience=10) as hub:
        assert await hub.publish("orders", "1") == "an-id"
        assert len(server) == 3


@pytest.mark.parametrize("said", [INDEX, None])
async def test_what_may_have_been_done_is_not_done_again(said: bytes | None) -> None:
    async with serve(said, CREATED) as server, Hub(server.url, patience=10) as hub:
        with pytest.raises(HubError):
            await hub.publish("orders", "1")
        assert len(server) == 1


@pytest.mark.parametrize("said", [INDEX, None, answer("502 Bad Gateway")])
async def test_a_question_is_asked_again(said: bytes | None) -> None:
    async with serve(said, OK) as server, Hub(server.url, patience=10) as hub:
        assert await hub.health() == {"status": "ok"}


async def test_patience_ends() -> None:
    async with serve(BUSY) as server, Hub(server.url, patience=0.5) as hub:
        begun = time.monotonic()
        with pytest.raises(Busy):
            await hub.publish("orders", "1")
        assert 0.1 < time.monotonic() - begun < 2
        assert len(server) > 1


def test_what_is_passing() -> None:
    assert is_passing(Unreachable(""), again=False)
    assert is_passing(LogUnavailable(""), again=False)
    assert is_passing(Closing(""), again=False)
    for error in (Disconnected(""), IndexFailed("")):
        assert is_passing(error, again=True)
        assert not is_passing(error, again=False)
    assert not is_passing(InvalidEvent(""), again=True)


async def test_a_path_and_headers_go_with_every_request() -> None:
    async with serve(CREATED, OK) as server:
        headers = {"Authorization": "Bearer token"}
        async with Hub(f"{server.url}/a/b/", headers=headers) as hub:
            await hub.publish("orders", "1", event="ä &")
            await hub.health()
        assert server[0].startswith(b"POST /a/b/orders?event=%C3%A4%20%26 HTTP/1.1\r\n")
        assert server[1].startswith(b"GET /a/b/health HTTP/1.1\r\n")
        assert all(b"\r\nAuthorization: Bearer token\r\n" in each for each in server)


async def test_histories_travel_in_gzip_if_asked_for(server: HubProcess) -> None:
    async with Hub(server.url, compress=True) as packed, Hub(server.url) as plain:
        await plain.publish_many("orders", ["text " * 10] * 3000)
        found = [each async for each in packed.history("orders")]
        assert found == [each async for each in plain.history("orders")]
        assert len(found) == 3000


async def test_a_connection_that_never_comes_about_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("hub.client.connection.CONNECT_SECONDS", 0.3)
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        others = []
        for _ in range(3):  # the system completes no more
            other = socket.socket()
            other.setblocking(False)
            other.connect_ex(full.getsockname())
            others.append(other)
        await asyncio.sleep(0.1)
        async with Hub(f"http://127.0.0.1:{full.getsockname()[1]}", timeout=5) as hub:
            with pytest.raises(Unreachable, match=r"no connection in 0\.3 s"):
                await hub.health()
        for other in others:
            other.close()
