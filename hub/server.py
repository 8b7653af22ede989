"""Runs the hub as a process: the socket, the signals, the end within two seconds."""

from __future__ import annotations

import asyncio
import gc
import logging
import resource
import signal

import uvloop
from aiohttp import web

from hub.engines.files import FilesEngine
from hub.errors import StartupError
from hub.options import Options
from hub.web.app import make_app
from hub.web.runner import Runner

SHUTDOWN_SECONDS = 1.0
"""What requests under way get to finish after SIGTERM."""

BACKLOG = 4096
"""Connections that may wait to be accepted."""

COLLECT_AFTER = 20_000
"""Objects made before the garbage collector looks: a request makes about a hundred, hardly a
cycle among them."""

logger = logging.getLogger(__name__)


def run(options: Options) -> None:
    """Serve until SIGTERM or SIGINT. Raises `StartupError`."""
    _raise_open_files()
    uvloop.run(_serve(options))


async def _serve(options: Options) -> None:
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
        access_log=logging.getLogger("hub.access") if options.access_log else None,
        shutdown_timeout=SHUTDOWN_SECONDS,
    )
    await runner.setup()
    gc.freeze()  # what is there now stays: the collector need not go through every log
    gc.set_threshold(COLLECT_AFTER, 20, 20)
    try:
        await _listen(runner, options)
        await stop.wait()
        logger.info("shutting down")
    finally:
        await runner.cleanup()
    logger.info("stopped")


async def _listen(runner: web.AppRunner, options: Options) -> None:
    site = web.TCPSite(runner, options.host, options.port, backlog=BACKLOG)
    try:
        await site.start()
    except OSError as error:
        raise StartupError(
            f"cannot listen on {options.host}:{options.port}: {error.strerror or error}; "
            "choose another with --host and --port"
        ) from error
    host, port = runner.addresses[0][:2]
    logger.info("listening on http://%s:%s, events in %s", host, port, options.events.resolve())


def _raise_open_files() -> None:
    """Every subscriber is an open file: take as many as the system lets us have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
