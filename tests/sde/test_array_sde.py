"""Equations of arrays: the same steps as their scalars, and runs from start to result."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sympy as sp
from numba import njit

from sde import convergence, expectation, simulate
from sde.engine.program import import_text
from symbolic import SDE, InputError, Normal, states, table
from symbolic.codegen.prepare import prepare
from symbolic.schemes import SCHEMES

N = 4
X, S, K = states("X", (N,)), sp.Symbol("s", real=True), sp.Symbol("k", real=True)
T = sp.Symbol("t", real=True)
x = sp.symbols(f"x0:{N}", real=True)
W = np.linspace(-1, 1, N)
COUPLED = np.random.default_rng(2).normal(size=(N, N))

Pair = tuple[SDE, SDE]


def _pair(drift: Callable[[Any, Any, Any], Any], noise: Callable[[Any, Any], Any], sense: str = "ito") -> Pair:
    """An equation of an array and a scalar, and the same entry by entry."""
    ours = SDE([X, S], [*drift(X, S, np)], [noise(X, np), 0.3], sense, T, parameters=[K])
    entries = np.array(x, dtype=object)
    f, g = drift(entries, S, _Scalars), noise(entries, _Scalars)
    b = sp.diag(*g, 0.3)
    return ours, SDE([*x, S], [*f[0], f[1]], b.tolist(), sense, T, parameters=[K])


class _Scalars:
    """What the formulas below use of NumPy, on arrays of SymPy's expressions."""

    sin = staticmethod(np.vectorize(sp.sin, otypes=[object]))
    sqrt = staticmethod(np.vectorize(sp.sqrt, otypes=[object]))


def _drift(X: Any, s: Any, f: Any) -> Any:
    return W * T + K * f.sin(X[None, :] - X[:, None]).sum(axis=1) + s * X, COUPLED[0] @ X - s**3


DIAGONAL = _pair(_drift, lambda X, f: 0.4 * f.sqrt(1 + X**2) * (1 + W * T))
ADDITIVE = _pair(_drift, lambda X, f: (W + 2) * (1 + T))
INWARD = _pair(_drift, lambda X, f: f.sin(X.sum()) * X / (2 + T) if f is np else sp.sin(sum(X)) * X / (2 + T))
OTHER = _pair(_drift, lambda X, f: 0.4 * f.sqrt(1 + X**2) * (1 + W * T), "stratonovich")
STEPS = [
    *[(s, DIAGONAL) for s in ("euler-maruyama", "tamed-euler", "milstein", "sriw1", "platen-weak-2")],
    *[(s, ADDITIVE) for s in ("sra1", "sriw1", "milstein")],
    *[(s, INWARD) for s in ("euler-maruyama", "tamed-euler")],
    *[(s, OTHER) for s in ("heun", "euler-heun")],
]


def _stepped(sde: SDE, scheme: str, start: np.ndarray, n: np.ndarray) -> np.ndarray:
    """A step as plain Python; start (5, lanes)."""
    prepared = prepare(sde, scheme)
    plain = import_text(prepared.module.text)
    block = np.resize(start, (N + 1, plain.LANES)).ravel()
    given = np.resize(
        n[: prepared.module.manifest["inputs"]], (prepared.module.manifest["inputs"], plain.LANES)
    ).ravel()
    p = np.concatenate([[0.7, 1.3][: len(prepared.module.manifest["parameters"])], prepared.table])
    plain.step(block, given, 0.05, 0.4, p)
    return block.reshape(N + 1, -1)


@pytest.mark.parametrize("scheme, pair", STEPS)
def test_a_step_of_arrays_is_that_of_their_entries(scheme: str, pair: Pair) -> None:
    rng = np.random.default_rng(3)
    start, n = rng.normal(size=(N + 1, 256)), 0.2 * rng.normal(size=(2 * (N + 1), 256))
    first, second = (_stepped(sde, scheme, start, n) for sde in pair)
    assert not np.allclose(first, start)
    np.testing.assert_allclose(first, second, rtol=1e-12, atol=1e-13)


