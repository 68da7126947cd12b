"""Scalar chains: losses that are quadratic, sample by sample, in the product v of two or more scalar parameters.

With l = q2(z) v^2 + q1(z) v + q0(z) the slope dl/dv = 2 q2 v + q1 has mean 2 (b1 v - b2) and variance 4 C_2(v),
C_2 = a1 v^2 - 2 a2 v + a3. For l = (v x - y)^2: b1 = E x^2, b2 = E xy, a1 = Var x^2, a2 = Cov(x^2, xy), a3 = Var xy.
Source: Ziyin, Li, Ueda, "Law of Balance and Stationary Distribution of SGD" (2308.06671).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import sympy as sp

from symbolic.errors import InputError, instance
from symbolic.evaluation.random_points import Probe
from symbolic.evaluation.tape import Tape
from symbolic.noise.covariance import Noise
from symbolic.noise.drift import TEMPERATURE, WEIGHT_DECAY
from symbolic.problem.features import Features
from symbolic.problem.loss import Loss

Array = np.ndarray
ROUNDING = 1e-24
"""Variance over mean square below which a column of a data set counts as constant."""


class NotAChain(InputError):
    """The loss is not a per-sample quadratic in a product of scalar parameters."""


@dataclass(frozen=True)
class Chain:
    """A loss seen as a function of v, the product of its `factors` >= 2 scalar parameters.

    product: v in the loss's symbols. alpha: (a1, a2, a3) of C_2; beta: (b1, b2); floor: the least C_2 over real v.
    Expressions in the laws' symbols, exact for exact laws; source: "features" (moments), "dataset" (rows), "nodes" or
    "samples" (an estimate from draws).
    """

    factors: int
    product: sp.Expr
    alpha: tuple[sp.Expr, sp.Expr, sp.Expr]
    beta: tuple[sp.Expr, sp.Expr]
    floor: sp.Expr
    source: str

    @property
    def reflected(self) -> Chain:
        """The same loss as a function of -v."""
        (a1, a2, a3), (b1, b2) = self.alpha, self.beta
        return replace(self, alpha=(a1, -a2, a3), beta=(b1, -b2))

    def variance(self, v: Any) -> sp.Expr:
        """C_2(v) = Var(dl/dv)/4."""
        a1, a2, a3 = self.alpha
        return a1 * v**2 - 2 * a2 * v + a3

    def ito(
        self, v: sp.Expr, temperature: Any = TEMPERATURE, weight_decay: Any = WEIGHT_DECAY
    ) -> tuple[sp.Expr, sp.Expr]:
        """(drift, diffusion coefficient) of dv = drift dt + diffusion dW for v > 0 where all factors have equal size,
        by Ito's formula."""
        n, (b1, b2) = self.factors, self.beta
        speed = v ** (2 - sp.Rational(2, n))
        noise = temperature * 4 * self.variance(v)
        drift = -n * (2 * (b1 * v - b2) * speed + weight_decay * v) + sp.Rational(n * (n - 1), 2) * noise * v ** (
            3 - sp.Rational(4, n)
        )
        return drift, n * speed * sp.sqrt(noise)

    def density(self, v: sp.Expr, temperature: Any = TEMPERATURE, weight_decay: Any = WEIGHT_DECAY) -> sp.Expr:
        """The stationary density in v > 0, not normalised; for more than two factors with the integral in its exponent
        left as it is.

        p = v^{-3D/n} C_2^{-1} exp{-1/(n T) int [(b1 s - b2)/s^{2D/n} + (lambda_wd/2) s/s^{4D/n}]/C_2(s) ds}, n = D + 1
        factors.
        """
        n, d = self.factors, self.factors - 1
        head = v ** -sp.Rational(3 * d, n) / self.variance(v)
        b1, b2 = self.beta
        if n == 2:
            return head * sp.exp(-self._exponent(v, b2 - sp.sympify(weight_decay, strict=True) / 2) / (2 * temperature))
        s = sp.Symbol("s", positive=True)
        pull = (b1 * s - b2) / s ** sp.Rational(2 * d, n) + sp.sympify(weight_decay, strict=True) / 2 * s ** (
            1 - sp.Rational(4 * d, n)
        )
        return head * sp.exp(-sp.Integral(pull / self.variance(s), (s, 1, v)) / (n * temperature))

    def _exponent(self, v: sp.Expr, b: sp.Expr) -> sp.Expr:
        """int (b1 s - b)/(s C_2(s)) ds by partial fractions."""
        (a1, a2, a3), (b1, _) = self.alpha, self.beta
        if a3.is_zero:
            return (b / (2 * v**2) - b1 / v) / a1
        if a1.is_zero:
            return (b1 * v - b * sp.log(v)) / a3
        if self.floor.is_zero:
            inverse: Any = -1 / (a1 * v - a2)
        else:
            root = sp.sqrt(a1 * self.floor)
            inverse = sp.atan((a1 * v - a2) / root) / root
        return b / a3 * (sp.log(self.variance(v)) / 2 - sp.log(v)) + (b1 - b * a2 / a3) * inverse

    def critical_temperature(self, weight_decay: Any = WEIGHT_DECAY) -> sp.Expr:
        """T_c on v > 0: (b2 - lambda_wd/2)/a3 for two factors, where it is positive (else all mass is at 0 at every
        temperature).

        With more factors noise alone never takes v to 0 (oo), and any weight decay always does in the end (0): near 0
        it pulls by lambda_wd v, the loss by v^{2D/n} only.
        """
        decay, b2, a3 = sp.sympify(weight_decay, strict=True), self.beta[1], self.alpha[2]
        if self.factors > 2:
            return sp.S.Zero if b2.is_nonpositive else sp.Piecewise((sp.oo, sp.Eq(decay, 0)), (sp.S.Zero, True))
        if a3.is_zero:
            return sp.Piecewise((sp.oo, b2 - decay / 2 > 0), (sp.S.Zero, True))
        return sp.factor((b2 - decay / 2) / a3)


