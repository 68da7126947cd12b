"""Charge over time: Matplotlib figures as SVG strings that can stand side by side in one page.

No user text enters a figure (titles and legends are the page's), ids carry a prefix, colours are CSS
variables with a fallback, so that a page's dark style reaches in, and the same data give the same text.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from sde.reports.number_format import number
from sde.verification.result import Curves

COLOURS = {
    "ink": "#1b2129",
    "rule": "#8a93a0",
    "theory": "#101418",
    "sgd": "#0072b2",
    "sde": "#d97706",
    "third": "#a6559a",
    "fourth": "#4aa3d8",
    "gd": "#00876c",
    "equilibrium": "#6b7483",
}
_SIZE = (3.7, 2.35)
COLUMNS = 4
"""Axes beside each other in one figure."""
STYLE: Any = {
    "svg.hashsalt": "noetherflow",
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.linewidth": 0.8,
    "xtick.color": COLOURS["ink"],
    "ytick.color": COLOURS["ink"],
    "axes.labelcolor": COLOURS["ink"],
    "axes.edgecolor": COLOURS["rule"],
    "text.color": COLOURS["ink"],
    "axes.formatter.limits": (-3, 4),
    "axes.formatter.use_mathtext": False,
}
_HUGE = 1e100


def colour_names(curves: Sequence[Curves]) -> dict[str, str]:
    """A colour's name (a key of COLOURS) for every band's label, the same on the whole page."""
    labels = list(dict.fromkeys(b.label for c in curves for b in c.bands))
    spare = iter(["third", "fourth"] * len(labels))
    names: dict[str, str] = {}
    for label in labels:
        requested = "sgd" if "sgd" in label.lower() else "sde" if "sde" in label.lower() else ""
        names[label] = requested if requested and requested not in names.values() else next(spare)
    return names


def log_time(curves: Sequence[Curves]) -> bool:
    """Whether most change is over in the first tenth of the time: a logarithmic axis shows it better."""
    early = []
    for c in curves:
        lead = c.theory if c.theory is not None else c.bands[0].mean if c.bands else None
        if lead is None or len(c.time) < 20:
            continue
        moved = np.abs(np.diff(_clean(lead)))
        total = np.nansum(moved)
        if total > 0:
            early.append(np.nansum(moved[c.time[1:] <= c.time[-1] / 10]) / total)
    return bool(early) and float(np.median(early)) > 0.9


def value_range(curves: Curves) -> tuple[float, float, bool]:
    """(low, high, cut): the vertical range to show, and whether bands that run away are cut off by it."""
    lines = [v for v in (curves.theory, curves.gd) if v is not None]
    if curves.equilibrium is not None:
        lines.append(np.array([curves.equilibrium]))
    core = _finite(lines) if _finite(lines).size else _finite([b.mean for b in curves.bands])
    every = np.concatenate([core, _finite([v for b in curves.bands for v in (b.low, b.mean, b.high)])])
    if not every.size:
        return 0.0, 1.0, False
    core = core if core.size else every
    widths = _finite([b.high - b.low for b in curves.bands])
    typical = np.ptp(core) + (np.median(widths) if widths.size else 0.0)
    low, high = float(every.min()), float(every.max())
    cut = bool(typical > 0 and high - low > 30 * typical)
    if cut:
        low, high = max(low, core.min() - 0.8 * typical), min(high, core.max() + 0.8 * typical)
    margin = max(0.06 * (high - low), 1e-6 * max(abs(low), abs(high)), 1e-12)
    return low - margin, high + margin, cut


def curve_svg(curves: Curves, names: dict[str, str], prefix: str, logarithmic: bool = False) -> str:
    """One charge from one start: bands and means of the ensembles, theory, GD dashed, equilibrium dotted.

    names: the colour's name per band label. prefix: put before every id. logarithmic: the time axis, linear
    before the first save.
    """
    with style():
        figure = Figure(figsize=_SIZE, layout="constrained")
        axes = figure.add_subplot()
        _draw(axes, curves, names, logarithmic)
        return inline(figure, prefix)


TIME = "time  t = ηk"


def curves_figure(several: Sequence[Curves], titles: Sequence[str], time: str = TIME) -> Figure:
    """The same drawing for a notebook or a paper: axes of one figure, with a legend and the titles' names. time: what
    runs along them."""
    columns = min(len(several), COLUMNS)
    rows = -(-len(several) // max(columns, 1))
    size = (6.4, 3.6) if len(several) == 1 else (3.3 * columns, 2.3 * rows + 0.5)
    names, logarithmic = colour_names(several), log_time(several)
    with style():
        figure = Figure(figsize=size, dpi=110, layout="constrained")
        for k, (curves, title) in enumerate(zip(several, titles, strict=True), start=1):
            axes = figure.add_subplot(rows, columns, k)
            _draw(axes, curves, names, logarithmic)
            axes.set_xlabel(time)
            axes.set_ylabel(title, parse_math=False)
        handles = [_handle(*item) for item in legend(several)]
        if len(several) == 1:
            figure.axes[0].legend(handles=handles, frameon=False, fontsize=8)
        else:
            figure.legend(handles=handles, frameon=False, fontsize=8, ncols=len(handles), loc="outside upper center")
    return figure


def legend(curves: Sequence[Curves]) -> list[tuple[str, str, str]]:
    """(how it is drawn, its colour's name, its label) of all that figures show."""
    items = [("line", "theory", "theory")] if any(c.theory is not None for c in curves) else []
    items += [("band", name, f"{label}: mean, 5–95 % of paths") for label, name in colour_names(curves).items()]
    if any(c.gd is not None for c in curves):
        items.append(("dashed", "gd", "gradient descent, full batch"))
    if any(c.equilibrium is not None for c in curves):
        items.append(("dotted", "equilibrium", "noise equilibrium"))
    return items


def _handle(kind: str, colour: str, label: str) -> Line2D:
    dash: Any = {"dashed": (0, (4, 1.6)), "dotted": ":"}.get(kind, "-")
    return Line2D([], [], color=COLOURS[colour], linestyle=dash, linewidth=2.6 if kind == "band" else 1.2, label=label)


@contextmanager
def style() -> Iterator[None]:
    """Matplotlib's defaults and ours, whatever the caller's are."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def _draw(axes: Axes, curves: Curves, names: dict[str, str], logarithmic: bool) -> None:
    low, high, _ = value_range(curves)
    reach = (low - (high - low), high + (high - low))

    def shown(values: np.ndarray) -> np.ndarray:
        return np.clip(_clean(values), *reach)

    time = np.asarray(curves.time, dtype=float)
    for k, band in enumerate(curves.bands):
        colour = COLOURS[names[band.label]]
        axes.fill_between(time, shown(band.low), shown(band.high), color=colour, alpha=0.13, linewidth=0)
        for edge in (band.low, band.high):
            axes.plot(time, shown(edge), color=colour, linewidth=0.8)
        axes.plot(time, shown(band.mean), color=colour, linewidth=max(4.6 - 2.0 * k, 1.4))
    if curves.equilibrium is not None and np.isfinite(curves.equilibrium):
        axes.axhline(curves.equilibrium, color=COLOURS["equilibrium"], linewidth=1.1, linestyle=":")
    if curves.gd is not None:
        axes.plot(time, shown(curves.gd), color=COLOURS["gd"], linewidth=1.5, linestyle=(0, (4, 1.6)))
    if curves.theory is not None:
        axes.plot(time, shown(curves.theory), color=COLOURS["theory"], linewidth=0.8)
    axes.set_ylim(low, high)
    axes.set_xlabel(TIME)
    axes.set_ylabel("charge")
    axes.spines[["top", "right"]].set_visible(False)
    if time.size > 1 and time[-1] > time[0]:
        first = float(time[time > 0][0])
        if logarithmic:
            axes.set_xscale("symlog", linthresh=first, linscale=0.3)
            axes.xaxis.set_major_locator(FixedLocator(_decades(first, float(time[-1]))))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
            axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlim(time[0], time[-1])


def _decades(first: float, last: float) -> list[float]:
    """Zero, the powers of ten from first to last, and last itself where it is not next to one."""
    powers = [10.0**k for k in range(math.ceil(math.log10(first)), math.floor(math.log10(last)) + 1)]
    return [0.0, *powers, *([last] if not powers or last > 2 * powers[-1] else [])]


def inline(figure: Figure, prefix: str) -> str:
    """The figure as an <svg> element of an HTML page: no prolog, style or metadata, ids prefixed."""
    buffer = io.StringIO()
    figure.savefig(
        buffer, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
    )
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", text, flags=re.DOTALL)
    head, body = text.split(">", 1)
    box = re.search(r'viewBox="[^"]*"', head)
    body = re.sub(r'(?<= )id="([^"]+)"', rf'id="{prefix}-\1"', body)
    body = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", body)
    body = re.sub(r'(?:xlink:)?href="#([^"]+)"', rf'href="#{prefix}-\1"', body)
    body = re.sub(r" ?font-family: [^;\"]*;?", "", body)
    for name, colour in COLOURS.items():
        body = body.replace(colour, f"var(--{name}, {colour})")
    return f'<svg class="figure" {box.group(0) if box else ""}>{body.strip()}'


def _clean(values: np.ndarray) -> np.ndarray:
    array = np.asarray(values, dtype=float)
    return np.where(np.isnan(array), np.nan, np.clip(array, -_HUGE, _HUGE)) if array.size else array


def _finite(parts: Sequence[np.ndarray]) -> np.ndarray:
    every = np.concatenate([np.ravel(np.asarray(p, dtype=float)) for p in parts]) if parts else np.empty(0)
    every = every[np.isfinite(every)]
    return np.clip(every, -_HUGE, _HUGE)
