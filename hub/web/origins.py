"""Which web pages may use the hub: cross-origin requests and their preflights.

Owns the rules of CORS (WHATWG Fetch, section 3.2). A write needs no preflight
when it is a "simple" POST, so the origin of every write is checked here. A read
of a page that shares the hub's name tells no origin, so there the name is.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from urllib.parse import urlsplit

from aiohttp import web
from multidict import CIMultiDict

from hub.errors import Forbidden

ANY = "*"

OPAQUE = "null"
"""The origin that browsers tell for a page that has none: opened as a file, or sandboxed.

Whose page that is nobody can say, so it is allowed with every other, or not at all.
"""

PREFLIGHT_SECONDS = 600
"""How long a browser may remember the answer to a preflight."""

_EXPOSED = (
    "Last-Event-ID, ETag, Content-Range, Accept-Ranges, Retry-After, x-event-store-stream, "
    "x-event-store-version, x-event-store-query-condition"
)
_METHODS = "GET, HEAD, POST, PUT, DELETE, OPTIONS"
_HEADERS = "Last-Event-ID, Content-Type, Cache-Control, If-None-Match, Range, Authorization"
_OF_BROWSERS = ("Accept-Language", "Sec-Fetch-Site", "Sec-Fetch-Mode")
"""Headers that no page can leave out. The last two come only over HTTPS and to local names, so not
from a page whose name was pointed here. A program that sends the first is taken for a browser.
"""

_READS = frozenset({"GET", "HEAD", "OPTIONS"})


class Origins:
    """The origins that are allowed: those given, and the hub's own pages.

    `host` is the address that the hub listens on. If that is this machine
    alone, its own pages have this machine's names: another name that leads
    here may be somebody else's, pointed here to be taken for ours (DNS
    rebinding). Behind a proxy, the name that browsers see has to be given.
    """

    def __init__(self, allowed: Iterable[str], host: str) -> None:
        self._allowed = frozenset(each.rstrip("/").lower() for each in allowed)
        self._names = frozenset(_name_of(each) for each in self._allowed)
        self._local_only = _is_local(host)

    def allows(self, origin: str) -> bool:
        """Whether pages of this origin may read and write."""
        return ANY in self._allowed or origin.lower() in self._allowed

    def check_write(self, request: web.BaseRequest, origin: str) -> None:
        """Raise `Forbidden` if a page of this origin must not make this request."""
        if request.method in _READS or self.allows(origin):
            return
        if self._is_own(origin, request.headers.get("Host", "")):
            return
        if origin == OPAQUE:
            raise Forbidden(
                "a page without an origin, as one that was opened as a file, may not write here: "
                "serve it over HTTP, or allow every page with --cors '*'"
            )
        raise Forbidden(
            f"pages of {origin} may not write here: allow it with --cors {origin}, "
            "or in the environment as HUB_CORS"
        )

    def check_name(self, request: web.BaseRequest) -> None:
        """Raise `Forbidden` if a browser has the hub under a name that may be somebody else's."""
        if not self._local_only or ANY in self._allowed:
            return
        headers = request.headers
        if not any(each in headers for each in _OF_BROWSERS):
            return  # a program knows whom it asks
        host = headers.get("Host", "")
        name = _name_of(f"//{host}")
        if name in self._names or _is_local(name) or self.allows(headers.get("Origin", "")):
            return
        raise Forbidden(
            f"a browser may not read here under the name {name!r}, which anybody could point at "
            "this machine: open the hub as localhost or 127.0.0.1, or allow the name that browsers "
            f"have it under, behind a proxy too, with --cors http://{host} (or https), or in the "
            "environment as HUB_CORS"
        )

    def _is_own(self, origin: str, host: str) -> bool:
        try:
            here = urlsplit(origin)
        except ValueError:  # brackets that are no IPv6 address
            return False
        if here.netloc.lower() != host.lower():
            return False
        return not self._local_only or _is_local(here.hostname or "")

    def mark(self, headers: CIMultiDict[str], origin: str) -> None:
        """Let pages of an allowed origin read an answer."""
        headers.add("Vary", "Origin")
        if self.allows(origin):
            headers["Access-Control-Allow-Origin"] = origin
            headers["Access-Control-Expose-Headers"] = _EXPOSED

    def preflight(self, request: web.BaseRequest, methods: Iterable[str]) -> web.Response:
        """The answer to `OPTIONS`, of a path that has these methods."""
        allow = ", ".join(sorted(methods))
        headers = {
            "Allow": allow,
            "Access-Control-Allow-Methods": _METHODS,
            "Access-Control-Allow-Headers": _HEADERS,
            "Access-Control-Max-Age": str(PREFLIGHT_SECONDS),
        }
        if request.headers.get("Access-Control-Request-Private-Network") == "true":
            headers["Access-Control-Allow-Private-Network"] = "true"
        if not self.allows(request.headers.get("Origin", "")):
            headers = {"Allow": allow}
        return web.Response(status=204, headers=headers)


def _name_of(origin: str) -> str:
    """The host in an origin, without a port; empty if there is none."""
    try:
        return urlsplit(origin).hostname or ""
    except ValueError:  # brackets that are no IPv6 address
        return ""


def _is_local(host: str) -> bool:
    """Whether a name or an address is that of this machine, whoever asks."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
