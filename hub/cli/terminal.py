"""What a person at a terminal sees: notes, progress, tables, sizes and ages.

Owns that none of this gets into a pipe or a file: notes and progress go to standard
error, and only if that is a terminal; colours only to a terminal, and not with
`NO_COLOR` set. `rich` is imported when something is really drawn.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.progress import Progress

_STEPS = (("d", 86_400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0))
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def is_terminal(stream: IO[Any]) -> bool:
    """Whether a person sees what is written here."""
    return stream.isatty()


def note(text: str) -> None:
    """Tell a person at a terminal something that no program needs to know."""
    if is_terminal(sys.stderr):
        click.echo(text, err=True)


def has_colours() -> bool:
    """Whether standard output takes colours, and whoever sees it wants them."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return not plain and is_terminal(sys.stdout)


def paint(text: str, **style: Any) -> str:
    """Text with colours, as `click.style` has them, if standard output takes them."""
    return click.style(text, **style) if has_colours() else text


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns, each as wide as it must be: the first to the left, others right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for number, row in enumerate([head, *rows]):
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        line = "  ".join(cells).rstrip()
        click.echo(line if number else paint(line, bold=True))


class Bar:
    """How far something is; nobody sees it without a terminal."""

    def __init__(self, drawn: Progress | None = None) -> None:
        self._drawn = drawn

    def advance(self, done: int, total: int | None = None) -> None:
        """So much more is done, of `total` if that is known by now."""
        if self._drawn is not None:
            task = self._drawn.tasks[0]
            self._drawn.update(task.id, advance=done, total=total or task.total)


@contextmanager
def progress(what: str, total: int | None = None, *, of_bytes: bool = False) -> Iterator[Bar]:
    """Draw a bar for the length of a `with`; it counts events, or bytes, and then goes away."""
    if not is_terminal(sys.stderr):
        yield Bar()
        return
    from rich import progress as rich
    from rich.console import Console

    count = rich.DownloadColumn() if of_bytes else rich.MofNCompleteColumn()
    drawn = rich.Progress(
        rich.TextColumn("{task.description}", markup=False),
        rich.BarColumn(),
        count,
        rich.TimeRemainingColumn(elapsed_when_finished=True),
        console=Console(stderr=True),
        transient=True,
        # What is printed meanwhile stands above the bar, if it goes to the same terminal.
        redirect_stdout=is_terminal(sys.stdout),
    )
    with drawn:
        drawn.add_task(what, total=total)
        yield Bar(drawn)


def count_text(number: int, noun: str) -> str:
    """A number of things, as `1 log` or `2,000 logs`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def size_text(size: int) -> str:
    """A number of bytes, as `1.2 MB`."""
    number = float(size)
    for unit in _UNITS:
        if number < 999.5 or unit == _UNITS[-1]:
            break
        number /= 1000
    return f"{number:.1f} {unit}" if unit != "B" and number < 99.95 else f"{number:.0f} {unit}"


def age_text(seconds: float) -> str:
    """How long ago something was, as `5 min`."""
    for unit, length in _STEPS:
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return "now"
