"""`hub cat`: prints the history of channels and streams, as it is."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

import click

from hub.cli.completion import complete_names
from hub.cli.output import end_with_reader, write
from hub.cli.sources import Part, find_there, read, source_options
from hub.cli.talking import talk, url_option
from hub.formats import NDJSON, TSV

if TYPE_CHECKING:
    from hub.client.connection import Connection


@click.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=complete_names)
@source_options
@click.option("--tail", "-n", type=click.IntRange(1), metavar="N", help="The last N of these.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="The first N of these.")
@click.option("--json", "form", flag_value=NDJSON, help="As JSON documents, one a line.")
@click.option("--tsv", "form", flag_value=TSV, help="As lines of id, type and data.")
@url_option
def cat(
    names: tuple[str, ...],
    since: str | None,
    until: str | None,
    event: str | None,
    tail: int | None,
    limit: int | None,
    form: str | None,
    url: str,
) -> None:
    """Print the history of channels or streams, byte for byte as in their files.

    NAME is a channel, a stream, or a view: _all, category/order, 'join?streams=a,b',
    'query?types=Paid'. A file holds lines of id, type and data, separated by tabs, if
    the log is a channel's, or JSON documents; a view holds documents.

    \b
    Example:
      hub cat orders | cut -f3 | jq .item
      hub cat orders --event placed --since 2026-11-20 --json
      hub cat _all --tail 10
    """
    if tail is not None and limit is not None:
        raise click.UsageError("--tail and --limit do not go together: give one of them")
    part = Part(since, until, event, tail, limit)

    async def work(connection: Connection) -> None:
        end_with_reader()
        for name in names:
            source = await find_there(connection, name)
            async with aclosing(read(connection, source, part, form or source.format)) as pieces:
                async for piece in pieces:
                    write(piece)

    talk(url, work)
