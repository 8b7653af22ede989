"""The doors of whoever runs the hub: health, metrics, and a word at `/`."""

from __future__ import annotations

import time

import msgspec
from aiohttp import web

from hub import __version__
from hub.web.context import HUB
from hub.web.metrics import CONTENT_TYPE

_WELCOME = """\
This is an event hub: every event is a line in a text file.

  echo Hello | curl -d @- '{url}/a-channel?event=greeting'      post an event
  curl {url}/a-channel                                          read the history
  curl -N -H 'Accept: text/event-stream' {url}/a-channel        follow it live

  curl {url}/streams/cart-1/commit -d '{{"events":[{{"type":"Added"}}]}}'     commit to a stream
  curl '{url}/query?types=Added'                                 find events in all streams

A channel is any name of 4 to 64 letters, digits, '_' or '-'.
{url}/health and {url}/metrics tell how the hub is.
"""


async def welcome(request: web.Request) -> web.Response:
    """A few lines for somebody who came without knowing what this is."""
    return web.Response(text=_WELCOME.format(url=request.url.origin()))


async def health(request: web.Request) -> web.Response:
    """How the hub is; 503 while it shuts down."""
    hub = request.app[HUB]
    logs = list(hub.engine.logs())
    closing = hub.subscriptions.closing
    damaged = sorted(log.name for log in logs if log.damage)
    state = "closing" if closing else "damaged" if damaged else "ok"
    body = {
        "status": state,
        "version": __version__,
        "uptime": round(time.monotonic() - hub.started, 3),
        "channels": len(logs),
        "events": sum(log.version for log in logs),
        "bytes": sum(log.length for log in logs),
        "subscribers": len(hub.subscriptions),
        "damaged": damaged,
    }
    return web.Response(
        status=503 if closing else 200,
        body=msgspec.json.encode(body) + b"\n",
        content_type="application/json",
    )


async def metrics(request: web.Request) -> web.Response:
    """Metrics for Prometheus."""
    body = request.app[HUB].metrics.render()
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})
