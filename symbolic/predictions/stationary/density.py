"""The density of x = log v as a table: its log's slope is integrated panel by panel, with Gauss-Legendre nodes and
error control.

Panels grow and shrink with the slope, so that a law as narrow as sqrt(T), or one that reaches down to v = e^{-10^6}
near the critical temperature, costs the same few hundred panels. Masses are kept from both ends: quantiles are accurate
in both tails.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.polynomial import legendre

from symbolic.errors import InputError

Array = np.ndarray
NODES = 20
DEPTH = 690.0
"""How far below its maximum, in logarithm, the density is tabulated."""
RISE = 4.0
"""Largest change of the log density over a panel."""
TOLERANCE = 1e-13
PANELS = 20_000
CHUNK = 1 << 15

_T, _W = legendre.leggauss(NODES)
_FIT = (2 * np.arange(NODES)[:, None] + 1) / 2 * _W * legendre.legvander(_T, NODES - 1).T
"""Values at the nodes -> Legendre coefficients."""
_SUM = legendre.legint(np.eye(NODES), lbnd=-1)
"""Legendre coefficients -> those of the integral from -1."""
_BASIS = legendre.legvander(_T, NODES)


def positive_roots(terms: Sequence[tuple[float, float]]) -> list[float]:
    """log v for every sign change in v > 0 of sum_i c_i v^{e_i}, terms (c_i, e_i) with real exponents, in rising order.

    Between the roots of its derivative (one term fewer, after division by the lowest power) the function is monotone.
    """
    from scipy.optimize import brentq  # slow to load

    merged: dict[float, float] = {}
    for c, e in terms:
        merged[e] = merged.get(e, 0.0) + c
    kept = sorted((e, c) for e, c in merged.items() if c)
    if len(kept) < 2:
        return []
    powers = np.array([e - kept[0][0] for e, _ in kept])
    weights = np.array([c for _, c in kept])
    turns = positive_roots([(c * p, p - 1) for p, c in zip(powers[1:], weights[1:], strict=True)])

    def value(x: float) -> float:
        return float(weights @ np.exp(powers * x - max(0.0, float(powers[-1]) * x)))

    edges, signs = list(turns), [np.sign(value(x)) for x in turns]
    for outer, sign in ((-1, np.sign(weights[0])), (1, np.sign(weights[-1]))):
        x = edges[0 if outer < 0 else -1] if edges else 0.0
        step = 1.0
        while np.sign(value(x)) != sign:
            x, step = x + outer * step, 2 * step
        edges.insert(0 if outer < 0 else len(edges), x)
        signs.insert(0 if outer < 0 else len(signs), sign)
    found = []
    for a, b, left, right in zip(edges, edges[1:], signs, signs[1:], strict=False):
        if left * right < 0:
            root: Any = brentq(value, a, b, xtol=1e-300, rtol=4 * np.finfo(float).eps)
            found.append(float(root))
    return found


@dataclass(frozen=True)
class Numbers:
    """The floats behind a chain on its branch v > 0.

    a1, a2, a3, floor: C_2 and its minimum. b1, b: the mean slope; b = b2 - lambda_wd/2 for two factors, b2 for more.
    """

    a1: float
    a2: float
    a3: float
    floor: float
    b1: float
    b: float


@dataclass(frozen=True)
class Slope:
    """d/dx of log density of x = log v, plus a tilt k (for the k-th moment): 1 + k - 3D/n - v C_2'/C_2 - (b1 v - b)
    v^{-(n-2)/n}/(n T C_2).

    n: number of factors.
    """

    numbers: Numbers
    n: int
    temperature: float
    tilt: float = 0.0

    def __call__(self, x: Array) -> tuple[Array, Array]:
        """The slope, and how far a relative error of one in its terms or in v can move it."""
        c, gamma = self.numbers, (self.n - 2) / self.n
        with np.errstate(all="ignore"):
            small = x <= 0
            v = np.exp(np.where(small, x, -x))  # v itself, or 1/v
            if c.a1:
                centre = c.a2 / c.a1
                gap = np.where(small, v - centre, 1 - centre * v)
                c2 = c.a1 * gap**2 + c.floor * np.where(small, 1.0, v**2)
                bend = 2 * c.a1 * gap * np.where(small, v, 1.0) / c2
            else:
                c2, bend = c.a3 * np.where(small, 1.0, v**2), 0.0
            scale = self.n * self.temperature * c2
            up = c.b1 * np.where(small, v ** (1 - gamma), v ** (1 + gamma)) / scale
            down = c.b * np.where(small, v**-gamma, v ** (2 + gamma)) / scale
        constant = 1 + self.tilt - 3 * (self.n - 1) / self.n
        size = (np.abs(constant) + np.abs(bend) + np.abs(up) + np.abs(down)) * (1 + (1 + np.abs(x)) * np.abs(bend))
        return constant - bend - (up - down), size

    def turning_points(self) -> list[float]:
        """Every x > -inf where the slope changes sign; C_2 times the slope is a sum of five powers of v."""
        c, scale, gamma = self.numbers, self.n * self.temperature, (self.n - 2) / self.n
        constant = 1 + self.tilt - 3 * (self.n - 1) / self.n
        terms = [
            ((constant - 2) * c.a1, 2.0),
            (2 * (1 - constant) * c.a2, 1.0),
            (constant * c.a3, 0.0),
            (-c.b1 / scale, 1 - gamma),
            (c.b / scale, -gamma),
        ]
        return positive_roots(terms)


Rule = Callable[[Array], tuple[Array, Array]]
Panel = tuple[float, float, float, Array]
"""Left end, half width, log density at the left end, and its rise from there as a Legendre series."""


def _series(coefficients: Array, panel: Array, t: Array) -> Array:
    """Legendre series number panel[i] at t[i]."""
    out = np.empty(len(t))
    for at in range(0, len(t), CHUNK):
        part = slice(at, at + CHUNK)
        out[part] = legendre.legval(t[part], coefficients[:, panel[part]], tensor=False)
    return out


class Curve:
    """A log density over adjacent panels."""

    def __init__(self, panels: Sequence[Panel]) -> None:
        self.left, self.half, self.start = (np.array([p[k] for p in panels], dtype=float) for k in range(3))
        self.rise = np.array([p[3] for p in panels]).T
        self.end = float(self.left[-1] + 2 * self.half[-1])

    def position(self, x: Array) -> tuple[Array, Array]:
        """Panel of each x, and where in it: -1 to 1."""
        panel = np.clip(np.searchsorted(self.left, x, side="right") - 1, 0, len(self.left) - 1)
        with np.errstate(invalid="ignore"):
            return panel, np.clip((x - self.left[panel]) / self.half[panel] - 1, -1.0, 1.0)

    def __call__(self, x: Array) -> Array:
        panel, t = self.position(x)
        return self.start[panel] + _series(self.rise, panel, t)


class Table:
    """A density of x on (low, high), normalised, from its log's slope; turns: where the slope changes sign, at least
    once.

    slope: x -> (slope, its size for rounding), arrays of one shape.
    """

    def __init__(self, slope: Rule, turns: Sequence[float], low: float, high: float) -> None:
        self.slope, self.low, self.high = slope, low, high
        inside = [x for x in turns if low < x < high]
        if not inside:
            raise InputError(
                "stationary law: the density must have a maximum inside its support; got none. Report this loss."
            )
        self.anchor = inside[0]
        right, top = _march(slope, inside[0], 0.0, 1, high, inside[-1])
        left, top = _march(slope, inside[0], 0.0, -1, low, inside[0], top)
        self.curve = curve = Curve(left[::-1] + right)
        curve.start -= top
        self.nodes = curve.left[:, None] + curve.half[:, None] * (1 + _T)
        values = curve.half[:, None] * np.exp(curve.start[:, None] + (_BASIS @ curve.rise).T)
        total = float(np.sum(_W * values))
        self.log_total = float(np.log(total)) + top
        curve.start -= float(np.log(total))
        self.weights = _W * values / total
        self.series = _FIT @ values.T / total
        self.mass = _SUM @ self.series
        self.each = self.weights.sum(axis=1)
        self.below = np.concatenate([[0.0], np.cumsum(self.each)])
        self.above = np.concatenate([np.cumsum(self.each[::-1])[::-1], [0.0]])

    def log_density(self, x: Array) -> Array:
        """log of the density of x, shape (n,), normalised; -inf outside (low, high)."""
        out = self.curve(x)
        for sign, edge in ((-1, self.curve.left[0]), (1, self.curve.end)):
            far = (sign * (x - edge) > 0) & (x > self.low) & (x < self.high)
            if far.any():
                f = float(self.curve(np.array([edge]))[0])
                last = float(np.max(sign * x[far])) * sign
                panels, _ = _march(self.slope, float(edge), f, sign, self.high if sign > 0 else self.low, last, None)
                out[far] = Curve(panels[::sign])(x[far])
        out[(x <= self.low) | (x >= self.high)] = -np.inf
        return out

    def masses(self, x: Array) -> tuple[Array, Array]:
        """(mass below x, mass above x), each accurate where it is small."""
        panel, t = self.curve.position(x)
        part = _series(self.mass, panel, t)
        below, above = self.below[panel] + part, self.above[panel + 1] + np.maximum(self.each[panel] - part, 0.0)
        start, end = x <= self.curve.left[0], x >= self.curve.end
        below, above = np.where(start, 0.0, np.where(end, 1.0, below)), np.where(start, 1.0, np.where(end, 0.0, above))
        near = below < above
        return np.where(near, below, 1 - above), np.where(near, 1 - below, above)

    def quantile(self, mass: Array, upper: bool) -> Array:
        """x with the given mass below it (above it: upper), shape (n,), masses in (0, 1)."""
        each = self.each
        if upper:
            panel = np.clip(len(each) - np.searchsorted(self.above[::-1], mass, side="left"), 0, len(each) - 1)
            target = each[panel] - (mass - self.above[panel + 1])
        else:
            panel = np.clip(np.searchsorted(self.below, mass, side="left") - 1, 0, len(each) - 1)
            target = mass - self.below[panel]
        low, high = -np.ones(len(mass)), np.ones(len(mass))
        t = np.clip(2 * target / each[panel] - 1, -1.0, 1.0)
        for _ in range(80):
            miss = _series(self.mass, panel, t) - target
            low, high = np.where(miss < 0, t, low), np.where(miss > 0, t, high)
            step = t - miss / _series(self.series, panel, t)
            new = np.where((step > low) & (step < high), step, (low + high) / 2)
            done = np.abs(new - t) <= 2e-16 * (1 + np.abs(t))
            t = np.where(miss == 0, t, new)
            if np.all(done | (miss == 0)):
                break
        return self.curve.left[panel] + self.curve.half[panel] * (1 + t)

    def expect(self, f: Callable[[Array], Array]) -> float:
        """E f(x) for an f that is smooth on the scale of a panel."""
        return float(np.sum(self.weights * f(self.nodes)))


def _march(
    slope: Rule, x: float, f: float, sign: int, limit: float, last: float, top: float | None = 0.0
) -> tuple[list[Panel], float]:
    """Panels from x, where the log density is f, outwards past `last`; and the highest log density.

    With a `top`, they go on until the density is e^-DEPTH of its highest value, and resolve the density itself: its log
    changes by at most RISE over each. With None they resolve its log only, relative to its change.
    """
    panels: list[Panel] = []
    h, highest = 0.1, top if top is not None else f
    while len(panels) < PANELS:
        h = min(h, abs(limit - x) / 2)
        half = h / 2
        values, size = slope(x + sign * half + half * _T)
        fit = _FIT @ values
        rise, climb = half * (_SUM @ fit), 2 * half * float(fit[0])
        rough = TOLERANCE + 64 * np.finfo(float).eps * half * float(size.max())
        smooth = half * float(np.abs(fit[-2:]).max()) <= rough and np.isfinite(climb)
        if smooth and top is not None:
            grow = _BASIS @ rise
            shape = _FIT @ np.exp(np.clip(grow - grow.max(), -50, 0))
            smooth = abs(climb) <= RISE and float(np.abs(shape[-2:]).max()) <= TOLERANCE + rough
        if not smooth:
            h /= 2
            if h <= 1e-15 * max(abs(x), 1e-300):
                break
            continue
        new_x, new_f = x + sign * h, f + sign * climb
        panels.append((x, half, f, rise) if sign > 0 else (new_x, half, new_f, rise))
        x, f, highest = new_x, new_f, max(highest, f, new_f)
        if sign * (x - last) >= 0 and (top is None or f < highest - DEPTH):
            return panels, highest
        h *= 2
    raise InputError(
        f"stationary law: the density must be resolvable in float64; got a feature too sharp near v = {np.exp(x):.6g}."
        " Use a larger temperature."
    )
