"""Stops, jumps, resets and functionals of paths in equations of arrays: the same text functions as of their entries, a
naive twin, and bits."""

from __future__ import annotations

from math import erf, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy as sp
from numba import njit

from sde import SDE, InputError, Jump, expectation, simulate
from sde.api.passages import passages
from sde.engine.program import import_text
from sde.settings import Gather
from symbolic import Laplace, Normal, Uniform, integral, running, states, table
from symbolic.arrays.adjoint import gradient
from symbolic.arrays.building import excess
from symbolic.arrays.evaluation import evaluate
from symbolic.codegen.prepare import prepare
from symbolic.schemes import find
from tests.naive.hybrid import Top, Total, follow

N = 3
X, Y, M = states("X", (N,)), states("Y", (N,)), states("M", (2, N))
S, T, Z = sp.symbols("s t Z", real=True)
x, z = sp.symbols(f"x0:{N}", real=True), sp.symbols(f"z0:{N}", real=True)
W = np.array([0.5, 1.0, 2.0])
HIGH, NORM = sp.Max(*x), sp.sqrt(sum(v**2 for v in x))

ARRAY = SDE(
    [X, S], [W - X * (1 + T), X.mean()], [0.3 * (1 + X**2), 0.1], time=T,
    jumps=[Jump({X: X / 2, S: S + 1}, when=X.max() > 1.2),
           Jump({X[1]: X[1] + Z, S: T}, rate=2 + X.sum() ** 2 - T, sizes={Z: Normal(0, 0.3)}),
           Jump({X: X + Y * S}, rate=1, sizes={Y: Laplace(1, 0.2)}), Jump({X[[2, 0]]: X[:2] + W[:2]}, at=[0, 0.5])],
)  # fmt: skip
ENTRIES = SDE(
    [*x, S], [*(w - v * (1 + T) for v, w in zip(x, W, strict=True)), sum(x) / 3],
    sp.diag(*(0.3 * (1 + v**2) for v in x), 0.1).tolist(), time=T,
    jumps=[Jump({v: v / 2 for v in x} | {S: S + 1}, when=HIGH > 1.2),
           Jump({x[1]: x[1] + Z, S: T}, rate=2 + sum(x) ** 2 - T, sizes={Z: Normal(0, 0.3)}),
           Jump({v: v + u * S for v, u in zip(x, z, strict=True)}, rate=1, sizes=dict.fromkeys(z, Laplace(1, 0.2))),
           Jump({x[2]: x[0] + 0.5, x[0]: x[1] + 1}, at=[0, 0.5])],
)  # fmt: skip
SHARED = np.array([[0.2, 0.1], [0.0, 0.3], [0.1, 0.1]])
INWARD = SDE(X, drift=-X, diffusion=SHARED * X[:, None])
OTHER = SDE(x, [-v for v in x], [[c * v for c in row] for v, row in zip(x, SHARED, strict=True)])
PAIRS: dict[str, tuple[SDE, SDE, tuple[dict[str, Any], dict[str, Any]]]] = {
    "diagonal": (ARRAY, ENTRIES, (
        {"far": np.linalg.norm(X) > 1.6, "both": (S < 0.8) & (X[2] > 1), "late": sp.sin(T) * X[1] - S},
        {"far": NORM > 1.6, "both": (S < 0.8) & (x[2] > 1), "late": sp.sin(T) * x[1] - S})),
    "shared": (INWARD, OTHER, ({"far": (X**2).sum() - 1, "one": X[0] > 1}, {"far": NORM**2 - 1, "one": x[0] > 1})),
}  # fmt: skip


def _emitted(sde: SDE, events: Any, observables: Any = None, scheme: str = "euler-maruyama") -> tuple[Any, Any, int]:
    """The text as plain Python, its parameters, and how many rows it watches."""
    watch = passages(sde, None, Gather(events=events, stop="first"), find(scheme)[0])
    assert watch is not None and watch.crossings.startswith("bridge")
    made = prepare(sde, scheme, observables, watched=watch.watched, begin=0.0)
    return import_text(made.module.text), made, 2 * len(watch.hybrid.ends) + len(watch.hybrid.clocks)