def test_every_scheme_takes_arrays_or_says_that_it_does_not() -> None:
    taken = {scheme for scheme, _ in STEPS} | {"full-truncation"}  # of domains: tests.sde.test_array_domains
    for name, scheme in SCHEMES.items():
        if scheme.calculus == "discrete":
            continue
        assert (scheme.arrays is not None) == (name in taken), name
        if scheme.arrays is None:
            with pytest.raises(InputError, match="where states are arrays"):
                prepare(ADDITIVE[0] if scheme.calculus == "ito" else OTHER[0], name)


def test_the_other_sense_of_a_diagonal_noise() -> None:
    ours, entries = (sde.to("stratonovich") for sde in DIAGONAL)
    start, n = np.random.default_rng(4).normal(size=(N + 1, 256)), np.zeros((2 * (N + 1), 256))
    np.testing.assert_allclose(*(_stepped(s, "heun", start, n) for s in (ours, entries)), rtol=1e-12)


def test_noise_shared_by_all_states() -> None:
    """A diffusion with an axis more than the state: J noises."""
    B = np.random.default_rng(5).normal(size=(N, 3))
    ours = SDE(X, drift=-X, diffusion=B * X[:, None])
    entries = SDE(x, [-v for v in x], [[c * v for c in row] for v, row in zip(x, B, strict=True)])
    assert (ours.noises, ours.noise_class) == (3, "general")
    assert SDE(X, drift=-X, diffusion=B).noise_class == "additive"
    rng = np.random.default_rng(6)
    start, n = rng.normal(size=(N, 256)), rng.normal(size=(3, 256))
    found = []
    for sde in (ours, entries):
        prepared = prepare(sde, "euler-maruyama")
        block = start.copy().ravel()
        import_text(prepared.module.text).step(
            block[: N * prepared.module.manifest["lanes"]], n.ravel(), 0.1, 0.0, prepared.table
        )
        found.append(block)
    np.testing.assert_allclose(*found, rtol=1e-13)


def kuramoto(n: int, coupling: float, sigma: float) -> tuple[Any, SDE, np.ndarray]:
    theta, w = states("theta", (n,)), np.linspace(-1, 1, n)
    pull = coupling / n * np.sin(theta[None, :] - theta[:, None]).sum(axis=1)
    return theta, SDE(theta, drift=w + pull, diffusion=np.full(n, sigma)), w


def test_kuramoto_against_numpy() -> None:
    """Mean r^2 of 20 oscillators at time 2, within 4 standard errors of a twin in NumPy, alpha = 6e-5."""
    n, coupling, sigma, dt, steps, paths = 20, 3.0, 0.5, 0.02, 100, 4000
    theta, sde, w = kuramoto(n, coupling, sigma)
    begin = np.linspace(0, 5, n)
    r2 = np.cos(theta).mean() ** 2 + np.sin(theta).mean() ** 2
    run = simulate(
        sde, start={theta: begin}, time=dt * steps, dt=dt, paths=paths, save_at=2, observables={"r2": r2}, check=False
    )
    rng = np.random.default_rng(7)
    y = np.tile(begin, (1000, 1))
    for _ in range(steps):
        pull = np.imag(np.exp(1j * y).sum(axis=1, keepdims=True) * np.exp(-1j * y)) * coupling / n
        y = y + (w + pull) * dt + sigma * np.sqrt(dt) * rng.normal(size=y.shape)
    twin = np.abs(np.exp(1j * y).mean(axis=1)) ** 2
    mean, error = (float(run.r2.sel(statistic=s)[-1]) for s in ("mean", "sem"))
    assert abs(mean - twin.mean()) < 4 * np.hypot(error, twin.std() / np.sqrt(len(twin)))
    assert mean > 0.3


