"""What Numba's intrinsics of sde/kernels mean in Python, put in their place where the JIT is off.

`install` must act before any kernel that has some is loaded, and so before pytest's configuration is read. Each is
found by the name of the function that types it. Those that call machine code by address have no meaning in Python and
stay as they are.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from fractions import Fraction
from inspect import getclosurevars
from typing import Any

import numpy as np

from sde.kernels import options

WORDS = {np.float32: np.uint32, np.float64: np.uint64}


def fma(a: Any, b: Any, c: Any) -> Any:
    """a * b + c with one rounding (float32: by way of float64)."""
    if not np.isfinite([a, b, c]).all():
        with np.errstate(all="ignore"):
            return a * b + c
    exact = Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))
    with np.errstate(all="ignore"):
        try:
            return type(a)(float(exact))
        except OverflowError:
            return type(a)(np.inf if exact > 0 else -np.inf)


def polynomial(coefficients: tuple[float, ...]) -> Callable[[Any], Any]:
    def evaluate(z: Any) -> Any:
        value = type(z)(coefficients[-1])
        for c in coefficients[-2::-1]:
            value = fma(value, z, type(z)(c))
        return value

    return evaluate


def reinterpret(target: Any) -> Callable[[Any], Any]:
    kind = np.dtype(target)
    return lambda value: np.asarray(value).view(kind)[()]


def on_bits(rule: Callable[..., int]) -> Callable[..., Any]:
    """A rule on the bits of floats as Python integers: rule(width, bits of the arguments)."""

    def evaluate(*arguments: Any) -> Any:
        kind = WORDS[type(arguments[0])]
        width = 8 * kind().itemsize
        bits = [int(np.asarray(a).view(kind)) if isinstance(a, np.floating) else int(a) for a in arguments]
        return np.asarray(kind(rule(width, *bits) % (1 << width))).view(type(arguments[0]))[()]

    return evaluate


def power(width: int, bits: int) -> int:
    bias, mantissa = (127, 23) if width == 32 else (1023, 52)
    return (bits + bias) << mantissa


PLAIN: dict[str, Callable[..., Any]] = {
    "_fma": fma,
    "_power": on_bits(power),
    "_size": on_bits(lambda width, x: x & ((1 << (width - 1)) - 1)),
    "_signed": on_bits(lambda width, y, x: y ^ (x & (1 << (width - 1)))),
    "_turned": on_bits(lambda width, y, n: y ^ ((n << (width - 2)) & (1 << (width - 1)))),
}
made = options.intrinsic


def intrinsic(typed: Callable[..., Any]) -> Any:
    """In place of options.intrinsic."""
    name, inside = typed.__name__, getclosurevars(typed).nonlocals
    if name == "evaluate":
        return polynomial(inside["coefficients"])
    if name == "reinterpret":
        return reinterpret(inside["name"])
    return PLAIN.get(name) or made(typed)


def install() -> None:
    """Only where the JIT is off: compiled code needs Numba's own."""
    if os.environ.get("NUMBA_DISABLE_JIT", "0") == "0" or "sde.kernels.math" in sys.modules:
        raise RuntimeError("tests.nojit: needs NUMBA_DISABLE_JIT=1, and to come before sde.kernels.")
    options.intrinsic = intrinsic
