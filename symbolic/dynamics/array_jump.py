"""What jumps of an equation of arrays change, when, and by what sizes, as nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy as sp

from symbolic.arrays import building
from symbolic.arrays.building import array, mapped
from symbolic.arrays.evaluation import evaluate
from symbolic.arrays.expression import Array, Reshape, Scalar, State, Take, View, broadcast, constant, number, walk
from symbolic.dynamics import jump
from symbolic.dynamics.jump import Jump
from symbolic.errors import InputError

if TYPE_CHECKING:
    from symbolic.dynamics.array_equation import ArraySDE

CHOICES = (View, Take, Reshape)
"""What an array's entries are chosen by."""


def excess(condition: Any) -> Any:
    """The expression that is positive where a condition holds."""
    return building.excess(condition) if isinstance(condition, Array) else jump.excess(condition)


def single(problem: ArraySDE, where: str, value: Any) -> Array:
    """One number of states, time and parameters. Raises InputError."""
    (node,) = problem.resolved(where, [array(value, where)])
    if node.shape:
        rule = "must be one expression"
        raise InputError.of(where, rule, f"an array of shape {node.shape}", "Name one per entry, or take X.max().")
    return building.elementwise("where", node, 1, 0) if node.condition else node


def rates(problem: ArraySDE, where: str, value: Any) -> Array:
    """A rate, or one for each entry: 0 where it is negative; where it is no number it stays none. Raises InputError."""
    (node,) = problem.resolved(where, [array(value, where)])
    node = building.elementwise("where", node, 1, 0) if node.condition else node
    if (known := number(node)) is not None:
        return broadcast(constant(max(known, 0.0)), node.shape)
    return building.elementwise("where", building.elementwise("less", node, 0), 0, node)


def _entry(problem: ArraySDE, where: str, j: Jump) -> Array | None:
    """Where an array of rates has the entry that jumps: the first up to which rates add up to a uniform share of all.
    None for a jump of one rate. Raises InputError."""
    if j.chooser is None:
        return None
    each = rates(problem, f"{where}.rate", j.rate)
    if each.size == 1:
        return building.elementwise("greater", broadcast(constant(1.0), each.shape), 0)
    flat = building.reshape(each, (-1,))
    total: Any = np.cumsum(flat)
    share = sizes_of(j)[j.chooser] * total[-1]
    before = building.concatenate([np.zeros(1), total[:-1]])
    return building.reshape((before < share) & (share <= total) & (flat > 0), each.shape)


def sizes_of(j: Jump) -> dict[Any, Array]:
    """Rows of base variables by what stands for them in `j.drawn`."""
    return {b: State.of((), (), (f":size_{b.dummy_index}",)) if isinstance(b, sp.Dummy) else b for b in j.base}


def changes(problem: ArraySDE, where: str, j: Jump) -> dict[Array, Array]:
    """What states become, in states, time, parameters and base variables. Raises InputError."""
    leaves, out = sizes_of(j), dict[Array, Array]()
    drawn = {
        key: value if isinstance(value, Array) else building.of_sympy(value, leaves)
        for key, value in ((s if isinstance(s, Array) else Scalar.of((), (), (s,)), v) for s, v in j.drawn.items())
    }
    who, masked = _entry(problem, where, j), j.entry is not None
    if j.entry is not None and who is not None:
        if j.entry.shape != who.shape:
            do = "Make it of the rates' shape."
            raise InputError.of(f"{where}.entry", f"must have the rates' shape {who.shape}", j.entry.shape, do)
        drawn[j.entry] = building.elementwise("where", who, 1, 0)
    for key, value in j.changes.items():
        here = f"{where}.changes[{key}]"
        (node,) = problem.resolved(here, mapped([array(value, here)], drawn.get), leaves.values())
        state, target = _target(problem, here, key)
        shape = state.shape if target is None else target.shape
        node = building.elementwise("where", node, 1, 0) if node.condition else node
        try:
            node = node if node.shape == shape else broadcast(node, shape)
        except ValueError:
            raise InputError.of(
                here, f"must have the shape {shape}", node.shape, "Match it, or give a number."
            ) from None
        if who is not None and j.entry is None and shape == who.shape:
            masked, still = True, state if target is None else building.take(state, target)
            node = building.elementwise("where", who, node, still)
        out[state] = node if target is None else _put(out.get(state, state), target, node)
    if who is not None and not masked:
        do = "Give rates of the shape of what they change, or name the entry that jumps by entry=."
        raise InputError.of(f"{where}.rate", "must have the shape of a change", who.shape, do)
    return out


def _target(problem: ArraySDE, where: str, key: Any) -> tuple[Array, np.ndarray | None]:
    """The state that a key names, and the row-major places of its entries, None for all. Raises InputError."""
    node: Any = problem.symbols.get(key, key) if isinstance(key, sp.Symbol) else key
    if isinstance(node, State) and node in problem.states:
        return node, None
    for state in node.reads & {*problem.states} if isinstance(node, Array) else ():
        if all(n.uniform or n is state or isinstance(n, CHOICES) for n in walk([node])):
            (places,) = evaluate([node], {state: np.arange(state.size, dtype=float).reshape(1, *state.shape)}, 1)
            found = np.asarray(places).reshape(node.shape).astype(np.int64)
            if len(np.unique(found)) == found.size:
                return state, found
    advice = f"They are {[s.data[0] for s in problem.states]}; X[0] and X[1:3] are entries."
    raise InputError.of(where, "must name a state, or entries of one, each once", key, advice)


def _put(state: Array, places: np.ndarray, values: Array) -> Array:
    """A state with other values in some places."""
    table = np.arange(state.size)
    table[places.ravel()] = state.size + np.arange(places.size)
    joined = building.concatenate([building.reshape(state, (-1,)), building.reshape(values, (-1,))])
    return building.take(joined, table.reshape(state.shape))


def check(problem: ArraySDE, jumps: Any) -> tuple[Jump, ...]:
    """The jumps of an equation, looked at. Raises InputError."""
    found = jump.listed(jumps)
    taken = {s.data[0] for s in problem.states} | {p.name for p in problem.parameters}
    for k, j in enumerate(found):
        where = f"SDE.jumps[{k}]"
        clash = {s.name for s in (*j.sizes, *([] if j.entry is None else [j.entry]))} & taken
        if clash:
            raise InputError.of(f"{where}.sizes", "a name may stand for one thing only", min(clash), "Rename it.")
        changes(problem, where, j)
        if j.rate is not None:
            rates(problem, f"{where}.rate", j.rate)
        if j.when is not None:
            single(problem, f"{where}.when", excess(j.when))
    return found


def size_rows(jumps: Sequence[Jump]) -> tuple[Array, ...]:
    """The base variables of all jumps, in order."""
    return tuple(leaf for j in jumps for leaf in sizes_of(j).values())
