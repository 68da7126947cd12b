"""The `special` of compiled emitted code: SciPy's own C functions, called by address, so that compiled and plain text
give the same numbers; derivatives of digamma, which SciPy has for Python only, by the Euler-Maclaurin formula.

SciPy is loaded where a text calls one of them.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir

from .options import inlined, intrinsic, overloaded, types

PREFIX = "noetherflow_special_"
"""How the names of C functions begin that are SciPy's."""
NAMES = {
    "gamma": "__pyx_fuse_1gamma",
    "gammaln": "gammaln",
    "psi": "__pyx_fuse_1psi",
    "jv": "__pyx_fuse_1jv",
    "yv": "__pyx_fuse_1yv",
    "iv": "__pyx_fuse_1iv",
    "kv": "__pyx_fuse_1kv",
}
"""What `scipy.special.cython_special` calls their forms for real numbers."""


@cache
def address(symbol: str) -> int:
    """Of one of SciPy's functions, double f(double, ..., int unused)."""
    from scipy.special import cython_special

    table: Any = cython_special
    capsule = table.__pyx_capi__[NAMES[symbol.removeprefix(PREFIX)]]
    name, pointer = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_GetPointer
    name.restype, name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return int(pointer(capsule, name(capsule)))


def _call(name: str, result: Any, *kinds: Any) -> Any:
    """How compiled code calls SciPy's function at arguments of these types: in doubles, whatever they are."""
    if not all(isinstance(k, types.Float) for k in kinds):
        return None

    def emit(context, builder, signature, arguments):
        double, whole, symbol = ir.DoubleType(), ir.IntType(32), PREFIX + name
        called = builder.module.globals.get(symbol) or ir.Function(
            builder.module, ir.FunctionType(double, [double] * len(kinds) + [whole]), symbol
        )
        wide = [a if a.type == double else builder.fpext(a, double) for a in arguments]
        out = builder.call(called, [*wide, ir.Constant(whole, 0)])
        target = context.get_value_type(signature.return_type)
        return out if target == double else builder.fptrunc(out, target)

    return result(*kinds), emit


def _of_one(name: str) -> Any:
    def typed(typing_context, x):
        return _call(name, x, x)

    return intrinsic(typed)


def _of_two(name: str) -> Any:
    def typed(typing_context, order, x):
        return _call(name, x, order, x)

    return intrinsic(typed)


gamma, gammaln, psi = (_of_one(name) for name in ("gamma", "gammaln", "psi"))
jv, yv, iv, kv = (_of_two(name) for name in ("jv", "yv", "iv", "kv"))

FAR = 16.0
"""Argument from which on the sum's rest is taken from its integral and corrections."""
CORRECTIONS = (1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160, -691 / 1307674368000, 1 / 74724249600)
"""B_2k / (2k)!."""


def _make_polygamma(real: Any) -> Callable[..., Any]:
    """psi^(n)(x), n = 0, 1, ...; NaN at x <= 0 for n >= 1. n! sum_k (x + k)^-(n + 1), its sign changed for even n."""

    @inlined
    def polygamma(order, x):
        n, at = np.float64(order), np.float64(x)
        if n == 0.0:
            return real(psi(at))
        if not at > 0.0:
            return real(at * np.nan)
        power, total, factorial, k = n + 1.0, 0.0, 1.0, 1.0
        while k <= n:
            factorial *= -k
            k += 1.0
        while at < FAR + n:
            total += at**-power
            at += 1.0
        last = at**-power
        total += at * last / n + 0.5 * last
        rising = power
        for j in range(len(CORRECTIONS)):
            last = last / at if j == 0 else last / (at * at)
            total += CORRECTIONS[j] * rising * last
            rising *= (power + 2.0 * j + 1.0) * (power + 2.0 * j + 2.0)
        return real(-factorial * total)

    return polygamma


_NARROW, _WIDE = _make_polygamma(np.float32), _make_polygamma(np.float64)


def polygamma(order: Any, x: Any) -> Any:
    """For compiled code."""
    raise TypeError("kernels.special: polygamma is for compiled code; got a call from Python. Use scipy.special.")


def _choose(order, x):
    return _NARROW if x == types.float32 else _WIDE if x == types.float64 else None


overloaded(polygamma, _choose)
