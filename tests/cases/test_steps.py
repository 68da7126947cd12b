"""Steps that were wrong without a word: too long for the rates, shortened by saves, blind to narrow input, lost in
rounding."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import sympy as sp
import xarray as xr
from scipy import integrate

from sde import SDE, SGD, Jump, simulate
from sde.api.time_steps import StepWarning
from sde.engine.dataset import ExplosionWarning
from symbolic import integral, running, states
from symbolic.library import LIBRARY

X, Y, V, Z, t = sp.symbols("X Y V Z t", real=True)
OU = SDE([X], [-X], [[1]], name="ornstein-uhlenbeck")
GBM = SDE([X], [X / 2], [[X / 4]], name="gbm")


def variance(run: xr.Dataset, name: str = "X") -> float:
    return float(run[name].sel(statistic="std")[-1]) ** 2


def mean(run: xr.Dataset, name: str = "X") -> float:
    return float(run[name].sel(statistic="mean")[-1])


def told(run: Any, kind: type[Warning] = StepWarning) -> list[str]:
    """The warnings of a kind that a call gives."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run()
    return [str(w.message) for w in caught if issubclass(w.category, kind)]


@pytest.mark.parametrize("time", [100, 500, 1000, 1900])
def test_case_a1_the_default_step_follows_the_rates(time: float) -> None:
    """The stationary variance is 1/2 however long the run: within 4 standard errors and 2 %."""
    run = simulate(OU, start={X: 0.0}, time=time, paths=4000, save_at=3)
    assert variance(run) == pytest.approx(0.5, abs=0.01 + 4 * 0.5 * np.sqrt(2 / 4000))
    assert 0.01 < run.attrs["dt"] <= 0.02


@pytest.mark.parametrize(
    ("sde", "start", "time", "expected"),
    [
        (SDE([X], [-200 * (X - 3)], [[2]]), {X: 3.0}, 20.0, 4 / 400),
        (SDE([X, V], [V, -25 * X - V], [[0], [1]]), {X: 0.0, V: 0.0}, 50.0, 1 / 50),
        (SDE([X, Y], [Y - X, -300 * Y], [[0], [30]]), {X: 0.0, Y: 0.0}, 10.0, 0.5 * 9e2 / (300 * 301)),
        (SDE([X], [-(1 + t) * X], [[sp.sqrt(1 + t)]], time=t), {X: 0.0}, 40.0, 0.5),
    ],
)
def test_case_a1_other_equations_whose_rates_are_fast(sde: SDE, start: Any, time: float, expected: float) -> None:
    """Stiff mean reversion, an oscillator with little friction, a fast state that drives a slow one, a rate that grows
    with time."""
    run = simulate(sde, start=start, time=time, paths=2000, save_at=3)
    assert variance(run) == pytest.approx(expected, rel=0.03 + 4 * np.sqrt(2 / 2000))


def test_case_a1_a_default_that_takes_too_many_steps_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"dt: the equation changes at a rate of 1e\+06 per unit time, which takes .* steps"
    ):
        simulate(SDE([X], [-(10**6) * X], [[1]]), start={X: 0.0}, time=1000.0)


def test_case_a1_a_step_that_is_too_long_is_told_with_its_size() -> None:
    (said,) = told(lambda: simulate(OU, start={X: 0.0}, time=1000.0, dt=1.0))
    assert said.startswith("dt: dt = 1 puts the standard deviation of X off by about") and "check=False" in said
    assert not told(lambda: simulate(OU, start={X: 0.0}, time=1000.0, dt=1.0, check=False))
    assert not told(lambda: simulate(OU, start={X: 0.0}, time=10.0, dt=0.02, paths=20_000))


