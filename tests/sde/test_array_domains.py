"""Domains of states that are arrays: the same steps as of their entries, and what the equation must keep itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy as sp

from sde import SDE, InputError, simulate
from sde.api.passages import passages
from sde.engine.program import import_text
from sde.settings import Gather
from symbolic import running, states
from symbolic.codegen.prepare import prepare
from symbolic.schemes import find

N = 3
X, S, K = states("X", (N,)), sp.Symbol("s", real=True), sp.Symbol("k", positive=True)
x = sp.symbols(f"x0:{N}", real=True)
SHARED = np.array([[0.2, 0.1], [0.0, 0.3], [0.1, 0.1]])
WALLS = [("reflect", 0, 1), ("reflect", 0, sp.oo), ("reflect", -sp.oo, 1), ("periodic", 0, sp.Rational(1, 2)),
         ("absorb", 0, sp.oo), ("absorb", -1, 1)]  # fmt: skip


def _stepped(sde: SDE, scheme: str, plain: Any, made: Any) -> np.ndarray:
    """A step of random states, (D, 64), half of which begin or end beyond any wall."""
    rng, lanes = np.random.default_rng(3), plain.LANES
    inputs, width = made.module.manifest["inputs"], len(made.module.manifest["states"])
    start = np.concatenate([rng.normal(size=(sde.dimension, 64)), np.zeros((width - sde.dimension, 64))])
    n = np.concatenate([rng.normal(size=(30, 64)), np.full((inputs, 64), 0.1)])[:inputs]
    block, given = (np.tile(v, lanes // 64).ravel() for v in (start, n))
    clock = (0.1, 0.2) if made.module.manifest["clock"] == "shared" else (np.full(lanes, 0.1), np.full(lanes, 0.2))
    plain.step(block, given, *clock, made.table)
    return block.reshape(-1, lanes)[: sde.dimension, :64]


@pytest.mark.parametrize("scheme", ["euler-maruyama", "milstein"])
def test_walls_of_arrays_are_those_of_their_entries(scheme: str) -> None:
    arrays = [states(f"A{k}", (2,)) for k in range(len(WALLS))]
    a = [sp.symbols(f"a{k}_0:2", real=True) for k in range(len(WALLS))]
    flat = [v for pair in a for v in pair]
    walls = dict(zip(arrays, WALLS, strict=True)) | {"s": ("absorb", 0, sp.oo)}
    each = {v: wall for pair, wall in zip(a, WALLS, strict=True) for v in pair} | {S: ("absorb", 0, sp.oo)}
    forces, strengths = [*(1 - A for A in arrays), arrays[0].mean() - S], [*(A / 2 for A in arrays), 0.2]
    ours = SDE([*arrays, S], forces, strengths, domain=walls)
    drift, noise = [*(1 - v for v in flat), (flat[0] + flat[1]) / 2 - S], sp.diag(*(v / 2 for v in flat), 0.2)
    found = []
    for sde in (ours, SDE([*flat, S], drift, noise.tolist(), domain=each)):
        made = prepare(sde, scheme)
        found.append(_stepped(sde, scheme, import_text(made.module.text), made))
    np.testing.assert_allclose(*found, rtol=1e-12, atol=1e-13)
    free = prepare(SDE([*arrays, S], forces, strengths), scheme)
    moved = ~np.isclose(_stepped(ours, scheme, import_text(free.module.text), free), found[0])
    assert (moved.sum(axis=1)[:-1] > 5).all()


def test_a_wall_under_shared_noise() -> None:
    wall, found = ("absorb", 0, sp.oo), []
    ours = SDE(X, drift=-X, diffusion=SHARED, domain={X: wall})
    entries = SDE(x, [-v for v in x], SHARED.tolist(), domain=dict.fromkeys(x, wall))
    for sde in (ours, entries):
        made = prepare(sde, "euler-maruyama")
        assert made.module.manifest["inputs"] == 2 + N
        found.append(_stepped(sde, "euler-maruyama", import_text(made.module.text), made))
    np.testing.assert_allclose(*found, rtol=1e-12, atol=1e-13)


def test_full_truncation_is_that_of_its_entries_and_so_is_what_it_shows() -> None:
    """Coefficients, observables, extremes and levels see the largest of a state and 0."""
    found = []
    ours = SDE(X, drift=1 - X, diffusion=0.7 * np.sqrt(X), domain={X: "nonnegative"})
    root = sp.diag(*(sp.Rational(7, 10) * sp.sqrt(v) for v in x)).tolist()
    entries = SDE(x, [1 - v for v in x], root, domain=dict.fromkeys(x, "nonnegative"))
    given: list[tuple[SDE, Any, dict[str, Any]]] = [
        (ours, X.sum() - X[0] ** 2, {"h": running(max, X.sum())}),
        (entries, sum(x) - x[0] ** 2, {"h": running(max, sum(x))}),
    ]
    for sde, level, observables in given:
        watch = passages(sde, None, Gather(events={"up": level}, stop="first"), find("full-truncation")[0])
        assert watch is not None
        made = prepare(sde, "full-truncation", observables, watched=watch.watched)
        plain = import_text(made.module.text)
        lanes = plain.LANES
        state = np.concatenate([_stepped(sde, "full-truncation", plain, made), np.full((1, 64), 0.5)])
        block, t = np.tile(state, lanes // 64).ravel(), np.full(lanes, 0.2)
        watched, shown, there = np.zeros(2 * lanes), np.zeros((N + 1) * lanes), block.copy()
        plain.watch(block, t, made.table, watched)
        plain.observe(block, t, made.table, shown)
        code = np.concatenate([np.ones(lanes), np.full(lanes, 0.5), np.full(lanes, 0.3), np.full(lanes, 0.2)])
        plain.arrive(np.abs(block), there, code, np.full(lanes, 0.1), t, made.table)
        rows = [r.reshape(-1, lanes)[:, :64] for r in (block, watched, shown, there)]
        found.append(np.concatenate(rows))
        assert (rows[0][:N] < 0).any() and (rows[2][:N] >= 0).all()
    np.testing.assert_allclose(*found, rtol=1e-11, atol=1e-12)


def test_a_run_keeps_its_domain() -> None:
    """A hundred square-root diffusions below Feller's line: the mean is exact, and none is below 0."""
    V = states("V", (100,))
    sde = SDE(V, drift=1 - V, diffusion=2 * np.sqrt(V), domain={V: "nonnegative"})
    run = simulate(sde, start={V: np.full(100, 2.0)}, time=1.0, dt=0.05, paths=400, save_at=2, seed=2, check=False)
    assert run.attrs["scheme"] == "full-truncation" and run.V.sel(statistic="min").values.min() >= 0
    # what is shown of states below 0 is 0, which lifts the mean a little: E V = 1 + e^-1
    assert abs(run.V.sel(statistic="mean").values[-1].mean() / (1 + (1 - 0.05) ** 20) - 1) < 0.1
    assert sde.to("stratonovich").domain and sde.to("stratonovich").to("ito").domain