@pytest.fixture(scope="module")
def settings() -> dict[str, Any]:
    drift = [K * (S - X) + table(T, [0, 0.25, 1], [0, 1, 0.5]), -S + X.mean()]
    sde = SDE([X, S], drift=drift, diffusion=[0.3 * X, 0.1], time=T, parameters=[K])
    return {
        "problem": sde,
        "start": {X: Normal(1, 0.5), S: 0.2},
        "parameters": {"k": 1.5},
        "time": 0.5,
        "dt": 0.01,
        "paths": 700,
        "save_at": 3,
        "scheme": "milstein",
        "observables": {"gap": X - S, "top": X.max()},
        "events": {"up": (X.max() > 2) & (X.min() > 0)},
        "check": False,
    }


def test_a_result_has_a_variable_an_array(settings: dict[str, Any]) -> None:
    run = simulate(**settings, covariance=["X", "s"], histogram={"gap": [-1, 0, 1]})
    assert run.X.dims == ("statistic", "time", "X_0") and run.gap.shape == (10, 3, N)
    assert run.covariance.shape == (3, N + 1, N + 1) and run.gap_histogram.shape == (3, N, 4)
    paths = simulate(**settings, keep="paths")
    up = (paths.X.max("X_0") > 2) & (paths.X.min("X_0") > 0)
    assert int(run.up_count[-1]) >= int(up.any("time").sum()) > 0
    np.testing.assert_allclose(paths.X.mean("path"), run.X.sel(statistic="mean"), rtol=1e-12)
    np.testing.assert_allclose(paths.gap, paths.X - paths.s, rtol=1e-13)
    np.testing.assert_array_equal(paths.top, paths.X.max("X_0"))
    assert json.loads(run.attrs["run"])["problem"]["drift"]


def test_bits_do_not_depend_on_threads_or_resumption(settings: dict[str, Any], tmp_path: Any) -> None:
    first = simulate(**settings, threads=1)
    second = simulate(**settings, threads=2, checkpoint=tmp_path / "run.ckpt")
    third = simulate(**settings, threads=2, checkpoint=tmp_path / "run.ckpt")
    for other in (second, third):
        assert other.attrs["result_hash"] == first.attrs["result_hash"]


def test_the_default_step_resolves_what_is_fast() -> None:
    """A heated rod of 50 nodes: 4 D/dx^2 = 104 per unit time, so steps below a fiftieth of 1/104."""
    n, d = 50, 0.01
    dx = 1 / (n + 1)
    U = states("U", (n,))
    padded = np.concatenate([np.zeros(1), U, np.zeros(1)])
    rod = SDE(U, drift=d / dx**2 * (padded[2:] - 2 * U + padded[:-2]), diffusion=0.1)
    begin = np.sin(np.pi * np.arange(1, n + 1) * dx)
    run = simulate(rod, start={U: begin}, time=0.2, paths=500, save_at=2)
    assert 0.1 / 104 / 50 < run.attrs["dt"] < 1.1 / 104 * 0.02
    rate = 4 * d / dx**2 * np.sin(np.pi * dx / 2) ** 2
    mean, sem = (run.U.sel(statistic=s)[-1].values for s in ("mean", "sem"))
    assert (np.abs(mean - begin * np.exp(-rate * 0.2)) < 5 * sem).all()  # alpha = 3e-5 over the nodes


def test_float32_and_lost_paths() -> None:
    run = simulate(
        SDE(X, drift=X**3, diffusion=1), start={X: np.full(N, 2.0)}, time=1.0, dt=0.01, paths=100, save_at=2,
        dtype="float32", check=False,
    )  # fmt: skip
    assert run.attrs["dtype"] == "float32" and int(run.exploded[-1]) > 50
    assert "X[" in run.attrs["explosions"]