def _powers(expression: sp.Expr, loss: Loss) -> tuple[sp.Expr, sp.Expr]:
    """(coefficient of v, of v^2) of an expression that is a quadratic in v = prod theta. Raises NotAChain."""
    try:
        polynomial = sp.Poly(expression, *loss.theta)
    except sp.PolynomialError:
        raise _refusal(loss, "a loss that is not polynomial in the parameters") from None
    found: list[Any] = [sp.S.Zero, sp.S.Zero]
    for powers, coefficient in polynomial.terms():
        if len(set(powers)) > 1 or powers[0] > 2:
            term = sp.Mul(*(s**p for s, p in zip(loss.theta, powers, strict=True)))
            raise _refusal(loss, f"a term in {term}")
        if powers[0]:
            found[powers[0] - 1] += coefficient
    return found[0], found[1]


def _refusal(loss: Loss, got: str) -> NotAChain:
    return NotAChain(
        "stationary law: the loss must be a quadratic in the product of all its scalar parameters, as (u*w*x - y)**2;"
        f" got {got} in {loss.name} (Loss). Other losses have no such law: simulate them, or reduce the loss to a"
        " scalar chain."
    )


def _probe(loss: Loss) -> None:
    """Refuse cheaply, at random points, what is no function of the product: theta_i dl/dtheta_i = v dl/dv must not
    depend on i."""
    theta, g = Probe(loss).gradients(8, np.random.default_rng(17))
    power = theta * g
    apart = np.abs(power - power[:1]).max(axis=1, initial=0.0)
    if apart.max(initial=0.0) > 1e-9 * np.abs(power).max(initial=0.0):
        raise _refusal(loss, f"a slope along {loss.theta[int(apart.argmax())]} that no function of the product has")


