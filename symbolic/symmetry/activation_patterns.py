"""Patterns of gates: whether those that occur tell all products of them apart.

Where they do, an identity that holds on every pattern that occurs holds coefficient by coefficient in the gates, taken
as free.
"""

from __future__ import annotations

import numpy as np

from symbolic.algebra.polynomial import Polynomial
from symbolic.evaluation.kink_sides import reached
from symbolic.evaluation.lie_brackets import rank
from symbolic.evaluation.random_points import Probe
from symbolic.functions.registry import ROWS
from symbolic.problem.loss import Loss
from symbolic.symmetry.invariants import Formal

Array = np.ndarray
MOST = 3000
"""Gate products beyond which the question is not asked."""
REAL = -1
FUNCTIONS = {row.name: row.value for row in ROWS if row.arity == 1} | {"inverse": np.reciprocal}


def products(formal: Formal) -> list[tuple[int, ...]]:
    """The gate products that occur in the gradients."""
    gates = {n for n, a in formal.atoms.items() if a.kind == "gate"}
    found = {tuple(v for v in m if v in gates) for g in formal.gradients for p in g for m in p}
    return sorted(found, key=lambda m: (len(m), m))


def separated(loss: Loss, formal: Formal) -> bool:
    """Whether real points, at random or sought on every side of the kinks, show as many independent patterns as there
    are gate products."""
    wanted = products(formal)
    if len(wanted) > MOST or any(a.kind == "gate" and not a.argument for a in formal.atoms.values()):
        return False
    rng, probe, rows = np.random.default_rng(21), Probe(loss), np.zeros((0, len(wanted)), dtype=np.int64)
    for attempt in range(5):
        if attempt < 4:
            points = np.concatenate(probe.points(2 * len(wanted) + 20, rng))
        else:
            points = reached(loss).points
        gates = _gates(formal, points)
        if gates is None:
            return False
        seen = np.array([np.prod([gates[v] for v in m], axis=0) * np.ones(gates[REAL].shape, int) for m in wanted]).T
        rows = np.unique(np.concatenate([rows, seen[gates[REAL] == 1].astype(np.int64)]), axis=0)
        if len(rows) >= len(wanted) and rank(rows) == len(wanted):
            return True
    return False


def _gates(formal: Formal, values: Array) -> dict[int, Array] | None:
    """0/1 of every gate at points, values (inputs, n), and under REAL whether the point has real values at all; None
    for atoms of no known value."""
    state: dict[int, Array] = dict(enumerate(values))
    gates, real = {}, np.ones(values.shape[1], dtype=np.int64)
    with np.errstate(all="ignore"):
        for number, atom in formal.atoms.items():
            q = _value(atom.argument, state, values.shape[1])
            if atom.kind == "gate":
                gates[number] = state[number] = (q > 0).astype(np.int64)
                real &= np.isfinite(q)
            elif atom.kind == "root":
                state[number] = np.where(q >= 0, q, np.nan) ** (1 / atom.order)
            elif atom.kind in FUNCTIONS:
                state[number] = FUNCTIONS[atom.kind](q)
            else:
                return None
    return gates | {REAL: real}


def _value(p: Polynomial, state: dict[int, Array], n: int) -> Array:
    total = np.zeros(n)
    for monomial, c in p.items():
        term = np.full(n, float(c))
        for v in monomial:
            term = term * state[v]
        total += term
    return total