BAD = {
    "needs diagonal noise where states are arrays": lambda: prepare(INWARD[0], "platen-weak-2"),
    "needs noises that commute": lambda: prepare(INWARD[0], "milstein"),
    "must be one expression": lambda: simulate(
        ADDITIVE[0], start={X: np.ones(N), S: 0.0}, time=1.0, parameters={K: 1}, events={"e": X > 1}
    ),
    "must have shape": lambda: simulate(ADDITIVE[0], start={X: np.ones(3), S: 0.0}, time=1.0, parameters={K: 1}),
    "may use the states": lambda: prepare(ADDITIVE[0], "euler-maruyama", {"o": X * sp.Symbol("q")}),
    "takes equations of scalars": lambda: convergence(INWARD[0], "euler-maruyama", start={X: np.ones(N), S: 0.0}),
    "expectation: takes equations": lambda: expectation(
        INWARD[0], S, start={X: np.ones(N), S: 0.0}, time=1.0, tolerance=0.1
    ),
    "needs a noise whose strength": lambda: INWARD[0].to("stratonovich"),
}


@pytest.mark.parametrize("rule", BAD)
def test_refusals(rule: str) -> None:
    with pytest.raises(InputError, match=rule):
        BAD[rule]()


@njit
def _force(x: Any, t: Any, out: Any) -> None:
    for i in range(len(x)):
        out[i] = -x[i] + np.sin(t) * x[(i + 1) % len(x)]


@njit
def _own(x: Any, t: Any, out: Any) -> None:
    for i in range(len(x)):
        out[i] = 0.3 * np.sqrt(1 + x[i] ** 2) * (1 + t)


@njit
def _fixed(x: Any, t: Any, out: Any) -> None:
    for i in range(len(x)):
        out[i] = 0.3 * (1 + t) * (i + 1) + x[i]


@njit
def _shared(x: Any, t: Any, out: Any) -> None:
    for i in range(len(x)):
        for j in range(3):
            out[i, j] = 0.1 * (i + j) * x[i]


def _force_of_arrays(x: Any, t: Any) -> Any:
    return -x + np.sin(t) * np.roll(x, -1)


COMPILED: dict[str, tuple[Any, Any, str, dict[str, int]]] = {
    "diagonal": (_own, lambda x, t: 0.3 * np.sqrt(1 + x**2) * (1 + t), "sriw1", {}),
    "additive": (_fixed, lambda x, t: 0.3 * (1 + t) * np.arange(1, N + 1), "sra1", {}),
    "general": (_shared, lambda x, t: 0.1 * (np.arange(N)[:, None] + np.arange(3)) * x[:, None], "heun", {"noises": 3}),
}


@pytest.mark.parametrize("noise", [pytest.param(n, marks=[pytest.mark.slow] * (n == "additive")) for n in COMPILED])
def test_functions_of_ones_own(noise: str) -> None:
    """The same step as the same equation in symbols, as plain Python; one run as compiled."""
    given, written, scheme, more = COMPILED[noise]
    sense = "stratonovich" if scheme == "heun" else "ito"
    own = SDE.compiled(N, _force, given, noise, interpretation=sense, **more)
    symbols = SDE(X, drift=_force_of_arrays, diffusion=written, interpretation=sense)
    assert own.noise_class == noise == symbols.noise_class
    run = {"start": {"X": np.ones(N)}, "time": 0.2, "dt": 0.02, "paths": 100, "save_at": 2, "scheme": scheme}
    found = simulate(own, **run).X  # type: ignore[arg-type]
    np.testing.assert_allclose(found, simulate(symbols, **run).X, rtol=1e-12)  # type: ignore[arg-type]


WRONG = {
    "compiled by numba.njit": lambda: SDE.compiled(N, lambda x, t, out: None, _own),
    "is called as f": lambda: SDE.compiled(N, _force, _shared),
    "must write into out": lambda: SDE.compiled(N, njit(lambda x, t, out: None), _own),
    "goes with noise='general'": lambda: SDE.compiled(N, _force, _own, noises=2),
    "has no derivative": lambda: prepare(SDE.compiled(N, _force, _own), "milstein"),
}


@pytest.mark.parametrize("rule", WRONG)
def test_refusals_of_functions_of_ones_own(rule: str) -> None:
    with pytest.raises(InputError, match=rule):
        WRONG[rule]()
