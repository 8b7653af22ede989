"""`hub tail`: prints the last events of channels and streams, and follows them."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import click

from hub.cli.completion import complete_names
from hub.cli.following import follow
from hub.cli.output import end_with_reader, write
from hub.cli.sources import Part, Source, find, find_there, read
from hub.cli.talking import talk, url_option
from hub.cli.terminal import note
from hub.errors import UnknownStream
from hub.formats import NDJSON

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from hub.client.connection import Connection

LINES = 10


@click.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=complete_names)
@click.option("--follow", "-f", "follows", is_flag=True, help="Go on with what is added.")
@click.option(
    "--lines",
    "-n",
    type=click.IntRange(0),
    metavar="N",
    help=f"How many of the last events; {LINES} by default, or all that are new with --since.",
)
@click.option(
    "--since",
    metavar="ID",
    help="Only events behind this one: an id, a time as 2026-11-20T11:40Z, or 'start'; of a "
    "stream that is no channel, a revision or position.",
)
@click.option("--event", metavar="TYPE", help="Only events of this type.")
@click.option("--json", "as_json", is_flag=True, help="As JSON documents, one a line.")
@url_option
def tail(
    names: tuple[str, ...],
    follows: bool,
    lines: int | None,
    since: str | None,
    event: str | None,
    as_json: bool,
    url: str,
) -> None:
    """Print the last events of channels or streams, and with -f what is added, as it comes.

    NAME is as for 'hub cat'. Events come as they stand in the file, with --json as documents;
    of several names, each line begins with the name and a tab. Following goes on through
    restarts of the hub and misses nothing; Ctrl-C ends it.

    \b
    Example:
      hub tail -f orders
      hub tail -n 1 orders payments
      hub tail -f _all --since 0 | jq .payload
    """
    if since is not None and lines is not None:
        if follows:
            raise click.UsageError("--since and --lines do not go together with --follow")
    elif since is None and lines is None:
        lines = LINES
    part = Part(since=since, event=event, tail=lines)

    async def work(connection: Connection) -> None:
        end_with_reader()
        sources = [await (find if follows else find_there)(connection, name) for name in names]
        tasks = []
        for each in sources:
            if not each.is_there:
                if not each.is_channel:
                    raise UnknownStream(f"there is no stream {each.name!r}")
                note(f"hub: channel {each.name!r} has no events yet")
            form = NDJSON if as_json else each.format
            if follows:
                tasks.append(_print(follow(connection, each, part, form), each, names))
            elif lines != 0:
                await _print(read(connection, each, part, form), each, names)
        await asyncio.gather(*tasks)

    talk(url, work)


async def _print(
    pieces: AsyncGenerator[bytes, None], source: Source, names: tuple[str, ...]
) -> None:
    from hub.client.lines import whole_lines

    if len(names) == 1:
        async with aclosing(pieces):
            async for piece in pieces:
                write(piece)
        return
    prefix = source.name.encode() + b"\t"
    async with aclosing(whole_lines(pieces)) as chunks:
        async for chunk in chunks:
            write(prefix + chunk[:-1].replace(b"\n", b"\n" + prefix) + b"\n")
