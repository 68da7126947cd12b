"""Weak orders without sampling: a step's conditional moments, expanded in sqrt(h) by exact moments of its inputs,
against the generator's."""

from __future__ import annotations

from itertools import combinations_with_replacement
from math import factorial

import pytest
import sympy as sp

from symbolic import SDE
from symbolic.dynamics.step_map import h, t
from symbolic.schemes import step_map

X, Y = sp.symbols("X Y", real=True)
root = sp.Symbol("root", positive=True)
ORDER = 5
"""Powers of sqrt(h) looked at: h^(5/2) is what weak order 2 must get right besides h and h^2."""
GENERAL = SDE(
    [X, Y],
    [1 + Y - X**2, X - Y],
    [[1 + X + Y / 2, Y - X**2 / 3], [X / 2 - Y**2, 2 - X * Y]],
    name="polynomial",
)
BILINEAR = SDE([X, Y], [1 + Y, X - Y], [[1, Y], [X / 2, 2]], name="bilinear")
CUBE = SDE([X], [X - X**2], [[1 + X + X**2 + X**3]], name="cube")
SCALAR = SDE([X], [X - X**2], [[2]], name="scalar")
LINEAR = SDE([X], [X - X**2], [[1 + X / 2]], name="linear")
ADDITIVE = SDE([X, Y], [Y - X**2, X - Y**2], [[1, 2], [0, 1]], name="additive")
POINT = {X: sp.Rational(1, 2), Y: sp.Rational(-1, 3)}


def truncated(e: sp.Expr, inputs: tuple[sp.Symbol, ...]) -> sp.Poly:
    """A polynomial in root and the normals, powers of root past ORDER dropped."""
    poly = sp.Poly(e, root, *inputs)
    return sp.Poly.from_dict(
        {m: c for m, c in poly.terms() if m[0] <= ORDER} or {(0,) * (1 + len(inputs)): 0}, root, *inputs
    )


def moments(sde: SDE, scheme: str) -> dict[tuple[int, ...], sp.Expr]:
    """E of the products of the step's increments, up to four factors, as polynomials in root = sqrt(h)."""
    step = step_map(sde, scheme)
    xi = tuple(sp.Symbol(f"xi_{k}", real=True) for k in range(len(step.inputs)))
    auxiliary = {s for s in step.inputs if "aux" in s.name}
    scaled = {s: x if s in auxiliary else root * x for s, x in zip(step.inputs, xi, strict=True)} | {h: root**2, t: 0}
    values: dict[sp.Basic, sp.Expr] = dict(POINT)

    def reduce(e: sp.Expr) -> sp.Expr:
        e = e.replace(sp.sign, lambda a: a).xreplace(scaled).xreplace(values)
        e = sp.expand(sp.powdenest(e, force=True))
        return e

    for name, value in step.statements:
        values[name] = reduce(value)
    moved = [truncated(reduce(u - x), xi) for x, u in zip(step.states, step.updates, strict=True)]

    def expectation(p: sp.Poly) -> sp.Expr:
        total = sp.S.Zero
        for (power, *degrees), c in p.terms():
            for s, d in zip(step.inputs, degrees, strict=True):
                c = c * (0 if d % 2 else 1 if s in auxiliary else sp.factorial2(d - 1) if d else 1)
            total += c * root**power
        return total

    found = {}
    for size in range(1, 5):
        for which in combinations_with_replacement(range(len(moved)), size):
            p = moved[which[0]]
            for k in which[1:]:
                p = truncated((p * moved[k]).as_expr(), xi)
            found[which] = sp.expand(expectation(p))
    return found


def generator(sde: SDE, which: tuple[int, ...]) -> sp.Expr:
    """The same moment of the SDE: sum of h^k L^k f / k! at the point, f the product of increments."""
    f: sp.Expr = sp.S.One
    for k in which:
        f = f * (sde.states[k] - POINT[sde.states[k]])
    total, b = sp.S.Zero, sde.diffusion_matrix * sde.diffusion_matrix.T
    for k in range(ORDER // 2 + 1):
        total += f.xreplace(POINT) * root ** (2 * k) / factorial(k)
        slopes = [sp.diff(f, x) for x in sde.states]
        f = sum(a * d for a, d in zip(sde.drift_vector, slopes, strict=True)) + sum(
            b[i, j] * sp.diff(slopes[i], sde.states[j]) / 2 for i in range(b.rows) for j in range(b.cols)
        )
        f = sp.expand(f)
    return total


def defects(sde: SDE, scheme: str) -> dict[tuple[int, ...], sp.Expr]:
    """Where the scheme's moments differ, through h^(5/2)."""
    gaps = {which: sp.expand(m - generator(sde, which)) for which, m in moments(sde, scheme).items()}
    return {which: gap for which, gap in gaps.items() if gap != 0}


def lowest(found: dict[tuple[int, ...], sp.Expr]) -> int:
    return min(min(m[0] for m in sp.Poly(gap, root).monoms()) for gap in found.values())


@pytest.mark.parametrize(
    ("sde", "scheme"),
    [
        pytest.param(GENERAL, "platen-weak-2", marks=pytest.mark.slow),
        (BILINEAR, "platen-weak-2"),
        (CUBE, "platen-weak-2"),
        (ADDITIVE, "heun"),
        (SCALAR, "sra1"),
        (LINEAR, "sriw1"),
    ],
)
def test_weak_order_two(sde: SDE, scheme: str) -> None:
    """Moments right through h^(5/2): a step's weak error is of order h^3, the run's of order 2 (Kloeden and Platen
    1992, theorem 14.5.2)."""
    assert defects(sde, scheme) == {}


@pytest.mark.parametrize("scheme", ["euler-maruyama", "milstein-levy:1"])
def test_weak_order_one_and_no_more(scheme: str) -> None:
    assert lowest(defects(BILINEAR, scheme)) == 4


def test_sriw1_misses_weak_order_two_by_a_term_in_the_diffusions_curvature() -> None:
    """The second moment of a step lacks (b^4 b'''/12 + a b^2 b''/2) h^(5/2)."""
    a, b = CUBE.drift_vector[0], CUBE.diffusion_matrix[0]
    missing = b**4 * sp.diff(b, X, 3) / 12 + a * b**2 * sp.diff(b, X, 2) / 2
    expected = -missing.xreplace(POINT) * root**5
    found = defects(CUBE, "sriw1")
    assert found[(0, 0)] == sp.expand(expected) and lowest(found) == 5
