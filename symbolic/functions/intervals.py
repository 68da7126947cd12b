"""Where functions have values: their domains, and what to write instead beyond them."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Domain:
    """Arguments from `low` to `high` (`narrow` in float32), the ends themselves if closed. why: how one beyond them is
    called; advice: what to write instead, {0} being the argument. edged: whether an argument may well cross an end."""

    low: float
    high: float
    why: str
    advice: str
    closed: bool = True
    narrow: float = math.inf
    edged: bool = True

    def left(self, x: float, dtype: str = "float64") -> bool:
        """Whether x is a number beyond the domain."""
        narrow = self.narrow if dtype == "float32" else math.inf
        low, high = max(self.low, -narrow), min(self.high, narrow)
        return x < low or x > high or (not self.closed and x in (low, high) and math.isfinite(x))

    def margin(self, x: float) -> float:
        """How far x lies from the nearer end."""
        return min(abs(x - self.low), abs(x - self.high))


ANGLE = Domain(
    -(2.0**45),
    2.0**45,
    "an angle too large to have one",
    "Reduce the angle, e.g. with Mod by 2*pi",
    narrow=2.0**20,
    edged=False,
)
"""Of sin, cos and tan, as kernels have it (`sde.kernels.math.circular`)."""
POSITIVE = Domain(
    0,
    math.inf,
    "the logarithm of a number that is not positive",
    "Write log(Max({0}, c)) with a small c > 0",
    closed=False,
)


@dataclass(frozen=True)
class Poles(Domain):
    """All numbers but 0, -1, -2, ..."""

    def left(self, x: float, dtype: str = "float64") -> bool:
        """Whether x is one of them."""
        return x <= 0 and x == math.floor(x) and math.isfinite(x)

    def margin(self, x: float) -> float:
        """How far x lies from the nearest."""
        return abs(x - min(0, round(x))) if math.isfinite(x) else math.inf


POLES = Poles(
    -math.inf, math.inf, "a pole: 0 or a negative whole number", "Keep {0} from it, e.g. by Max({0}, c) with a c > 0"
)


def above(what: str) -> Domain:
    """Of positive numbers."""
    advice = "Write Max({0}, c) with a small c > 0 in the place of {0}"
    return Domain(0, math.inf, f"{what} of a number that is not positive", advice, closed=False)


def unit(name: str, closed: bool) -> Domain:
    """From -1 to 1, with its ends or without."""
    least = "1" if closed else "c"
    advice = f"Write {name}(Max(-{least}, Min({least}, {{0}})))" + ("" if closed else " with a c just below 1")
    return Domain(-1, 1, f"the {name} of a number {'beyond' if closed else 'not within'} -1 and 1", advice, closed)


SIDE = Domain(0, math.inf, "a negative number at an order that is not whole", "Write Max({0}, 0) in its place")
