"""How a command talks to a hub: which one, and what becomes of a hub that is not there.

Must not know what is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from hub.client.connection import Connection

URL = "http://localhost:9000"

T = TypeVar("T")


def url_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """The option of all commands that talk to a hub; the value is the argument `url`."""
    return click.option(
        "--url",
        envvar="HUB_URL",
        default=URL,
        show_default=True,
        show_envvar=True,
        metavar="URL",
        help="Where the hub is.",
    )(command)


def talk(url: str, work: Callable[[Connection], Awaitable[T]], *, timeout: float = 45.0) -> T:
    """Do something with a connection to the hub at `url`.

    `timeout` is the number of seconds without a byte after which it counts as broken.
    """
    from hub.client.connection import Connection
    from hub.client.errors import Unreachable

    async def run() -> T:
        connection = Connection(url, timeout=timeout)
        try:
            return await work(connection)
        finally:
            await connection.close()

    try:
        return asyncio.run(run())
    except Unreachable as error:
        raise click.ClickException(
            f"{error}; start one with 'hub serve', or say where it is with --url or HUB_URL"
        ) from error
