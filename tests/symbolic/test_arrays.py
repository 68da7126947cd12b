"""Expressions of arrays: NumPy's meaning, derivatives, text of loops."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import sympy as sp

from sde.engine.program import import_text
from symbolic import SDE, InputError, states
from symbolic.arrays.building import array
from symbolic.arrays.derivative import along
from symbolic.arrays.evaluation import evaluate
from symbolic.codegen.prepare import prepare
from tests.symbolic.array_cases import CASES
from tests.symbolic.test_emit import run_compiled

K = sp.Symbol("k", real=True)
X, V = states("X", (5,)), states("V", (3, 5))
rng = np.random.default_rng(0)
POINTS = 4
x, v = rng.uniform(0.05, 1, (POINTS, 5)), rng.uniform(0.05, 1, (POINTS, 3, 5))


@pytest.mark.parametrize("name", CASES)
def test_nodes_mean_what_numpy_means(name: str) -> None:
    node = array(CASES[name](X, V, array(K)))
    (found,) = evaluate([node], {X: x, V: v, K: 0.7}, POINTS)
    expected = np.array([CASES[name](a, b, 0.7) for a, b in zip(x, v, strict=True)])
    assert node.shape == expected.shape[1:]
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-15)


@cache
def observed(group: int) -> dict[str, list[np.ndarray]]:
    """By case, its values as the text gives them, plain and compiled, (POINTS, entries)."""
    sde = SDE([X, V], drift=[0, 0], diffusion=[1, 1], parameters=[K])
    prepared = prepare(sde, "euler-maruyama", {n.replace(" ", "-"): CASES[n](X, V, array(K)) for n in GROUPS[group]})
    plain, m = import_text(prepared.module.text), prepared.module.manifest
    lanes, rows = plain.LANES, len(m["observables"])
    flat = np.concatenate([x, v.reshape(POINTS, -1)], axis=1)
    block = np.ascontiguousarray(np.resize(flat, (lanes, 20)).T).ravel()
    p = np.concatenate([[0.7], prepared.table])
    out = np.zeros(rows * lanes), np.zeros(rows * lanes)
    plain.observe(block.copy(), 0.0, p, out[0])
    run_compiled(prepared.module.text, m, "observe", block.copy(), 0.0, p, out[1])
    values = [found.reshape(rows, lanes)[:, :POINTS].T for found in out]
    found, at = {}, 0
    for o in prepared.outputs:
        size = int(np.prod(o.shape))
        found[o.name] = [w[:, at : at + size] for w in values]
        at += size
    return found


GROUPS = [tuple(CASES)[k : k + 4] for k in range(0, len(CASES), 4)]
"""Cases of one text: what the compiler takes grows faster than the text."""


@pytest.mark.parametrize(("name", "group"), [(name, g) for g, names in enumerate(GROUPS) for name in names])
def test_text_of_loops_against_numpy(name: str, group: int) -> None:
    """As plain Python and as compiled."""
    expected = np.array([np.ravel(CASES[name](a, b, 0.7)) for a, b in zip(x, v, strict=True)])
    for found in observed(group)[name.replace(" ", "-")]:
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)


SMOOTH = [n for n in CASES if n not in ("truth values", "registry")]


@pytest.mark.parametrize("name", [n for n in SMOOTH if n != "moments"])
def test_directional_derivatives_against_differences(name: str) -> None:
    node = array(CASES[name](X, V, array(K)))
    dx, dv = rng.normal(size=x.shape), rng.normal(size=v.shape)
    directions = {X: states("dX", (5,)), V: states("dV", (3, 5))}
    (slope,) = along([node], directions)
    assert slope.shape == node.shape
    (found,) = evaluate([slope], {X: x, V: v, K: 0.7, directions[X]: dx, directions[V]: dv}, POINTS)
    e = 1e-6
    up, down = (evaluate([node], {X: x + s * e * dx, V: v + s * e * dv, K: 0.7}, POINTS)[0] for s in (1, -1))
    np.testing.assert_allclose(found, (up - down) / (2 * e), rtol=1e-5, atol=1e-6)


def test_equal_parts_are_one_object() -> None:
    assert np.sin(X) is np.sin(X) and X[1:] is X[1:] and states("X", (5,)) is X
    assert np.sin(X) is not np.sin(V[0])


BAD = {
    "NumPy's function must be one that arrays have": lambda: np.fft.fft(X),
    "SymPy's functions take scalars": lambda: sp.sin(X),
    "of no numbers": lambda: np.array(X),
    "no truth value": lambda: bool(X > 0),
    "never exactly at a place": lambda: X == 1,
    "NumPy's function": lambda: np.add.accumulate(X),
    "shapes must broadcast": lambda: X + V.T,
    "an index must fit": lambda: X[7],
    "axes must be those of": lambda: np.sum(X, axis=3),
    "@ needs equal inner sizes": lambda: V @ V,
    "must not be empty": lambda: X[5:],
    "takes fewer arguments": lambda: np.mean(X, dtype=float),
    "takes its arrays only": lambda: np.sin(X, out=np.zeros(5)),
    "must be a shape of whole numbers": lambda: states("Y", 5),
    "must have the state's shape": lambda: SDE(X, drift=np.sum(X[:, None] * X, axis=1)[1:], diffusion=1),
    "may use the states, parameters and time": lambda: SDE(X, drift=K * X, diffusion=1),
    "must have an entry for each": lambda: SDE([X, V], drift=[X], diffusion=[1, 1]),
    "must fit its arrays": lambda: np.roll(X, 1, axis=3),
    "SDE: diffusion must be given": lambda: SDE(X, drift=-X),
    "must be distinct symbols|arrays of states": lambda: SDE([X[1:]], drift=[0], diffusion=[1]),
    "nesting may be": lambda: sum((np.sin(X * k) for k in range(400)), X),
}


@pytest.mark.parametrize("rule", BAD)
def test_refusals(rule: str) -> None:
    with pytest.raises(InputError, match=rule.replace("(", r"\(")):
        BAD[rule]()


def _program(n: int) -> str:
    Y = states("Y", (n,))
    matrix = np.random.default_rng(1).normal(size=(n, n))
    sde = SDE(Y, drift=matrix @ Y + np.sin(Y[None, :] - Y[:, None]).sum(axis=1), diffusion=0.1 * Y)
    return prepare(sde, "milstein", {"m": Y.mean()}).module.text


def test_text_does_not_grow_with_the_size_of_arrays() -> None:
    small, large = _program(24), _program(1000)
    assert len(large.splitlines()) == len(small.splitlines())
    assert len(large) < 1.1 * len(small)
