"""Quantiles from counts: within the error that is stated, the same in any order and on any threads, exact for few
paths."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sde.engine.quantiles import Sketch, bits_for
from sde.kernels.statistics import quantile_bins

AT = [0.05, 0.25, 0.5, 0.75, 0.95]
RNG = np.random.default_rng(0)
LAWS = {
    "normal": RNG.normal(size=40_000),
    "narrow and far": 1e6 + 1e-3 * RNG.normal(size=40_000),
    "lognormal": np.exp(3 * RNG.normal(size=40_000)),
    "cauchy": RNG.standard_cauchy(40_000),
    "two wells": RNG.choice([-1.0, 1.0], 40_000) + 1e-3 * RNG.normal(size=40_000),
    "mostly zero": RNG.normal(size=40_000) * (RNG.random(40_000) < 0.3),
    "one outlier": np.append(RNG.normal(size=39_999), 1e17),
    "tiny": 1e-20 * RNG.exponential(size=40_000),
    "in order": np.linspace(-3, 5, 40_000),
    "constant": np.full(40_000, 0.1),
}


def sketched(values: np.ndarray, chunk: int = 1000, order: Any = None, tables: int = 2) -> Sketch:
    n = len(values) // chunk
    out = Sketch(1, values.dtype, frozenset({0, n // 4, n // 2, 3 * n // 4}), tables)
    for i in order if order is not None else range(n):
        out.add(i, values[None, i * chunk : (i + 1) * chunk], chunk)
    return out


def extremes(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.array([np.nanmin(values)], float), np.array([np.nanmax(values)], float)


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_quantiles_are_within_the_error_stated(name: str, dtype: str) -> None:
    """The bound always; that it is small, under 7 % of the spread of the middle half, wherever the law is spread like
    its sample."""
    values = LAWS[name].astype(dtype)
    found, error = (a[:, 0] for a in sketched(values).quantiles(AT, *extremes(values)))
    exact = np.quantile(values.astype(float), AT)
    assert (np.abs(found - exact) <= error + 1e-15 * np.abs(exact)).all()
    spread = max(exact[3] - exact[1], (exact[4] - exact[0]) / 8)
    if name != "lognormal":
        assert error.max() <= 0.07 * spread
    assert error[1:4].max() <= 0.03 * spread


def test_the_stated_error_is_not_loose_by_orders() -> None:
    """A sketch whose bins were mislabelled by one would miss the bound."""
    values = LAWS["normal"]
    made = sketched(values)
    _, error = made.quantiles(AT, *extremes(values))
    assert made.layout is not None
    made.layout = type(made.layout)(made.layout.centre + 3 * error.max(), made.layout.scale, made.layout.bits)
    shifted, bound = made.quantiles(AT, *extremes(values))
    assert (np.abs(shifted[:, 0] - np.quantile(values, AT)) > bound[:, 0]).any()


def test_smooth_laws_do_far_better_than_the_bound() -> None:
    values = LAWS["normal"]
    found, _ = sketched(values).quantiles(AT, *extremes(values))
    assert np.abs(found[:, 0] - np.quantile(values, AT)).max() < 5e-3


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_order_and_tables_change_no_bit(dtype: str) -> None:
    values = LAWS["lognormal"].astype(dtype)
    one = sketched(values, tables=1).quantiles(AT, *extremes(values))
    for tables in (1, 3):
        other = sketched(values, order=RNG.permutation(40), tables=tables).quantiles(AT, *extremes(values))
        assert one[0].tobytes() == other[0].tobytes() and one[1].tobytes() == other[1].tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bins_are_what_their_edges_say(dtype: str) -> None:
    """Every count lies between its edges (one rounding apart), and bins cover the line; what is not finite counts
    apart."""
    values = np.concatenate([LAWS["cauchy"], [np.inf, -np.inf, np.nan, 0.0, 1e30, -1e30]]).astype(dtype)
    centre, scale, bits = 0.25, 0.5, 4
    table = quantile_bins.empty(1, bits)
    c, inv = np.array([centre], dtype), np.array([1 / scale], dtype)
    quantile_bins.count(values[None], len(values), c, inv, bits, table)
    edges = centre + scale * quantile_bins.edges(bits)
    assert edges[0] == -np.inf and edges[-1] == np.inf and (np.diff(edges) > 0).all()
    assert table.sum() == len(values) and table[0, -1] == 3
    slack = np.where(np.isfinite(edges), 1e-5 * (1 + np.abs(edges)), 0)
    finite = values[np.isfinite(values)].astype(float)
    for j in range(len(edges) - 1):
        inner = ((finite >= edges[j] + slack[j]) & (finite < edges[j + 1] - slack[j + 1])).sum()
        outer = ((finite >= edges[j] - slack[j]) & (finite <= edges[j + 1] + slack[j + 1])).sum()
        assert inner <= table[0, j] <= outer


def test_few_paths_are_exact_and_state_comes_back() -> None:
    values = LAWS["normal"][:3000]
    made = Sketch(1, values.dtype, frozenset(), 2)
    for i in range(3):
        made.add(i, values[None, i * 1000 : (i + 1) * 1000], 1000)
    assert made.quantiles(AT, *extremes(values))[0][:, 0] == pytest.approx(np.quantile(values, AT), rel=1e-14)
    whole = sketched(LAWS["normal"])
    half = sketched(LAWS["normal"], order=range(0, 40, 2))
    again = Sketch(1, "float64", half.pilots, 1)
    again.restore(half.state())
    for i in range(1, 40, 2):
        again.add(i, LAWS["normal"][None, i * 1000 : (i + 1) * 1000], 1000)
    ends = extremes(LAWS["normal"])
    assert again.quantiles(AT, *ends)[0].tobytes() == whole.quantiles(AT, *ends)[0].tobytes()


def test_full_tables_spill() -> None:
    made = sketched(LAWS["normal"])
    made._counted = [2**16 - 500] * 2
    before = made.table.sum()
    made.add(1, LAWS["normal"][None, :1000], 1000)
    assert made.table.sum() == before + 1000 and made._total is not None
    assert bits_for(10) == 6 and bits_for(10**6) == 5
