"""The SDE's integration against closed forms, the noise it should have, and the shape of results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy as sp
import xarray as xr

from sde import SGD, simulate
from sde.engine import ensemble
from sde.engine.plan import Plan
from sde.engine.program import load
from sde.kernels import drivers
from sde.kernels.loop import Clock
from sde.storage.netcdf import write as write_netcdf
from symbolic import SDE, Dataset, Loss, Normal, derive, parameters
from symbolic.codegen.prepare import KEPT, prepare
from symbolic.library import LIBRARY
from symbolic.problem.optimizer import warmup

X, Y, s, a, b, u, w, x, y = sp.symbols("X Y s a b u w x y", real=True)
RESCALING = LIBRARY["rescaling"].build()
START = {"u": 1.2, "w": 0.6}


def final(run: xr.Dataset, name: str = "X") -> np.ndarray:
    return run[name].values[:, -1]


def test_ou_mean_and_variance() -> None:
    """Euler-Maruyama's own mean and variance are known in closed form: 5 standard errors."""
    rate, strength, h, n = 1.5, 0.8, 0.05, 40
    out = final(
        simulate(
            SDE([X], [-rate * X], [[strength]]),
            start={X: 2.0},
            time=h * n,
            dt=h,
            paths=50_000,
            seed=1,
            save_at=2,
            keep="paths",
        )
    )
    q = 1 - rate * h
    variance = strength**2 * h * (1 - q ** (2 * n)) / (1 - q**2)
    assert abs(out.mean() - 2 * q**n) < 5 * np.sqrt(variance / len(out))
    assert abs(out.var(ddof=1) / variance - 1) < 5 * np.sqrt(2 / len(out))


def test_gbm_mean_and_second_moment() -> None:
    mu, sigma, h, n = 0.5, 0.4, 0.02, 50
    out = final(
        simulate(
            SDE([X], [mu * X], [[sigma * X]]),
            start={X: 1.0},
            time=1.0,
            dt=h,
            paths=50_000,
            seed=2,
            save_at=2,
            keep="paths",
        )
    )
    for power, expected in ((1, (1 + mu * h) ** n), (2, ((1 + mu * h) ** 2 + sigma**2 * h) ** n)):
        assert abs((out**power).mean() - expected) < 5 * (out**power).std() / np.sqrt(len(out))


def test_correlated_noises_and_time() -> None:
    """dX = 2t dt + t dW_1, dY = dW_1 - dW_2: means, variances and covariance within 5 standard errors."""
    n, h = 40_000, 0.01
    run = simulate(
        SDE([X, Y], [2 * s, 0], [[s, 0], [1, -1]], time=s),
        start={X: 0.0, Y: 0.0},
        time=1.0,
        dt=h,
        paths=n,
        seed=3,
        save_at=2,
        keep="paths",
    )
    times = np.arange(100) * h
    found, expected = (
        np.cov(final(run, "X"), final(run, "Y")),
        np.array([[np.sum(times**2) * h, np.sum(times) * h], [np.sum(times) * h, 2.0]]),
    )
    assert abs(final(run, "X").mean() - np.sum(2 * times) * h) < 5 * np.sqrt(expected[0, 0] / n)
    error = np.sqrt((np.outer(np.diag(expected), np.diag(expected)) + expected**2) / n)
    assert (np.abs(found - expected) < 5 * error).all()


def test_weak_order_one_two_sided() -> None:
    """Slope of |E X_T - exact| in h for geometric Brownian motion: its 99.9% interval lies within (0.85, 1.1)."""
    steps, errors, sems = np.array([8, 16, 32]), [], []
    for k, n in enumerate(steps):
        out = final(
            simulate(
                SDE([X], [X], [[X / 10]]),
                start={X: 1.0},
                time=1.0,
                dt=1 / n,
                paths=200_000,
                seed=10 + k,
                save_at=2,
                keep="paths",
            )
        )
        errors.append(abs(out.mean() - np.e))
        sems.append(out.std() / np.sqrt(len(out)))
    lever = -np.log(steps) - np.mean(-np.log(steps))
    slope = np.sum(lever * np.log(errors)) / np.sum(lever**2)
    half = 3.29 * np.sqrt(np.sum((lever * np.array(sems) / np.array(errors)) ** 2)) / np.sum(lever**2)
    assert slope - half > 0.85 and slope + half < 1.1


