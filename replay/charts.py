"""Line charts as SVG text: no script, no font, nothing to load."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 960, 300
LEFT, RIGHT, TOP, BOTTOM = 8, 8, 28, 28
MOST_POINTS = 1200
TICKS = 3
THOUSAND = 1000

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Marker:
    """A point on a line; `is_entry` points up, else down."""

    time: datetime
    value: float
    is_entry: bool
    text: str


def line_chart(
    times: Sequence[datetime],
    values: Sequence[float],
    *,
    label: str,
    percent: bool = False,
    filled: bool = False,
    markers: Sequence[Marker] = (),
) -> str:
    """One line over time, with a grid; `label` is what it is called for who cannot see it."""
    at = np.asarray([time.timestamp() for time in times])
    level = np.asarray(values, dtype=np.float64)
    frame = _Frame.around(at, level)
    keep = _thinned(level)
    path = " ".join(f"{frame.x(at[i]):.1f},{frame.y(level[i]):.1f}" for i in keep)
    body = [_grid(frame), _dates(frame, times)]
    if filled:
        base = frame.y(frame.high)
        first, last = frame.x(at[0]), frame.x(at[-1])
        body.append(
            f'<polygon class="area" points="{first:.1f},{base:.1f} {path} {last:.1f},{base:.1f}"/>'
        )
    body.append(f'<polyline class="line" points="{path}"/>')
    body += [_marker(frame, marker) for marker in markers]
    body.append(_values(frame, percent=percent))
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escaped(label)}">'
        f"{''.join(body)}</svg>"
    )


def escaped(text: str) -> str:
    """Text that is safe inside an element and an attribute."""
    named = (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"))
    for plain, entity in named:
        text = text.replace(plain, entity)
    return text


@dataclass(frozen=True)
class _Frame:
    """From time and value to the places of the drawing."""

    begin: float
    end: float
    low: float
    high: float

    @staticmethod
    def around(at: Floats, level: Floats) -> _Frame:
        """The frame that shows all; a flat line lies in its middle."""
        low, high = float(level.min()), float(level.max())
        if high - low < abs(high) * 1e-12 or high == low:
            low, high = low - max(abs(low), 1.0) * 0.01, high + max(abs(high), 1.0) * 0.01
        begin, end = float(at[0]), float(at[-1])
        return _Frame(begin, max(end, begin + 1.0), low, high)

    def x(self, time: float) -> float:
        """Where a time lies."""
        share = (time - self.begin) / (self.end - self.begin)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        """Where a value lies."""
        share = (value - self.low) / (self.high - self.low)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def _thinned(level: Floats) -> list[int]:
    """Rows that draw the same picture: of each stretch its lowest and its highest."""
    count = len(level)
    if count <= MOST_POINTS:
        return list(range(count))
    edges = np.linspace(0, count, MOST_POINTS // 2 + 1).astype(int)
    keep = {0, count - 1}
    for begin, end in pairwise(edges.tolist()):
        part = level[begin:end]
        keep |= {begin + int(np.argmin(part)), begin + int(np.argmax(part))}
    return sorted(keep)


def _levels(frame: _Frame) -> list[float]:
    return [frame.low + (frame.high - frame.low) * number / TICKS for number in range(TICKS + 1)]


def _grid(frame: _Frame) -> str:
    heights = (f"{frame.y(value):.1f}" for value in _levels(frame))
    return "".join(
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>' for y in heights
    )


def _values(frame: _Frame, *, percent: bool) -> str:
    """What the lines of the grid stand for, above them, so that no width is lost on a phone."""
    return "".join(
        f'<text class="value" x="{LEFT}" y="{frame.y(value) - 4:.1f}">'
        f"{f'{value:z.1%}' if percent else _amount(value)}</text>"
        for value in _levels(frame)
    )


def _amount(value: float) -> str:
    """A level in as many digits as tell it from the others."""
    if abs(value) >= THOUSAND:
        return f"{value:,.0f}"
    return f"{value:,.2f}" if abs(value) >= 1 else f"{value:.4g}"


def _dates(frame: _Frame, times: Sequence[datetime]) -> str:
    places = ((0, "start"), (len(times) // 2, "middle"), (len(times) - 1, "end"))
    return "".join(
        f'<text x="{frame.x(times[row].timestamp()):.1f}" y="{HEIGHT - 6}" '
        f'text-anchor="{anchor}">{times[row]:%Y-%m-%d}</text>'
        for row, anchor in places
    )


def _marker(frame: _Frame, marker: Marker) -> str:
    x, y = frame.x(marker.time.timestamp()), frame.y(marker.value)
    sign, name = (1, "entry") if marker.is_entry else (-1, "exit")
    points = f"{x:.1f},{y:.1f} {x - 5:.1f},{y + 9 * sign:.1f} {x + 5:.1f},{y + 9 * sign:.1f}"
    title = f"<title>{escaped(marker.text)}</title>"
    return f'<polygon class="{name}" points="{points}">{title}</polygon>'
