"""Piecewise-linear functions of a network with PyTorch's convention at the kink, relu'(0) = 0."""

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