def _block(values: np.ndarray, lanes: int) -> np.ndarray:
    return np.tile(values, lanes // 64).ravel()


@pytest.mark.parametrize("kind", PAIRS)
def test_texts_are_those_of_their_entries(kind: str) -> None:
    """watch, arrive at each level, each change, and a step of unlike clocks."""
    ours, entries, events = PAIRS[kind]
    rng, found = np.random.default_rng(1), list[list[np.ndarray]]()
    d = ours.dimension
    begin, end, n, m = (0.6 + 0.4 * rng.normal(size=(rows, 64)) for rows in (d, d, d, 16))
    h, t, share = 0.1 * rng.random((1, 64)), rng.random((1, 64)), rng.random((1, 64))
    place, length = rng.normal(size=(1, 64)), 0.01 + h
    for sde, named in zip((ours, entries), events, strict=True):
        plain, made, rows = _emitted(sde, named)
        lanes, p = plain.LANES, made.table
        given = [_block(v, lanes) for v in (begin, end, n, m, h, t)]
        y, _, noise, sizes, step, clock = given
        out = np.zeros(rows * lanes)
        plain.watch(y, clock, p, out)
        results = [out]
        for level in range(rows // 2 + 1):
            code = _block(np.concatenate([np.full((1, 64), level), share, place, length]), lanes)
            results.append(_block(end, lanes))
            plain.arrive(y, results[-1], code, step, clock, p)
        bents = sum(row >= 0 for row in made.module.manifest["bent"])
        results.append(np.zeros(6 * bents * lanes))
        given = _block(np.concatenate([np.abs(m[:bents]), np.zeros((1, 64))]), lanes)
        plain.reach(y, _block(end, lanes), given, step, clock, p, results[-1])
        for change in range(len(sde.jumps) + 1 if sde.jumps else 0):
            results.append(_block(begin, lanes))
            plain.change(results[-1], _block(np.full((1, 64), change), lanes), sizes, clock, p)
        results.append(_block(begin, lanes))
        plain.step(results[-1], noise, step, clock, p)
        found.append([r.reshape(-1, lanes)[:, :64] for r in results])
    for k, (a, b) in enumerate(zip(*found, strict=True)):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12, err_msg=str(k))
    changed = [r for r in found[0] if r.shape == begin.shape and not np.allclose(r, begin) and not np.allclose(r, end)]
    assert len(changed) >= len(ours.jumps) + 2


@pytest.mark.parametrize("scheme", ["euler-maruyama", "milstein"])
def test_functionals_are_those_of_their_entries(scheme: str) -> None:
    """An extreme of each entry, and of one number; integrals of both; under a level that names one."""
    first = {"low": running(min, X), "high": running(max, X.sum() * S), "area": integral(X * T), "past": integral(S)}
    bare = {"high": running(max, sum(x) * S), **{f"area{k}": integral(v * T) for k, v in enumerate(x)}}
    second = {**{f"low{k}": running(min, v) for k, v in enumerate(x)}, **bare, "past": integral(S)}
    pair, rng = (ARRAY, ENTRIES), np.random.default_rng(2)
    level = ({"fell": running(max, X.sum() * S) - X[0] - 1}, {"fell": running(max, sum(x) * S) - x[0] - 1})
    found, start, noise = [], rng.normal(size=(4, 64)), 0.2 * rng.normal(size=(20, 64))
    for sde, events, observables in zip(pair, level, (first, second), strict=True):
        plain, made, rows = _emitted(sde, events, observables, scheme)
        lanes, width, inputs = plain.LANES, len(made.module.manifest["states"]), made.module.manifest["inputs"]
        assert (width, inputs) == (4 + 3 + 1 + 3 + 1, 4 + 2 * 3 + 2)
        block, out = _block(np.concatenate([start, np.zeros((width - 4, 64))]), lanes), list[np.ndarray]()
        for t in (0.0, 0.1):
            # the extremes' pairs of normals, which may come in another order: all alike
            n = np.concatenate([noise[:4], np.repeat(noise[4:5], inputs - 4, axis=0)])
            plain.step(block, _block(n, lanes), np.full(lanes, 0.1), np.full(lanes, t), made.table)
        out.append(np.zeros(rows * lanes))
        plain.watch(block, np.full(lanes, 0.2), made.table, out[-1])
        out.append(np.zeros(len(made.module.manifest["observables"]) * lanes))
        plain.observe(block, np.full(lanes, 0.2), made.table, out[-1])
        for which in range(2, len(sde.jumps) + 1):  # a jump's extreme, and an arrival's
            out.append(block.copy())
            plain.change(
                out[-1], np.full(lanes, float(which)), np.full(16 * lanes, 0.3), np.full(lanes, 0.2), made.table
            )
            out[-1] = out[-1][: 4 * lanes]
        found.append([o.reshape(-1, lanes)[:, :64] for o in out])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)
    assert (found[0][1][4:7] <= found[0][1][:3] + 1e-12).all()  # low <= X


