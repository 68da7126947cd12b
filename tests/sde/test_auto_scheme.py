"""`scheme="auto"`: by stiffness, noise class and what is asked for; and what is stiff comes out right."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy as sp
from scipy.linalg import expm

from sde import simulate
from symbolic import SDE, integral
from symbolic.schemes import step_map

X, Y = sp.symbols("X Y", real=True)


@pytest.mark.parametrize("dt", [10, 0.1, 0.01, 0.0002])
def test_case_a6_a_stiff_ornstein_uhlenbeck_process(dt: float) -> None:
    """Variance 5e-4 of dX = -1000 X dt + dW at any step."""
    ou = SDE([X], [-1000 * X], [[1]])
    run = simulate(ou, start={X: 1}, time=10 if dt == 10 else 0.1, dt=dt, paths=40_000, scheme="auto", save_at=2)
    assert float(run.X.sel(statistic="std")[-1]) ** 2 == pytest.approx(5e-4, rel=0.04)
    assert run.attrs["scheme"] == ("sra1" if dt == 0.0002 else "exponential-euler")
    assert ("not stiff" in run.attrs["scheme_reason"]) == (dt == 0.0002) and run.attrs["exploded_paths"] == 0


def _damped(rate: float) -> SDE:
    return SDE([X, Y], [Y, -rate * X - Y], [[0], [1]])


FAST: dict[str, tuple[SDE, float, float | None, str, float | None]] = {
    "relaxation over a long time": (SDE([X], [-1000 * X], [[1]]), 1e4, None, "exponential-euler", 1 / 2000),
    "oscillator over a long time": (_damped(400), 1e4, None, "exponential-coupled", 1 / 800),
    "oscillator": (_damped(400), 50, 0.1, "exponential-coupled", 1 / 800),
    "fast state that drives a slow one": (
        SDE([X, Y], [-3000 * X, Y - Y**3 + X], [[1, 0], [0, 1]]), 5, None, "exponential-coupled", 1 / 6000),
    "two wells held together": (
        SDE([X, Y], [2000 * (Y - X) + X - X**3, 2000 * (X - Y) + Y - Y**3], [[1, 0], [0, 1]]), 5, None,
        "exponential-coupled", None),
    "pendulum": (SDE([X, Y], [Y, -400 * sp.sin(X) - Y], [[0], [1]]), 1, 0.1, "sra1", None),
    "noise of several": (SDE([X, Y], [-1000 * X, -500 * Y], [[1], [1]]), 0.1, None, "sra1", None),
    "noise of the state": (SDE([X], [-1000 * X], [[X]]), 0.1, None, "platen-weak-2", None),
}  # fmt: skip


@pytest.mark.parametrize("name", FAST)
def test_auto_without_a_step_does_not_resolve_what_its_scheme_solves(name: str) -> None:
    """Stationary variances of X where steps are long beside its relaxation or turns: seen with no dt, and with an
    oscillator's; what is no linear part of numbers, or leaves other noise, is resolved as it was."""
    sde, time, dt, scheme, variance = FAST[name]
    paths = 4000 if variance else 8
    run = simulate(sde, start=dict.fromkeys(sde.states, 0.0), time=time, dt=dt, paths=paths, scheme="auto", save_at=2,
                   check=False)  # fmt: skip
    assert run.attrs["scheme"] == scheme and run.attrs["exploded_paths"] == 0
    assert (run.attrs["dt"] > 5e-4) == scheme.startswith("exponential") or dt
    if variance:
        assert float(run.X.sel(statistic="std")[-1]) ** 2 == pytest.approx(variance, rel=5 * np.sqrt(2 / paths))


def test_auto_resolves_all_where_a_run_looks_between_its_saves() -> None:
    """An integral along paths, an event, and drifts that move with time ask for steps that resolve them."""
    t, ou = sp.Symbol("t", real=True), SDE([X], [-1000 * X], [[1]])
    seasons = SDE([X], [-1000 * X + sp.sin(50 * t)], [[1]], time=t)
    for sde, more in ((ou, {"observables": {"I": integral(X**2)}}), (ou, {"events": {"up": X > 1}}), (seasons, {})):
        run = simulate(sde, start={X: 0.0}, time=0.1, paths=8, scheme="auto", save_at=2, check=False, **more)
        assert run.attrs["scheme"] == "sra1" and run.attrs["dt"] < 3e-5


@pytest.mark.parametrize("K", [1, 100, 10_000])
def test_case_a7_a_law_that_does_not_depend_on_the_unit(K: int) -> None:
    """Mean of X/K is .875 under dX = X (1 - X/K) dt + X dW/2."""
    sde = SDE([X], [X * (1 - X / K)], [[X / 2]])
    run = simulate(
        sde, start={X: K}, time=20, dt=0.05, paths=20_000, scheme="auto", observables={"part": X / K}, save_at=2
    )
    last = run.part.isel(time=-1)
    assert abs(float(last.sel(statistic="mean")) - 0.875) < 5 * float(last.sel(statistic="sem")) + 0.004


