"""Figures of results: one look, colours that follow a page's style."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from sde.reports.figures import COLOURS as COLOURS


def panels(count: int = 1, *, width: float = 4.2, height: float = 2.9) -> tuple[Figure, list[Any]]:
    """A figure with so many axes beside each other."""
    figure = Figure(figsize=(width * count, height), layout="constrained")
    return figure, [figure.add_subplot(1, count, k + 1) for k in range(count)]


def band(axes: Any, time: np.ndarray, values: np.ndarray, label: str, colour: str) -> None:
    """Mean and 5 to 95 % of paths (paths, times). colour: a key of COLOURS."""
    low, high = np.nanquantile(values, [0.05, 0.95], axis=0)
    axes.fill_between(time, low, high, color=COLOURS[colour], alpha=0.2, lw=0)
    axes.plot(time, np.nanmean(values, axis=0), color=COLOURS[colour], lw=1.2, label=label)


def theory(axes: Any, x: np.ndarray, y: np.ndarray, label: str = "theory", dashes: str = "--") -> None:
    """A prediction."""
    axes.plot(x, y, dashes, color=COLOURS["theory"], lw=1.2, label=label)


def labels(axes: Any, x: str, y: str, **more: Any) -> None:
    """Names of the axes, a legend, and whatever else `set` takes."""
    axes.set(xlabel=x, ylabel=y, **more)
    axes.legend(frameon=False, fontsize=8)


def points(axes: Any, x: np.ndarray, y: np.ndarray, label: str, colour: str) -> None:
    """A measurement by its points. colour: a key of COLOURS."""
    axes.plot(x, y, "o", ms=3, color=COLOURS[colour], label=label or None)
