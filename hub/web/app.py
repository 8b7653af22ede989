"""The HTTP application: its routes, its one error boundary, its life.

Owns how requests find their doors. Must not know what a door does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

from aiohttp import HttpVersion11, web

from hub.consumers.registry import Consumers
from hub.engines.base import Engine
from hub.errors import HubError
from hub.options import Options
from hub.streams import Streams
from hub.subscription import Subscriptions
from hub.web import channels, consumers, operations, streams
from hub.web.bodies import Bodies
from hub.web.context import HUB, Context
from hub.web.errors import answer, answer_to
from hub.web.metrics import Metrics
from hub.web.origins import Origins

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_CHANNEL = "a channel is /{name}, its name 4 to 64 letters, digits, '_' or '-'"
_PATHS = {
    "streams": (
        "a stream is read and defined at /streams/{stream}, "
        "and written by POST to /streams/{stream}/commit"
    ),
    "query": "a query is /query?types=A,B or /query/from/{position}?types=A,B",
    "consumers": "a consumer is put to /consumers/{identifier}/stream/{stream}",
}

logger = logging.getLogger(__name__)


def make_app(options: Options, engine: Engine) -> web.Application:
    """The application over an engine that is not yet open; it opens and closes it."""
    subscriptions = Subscriptions(engine, options.heartbeat)
    all_streams = Streams(engine, options.heartbeat)
    directory, opener = consumers.directory(options), consumers.opener(all_streams)
    all_consumers = Consumers(directory, opener, options)
    hub = Context(
        options,
        engine,
        all_streams,
        all_consumers,
        subscriptions,
        Metrics(engine, subscriptions, all_consumers),
        Bodies(options.max_held_bytes),
    )
    origins = Origins(options.cors, options.host)
    app = web.Application(
        client_max_size=options.max_request_bytes,
        handler_args={"auto_decompress": False},  # `bodies` notices when one breaks off
    )
    app[HUB] = hub
    bounded = _boundary(hub, origins)
    for method, path, door in (
        ("GET", "/{channel}", channels.get),  # first: aiohttp tries them in this order
        ("POST", "/{channel}", channels.post),
        ("PUT", "/{channel}", channels.put),
        ("GET", "/", operations.welcome),
        ("GET", "/health", operations.health),
        ("GET", "/metrics", operations.metrics),
        ("GET", "/streams", streams.listing),
        ("GET", "/streams/{path:.+}", streams.get),
        ("POST", "/streams/{path:.+}", streams.post),
        ("PUT", "/streams/{path:.+}", streams.put),
        ("DELETE", "/streams/{path:.+}", streams.delete),
        ("GET", "/query", streams.query),
        ("GET", "/query/{path:.+}", streams.query),
        ("GET", "/consumers", consumers.listing),
        ("GET", "/consumers/{identifier}", consumers.get),
        ("DELETE", "/consumers/{identifier}", consumers.delete),
        ("PUT", "/consumers/{identifier}/stream/{path:.+}", consumers.put),
        ("GET", "/consumers/{identifier}/until/{number}", consumers.until),
        ("GET", "/consumers/{identifier}/after/{number}", consumers.after),
        ("POST", "/consumers/{identifier}/reset", consumers.reset),
        ("*", "/{path:.*}", _elsewhere),
    ):
        app.router.add_route(method, path, bounded(door), expect_handler=_go_on)
        if method == "GET":
            app.router.add_route("HEAD", path, bounded(door), expect_handler=_go_on)
    if options.cors:

        async def mark(request: web.Request, response: web.StreamResponse) -> None:
            origin = request.headers.get("Origin")
            if origin:
                origins.mark(response.headers, origin)

        app.on_response_prepare.append(mark)
    app.cleanup_ctx.append(_life)
    app.on_shutdown.append(_end_subscriptions)
    return app


async def _life(app: web.Application) -> AsyncIterator[None]:
    hub = app[HUB]
    await hub.engine.open()
    hub.subscriptions.start()
    await hub.consumers.start()
    yield
    await hub.consumers.close()
    await hub.engine.close()


async def _end_subscriptions(app: web.Application) -> None:
    app[HUB].subscriptions.close()
    app[HUB].streams.close()
    app[HUB].consumers.end()


async def _go_on(request: web.Request) -> web.StreamResponse | None:
    """Answer `Expect: 100-continue`, which curl sends before a large body (RFC 9110, 10.1.1)."""
    expected = request.headers["Expect"]
    if expected.lower() != "100-continue":
        return answer(417, f"the hub does not know 'Expect: {expected}'", "expectation_failed")
    if request.version == HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer itself has not begun
    return None


async def _elsewhere(request: web.Request) -> web.StreamResponse:
    """What no other route takes: there is no such path, or not with this method."""
    here = request.match_info.route.resource
    for resource in request.app.router.resources():
        if resource is not here:
            _, methods = await resource.resolve(request)
            if methods:
                raise web.HTTPMethodNotAllowed(request.method, {*methods, "OPTIONS"})
    raise web.HTTPNotFound


def _boundary(hub: Context, origins: Origins) -> Callable[[Handler], Handler]:
    """What stands around every door: it answers errors, preflights and forbidden origins.

    Not a middleware of aiohttp, which would cost each post several microseconds.
    """

    def bounded(handler: Handler) -> Handler:
        return partial(_answer, hub, origins, handler)

    return bounded


async def _answer(
    hub: Context, origins: Origins, handler: Handler, request: web.Request
) -> web.StreamResponse:
    try:
        origin = request.headers.get("Origin")
        if origin is not None:
            origins.check_write(request, origin)
        if request.method == "OPTIONS":
            return origins.preflight(request)
        return await handler(request)
    except (ConnectionError, asyncio.CancelledError):
        raise  # the client has gone
    except Exception as error:
        if request.writer.output_size:
            logger.error("%s %s broke off: %r", request.method, request.rel_url.raw_path, error)
            raise ConnectionResetError(
                "the answer has begun: there is no room for another"
            ) from error
        response, code = _answer_to(request, error)
    hub.metrics.failed(code)
    return response


def _answer_to(request: web.Request, error: Exception) -> tuple[web.Response, str]:
    """An error as an answer, and its code."""
    if isinstance(error, HubError):
        return answer_to(error), error.code
    if isinstance(error, web.HTTPException):
        code = (error.reason or "error").lower().replace(" ", "_")
        response = answer(error.status, _explain(request, error), code)
        if isinstance(error, web.HTTPMethodNotAllowed):
            response.headers["Allow"] = error.headers["Allow"]
        return response, code
    logger.error("%s %s failed", request.method, request.rel_url.raw_path, exc_info=error)
    return answer(500, "the hub made a mistake; its log says more", "internal"), "internal"


def _explain(request: web.Request, error: web.HTTPException) -> str:
    if isinstance(error, web.HTTPNotFound):
        door = request.path.split("/", 2)[1]
        return f"there is nothing at {request.path}: {_PATHS.get(door, _CHANNEL)}"
    if isinstance(error, web.HTTPMethodNotAllowed):
        return f"{error.method} is not allowed here; allowed: {error.headers['Allow']}"
    return error.text or error.reason