def test_no_noise_is_eulers_method() -> None:
    run = simulate(
        SDE([X, Y], [Y, -sp.sin(X) + s], [[0], [0]], time=s),
        start={X: 1.0, Y: 0.0},
        time=2.0,
        dt=0.1,
        paths=3,
        save_at=21,
        keep="paths",
    )
    p, q = 1.0, 0.0
    for k in range(20):
        p, q = p + 0.1 * q, q + 0.1 * (-np.sin(p) + 0.1 * k)
    assert final(run, "X") == pytest.approx(np.full(3, p), rel=1e-13)
    assert final(run, "Y") == pytest.approx(np.full(3, q), rel=1e-13)


def test_fake_noise_is_the_matching_ode() -> None:
    """Increments that are a constant c h turn dX = f dt + g dW into x' = f + c g."""
    prepared = prepare(SDE([X], [-X], [[1 + X**2]]), "euler-maruyama")
    h, c, steps = 0.01, 0.5, 100
    program = load(prepared.module.text, prepared.module.manifest)
    clock = Clock(h * np.arange(steps + 1), np.full(steps, h), np.ones(steps), np.array([steps]))
    plan = Plan(
        program=program,
        driver=drivers.mean([c * h], np.dtype("float64")),
        clock=clock,
        parameters=np.empty(0),
        start=lambda first, n: np.full((n, 1), 0.3),
        paths=2,
        seed=0,
        bound=1e9,
        keep=True,
    )
    value = 0.3
    for _ in range(steps):
        value += h * (-value + c * (1 + value**2))
    assert ensemble.run(plan).kept[0, 0] == pytest.approx([value, value], rel=1e-13)


def sigma_cases() -> dict[str, tuple[Loss, dict[str, Any]]]:
    """Fresh samples, rows through features, and rows through weights, seven of them so that no group of four comes out
    even."""
    names = ("rescaling", "matrix-factorization", "two-layer-relu", "softmax-regression")
    rows = Dataset({x: np.linspace(-1, 2, 7), y: np.cos(np.arange(7.0))})
    return {name: (LIBRARY[name].build(), dict(LIBRARY[name].start)) for name in names} | {
        "seven-rows": (Loss((u * w * x - y) ** 2, [u, w], rows), START),
        "seven-rows-tanh": (Loss((u * sp.tanh(w * x) - y) ** 2, [u, w], rows), START),
    }


@pytest.mark.parametrize("name", sigma_cases())
def test_one_step_has_the_gradients_mean_and_covariance(name: str) -> None:
    """theta' - theta over one step dt: mean -dt grad L, covariance T dt Sigma. Each entry within 5 standard errors.
    docs/theory.md eq. (1.1)."""
    loss, start = sigma_cases()[name]
    theory, theta, n, dt, sgd = derive(loss), loss.pack(start), 20_000, 0.02, SGD(0.05, 4)
    run = simulate(loss, sgd, start=start, time=dt, dt=dt, paths=n, seed=5, save_at=2, keep="paths")
    moved = np.concatenate([run[p.name].values[:, -1].reshape(n, -1) for p in loss.parameters], axis=1) - theta
    expected = 0.05 / 4 * dt * theory.sigma(theta)
    spread = np.sqrt(np.diag(expected))
    assert (np.abs(moved.mean(axis=0) + dt * theory.mean_gradient(theta)) <= 5 * spread / np.sqrt(n) + 1e-12).all()
    error = np.sqrt((np.outer(spread, spread) ** 2 + expected**2) / n)
    assert (np.abs(np.cov(moved.T) - expected) <= 5 * error + 1e-14).all()
    assert spread.max() > 0


