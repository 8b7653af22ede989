"""`hub fold`: folds a channel or stream by an expression, and prints the state."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING

import click
import msgspec

from hub.cli.completion import complete_names
from hub.cli.following import follow
from hub.cli.output import end_with_reader, write
from hub.cli.reducers import JS, PYTHON, Reducer, language_of, make_reducer
from hub.cli.sources import Part, Source, find, find_there, read, source_options
from hub.cli.talking import talk, url_option
from hub.cli.terminal import Bar, has_colours, is_terminal, progress
from hub.formats import NDJSON, TSV

if TYPE_CHECKING:
    from hub.client.connection import Connection

IDLE_SECONDS = 0.1
"""Without events, after which a state is printed that is followed without --scan."""

MOST_SECONDS = 1.0
"""After which it is printed even so."""


@click.command()
@click.argument("expression")
@click.argument("name", shell_complete=complete_names)
@click.option(
    "--initial",
    metavar="JSON",
    default="{}",
    show_default=True,
    help="The state to begin with.",
)
@click.option("--scan", is_flag=True, help="Print the state after each event.")
@click.option("--follow", "-f", "follows", is_flag=True, help="Go on with what is added.")
@click.option(
    "--lang",
    type=click.Choice([JS, PYTHON]),
    help="What EXPRESSION is written in; by default, JavaScript if it has a '=>'.",
)
@source_options
@url_option
def fold(
    expression: str,
    name: str,
    initial: str,
    scan: bool,
    follows: bool,
    lang: str | None,
    since: str | None,
    until: str | None,
    event: str | None,
    url: str,
) -> None:
    """Fold the events of a channel or stream into a state, and print it as JSON.

    In JavaScript, EXPRESSION is a function (state, event) => newState; one that returns
    nothing has changed the state in place. An event has id, type, data (text), json (the
    data, parsed) and time (milliseconds); one of a stream also stream and metadata. It runs
    in a sandbox, as in consumers.

    In Python it is 'lambda state, event: …', or an expression of state and event; an event
    is what hub.client gives: id, event (the type), data and json() of a channel. It is not
    sandboxed: it is your own code, on your machine, with all that you may do.

    \b
    Example:
      hub fold '(n, event) => n + event.json.price' orders --initial 0
      hub fold '(s, e) => { s[e.type] = (s[e.type] ?? 0) + 1 }' orders
      hub fold 'state + len(event.data)' orders --initial 0 --scan
      hub fold -f '(n) => n + 1' _all --initial 0
    """
    if follows and until is not None:
        raise click.UsageError("--until and --follow do not go together")
    part = Part(since=since, until=until, event=event)

    async def work(connection: Connection) -> None:
        source = await (find if follows else find_there)(connection, name)
        form = TSV if source.is_channel else NDJSON

        def make() -> Reducer:
            return make_reducer(
                expression, lang or language_of(expression), initial, documents=form == NDJSON
            )

        if follows:
            end_with_reader()
            live = Part(since=since or "start", event=event)
            await _follow(follow(connection, source, live, form), make, scan)
            return
        reducer = make()
        with progress("folding", _size(source, part, form), of_bytes=True) as bar:
            await _fold(read(connection, source, part, form), reducer, scan, bar)
        if not scan:
            _show(reducer.state())

    talk(url, work)


def _size(source: Source, part: Part, form: str) -> int | None:
    """The bytes that will be read, if that is known."""
    return source.size if part == Part() and form == source.format else None


async def _fold(
    pieces: AsyncGenerator[bytes, None], reducer: Reducer, scan: bool, bar: Bar
) -> None:
    from hub.client.lines import whole_lines

    async with aclosing(whole_lines(pieces)) as chunks:
        async for chunk in chunks:
            _take(chunk, reducer, scan)
            bar.advance(len(chunk))


def _take(chunk: bytes, reducer: Reducer, scan: bool) -> None:
    """Fold whole lines; with `scan`, print the state after each."""
    lines = chunk.split(b"\n")[:-1]
    if not scan:
        reducer.fold(lines)
        return
    for line in lines:
        reducer.fold([line])
        write(reducer.state() + b"\n")


async def _follow(
    chunks: AsyncGenerator[bytes, None], make: Callable[[], Reducer], scan: bool
) -> None:
    """Fold what comes, for ever. Without `scan`, print the state when it has settled."""
    reducer = make()
    printed, began = False, time.monotonic()  # began: when the state that was printed changed
    async with aclosing(chunks):
        coming = asyncio.ensure_future(anext(chunks))
        try:
            while True:
                wait = None if scan or printed else IDLE_SECONDS
                done, _ = await asyncio.wait([coming], timeout=wait)
                if done:
                    chunk = coming.result()
                    coming = asyncio.ensure_future(anext(chunks))
                    if not chunk:  # from here on it is another log
                        reducer = make()
                    _take(chunk, reducer, scan)
                    if printed:
                        printed, began = False, time.monotonic()
                if not scan and (not done or time.monotonic() - began > MOST_SECONDS):
                    write(reducer.state() + b"\n")
                    printed = True
        finally:
            coming.cancel()
            await asyncio.wait([coming])


def _show(state: bytes) -> None:
    """Print the last state; to a person, in lines and colours."""
    if has_colours():
        from rich.console import Console

        Console().print_json(state.decode(), ensure_ascii=False)
        return
    write((msgspec.json.format(state, indent=2) if is_terminal(sys.stdout) else state) + b"\n")
