"""What a client takes, and what it has already: `Accept`, `Accept-Encoding`, `If-None-Match`.

Owns the rules of content negotiation (RFC 9110, 12.5 and 13.1.2). Must not know
what is sent.
"""

from __future__ import annotations

import re
from functools import lru_cache

from aiohttp import ETag, web

from hub import sse

COMPRESS_FROM = 1024
"""Bytes below which compression is not worth it."""

FORMAT = "format"
"""Parameter of a read, for links: which data is wanted counts more than `Accept`."""

HTML = "text/html"

REMEMBERED = 64
"""Values of `Accept` that are not looked at again: browsers have few."""

REMEMBERED_LENGTH = 512
"""Characters of an `Accept` that is worth remembering."""

_OTHERS = ("text/tab-separated-values", "application/x-ndjson", "application/json", "text/plain")
"""What stands at the URLs where the page does, for programs."""

_ZERO = re.compile(r"q=0(\.0*)?")
_QUALITY = re.compile(r"0(\.\d*)?|1(\.0*)?", re.ASCII)


def prefers_page(request: web.Request) -> bool:
    """Whether the client would rather have the page than data: a browser that opens a URL.

    Programs that take anything (`*/*`), and subscribers, get data.
    """
    accept = request.headers.get("Accept", "")
    if HTML not in accept or sse.CONTENT_TYPE in accept:  # nearly always
        return False
    if FORMAT in request.query:
        return False
    return (_prefers_html if len(accept) > REMEMBERED_LENGTH else _known)(accept)


def _prefers_html(accept: str) -> bool:
    """Whether HTML has a higher quality than all that a program could be sent."""
    qualities: dict[str, float] = {}
    for each in accept.lower().split(","):
        media_range, *parameters = each.replace(" ", "").replace("\t", "").split(";")
        given = next((one[2:] for one in parameters if one.startswith("q=")), "1")
        qualities[media_range] = float(given) if _QUALITY.fullmatch(given) else 0.0

    def quality(media_type: str) -> float:
        kind = media_type.partition("/")[0]
        ranges = (media_type, f"{kind}/*", "*/*")  # the most specific one counts
        return next((qualities[each] for each in ranges if each in qualities), 0.0)

    return quality(HTML) > max(map(quality, _OTHERS))


_known = lru_cache(maxsize=REMEMBERED)(_prefers_html)


def takes_gzip(request: web.Request) -> bool:
    """Whether the client takes an answer in gzip."""
    for each in request.headers.get("Accept-Encoding", "").lower().split(","):
        coding, *parameters = each.replace(" ", "").split(";")
        if coding == "gzip":
            return not any(_ZERO.fullmatch(parameter) for parameter in parameters)
    return False


def has_already(request: web.Request, tag: str) -> bool:
    """Whether the client has what this `ETag`, in its quotation marks, is of: answer 304."""
    known = request.if_none_match or ()
    return any(each.value in ("*", tag.strip('"')) for each in known if isinstance(each, ETag))
