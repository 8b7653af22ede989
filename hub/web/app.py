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
from hub.web import channels, consumers, operations, pages, streams
from hub.web.bodies import Bodies
from hub.web.context import HUB, Context
from hub.web.errors import answer, failed
from hub.web.express import EXPRESS, Door, Express, Ways
from hub.web.metrics import Metrics
from hub.web.origins import Origins

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_CHANNEL = (
    "a channel is read by GET and written by POST at /{name}, "
    "its name 4 to 64 letters, digits, '_' or '-'"
)
_PATHS = {
    "streams": (
        "a stream is read and defined at /streams/{stream}, "
        "and written by POST to /streams/{stream}/commit; "
        "where its name looks like another of these URLs, write its slashes as %2F"
    ),
    "query": "a query is /query?types=A,B or /query/from/{position}?types=A,B",
    "ui": "the web page is /, and the files that it needs are below /ui/",
    "consumers": "a consumer is put to /consumers/{identifier}/stream/{stream}",
    "health": "how the hub is can only be read",
    "metrics": "what the hub has counted can only be read",
}

_A_CHANNEL = "/{channel}"
_A_STREAM = "/streams/{path:.+}"

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
    pages.assets()  # read now: no request waits for a disk, or finds that one is missing
    app = web.Application(
        client_max_size=options.max_request_bytes,
        handler_args={"auto_decompress": False},  # `bodies` notices when one breaks off
    )
    app[HUB] = hub
    bounded = _boundary(hub, origins)
    at_once = {channels.post: channels.post_at_once, streams.post: streams.commit_at_once}
    doors: dict[Handler, Door] = {}
    for method, path, door in (
        ("GET", _A_CHANNEL, channels.get),  # first: aiohttp tries them in this order
        ("POST", _A_CHANNEL, channels.post),
        ("PUT", _A_CHANNEL, channels.put),
        ("GET", "/", operations.welcome),
        ("GET", "/favicon.ico", pages.icon),
        ("GET", "/ui", pages.home),
        ("GET", "/ui/", pages.home),
        ("GET", "/ui/{path:.+}", pages.get),
        ("GET", "/health", operations.health),
        ("GET", "/metrics", operations.metrics),
        ("GET", "/streams", streams.listing),
        ("GET", _A_STREAM, streams.get),
        ("POST", _A_STREAM, streams.post),
        ("PUT", _A_STREAM, streams.put),
        ("DELETE", _A_STREAM, streams.delete),
        ("GET", "/query", streams.query),
        ("GET", "/query/from/{position}", streams.query),
        ("GET", "/consumers", consumers.listing),
        ("GET", "/consumers/{identifier}", consumers.get),
        ("DELETE", "/consumers/{identifier}", consumers.delete),
        ("PUT", "/consumers/{identifier}/stream/{path:.+}", consumers.put),
        ("GET", "/consumers/{identifier}/until/{number}", consumers.until),
        ("GET", "/consumers/{identifier}/after/{number}", consumers.after),
        ("POST", "/consumers/{identifier}/reset", consumers.reset),
        ("*", "/{path:(?s:.*)}", _elsewhere),  # also with an encoded LF
    ):
        handler = bounded(door)
        if door in at_once:
            doors[handler] = at_once[door]
        app.router.add_route(method, path, handler, expect_handler=_go_on)
        if method == "GET":
            app.router.add_route("HEAD", path, bounded(door), expect_handler=_go_on)
    app[EXPRESS] = Express(hub, Ways(), doors)
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
    methods = await _methods_at(request)
    if methods == {"OPTIONS"}:
        raise web.HTTPNotFound
    raise web.HTTPMethodNotAllowed(request.method, methods)


async def _methods_at(request: web.Request) -> set[str]:
    """The methods that the path has; `OPTIONS` is answered everywhere."""
    found = {"OPTIONS"}
    for resource in request.app.router.resources():
        _, methods = await resource.resolve(request)
        if resource.canonical == request.path:  # not a channel: its name is reserved
            return {*methods, "OPTIONS"}
        if methods and resource.canonical == "/streams/{path}":
            found |= streams.methods_at(request)
        else:
            found |= methods - {"*"}
    return found


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
        origins.check_name(request)
        origin = request.headers.get("Origin")
        if origin is not None:
            origins.check_write(request, origin)
        if request.method == "OPTIONS":
            return origins.preflight(request, await _methods_at(request))
        return await handler(request)
    except (ConnectionError, asyncio.CancelledError):
        raise  # the client has gone
    except Exception as error:
        if request.writer.output_size:
            level = logging.WARNING if isinstance(error, HubError) else logging.ERROR
            path = request.rel_url.raw_path
            logger.log(level, "%s %s broke off: %r", request.method, path, error)
            raise ConnectionResetError(
                "the answer has begun: there is no room for another"
            ) from error
        response, code = _answer_to(request, error)
    hub.metrics.failed(code)
    return response


def _answer_to(request: web.Request, error: Exception) -> tuple[web.Response, str]:
    """An error as an answer, and its code."""
    if isinstance(error, web.HTTPException):
        code = (error.reason or "error").lower().replace(" ", "_")
        response = answer(error.status, _explain(request, error), code)
        if isinstance(error, web.HTTPMethodNotAllowed):
            response.headers["Allow"] = error.headers["Allow"]
        return response, code
    return failed(request.method, request.rel_url.raw_path, error)


def _explain(request: web.Request, error: web.HTTPException) -> str:
    right = _PATHS.get(request.path.split("/", 2)[1], _CHANNEL)
    if isinstance(error, web.HTTPNotFound):
        return f"there is nothing at {request.path}: {right}"
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = error.headers["Allow"].replace(",", ", ")
        return f"{error.method} is not allowed here; allowed: {allowed}; {right}"
    return error.text or error.reason
