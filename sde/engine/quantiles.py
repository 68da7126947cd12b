"""Quantiles over any number of paths: exact for few, from counts in bins for many, with the error that is certain.

A sample of paths spread over the ensemble fixes the bins of every (save, observable): centred at its median and scaled
by half its interquartile range, so that what is resolved is the spread of the values, wherever they lie. The counts
then hold all paths.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np

from sde.engine.scratch import SCRATCH
from sde.kernels.statistics import quantile_bins

TABLE_BYTES = 32 * 2**20
"""What a table of counts should take at most; with very many saves bins grow coarser, to 2**-5 of a scale, before it
takes more."""

SLAB, TOGETHER = 32, 4096
"""Cells whose counts are added up at once, and whose quantiles are found at once."""
EPS = float(np.finfo(np.float64).eps)
SAMPLE = 128
"""Paths of each pilot chunk that the bins are fixed by."""


Counts = tuple[np.ndarray, np.ndarray]
"""Where a table of counts is not 0, as places in it laid flat, and what is there."""


@dataclass(frozen=True)
class Layout:
    """Where bins lie. centre, scale: (cells,) of the run's number type; bits: bins are 2**-bits scales wide near the
    centre."""

    centre: np.ndarray
    scale: np.ndarray
    bits: int

    @property
    def inverse(self) -> np.ndarray:
        return (1 / self.scale).astype(self.scale.dtype)


def bits_for(cells: int) -> int:
    """How finely bins are cut, from the number of cells alone."""
    return 6 if cells * (2 * (quantile_bins.OCTAVES << 6) + 1) * 4 <= TABLE_BYTES else 5


def lay_out(sample: np.ndarray, bits: int, centre: float = 0.0, scale: float = 0.0) -> Layout:
    """Bins for cells whose values are like sample (cells, n), not finite where there is none. centre, scale: for cells
    whose sample says nothing."""
    dtype = sample.dtype
    ordered = np.sort(_finite(sample), axis=1).astype(np.float64)
    count = (~np.isnan(ordered)).sum(axis=1)

    cells = np.arange(len(sample))

    def at(q: float) -> np.ndarray:
        index = np.floor(q * np.maximum(count - 1, 0)).astype(np.int64)
        return ordered[cells, index] if ordered.shape[1] else np.full(len(sample), np.nan)

    median = at(0.5)
    middle = np.where(np.isfinite(median), median, centre)
    size = np.zeros(len(sample))
    with np.errstate(invalid="ignore", over="ignore"):
        for low, high, share in ((0.25, 0.75, 0.5), (0.05, 0.95, 0.2), (0.0, 1.0, 0.1)):
            width = (at(high) - at(low)) * share
            size = np.where((size > 0) | ~np.isfinite(width), size, width)
    limit = float(np.finfo(dtype).max) / 1e3
    fallback = scale if scale > 0 else np.maximum(np.abs(middle), 1e-3) * 2.0**-10
    size = np.where(size > 0, size, fallback)
    size = np.clip(np.maximum(size, np.abs(middle) * 2 * np.finfo(dtype).eps), 1 / limit, limit)
    return Layout(middle.astype(dtype), size.astype(dtype), bits)


def quantiles(
    counts: Callable[[slice], np.ndarray], layout: Layout, low: np.ndarray, high: np.ndarray, at: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Quantiles `at` of every cell (len(at), cells), and how far at the most each can lie from the exact one of the
    same values.

    counts(some): (cells, bins + 1) int64 of some cells; low, high: (cells,) least and greatest value. Exact order
    statistics lie in known bins, whose edges the kernel's rounding blurs by a few units in the last place; inside a bin
    they are taken as evenly spread. Linear between order statistics, as `numpy.quantile`, whose own rounding in the
    run's number type is within the bound too.
    """
    eps, cells, edges = float(np.finfo(layout.centre.dtype).eps), len(layout.centre), quantile_bins.edges(layout.bits)
    last, places = np.empty(cells, np.int64), np.empty((len(at), 2, 3, cells), np.int64)
    for first in range(0, cells, SLAB):
        some = slice(first, first + SLAB)
        last[some], places[..., some] = _places(counts(some)[:, :-1], at)
    centre, inverse, low, high = (np.asarray(a, dtype=np.float64) for a in (layout.centre, layout.inverse, low, high))
    found, error = np.empty((2, len(at), cells))
    for first in range(0, cells, TOGETHER):
        some = slice(first, first + TOGETHER)
        of = (last[some], edges, centre[some], inverse[some], low[some], high[some])
        found[:, some], error[:, some] = _quantiles(places[..., some], *of, np.asarray(at, np.float64)[:, None], eps)
    return found, error