@njit
def _own(x: Any, t: Any, out: Any) -> None:
    for i in range(len(x)):
        out[i] = 0.3 * (1 + x[i] * x[i]) + t


def test_functions_of_ones_own_have_each_lanes_time() -> None:
    def same(x: Any, t: Any) -> Any:
        return 0.3 * (1 + x * x) + t

    own = SDE.compiled(N, _own, _own)
    written = SDE(own.states[0], drift=same, diffusion=same)
    found, rng = [], np.random.default_rng(4)
    start, n, t = rng.normal(size=(N, 64)), rng.normal(size=(N, 64)), rng.random((1, 64))
    for sde in (own, written):
        plain, made, rows = _emitted(sde, {"up": own.states[0].max() > 1})
        vars(plain).update(made.module.functions)
        block, out = _block(start, plain.LANES), np.zeros(rows * plain.LANES)
        plain.watch(block, _block(t, plain.LANES), made.table, out)
        plain.step(block, _block(n, plain.LANES), np.full(plain.LANES, 0.1), _block(t, plain.LANES), made.table)
        found.append(np.concatenate([out, block]))
    np.testing.assert_allclose(*found, rtol=1e-12)


LEAPING = SDE(
    X, drift=1 - X, diffusion=np.array([0.5, 0.6, 0.7]),
    jumps=[Jump({X: X / 2}, when=X.max() > 1.5),
           Jump({X: X + 0.2 * Y}, rate=1 + X.mean() ** 2, sizes={Y: Normal(0, 1)}),
           Jump({X: X + W / 10}, at=[0, 0.5])],
)  # fmt: skip
OPTIONS: dict[str, Any] = {
    "start": {X: np.zeros(N)}, "time": 1.0, "dt": 0.1, "seed": 3, "save_at": 11, "check": False, "keep": "paths",
    "events": {"low": X.sum() < -0.2, "high": X.sum() > 3}, "stop": "first",
}  # fmt: skip


