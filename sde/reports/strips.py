"""One-row plots beside a number: small SVG strings, without user text, coloured by the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

from sde.reports.contents import nearness
from sde.reports.number_format import number
from sde.verification.result import Entry
from sde.verification.verdicts import Verdict

WIDTH, HEIGHT, EDGE = 200.0, 26.0, 8.0
_MARGINS_SHOWN = 2.2
ROW, MOST_ROWS = 9.0, 30


class Scale:
    """Maps values to horizontal positions in a strip; values beyond the window go to its edge."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high

    def __call__(self, value: float) -> float:
        if self.beyond(value):
            return EDGE if value < self.low else WIDTH - EDGE
        return EDGE + (value - self.low) / (self.high - self.low) * (WIDTH - 2 * EDGE)

    def beyond(self, value: float) -> bool:
        """Whether the value lies outside the window."""
        return not self.low <= value <= self.high


def window(values: Sequence[float]) -> Scale:
    """A scale that shows every finite value with some room around."""
    finite = [v for v in values if math.isfinite(v) and abs(v) < 1e150] or [0.0]
    low, high = min(finite), max(finite)
    margin = 0.12 * (high - low) or 0.5 * abs(high) or 1.0
    return Scale(low - margin, high + margin)


def margin_window(verdict: Verdict) -> Scale:
    """The scale of a verdict's strip: a margin that is finite and has a width is as wide in every row."""
    low, high = verdict.margin
    half = (high - low) / 2
    if math.isfinite(half) and half > 0:
        return Scale(low + half - _MARGINS_SHOWN * half, low + half + _MARGINS_SHOWN * half)
    return window([low, high, *verdict.interval, verdict.statistic, verdict.expected])


def verdict_strip(verdict: Verdict) -> Markup:
    """Margin: a band; expected value: a tick; interval: a line (arrow: it goes on); statistic: a dot."""
    scale, middle = margin_window(verdict), HEIGHT / 2
    low, high = (0.0 if v == -math.inf else WIDTH if v == math.inf else scale(v) for v in verdict.margin)
    parts = [_rect("margin", low, 3, max(high - low, 1.5), HEIGHT - 6)]
    if math.isfinite(verdict.expected):
        parts.append(_line("expected", scale(verdict.expected), 3, scale(verdict.expected), HEIGHT - 3))
    parts += _interval(scale, verdict.interval, middle)
    parts += _dot(scale, verdict.statistic, middle)
    return _svg(parts, f"strip {verdict.verdict}")


def group_strip(verdicts: Sequence[Verdict]) -> Markup:
    """The claims of a group below each other, each as in its own strip; of many those nearest to their margin."""
    shown = sorted(verdicts, key=nearness, reverse=True)[:MOST_ROWS] if len(verdicts) > MOST_ROWS else verdicts
    parts: list[str] = []
    for k, verdict in enumerate(shown):
        scale, middle = margin_window(verdict), (k + 0.5) * ROW
        low, high = (0.0 if v == -math.inf else WIDTH if v == math.inf else scale(v) for v in verdict.margin)
        parts.append(f'<g class="{verdict.verdict}">')
        parts.append(_rect("margin", low, k * ROW, max(high - low, 1.5), ROW))
        parts += _interval(scale, verdict.interval, middle, 2)
        parts += [*_dot(scale, verdict.statistic, middle, 2.4), "</g>"]
    return _svg(parts, "strip group", ROW * max(len(shown), 1), distinct=False)


def entry_scale(entries: Sequence[Entry]) -> Scale:
    """The one scale that all rows of the equilibrium plot share; zero is always on it."""
    return window([0.0, *(v for e in entries for v in (e.at_start, e.sgd, e.gd, *e.interval))])


def entry_strip(entry: Entry, scale: Scale) -> Markup:
    """From the start (ring) to where SGD ended (dot, interval); gradient descent a diamond, zero a line."""
    middle = HEIGHT / 2
    parts = [_line("zero", scale(0.0), 0, scale(0.0), HEIGHT)]
    if math.isfinite(entry.at_start) and math.isfinite(entry.sgd):
        parts.append(_line("path", scale(entry.at_start), middle, scale(entry.sgd), middle))
    parts += _interval(scale, entry.interval, middle)
    if math.isfinite(entry.at_start):
        parts.append(f'<circle class="start" cx="{scale(entry.at_start):.1f}" cy="{middle:.1f}" r="3"/>')
    if math.isfinite(entry.gd):
        x = scale(entry.gd)
        parts.append(f'<path class="gd" d="M{x - 6:.1f} {middle:.1f}l6 -7 6 7 -6 7z"/>')
    parts += _dot(scale, entry.sgd, middle)
    return _svg(parts, "strip entry")


def axis_strip(scale: Scale) -> Markup:
    """Ticks and their values on the scale that rows share."""
    ticks = [t for t in MaxNLocator(6, steps=[1, 2, 5, 10]).tick_values(scale.low, scale.high) if not scale.beyond(t)]
    parts = [_line("rule", EDGE, 4, WIDTH - EDGE, 4)]
    for t in ticks:
        parts.append(_line("rule", scale(t), 4, scale(t), 8))
        parts.append(f'<text x="{scale(t):.1f}" y="18">{number(float(t))}</text>')
    return _svg(parts, "strip axis")


def share_strip(share: float) -> Markup:
    """A bar from 0 to 1."""
    full = WIDTH - 2 * EDGE
    parts = [_rect("whole", EDGE, 9, full, 8), _rect("part", EDGE, 9, full * min(max(share, 0.0), 1.0), 8)]
    return _svg(parts, "strip share")


def _interval(scale: Scale, interval: Sequence[float], y: float, end: float = 4) -> list[str]:
    if any(math.isnan(v) for v in interval):
        return []
    low, high = interval
    x0, x1 = scale(low), scale(high)
    parts = [_line("interval", x0, y, x1, y)]
    for value, x, way in ((low, x0, -1), (high, x1, 1)):
        if not scale.beyond(value):
            parts.append(_line("interval", x, y - end, x, y + end))
        elif (value > scale.high) == (way > 0):
            parts.append(_arrow(x, y, way))
        else:
            parts.append(_arrow(x, y, -way))
    return parts


def _dot(scale: Scale, value: float, y: float, radius: float = 3.2) -> list[str]:
    if math.isnan(value):
        return []
    if scale.beyond(value):
        return [_arrow(scale(value), y, 1 if value > scale.high else -1)]
    return [f'<circle class="dot" cx="{scale(value):.1f}" cy="{y:.1f}" r="{radius}"/>']


def _arrow(x: float, y: float, way: int) -> str:
    return f'<path class="arrow" d="M{x + 6 * way:.1f} {y:.1f}l{-8 * way} -5v10z"/>'


def _line(name: str, x0: float, y0: float, x1: float, y1: float) -> str:
    return f'<line class="{name}" x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}"/>'


def _rect(name: str, x: float, y: float, width: float, height: float) -> str:
    return f'<rect class="{name}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"/>'


def _svg(parts: list[str], name: str, height: float = HEIGHT, distinct: bool = True) -> Markup:
    body = "".join(dict.fromkeys(parts) if distinct else parts)
    return Markup(f'<svg class="{name}" viewBox="0 0 {WIDTH:.0f} {height:.0f}" aria-hidden="true">{body}</svg>')
