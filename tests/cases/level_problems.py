"""Expectations with known values on which multilevel Monte Carlo's numbers are tried: no variance on coarse steps,
biases that rise before they fall, change sign or oscillate, rare events, square roots below Feller's condition,
stiffness."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from math import erf, exp, log, pi, sqrt
from typing import Any

import numpy as np
import sympy as sp
from scipy.integrate import quad
from scipy.linalg import expm

from sde import expectation, simulate
from symbolic import SDE

X, Y, Z, V, s = sp.symbols("X Y Z V s", real=True)


@dataclass(frozen=True)
class Problem:
    """E f(X_time) = exact. mean: E f after n of the scheme's steps, where it has a closed form; else it is
    simulated."""

    sde: SDE
    f: Any
    start: dict[Any, float]
    exact: float
    tolerance: float
    time: float = 1.0
    settings: dict[str, Any] = field(default_factory=dict)
    mean: Callable[[int], float] | None = None

    def run(self, **changes: Any) -> Any:
        settings = {"tolerance": self.tolerance, "start": self.start, "time": self.time} | self.settings
        return expectation(self.sde, self.f, **settings | changes)

    def bias(self, steps: int, scheme: str) -> tuple[float, float]:
        """|E f after so many steps - exact| and its standard error."""
        if self.mean:
            return abs(self.mean(steps) - self.exact), 0.0
        mean, sem = _simulated(self.sde, self.f, tuple(self.start.items()), self.time, steps, scheme)
        return abs(mean - self.exact), sem


@cache
def _simulated(sde: SDE, f: Any, start: Any, time: float, steps: int, scheme: str) -> tuple[float, float]:
    paths = min(1_000_000, 40_000_000 // steps)
    flow = simulate(
        sde,
        start=dict(start),
        time=time,
        dt=time / steps,
        paths=paths,
        scheme=scheme,
        observables={"f": f},
        save_at=2,
        seed=99,
    )
    return float(flow.f.sel(statistic="mean")[-1]), float(flow.f.sel(statistic="std")[-1]) / sqrt(paths)


def heston_call(
    spot: float, strike: float, time: float, kappa: float, theta: float, epsilon: float, rho: float, variance: float
) -> float:
    """E max(S - strike, 0) without interest, by the characteristic function of log S. Source: Lewis, Option Valuation
    under Stochastic Volatility (2000), with the branch of Albrecher, Mayer, Schoutens, Tistaert (2007)."""

    def transform(u: complex) -> complex:
        b, iu = kappa - rho * epsilon * 1j * u, 1j * u
        d = np.sqrt(b * b + epsilon**2 * (iu + u * u))
        g, e = (b - d) / (b + d), np.exp(-d * time)
        c = kappa * theta / epsilon**2 * ((b - d) * time - 2 * np.log((1 - g * e) / (1 - g)))
        return complex(np.exp(c + (b - d) / epsilon**2 * (1 - e) / (1 - g * e) * variance + iu * np.log(spot)))

    def integrand(u: float) -> float:
        return (np.exp(-1j * u * np.log(strike)) * transform(u - 0.5j) / (u * u + 0.25)).real

    return spot - sqrt(strike) / pi * quad(integrand, 0, np.inf, limit=2000)[0]


def heston(kappa: float, theta: float, epsilon: float, rho: float) -> SDE:
    """By full truncation: coefficients take the positive part of the variance. Source: Lord, Koekkoek, van Dijk, Quant.
    Finance 10 (2010) 177."""
    root = sp.sqrt(sp.Max(V, 0))
    noise = [[X * root, 0], [epsilon * rho * root, epsilon * sqrt(1 - rho**2) * root]]
    return SDE([X, V], [0, kappa * (theta - sp.Max(V, 0))], noise, name="heston")


def square_root(kappa: float, theta: float, epsilon: float) -> SDE:
    return SDE([V], [kappa * (theta - sp.Max(V, 0))], [[epsilon * sp.sqrt(sp.Max(V, 0))]], name="square-root")


def square_root_laplace(u: float, time: float, kappa: float, theta: float, epsilon: float, start: float) -> float:
    """E exp(-u V_time) of the square-root diffusion. Source: Cox, Ingersoll, Ross, Econometrica 53 (1985) 385, eq. 18
    (its noncentral chi-square law)."""
    a = 1 + epsilon**2 * u * (1 - exp(-kappa * time)) / (2 * kappa)
    return a ** (-2 * kappa * theta / epsilon**2) * exp(-u * start * exp(-kappa * time) / a)


def moments_of(a: np.ndarray, b: np.ndarray, x: np.ndarray, time: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean and second moments of dX = a X dt + b dW at a time, exact."""
    size = len(x)
    block = np.block([[a, b @ b.T], [np.zeros_like(a), -a.T]]) * time
    e = expm(block)
    mean = e[:size, :size] @ x
    return mean, e[:size, size:] @ e[:size, :size].T + np.outer(mean, mean)