def _places(counts: np.ndarray, at: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """The greatest rank of each cell with these counts (cells, bins); and for each quantile's lower and upper order
    statistic its bin, how many values lie before that bin, and how many up to its end, (len(at), 2, 3, cells)."""
    cells, bins = counts.shape
    ends = np.cumsum(counts)  # through all cells, so that one search does for all
    total = ends[bins - 1 :: bins]
    before = np.append(0, total[:-1])
    last = total - before - 1
    floor = np.floor(np.multiply.outer(np.asarray(at, float), np.maximum(last, 0)))
    ranks = np.stack([floor, np.minimum(floor + 1, last)], axis=1).astype(np.int64)
    found = np.searchsorted(ends, before + np.maximum(ranks, 0), side="right")
    found = np.minimum(found, bins * np.arange(1, cells + 1) - 1)
    ends = np.append(ends, 0)  # before the first is nothing
    return last, np.stack([found % bins, ends[found - 1] - before, ends[found] - before], axis=2)


def _quantiles(
    places: np.ndarray,
    last: np.ndarray,
    edges: np.ndarray,
    centre: np.ndarray,
    inverse: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    at: np.ndarray,
    eps: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Quantiles `at` (K, 1) of cells from the `places` (K, 2, 3, cells) of their order statistics, (K, cells). last:
    the greatest rank; edges: in scales; eps: of the number type that the bins were found in, from x - centre, its
    product with inverse, and that plus 1, each rounded."""
    position = at * np.maximum(last, 0)
    floor, value, sides = np.floor(position), [], []
    low, high = np.where(last >= 0, low, 0.0), np.where(last >= 0, high, 0.0)
    for side, rank in enumerate((floor, np.minimum(floor + 1, last))):
        bins, before, end = (places[:, side, k] for k in range(3))
        inside = (rank - before + 0.5) / np.maximum(end - before, 1)
        with np.errstate(over="ignore", invalid="ignore"):
            cut = [edges[bins + k] / inverse for k in (0, 1)]
            left, right = (np.clip(centre + edge, low, high) for edge in cut)
            value.append(_between(left, right, inside))
            blur = [4 * eps * (np.abs(edge) + 1 / inverse) + 4 * EPS * np.abs(centre) for edge in cut]
            sides.append((np.maximum(centre + cut[0] - blur[0], low), np.minimum(centre + cut[1] + blur[1], high)))
    found = _between(value[0], value[1], position - floor)
    left, right = sides[0][0], sides[1][1]
    with np.errstate(over="ignore"):
        size = np.where(right > left, np.maximum(np.abs(left), np.abs(right)), 0.0)
        rounding = eps * (0.51 * size + (right - left))
        error = 1.0001 * np.maximum(found - left, right - found) + rounding
    return np.where(last >= 0, found, np.nan), np.where(last >= 0, error, np.nan)


def _between(left: np.ndarray, right: np.ndarray, share: np.ndarray) -> np.ndarray:
    """left + share (right - left), where right - left may not be a number."""
    with np.errstate(over="ignore", invalid="ignore"):
        found = left + (right - left) * share
        return np.where(np.isfinite(found), found, left * (1 - share) + right * share)


def exact(rows: np.ndarray, at: Sequence[float]) -> np.ndarray:
    """Quantiles of rows (cells, n), which are put in order, what is not finite left out: (len(at), cells). Linear
    between order statistics."""
    ordered = _finite(rows)
    ordered.sort(axis=1)
    if not ordered.shape[1]:
        return np.full((len(at), len(rows)), np.nan)
    whole = ordered is rows
    count = rows.shape[1] if whole else (~np.isnan(ordered)).sum(axis=1)
    position = np.asarray(at)[:, None] * np.maximum(count - 1, 0)
    below = np.floor(position).astype(np.int64)

    def pick(index: np.ndarray) -> Any:
        if whole:
            return ordered[:, index[:, 0]].T.astype(np.float64)
        return np.take_along_axis(ordered[None], index[..., None], axis=2)[..., 0].astype(np.float64)

    return _between(pick(below), pick(np.minimum(below + 1, np.maximum(count - 1, 0))), position - below)


def _finite(rows: np.ndarray) -> np.ndarray:
    """The same with NaN for what is not finite."""
    finite = np.isfinite(rows)
    return rows if finite.all() else np.where(finite, rows, rows.dtype.type(np.nan))


class Sketch:
    """Quantiles of cells (cells,) over chunks of paths. Threads may add at once; nothing depends on the order in which
    they do.

    pilots: the chunks whose values fix the bins; empty: hold all values and be exact. tables: how many tables threads
    share.
    """

    def __init__(
        self, cells: int, dtype: Any, pilots: frozenset[int], tables: int, centre: float = 0.0, scale: float = 0.0
    ) -> None:
        self.cells, self.dtype, self.pilots = cells, np.dtype(dtype), pilots
        self.bits, self.centre, self.scale = bits_for(cells), centre, scale
        self.layout: Layout | None = None
        self.held: dict[int, np.ndarray] = {}
        self._lock, self._locks = Lock(), [Lock() for _ in range(tables)]
        self._tables: list[np.ndarray | None] = [None] * tables
        self._counted = [0] * tables
        self._total: np.ndarray | None = None

    def add(self, chunk: int, rows: np.ndarray, valid: int) -> None:
        """Take in columns 0..valid-1 of rows (cells, n): copied, or counted."""
        with self._lock:
            ready = {chunk: rows}
            if self.layout is None:
                self.held[chunk] = SCRATCH.take((len(rows), valid), rows.dtype)
                self.held[chunk][:] = rows[:, :valid]
                if not self.pilots or not self.pilots <= self.held.keys():
                    return
                self.lay_out()
                ready, self.held = self.held, {}
        for index, values in ready.items():
            self._count(index, values, valid if values is rows else values.shape[1])
            if values is not rows:
                SCRATCH.give(values)

    def merge(self, other: Sketch) -> None:
        """Take in the chunks of another sketch of the same cells and pilots; no thread may add meanwhile."""
        if other.layout is not None:
            layout = self.layout = self.layout or other.layout
            assert np.array_equal(layout.centre, other.layout.centre), "bins follow from the pilots alone"
            self._total = self.table + other.table
            self._tables = [None for _ in self._tables]
            waiting, self.held = self.held, {}
        else:
            waiting = {}
        for chunk, rows in {**waiting, **other.held}.items():
            self.add(chunk, rows, rows.shape[1])

    def lay_out(self) -> None:
        """Fix the bins by the pilots."""
        sample = np.concatenate([self.held[i][:, :SAMPLE] for i in sorted(self.pilots)], axis=1)
        self.layout = lay_out(sample, self.bits, self.centre, self.scale)
        quantile_bins.load(self.dtype)

    def adopt(self, layout: Layout) -> None:
        """Take bins that another sketch of the same cells has fixed."""
        self.layout = layout
        quantile_bins.load(self.dtype)

    def take(self, counts: Counts) -> None:
        """Take in what another sketch with these bins has counted."""
        where, number = counts
        with self._lock:
            if self._total is None:
                self._total = quantile_bins.empty(self.cells, self.bits).astype(np.int64)
            self._total.reshape(-1)[where] += number

    def drain(self) -> Counts:
        """What has been counted, and begin anew; no thread may add meanwhile."""
        flat = self.table.reshape(-1)
        where = np.flatnonzero(flat)
        self._total, self._tables = None, [None for _ in self._tables]
        self._counted = [0 for _ in self._tables]
        fits = np.uint16 if len(where) and flat[where].max() < 2**16 else np.int64
        return where.astype(np.uint32 if flat.size < 2**32 else np.int64), flat[where].astype(fits)

    def _count(self, chunk: int, rows: np.ndarray, valid: int) -> None:
        assert self.layout is not None
        which, most = chunk % len(self._tables), quantile_bins.MOST
        with self._locks[which]:
            for first in range(0, valid, most):
                some = min(valid - first, most)
                if self._counted[which] + some > most:
                    self._spill(which)
                table = self._tables[which]
                if table is None:
                    table = self._tables[which] = quantile_bins.empty(self.cells, self.bits)
                self._counted[which] += some
                part = rows if valid <= most else np.ascontiguousarray(rows[:, first : first + some])
                quantile_bins.count(part, some, self.layout.centre, self.layout.inverse, self.bits, table)

    def _spill(self, which: int) -> None:
        """Empty a table into the total, before its counts pass what it holds."""
        table, self._counted[which] = self._tables[which], 0
        if table is not None:
            with self._lock:
                if self._total is None:
                    self._total = table.astype(np.int64)
                else:
                    self._total += table
            table[:] = 0

    @property
    def table(self) -> np.ndarray:
        """All counts together, (cells, bins + 1) int64; no thread may add meanwhile."""
        return self.counts(slice(None))

    def counts(self, some: slice) -> np.ndarray:
        """Those of some cells."""
        tables = [table[some] for table in (self._total, *self._tables) if table is not None]
        first = tables[0] if tables else quantile_bins.empty(len(range(self.cells)[some]), self.bits)
        total = first.astype(np.int64)
        for table in tables[1:]:
            total += table
        return total

    def quantiles(self, at: Sequence[float], low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Quantiles (len(at), cells) and the most that each may be off, 0 where all values are held; low, high:
        (cells,) extremes."""
        if self.layout is not None:
            return quantiles(self.counts, self.layout, low, high, at)
        rows = [self.held[i] for i in sorted(self.held)] or [np.empty((self.cells, 0), self.dtype)]
        found = exact(np.concatenate(rows, axis=1), at)
        return found, np.where(np.isnan(found), np.nan, 0.0)

    def state(self) -> dict[str, np.ndarray]:
        """All of it as arrays; no thread may add meanwhile."""
        out = {f"held{i}": rows for i, rows in self.held.items()}
        if self.layout is not None:
            out |= {"centre": self.layout.centre, "scale": self.layout.scale, "table": self.table}
        return out

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Back to what `state` gave."""
        self.held = {int(k[4:]): v for k, v in state.items() if k.startswith("held")}
        if "table" in state:
            self.layout = Layout(state["centre"], state["scale"], self.bits)
            self._total = np.array(state["table"], dtype=np.int64)
            quantile_bins.load(self.dtype)
