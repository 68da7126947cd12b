"""What a matrix leaves of a constant, and of noise, over a step of any length, in a basis of its eigenvectors
(docs/theory.md section 6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import sympy as sp

from symbolic.algebra.eigenbasis import Eigenbasis
from symbolic.dynamics.step_map import Function, Left, growth, h, turning
from symbolic.schemes.noise_inputs import Naming

APART, TIED, SPREAD = "apart", "tied", "spread"
MOST_TIED = 64
"""States whose noise is drawn by a factor of its covariance, which every step makes."""
TERMS = 16
"""Of the series of (e^z - 1)/z for |z| at most 1/2."""
NONE = 1e-12


def kind(own: Eigenbasis, diffusion: Any) -> str:
    """APART where constants drive each direction by itself, whose variances are all there is; TIED where they drive
    several together; SPREAD of other noise, and of more states: each direction's variance, but not what ties them."""
    if diffusion.free_symbols:
        return SPREAD
    G = covariance(own, diffusion)
    size = np.sqrt(np.outer(np.diag(G), np.diag(G)))
    if not any(rate.imag for rate in own.rates) and not np.any(np.abs(G - np.diag(np.diag(G))) > NONE * size):
        return APART
    return TIED if len(G) <= MOST_TIED else SPREAD


def covariance(own: Eigenbasis, diffusion: Any) -> np.ndarray:
    """Of the noise per unit time, in the basis, (N, N)."""
    b = np.array(diffusion.tolist(), dtype=float)
    turned = _product(np.array(own.inverse), b)
    return _product(turned, turned.T)


def decay() -> Function:
    """e^z of z = (a + ib) h."""
    let = Naming(":f")
    size, turn = let(sp.exp(growth * h)), let(turning * h)
    return Function(tuple(let.statements), (size * sp.cos(turn), size * sp.sin(turn)))


def spread() -> Function:
    """The root of phi of 2 a h, by which noise of a direction that is met by none other keeps its variance."""
    let = Naming(":f")
    kept = sp.sqrt(_mean(2 * growth * h, let))
    return Function(tuple(let.statements), (kept, sp.S.Zero))


def phi() -> Function:
    """(e^z - 1)/z."""
    let, a, b = Naming(":f"), growth, turning
    along, size, turn = let(_mean(a * h, let)), let(sp.exp(a * h)), let(b * h)
    half, square, some = let(sp.sin(turn / 2)), let(a**2 + b**2), sp.Abs(b) > 0
    real, imaginary = let(a * along * sp.cos(turn) - 2 * half**2 / h), let(size * sp.sin(turn) / h)
    parts = (
        sp.Piecewise(((real * a + imaginary * b) / square, some), (along, True)),
        sp.Piecewise(((imaginary * a - real * b) / square, some), (0, True)),
    )
    return Function(tuple(let.statements), parts)


def _mean(z: Any, let: Any) -> Any:
    """(e^z - 1)/z: near 0, where digits would be lost, by its series."""
    z, series = let(z), sp.S.One
    for k in range(TERMS, 1, -1):
        series = 1 + z / k * series
    return sp.Piecewise(((sp.exp(z) - 1) / z, sp.Abs(z) > sp.Rational(1, 2)), (series, True))


def left(own: Eigenbasis, diffusion: Any, auxiliary: Any, function: Function) -> Left:
    """What constant noise leaves beside phi(D h) S^-1 b dW, for normals of variance h (docs/theory.md eq. (6.15)).

    By z = y of a real rate, y_1 - i y_2 of a pair: E z z'* is phi of rate + rate'* times what it is per unit time, and
    E z z' phi of rate + rate'.
    """
    G = covariance(own, diffusion)
    rates = [complex(rate.real, abs(rate.imag)) for rate in own.rates]
    largest = max(map(abs, rates))
    ends = [(p + q.conjugate(), p + q) for p in rates for q in rates]
    n, second = len(rates), [rate.imag < 0 for rate in own.rates]
    weights = np.zeros((4, n, n))
    for k in range(n):
        for j in range(n):
            p, q = _sums(own.rates, G, k - second[k], j - second[j])
            rows = {
                (False, False): (p.real, -p.imag, q.real, -q.imag),
                (True, True): (p.real, -p.imag, -q.real, q.imag),
                (False, True): (p.imag, p.real, -q.imag, -q.real),
                (True, False): (-p.imag, -p.real, -q.imag, -q.real),
            }
            weights[:, k, j] = rows[second[k], second[j]]
    growths = [_snapped(e.real, largest) for e, _ in ends]
    turnings = [[_snapped(end[side].imag, largest) for end in ends] for side in (0, 1)]
    return Left(
        function=function,
        growths=_rows(growths, n),
        turnings=(_rows(turnings[0], n), _rows(turnings[1], n)),
        weights=tuple(_rows(w / 2, n) for w in weights),  # type: ignore[arg-type]
        covariance=_rows(G, n),
        normals=tuple(auxiliary),
    )


def _sums(rates: Sequence[complex], G: np.ndarray, k: int, j: int) -> tuple[complex, complex]:
    """E z z'* and E z z' per unit time, of the directions or pairs that begin at k and j."""
    a = G[k, j]
    b = G[k, j + 1] if rates[j].imag else 0.0
    c = G[k + 1, j] if rates[k].imag else 0.0
    d = G[k + 1, j + 1] if rates[k].imag and rates[j].imag else 0.0
    return complex(a + d, b - c), complex(a - d, -b - c)


def _product(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """In one order of additions on every machine."""
    return sum((np.outer(column, row) for column, row in zip(left.T, right, strict=True)), np.zeros((len(left), 1)))


def _snapped(value: float, largest: float) -> float:
    """Without what rounding left of a sum."""
    return value if abs(value) > NONE * largest else 0.0


def _rows(entries: Any, n: int) -> tuple[tuple[float, ...], ...]:
    return tuple(map(tuple, np.reshape(entries, (n, n)).tolist()))