def test_weights_without_replacement_shrink_the_noise() -> None:
    """docs/theory.md eq. (6.2)."""
    loss, start = sigma_cases()["two-layer-relu"]
    spread = [
        simulate(loss, SGD(0.05, 32, replacement=r), start=start, time=0.02, dt=0.02, paths=4000, seed=6, save_at=2)[
            "a"
        ]
        .sel(statistic="std")
        .values[-1]
        for r in (True, False)
    ]
    assert (spread[1] / spread[0]) ** 2 == pytest.approx(np.full(2, 32 / 63), rel=1e-9)


def test_schedule_and_momentum_scale_the_flow() -> None:
    """One data row: no noise, so Euler's method with steps dt s(t)/(1 - beta). docs/theory.md eq. (3.9)."""
    loss = Loss((u * x - y) ** 2, [u], Dataset({x: [1.5], y: [2.0]}))
    run = simulate(
        loss,
        SGD(0.1, momentum=0.5, weight_decay=0.3, schedule=warmup(1.0)),
        start={u: 0.2},
        time=2.0,
        dt=0.1,
        paths=2,
        save_at=21,
        keep="paths",
    )
    value, expected = 0.2, [0.2]
    for k in range(20):
        value -= 0.1 * min(0.1 * k, 1.0) / 0.5 * (2 * 1.5 * (1.5 * value - 2.0) + 0.3 * value)
        expected.append(value)
    assert run.u.values[1] == pytest.approx(expected, rel=1e-12)


def test_dims_coordinates_and_attributes() -> None:
    U, v = parameters(U=(3, 2), v=(2,))
    loss = Loss(((U * v).T * (U * v))[0, 0] * x**2, [U, v], {x: Normal(0, 1)})
    settings: dict[str, Any] = {
        "start": {"U": np.arange(6.0).reshape(3, 2) / 10, "v": [0.5, -0.5]},
        "time": 0.2,
        "dt": 0.05,
        "paths": 7,
        "seed": 2**63,
        "save_at": [0.1, 0.15],
        "observables": {"G": U.T * U, "n": U[0, 0] ** 2, "late": 2 * sp.Symbol("t", real=True)},
    }
    kept, summary = simulate(loss, SGD(0.1), keep="paths", **settings), simulate(loss, SGD(0.1), **settings)
    for run, leading, size in ((kept, "path", 7), (summary, "statistic", 10)):
        assert set(run.data_vars) == {"U", "v", "G", "n", "late", "exploded"}
        for name, shape in (("U", (3, 2)), ("v", (2,)), ("G", (2, 2)), ("n", ()), ("late", ())):
            assert run[name].dims[:2] == (leading, "time") and run[name].shape == (size, 3, *shape)
        assert run.exploded.dims == ("time",) and run.exploded.values.tolist() == [0, 0, 0]
        assert run.time.values.tolist() == [0.1, 0.15, 0.2]
        for key in ("seed", "scheme", "dt", "spec_hash", "versions", "wall_seconds", "compile_seconds"):
            assert key in run.attrs
        assert (
            str(run.attrs["seed"]) == str(2**63)
            and run.attrs["scheme"] == "euler-maruyama"
            and run.attrs["dt"] == pytest.approx(0.05)
        )
    assert summary.statistic.values.tolist() == ["mean", "std", "sem", "min", "max", "q05", "q25", "q50", "q75", "q95"]
    assert kept.path.values.tolist() == list(range(7))
    assert kept.G.values == pytest.approx(np.einsum("ptki,ptkj->ptij", kept.U.values, kept.U.values), rel=1e-12)
    assert kept.late.values[0].tolist() == [0.2, 0.3, 0.4]


