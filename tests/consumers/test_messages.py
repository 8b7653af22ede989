"""Messages between the hub and its workers, over a real pair of sockets."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator

import pytest

from hub.consumers.messages import (
    PIECE,
    Fault,
    Gone,
    Inbox,
    Reply,
    Task,
    Why,
    batch_size,
    receive,
    send,
    send_batch,
)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    left, right = socket.socketpair()
    with left, right:
        left.settimeout(20)
        right.settimeout(20)
        yield left, right


@pytest.mark.parametrize(
    "message",
    [
        Task("key"),
        Task("key", 12, "(e) => e", b"x" * 1_000_000, ("a", "b")),
        Reply(b'{"n":1}', None, 0.5),
        Reply(fault=Fault(Why.THROWN, "Error: ä", 7)),
    ],
)
def test_a_message_arrives_as_it_was(
    pair: tuple[socket.socket, socket.socket], message: Task | Reply
) -> None:
    sender = threading.Thread(target=send, args=(pair[0], message))
    sender.start()
    assert receive(pair[1], type(message)) == message
    sender.join()


@pytest.mark.parametrize("count", [1, 2, PIECE, PIECE + 1, 10 * PIECE + 7])
def test_a_batch_is_a_json_array(pair: tuple[socket.socket, socket.socket], count: int) -> None:
    documents = [b'{"n":%d,"pad":"%b"}' % (n, b"x" * 500) for n in range(count)]
    sender = threading.Thread(target=send_batch, args=(pair[0], documents))
    sender.start()
    batch = Inbox().receive(pair[1], batch_size(documents))
    sender.join()
    assert json.loads(bytes(batch)) == [json.loads(each) for each in documents]


def test_an_inbox_is_used_again(pair: tuple[socket.socket, socket.socket]) -> None:
    inbox = Inbox()
    for documents in ([b"1", b"2"], [b"3"], [b'"%b"' % (b"x" * 1000)], [b"4"]):
        send_batch(pair[0], documents)
        batch = inbox.receive(pair[1], batch_size(documents))
        assert bytes(batch) == b"[%b]" % b",".join(documents)


def test_nothing_has_no_size() -> None:
    assert batch_size([]) == 0


def test_an_end_is_noticed(pair: tuple[socket.socket, socket.socket]) -> None:
    pair[0].sendall(b"\0\0\0\0\0\0\0\x09half")
    pair[0].close()
    with pytest.raises(Gone):
        receive(pair[1], Reply)
    with pytest.raises(Gone):
        Inbox().receive(pair[1], 1)