BAD = {
    "noise that vanishes": lambda: SDE(X, drift=-X, diffusion=1, domain={X: "nonnegative"}),
    "where an entry of X is 0": lambda: SDE(X, drift=-X, diffusion=np.sqrt(X.sum()), domain={X: "nonnegative"}),
    "does not point below": lambda: SDE(X, drift=-K - X, diffusion=X, parameters=[K], domain={X: "nonnegative"}),
    "vanishes there": lambda: SDE(X, drift=-X, diffusion=SHARED, domain={X: "nonnegative"}),
    "must name states": lambda: SDE(X, drift=-X, diffusion=1, domain={"Y": ("reflect", 0, 1)}),
    "does not keep X": lambda: prepare(SDE(X, -X, 1, domain={X: ("reflect", 0, 1)}), "sra1"),
    "which are Ito's": lambda: simulate(
        SDE(X, -X, 1, "stratonovich", domain={X: ("reflect", 0, 1)}), start={X: np.ones(N)}, time=1.0
    ),
    "must be in the state's domain": lambda: simulate(
        SDE(X, -X, 1, domain={X: ("reflect", 0, 1)}), start={X: np.array([0.5, 0.5, 2])}, time=1.0, dt=0.1
    ),
    "is for states of a domain": lambda: prepare(SDE(X, -X, 1), "full-truncation"),
}


@pytest.mark.parametrize("rule", BAD)
def test_refusals(rule: str) -> None:
    with pytest.raises(InputError, match=rule):
        BAD[rule]()