def chain(loss: Loss) -> Chain:
    """Read a loss as a scalar chain. Raises ValueError: NotAChain where it is not one."""
    instance("stationary law", loss, Loss, "needs a Loss", "Build one with symbolic.Loss.")
    if loss.dimension < 2:
        raise _refusal(loss, f"one parameter, {loss.theta[0]},")
    _probe(loss)
    noise = Noise(loss)
    features = noise.features
    used = [b for b in loss.blocks if set(b.symbols) & loss.expression.free_symbols]
    if features is not None:
        parts = [_powers(c, loss) for c in (*features.coefficients, features.constant)]
        data: list[sp.Expr] = [*features.monomials, sp.S.One]
        linear, square = (sp.Add(*(p[k] * m for p, m in zip(parts, data, strict=True))) for k in (0, 1))
    else:
        parts = []
        linear, square = _powers(loss.expression, loss)
    if linear == square == 0:
        raise _refusal(loss, "no dependence on it")
    product = sp.Mul(*loss.theta)
    if len(used) == 1 and used[0].table is not None:
        rows = Tape([square, linear], used[0].symbols).evaluate(np.ascontiguousarray(used[0].table.T))
        return _from_rows(loss.dimension, product, rows, np.full(rows.shape[1], 1 / rows.shape[1]), "dataset")
    if features is not None:
        return _from_moments(loss.dimension, product, parts, features)
    if noise.source == "unknown" or loss.distribution_parameters:
        raise InputError(
            f"stationary law: the moments of this loss need numbers or samples; got {loss.name} with bare moments or"
            " symbols in its laws and functions of the data that are not polynomials. Give laws with numbers, or a"
            " Dataset."
        )
    points = noise.points
    rows = Tape([square, linear], loss.z).evaluate(points.at)
    return _from_rows(loss.dimension, product, rows, points.weights, noise.source)


def _from_rows(factors: int, product: sp.Expr, rows: Array, weights: Array, source: str) -> Chain:
    """Averages over rows (q2, q1), shape (2, N), centred first so that a vanishing variance is seen as such."""
    if not np.isfinite(rows).all():
        raise InputError(
            "stationary law: the loss must be finite on the data; got nan or inf. Check the data set's entries."
        )
    q2, q1 = rows
    b1, b2 = float(q2 @ weights), -float(q1 @ weights) / 2
    c2, c1 = q2 - b1, q1 + 2 * b2
    a1, a2, a3 = float(c2**2 @ weights), -float((c2 * c1) @ weights) / 2, float(c1**2 @ weights) / 4
    a1 = 0.0 if a1 <= ROUNDING * float(q2**2 @ weights) else a1
    a3 = 0.0 if a3 <= ROUNDING * float(q1**2 @ weights) / 4 else a3
    a2 = a2 if a1 and a3 else 0.0
    floor = float((a2 / a1 * c2 + c1 / 2) ** 2 @ weights) if a1 else a3
    floor = 0.0 if floor <= ROUNDING * a3 else floor
    alpha = (_number(a1), _number(a2), _number(a3))
    return Chain(factors, product, alpha, (_number(b1), _number(b2)), _number(floor), source)


def _number(value: float) -> sp.Expr:
    return sp.Float(value, 17) if value else sp.S.Zero


def _from_moments(factors: int, product: sp.Expr, parts: list[tuple[sp.Expr, sp.Expr]], features: Features) -> Chain:
    """Exact moments of the features."""
    linear, square = (sp.Matrix([p[k] for p in parts[:-1]]) for k in (0, 1))
    mean, m = sp.Matrix(features.mean), features.covariance

    def covariance(p: sp.Matrix, q: sp.Matrix) -> Any:
        return sp.expand((p.T * m * q)[0])

    a1, a2, a3 = covariance(square, square), -covariance(square, linear) / 2, covariance(linear, linear) / 4
    b1, b2 = sp.expand((square.T * mean)[0] + parts[-1][1]), -sp.expand((linear.T * mean)[0] + parts[-1][0]) / 2
    floor = a3 if a1.is_zero else sp.cancel(a3 - a2**2 / a1)
    if floor.is_Float and abs(floor) <= 1e-13 * abs(a3):  # a data set beside laws: moments are rounded
        floor = sp.S.Zero
    return Chain(factors, product, (a1, a2, a3), (b1, b2), floor, "features")


def critical_temperature(loss: Loss, branch: str = "positive", weight_decay: Any = WEIGHT_DECAY) -> sp.Expr:
    """T_c of a scalar chain in the laws' symbols and lambda_wd: at T >= T_c all stationary mass is at v = 0. See
    `Chain.critical_temperature`.

    Raises TypeError, ValueError.
    """
    return on_branch(chain(loss), branch).critical_temperature(weight_decay)


def on_branch(found: Chain, branch: str) -> Chain:
    """The chain seen on v > 0 or, reflected, on v < 0. Raises ValueError."""
    if branch not in ("positive", "negative"):
        raise InputError(
            f'stationary law: branch must be "positive" (v > 0) or "negative" (v < 0); got {branch!r}'
            f" ({type(branch).__name__}). Choose one."
        )
    return found if branch == "positive" else found.reflected
