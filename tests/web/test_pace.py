"""Bodies that trickle are ended, those that are slow because of the hub or a network are not."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from hub.web import pace as module
from hub.web.pace import BODY_RATE
from tests.conftest import RunHub
from tests.posting import post
from tests.process import PATIENCE, HubProcess

SECONDS = 1.2
SUBSCRIBE = b"GET /a-channel HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n\r\n"
BATCH = "Content-Type: text/tab-separated-values\r\n"


@pytest.fixture
def slow_hub(run_hub: RunHub) -> HubProcess:
    return run_hub("--body-timeout", str(SECONDS))


def connect(hub: HubProcess) -> socket.socket:
    return socket.create_connection(("127.0.0.1", hub.port), timeout=PATIENCE)


def begin(hub: HubProcess, headers: str, path: str = "/a-channel") -> socket.socket:
    """Send the head of a POST."""
    connection = connect(hub)
    connection.sendall(f"POST {path} HTTP/1.1\r\nHost: hub\r\n{headers}\r\n".encode())
    return connection


def answer(connection: socket.socket) -> tuple[int, str]:
    """Status and body of what comes until the hub closes."""
    content = b""
    while piece := connection.recv(65536):
        content += piece
    head, _, body = content.partition(b"\r\n\r\n")
    return int(head.split()[1]), body.decode()


def trickle(connection: socket.socket, pieces: Iterator[bytes], pause: float) -> None:
    """Send until the other side has had enough."""
    try:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(pause)
    except OSError:
        pass


@pytest.mark.parametrize("path", ["/a-channel", "/streams/a-channel/commit"])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_trickles_is_ended(slow_hub: HubProcess, path: str, chunked: bool) -> None:
    headers = "Transfer-Encoding: chunked\r\n" if chunked else "Content-Length: 60000\r\n"
    piece = b"1\r\nx\r\n" if chunked else b"x"
    with begin(slow_hub, headers, path) as connection:
        sender = threading.Thread(
            target=trickle, args=(connection, (piece for _ in range(1000)), 0.05)
        )
        began = time.monotonic()
        sender.start()
        status, body = answer(connection)
        taken = time.monotonic() - began
        assert status == 408
        assert json.loads(body)["code"] == "timed_out"
        assert f"{BODY_RATE} bytes a second for {SECONDS} s" in json.loads(body)["error"]
        assert SECONDS * 0.6 < taken < SECONDS * 3
    sender.join()
    assert "Traceback" not in slow_hub.log
    assert post(slow_hub, "a-channel", "fine")


def test_a_body_that_never_comes_is_ended_beside_requests_without_a_body(
    slow_hub: HubProcess,
) -> None:
    with connect(slow_hub) as subscriber:
        subscriber.sendall(
            b"GET /a-channel HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n\r\n"
        )
        assert subscriber.recv(1000).startswith(b"HTTP/1.1 200 ")
        with begin(slow_hub, "Content-Length: 5\r\n") as connection:
            assert answer(connection)[0] == 408
    assert "ERROR" not in slow_hub.log


def test_a_slow_upload_goes_on(slow_hub: HubProcess) -> None:
    """Three times as long as a body may be slow, at little more than the rate."""
    line = b"\tt\t" + b"x" * int(BODY_RATE * 1.5 / 5) + b"\n"
    count = int(SECONDS * 3 * 5)
    headers = f"Content-Length: {len(line) * count}\r\nConnection: close\r\n{BATCH}"
    with begin(slow_hub, headers) as connection:
        trickle(connection, (line for _ in range(count)), 0.2)
        assert answer(connection)[0] == 201


def test_a_pause_that_is_made_up_for_is_none(slow_hub: HubProcess) -> None:
    line = b"\tt\tx\n"
    with begin(
        slow_hub, f"Content-Length: {2 * len(line)}\r\nConnection: close\r\n{BATCH}"
    ) as connection:
        connection.sendall(line)
        time.sleep(SECONDS / 2)
        connection.sendall(line)
        assert answer(connection)[0] == 201


async def test_a_subscription_and_an_answer_that_wait_are_no_slow_bodies(
    slow_hub: HubProcess,
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", slow_hub.port)
    # It has a body that never ends, which its door does not read.
    writer.write(
        b"GET /a-channel HTTP/1.1\r\nHost: hub\r\nAccept: text/event-stream\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n"
    )
    await asyncio.sleep(SECONDS * 2)
    await asyncio.to_thread(post, slow_hub, "a-channel", "still there")
    async with asyncio.timeout(PATIENCE):
        await reader.readuntil(b"data: still there\n")
    writer.close()


class Body:
    """What `Pace` looks at of a body, and of the connection that it comes on."""

    def __init__(self) -> None:
        self._waiter: object | None = None
        self._size = self.total_bytes = 0
        self._current_request = self
        self.content = self

    def is_eof(self) -> bool:
        return False


@pytest.mark.parametrize(
    ("awaited", "unread", "ended"),
    [
        ([True] * 7, 1, True),
        ([True] + [False] * 6, 1, True),  # a byte has come whenever the hub looks
        ([False, True] * 4, 1, True),
        ([True] + [False] * 6, 100_000, False),  # it is the hub that is slow
        ([False] * 8, 1, False),  # no door has asked for it
    ],
)
async def test_whom_a_busy_hub_waits_for(
    monkeypatch: pytest.MonkeyPatch, awaited: list[bool], unread: int, ended: bool
) -> None:
    found: list[object] = []
    monkeypatch.setattr(module, "end", lambda connection, *_: found.append(connection))
    body = Body()
    pace = module.Pace(lambda: [body], 60)  # type: ignore[list-item]  # no connection at all
    for waits in awaited:
        body._waiter = object() if waits else None
        body._size = 0 if waits else unread
        body.total_bytes += 1
        await pace._look()
    assert bool(found) == ended
