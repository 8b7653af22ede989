"""JSON as an answer, alike from every door.

Errors have a form of their own (`errors`).
"""

from __future__ import annotations

import gzip
import hashlib
from typing import Any

import msgspec
from aiohttp import web

from hub.web.created import JSON
from hub.web.negotiation import COMPRESS_FROM, has_already, takes_gzip

_FAST = 1
"""Level of compression: lists are asked for again and again, and hardly get smaller by more."""


def as_json(value: Any, status: int = 200) -> web.Response:
    """A document, on a line of its own."""
    body = msgspec.json.encode(value) + b"\n"
    return web.Response(status=status, body=body, content_type=JSON)


def as_known_json(request: web.Request, value: Any) -> web.Response:
    """A document that is asked for again and again: 304 to who has it already.

    It stands at a URL where browsers get the page, and caches are told so.
    """
    body = msgspec.json.encode(value) + b"\n"
    packed = len(body) >= COMPRESS_FROM and takes_gzip(request)
    digest = hashlib.sha256(body).hexdigest()[:20]
    tag = f'"{digest}-gzip"' if packed else f'"{digest}"'
    headers = {"Cache-Control": "no-cache", "Vary": "Accept, Accept-Encoding", "ETag": tag}
    if has_already(request, tag):
        return web.Response(status=304, headers=headers)
    headers["Content-Type"] = JSON
    if packed:
        headers["Content-Encoding"] = "gzip"
        body = gzip.compress(body, _FAST, mtime=0)
    return web.Response(body=body, headers=headers)
