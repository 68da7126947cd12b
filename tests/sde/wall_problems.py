"""Problems between walls, on which what reflection and absorption leave of a scheme's orders is measured."""

from __future__ import annotations

from typing import Any

import sympy as sp

from symbolic import SDE
from tests.sde.problems import HALF, Case, X, Y, t

END = sp.oo


def _case(
    name: str, wall: tuple[Any, ...], drift: Any, diffusion: Any, begin: float, f: Any = X**2, **more: Any
) -> Case:
    """Of one state, or of X between walls beside Y."""
    drift, diffusion = (e if isinstance(e, list) else [e] for e in (drift, diffusion))
    rows = [row if isinstance(row, list) else [row] for row in diffusion]
    clock = t if any(sp.sympify(e).has(t) for e in drift) else None
    states = [X, Y][: len(drift)]
    sde = SDE(states, drift, rows, time=clock, name=name, domain={X: wall})
    return Case(sde, dict(zip(states, (begin, 0.0), strict=False)), functional=f, **more)


REFLECTED = [
    _case("pushed-up", ("reflect", 0, 1), 1, HALF, 0.2),
    _case("pushed-down", ("reflect", 0, END), -1, 1, 0.3),
    _case("held-below", ("reflect", -END, 1), 2 - X, HALF, 0.5),
    _case("noise-in-part", ("reflect", 0, 2), -X - HALF, 1 + X / 4, 0.5),
    _case("well-with-walls", ("reflect", -1, 1), X - X**3 - 1, HALF, 0.0, X),
    _case("queue-and-follower", ("reflect", 0, END), [-1, X - Y], [[1, 0], [HALF, HALF]], 0.5, X + Y**2),
    _case("season", ("reflect", 0, END), sp.cos(3 * t) - 1, 1, 0.3),
    _case("two-noises", ("reflect", 0, 2), 1 - 2 * X, [[HALF, X / 3]], 0.3),
]
ABSORBED = [
    _case("ruin", ("absorb", 0, END), -3 * X, 1, 0.8, X),
    _case("pulled-between", ("absorb", -1, 1), -2 * X, 1, 0.2),
    _case("growing-noise", ("absorb", 0, END), 2 - 4 * X, 1 + X / 2, 0.5, X),
    _case("well-with-ends", ("absorb", -1, 1), 2 * X - 2 * X**3, 1, 0.2),
    _case("death-and-follower", ("absorb", 0, END), [-X, 2 * X - Y], [[1, 0], [0, HALF]], 0.5, Y),
    _case("season-with-an-end", ("absorb", 0, END), 2 * sp.cos(3 * t), 1, 0.5, X),
    _case("ceiling", ("absorb", -END, 1), 2 * sp.sin(4 * t) - X, 1, 0.3, X),
    _case("tide", ("absorb", 0, END), 2 * sp.cos(4 * t) - X, 1, 0.4, X),
]
