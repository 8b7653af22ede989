"""Requests to one hub, and the only place where aiohttp's errors are seen.

Owns the session, what is tried again, and how failures become errors of ours. It
must not know what is asked for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from io import BytesIO
from types import TracebackType
from typing import TypeVar
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

import aiohttp
from msgspec import Struct

from hub import __version__
from hub.client.backoff import Backoff
from hub.client.errors import ClientClosed, Disconnected, UnexpectedAnswer, Unreachable, error_of
from hub.client.payloads import from_json
from hub.errors import (
    Busy,
    HubError,
    IndexFailed,
    InvalidEvent,
    InvalidRequest,
    LogUnavailable,
)

TIMEOUT_SECONDS = 45.0
"""Three heartbeats of a hub with default options."""

CONNECT_SECONDS = 10.0

BUFFER = 256 * 1024
"""Bytes that are read ahead from a connection."""

T = TypeVar("T")

WHOLE = 512 * 1024
"""Bytes above which a body is sent in pieces."""

SHOWN = 100
"""Bytes of an answer in a message."""

Parameters = Mapping[str, str | int | None]


class Answer(Struct, frozen=True):
    """An answer that came whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self, kind: type[T]) -> T:
        """What the body says, as a `kind`. Raises `UnexpectedAnswer`."""
        try:
            return from_json(self.body, kind)
        except InvalidEvent:
            text = self.body[:SHOWN].decode(errors="replace")
            raise UnexpectedAnswer(f"no hub answers so: {text!r}") from None


class Connection:
    """The way to one hub. Nothing is sent before the first request."""

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float = TIMEOUT_SECONDS,
        patience: float = 0.0,
        compress: bool = False,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query:
            raise InvalidRequest(f"{url!r} is not the URL of a hub: http://localhost:9000 is one")
        self._base = url.partition("#")[0].rstrip("/")
        host = parts.netloc.rpartition("@")[2]
        self.url = urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))
        """The hub's URL, without a password."""
        self._headers = {
            "User-Agent": f"eventhub/{__version__}",
            "Accept-Encoding": "gzip" if compress else "identity",
            **(headers or {}),
        }
        self.timeout = timeout
        self.patience = patience
        self._session: aiohttp.ClientSession | None = None
        self.closed = False

    async def close(self) -> None:
        """Close everything; what is under way ends with `ClientClosed`."""
        self.closed = True
        if self._session is not None:
            await self._session.close()

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Parameters | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        """Ask, and read the whole answer. Raises the error that it tells of."""

        async def ask() -> Answer:
            opened = self.open(
                method, path, params=params, headers=headers, body=body, patience=0.0
            )
            async with opened as got:
                with self._boundary(path):
                    return Answer(got.status, got.headers, await got.read())

        return await self._patiently(ask, self.patience, again=method in ("GET", "HEAD"))

    async def _patiently(
        self, ask: Callable[[], Awaitable[T]], patience: float, *, again: bool
    ) -> T:
        """Ask until `patience` is over, as long as it is sure that nothing was done.

        With `again` it does no harm to ask a second time.
        """
        deadline = time.monotonic() + patience
        backoff = Backoff(0.1, 2.0)
        while True:
            try:
                return await ask()
            except HubError as error:
                wait = backoff.next()
                if not is_passing(error, again) or time.monotonic() + wait > deadline:
                    raise
            await asyncio.sleep(wait)

    def open(
        self,
        method: str,
        path: str,
        *,
        params: Parameters | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        patience: float | None = None,
    ) -> Opened:
        """Ask; entered, it gives the answer, of which only the headers were read.

        Raises as `request`.
        """
        safe = method in ("GET", "HEAD")

        async def ask() -> aiohttp.ClientResponse:
            with self._boundary(path):
                response = await self._connected().request(
                    method,
                    self._base + path + _query(params),
                    headers=headers,
                    # Large bytes would go out in one piece, while everybody waits.
                    data=BytesIO(body) if body and len(body) > WHOLE else body,
                    allow_redirects=safe,
                )
                if response.status < 300:
                    _check_type(response, headers or {}, self.url)
                    return response
                told = await response.read()
            raise error_of(response.status, told, f"{method} {self.url}{path}")

        patience = self.patience if patience is None else patience
        return Opened(lambda: self._patiently(ask, patience, again=safe))

    async def pieces(self, response: aiohttp.ClientResponse) -> AsyncGenerator[bytes, None]:
        """The body as it comes. Raises `Disconnected` if it breaks off."""
        path = response.url.path
        while True:
            with self._boundary(path):
                piece = await response.content.readany()
            if not piece:
                return
            yield piece

    def _connected(self) -> aiohttp.ClientSession:
        if self.closed:
            raise ClientClosed("this Hub was closed")
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # Any number: each subscription holds one for as long as it lasts.
                connector=aiohttp.TCPConnector(limit=0),
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=CONNECT_SECONDS, sock_read=self.timeout
                ),
                headers=self._headers,
                cookie_jar=aiohttp.DummyCookieJar(),
                read_bufsize=BUFFER,
                max_line_size=64 * 1024,
                max_field_size=64 * 1024,
            )
        return self._session

    def _boundary(self, path: str) -> _Boundary:
        return _Boundary(self, path)


