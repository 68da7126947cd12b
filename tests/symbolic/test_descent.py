"""Gradient flow to the valley ends in bounded work, counted in evaluations: also where it comes near no minimum."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import sympy as sp

from symbolic import SGD, Dataset, Loss, parameters
from symbolic.noise.hessian import MeanHessian
from symbolic.predictions.valley.descent import EVALUATIONS, FLATTENS, HESSIANS, Descent, descend
from symbolic.theory import Theory, derive

START = {"U": [1.0, 0.5], "W": [[0.3, 0.1, 0.0], [0.2, 0.4, 0.1]]}
U, W, x, y = parameters(U=(2,), W=(2, 3), x=(3,), y=())
OUT = U.dot(W @ x)
GATED = U.dot((W @ x).applyfunc(lambda e: sp.Max(e, 0)))
NEVER = {
    "quartic": ((OUT - y) ** 4, False),
    "sextic": ((OUT - y) ** 6, False),
    "logistic": (sp.log(1 + sp.exp(-y * OUT)), True),
    "exponential": (sp.exp(-y * OUT), True),
    "tanh out of reach": ((sp.tanh(OUT) - 2 * y) ** 2, True),
    "absolute": (sp.Abs(OUT - y), False),
    "hinge": (sp.Max(0, 1 - y * OUT), True),
    "power 3/2": (sp.Abs(OUT - y) ** sp.Rational(3, 2), False),
    "quartic, relu": ((GATED - y) ** 4, False),
}
"""Losses whose minimum gradient flow does not reach, or not in any time: flat, at infinity, at kinks; whether the
targets are signs."""


def theory(expression: sp.Expr, signs: bool = False, noise: float = 0.0) -> Theory:
    """On 40 rows of a linear teacher."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(40, 3))
    targets = inputs @ [1.0, -0.5, 0.2] + noise * rng.normal(size=40)
    rows = Dataset({x: inputs, y: np.sign(targets) if signs else targets})
    return derive(Loss(expression, {"U": U, "W": W}, rows))


def counted(found: Theory) -> tuple[Descent, Counter[str]]:
    """Where a descent leads, and what it evaluates."""
    spent: Counter[str] = Counter()

    class Counting(MeanHessian):
        def gradient(self, theta: np.ndarray) -> np.ndarray:
            spent["gradients"] += 1
            return super().gradient(theta)

        def __call__(self, theta: np.ndarray) -> np.ndarray:
            spent["Hessians"] += 1
            return super().__call__(theta)

    return descend(Counting(found.noise), found.loss.pack(START)), spent


LONG = ("absolute", "hinge", "quartic, relu")


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in LONG else n for n in NEVER])
def test_a_descent_that_reaches_no_minimum_is_given_up(name: str) -> None:
    """In bounded work, and with the reason, also in what is printed."""
    found = theory(*NEVER[name])
    descent, spent = counted(found)
    assert descent.theta is None and descent.given_up and descent.away
    size = found.loss.dimension
    assert spent["gradients"] + size * spent["Hessians"] <= EVALUATIONS + HESSIANS * size
    said = found.equilibrium(START, SGD(0.01)).relative
    assert said is not None and said.given_up and not said.converged
    assert str(said) == f"the motion in the valley of minima: not known ({descent.why})"


def test_flattening_is_seen_long_before_the_work_is_spent() -> None:
    """The product of curvature and time stays at (p - 1)/(p - 2) on |theta|^p, 3/2 for the quartic."""
    descent, spent = counted(theory(*NEVER["quartic"]))
    assert descent.why == FLATTENS
    assert spent["gradients"] < EVALUATIONS / 5


@pytest.mark.parametrize("size", [3.0, 1e3, 1e4, 1e5, 1e6])
def test_a_distant_minimum_with_curvature_is_reached(size: float) -> None:
    """(u w - 1)^2 from far off flattens on its way for long, and does not at its end."""
    u, w, z = sp.symbols("u w z", real=True)
    loss = Loss((u * w * z - z) ** 2, [u, w], Dataset({z: np.array([1.0, -1.0])}))
    descent = descend(MeanHessian(derive(loss).noise), np.array([size, size]))
    assert descent.theta is not None and descent.away
    assert descent.theta == pytest.approx([1.0, 1.0], rel=1e-6)


def test_a_quartic_with_label_noise_has_a_minimum_with_curvature() -> None:
    """Its residuals do not all vanish."""
    assert counted(theory((OUT - y) ** 4, noise=0.5))[0].theta is not None
