"""Activations of a network: the kinked ones as SymPy functions, with PyTorch's convention relu'(0) = 0, the others as
expressions."""

from __future__ import annotations

from typing import Any

import sympy as sp


class step(sp.Function):
    """Unit step: 0 for x <= 0, 1 for x > 0. The derivative of `relu`; its own derivative is 0."""

    nargs = 1
    is_real = True

    @classmethod
    def eval(cls, x: sp.Expr) -> sp.Expr | None:
        if x.is_nonpositive:
            return sp.S.Zero
        if x.is_positive:
            return sp.S.One
        return None

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return sp.S.Zero

    def _eval_evalf(self, prec: int) -> sp.Expr:
        return type(self)(self.args[0]._eval_evalf(prec))

    def _numpycode(self, printer: Any, **kwargs: Any) -> str:
        return f"(1.0*({printer._print(self.args[0])} > 0))"

    def _mpmathcode(self, printer: Any, **kwargs: Any) -> str:
        return f"(1 if {printer._print(self.args[0])} > 0 else 0)"

    _pythoncode = _mpmathcode


class relu(sp.Function):
    """Rectified linear unit max(0, x)."""

    nargs = 1
    is_real = True

    @classmethod
    def eval(cls, x: sp.Expr) -> sp.Expr | None:
        if x.is_nonpositive:
            return sp.S.Zero
        if x.is_nonnegative:
            return x
        return None

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return step(self.args[0])

    def _eval_evalf(self, prec: int) -> sp.Expr:
        return type(self)(self.args[0]._eval_evalf(prec))

    def _numpycode(self, printer: Any, **kwargs: Any) -> str:
        x = printer._print(self.args[0])
        return f"(({x})*(({x}) > 0))"

    def _mpmathcode(self, printer: Any, **kwargs: Any) -> str:
        x = printer._print(self.args[0])
        return f"(({x}) if ({x}) > 0 else 0)"

    _pythoncode = _mpmathcode


LEAK = sp.Rational(1, 100)
"""PyTorch's default slope of `leaky_relu`."""


def leaky_relu(x: sp.Expr, slope: Any = LEAK) -> sp.Expr:
    """x where x > 0, slope * x elsewhere; its derivative at the kink itself is 0."""
    return _relu(x) - slope * _relu(-x)


def sigmoid(x: sp.Expr) -> sp.Expr:
    """1/(1 + exp(-x))."""
    return 1 / (1 + sp.exp(-x))


def silu(x: sp.Expr) -> sp.Expr:
    """x sigmoid(x). Source: Elfwing, Uchibe, Doya (1702.03118)."""
    return x * sigmoid(x)


def gelu(x: sp.Expr) -> sp.Expr:
    """x Phi(x), Phi the normal distribution function: the exact form, no tanh in place of erf. Source: Hendrycks,
    Gimpel (1606.08415)."""
    return x * (1 + sp.erf(x / sp.sqrt(2))) / 2


def softplus(x: sp.Expr) -> sp.Expr:
    """log(1 + exp(x))."""
    return sp.log(1 + sp.exp(x))


def _relu(x: sp.Expr) -> Any:
    return relu(x)