def test_paths_are_those_of_the_naive_twin() -> None:
    run = simulate(LEAPING, paths=60, **OPTIONS)
    changes = [(lambda x, _: x / 2, []), (lambda x, y: x + 0.2 * np.array(y), [-3] * N), (lambda x, _: x + W / 10, [])]
    levels, total = [Total(-0.2, -1.0, ends=True), Total(3.0, ends=True), Top(1.5, reset=1)], 0
    for path in range(60):
        twin = follow(path, 3, np.zeros(N), run.time.values, lambda x: 1 - x, lambda x: np.array([0.5, 0.6, 0.7]),
                      levels, [(lambda x: 1 + x.mean() ** 2, 2)], changes, {0: 3, 5: 3})  # fmt: skip
        assert run.X.values[path] == pytest.approx(np.array(twin.states), abs=1e-9), path
        assert run.stop_time.values[path] == pytest.approx(twin.stop, abs=1e-9, nan_ok=True)
        total += twin.counts[0]
    assert total > 10 and 3 < np.isfinite(run.stop_time.values).sum() < 57
    low = np.isfinite(run.low_time.values)
    assert (np.abs(run.X.values[low, -1].sum(axis=1) + 0.2) < 1e-12).sum() > 3  # else a jump led over it


@pytest.mark.parametrize("executor", [None, pytest.param("processes", marks=pytest.mark.slow)])
def test_bits_do_not_depend_on_who_runs_or_resumes(executor: Any, tmp_path: Path) -> None:
    given = {**OPTIONS, "paths": 3000, "keep": "statistics"}
    one = simulate(LEAPING, threads=1, **given).attrs["result_hash"]
    for _ in range(2):  # the second call finds all done
        again = simulate(LEAPING, threads=2, executor=executor, checkpoint=tmp_path / "run.nc", **given)
        assert again.attrs["result_hash"] == one
    few, many = (simulate(LEAPING, paths=n, **OPTIONS) for n in (100, 700))
    assert np.array_equal(few.X.values, many.X.values[:100])


@pytest.mark.slow
def test_passage_of_the_first_of_many() -> None:
    """Eight Brownian motions: none has met 1 by time 1 with probability erf(1/sqrt 2)^8; the first that does is on the
    level, and the highest that any has been is its maximum."""
    n, paths = 8, 40_000
    B = states("B", (n,))
    run = simulate(SDE(B, drift=0 * B, diffusion=1.0), start={B: np.zeros(n)}, time=1.0, dt=0.01, paths=paths,
                   keep="paths", save_at=2, check=False, seed=6, events={"up": B.max() > 1}, stop="first")  # fmt: skip
    met, chance = np.isfinite(run.up_time.values), 1 - erf(1 / sqrt(2)) ** n
    assert abs(met.mean() - chance) < 5 * sqrt(chance * (1 - chance) / paths) + 0.002
    assert run.B.values[met, -1].max(axis=1) == pytest.approx(1, abs=1e-9)


def test_text_does_not_grow_and_a_thousand_states_are_emitted() -> None:
    sizes = []
    for n in (200, 1000):
        A = states("A", (n,))
        B = states("B", (n,))
        jumps = [Jump({A[3]: 0}, when=A[3] > 1), Jump({A: A * B}, rate=A.sum(), sizes={B: Uniform(0, 1)})]
        sde = SDE(A, drift=-A, diffusion=0.1 + A**2, jumps=jumps)
        events = {"top": A.max() > 1, "sum": A.sum() > 5, "spread": np.var(A) > 3}
        _, made, _ = _emitted(sde, events, {"low": running(min, A)})
        sizes.append(len(made.module.text))
    assert abs(sizes[1] - sizes[0]) < 0.03 * sizes[0] < 2000


@pytest.mark.slow
def test_each_entry_has_a_rate_of_its_own() -> None:
    """Fifty births at rate 2 x: E x = e^2 and Var x = e^2 (e^2 - 1), independent, and exact at any step."""
    n, e = 50, np.exp(2)
    B, U = states("B", (n,)), sp.Symbol("U", real=True)
    rates = 2 * B
    C = np.cumsum(rates)
    who = (U * C[-1] < C) & (U * C[-1] >= C - rates)
    sde = SDE(B, drift=0 * B, diffusion=0, jumps=[Jump({B: B + who}, rate=C[-1], sizes={U: Uniform(0, 1)})])
    run = simulate(sde, start={B: np.ones(n)}, time=1.0, dt=0.5, paths=400, save_at=2, check=False, keep="paths")
    x = run.B.values[:, -1]
    assert (x == np.round(x)).all() and abs(x.mean() - e) < 5 * x.std() / sqrt(x.size)
    assert abs(x.var() / (e * (e - 1)) - 1) < 0.15
    assert abs(np.corrcoef(x[:, :-1].ravel(), x[:, 1:].ravel())[0, 1]) < 5 / sqrt(x.size)


