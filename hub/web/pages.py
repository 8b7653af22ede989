"""The web page: the files in `ui/`, and where browsers get them.

Owns the table of these files, read once, so that no path is ever made of a
name; and what the page may do in a browser. Must not know what is in them.
"""

from __future__ import annotations

import gzip
import hashlib
from functools import cache, cached_property
from importlib import resources
from importlib.resources.abc import Traversable

from aiohttp import web

from hub.web.negotiation import COMPRESS_FROM, has_already, takes_gzip

PAGE = "index.html"
"""The page itself: the answer at every URL that has one."""

ICON = "icon.svg"
"""The page's icon."""

WORKER = "fold-worker.js"
"""Runs reducers that people type; it alone may make code of text, and can reach nothing."""

_TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "ico": "image/x-icon",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "png": "image/png",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
    "webmanifest": "application/manifest+json",
    "woff2": "font/woff2",
}
_AS_THEY_ARE = frozenset({"png", "woff2"})  # compressed already

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; worker-src 'self'; manifest-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_WORKER_POLICY = "default-src 'none'; script-src 'unsafe-eval'"

_HEADERS = {
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
}


class Asset:
    """One file of the page, as it is sent."""

    def __init__(self, path: str, content: bytes) -> None:
        ending = path.rpartition(".")[2]
        self.content = content
        self.tag = hashlib.sha256(content).hexdigest()[:20]
        self.packs = len(content) >= COMPRESS_FROM and ending not in _AS_THEY_ARE
        self.headers = {
            **_HEADERS,
            "Content-Type": _TYPES[ending],
            "Content-Security-Policy": _WORKER_POLICY if path == WORKER else _POLICY,
            # The page stands at URLs that are data to programs.
            "Vary": "Accept, Accept-Encoding" if path == PAGE else "Accept-Encoding",
        }

    @cached_property
    def packed(self) -> bytes:
        """The content in gzip."""
        return gzip.compress(self.content, mtime=0)


@cache
def assets() -> dict[str, Asset]:
    """Every file below `ui/`, by its path there. Raises `KeyError` for an unknown ending."""
    return dict(_below(resources.files("hub.web") / "ui", ""))


def _below(directory: Traversable, path: str) -> list[tuple[str, Asset]]:
    found = []
    for each in directory.iterdir():
        if each.is_dir():
            found += _below(each, f"{path}{each.name}/")
        else:
            name = path + each.name
            found.append((name, Asset(name, each.read_bytes())))
    return found


async def page(request: web.Request) -> web.Response:
    """The page, at whichever URL."""
    return _send(request, assets()[PAGE])


async def get(request: web.Request) -> web.Response:
    """`GET /ui/{path}`: a file of the page."""
    asset = assets().get(request.match_info["path"])
    if asset is None:
        raise web.HTTPNotFound
    return _send(request, asset)


async def icon(request: web.Request) -> web.Response:
    """`GET /favicon.ico`: browsers ask for it where a page names no icon, such as a file."""
    return _send(request, assets()[ICON])


async def home(request: web.Request) -> web.Response:
    """`GET /ui`: the way to the page."""
    return web.Response(status=308, headers={"Location": "/"})


def _send(request: web.Request, asset: Asset) -> web.Response:
    packed = asset.packs and takes_gzip(request)
    tag = f'"{asset.tag}-gzip"' if packed else f'"{asset.tag}"'
    headers = {**asset.headers, "ETag": tag}
    if has_already(request, tag):
        return web.Response(status=304, headers=headers)
    if packed:
        headers["Content-Encoding"] = "gzip"
    return web.Response(body=asset.packed if packed else asset.content, headers=headers)
