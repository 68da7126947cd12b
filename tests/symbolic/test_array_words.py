"""Arrays in messages: the user's own words, and no name of a node."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy as sp

from sde import SDE, InputError, Jump, simulate
from symbolic import integral, running, states

X, M = states("X", (4,)), states("M", (3, 4))
WRITTEN: dict[str, Any] = {
    "X[3]": X[3],
    "X[1:3]": X[1:3],
    "X[::-1]": X[::-1],
    "X[::2]": X[::2],
    "X[:1:-1]": X[3:1:-1],
    "M[1, 2]": M[1, 2],
    "M[:, 1]": M[:, 1],
    "M[:2, 1:]": M[:2, 1:],
    "M.T": M.T,
    "X[..., None]": X[:, None],
    "X[[0, 2]]": X[[0, 2]],
    "X + 1": X + 1,
    "-(X + 1)*2": -(X + 1) * 2,
    "X - (X - 1)": X - (X - 1),
    "X/(X*2)": X / (X * 2),
    "X**(X + 1)": X ** (X + 1),
    "(X > 1) & (X < 2)": (X > 1) & (X < 2),
    "~(X > 1)": ~(X > 1),
    "any(X > 1)": np.any(X > 1),
    "where(X > 0, 1, 0)": np.where(X > 0, 1, 0),
    "maximum(X, 0)": np.maximum(X, 0),
    "abs(X)": np.abs(X),
    "M.max(axis=1)": M.max(axis=1),
    "log(X[0])": np.log(X[0]),
    "concatenate([X, X])": np.concatenate([X, X]),
    "M.reshape(12)": M.reshape(-1),
    "running(min, X)": running(min, X),
    "integral(M)[1, 0]": integral(M)[1, 0],
    "X[[3, 0, 1, 2]]": np.roll(X, 1),
    "[0, 1, 2, 3]*X": np.arange(4) * X,
    "X": np.broadcast_to(X, (3, 4)),
}


@pytest.mark.parametrize("words", WRITTEN)
def test_nodes_are_written_as_users_write_them(words: str) -> None:
    assert repr(WRITTEN[words]) == words


def test_long_ones_are_cut() -> None:
    node: Any = X
    for _ in range(40):
        node = np.sin(node * node[::-1]) + node
    assert len(repr(node)) < 3000 and "..." in repr(node)


def _run(events: Any = None, jumps: Any = (), observables: Any = None) -> Any:
    sde = SDE([X, M], [0, 0], [1, 1], jumps=jumps)
    start = {X: np.zeros(4), M: np.zeros((3, 4))}
    return simulate(sde, start=start, time=1, dt=0.5, paths=2, check=False, events=events, observables=observables)


MESSAGES = {
    r"SDE.jumps\[0\].changes\[X\[3\]\]: must have the shape \(\)": lambda: _run(jumps=[Jump({X[3]: X}, rate=1)]),
    r"got X\[0\] \+ 1 \(array\)": lambda: _run(jumps=[Jump({X[0] + 1: 0}, rate=1)]),
    r"must name a state, or entries of one, each once; got X\[\[1, 1\]\]": lambda: _run(
        jumps=[Jump({X[[1, 1]]: 0}, rate=1)]
    ),
    r"running: must be of states and time.*got running\(max, X\[2\]\)": lambda: running(max, running(max, X[2])),
    r"entry by entry of one state; got X\[::-1\] \(array\)": lambda: _run(observables={"a": running(max, X[::-1])}),
    r"array: has no truth value before a run; got M\[1, 2\] > 0 \(array\)": lambda: bool(M[1, 2] > 0),
    r"SDE.drift: must be numbers, not conditions; got X > 1 \(array\)": lambda: SDE(X, X > 1, 1),
    r"SDE.drift: may use states, time.*; got running\(max, X\)": lambda: SDE(X, running(max, X), 1),
    r"SymPy's functions take scalars; got X\[3\] \(array\)": lambda: sp.sin(X[3]),
}


@pytest.mark.parametrize("words", MESSAGES)
def test_messages_are_in_the_users_words(words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        MESSAGES[words]()
    text = str(caught.value)
    assert not any(
        word in text for word in ("view(", "View", "Elementwise", "Reduce", "State)", "take(", "running_max")
    )


def test_an_equation_is_shown_in_words() -> None:
    shown = repr(SDE(X, drift=np.sin(X[None, :] - X[:, None]).mean(axis=1), diffusion=0.2))
    assert "dX(4,) = sin(X - X[..., None]).sum(axis=1)/4 dt + 0.2 dW" in shown
