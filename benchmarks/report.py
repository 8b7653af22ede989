"""Figures and the tables that they make.

Owns what a figure is, what its goal is compared with, and how tables are printed.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

_HEADS = ("figure", "hub", "peer", "ratio", "goal", "met?")


@dataclass(frozen=True)
class Goal:
    """What the ratio to the peer, or with `unit` the hub's own figure, is to be."""

    limit: float
    at_least: bool
    unit: str = ""

    def met(self, value: float) -> bool:
        """Whether `value` reaches the goal."""
        return value >= self.limit if self.at_least else value <= self.limit

    def __str__(self) -> str:
        sign = "≥" if self.at_least else "≤"
        return f"{sign} {number(self.limit)} {self.unit or 'x'}"


@dataclass(frozen=True)
class Figure:
    """One line of the table. Without `hub` it was not measured, and `notes` say why."""

    name: str
    goal: Goal | None = None
    hub: float | None = None
    unit: str = ""
    peer: float | None = None
    ratio: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None without a goal or a figure."""
        if self.goal is None or self.hub is None:
            return None
        value = self.hub if self.goal.unit else self.ratio
        return None if value is None else self.goal.met(value)


def compared(
    name: str,
    unit: str,
    hub: Sequence[float],
    peer: Sequence[float],
    goal: Goal | None,
    *notes: str,
) -> Figure:
    """A figure from interleaved rounds: medians, and the median of the rounds' ratios."""
    ratios = [ours / theirs for ours, theirs in zip(hub, peer, strict=True)]
    if len(ratios) > 1:
        notes += (f"ratios of {len(ratios)} rounds: {' '.join(f'{r:.2f}' for r in ratios)}",)
    middle = statistics.median
    return Figure(name, goal, middle(hub), unit, middle(peer), middle(ratios), notes)


def table(figures: Sequence[Figure]) -> str:
    """All figures as a table, with the notes below it."""
    notes = [
        f"- {figure.name.partition(':')[0]}: {note}" for figure in figures for note in figure.notes
    ]
    return "\n".join([*_lines(_HEADS, list(map(_row, figures))), "", *notes])


@dataclass(frozen=True)
class Grid:
    """A table of its own, for what is not one figure beside that of one peer.

    `missing` says which peers are not installed, so that their rows are not there.
    """

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    def __str__(self) -> str:
        notes = [*self.notes, *(f"not measured: {each}" for each in self.missing)]
        lines = [f"{self.title}:", "", *_lines(self.heads, self.rows)]
        return "\n".join([*lines, "", *(f"- {note}" for note in notes)])


def number(value: float) -> str:
    """A value for a person: three digits, or whole if it is large."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _lines(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table."""
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    rule = ["-" * width for width in widths]
    return ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in (heads, rule, *rows)]


def _row(figure: Figure) -> tuple[str, ...]:
    met = {True: "yes", False: "NO", None: "—"}[figure.met]
    return (
        figure.name,
        "not measured" if figure.hub is None else f"{number(figure.hub)} {figure.unit}",
        "—" if figure.peer is None else f"{number(figure.peer)} {figure.unit}",
        "—" if figure.ratio is None else f"{figure.ratio:.2f}",
        "—" if figure.goal is None else str(figure.goal),
        met,
    )
