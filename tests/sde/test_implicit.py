"""Implicit steps of more states than are written out: Newton's turns in a loop of the text, against NumPy's solves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy as sp

from sde import SDE, simulate
from sde.engine.program import import_text
from sde.kernels.random.draws import step_normals
from symbolic.codegen.prepare import prepare

NODES, PACE, NOISE = 12, 400.0, 0.3
u = sp.symbols(f"u0:{NODES}", real=True)
BEGIN = np.cos(np.pi * np.arange(NODES) / NODES)


def equation(nodes: int = NODES) -> SDE:
    """u' = pace * second differences + u - u^3, with noise of its own at every node: Allen and Cahn's."""
    x = (u[0], *u[:nodes], u[nodes - 1])
    drift = [PACE * (x[i] - 2 * x[i + 1] + x[i + 2]) + 8 * (x[i + 1] - x[i + 1] ** 3) for i in range(nodes)]
    return SDE(list(u[:nodes]), drift, (NOISE * sp.eye(nodes)).tolist())


def drift(x: np.ndarray) -> np.ndarray:
    padded = np.concatenate([x[:1], x, x[-1:]])
    return PACE * (padded[:-2] - 2 * x + padded[2:]) + 8 * (x - x**3)


def step(x: np.ndarray, h: float, dW: np.ndarray) -> np.ndarray:
    """By Newton's method and LAPACK, to rounding."""
    known, y = x + NOISE * dW, x + NOISE * dW
    band = PACE * (np.eye(NODES, k=1) + np.eye(NODES, k=-1) - 2 * np.eye(NODES))
    band[0, 0] += PACE
    band[-1, -1] += PACE
    for _ in range(30):
        slope = np.eye(NODES) - h * (band + np.diag(8 - 24 * y**2))
        y = y - np.linalg.solve(slope, y - known - h * drift(y))
    return y


def test_paths_are_those_of_the_naive_twin() -> None:
    start: dict[Any, float] = dict(zip(u, map(float, BEGIN), strict=True))
    run = simulate(equation(), start=start, time=0.2, dt=0.05, paths=300, seed=4, save_at=5, keep="paths",
                   scheme="implicit-euler", check=False)  # fmt: skip
    found = np.array([run[s.name].values for s in u])
    for path in (0, 17, 299):
        x = BEGIN
        for k in range(4):
            x = step(x, 0.05, np.sqrt(0.05) * step_normals(NODES, 4, 4, path, k)[:, 0])
            assert found[:, path, k + 1] == pytest.approx(x, rel=1e-9, abs=1e-9)
    assert run.attrs["exploded_paths"] == 0


def test_bits_of_a_lane_do_not_depend_on_the_others() -> None:
    """In the text as Python: lanes that need more turns stand beside it, or do not."""
    module = prepare(equation(6), "implicit-euler").module
    lanes, plain = module.manifest["lanes"], import_text(module.text)
    rng = np.random.default_rng(1)
    x, n, p = (rng.normal(size=6 * lanes) * size for size in (1.0, 0.2, 0.0))
    x.reshape(6, lanes)[:, 1::2] *= 5
    alone = np.repeat(x.reshape(6, lanes)[:, :1], lanes, axis=1).ravel()
    noise = np.repeat(n.reshape(6, lanes)[:, :1], lanes, axis=1).ravel()
    plain.step(x, n, 0.05, 0.0, p)
    plain.step(alone, noise, 0.05, 0.0, p)
    assert np.isfinite(x).all() and np.array_equal(x.reshape(6, lanes)[:, 0], alone.reshape(6, lanes)[:, 0])


def test_auto_takes_it_where_the_drift_is_stiff() -> None:
    start: dict[Any, float] = dict(zip(u, map(float, BEGIN), strict=True))
    run = simulate(equation(), start=start, time=0.1, dt=0.05, paths=4, scheme="auto", check=False)
    assert run.attrs["scheme"] == "implicit-euler" and "stiff" in run.attrs["scheme_reason"]


def test_the_strong_order_is_1() -> None:
    """Additive noise: what halving the step changes on the same Brownian paths halves each time."""
    start: dict[Any, float] = dict(zip(u, map(float, BEGIN), strict=True))
    options: dict[str, Any] = {"time": 0.2, "paths": 400, "seed": 2, "save_at": 2, "keep": "paths", "check": False}
    runs = [
        simulate(equation(), start=start, dt=0.00625 * refine, refine=refine, scheme="implicit-euler", **options)
        for refine in (8, 4, 2, 1)
    ]
    ends = [np.array([run[s.name].values[:, -1] for s in u]) for run in runs]
    gaps = np.array([np.sqrt(np.mean((a - b) ** 2)) for a, b in zip(ends, ends[1:], strict=False)])
    orders = np.log2(gaps[:-1] / gaps[1:])
    assert (orders > 0.8).all() and (orders < 1.2).all(), orders
