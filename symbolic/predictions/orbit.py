"""The orbit of one point under a symmetric generator, and the drift of its charge along it (docs/theory.md eq. (4.1),
(4.2)).

In eigenvectors of A, theta_lambda has coordinates y_i = e^{a_i lambda} (c_i + b_i/a_i) about the generator's centre, or
c_i + b_i lambda where a_i = 0. The drift F(lambda) is a sum of exponentials of lambda, and a line: its sign at the ends
of the orbit is that of the fastest term, so that an equilibrium at infinity is told from a far one exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from symbolic.noise.drift import Rates
from symbolic.noise.eigenspaces import ROUNDING, Eigenspaces

Array = np.ndarray
SMALL = 1e-12
"""A sum, over that of its terms' sizes, up to which it is rounding."""
SAME = 1e-9
"""Relative difference of exponents that counts as none."""


def total(terms: Array, share: float = SMALL) -> float:
    """The sum of the terms; 0 where it is no more than a share of their sizes."""
    found = float(np.sum(terms))
    return found if abs(found) > share * float(np.sum(np.abs(terms))) else 0.0


@dataclass(frozen=True, eq=False)
class Orbit:
    """theta_lambda through theta (D,) at lambda = 0."""

    spaces: Eigenspaces
    theta: Array

    @cached_property
    def _bends(self) -> Array:
        """Where the eigenvalue is not 0."""
        return self.spaces.values != 0

    @cached_property
    def _centre(self) -> Array:
        """-b_i/a_i, (m,); 0 where a_i = 0."""
        values, shift = self.spaces.values, self.spaces.shift
        return np.where(self._bends, -shift / np.where(self._bends, values, 1.0), 0.0) + 0.0

    @cached_property
    def coordinates(self) -> Array:
        """theta's, about the centre, (m,): 0 where they are nothing but rounding."""
        own, centre = self.spaces.coordinates(self.theta), self._centre
        away = own - centre
        return np.where((centre == 0) | (np.abs(away) > ROUNDING * np.abs(centre)), away, 0.0)

    def at(self, x: float) -> Array:
        """theta_x, (D,)."""
        spaces, out = self.spaces, self.theta.copy()
        grown = self.coordinates * np.exp(x * spaces.values) + self._centre
        there = np.where(self._bends, grown, self.coordinates + x * spaces.shift)
        out[spaces.indices] = spaces.turned(there, back=True)
        return out

    def value(self, x: float) -> float:
        """C at theta_x, its limit where x is infinite: what grows decides, a coordinate of 0 stays 0."""
        a, shift, own, bends = self.spaces.values, self.spaces.shift, self.coordinates, self._bends
        settled = np.where(bends, self._centre * shift, 0.0)
        if np.isinf(x):
            endless = (np.sign(x) * a > 0) & (own != 0) | ~bends & (shift != 0)
            if endless.any():
                return float(x)
            return total(settled)
        moving = np.where(bends, a * (own * np.exp(x * a)) ** 2, 2 * shift * (own + x * shift))
        return total(np.concatenate([moving, settled]))

    def field(self, x: float) -> Array:
        """A theta + b at theta_x, in the basis, (m,)."""
        grown = self.spaces.values * self.coordinates * np.exp(x * self.spaces.values)
        return np.where(self._bends, grown, self.spaces.shift)


@dataclass(frozen=True, eq=False)
class Force:
    """F(lambda) = -2 lambda_wd v.theta + T Tr[Sigma A] on an orbit, from the noise s (m,) on its eigenvectors."""

    orbit: Orbit
    s: Array
    rates: Rates

    @cached_property
    def _terms(self) -> tuple[Array, Array, Array]:
        """Factors and exponents of the exponentials, and the line's two coefficients."""
        spaces, own = self.orbit.spaces, self.orbit.coordinates
        a, shift = spaces.values, spaces.shift
        pull, flat = -2 * self.rates.weight_decay, a == 0
        factors = np.concatenate([self.heat * a * self.s, pull * a * own**2, np.where(flat, 0.0, -pull * shift * own)])
        line = pull * np.array([np.sum((shift * own)[flat]), np.sum((shift**2)[flat])])
        kept = factors != 0
        return factors[kept], np.concatenate([-2 * a, 2 * a, a])[kept], line

    @property
    def heat(self) -> float:
        """T of this setting."""
        return float(self.rates.speed * self.rates.temperature)

    def __call__(self, x: float) -> float:
        """F(x) over the size of its largest term."""
        factors, exponents, line = self._terms
        straight = line[0] + x * line[1]
        sizes = x * exponents + np.log(np.abs(factors))
        if straight:
            factors, sizes = np.append(factors, straight), np.append(sizes, np.log(abs(straight)))
        return float(np.sign(factors) @ np.exp(sizes - sizes.max())) if len(sizes) else 0.0

    @cached_property
    def start(self) -> float:
        """F(0), 0 where it is rounding."""
        return total(np.append(self._terms[0], self._terms[2][0]))

    def _end(self, side: float) -> float:
        """The sign of F far out on a side."""
        factors, exponents, line = self._terms
        ahead = side * exponents
        top = max(ahead.max(initial=-np.inf), 0.0 if line.any() else -np.inf)
        leading = float(np.sum(factors[ahead >= top - SAME * np.abs(exponents).max(initial=0.0)]))
        if top == 0 and line.any():
            leading = side * line[1] or line[0]
        return float(np.sign(leading))

    def zero(self) -> float | None:
        """lambda*: +-inf where F keeps its sign, None where it is 0 throughout."""
        from scipy.optimize import brentq  # slow to load

        factors, exponents, line = self._terms
        if not len(factors) and not line.any():
            return None
        start = self(0.0)
        if start == 0.0:
            return 0.0
        side = float(np.sign(start))
        if self._end(side) in (side, 0.0):
            return side * np.inf
        near, far = 0.0, 1 / float(np.abs(exponents).max(initial=0.0) or 1.0)
        while self(side * far) * side > 0:
            near, far = far, 2 * far
        low, high = sorted((side * near, side * far))
        found: Any = brentq(self, low, high, xtol=1e-14, rtol=4 * np.finfo(float).eps)
        return float(found)

    def rate(self, x: float) -> float:
        """Rate of relaxation per unit of t at theta_x, -F'/(2 |v|^2) (docs/theory.md eq. (4.4))."""
        a, shift, v = self.orbit.spaces.values, self.orbit.spaces.shift, self.orbit.field(x)
        curvature = self.heat * float(np.sum(a**2 * np.exp(-2 * x * a) * self.s))
        pull, size = self.rates.weight_decay * float(2 * v @ v - shift @ v), float(v @ v)
        return self.rates.speed * (curvature + pull) / size if size else 0.0
