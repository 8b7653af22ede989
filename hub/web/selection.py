"""Reads a selection, a format and a cursor from a request's parameters and headers."""

from __future__ import annotations

from aiohttp import web

from hub.engines.base import Selection
from hub.errors import InvalidRequest
from hub.event import START
from hub.formats import NDJSON, TSV
from hub.web.negotiation import FORMAT

_CURSORS = ("lastEventID", "last_event_id", "lastEventId", "since")


def cursor_of(request: web.Request) -> tuple[str | None, bool]:
    """Where a subscription is to begin, in the first spelling that is given; None: only new.

    And whether that is said to be the id of an event that was seen: `since` may be any time.
    """
    header = request.headers.get("Last-Event-ID")
    if header:
        return header, True
    for name in _CURSORS:
        if value := request.query.get(name):
            return value, name != "since"
    return None, False


def selection_of(request: web.Request) -> Selection:
    """What a read of history selects. Raises `InvalidRequest`."""
    query = request.query
    if not query:
        return Selection()
    since = query.get("since")
    selection = Selection(
        since=None if not since or since in START else since,
        until=query.get("until") or None,
        tail=number_of(request, "tail"),
        limit=number_of(request, "limit"),
        event=query.get("event"),
    )
    if selection.tail is not None and selection.limit is not None:
        raise InvalidRequest("'tail' and 'limit' do not go together: give one of them")
    return selection


def format_of(request: web.Request) -> str | None:
    """The format that the URL names, if it does. Raises `InvalidRequest`."""
    form = request.query.get(FORMAT)
    if form not in (None, TSV, NDJSON):
        raise InvalidRequest(f"{FORMAT!r} must be {TSV!r} or {NDJSON!r}, not {form!r}")
    return form


def number_of(request: web.Request, name: str) -> int | None:
    """A parameter that is a count, or None if it is not given."""
    text = request.query.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise InvalidRequest(f"{name!r} must be a whole number from 0 on, not {text!r}")
    return int(text)
