"""Derivatives of expectations against closed forms, and which way was taken and why."""

from __future__ import annotations

from math import erf, exp, log, pi, sqrt
from typing import Any

import numpy as np
import pytest
import sympy as sp

from sde import SDE, Jump, sensitivities
from symbolic import InputError, integral, running, states

S, X, Y, t, r, k, c, sigma = sp.symbols("S X Y t r k c sigma", real=True)
DECAY = SDE([X], [-X], [[1]])
MARKET = SDE([S], [r * S], [[sigma * S]], parameters=[r, sigma], name="market")
AT: dict[str, Any] = {"start": {S: 1.0}, "time": 1.0, "parameters": {r: 0.05, sigma: 0.2}}
STRIKE = sp.Rational(11, 10)
ABOVE = (log(1 / 1.1) + 0.07) / 0.2
BELOW = ABOVE - 0.2


def cdf(x: float) -> float:
    return (1 + erf(x / sqrt(2))) / 2


def density(x: float) -> float:
    return exp(-x * x / 2) / sqrt(2 * pi)


CALL = {"r": exp(0.05) * cdf(ABOVE), "sigma": exp(0.05) * density(ABOVE), "S": exp(0.05) * cdf(ABOVE)}
DIGITAL = {"r": density(BELOW) / 0.2, "sigma": -density(BELOW) * ABOVE / 0.2, "S": density(BELOW) / 0.2}


@pytest.mark.parametrize(
    ("f", "exact", "method", "tolerance", "seeds"),
    [
        (sp.Max(S - STRIKE, 0), CALL, "pathwise", 0.02, 12),
        (sp.Heaviside(S - STRIKE), DIGITAL, "likelihood-ratio", 0.1, 12),
        pytest.param(sp.Max(S - STRIKE, 0), CALL, "likelihood-ratio", 0.05, 12, marks=pytest.mark.slow),
    ],
    ids=["call", "digital", "call by weights"],
)
def test_an_options_derivatives(f: sp.Expr, exact: Any, method: str, tolerance: float, seeds: int) -> None:
    """docs/theory.md eqs (6.11), (6.12) and (6.13): the root mean square over seeds is at most the tolerance
    (chi-square, 4 standard errors), and the mean off by no more than 4 of its own."""
    asked = None if method == "pathwise" or not f.has(sp.Max) else method
    found = [sensitivities(MARKET, f, tolerance=tolerance, method=asked, seed=n, **AT) for n in range(seeds)]
    for name, value in exact.items():
        off = np.array([one[name].value - value for one in found]) / tolerance
        assert {one[name].method for one in found} == {method}
        assert np.sqrt((off**2).mean()) < 1 + 4 / np.sqrt(2 * seeds), name
        assert abs(off.mean()) < 0.25 + 4 / np.sqrt(seeds), name


def test_an_integral_over_time_and_a_function_that_names_the_parameter() -> None:
    """E exp(-k) int X = exp(-k) x (1 - exp(-k))/k of Ornstein-Uhlenbeck, docs/theory.md eq. (6.11); Stratonovich's
    sense is Ito's here."""
    ou = SDE([X], [-k * X], [[1]], "stratonovich", parameters=[k])
    found = sensitivities(ou, sp.exp(-k) * integral(X), tolerance=0.02, start={X: 2.0}, time=1.0, parameters={k: 0.7})
    value = sp.exp(-k) * X * (1 - sp.exp(-k)) / k
    for s, name in ((k, "k"), (X, "X")):
        assert abs(found[name].value - float(value.diff(s).subs({k: 0.7, X: 2}))) < 0.08 and found[name].sem > 0
    assert "d/dk, pathwise (f and the coefficients do not jump), of E[" in str(found["k"])


def test_a_running_extreme_by_girsanovs_weight() -> None:
    """docs/theory.md eq. (6.12): the largest value of c t + W has the tail of the reflection principle."""
    moving = SDE([X], [c], [[1]], parameters=[c])
    mesh = np.linspace(0, 6, 6001)

    def mean(drift: float) -> float:
        tail = [cdf(drift - m) + exp(2 * drift * m) * cdf(-m - drift) for m in mesh]
        return float(np.trapezoid(tail, mesh))

    exact = (mean(0.301) - mean(0.299)) / 0.002
    found = sensitivities(moving, running(max, X), [c], tolerance=0.05, start={X: 0.0}, time=1.0, parameters={c: 0.3})[
        "c"
    ]
    assert (found.method, found.why) == (
        "likelihood-ratio",
        "the derivative of a running extreme is no functional of states",
    )
    assert abs(found.value - exact) < 0.2


