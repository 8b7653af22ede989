"""Answers as one piece of bytes, for those who write to the connection themselves.

Owns what stands in the head. Must say just what aiohttp would have said.
"""

from __future__ import annotations

import time
from email.utils import formatdate

from aiohttp import web
from aiohttp.http import SERVER_SOFTWARE

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"


class _Head:
    """The head of a 201 up to the length of its body; made anew each second."""

    def __init__(self, content_type: str) -> None:
        self._type = content_type
        self._second = 0
        self._bytes = b""

    def now(self) -> bytes:
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._bytes = (
                f"HTTP/1.1 201 Created\r\nContent-Type: {self._type}\r\n{_own_headers()}"
                "Content-Length: "
            ).encode()
        return self._bytes


_heads = {content_type: _Head(content_type) for content_type in (TEXT, JSON)}


def created(body: bytes, content_type: str) -> bytes:
    """201 to a request that has become events; `content_type` is `TEXT` or `JSON`."""
    return b"%b%d\r\n\r\n%b" % (_heads[content_type].now(), len(body), body)


def whole(response: web.Response) -> bytes:
    """Any other answer that has its body in memory."""
    body = response.body
    assert isinstance(body, bytes)  # noqa: S101 - the hub's errors have
    headers = "".join(
        f"{name}: {value}\r\n"
        for name, value in response.headers.items()
        if name.lower() != "content-length"
    )
    head = (
        f"HTTP/1.1 {response.status} {response.reason}\r\n{headers}{_own_headers()}"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _own_headers() -> str:
    return f"Date: {formatdate(time.time(), usegmt=True)}\r\nServer: {SERVER_SOFTWARE}\r\n"
