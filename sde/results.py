"""What a run gives back: an `xarray.Dataset` with statistics over paths, or the paths themselves, on the save grid."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sde.ensemble import Outcome
from sde.kernels.statistics import COUNT, HIGH, LOW, M2, MEAN

if TYPE_CHECKING:
    import xarray as xr

STATISTICS = ("mean", "std", "sem", "min", "max", "q05", "q25", "q50", "q75", "q95")
QUANTILES = {"q05": 0.05, "q25": 0.25, "q50": 0.5, "q75": 0.75, "q95": 0.95}


@dataclass(frozen=True)
class Variable:
    """One output: its name, own shape, and how many observable rows it takes (row-major)."""

    name: str
    shape: tuple[int, ...]

    @property
    def rows(self) -> int:
        return int(np.prod(self.shape, dtype=int))

    @property
    def dims(self) -> tuple[str, ...]:
        return tuple(f"{self.name}_{axis}" for axis in range(len(self.shape)))


def dataset(
    outcome: Outcome,
    variables: Sequence[Variable],
    clock: np.ndarray,
    saves: np.ndarray,
    keep: str,
    attrs: Mapping[str, Any],
) -> xr.Dataset:
    """The result of a run. clock: (steps + 1,) time after each step; saves: step numbers.

    Exploded paths count in `exploded`, and in nothing else; attrs hold when the first left; kept path by path, the
    coordinate `explosion_time` holds it for each (NaN: never).
    """
    import xarray as xr  # slow to load: a program that only derives need not pay for it

    ran = outcome.died >= -1
    gone = outcome.died[ran]
    exploded = np.array([int(((gone >= 0) & (gone <= step)).sum()) for step in saves])
    block = outcome.kept[:, :, ran[: outcome.kept.shape[2]]] if keep == "paths" else _statistics(outcome)
    data, at = {}, 0
    leading = "path" if keep == "paths" else "statistic"
    for v in variables:
        rows = block[:, at : at + v.rows]
        at += v.rows
        data[v.name] = (
            (leading, "time", *v.dims),
            np.moveaxis(rows, 2, 0).reshape(rows.shape[2], len(saves), *v.shape),
        )
    data["exploded"] = ("time", exploded)
    left = np.where(gone >= 0, clock[np.maximum(gone, 0)], np.nan)
    coords: dict[str, Any] = {"time": clock[saves]}
    if keep == "paths":
        coords["path"] = np.flatnonzero(ran)
        coords["explosion_time"] = ("path", left)
    else:
        coords["statistic"] = list(STATISTICS)
    total = int((gone >= 0).sum())
    first = {"first_explosion": float(np.nanmin(left))} if total else {}
    if total:
        warnings.warn(
            f"{total} of {len(gone)} paths exploded and are left out of every statistic from then on, which biases what is left; "
            "take a smaller step, or see the count in `exploded`.",
            RuntimeWarning,
            stacklevel=4,
        )
    return xr.Dataset(data, coords, {**attrs, "paths": len(gone), "exploded_paths": total, **first})


def _statistics(outcome: Outcome) -> np.ndarray:
    """(saves, O, statistic) from merged moments and the quantiles of the kept paths."""
    s = outcome.statistics
    count = s[:, :, COUNT]
    with np.errstate(invalid="ignore", divide="ignore"):
        none = count == 0
        mean = np.where(none, np.nan, s[:, :, MEAN])
        std = np.where(count > 1, np.sqrt(s[:, :, M2] / (count - 1)), np.nan)
        columns = {
            "mean": mean,
            "std": std,
            "sem": std / np.sqrt(count),
            "min": np.where(none, np.nan, s[:, :, LOW]),
            "max": np.where(none, np.nan, s[:, :, HIGH]),
        }
    quantiles = _quantiles(outcome.kept, np.array(list(QUANTILES.values())))
    columns |= dict(zip(QUANTILES, quantiles, strict=True))
    return np.stack([columns[name] for name in STATISTICS], axis=2)


def _quantiles(kept: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Quantiles over the last axis, NaN left out: (saves, O, slots) to (len(at), saves, O). Linear between order statistics."""
    ordered = np.sort(kept, axis=2)
    count = (~np.isnan(ordered)).sum(axis=2)
    place = at[:, None, None] * np.maximum(count - 1, 0)
    below = np.floor(place).astype(np.int64)
    above = np.minimum(below + 1, np.maximum(count - 1, 0))
    if not ordered.shape[2]:
        return np.full(place.shape, np.nan)

    def pick(index: np.ndarray) -> np.ndarray:
        return np.take_along_axis(ordered[None], index[..., None], axis=3)[..., 0].astype(np.float64)

    low = pick(below)
    return low + (place - below) * (pick(above) - low)
