"""`hub export`: copies channels and streams into files, and what is new into those later."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import quote

import click

from hub.cli.completion import complete_names
from hub.cli.ls import Listed, listing
from hub.cli.program import FAILURE, say
from hub.cli.talking import talk, url_option
from hub.cli.terminal import Bar, count_text, progress, size_text
from hub.errors import HubError, UnknownStream
from hub.event import file_name
from hub.formats import CONTENT_TYPES, TSV

if TYPE_CHECKING:
    from hub.client.connection import Connection

BLOCK = 64 * 1024


class Differs(HubError):
    """What the file holds is not what the log begins with."""

    code = "differs"


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=complete_names)
@click.option(
    "--to",
    "directory",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Directory of the files; made if missing.",
)
@url_option
@click.pass_context
def export(context: click.Context, names: tuple[str, ...], directory: Path, url: str) -> None:
    """Copy channels and streams into files, byte for byte as the hub's own; all without NAME.

    A file that is there already is gone on with: only what is new is fetched, so that an
    export that was interrupted is simply done again. One that is not the beginning of its log
    is left alone, and told. Derived streams have no events of their own.

    \b
    Example:
      hub export --to backup
      hub export orders order/17 --to backup
    """
    failed = 0

    async def work(connection: Connection) -> None:
        nonlocal failed
        logs = [each async for each, _ in listing(connection) if not each.derived]
        known = {each.stream: each for each in logs}
        for name in names:
            if name not in known:
                raise UnknownStream(f"there is no log {name!r}: 'hub ls' lists what there is")
        chosen = [known[name] for name in names] if names else logs
        directory.mkdir(parents=True, exist_ok=True)
        total = sum(each.metadata.bytes or 0 for each in chosen)
        fetched = 0
        with progress("exporting", total, of_bytes=True) as bar:
            for each in chosen:
                path = directory / file_name(each.stream, each.format or TSV)
                try:
                    fetched += await _export(connection, each, path, bar)
                except Differs as error:
                    say(str(error))
                    failed += 1
        done = len(chosen) - failed
        exported = f"{count_text(done, 'log')} {'is' if done == 1 else 'are'} in {directory}"
        click.echo(f"{exported}, {size_text(fetched)} of it new")

    talk(url, work)
    if failed:
        context.exit(FAILURE)


async def _export(connection: Connection, log: Listed, path: Path, bar: Bar) -> int:
    """Bring a file up to date; return the bytes that are new. Raises `Differs`."""
    with open(path, "r+b" if path.exists() else "w+b") as file:
        lines, place, last = _whole_lines(file)
        place -= len(last)  # the last line comes again, to be compared
        bar.advance(place)
        end = place + len(last)
        async with aclosing(_from(connection, log, lines, place)) as pieces:
            async for piece in pieces:
                bar.advance(len(piece))
                common = min(len(last), len(piece))
                if piece[:common] != last[:common]:
                    break
                last, place = last[common:], place + common
                if not last:
                    if common < len(piece):
                        file.seek(place)
                        file.write(piece[common:])
                    place += len(piece) - common
        if last:
            raise Differs(f"{path} is not the beginning of {log.stream!r}: it is left as it is")
        file.truncate(place)  # of what was torn, perhaps more than what is new
        file.flush()
        os.fsync(file.fileno())
    return place - end


async def _from(
    connection: Connection, log: Listed, lines: int, place: int
) -> AsyncGenerator[bytes, None]:
    """The log from line `lines` on, which begins at `place`; nothing if the log is shorter."""
    path, headers = f"/{log.stream}", {"Accept": CONTENT_TYPES[TSV].partition(";")[0]}
    if log.format == TSV:
        if place:
            headers["Range"] = f"bytes={place}-"
    else:
        path = f"/streams/{quote(log.stream, safe='')}" + (f"/from/{lines}" if lines else "")
        headers = {}
    try:
        async with (
            connection.open("GET", path, headers=headers) as response,
            aclosing(connection.pieces(response)) as pieces,
        ):
            async for piece in pieces:
                yield piece
    except HubError as error:
        if error.status != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise


def _whole_lines(file: BinaryIO) -> tuple[int, int, bytes]:
    """How many whole lines a file has, where they end, and the last of them."""
    lines = place = at = 0
    file.seek(0)
    while block := file.read(BLOCK):
        lines += block.count(b"\n")
        if (end := block.rfind(b"\n") + 1) > 0:
            place = at + end
        at += len(block)
    start = max(0, place - BLOCK)
    while True:
        file.seek(start)
        text = file.read(place - start)
        begin = text.rfind(b"\n", 0, -1) + 1
        if begin or not start:
            return lines, place, text[begin:]
        start = max(0, start - BLOCK)