@pytest.mark.slow
def test_a_thousand_states_run() -> None:
    """An integrate-and-fire network: 1,000 neurons dV = 2 dt + dW, apart from each other, fire every 1/2 on average."""
    n = 1000
    V, C = states("V", (n,)), states("C", (n,))
    fires = V >= 1
    sde = SDE([V, C], [2 + 0 * V, 0 * C], [1, 0],
              jumps=[Jump({V: np.where(fires, 0, V), C: C + np.where(fires, 1, 0)}, when=V.max() > 1)])  # fmt: skip
    run = simulate(sde, start={V: np.zeros(n), C: np.zeros(n)}, time=5.0, dt=0.01, paths=16, save_at=2, keep="paths",
                   crossings="steps", check=False)  # fmt: skip
    count = run.C.values[:, -1]
    assert count.shape == (16, n) and (run.V.values[:, -1] <= 1).all()
    assert abs(count.mean() / (5 * 2 - 0.25) - 1) < 0.12  # resets are seen late by order sqrt(dt)


GRADIENTS = {
    "largest": X.max(), "index": X[2] ** 3, "roll": (np.roll(X, 1) * X).sum(), "min": M.min(axis=0).sum(),
    "again": (X[[0, 0, 2, 1, 0]] ** 2 * np.arange(5)).sum(), "pairs": np.sin(X[None, :] - X[:, None]).sum(axis=1).max(),
    "norm": np.linalg.norm(M @ X), "trace": np.trace(M[:, :2] @ M[:, 1:].T), "flip": (np.flip(X)[1:] * X[:2]).sum(),
    "join": (np.concatenate([X, np.ones(2), np.ravel(M)]) ** 2 * np.arange(11)).sum(), "var": np.var(X),
    "diagonal": (np.diagonal(M[:, :2]) ** 2).sum(), "where": np.where(X > 0.1, X**2, np.exp(X)).mean(),
    "clip": np.clip(X, -0.3, 0.3).sum(), "einsum": np.einsum("ij,j,ij->", M, X, M), "diff": (np.diff(X) ** 2).mean(),
    "table": table(X, [-1, 0, 1], [0, 2, -1]).sum(), "stride": (X[::2] * X[1]).sum(), "power": (2.0**X).sum(),
    "reshape": (M.reshape(3, 2)[1] ** 2).sum(), "hypot": np.hypot(X[0], M[1, 2]) / (1 + X[1] ** 2),
    "atan2": np.arctan2(X, M[0]).sum(), "turned": (np.transpose(M)[1:] * M.T[:2]).sum(), "none": X[0] * 0 + 1,
}  # fmt: skip


def test_gradients_are_those_of_differences() -> None:
    rng = np.random.default_rng(5)
    at = {X: rng.normal(size=(1, N)), M: rng.normal(size=(1, 2, N))}
    for name, f in GRADIENTS.items():
        slopes = gradient(f)
        for s in at:
            gap = 1e-6 * np.eye(s.size).reshape(s.size, *s.shape)
            ends = [evaluate([f], {**at, s: at[s] + sign * gap}, s.size)[0].reshape(-1) for sign in (1, -1)]
            slope = np.broadcast_to(((ends[0] - ends[1]) / 2e-6), (s.size,)).reshape(s.shape)
            found = evaluate([slopes[s]], at, 1)[0][0] if s in slopes else np.zeros(s.shape)
            np.testing.assert_allclose(found, slope, atol=1e-6, err_msg=f"{name} {s}")


