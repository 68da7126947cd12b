"""The laboratory's own parts: coupled paths, fitted orders and their intervals, what it prints, draws and refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy as sp

from sde import SGD, convergence, simulate
from sde.engine.refinement import coefficients, coupling
from sde.estimators.convergence_order import slope, strong_slope, weak_slope
from symbolic import SDE
from symbolic.library import LIBRARY

X, Y, s = sp.symbols("X Y s", real=True)
STEPS = 0.125 / 2 ** np.arange(5)


@pytest.mark.parametrize(("modes", "refine"), [(1, 3), (2, 4), (5, 7)])
def test_coupled_coefficients_are_independent_normals(modes: int, refine: int) -> None:
    rows = coefficients(modes, refine).reshape(modes, -1)
    assert rows @ rows.T == pytest.approx(np.eye(modes), abs=1e-13)
    assert rows[0].reshape(refine, modes)[:, 0] == pytest.approx(np.full(refine, refine**-0.5), abs=1e-14)
    twice = np.einsum("aib,bjc->aijc", coefficients(modes, refine), coefficients(modes, 2))
    assert twice.reshape(modes, 2 * refine, modes) == pytest.approx(coefficients(modes, 2 * refine), abs=1e-13)


def test_the_integral_of_a_coupled_path_is_the_paths() -> None:
    """dX = dW, dY = X dt under SRA1, which takes int W dt exactly: ends agree to rounding whatever the step."""
    sde = SDE([X, Y], [0, X], [[1], [0]])

    def ends(dt: float, refine: int) -> tuple[np.ndarray, np.ndarray]:
        run = simulate(
            sde,
            start={X: 0.0, Y: 0.0},
            time=1.0,
            dt=dt,
            refine=refine,
            scheme="sra1",
            paths=300,
            save_at=2,
            keep="paths",
            observables={"W": sde.W[0]},
        )
        assert (run.W.values == run.X.values).all()
        return run.X.values[:, -1], run.Y.values[:, -1]

    fine = ends(1 / 64, 1)
    for n in (1, 4, 32):
        assert np.array(ends(1 / n, 64 // n)) == pytest.approx(np.array(fine), abs=1e-12)
    assert abs(ends(1 / 4, 1)[0] - fine[0]).min() > 1e-9
    assert fine[1].var() == pytest.approx(1 / 3, rel=5 * np.sqrt(2 / 300))


def test_all_schemes_follow_one_brownian_path() -> None:
    sde = SDE([X], [-X], [[1]])
    settings: dict[str, Any] = {"start": {X: 0.0}, "time": 1.0, "dt": 0.1, "paths": 50, "save_at": 2, "keep": "paths"}
    ends = [
        simulate(sde, scheme=scheme, observables={"W": sde.W[0]}, **settings).W.values[:, -1]
        for scheme in ("euler-maruyama", "sra1", "sriw1", "milstein-levy:5")
    ]
    assert all(np.array_equal(end, ends[0]) for end in ends)


def test_a_loss_couples_too() -> None:
    """A long step's noise is the sum of the short steps': with a constant gradient factor, ends agree to rounding."""
    loss = LIBRARY["rescaling"].build()
    settings: dict[str, Any] = {
        "start": {"u": 1.2, "w": 0.6},
        "time": 0.01,
        "paths": 400,
        "save_at": 2,
        "keep": "paths",
    }
    once = simulate(loss, SGD(0.1), dt=0.01, refine=8, **settings).u.values[:, -1]
    fine = simulate(loss, SGD(0.1), dt=0.01 / 8, **settings).u.values[:, -1]
    other = simulate(loss, SGD(0.1), dt=0.01, **settings).u.values[:, -1]
    assert np.std(once - fine) < 0.15 * np.std(once - other)


def synthetic(order: float, rng: np.random.Generator, paths: int = 1000) -> np.ndarray:
    """Errors C h^p (1 + h) times normals that are shared, in part, by the steps: (K, paths)."""
    common, own = rng.normal(size=paths), rng.normal(size=(len(STEPS), paths))
    return (STEPS**order * (1 + STEPS))[:, None] * (common + own) / np.sqrt(2)


@pytest.mark.parametrize("order", [0.5, 1.0, 1.5])
def test_strong_intervals_hold_the_order_as_often_as_they_say(order: float) -> None:
    """400 sets: at least 95 % less three standard errors (a binomial's), and an order off by 1/4 in less than half."""
    rng = np.random.default_rng(7)
    fits = [strong_slope(STEPS, synthetic(order, rng) ** 2).interval for _ in range(400)]
    assert np.mean([low <= order <= high for low, high in fits]) > 0.95 - 3 * np.sqrt(0.95 * 0.05 / 400)
    assert np.mean([low <= order + 0.25 <= high for low, high in fits]) < 0.5


def test_weak_slopes_stop_where_noise_hides_the_mean() -> None:
    rng = np.random.default_rng(8)
    gaps = STEPS[:, None] ** 2 * (1 + 0.5 * rng.normal(size=(5, 1000)))
    clear = weak_slope(STEPS, gaps)
    assert clear.interval[0] <= 2 <= clear.interval[1] and clear.interval[1] - clear.interval[0] < 0.4
    hidden = gaps + 0.01 * rng.normal(size=gaps.shape)
    assert np.isnan(weak_slope(STEPS, hidden).value) and np.isinf(weak_slope(STEPS, hidden).interval[1])
    assert np.isnan(weak_slope(STEPS, np.zeros((5, 100))).value)
    assert np.isnan(strong_slope(STEPS, np.zeros((5, 100))).value)


def test_an_exact_power_is_found_exactly() -> None:
    found = slope(STEPS, 3 * STEPS**1.5, np.zeros((5, 100)))
    assert found.value == pytest.approx(1.5, abs=1e-10) and np.ptp(found.interval) < 1e-9


GBM = SDE([X], [X / 2], [[X / 2]], name="gbm")


def solution(x: Any, t: Any, W: Any) -> list[Any]:
    return [x[0] * sp.exp(sp.Rational(3, 8) * t + W[0] / 2)]


def test_what_it_reports(tmp_path: Path) -> None:
    found = convergence(GBM, "milstein", exact=solution, start={X: 1.0}, paths=1000)
    assert [row["dt"] for row in found.errors] == [1 / 8, 1 / 16, 1 / 32, 1 / 64, 1 / 128]
    assert found.strong_interval[0] <= 1 <= found.strong_interval[1] and found.stated == (1.0, 1.0)
    text = str(found)
    assert text.startswith("milstein on gbm (scalar noise), 1000 paths, against the exact solution")
    assert f"strong order {found.strong:.3f}" in text and "stated 1" in text
    for name in ("plot.png", "plot.svg"):
        assert found.plot(tmp_path / name).stat().st_size > 1000
    assert str(convergence(GBM, "milstein", exact=solution, start={X: 1.0}, paths=1000, threads=1)) == text


def test_a_solution_may_be_written_with_the_sdes_symbols_and_parameters() -> None:
    mu, sigma = sp.symbols("mu sigma", real=True)
    sde = SDE([X], [mu * X], [[sigma * X]], parameters=[mu, sigma], time=s)
    exact = [X * sp.exp((mu - sigma**2 / 2) * s + sigma * sde.W[0])]
    found = convergence(
        sde, "milstein", exact=exact, start={X: 1.0}, parameters={mu: 0.5, sigma: 0.5}, paths=1000, functional=X
    )
    same = convergence(GBM, "milstein", exact=solution, start={X: 1.0}, paths=1000, functional=X)
    assert found.strong == pytest.approx(same.strong, rel=1e-6) and found.weak == pytest.approx(same.weak, rel=1e-6)


def test_a_reference_run_stands_in_for_the_solution() -> None:
    found = convergence(GBM, "euler-maruyama", reference="sriw1", start={X: 1.0}, paths=2000, steps=16, levels=4)
    exact = convergence(GBM, "euler-maruyama", exact=solution, start={X: 1.0}, paths=2000, steps=16, levels=4)
    assert found.strong_error == pytest.approx(exact.strong_error, rel=0.1)
    assert found.against == "sriw1 at dt = 0.00195312"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sde": "gbm"}, "convergence: needs an SDE; got 'gbm'"),
        ({"levels": 2}, "convergence.levels: must be a whole number of at least 4; got 2"),
        ({"paths": 10}, "convergence.paths: must be a whole number of at least 100"),
        ({"exact": solution, "reference": "sriw1"}, "give exact or reference, not both"),
        ({"exact": [X, X]}, r"convergence.exact: must have one entry per state \(1\); got 2"),
        ({"exact": lambda x, t, W: [np.exp(x[0])]}, "Use SymPy's functions"),
        (
            {"exact": solution, "start": {X: [1.0] * 1000}},
            r"convergence.start\[X\]: an exact solution needs one number",
        ),
        ({"scheme": "heun"}, "integrates stratonovich equations"),
        ({"scheme": "rk4"}, "scheme: must be one of"),
        (
            {"sde": SDE([X], [-100 * X**3], [[1]], name="steep"), "start": {X: 5.0}},
            "convergence: no path may explode; got 1000 of 1000",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:.*exploded:RuntimeWarning")
def test_what_it_refuses(changes: dict[str, Any], message: str) -> None:
    settings: dict[str, Any] = {"sde": GBM, "start": {X: 1.0}, "paths": 1000} | changes
    with pytest.raises(ValueError, match=message):
        convergence(settings.pop("sde"), **settings)


@pytest.mark.parametrize("refine", [0, -1, 1.5, True, 10_000])
def test_refine_must_be_a_moderate_count(refine: Any) -> None:
    with pytest.raises(ValueError, match="refine: "):
        simulate(GBM, start={X: 1.0}, time=1.0, dt=0.1, paths=2, refine=refine)


def test_coupling_keeps_normals_of_their_own_apart() -> None:
    out = coupling(channels=2, modes=1, inputs=3, refine=4).reshape(3, 4, 3)
    assert (out[2, :, 2] == 0.5).all() and not out[:2, :, 2].any() and not out[2, :, :2].any()
