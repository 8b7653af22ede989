"""The peer of posting: a bare aiohttp handler that answers 201 and keeps nothing.

Run as `python -m benchmarks.bare PORT`. Same event loop and HTTP library as the
hub, no access log, no middleware.
"""

from __future__ import annotations

import asyncio
import sys

import uvloop
from aiohttp import web


async def post(request: web.Request) -> web.Response:
    """Read the body, answer."""
    await request.read()
    return web.Response(status=201, body=b"2026-11-20T11:40:10.793214Z")


async def serve(port: int) -> None:
    """Serve until the process is ended."""
    app = web.Application()
    app.router.add_post("/{channel}", post)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