def test_running_sums_and_truths_over_axes_are_numpys() -> None:
    rng = np.random.default_rng(7)
    v, m = rng.normal(size=(50, N)), rng.normal(size=(50, 2, N))
    far, inner = (np.abs(v) > 1).any(1) | ~(v[:, 0] > 0.2), (m > 0).all(2).any(1)
    expected: list[tuple[Any, Any, Any]] = [
        (np.any(np.abs(X) > 1) | ~(X[0] > 0.2), far, np.maximum(np.abs(v).max(1) - 1, 0.2 - v[:, 0])),
        ((M > 0).all(axis=1).any(), inner, m.min(2).max(1)),
        (np.any((X >= 0) & (X < 0.5)), ((v >= 0) & (v < 0.5)).any(1), np.minimum(v, 0.5 - v).max(1)),
        (np.any(X[:1] > 0), v[:, 0] > 0, v[:, 0]),
        (np.cumsum(M, axis=1), np.cumsum(m, axis=2), None),
        (np.cumsum(M, axis=0), np.cumsum(m, axis=1), None),
        (np.cumsum(M), np.cumsum(m.reshape(50, -1), axis=1), None),
        (np.cumsum(X[:1])[::-1], v[:, :1], None),
    ]
    for node, value, beyond in expected:
        np.testing.assert_allclose(evaluate([node], {X: v, M: m}, 50)[0], value, atol=1e-14)
        if beyond is not None:
            np.testing.assert_allclose(evaluate([excess(node)], {X: v, M: m}, 50)[0], beyond, atol=1e-14)


def _jumping(**given: Any) -> SDE:
    return SDE([X, S], [-X, 0], [1, 1], jumps=[Jump(**{"changes": {X: 0}, "rate": 1} | given)])


BAD = {
    "must name a state": lambda: _jumping(changes={X[[0, 0]]: 0}),
    r"must have the shape \(2,\)": lambda: _jumping(changes={X[1:]: X}),
    "may use the states": lambda: _jumping(changes={X: X + sp.Symbol("q")}),
    r"jumps\[0\].when: must be one expression": lambda: _jumping(rate=None, when=X > 1),
    "must have one number for each parameter": lambda: _jumping(sizes={Y: Normal([1, 2, 3], 1)}),
    "a name may stand for one thing only": lambda: _jumping(sizes={S: Normal(0, 1)}),
    r"events\[up\]: must be one expression": lambda: simulate(
        ARRAY, start={X: W, S: 0.0}, time=1.0, events={"up": X > 1}, stop="first"
    ),
    "is of what is made entry by entry": lambda: prepare(INWARD, "euler-maruyama", {"o": running(max, SHARED.T @ X)}),
    "not of another path's past": lambda: running(max, integral(X)),
    "must be of numbers": lambda: integral(X > 1),
    "not a path's past": lambda: SDE(X, drift=-integral(X), diffusion=1),
    "a product over an axis": lambda: passages_of(X.prod() > 1, "bridge"),
    "only simulate runs them": lambda: prepare(LEAPING, "euler-maruyama"),
    "expectation: takes equations": lambda: expectation(LEAPING, X[0], start={X: W}, time=1.0, tolerance=0.1),
}


def passages_of(condition: Any, crossings: str | None) -> str:
    made = passages(
        INWARD, None, Gather(events={"e": condition}, stop="first", crossings=crossings), find("milstein")[0]
    )
    assert made is not None
    prepare(INWARD, "euler-maruyama", watched=made.watched)
    return made.crossings


@pytest.mark.parametrize("rule", BAD)
def test_refusals(rule: str) -> None:
    with pytest.raises(InputError, match=rule):
        BAD[rule]()


def test_what_has_no_derivative_is_looked_at_after_steps() -> None:
    assert passages_of(X.prod() > 1, None) == "steps"
    assert passages_of(X.max() > 1, None) == "bridge"
