"""Per-sample values and gradients of a loss: a small evaluator of SymPy trees, and the complex step."""

# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np
import sympy as sp
from scipy.special import erf

STEP = 1e-40
"""Size of the imaginary step: its square underflows against 1, so the derivative is exact to rounding."""


def _erf(x: np.ndarray) -> np.ndarray:
    """Value and first derivative, which is all that a complex step carries."""
    return erf(x.real) + 1j * x.imag * (2 / np.sqrt(np.pi)) * np.exp(-(x.real**2))


_SMOOTH: dict[str, Any] = {
    "erf": _erf,
    "exp": np.exp,
    "log": np.log,
    "tanh": np.tanh,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "sin": np.sin,
    "cos": np.cos,
}


def _pick(a: np.ndarray, b: np.ndarray, first: np.ndarray) -> np.ndarray:
    return np.where(first, a, b)


def _power(base: np.ndarray, exponent: sp.Expr, values: dict) -> np.ndarray:
    if exponent.is_Integer:
        n = int(exponent)
        product = reduce(np.multiply, [base] * abs(n))
        return product if n > 0 else 1 / product
    if exponent.is_Rational and exponent.q == 2:
        return _power(np.sqrt(base), sp.Integer(exponent.p), values)
    return np.exp(evaluate(exponent, values) * np.log(base))


def _condition(node: Any, values: dict) -> np.ndarray:
    """A relation decided on real parts."""
    if node in (True, sp.true):
        return np.array(True)
    a, b = (evaluate(arg, values).real for arg in node.args)
    return {"<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b, "==": a == b, "!=": a != b}[node.rel_op]


def evaluate(node: Any, values: dict) -> np.ndarray:
    """Complex value of a SymPy expression; values: {symbol: complex array}, also the memo of what was evaluated.

    At a kink the real part decides, relu'(0) = 0. Raises NotImplementedError on an unknown function.
    """
    if node not in values:
        values[node] = _evaluate(node, values)
    return values[node]


def _evaluate(node: Any, values: dict) -> np.ndarray:
    if node.is_Number or node.is_NumberSymbol:
        return np.array(complex(float(node)))
    if node.is_Pow:
        return _power(evaluate(node.base, values), node.exp, values)
    if isinstance(node, sp.Piecewise):
        out = np.array(np.nan + 0j)
        for value, condition in reversed(node.args):
            out = _pick(evaluate(value, values), out, _condition(condition, values))
        return out
    name, args = type(node).__name__, [evaluate(arg, values) for arg in node.args]
    if node.is_Add:
        return reduce(np.add, args)
    if node.is_Mul:
        return reduce(np.multiply, args)
    if name in _SMOOTH:
        return _SMOOTH[name](args[0])
    if name == "Max":
        return reduce(lambda a, b: _pick(a, b, a.real > b.real), args)
    if name == "Min":
        return reduce(lambda a, b: _pick(a, b, a.real < b.real), args)
    x = args[0]
    if name == "relu":
        return _pick(x, np.zeros_like(x), x.real > 0)
    if name in ("step", "Heaviside"):
        return (x.real > 0).astype(complex)
    if name == "Abs":
        return x * np.sign(x.real)
    if name == "sign":
        return np.sign(x.real).astype(complex)
    raise NotImplementedError(f"naive evaluate: knows no function {name}.")


def values(loss: Any, theta: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Per-sample loss, shape (N,), at theta (D,) or (N, D) and samples z (N, len(loss.z))."""
    theta = np.broadcast_to(theta, (len(z), len(loss.theta)))
    known = {s: theta[:, j] + 0j for j, s in enumerate(loss.theta)}
    known |= {s: z[:, j] + 0j for j, s in enumerate(loss.z)}
    return np.broadcast_to(evaluate(loss.expression, known), (len(z),)).real


def gradients(loss: Any, theta: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Per-sample gradients g, shape (N, D), at theta (D,) for all samples or (N, D) for one each, and samples z (N,
    len(loss.z))."""
    d, tilt = len(loss.theta), 1j * STEP * np.eye(len(loss.theta))
    columns = np.atleast_2d(theta)
    known = {s: columns[None, :, j] + tilt[:, j, None] for j, s in enumerate(loss.theta)}
    known |= {s: z[None, :, j] + 0j for j, s in enumerate(loss.z)}
    return np.broadcast_to(evaluate(loss.expression, known), (d, len(z))).imag.T / STEP
