"""`hub ls`: lists channels and streams, with what is in them."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, Any

import click
import msgspec
from msgspec import Struct

from hub.cli.output import write
from hub.cli.talking import talk, url_option
from hub.cli.terminal import age_text, is_terminal, print_table, size_text

if TYPE_CHECKING:
    from hub.client.connection import Connection

PAGE = 1000


class Facts(Struct, rename="camel"):
    """What the hub tells of a log; of a derived stream, nothing."""

    bytes: int | None = None
    last_id: str = ""
    last_time: int | None = None  # milliseconds since 1970


class Listed(Struct):
    """A channel or stream in the list."""

    stream: str
    version: int
    format: str | None = None
    closed: bool = False
    derived: bool = False
    metadata: Facts = msgspec.field(default_factory=Facts)

    @property
    def kind(self) -> str:
        """The format of its file, or `derived`; and whether it is closed."""
        kind = "derived" if self.derived else self.format or ""
        return f"{kind} closed" if self.closed else kind


_KEYS: dict[str, Callable[[Listed], Any]] = {
    "name": lambda each: each.stream,
    "events": lambda each: -each.version,
    "size": lambda each: -(each.metadata.bytes or 0),
    "last": lambda each: -(each.metadata.last_time or 0),
}


@click.command()
@click.option("--prefix", metavar="TEXT", default="", help="Only names that begin like this.")
@click.option(
    "--sort",
    type=click.Choice(list(_KEYS)),
    default="name",
    show_default=True,
    help="What stands first: the most events or bytes, or what was written last.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="As the hub tells it, one JSON object a line."
)
@url_option
def ls(prefix: str, sort: str, as_json: bool, url: str) -> None:
    """List channels and streams: name, events, size, time since the last event, format.

    In a pipe, lines of name, events, bytes, id of the last event and format, separated by tabs.

    \b
    Example:
      hub ls --sort last
      hub ls --prefix order- | cut -f1
      hub ls --json | jq 'select(.derived)'
    """
    key = _KEYS[sort]

    async def work(connection: Connection) -> list[tuple[Listed, bytes]]:
        return [each async for each in listing(connection, prefix)]

    found = talk(url, work)
    found.sort(key=lambda each: key(each[0]))
    if as_json:
        write(b"".join([raw + b"\n" for _, raw in found]))
    elif is_terminal(sys.stdout):
        now = time.time()
        rows = [_row(each, now) for each, _ in found]
        print_table(("NAME", "EVENTS", "SIZE", "LAST", "FORMAT"), rows)
    else:
        write("".join([_line(each) for each, _ in found]).encode())


async def listing(
    connection: Connection, prefix: str = ""
) -> AsyncGenerator[tuple[Listed, bytes], None]:
    """Every channel and stream in the order of the names, also as JSON as it came."""
    after = ""
    while True:
        params = {"prefix": prefix, "after": after or None, "limit": PAGE}
        told = await connection.request("GET", "/streams", params=params)
        page = msgspec.json.decode(told.body, type=dict[str, list[msgspec.Raw]])["streams"]
        for raw in page:
            listed = msgspec.json.decode(raw, type=Listed)
            yield listed, bytes(raw)
            after = listed.stream
        if len(page) < PAGE:
            return


def _row(each: Listed, now: float) -> tuple[str, ...]:
    facts = each.metadata
    size = "" if facts.bytes is None else size_text(facts.bytes)
    last = "" if facts.last_time is None else age_text(now - facts.last_time / 1000)
    return each.stream, f"{each.version:,}", size, last, each.kind


def _line(each: Listed) -> str:
    facts = each.metadata
    size = "" if facts.bytes is None else facts.bytes
    return f"{each.stream}\t{each.version}\t{size}\t{facts.last_id}\t{each.kind}\n"
