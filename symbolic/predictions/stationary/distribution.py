"""The stationary law of v, the product of a scalar chain's parameters, under SGD's noise: a frozen law as in
scipy.stats."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import sympy as sp

from symbolic.errors import InputError
from symbolic.language.names import latex
from symbolic.predictions.stationary.density import Numbers, Slope, Table
from symbolic.predictions.stationary.scalar_chains import Chain

Array = np.ndarray


@dataclass(frozen=True, eq=False, kw_only=True)
class StationaryLaw:
    """Distribution of v = prod theta under the SDE as t -> oo, on the balanced branch, where all factors have the same
    size.

    Arguments and results of pdf, logpdf, cdf, sf, ppf and isf are numbers or arrays of any shape. A point mass has cdf,
    quantiles and moments; its pdf and logpdf raise InputError. Off the balanced branch the charges decay exponentially
    (rate 4 T C_2(v) for two factors), so SGD from any start nears the distribution of the branch it ends on.

    Attributes
    ----------
    chain
        The loss, seen on this branch as a function of |v|.
    branch
        "positive" (v > 0) or "negative" (v < 0).
    temperature
        T = eta/S times the factors of momentum 1/(1 - beta) and of sampling without replacement.
    weight_decay
        lambda_wd.
    exact
        (T, lambda_wd) as exact numbers.
    T_c
        Critical temperature, 0.0 where all mass is at 0 at every temperature.
    atom
        None, or the point that holds all mass: 0.0 at T >= T_c (`collapsed`), or the minimum where the noise vanishes.
    limits
        Ends of the support of |v|.
    numbers
        Coefficients of the density.

    References
    ----------
    Ziyin, Li, Ueda, arXiv 2308.06671; docs/theory.md eq. (5.3). Weight decay for more than two factors: by Ito's
    formula, `Chain.density`.
    """

    chain: Chain
    branch: str
    temperature: float
    weight_decay: float
    exact: tuple[sp.Expr, sp.Expr]
    T_c: float
    atom: float | None
    limits: tuple[float, float]
    numbers: Numbers

    @property
    def collapsed(self) -> bool:
        """Whether all mass is at v = 0: T >= T_c."""
        return self.atom == 0.0

    @property
    def mode_temperature(self) -> float:
        """T_c/3 for two factors: below it the most likely v is not 0. inf for more factors, whose density vanishes at
        0."""
        return self.T_c / 3

    @property
    def tail_exponent(self) -> float:
        """a in p ~ |v|^-a at infinity: 7/2 for two factors, 2 + 3D/(D+1) for D + 1, inf when the tail is exponential or
        there is none.

        Moments of order a - 1 and higher do not exist.
        """
        if self.atom is not None or np.isfinite(self.limits[1]) or not self.numbers.a1:
            return np.inf
        return 2 + 3 * (self.chain.factors - 1) / self.chain.factors

    @cached_property
    def _sign(self) -> float:
        return 1.0 if self.branch == "positive" else -1.0

    def _slope(self, tilt: float = 0.0) -> Slope:
        return Slope(self.numbers, self.chain.factors, self.temperature, tilt)

    @cached_property
    def _tail_ends(self) -> tuple[float, float]:
        low, high = self.limits
        return float(np.log(low)) if low else -np.inf, float(np.log(high))

    def _tilted(self, tilt: float) -> Table:
        slope = self._slope(tilt)
        return Table(slope, slope.turning_points(), *self._tail_ends)

    @cached_property
    def _table(self) -> Table:
        return self._tilted(0.0)

    def _positive(self, v: Any) -> tuple[Array, tuple[int, ...]]:
        """|v| on the branch (negative where v is off it), flat."""
        array = np.asarray(v, dtype=float)
        return self._sign * array.ravel(), array.shape

    def _shaped(self, values: Array, shape: tuple[int, ...]) -> Any:
        return values.reshape(shape) if shape else float(values[0])

    def logpdf(self, v: Any) -> Any:
        """log p(v), normalised; -inf off the support.

        Parameters
        ----------
        v
            Points, any shape.

        Returns
        -------
        float or ndarray
        """
        if self.atom is not None:
            raise InputError(
                "StationaryLaw.pdf: a point mass has no density; all mass is at v ="
                f" {self._sign * self.atom + 0.0:.6g}, T = {self.temperature:.6g}, T_c = {self.T_c:.6g}. Use cdf and"
                " ppf, or a temperature below T_c."
            )
        u, shape = self._positive(v)
        out = np.full(u.shape, -np.inf)
        inside = (u > self.limits[0]) & (u < self.limits[1]) & np.isfinite(u)
        x = np.log(u[inside])
        out[inside] = self._table.log_density(x) - x
        out[u == 0.0] = self._at_zero()
        out[np.isnan(u)] = np.nan
        return self._shaped(out, shape)

    def _at_zero(self) -> float:
        """log p(0+)."""
        c = self.numbers
        if self.limits[0] > 0 or self.chain.factors > 2 or not c.a3 or 3 * c.a3 * self.temperature < c.b:
            return -np.inf
        if 3 * c.a3 * self.temperature > c.b:
            return np.inf
        x = np.array([-200.0])
        return float(self._table.log_density(x)[0] - x[0])

    def pdf(self, v: Any) -> Any:
        """The density p(v); 0 off the support, inf at v = 0 above T_c/3.

        Parameters
        ----------
        v
            Points, any shape.

        Returns
        -------
        float or ndarray
        """
        with np.errstate(over="ignore"):
            return np.exp(self.logpdf(v))

    def _masses(self, u: Array) -> tuple[Array, Array]:
        """(mass below, mass above) of |v|."""
        if self.atom is not None:
            below = np.where(u >= self.atom, 1.0, 0.0)
            return below, 1 - below
        with np.errstate(divide="ignore", invalid="ignore"):
            x = np.where(u > 0, np.log(np.where(u > 0, u, 1.0)), -np.inf)
        return self._table.masses(x)

    def _mass(self, v: Any, upper: bool) -> Any:
        u, shape = self._positive(v)
        below, above = self._masses(u)
        if self.atom is not None and self._sign < 0:  # P(v <= x) counts the atom
            below = np.where(u > self.atom, 1.0, 0.0)
            above = 1 - below
        out = above if upper == (self._sign > 0) else below
        return self._shaped(np.where(np.isnan(u), np.nan, out), shape)

    def cdf(self, v: Any) -> Any:
        """P(V <= v), accurate relative to itself far into the lower tail.

        Parameters
        ----------
        v
            Points, any shape.

        Returns
        -------
        float or ndarray
        """
        return self._mass(v, upper=False)

    def sf(self, v: Any) -> Any:
        """P(V > v) = 1 - cdf, accurate relative to itself far into the upper tail.

        Parameters
        ----------
        v
            Points, any shape.

        Returns
        -------
        float or ndarray
        """
        return self._mass(v, upper=True)

    def _quantile(self, q: Any, upper: bool) -> Any:
        array = np.asarray(q, dtype=float)
        flat, out = array.ravel(), np.full(array.size, np.nan)
        good = (flat >= 0) & (flat <= 1)
        if self.atom is not None:
            out[good] = self._sign * self.atom + 0.0
            return self._shaped(out, array.shape)
        upper = upper == (self._sign > 0)
        low, high = self.limits
        out[flat == 0] = high if upper else low
        out[flat == 1] = low if upper else high
        near, far = (flat > 0) & (flat <= 0.5), (flat > 0.5) & (flat < 1)
        for chosen, mass, side in ((near, flat, upper), (far, 1 - flat, not upper)):
            if chosen.any():
                with np.errstate(under="ignore"):
                    out[chosen] = np.exp(self._table.quantile(mass[chosen], side))
        return self._shaped(self._sign * out + 0.0, array.shape)

    def ppf(self, q: Any) -> Any:
        """Quantile: the v with cdf(v) = q; nan outside [0, 1], 0.0 where it is below the smallest float (near T_c).

        Parameters
        ----------
        q
            Probabilities, any shape.

        Returns
        -------
        float or ndarray
        """
        return self._quantile(q, upper=False)

    def isf(self, q: Any) -> Any:
        """The v with sf(v) = q: upper quantiles without the rounding of 1 - q.

        Parameters
        ----------
        q
            Probabilities, any shape.

        Returns
        -------
        float or ndarray
        """
        return self._quantile(q, upper=True)

    def median(self) -> float:
        """ppf(1/2)."""
        return self.ppf(0.5)

    def interval(self, confidence: float) -> tuple[float, float]:
        """Ends of the central interval with a probability.

        Parameters
        ----------
        confidence
            The probability.
        """
        rest = (1 - confidence) / 2
        return self.ppf(rest), self.isf(rest)

    def support(self) -> tuple[float, float]:
        """(lower, upper) end of the support."""
        low, high = self.limits if self.atom is None else (self.atom, self.atom)
        return (low, high) if self._sign > 0 else (-high + 0.0, -low + 0.0)

    def moment(self, order: float) -> float:
        """E |v|^order times the branch's sign for odd whole orders; infinite where it does not exist.

        Parameters
        ----------
        order
            It exists below tail_exponent - 1.

        Returns
        -------
        float
        """
        if not order >= 0:
            raise InputError(f"StationaryLaw.moment: order must be 0 or more; got {order!r} ({type(order).__name__}).")
        sign = self._sign if order % 2 == 1 else 1.0
        if self.atom is not None:
            return sign * self.atom**order + 0.0
        if order >= self.tail_exponent - 1:
            return sign * np.inf
        tilted = self._tilted(order)
        x = tilted.anchor
        log = float(self._table.log_density(np.array([x]))[0]) + order * x + tilted.log_total
        return sign * float(np.exp(log))

    def mean(self) -> float:
        """E v; it exists for every chain."""
        return self.moment(1)

    def var(self) -> float:
        """Variance of v; it exists for every chain (tail v^-7/2 or lighter). Two factors have no third moment."""
        if self.atom is not None:
            return 0.0
        centre = abs(self.mean())
        return self._table.expect(lambda x: (np.exp(x) - centre) ** 2)

    def std(self) -> float:
        """Standard deviation of v."""
        return float(np.sqrt(self.var()))

    def mode(self) -> float:
        """Where the density is largest; 0.0 for collapse and where it is infinite at 0: two factors, T > T_c/3. A
        lower, local maximum may remain."""
        if self.atom is not None:
            return self._sign * self.atom + 0.0
        low, high = self._tail_ends
        peaks = [x for x in self._slope(-1.0).turning_points() if low < x < high]
        if not peaks or self._at_zero() > -np.inf:
            return 0.0
        x = np.array(peaks)
        return self._sign * float(np.exp(x[np.argmax(self._table.log_density(x) - x)]))

    def rvs(self, size: int | tuple[int, ...] = 1, seed: int | np.random.Generator | None = None) -> Array:
        """Independent draws of v, by inversion.

        Parameters
        ----------
        size
            Their shape.
        seed
            A seed or a generator.
        """
        return self.ppf(np.random.default_rng(seed).uniform(np.finfo(float).tiny, 1.0, size))

    def density(self, v: sp.Expr | None = None) -> sp.Expr:
        """The density as an expression, not normalised; see `Chain.density`.

        Parameters
        ----------
        v
            A symbol or expression of the branch's sign.

        Returns
        -------
        Expr
        """
        positive = self._sign > 0
        at: sp.Expr = sp.Symbol("v", positive=positive, negative=not positive) if v is None else v
        return self.chain.density(at if positive else -at, *self.exact)

    def __str__(self) -> str:
        side = ">" if self._sign > 0 else "<"
        head = (
            f"stationary law of v = {self.chain.product} on v {side} 0: T = {self.temperature:.6g}, T_c ="
            f" {self.T_c:.6g}"
        )
        if self.chain.source == "samples":
            head += " (moments estimated from quasi-random points)"
        if self.collapsed:
            return (
                f"{head}; T >= T_c: all mass at v = 0, in the limit of infinite time: how long that takes, and where"
                " v stays for long before, it does not say"
            )
        if self.atom is not None:
            return f"{head}; noise vanishes at the minimum: all mass at v = {self._sign * self.atom:.6g}"
        tail = f"tail |v|^-{self.tail_exponent:.4g}" if np.isfinite(self.tail_exponent) else "no power tail"
        low, high = self.interval(0.9)
        return (
            f"{head}; median {self.median():.6g}, mode {self.mode():.6g}, mean {self.mean():.6g}, 90% in [{low:.6g},"
            f" {high:.6g}], {tail}"
        )

    __repr__ = __str__

    def _repr_latex_(self) -> str:
        return rf"$\displaystyle p(v) \propto {latex(self.density())}$"
