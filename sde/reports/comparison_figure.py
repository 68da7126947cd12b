"""Weak errors against the learning rate, on logarithmic axes, with the slopes that theory states."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from sde.reports.figures import COLOURS, STYLE
from sde.storage.files import write_figure

if TYPE_CHECKING:
    import xarray as xr

MOST_PANELS = 12
_COLUMNS = 3
_LINES = {"order-1": ("sde", "order-1 SDE", "o"), "order-2": ("gd", "order-2 SDE", "s"), "svag": ("third", "SVAG", "^")}


def comparison_figure(found: xr.Dataset) -> Figure:
    """A panel for each observable that differs from SGD's, the first MOST_PANELS of them: |difference| with its 95 %
    interval, hollow where that holds 0, and guides through the least rate whose difference is twice
    its interval."""
    differing = [i for i in range(found.sizes["observable"]) if np.any(found.error.values[i] > 0)][:MOST_PANELS]
    columns = min(_COLUMNS, max(len(differing), 1))
    rows = -(-max(len(differing), 1) // columns)
    with matplotlib.rc_context(STYLE):
        figure: Any = Figure(figsize=(3.6 * columns, 3.1 * rows), layout="constrained")
        for place, i in enumerate(differing):
            axes = figure.add_subplot(rows, columns, place + 1)
            _panel(axes, found.isel(observable=i))
            if place == 0:
                axes.legend(fontsize=7, frameon=False)
    return figure


def write_comparison(path: str | Path, found: xr.Dataset) -> Path:
    """Draw a comparison; the file's ending says the format."""
    figure = comparison_figure(found)
    with matplotlib.rc_context(STYLE):
        return write_figure(path, figure)


def _panel(axes: Any, one: xr.Dataset) -> None:
    rates, least = one.learning_rate.values, np.inf
    for m, model in enumerate(map(str, one.model.values)):
        colour, label, marker = _LINES[model]
        size, error = np.abs(one.difference.values[m]), 1.96 * one.error.values[m]
        shown = size > 0
        if not shown.any():
            continue
        clear = shown & (size > error)
        bars = np.array([np.minimum(error, 0.9 * size), error])
        style: Any = {"color": COLOURS[colour], "ms": 4, "capsize": 2, "lw": 1, "fmt": marker}
        axes.errorbar(rates[clear], size[clear], bars[:, clear], label=label, **style)
        vague = shown & ~clear
        axes.errorbar(rates[vague], size[vague], bars[:, vague], mfc="none", alpha=0.6, **style)
        guided = np.flatnonzero(shown & (size > 2 * error))
        if len(guided):
            first = int(guided[-1])
            order = int(one.order.values[m])
            guide = size[first] * (rates / rates[first]) ** order
            axes.plot(
                rates, guide, ":", color=COLOURS[colour], lw=1, label=f"slope {order}" if model != "svag" else None
            )
            least = min(least, float(guide.min()))
    own = float(one.attrs["learning_rate"])
    axes.axvline(own, color=COLOURS["rule"], lw=0.8, ls="--")
    axes.set(xscale="log", yscale="log", xlabel="learning rate", ylabel="|difference of means|")
    axes.set_xticks(rates, [f"{r:.2g}" for r in rates], rotation=30)
    axes.set_xticks([], minor=True)
    if np.isfinite(least):
        axes.set_ylim(bottom=least / 3)
    axes.set_title(str(one.observable.values).replace("$", r"\$"), fontsize=9)