class Opened:
    """An answer while it is read. Its end waits for nothing, also when a loop shuts down."""

    # No generator: those that are open at the end are closed in any order, this one too.
    def __init__(self, ask: Callable[[], Awaitable[aiohttp.ClientResponse]]) -> None:
        self._ask = ask
        self._response: aiohttp.ClientResponse | None = None

    async def __aenter__(self) -> aiohttp.ClientResponse:
        self._response = await self._ask()
        return self._response

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._response is not None and error is not None:
            self._response.close()
        elif self._response is not None:
            self._response.release()


class Door:
    """A part of what a `Hub` can do; all of them share its connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection


class _Boundary:
    """Turns what aiohttp raises into errors of ours."""

    def __init__(self, connection: Connection, path: str) -> None:
        self._connection = connection
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not isinstance(error, (aiohttp.ClientError, OSError, RuntimeError)):
            return
        connection = self._connection
        if connection.closed:
            raise ClientClosed("this Hub was closed") from error
        if isinstance(error, RuntimeError):
            return
        reason = str(error) or type(error).__name__
        if isinstance(error, aiohttp.ClientConnectorError):
            reason = error.os_error.strerror or str(error.os_error)
            raise Unreachable(f"no hub answers at {connection.url}: {reason}") from error
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            raise Unreachable(
                f"no hub answers at {connection.url}: no connection in {CONNECT_SECONDS:g} s"
            ) from error
        if isinstance(error, aiohttp.SocketTimeoutError):
            reason = f"nothing came for {connection.timeout:g} s"
        raise Disconnected(
            f"the connection to {connection.url}{self._path} broke: {reason}"
        ) from error


def is_passing(error: HubError, again: bool) -> bool:
    """Whether an error may be gone soon; unless `again` also, that surely nothing was done."""
    if isinstance(error, Disconnected):
        return again
    if isinstance(error, Unreachable | Busy):
        return True
    if isinstance(error, IndexFailed):
        return again
    if isinstance(error, LogUnavailable):
        return True
    return error.code == "closing" or (again and error.status is not None and error.status >= 500)


def segment(text: str) -> str:
    """Text as one segment of a URL's path."""
    return quote(text, safe="")


def _check_type(response: aiohttp.ClientResponse, headers: Mapping[str, str], url: str) -> None:
    """Raise `UnexpectedAnswer` if what comes is not what was asked for."""
    wanted = headers.get("Accept", response.content_type)
    if response.content_type not in wanted:
        response.close()
        error = UnexpectedAnswer(
            f"what answers at {url} sends {response.content_type}, not {wanted}: is it a hub?"
        )
        error.status = response.status
        raise error


def _query(params: Parameters | None) -> str:
    given = [(key, value) for key, value in (params or {}).items() if value is not None]
    return "?" + urlencode(given, quote_via=quote) if given else ""
