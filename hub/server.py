"""Runs the hub as a process: the socket, the signals, the end within two seconds."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import resource
import signal
import sys
from collections.abc import Callable

import uvloop
from aiohttp import http_writer, web

from hub.engines.files import FilesEngine
from hub.errors import StartupError
from hub.options import Options
from hub.web import heaps
from hub.web.app import make_app
from hub.web.runner import Runner
from hub.web.vanished import abort_vanished

SHUTDOWN_SECONDS = 1.0
"""What requests under way get to finish after SIGTERM."""

BACKLOG = 4096
"""Connections that may wait to be accepted."""

FILES_KEPT = 256
"""Of the files that may be open, those that connections leave to logs and the index."""

COLLECT_AFTER = 20_000
"""Objects made before the garbage collector looks: a request makes about a hundred, hardly a
cycle among them."""

SWITCH_SECONDS = 0.0005
"""After which a thread that waits for the interpreter gets it. A write crosses to a thread and
back: with Python's 5 ms, a busy event loop makes each of them wait for twice that."""

logger = logging.getLogger(__name__)


def run(options: Options, announce: Callable[[str], object] | None = None) -> None:
    """Serve until SIGTERM or SIGINT; `announce` is told the URL. Raises `StartupError`."""
    sys.setswitchinterval(SWITCH_SECONDS)
    heaps.set_up()
    # aiohttp joins what it sends on account of asyncio's `writelines`; uvloop's is sound and quick.
    http_writer.SKIP_WRITELINES = False
    _raise_open_files()
    uvloop.run(_serve(options, announce))


async def _serve(options: Options, announce: Callable[[str], object] | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop.set)
    engine = FilesEngine(
        options.events, options.durability, options.sync_interval, keys=options.keys
    )
    app = make_app(options, engine)
    runner = Runner(
        app,
        max_connections=min(options.max_connections, _open_files() - FILES_KEPT),
        idle_timeout=options.idle_timeout,
        body_timeout=options.body_timeout,
        access_log=logging.getLogger("hub.access") if options.access_log else None,
        shutdown_timeout=SHUTDOWN_SECONDS,
    )
    await _set_up(runner, stop)
    gc.freeze()  # what is there now stays: the collector need not go through every log
    gc.set_threshold(COLLECT_AFTER, 20, 20)
    server = runner.server
    assert server is not None  # noqa: S101 - it is set up
    watch = loop.create_task(abort_vanished(lambda: server.connections))
    try:
        url = await _listen(runner, options)
        if announce is not None:
            announce(url)
        await stop.wait()
        logger.info("shutting down")
    finally:
        watch.cancel()
        await runner.cleanup()
    logger.info("stopped")


async def _set_up(runner: web.AppRunner, stop: asyncio.Event) -> None:
    """Open the logs. A signal meanwhile ends the process at once, as a kill would.

    Reading many logs anew takes long, and no thread can be told to leave off.
    """
    opening = asyncio.ensure_future(runner.setup())
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait((opening, stopping), return_when=asyncio.FIRST_COMPLETED)
    if not opening.done():
        logger.info("stopped while the logs were being read: the next start reads them again")
        logging.shutdown()
        os._exit(0)
    stopping.cancel()
    opening.result()


async def _listen(runner: web.AppRunner, options: Options) -> str:
    """Begin to listen; return the URL."""
    site = web.TCPSite(runner, options.host, options.port, backlog=BACKLOG)
    try:
        await site.start()
    except OSError as error:
        raise StartupError(
            f"cannot listen on {options.host}:{options.port}: {error.strerror or error}; "
            "choose another with --host and --port"
        ) from error
    host, port = runner.addresses[0][:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    logger.info("listening on %s, events in %s", url, options.events.resolve())
    return url


def _raise_open_files() -> None:
    """Every subscriber is an open file: take as many as the system lets us have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _open_files() -> int:
    """How many files may be open."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
