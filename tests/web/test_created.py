"""An answer as bytes says just what aiohttp's own would have said."""

from __future__ import annotations

import re

import pytest
from aiohttp import web

from hub.web.created import JSON, TEXT, created, whole
from hub.web.errors import answer
from tests.conftest import Client
from tests.web.wire import exchange

LAST = b"Connection: close\r\n"


def lines_of(head: bytes) -> list[bytes]:
    """The lines of a head, in any order, with any date, but for `Connection`."""
    head = re.sub(rb"Date: \w+, \d\d \w+ \d{4} [\d:]{8} GMT", b"Date", head)
    return sorted(set(head.split(b"\r\n")) - {LAST.strip()})


@pytest.mark.parametrize("content_type", [TEXT, JSON])
async def test_201(hub: Client, monkeypatch: pytest.MonkeyPatch, content_type: str) -> None:
    head, _, body = created(b"body", content_type).partition(b"\r\n\r\n")
    headers = {"Content-Type": content_type}
    plain = web.Response(status=201, body=b"body", headers=headers)
    monkeypatch.setattr("hub.web.operations.as_json", lambda *_: plain)
    theirs = await exchange(hub, b"GET /health HTTP/1.1\r\nHost: x\r\n" + LAST + b"\r\n")
    assert lines_of(head) == lines_of(theirs.head)
    assert body == theirs.body == b"body"


async def test_an_error(hub: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def error() -> web.Response:
        return answer(503, "no: “now”", "busy", {"Retry-After": "1"}, position=7)

    head, _, body = whole(error()).partition(b"\r\n\r\n")
    monkeypatch.setattr("hub.web.operations.as_json", lambda *_: error())
    theirs = await exchange(hub, b"GET /health HTTP/1.1\r\nHost: x\r\n" + LAST + b"\r\n")
    assert lines_of(head) == lines_of(theirs.head)
    assert body == theirs.body
