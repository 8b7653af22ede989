"""The application: its one form of an error, whatever goes wrong and however it was asked."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest
from aiohttp import web
from yarl import URL

from hub.engines.files import FilesEngine
from hub.options import Options
from hub.web.app import make_app
from hub.web.context import HUB
from tests.conftest import Client
from tests.web.wire import PATIENCE, error_of, exchange, post, refused, rows

READ = {"GET", "HEAD", "OPTIONS"}
CHANNEL_METHODS = READ | {"POST", "PUT"}
STREAM_METHODS = READ | {"PUT", "DELETE"}
ACTION_METHODS = {"POST", "OPTIONS"}

METHODS = {
    "/": READ,
    "/ui": READ,
    "/ui/index.html": READ,
    "/favicon.ico": READ,
    "/health": READ,
    "/metrics": READ,
    "/a-channel": CHANNEL_METHODS,
    "/health1": CHANNEL_METHODS,
    "/streams": READ,
    "/streams/a": STREAM_METHODS,
    "/streams/a/b": STREAM_METHODS,
    "/streams/a-channel": STREAM_METHODS,
    "/streams/commit": STREAM_METHODS,
    "/streams/from": STREAM_METHODS,
    "/streams/join": STREAM_METHODS,
    "/streams/category": STREAM_METHODS,
    "/streams/a%2Fversion": STREAM_METHODS,
    "/streams/a%2Ffrom%2F3": STREAM_METHODS,
    "/streams/category%2Fa": STREAM_METHODS,
    "/streams/_all": READ,
    "/streams/_all/version": READ,
    "/streams/_all/from/3": READ,
    "/streams/a/version": READ,
    "/streams/a/from/3": READ,
    "/streams/a/from/3/backwards/2": READ,
    "/streams/category/a": READ,
    "/streams/category/a/b": READ,
    "/streams/join/until/3": READ,
    "/streams/a/commit": ACTION_METHODS,
    "/streams/a/close": ACTION_METHODS,
    "/streams/a/commit/": ACTION_METHODS,
    "/streams/category/a/commit": ACTION_METHODS,
    "/query": READ,
    "/query/from/3": READ,
    "/consumers": READ,
    "/consumers/a": READ | {"DELETE"},
    "/consumers/a/stream/b": {"PUT", "OPTIONS"},
    "/consumers/a/stream/b/from/3": {"PUT", "OPTIONS"},
    "/consumers/a/until/3": READ,
    "/consumers/a/after/3": READ,
    "/consumers/a/reset": {"POST", "OPTIONS"},
}
"""What each path has."""

RESERVED = {"streams", "query", "consumers", "health", "metrics", "ui", "favicon.ico"}

NOWHERE = ["/a/b", "/streams/", "/streams/%ff", "/query/until/3", "/consumers/a/stream"]


@pytest.mark.parametrize("path", METHODS)
async def test_a_method_that_is_not_allowed(hub: Client, path: str) -> None:
    allowed = METHODS[path]
    url = URL(f"{hub.make_url('/')}{path[1:]}", encoded=True)
    for method in ("GET", "HEAD", "PUT", "DELETE", "PATCH", "TRACE", "POST"):
        if method in allowed:
            continue
        async with hub.session.request(method, url, data=b"{}") as answer:
            if method in ("PUT", "POST") and path[1:] in RESERVED:  # as a channel it has no name
                await refused(answer, 400, "invalid_name", "letters")
                continue
            assert set(answer.headers["Allow"].replace(" ", "").split(",")) == allowed, method
            if method == "HEAD":
                assert answer.status == 405
            else:
                await refused(answer, 405, "method_not_allowed", method, *allowed)
    async with hub.session.options(url) as answer:
        assert answer.status == 204
        assert set(answer.headers["Allow"].split(", ")) == allowed


@pytest.mark.parametrize("path", METHODS)
async def test_a_method_that_is_allowed_comes_to_a_door(hub: Client, path: str) -> None:
    url = URL(f"{hub.make_url('/')}{path[1:]}", encoded=True)
    for method in METHODS[path]:
        async with hub.session.request(method, url, allow_redirects=False, data=b"{") as answer:
            body = await answer.text()
            assert answer.status != 405, method
            assert answer.status != 404 or '"not_found"' not in body


@pytest.mark.parametrize(
    ("method", "path", "words"),
    [
        ("POST", "/streams/a", "by POST to /streams/{stream}/commit"),
        ("PUT", "/streams/a/version", "as %2F"),
        ("GET", "/streams/a/commit", "is read and defined at /streams/{stream}"),
        ("DELETE", "/query", "/query?types=A,B"),
        ("PUT", "/consumers/a", "/consumers/{identifier}/stream/{stream}"),
        ("DELETE", "/health", "can only be read"),
        ("POST", "/", "a channel is read by GET and written by POST at /{name}"),
    ],
)
async def test_what_is_not_allowed_is_told_what_would_be_right(
    hub: Client, method: str, path: str, words: str
) -> None:
    await refused(await hub.request(method, path), 405, "method_not_allowed", words)


@pytest.mark.parametrize("path", NOWHERE)
async def test_where_nothing_is_no_method_is_allowed(hub: Client, path: str) -> None:
    url = URL(f"{hub.make_url('/')}{path[1:]}", encoded=True)
    async with hub.session.options(url) as answer:
        assert (answer.status, answer.headers["Allow"]) == (204, "OPTIONS")
    await refused(await hub.session.patch(url), 404, "not_found")


@pytest.mark.parametrize(
    "path", ["/a/b", "/a-channel/", "//", "/a/b/c", "//a-channel", "/a-channel//", "/streams/a%0Ab"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
async def test_where_there_is_nothing(hub: Client, path: str, method: str) -> None:
    line = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    answer = await exchange(hub, line.encode())
    assert answer.status == 404
    assert answer.body.startswith(b'{"error":"there is nothing at /')
    assert b'"code":"not_found"' in answer.body


async def test_a_mistake_of_ours_says_nothing_of_itself(
    hub: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def append(*_: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(hub.app[HUB].engine, "append", append)
    answer = await hub.post("/a-channel", data=b"data", headers={"Accept": "text/html"})
    error = await error_of(answer)
    assert (answer.status, error.code) == (500, "internal")
    assert "secret" not in error.error
    assert "ZeroDivisionError" in caplog.text  # for whoever runs the hub
    monkeypatch.undo()
    await post(hub, "/a-channel")


HOST = b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"

MALFORMED = {
    "binary": b"\x00\x01\x02\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "http2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "method": b"FOO /a-channel" + HOST + b"\r\n",
    "version": b"GET /a-channel HTTP/9.9\r\n\r\n",
    "no host": b"GET /a-channel HTTP/1.1\r\n\r\n",
    "target": b"GET a-channel" + HOST + b"\r\n",
    "target not UTF-8": b"GET /a-channel?since=\xff" + HOST + b"\r\n",
    "long target": b"GET /a-channel?since=" + b"a" * 20_000 + HOST + b"\r\n",
    "long header": b"GET /a-channel" + HOST + b"X: " + b"a" * 100_000 + b"\r\n\r\n",
    "header": b"GET /a-channel" + HOST + b"no colon\r\n\r\n",
    "NUL in header": b"GET /a-channel" + HOST + b"Last-Event-ID: a\0b\r\n\r\n",
    "negative length": b"POST /a-channel" + HOST + b"Content-Length: -1\r\n\r\nx",
    "length": b"POST /a-channel" + HOST + b"Content-Length: x\r\n\r\nx",
    "two lengths": b"POST /a-channel" + HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
    "smuggled": b"POST /a-channel" + HOST
    + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunk": b"POST /a-channel" + HOST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nx\r\n\r\n",
    "expect": b"POST /a-channel" + HOST + b"Expect: pony\r\nContent-Length: 1\r\n\r\nx",
    "expect not UTF-8": b"GET /a-channel" + HOST + b"Expect: \x80\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("name", MALFORMED)
async def test_what_is_no_http(hub: Client, events: Path, name: str) -> None:
    answer = await exchange(hub, MALFORMED[name])
    assert 400 <= answer.status < 500
    for word in (b"Traceback", b"File ", b".py", b"<html"):
        assert word not in answer.body
    assert len(answer.body) < 1000
    assert not rows(events)
    await post(hub, "/a-channel")  # for everybody else it goes on


async def test_noise(hub: Client, events: Path) -> None:
    """Requests with bytes changed at random: each is answered, or the connection is closed."""
    chance = random.Random(7)
    good = (
        b"POST /a-channel?id=7&event=type HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        b"Content-Type: text/tab-separated-values\r\nContent-Length: 9\r\n\r\n1\t2\t3\n\t\t\n"
    )

    async def send() -> None:
        noisy = bytearray(good)
        for _ in range(chance.randrange(1, 6)):
            noisy[chance.randrange(len(noisy))] = chance.randrange(256)
        reader, writer = await asyncio.open_connection(hub.host, hub.port)
        writer.write(noisy)
        writer.write_eof()
        answer = await asyncio.wait_for(reader.read(-1), PATIENCE)
        assert b"Traceback" not in answer
        assert b" 500 " not in answer.partition(b"\r\n")[0], bytes(noisy)
        writer.close()

    for _ in range(300):
        await send()
    for row in rows(events):
        assert len(row) == 3
        assert row[0]


async def test_the_application_opens_and_closes_what_it_is_given(tmp_path: Path) -> None:
    engine = FilesEngine(tmp_path / "events")
    app = make_app(Options(), engine)
    runner = web.AppRunner(app)
    await runner.setup()
    assert (tmp_path / "events" / ".hub").is_dir()
    await runner.cleanup()
    assert app[HUB].subscriptions.closing
    again = web.AppRunner(make_app(Options(), FilesEngine(tmp_path / "events")))
    await again.setup()  # the lock is free
    await again.cleanup()


async def test_an_error_in_the_middle_of_an_answer_ends_the_connection(
    hub: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Another answer behind its beginning would look like events."""
    for number in range(3):
        await post(hub, "/a-channel", f"event {number}")
    monkeypatch.setattr(hub.app[HUB].subscriptions, "block", _fail)
    answer = await exchange(
        hub, b"GET /a-channel?since=start HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n"
    )
    assert answer.status == 200
    assert b"HTTP/1.1" not in answer.body
    assert "broke off" in caplog.text


async def _fail(*_: object) -> tuple[bytes, int]:
    raise OSError("the disk is gone")