@pytest.mark.parametrize(
    ("sde", "start", "dt"),
    [
        (SDE([X], [2 - 3 * X], [[1]]), {X: 0.0}, 0.6),
        (SDE([X, V], [V, -100 * X], [[0], [1]]), {X: 1.0, V: 0.0}, 0.05),
    ],
)
def test_case_a1_the_check_sees_other_steps_that_are_too_long(sde: SDE, start: Any, dt: float) -> None:
    """Mean reversion away from 0, and an oscillator that Euler drives."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        assert told(lambda: simulate(sde, start=start, time=20.0, dt=dt, paths=4000))


def test_case_a1_a_well_that_long_steps_leave_is_told() -> None:
    """And steps that divide the time are not told to be others than were asked for."""
    said = told(lambda: simulate(SDE([X], [X - X**3], [[1]]), start={X: 0.0}, time=20.0, dt=0.7), ExplosionWarning)
    assert len(said) == 1 and "exploded" in said[0]
    assert not told(lambda: simulate(OU, start={X: 0.0}, time=20.0, dt=0.03, paths=64, save_at=[10.0, 20.0]))


def test_case_a1_the_check_works_for_a_loss_and_leaves_charges_alone() -> None:
    """A charge has no noise of first order: what it does in its first steps is all discretisation, and no fault of the
    step."""
    loss, start = LIBRARY["rescaling"].build(), {"u": 1.2, "w": 0.6}
    u, w = loss.theta
    assert told(lambda: simulate(loss, SGD(0.9), start=start, time=1.8, dt=0.45))
    settings: dict[str, Any] = {"start": start, "time": 20.0, "observables": {"C": u**2 - w**2}}
    assert not told(lambda: simulate(loss, SGD(0.01), **settings))
    assert simulate(loss, SGD(0.01), **settings).attrs["dt"] == 0.0025
    pendulum = SDE([X, V], [V, -X - V], [[0], [1]], name="langevin")
    assert not told(lambda: simulate(pendulum, start={X: 0.0, V: 0.0}, time=40.0))


@pytest.mark.parametrize("steps", [4, 8, 16, 64])
def test_case_a2_saves_do_not_shorten_the_steps(steps: int) -> None:
    """The strong error of geometric Brownian motion is that of dt at the default saves: the path of two saves, bit for
    bit."""
    settings: dict[str, Any] = {"start": {X: 1.0}, "time": 1.0, "dt": 1 / steps, "paths": 200, "keep": "paths"}
    default = simulate(GBM, check=False, **settings)
    few = simulate(GBM, save_at=2, check=False, **settings)
    assert default.attrs["dt"] == 1 / steps and default.sizes["time"] == steps + 1
    assert np.array_equal(default.X.values[:, -1], few.X.values[:, -1])


def test_case_a2_refined_runs_follow_the_same_path_at_any_saves() -> None:
    """A coarse step made of finer ones gives the coarse scheme's path, not the finer one's; where saves would break
    that it is refused."""
    settings: dict[str, Any] = {"start": {X: 1.0}, "time": 1.0, "paths": 50, "keep": "paths", "check": False}
    coarse = simulate(GBM, dt=1 / 4, refine=16, **settings)
    fine = simulate(GBM, dt=1 / 64, **settings)
    exact = fine.X.values[:, -1]
    assert 0 < np.abs(coarse.X.values[:, -1] - exact).max() < 1 and coarse.sizes["time"] == 5
    assert np.corrcoef(coarse.X.values[:, -1], exact)[0, 1] > 0.98
    with pytest.raises(ValueError, match="refine: dt must divide the time between saves"):
        simulate(GBM, dt=0.25, refine=4, save_at=[0.3, 1.0], **settings)


def test_case_a2_saves_that_were_asked_for_are_hit_and_told() -> None:
    said = told(lambda: simulate(GBM, start={X: 1.0}, time=1.0, dt=0.25, save_at=[0.1, 0.15, 1.0]))
    assert said[0].startswith("save_at: saves that lie 0.05 apart shorten the steps")


@pytest.mark.parametrize(("time", "dt", "saves"), [(1.0, 0.3, 7), (2.0, 0.7, 101), (0.9, 0.2, 50)])
def test_case_a2_other_counts_and_steps(time: float, dt: float, saves: int) -> None:
    run = simulate(GBM, start={X: 1.0}, time=time, dt=dt, save_at=saves, check=False)
    steps = int(np.ceil(time / dt))
    assert run.sizes["time"] == steps + 1 and run.attrs["dt"] == pytest.approx(time / steps)


@pytest.mark.parametrize("dt", [0.1, 0.01])
def test_case_a6_adaptive_steps_see_the_rate_of_mean_reversion(dt: float) -> None:
    """dX = -1000 X dt + dW: variance 1/2000."""
    run = simulate(
        SDE([X], [-1000 * X], [[1]]), start={X: 0.0}, time=0.1, dt=dt, scheme="adaptive-euler", paths=4000, save_at=2
    )
    assert variance(run) == pytest.approx(5e-4, rel=0.05 + 3 * np.sqrt(2 / 4000)) and run.attrs["exploded_paths"] == 0


@pytest.mark.parametrize(
    ("sde", "start", "expected"),
    [
        (SDE([X], [-500 * (X - 2)], [[10]]), {X: 2.0}, 0.1),
        (SDE([X, Y], [-2000 * (X - Y), -Y], [[1, 0], [0, 1]]), {X: 0.0, Y: 0.0}, None),
        (SDE([X], [-300 * sp.sin(X)], [[1]]), {X: 0.0}, 1 / 600),
    ],
)
def test_case_a6_other_stiff_equations(sde: SDE, start: Any, expected: float | None) -> None:
    """Away from 0, a fast state after a slow one, a sine well: each the variance of its linear equation."""
    run = simulate(sde, start=start, time=0.2, dt=0.1, scheme="adaptive-euler", paths=4000, seed=3)
    if expected is None:
        a, b = np.array([[-2000.0, 2000.0], [0.0, -1.0]]), np.eye(2)
        exact = integrate.solve_ivp(
            lambda _, s: (a @ s.reshape(2, 2) + s.reshape(2, 2) @ a.T + b).ravel(),
            (0, 0.2),
            np.zeros(4),
            method="BDF",
            rtol=1e-8,
        )
        expected = float(exact.y[0, -1])
    assert variance(run) == pytest.approx(expected, rel=0.06 + 4 * np.sqrt(2 / 4000))


@pytest.mark.parametrize("scheme", ["tamed-euler", "adaptive-euler"])
@pytest.mark.parametrize("unit", [1e-4, 1.0, 100.0, 1e4])
def test_case_a7_the_states_unit_changes_nothing(scheme: str, unit: float) -> None:
    """Logistic growth: X/K has the mean 7/8 for every K."""
    sde = SDE([X], [X * (1 - X / sp.Float(unit))], [[X / 2]])
    run = simulate(sde, start={X: unit / 2}, time=40.0, dt=0.05, scheme=scheme, paths=10_000, save_at=2)
    assert mean(run) / unit == pytest.approx(0.875, abs=0.02)


@pytest.mark.parametrize("scheme", ["tamed-euler", "adaptive-euler"])
@pytest.mark.parametrize("unit", [1e-3, 1e3])
@pytest.mark.parametrize("kind", ["well", "fall", "pair"])
def test_case_a7_other_equations_in_another_unit(scheme: str, unit: float, kind: str) -> None:
    """A double well, a drift of the fifth power from far out, predators and prey: the numbers of the run in unit 1,
    times the unit."""
    k = sp.Float(unit)

    def run(k: Any, size: float) -> xr.Dataset:
        sde, start = {
            "well": (SDE([X], [X - X**3 / k**2], [[k / 2]]), {X: size}),
            "fall": (SDE([X], [-(X**5) / k**4], [[X / 4]]), {X: 3 * size}),
            "pair": (
                SDE([X, Y], [X * (1 - Y / k), Y * (X / k - 1)], [[X / 4, 0], [0, Y / 4]]),
                {X: 1.5 * size, Y: 0.7 * size},
            ),
        }[kind]
        return simulate(sde, start=start, time=1.0, dt=0.05, scheme=scheme, paths=300, keep="paths", check=False)

    one, other = run(sp.Integer(1), 1.0), run(k, unit)
    assert other.X.values / unit == pytest.approx(one.X.values, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("scheme", ["heun", "platen-weak-2", "implicit-euler"])
def test_case_a8_a_scheme_that_looks_at_a_singular_end_is_refused(scheme: str) -> None:
    """The bridge from 0 to 10: euler-maruyama, which looks at beginnings only, arrives."""
    bridge = SDE([X], [(10 - X) / (1 - t)], [[1]], time=t, name="bridge")
    sde = bridge.to("stratonovich") if scheme == "heun" else bridge
    with pytest.raises(ValueError, match=f"simulate.scheme: {scheme} looks at the coefficients at the end .* time 1"):
        simulate(sde, start={X: 0.0}, time=1.0, dt=0.01, scheme=scheme)
    assert simulate(sde, start={X: 0.0}, time=0.9, dt=0.01, scheme=scheme).attrs["exploded_paths"] == 0
    run = simulate(bridge, start={X: 0.0}, time=1.0, dt=0.01)
    assert mean(run) == pytest.approx(10.0, abs=0.02) and variance(run) < 0.02


@pytest.mark.parametrize(
    ("drift", "time"),
    [(-X / (0.3 - t), 0.3), (sp.log(2 - t) * X, 2.0), (-X / sp.sqrt(sp.Rational(7, 10) - t), 0.7)],
)
def test_case_a8_other_singular_ends(drift: sp.Expr, time: float) -> None:
    """A float in the formula, a logarithm, a root."""
    sde = SDE([X], [drift], [[1]], time=t)
    with pytest.raises(ValueError, match="looks at the coefficients at the end"):
        simulate(sde, start={X: 1.0}, time=time, dt=time / 30, scheme="platen-weak-2")


PULSES: dict[str, Any] = {
    "piecewise": sp.Piecewise((1000, (t > 0.5037) & (t < 0.5047)), (0, True)),
    "heaviside": 1000 * (sp.Heaviside(t - 0.5037) - sp.Heaviside(t - 0.5047)),
    "steps": sp.Piecewise((0, t < sp.Rational(1, 3)), (2000, t <= sp.Rational(1, 3) + 0.0005), (0, True)),
    "switched by a sine": 5 * sp.Heaviside(sp.sin(40 * sp.pi * t) - 0.96) * sp.pi / sp.acos(0.96),
}


@pytest.mark.parametrize(
    ("scheme", "name"),
    [
        pytest.param(scheme, name, marks=[pytest.mark.slow] * (scheme in quick and name not in quick[scheme]))
        for quick in [{"platen-weak-2": ("piecewise", "switched by a sine"), "heun": ("heaviside", "steps")}]
        for scheme in ("euler-maruyama", "adaptive-euler", "platen-weak-2", "heun")
        for name in PULSES
    ],
)
def test_case_a9_pulses_between_steps_are_found(name: str, scheme: str) -> None:
    """Input of area 1 (5 for the last), narrower than the step."""
    sde = SDE([X], [PULSES[name]], [[sp.Rational(1, 100)]], "stratonovich" if scheme == "heun" else "ito", time=t)
    for dtype in ("float64", "float32") if scheme != "adaptive-euler" else ("float32",):
        run = simulate(sde, start={X: 0.0}, time=1.0, dt=0.01, scheme=scheme, dtype=dtype, paths=200)
        assert mean(run) == pytest.approx(5.0 if "sine" in name else 1.0, abs=0.01)


def test_case_a9_input_that_cannot_be_found_is_warned_of_or_resolved() -> None:
    """A narrow bell: told at dt = .01; the default step resolves it."""
    sde = SDE([X], [1000 * sp.exp(-(((t - 0.5037) / 0.0004) ** 2))], [[sp.Rational(1, 100)]], time=t)
    (said,) = told(lambda: simulate(sde, start={X: 0.0}, time=1.0, dt=0.01))
    assert "a coefficient changes in time within a step of 0.01" in said and "steps_at=" in said
    assert mean(simulate(sde, start={X: 0.0}, time=1.0)) == pytest.approx(0.4 * np.sqrt(np.pi), abs=0.01)


BELL: Any = 1000 * sp.exp(-(((t - 0.5037) / 0.0004) ** 2))
BROWNIAN = SDE([X], [0], [[1]], time=t)
PAIR = states("P", (2,))
BESIDE: dict[str, tuple[SDE, dict[Any, Any], dict[str, Any]]] = {
    "jumps[0].rate": (SDE([X], [0], [[0]], jumps=[Jump({X: X + 1}, rate=BELL)], time=t), {X: 0.0}, {}),
    "integral(": (BROWNIAN, {X: 0.0}, {"observables": {"I": integral(X**2 * BELL)}}),
    "running(max": (BROWNIAN, {X: 0.0}, {"observables": {"M": running(max, X + BELL)}}),
    "events[up]": (BROWNIAN, {X: 0.0}, {"events": {"up": X > 100 - BELL}}),
    "jumps[0].when": (SDE([X], [0], [[1]], jumps=[Jump({X: 0}, when=X + BELL > 100)], time=t), {X: 0.0}, {}),
    "jumps[0].rate of arrays": (
        SDE(PAIR, -PAIR, np.zeros(2), jumps=[Jump({PAIR: PAIR + 1}, rate=BELL * (1 + PAIR[0]))], time=t),
        {PAIR: np.zeros(2)},
        {},
    ),
}


@pytest.mark.parametrize("name", BESIDE)
def test_case_a9_what_else_changes_within_a_step_is_warned_of(name: str) -> None:
    """The bell in a rate, an integral, an extreme or a level, where neither it nor the state at 0 shows it."""
    sde, start, more = BESIDE[name]
    said = told(lambda: simulate(sde, start=start, time=1.0, dt=0.05, paths=8, save_at=2, **more))
    assert any(name.split(" of ")[0] in s and "changes in time within a step of 0.05" in s for s in said)


def test_case_a9_the_default_step_resolves_rates_and_leaves_slow_ones_alone() -> None:
    """A bell of a rate is as many jumps as its area; seasons, windows and ripples below the noise say nothing."""
    sde, start, _ = BESIDE["jumps[0].rate"]
    run, area = simulate(sde, start=start, time=1.0, paths=2000, save_at=2), 0.4 * np.sqrt(np.pi)
    assert mean(run) == pytest.approx(area, abs=4 * np.sqrt(area / 2000))
    window = 2000 * sp.Heaviside(t - 0.377) * sp.Heaviside(0.3775 - t)
    slow = SDE([X], [0], [[1]], jumps=[Jump({X: X + 1}, rate=window + 2 + 2 * sp.sin(7 * t))], time=t)
    ripple = {"M": running(max, X + sp.sin(1000 * t) / 100), "I": integral(X * sp.cos(3 * t))}
    for dt in (None, 0.05):
        with warnings.catch_warnings():
            warnings.simplefilter("error", StepWarning)
            run = simulate(slow, start={X: 0.0}, time=1.0, dt=dt, paths=8, save_at=2, observables=ripple)
        assert run.attrs["dt"] > 5e-4


@pytest.mark.parametrize("scheme", ["euler-maruyama", "sra1"])
def test_case_a9_places_can_be_named(scheme: str) -> None:
    """steps_at: a pulse by Max, whose switch depends on a state too, seen once its ends are named."""
    pulse = sp.Piecewise((1000, (t + 0 * X > 0.5037) & (t * (1 + X**2 * 0) < 0.5047)), (0, True))
    sde = SDE([X, Y], [pulse, 0], [[0.01], [0]], time=t)
    run = simulate(sde, start={X: 0.0, Y: 0.0}, time=1.0, dt=0.01, scheme=scheme, steps_at=[0.5037, 0.5047])
    assert mean(run) == pytest.approx(1.0, abs=0.01)
    with pytest.raises(ValueError, match="steps_at: must be times within"):
        simulate(sde, start={X: 0.0, Y: 0.0}, time=1.0, dt=0.01, steps_at=[2.0])


def test_case_a9_a_schedule_that_jumps() -> None:
    """A learning rate that is on for a moment only moves gradient flow by the area under it."""
    from symbolic.problem.optimizer import t as clock

    loss = LIBRARY["rescaling"].build()
    sgd = SGD(0.04, batch_size=10**6, schedule=sp.Piecewise((100, (clock > 0.503) & (clock < 0.5035)), (0, True)))
    run = simulate(loss, sgd, start={"u": 1.2, "w": 0.6}, time=1.0, dt=0.01, paths=64)
    flow = simulate(
        loss, SGD(0.04, batch_size=10**6), start={"u": 1.2, "w": 0.6}, time=0.05, dt=0.05, paths=64, check=False
    )
    assert mean(run, "u") != 1.2 and mean(run, "u") == pytest.approx(mean(flow, "u"), abs=2e-3)


@pytest.mark.parametrize(
    ("sde", "start", "name"),
    [
        pytest.param(SDE([Z], [sp.Rational(1, 20)], [[0]]), {Z: 0.0}, "Z", marks=pytest.mark.slow),
        (SDE([X, Z], [-X, 1], [[1], [0]]), {X: 0.0, Z: 1e4}, "Z"),
        pytest.param(SDE([X, Z], [-X, Z / 1000], [[1], [0]]), {X: 0.0, Z: 100.0}, "Z", marks=pytest.mark.slow),
        (SDE([Z], [sp.exp(-t)], [[0]], time=t), {Z: 5.0}, "Z"),
    ],
)
def test_case_a10_steps_lost_in_rounding_are_told(sde: SDE, start: Any, name: str) -> None:
    """float32, a million steps of 1e-5: told of the state without noise, not of the one that noise makes fair; never in
    float64."""
    settings: dict[str, Any] = {"start": start, "time": 1.0, "dt": 1e-6, "paths": 2, "save_at": 6}
    (said,) = told(lambda: simulate(sde, dtype="float32", **settings))
    assert said.startswith(f"dtype: the steps of {name} are so small beside it that float32 rounds")
    assert not told(lambda: simulate(sde, **settings))