def test_the_result_survives_a_file(tmp_path: Path) -> None:
    run = simulate(RESCALING, SGD(0.05), start=START, time=0.1, dt=0.05, paths=5, save_at=3, keep="paths")
    path = write_netcdf(tmp_path / "run.nc", run)
    with xr.open_dataset(path, engine="h5netcdf") as back:
        xr.testing.assert_equal(back.load(), run)
        assert back.attrs["spec_hash"] == run.attrs["spec_hash"]
    assert [p.name for p in tmp_path.iterdir()] == ["run.nc"]
    with pytest.raises(OSError, match="output: the file must be writable"):
        write_netcdf(tmp_path / "no" / "run.nc", run)


def test_the_default_step_is_a_quarter_of_the_rate_and_the_last_time_exact() -> None:
    run = simulate(RESCALING, SGD(0.04), start=START, time=0.37, paths=2, save_at=2)
    assert run.attrs["dt"] <= 0.01 * (1 + 1e-9) and run.time.values.tolist() == [0.0, 0.37]


def test_spec_hash_is_the_problems() -> None:
    def mark(loss: Loss = RESCALING, sgd: SGD | None = None, **changes: Any) -> str:
        settings: dict[str, Any] = {"start": START, "time": 0.1, "dt": 0.05, "paths": 2, "save_at": 2}
        return str(simulate(loss, sgd or SGD(0.05), **settings | changes).attrs["spec_hash"])

    base = mark()
    assert base == mark() == mark(threads=1)
    assert (
        len(
            {
                base,
                mark(sgd=SGD(0.06)),
                mark(time=0.2),
                mark(start={"u": 1.0, "w": 0.6}),
                mark(observables={"o": u}),
                mark(dt=0.025),
            }
        )
        == 6
    )
    assert mark(start={"u": Normal(1, 1), "w": 0.6}) == mark(start={"u": Normal(1, 1), "w": 0.6})
    assert mark(start={"u": Normal(1, 1), "w": 0.6}) != mark(start={"u": Normal(1, 2), "w": 0.6})


def test_spec_hash_knows_the_rows() -> None:
    def mark(rows: list[float]) -> str:
        loss = Loss((sp.tanh(u * x) - y) ** 2, [u], Dataset({x: rows, y: [1.0, 2.0]}))
        return str(simulate(loss, SGD(0.05), start={u: 1.0}, time=0.1, dt=0.05, paths=2, save_at=2).attrs["spec_hash"])

    assert mark([1.0, 2.0]) == mark([1.0, 2.0]) != mark([1.0, 3.0])


def test_nothing_in_the_noise_means_nothing_moves_apart() -> None:
    """A loss that no data moves runs as gradient flow."""
    run = simulate(
        Loss(u**2 + w**2, [u, w], {}),
        SGD(0.1),
        start={u: 1.0, w: 0.5},
        time=1.0,
        dt=0.1,
        paths=3,
        save_at=2,
        keep="paths",
    )
    assert final(run, "u") == pytest.approx(np.full(3, 0.8**10), rel=1e-12)


def test_observables_may_use_the_sdes_own_time() -> None:
    tau = sp.Symbol("tau", positive=True)
    problem = SDE([X], [tau], [[0]], time=tau)
    run = simulate(
        problem, start={X: 0.0}, time=1.0, dt=0.5, paths=1, save_at=3, keep="paths", observables={"o": X + 2 * tau}
    )
    assert run.o.values[0].tolist() == [0.0, 1.0, 2.25]


def test_what_was_prepared_is_kept_and_only_for_the_same_question() -> None:
    sde = SDE([X], [-X], [[1]])
    first = prepare(sde, "euler-maruyama", {"C": X**2})
    assert prepare(sde, "euler-maruyama", {"C": X**2}) is first
    for other in (
        prepare(sde, "milstein", {"C": X**2}),
        prepare(sde, "euler-maruyama", {"C": X**3}),
        prepare(sde, "euler-maruyama", {"D": X**2}),
        prepare(sde, "euler-maruyama", {"C": X**2}, "float32"),
        prepare(SDE([X], [-X], [[1]]), "euler-maruyama", {"C": X**2}),
    ):
        assert other is not first
    for power in range(2, 40):
        prepare(sde, "euler-maruyama", {"C": X**power})
    assert len(sde.prepared) == KEPT
