"""Small plots beside each other as one SVG. Owns how they look, and no figures.

Both axes are logarithmic, with a line of the grid for each power of ten. Plots
of one column share their vertical axis, so that they can be compared.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

_WIDTH, _HEIGHT = 300, 230  # of one plot with its labels, in pixels
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 22, 46, 44  # around the field of a plot
_HEAD, _FOOT = 40, 30  # of the whole
_POINT = 3.5

_STYLE = """\
text { font: 11px system-ui, sans-serif; fill: #444 }
.title { font-size: 15px; font-weight: 600; fill: #111 }
.name { font-size: 12px; font-weight: 600; fill: #111 }
.value { fill: #0b5cad; font-weight: 600; paint-order: stroke; stroke: #fff; stroke-width: 3px }
.grid { stroke: #ddd }
.line { stroke: #0b5cad; stroke-width: 2; fill: none }
.point { fill: #0b5cad }"""


@dataclass(frozen=True)
class Panel:
    """One plot: what is up its vertical axis, with the unit, over what is along the other."""

    name: str
    across: str
    points: Sequence[tuple[float, float]]


def svg(title: str, foot: str, rows: Sequence[Sequence[Panel]]) -> str:
    """The plots in rows of the same length."""
    ups = [
        _decades([y for row in rows for _, y in row[column].points])
        for column in range(len(rows[0]))
    ]
    width = _WIDTH * len(rows[0])
    height = _HEAD + _HEIGHT * len(rows) + _FOOT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}">',
        f"<title>{escape(title)}</title>",
        f"<style>{_STYLE}</style>",
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        _text(16, 26, title, "title"),
        _text(16, height - 12, foot),
    ]
    for line, row in enumerate(rows):
        for column, panel in enumerate(row):
            at = f"translate({_WIDTH * column} {_HEAD + _HEIGHT * line})"
            parts += [f'<g transform="{at}">', *_panel(panel, ups[column]), "</g>"]
    return "\n".join([*parts, "</svg>", ""])


def _panel(panel: Panel, ups: range) -> list[str]:
    across = _decades([x for x, _ in panel.points])
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM

    def x_of(value: float) -> float:
        return _LEFT + (right - _LEFT) * _share(value, across)

    def y_of(value: float) -> float:
        return bottom - (bottom - _TOP) * _share(value, ups)

    parts = [_text(_LEFT, _TOP - 18, panel.name, "name")]
    for power in ups:
        y = y_of(10.0**power)
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{right}"/>')
        parts.append(_text(_LEFT - 6, y + 4, _short(10.0**power), anchor="end"))
    for power in across:
        x = x_of(10.0**power)
        parts.append(f'<path class="grid" d="M{x:.1f} {_TOP}V{bottom}"/>')
        parts.append(_text(x, bottom + 15, _short(10.0**power), anchor="middle"))
    parts.append(_text((_LEFT + right) / 2, bottom + 32, panel.across, anchor="middle"))
    places = [(x_of(x), y_of(y), y) for x, y in panel.points]
    line = "L".join(f"{x:.1f} {y:.1f}" for x, y, _ in places)
    parts.append(f'<path class="line" d="M{line}"/>')
    for number, (x, y, value) in enumerate(places):
        anchor = "start" if not number else "end" if number == len(places) - 1 else "middle"
        parts.append(f'<circle class="point" cx="{x:.1f}" cy="{y:.1f}" r="{_POINT}"/>')
        parts.append(_text(x, y - 8, _short(value), "value", anchor))
    return parts


def _decades(values: Sequence[float]) -> range:
    """The powers of ten from below the least value to above the greatest: at least two."""
    first = math.floor(math.log10(min(values)))
    last = math.ceil(math.log10(max(values)))
    return range(first, max(last, first + 1) + 1)


def _share(value: float, decades: range) -> float:
    """Where a value lies between the ends of an axis, from 0 to 1."""
    return (math.log10(value) - decades[0]) / (decades[-1] - decades[0])


def _short(value: float) -> str:
    """A number for a label: 1k, 2.5M, 0.13."""
    for size, name in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{name}"
    return f"{value:.3g}"


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    style = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{style}>{escape(text)}</text>'
