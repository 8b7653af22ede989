"""The client of a hub: everything that can be asked of one, in one class."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from hub.client.channels import Channels
from hub.client.connection import TIMEOUT_SECONDS, Connection
from hub.client.consumers import Consumers
from hub.client.folding import Folding
from hub.client.reacting import Reacting
from hub.client.streams import Streams


class Hub(Channels, Folding, Reacting, Streams, Consumers):
    """A client of the hub at `url`, as `http://localhost:9000`, perhaps with a path.

    `headers` go with every request, for a proxy that asks for a token. `timeout` is
    the number of seconds without a byte after which a connection counts as broken:
    three of the hub's heartbeats. `patience` is the number of seconds for which a
    request is tried again that cannot have been done: while the hub is not there, is
    busy or is shutting down. With `compress`, histories travel in gzip, which pays on
    slow networks only.

    Nothing is sent before the first call. It belongs to one event loop; any number of
    tasks may use it at once. Close it, by `async with` or `close`. Every error is a
    `HubError` with a `code` and, if the hub answered, a `status`.

    Example::

        async with Hub(hub.url, patience=10) as another:
            await another.publish("orders", {"item": "tea"}, event="placed")
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float = TIMEOUT_SECONDS,
        patience: float = 0.0,
        compress: bool = False,
    ) -> None:
        super().__init__(
            Connection(url, headers=headers, timeout=timeout, patience=patience, compress=compress)
        )

    @property
    def url(self) -> str:
        """The hub's URL, without a password."""
        return self._connection.url

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def health(self) -> dict[str, Any]:
        """What the hub says of itself: `status`, `version`, `uptime` in seconds, counts.

        With `Hub(…, patience=seconds)` it waits until the hub is there.

        Example::

            assert (await hub.health())["status"] == "ok"
        """
        answer = await self._connection.request("GET", "/health")
        return answer.json(dict[str, Any])

    async def close(self) -> None:
        """Close every connection; what is under way ends with `ClientClosed`.

        More than once does no harm.
        """
        await self._connection.close()
