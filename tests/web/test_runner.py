"""What is no HTTP is answered in the hub's form of an error, and logged in no more than a line."""

from __future__ import annotations

import logging
import socket
import time

import msgspec
import pytest

from tests.conftest import Client, RunHub
from tests.posting import post
from tests.process import PATIENCE, HubProcess, wait_until
from tests.web.test_app import MALFORMED
from tests.web.wire import exchange


@pytest.mark.parametrize("name", MALFORMED)
async def test_what_is_no_http_is_told_so_as_json(hub: Client, name: str) -> None:
    answer = await exchange(hub, MALFORMED[name])
    assert answer.headers["Content-Type"] == "application/json"
    assert msgspec.json.decode(answer.body).keys() == {"error", "code"}


async def test_what_is_no_http_is_one_line_of_log(
    hub: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        await exchange(hub, MALFORMED["version"])
    assert "Traceback" not in caplog.text
    assert caplog.text.count("\n") <= 1


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"OPTIONS *", 204),
        (b"GET *", 400),
        (b"GET http://localhost", 200),
        (b"GET http://localhost?x=1", 200),
        (b"CONNECT localhost:80", 405),
    ],
)
async def test_what_no_route_takes_is_answered_in_the_hubs_form(
    hub: Client, line: bytes, status: int
) -> None:
    for _ in range(2):
        answer = await exchange(hub, line + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert answer.status == status
        if status >= 400:
            assert answer.headers["Content-Type"] == "application/json"
            assert msgspec.json.decode(answer.body).keys() == {"error", "code"}
    assert answer.body.startswith(b"This is an event hub") == (status == 200)


async def test_a_known_way_leads_where_it_did(hub: Client) -> None:
    """Each request is answered alike the first time and later, also beside others."""
    wanted = [
        ("POST", "/a-channel", 201),
        ("GET", "/a-channel", 200),
        ("GET", "/a-channel?tail=1", 200),
        ("GET", "/a%2Dchannel?tail=1", 200),
        ("HEAD", "/a-channel", 200),
        ("PATCH", "/a-channel", 405),
        ("GET", "/a/b", 404),
        ("GET", "/streams/a-channel/version", 200),
        ("GET", "/streams/b-channel/version", 404),
        ("GET", "/health", 200),
    ]
    for _ in range(3):
        for method, path, status in wanted:
            async with hub.request(method, path) as answer:
                assert answer.status == status, (method, path)
    async with hub.get("/a-channel") as answer:
        assert (await answer.text()).count("\n") == 3
    async with hub.post("/a-channel", headers={"Expect": "something"}) as answer:
        assert answer.status == 417


def is_closed(connection: socket.socket) -> bool:
    """Whether the hub has closed it, having sent nothing."""
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def connect(hub: HubProcess) -> socket.socket:
    return socket.create_connection(("127.0.0.1", hub.port), timeout=PATIENCE)


@pytest.mark.parametrize("before", [b"", b"GET /health HTTP/1.1\r\nHost: hub\r\n\r\n"])
@pytest.mark.parametrize("sent", [b"", b"POST /a-channel HTTP/1.1\r\nX: "])
def test_a_head_that_trickles_is_ended(run_hub: RunHub, before: bytes, sent: bytes) -> None:
    hub = run_hub("--idle-timeout", "1")
    with connect(hub) as connection:
        if before:
            connection.sendall(before)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        began = time.monotonic()
        connection.sendall(sent)
        while not is_closed(connection):
            time.sleep(0.05)
            if sent:
                try:
                    connection.setblocking(True)
                    connection.sendall(b"x")
                except OSError:
                    break
            assert time.monotonic() - began < PATIENCE
        assert 0.8 < time.monotonic() - began < 4
    assert "Traceback" not in hub.log


def test_no_more_connections_than_may_be(run_hub: RunHub) -> None:
    hub = run_hub("--max-connections", "3")
    # That of the question whether it runs is gone.
    wait_until(lambda: "more are closed" not in hub.log, "the hub is there")
    held = [connect(hub) for _ in range(3)]
    try:
        time.sleep(0.3)
        assert not any(is_closed(each) for each in held)
        for _ in range(3):
            with connect(hub) as more:
                # mypy does not infer a lambda's defaults.
                wait_until(lambda each=more: is_closed(each), "one too many is closed")  # type: ignore[misc]
        assert hub.log.count("3 connections are open: more are closed at once") == 1
        assert not any(is_closed(each) for each in held)
        held.pop().close()
        wait_until(lambda: _posts(hub), "there is room again")
    finally:
        for each in held:
            each.close()


def _posts(hub: HubProcess) -> bool:
    try:
        return bool(post(hub, "a-channel", "x"))
    except OSError:
        return False
