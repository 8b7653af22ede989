"""The doors of whoever runs the hub: health, metrics, and a word at `/`."""

from __future__ import annotations

import asyncio
import time

from aiohttp import web

from hub import __version__
from hub.errors import InvalidRequest
from hub.web import pages
from hub.web.answers import as_json
from hub.web.context import HUB
from hub.web.metrics import CONTENT_TYPE
from hub.web.negotiation import prefers_page

COUNTED_AT_ONCE = 5000
"""Logs that are looked at before others get their turn."""

_WELCOME = """\
This is an event hub: every event is a line in a text file.

  echo Hello | curl -d @- '{url}/a-channel?event=greeting'      post an event
  curl {url}/a-channel                                          read the history
  curl -N -H 'Accept: text/event-stream' {url}/a-channel        follow it live

  curl {url}/streams/cart-1/commit -d '{{"events":[{{"type":"Added"}}]}}'     commit to a stream
  curl '{url}/query?types=Added'                                 find events in all streams

A channel is any name of 4 to 64 letters, digits, '_' or '-'.
In a browser, {url}/ is a page, and so is each channel.
{url}/health and {url}/metrics tell how the hub is.
"""


async def welcome(request: web.Request) -> web.Response:
    """A few lines for somebody who came without knowing what this is; to a browser, the page.

    Raises `InvalidRequest` if the URL of this hub is not to be known.
    """
    if prefers_page(request):
        return await pages.page(request)
    try:
        origin = request.url.origin()
    except ValueError:
        raise InvalidRequest(f"{request.host!r}, the header Host, is not that of a URL") from None
    text = _WELCOME.format(url=origin)
    return web.Response(text=text, headers={"Vary": "Accept"})


async def health(request: web.Request) -> web.Response:
    """How the hub is; 503 while it shuts down."""
    hub = request.app[HUB]
    logs = list(hub.engine.logs())
    events = size = 0
    damaged = []
    for at in range(0, len(logs), COUNTED_AT_ONCE):
        for log in logs[at : at + COUNTED_AT_ONCE]:
            events += log.version
            size += log.length
            if log.damage:
                damaged.append(log.name)
        await asyncio.sleep(0)  # others must not wait for a hundred thousand
    closing = hub.subscriptions.closing
    state = "closing" if closing else "damaged" if damaged else "ok"
    body = {
        "status": state,
        "version": __version__,
        "uptime": round(time.monotonic() - hub.started, 3),
        "channels": len(logs),
        "events": events,
        "bytes": size,
        "subscribers": len(hub.subscriptions),
        "damaged": sorted(damaged),
    }
    return as_json(body, 503 if closing else 200)


async def metrics(request: web.Request) -> web.Response:
    """Metrics for Prometheus."""
    body = request.app[HUB].metrics.render()
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})