@pytest.mark.slow
def test_two_states_that_move_one_another() -> None:
    """docs/theory.md eq. (6.13) with flows that mix: P(X + Y > 1) of a linear equation, by its Gaussian's moments."""
    linear = SDE([X, Y], [-k * X, X - Y], [[sigma, 0], [0, sp.Rational(1, 2)]], parameters=[k, sigma])

    def chance(k: float, sigma: float, X: float, Y: float) -> float:
        a, q, steps = np.array([[-k, 0], [1, -1]]), np.diag([sigma**2, 0.25]), 4000
        mean, covariance = np.array([X, Y]), np.zeros((2, 2))
        for _ in range(steps):  # midpoint
            mean = mean + a @ (mean + a @ mean / steps / 2) / steps
            slope = lambda p: a @ p + p @ a.T + q  # noqa: E731
            covariance = covariance + slope(covariance + slope(covariance) / steps / 2) / steps
        return cdf((mean.sum() - 1) / sqrt(covariance.sum()))

    at = {"k": 0.7, "sigma": 0.6, "X": 1.0, "Y": 0.5}
    how: dict[str, Any] = {"start": {X: 1.0, Y: 0.5}, "time": 1.0, "parameters": {k: 0.7, sigma: 0.6}}
    found = sensitivities(linear, sp.Heaviside(X + Y - 1), tolerance=0.02, **how)
    for name in at:
        up, down = ({**at, name: at[name] + h} for h in (1e-4, -1e-4))
        assert abs(found[name].value - (chance(**up) - chance(**down)) / 2e-4) < 0.07, name


WALK = SDE([X, Y], [Y, -k * Y], [[0], [sigma]], parameters=[k, sigma], name="walk")


@pytest.mark.parametrize(
    ("sde", "changes", "says"),
    [
        (
            WALK,
            {"f": sp.Heaviside(X)},
            r"sensitivities.wrt: noise does not reach .*; f jumps, or may, at X; got 'sigma'",
        ),
        (
            MARKET,
            {"method": "pathwise"},
            "sensitivities.method: f jumps, or may, at S - 1, so paths have no derivative",
        ),
        (MARKET, {"f": sp.Heaviside(S - r)}, "where f jumps must not hang on r, as at S - r; f jumps"),
        (MARKET, {"f": running(max, S), "wrt": [S]}, "weights of starts and diffusions are for functions of the end"),
        (MARKET, {"wrt": ["s"]}, "sensitivities.wrt: must name parameters or states of the SDE; got 's'"),
        (MARKET, {"wrt": "S"}, "sensitivities.wrt: must be a list of parameters and states"),
        (MARKET, {"f": "S"}, "sensitivities.f: must be one SymPy expression"),
        (MARKET, {"method": "finite"}, "sensitivities.method: "),
        (MARKET, {"parameters": {r: [0.1, 0.2], sigma: 0.2}}, "sensitivities.parameters: takes one number each"),
        (MARKET, {"tolerance": -1}, "sensitivities.tolerance: must be positive"),
        (SDE([S], [S], [[S]], domain={S: "nonnegative"}), {}, "sensitivities: takes no equations with domains"),
        (SDE([S], [S], [[S]], jumps=[Jump({S: 0}, at=[1])]), {}, "sensitivities: takes no equations with jumps"),
        (SDE(states("S", (2,)), drift=0, diffusion=1), {}, "sensitivities: takes no equations with arrays"),
    ],
)
def test_what_it_refuses(sde: SDE, changes: dict[str, Any], says: str) -> None:
    settings: dict[str, Any] = {"f": sp.Heaviside(S - 1), "wrt": None, "tolerance": 0.1, **AT} | changes
    if sde is WALK:
        settings |= {"wrt": [sigma], "start": {X: 0.0, Y: 0.0}, "parameters": {k: 1.0, sigma: 1.0}}
    with pytest.raises(InputError, match=says):
        sensitivities(sde, settings.pop("f"), settings.pop("wrt"), **settings)


@pytest.mark.parametrize("f", [sp.nan, sp.zoo, sp.oo, X + sp.nan])
def test_an_f_that_is_no_number_is_refused(f: Any) -> None:
    with pytest.raises(InputError, match=r"sensitivities.f: must be (finite|real)"):
        sensitivities(DECAY, f, ["X"], tolerance=0.01, start={"X": 1.0}, time=1.0, method="pathwise")


@pytest.mark.parametrize("f", [sp.log(X - 100), sp.atanh(X + 100), X + sp.log(-(X**2))])
def test_an_f_without_value_where_its_slope_has_one_is_refused(f: Any) -> None:
    with pytest.raises(InputError, match=r"sensitivities\[X\].f: must be finite; got nan"):
        sensitivities(DECAY, f, ["X"], tolerance=0.01, start={"X": 1.0}, time=1.0, method="pathwise")


def test_the_refusal_says_what_to_do_about_what_was_given() -> None:
    jumping = SDE([X], [0], [[1]], jumps=[Jump({X: 0}, rate=1)])
    with pytest.raises(InputError, match=r"no equations with jumps; .*Take differences of runs") as said:
        sensitivities(jumping, X, ["X"], tolerance=0.01, start={"X": 1.0}, time=1.0)
    assert "domain" not in str(said.value)