def euler_of(a: np.ndarray, b: np.ndarray, x: np.ndarray, time: float, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """The same after Euler's steps."""
    h = time / steps
    step, noise, second = np.eye(len(x)) + h * a, h * b @ b.T, np.outer(x, x)
    for _ in range(steps):
        x, second = step @ x, step @ second @ step.T + noise
    return x, second


def linear(
    name: str, a: Any, b: Any, x: Any, pick: Callable[[Any, Any], float], f: Any, tolerance: float, **more: Any
) -> Problem:
    """dX = a X dt + b dW under Euler, pick(mean, second moments) = E f."""
    a, b, x = (np.array(value, dtype=float) for value in (a, b, x))
    states = [X, Y, Z, V, *sp.symbols("U1:9", real=True)][: len(x)]
    drift = list(sp.Matrix(a) * sp.Matrix(states))
    time = more.pop("time", 1.0)
    return Problem(
        SDE(states, drift, b.tolist(), name=name),
        f,
        dict(zip(states, x.tolist(), strict=True)),
        pick(*moments_of(a, b, x, time)),
        tolerance,
        time,
        {"scheme": "euler-maruyama"} | more,
        lambda n: pick(*euler_of(a, b, x, time, n)),
    )


def chain(length: int) -> np.ndarray:
    """Each state drives the next."""
    return np.diag(np.ones(length - 1), -1)


def first(length: int) -> np.ndarray:
    """Noise on the first state only."""
    return np.eye(length)[:, :1]


def cancelling() -> Problem:
    """E (X**2 - a X) of geometric Brownian motion, a such that 4 and 8 steps of Euler agree."""
    mu, variance = 0.75, 0.25

    def powers(n: int) -> tuple[float, float]:
        return ((1 + mu / n) ** 2 + variance / n) ** n, (1 + mu / n) ** n

    a = (powers(8)[0] - powers(4)[0]) / (powers(8)[1] - powers(4)[1])
    sde = SDE([X], [sp.Rational(3, 4) * X], [[X / 2]], name="cancelling")
    exact = exp(2 * mu + variance) - a * exp(mu)
    return Problem(
        sde,
        X**2 - a * X,
        {X: 1.0},
        exact,
        0.05,
        1.0,
        {"scheme": "euler-maruyama"},
        lambda n: powers(n)[0] - a * powers(n)[1],
    )


def switching() -> Problem:
    """A drift that changes sign at a third of the time: the bias changes sign with every halving of the step."""
    sde = SDE(
        [X], [sp.Piecewise((-4, s < sp.Rational(1, 3)), (4, True))], [[sp.Rational(1, 5)]], time=s, name="switching"
    )
    return Problem(
        sde,
        X,
        {X: 0.0},
        4 / 3,
        0.02,
        1.0,
        {"scheme": "euler-maruyama"},
        lambda n: 4 - 8 * sum(k / n < 1 / 3 for k in range(n)) / n,
    )


def below(strike: float, mu: float, sigma: float) -> float:
    """P(X_1 > strike) of geometric Brownian motion from 1."""
    return (1 - erf((log(strike) - mu + sigma**2 / 2) / sigma / sqrt(2))) / 2


MARKET = SDE([X], [X / 20], [[X / 5]], name="market")
ROTATION = [[0.0, -3.0], [3.0, 0.0]]
HESTON = (0.5, 0.04, 1.0, 0.1)
PROBLEMS = {
    "heston": Problem(heston(*HESTON), sp.Max(X - 1, 0), {X: 1.0, V: 0.04}, heston_call(1, 1, 1, *HESTON, 0.04), 0.01),
    "heston-loose": Problem(
        heston(*HESTON), sp.Max(X - 1, 0), {X: 1.0, V: 0.04}, heston_call(1, 1, 1, *HESTON, 0.04), 0.03
    ),
    "heston-leverage": Problem(
        heston(1.0, 0.09, 1.0, -0.5),
        sp.Max(1 - X, 0),
        {X: 1.0, V: 0.09},
        heston_call(1, 1, 1, 1.0, 0.09, 1.0, -0.5, 0.09),
        0.005,
    ),
    "square-root": Problem(
        square_root(0.5, 0.04, 1.0),
        sp.exp(-4 * sp.Max(V, 0)),
        {V: 0.04},
        square_root_laplace(4, 1, 0.5, 0.04, 1.0, 0.04),
        0.01,
    ),
    "rare": Problem(
        MARKET,
        sp.Piecewise((1, sp.Rational(9, 5) < X), (0, True)),
        {X: 1.0},
        below(1.8, 0.05, 0.2),
        2e-4,
        1.0,
        {"scheme": "euler-maruyama"},
    ),
    "rarer": Problem(
        MARKET, sp.Piecewise((1, X > 2), (0, True)), {X: 1.0}, below(2.0, 0.05, 0.2), 5e-5, 1.0, {"scheme": "milstein"}
    ),
    "integral": linear("integral", chain(2), first(2), [0.1, 0.0], lambda m, q: m[1], Y, 0.1, time=3.0),
    "chain": linear(
        "chain", chain(6), first(6), [1.0, 1, 0, 0, 0, 1], lambda m, q: m[5], sp.Symbol("U2", real=True), 0.02, time=2.0
    ),
    "langevin": linear("langevin", [[-1, -4], [1, 0]], first(2), [0.0, 1.0], lambda m, q: q[1, 1], Y**2, 0.02),
    "stiff": linear("stiff", [[-20]], [[2]], [1.0], lambda m, q: q[0, 0], X**2, 0.005),
    "rotation": linear("rotation", ROTATION, np.eye(2) / 5, [1.0, 0.0], lambda m, q: m[0], X, 0.02),
    "cancelling": cancelling(),
    "switching": switching(),
    "kink": Problem(
        SDE([X], [-2 * X], [[1]], name="kink"),
        sp.Abs(X),
        {X: 0.3},
        (lambda m, v: sqrt(2 * v / pi) * exp(-m * m / (2 * v)) + m * erf(m / sqrt(2 * v)))(
            0.3 * exp(-2), (1 - exp(-4)) / 4
        ),
        0.005,
        1.0,
        {"scheme": "euler-maruyama"},
        lambda n: (lambda m, v: sqrt(2 * v / pi) * exp(-m * m / (2 * v)) + m * erf(m / sqrt(2 * v)))(
            0.3 * (1 - 2 / n) ** n, sum((1 - 2 / n) ** (2 * k) for k in range(n)) / n
        ),
    ),
}