@pytest.mark.parametrize(
    ("sde", "more", "scheme"),
    [
        (SDE([X], [-X], [[1]]), {}, "sra1"),
        (SDE([X], [-X], [[X / 2]]), {}, "platen-weak-2"),
        (SDE([X], [-X], [[X / 2]]), {"keep": "paths"}, "sriw1"),
        (SDE([X, Y], [-X, -Y], [[0, Y], [X, 0]]), {"keep": "paths"}, "milstein-levy:"),
        (SDE([X, Y], [-X, -Y], [[X / 2, -Y / 2], [Y / 2, X / 2]]), {"keep": "paths"}, "milstein"),
        (SDE([X], [-X], [[X / 2]], "stratonovich"), {}, "heun"),
        (SDE([X], [-200 * X**3], [[X / 2]]), {}, "implicit-euler"),
        (SDE([X, Y], [-500 * X + 400 * Y, 400 * X - 500 * Y], [[1, 0], [0, 1]]), {}, "exponential-coupled"),
        (SDE([X, Y], [-500 * X + 400 * Y, 400 * X - 500 * Y], [[X, 0], [0, 1]]), {}, "implicit-euler"),
        (SDE([X, Y], [-500 * X + Y, X - Y], [[1, 0], [0, 1]]), {}, "exponential-euler"),
    ],
)
def test_what_is_chosen(sde: SDE, more: Any, scheme: str) -> None:
    start = dict.fromkeys(sde.states, 1.0)
    run = simulate(sde, start=start, time=0.2, dt=0.02, paths=20, scheme="auto", save_at=2, check=False, **more)
    assert run.attrs["scheme"].startswith(scheme) and run.attrs["scheme_reason"]


def test_a_run_that_is_told_nothing_is_as_before() -> None:
    sde = SDE([X], [-X], [[1]])
    one, other = (
        simulate(sde, start={X: 1}, time=1, dt=0.1, paths=20, scheme=s, check=False) for s in (None, "euler-maruyama")
    )
    assert one.attrs["result_hash"] == other.attrs["result_hash"] and "scheme_reason" not in one.attrs


def heat(nodes: int) -> tuple[SDE, np.ndarray]:
    """u_t = u_xx + noise on (0, 1) with u = 0 at the ends, by central differences: the equation and its matrix."""
    u = sp.symbols(f"u0:{nodes}", real=True)
    rate = (nodes + 1) ** 2
    padded = (0, *u, 0)
    drift = [rate * (padded[i] - 2 * padded[i + 1] + padded[i + 2]) for i in range(nodes)]
    matrix = rate * (np.eye(nodes, k=1) + np.eye(nodes, k=-1) - 2 * np.eye(nodes))
    return SDE(list(u), drift, sp.eye(nodes).tolist()), matrix


def test_a_heat_equation_of_50_nodes() -> None:
    """Fifty states that relax at up to 10^4 per unit time, in four steps: mean and variance are the solution's own."""
    sde, matrix = heat(50)
    begin = np.sin(np.pi * np.arange(1, 51) / 51)
    run = simulate(
        sde,
        start=dict(zip(sde.states, begin, strict=True)),
        time=0.1,
        dt=0.025,
        paths=4000,
        scheme="auto",
        save_at=2,
        check=False,
    )
    assert run.attrs["scheme"] == "exponential-coupled" and run.attrs["exploded_paths"] == 0
    assert "exactly" in run.attrs["scheme_reason"]
    decay, mean = expm(0.2 * matrix), expm(0.1 * matrix) @ begin
    covariance = np.linalg.solve(2 * matrix, decay - np.eye(50))
    found = np.array([run[s.name].values[:, -1] for s in sde.states])
    sem = np.sqrt(np.diag(covariance) / 4000)
    assert (np.abs(found[:, 0] - mean) < 5 * sem).all()
    assert found[:, 1] == pytest.approx(np.sqrt(np.diag(covariance)), rel=5 / np.sqrt(2 * 4000))


def test_a_heat_equation_by_implicit_steps() -> None:
    """Of noise in proportion, whose distribution no step draws exactly: the mean by NumPy's solves; the text's size is
    that of a band."""
    sde, matrix = heat(20)
    wide = SDE(list(sde.states), list(sde.drift_vector), sp.diag(*sde.states).tolist())
    begin = np.sin(np.pi * np.arange(1, 21) / 21)
    start = dict(zip(sde.states, begin, strict=True))
    run = simulate(wide, start=start, time=0.1, dt=0.01, paths=400, scheme="auto", save_at=2, check=False)
    assert run.attrs["scheme"] == "implicit-euler" and run.attrs["exploded_paths"] == 0
    mean = np.linalg.matrix_power(np.linalg.inv(np.eye(20) - 0.01 * matrix), 10) @ begin
    found = np.array([run[s.name].sel(statistic=["mean", "sem"]).values[:, -1] for s in sde.states])
    assert (np.abs(found[:, 0] - mean) < 5 * found[:, 1]).all()
    assert len(step_map(wide, "implicit-euler").statements) < 200


def test_a_bridge_at_its_end() -> None:
    """dX = (2 - X)/(1 - t) dt + dW is at 2 at time 1: the drift has no value there, and is not asked for one."""
    t = sp.Symbol("t", real=True)
    wide = SDE([X], [(2 - X) / (1 - t)], [[1 + X / 10]], time=t)
    run = simulate(wide, start={X: 0}, time=1, dt=0.01, paths=100, scheme="auto", save_at=3, check=False)
    assert run.attrs["scheme"] == "milstein" and run.attrs["exploded_paths"] == 0
    bridge = SDE([X], [(2 - X) / (1 - t)], [[1]], time=t)
    run = simulate(bridge, start={X: 0}, time=1, dt=0.01, paths=4000, scheme="auto", save_at=3, check=False)
    mean, std = (run.X.sel(statistic=s).values for s in ("mean", "std"))
    assert run.attrs["exploded_paths"] == 0 and abs(mean[-1] - 2) < 0.02 and std[-1] < 0.2
    assert abs(std[1] - 0.5) < 0.03 and abs(mean[1] - 1) < 0.04
