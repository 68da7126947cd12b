"""floor and ceil that stay floats, so that NaN and infinities pass: `math`'s give integers, which have neither."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..options import inlined
from .arithmetic import Real


def make_floor(R: Real) -> Callable[..., Any]:
    """The largest whole number of at most x."""

    @inlined
    def floor(x):
        return np.floor(x)

    return floor


def make_ceil(R: Real) -> Callable[..., Any]:
    """The smallest whole number of at least x."""

    @inlined
    def ceil(x):
        return np.ceil(x)

    return ceil


MAKERS: dict[str, Callable[[Real], Callable[..., Any]]] = {"floor": make_floor, "ceil": make_ceil}
