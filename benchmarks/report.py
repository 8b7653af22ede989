"""Figures and the table that they make.

Owns what a figure is, what its goal is compared with, and how both are printed.
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
        return f"{sign} {_number(self.limit)} {self.unit or 'x'}"


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
    rows = [_HEADS, *map(_row, figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADS))]
    rows.insert(1, tuple("-" * width for width in widths))
    lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows]
    notes = [
        f"- {figure.name.partition(':')[0]}: {note}" for figure in figures for note in figure.notes
    ]
    return "\n".join([*lines, "", *notes])


def _row(figure: Figure) -> tuple[str, ...]:
    met = {True: "yes", False: "NO", None: "—"}[figure.met]
    return (
        figure.name,
        "not measured" if figure.hub is None else f"{_number(figure.hub)} {figure.unit}",
        "—" if figure.peer is None else f"{_number(figure.peer)} {figure.unit}",
        "—" if figure.ratio is None else f"{figure.ratio:.2f}",
        "—" if figure.goal is None else str(figure.goal),
        met,
    )


def _number(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"
