"""`hub import`: writes the events of files into channels and streams, each once."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import quote, unquote

import click

from hub.cli.commits import Commit, commits_of
from hub.cli.input import pieces_of
from hub.cli.sources import Part, Source, find, read
from hub.cli.talking import talk, url_option
from hub.cli.terminal import Bar, count_text, progress
from hub.cli.uploading import BATCH_BYTES, Broken, Form, Upload
from hub.errors import HubError, InvalidEvent
from hub.formats import NDJSON, TSV

if TYPE_CHECKING:
    from hub.client.connection import Connection


class NotEmpty(HubError):
    """The log has events that are not those of the file."""

    code = "not_empty"


@click.command("import")
@click.argument(
    "files",
    metavar="FILE...",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
)
@click.option("--as", "name", metavar="NAME", help="The log to write to, for a single file.")
@click.option("--append", is_flag=True, help="Write behind events that are there already.")
@url_option
def import_(files: tuple[Path, ...], name: str | None, append: bool, url: str) -> None:
    """Write the events of files, as 'hub export' makes them, into the logs of their names.

    Importing again doubles nothing: what the log has already of the beginning of the file is
    passed over, so that an import that was interrupted is simply done again. A log that has
    other events is left alone, unless --append says otherwise.

    Rows (.tsv) keep their ids. Documents (.ndjson) are committed, commit by commit, with
    their metadata; they get new ids, commit ids and times. For an exact copy of all, copy
    the hub's directory.

    \b
    Example:
      hub import backup/*.tsv backup/*.ndjson
      hub import orders.tsv --as copy-of-orders
    """
    if name is not None and len(files) > 1:
        raise click.UsageError("--as goes with a single file")
    for path in files:
        if path.suffix not in (f".{TSV}", f".{NDJSON}"):
            raise click.UsageError(f"{path}: the name of a log's file ends with .tsv or .ndjson")

    async def work(connection: Connection) -> None:
        total = sum(path.stat().st_size for path in files)
        with progress("importing", total, of_bytes=True) as bar:
            for path in files:
                source = await find(connection, name or unquote(path.stem))
                _check(source, path)
                with open(path, "rb") as file:
                    load = _load_rows if path.suffix == f".{TSV}" else _load_commits
                    try:
                        new, there = await load(connection, source, file, append, bar)
                    except (Broken, InvalidEvent, NotEmpty) as error:
                        raise click.ClickException(f"{path}: {error}") from error
                behind = f", behind {there:,} that were there" if there else ""
                click.echo(f"{source.name}: {count_text(new, 'event')}{behind}")

    talk(url, work)


def _check(source: Source, path: Path) -> None:
    form = path.suffix[1:]
    if form == TSV and not source.is_channel:
        raise click.ClickException(f"{path}: rows go to a channel, which {source.name!r} is not")
    if source.is_there and source.format != form:
        raise click.ClickException(
            f"{path}: {source.name!r} is there, and its format is {source.format}, not {form}"
        )


async def _load_rows(
    connection: Connection, source: Source, file: BinaryIO, append: bool, bar: Bar
) -> tuple[int, int]:
    """Send the lines of a file. Returns how many events are new, and how many were there."""
    there = 0
    async with aclosing(read(connection, source, Part(), TSV)) as pieces:
        async for piece in pieces:
            there += piece.count(b"\n")
            if append:
                continue
            bar.advance(len(piece))
            if file.read(len(piece)) != piece:
                raise NotEmpty(_not_empty(source))
    upload = Upload(connection, source.name, Form.TSV, progress=bar.advance)
    upload.lines = 0 if append else there
    async with aclosing(pieces_of(file, BATCH_BYTES)) as rest:
        await upload.send_all(rest)
    return upload.stored.count, there


async def _load_commits(
    connection: Connection, source: Source, file: BinaryIO, append: bool, bar: Bar
) -> tuple[int, int]:
    """Make the commits of a file again. Returns the same."""
    path = f"/streams/{quote(source.name, safe='')}"
    there = new = 0
    async with aclosing(commits_of(pieces_of(file, BATCH_BYTES))) as commits:
        if source.is_there:
            async for old in _old(connection, source):
                there += len(old.payloads)
                if append:
                    continue
                same = await anext(commits, None)
                if same is None or not same.is_like(old):
                    raise NotEmpty(_not_empty(source))
                bar.advance(same.size)
        try:
            async for commit in commits:
                await connection.request("POST", f"{path}/commit", body=commit.body(there + new))
                new += len(commit.payloads)
                bar.advance(commit.size)
        except HubError as error:
            raise Broken(f"{error}; {new:,} events were stored") from error
    return new, there


async def _old(connection: Connection, source: Source) -> AsyncGenerator[Commit, None]:
    """The commits that a stream has."""
    stream = Source(source.name, f"/streams/{quote(source.name, safe='')}")
    async with aclosing(commits_of(read(connection, stream, Part(), NDJSON))) as commits:
        async for each in commits:
            yield each


def _not_empty(source: Source) -> str:
    return (
        f"{source.name!r} has events that are not the beginning of it: import it with --as "
        "to another name, or with --append behind them"
    )
