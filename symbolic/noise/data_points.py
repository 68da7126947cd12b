"""Points and weights that stand for the data where a loss is no polynomial in them: the rows of a data set, Gauss nodes
of what its gradient is a polynomial in, and quasi-random points of the rest.

With d the degree of the gradient in an entry, d + 1 nodes give the mean of any product of two gradients (Golub and
Welsch, Math. Comp. 23 (1969) 221, from the law's moments). Of the rest scrambled Sobol points, in parts that are
scrambled apart: means over them vary as the average's error does (Owen, J. Complexity 14 (1998) 466).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from math import comb

import numpy as np
import sympy as sp

from symbolic.errors import InputError
from symbolic.problem.base_distribution import EXPONENTIAL, Distribution, Recipe, numbers
from symbolic.problem.features import degrees
from symbolic.problem.loss import Loss

Array = np.ndarray
PARTS, DRAWN = 8, 4096
"""Sets of quasi-random points, and how many each has."""
MOST_NODES = {True: 64, False: 4}
"""Nodes of all entries together, where nothing is drawn beside them (True), and where something is."""
MOST_POINTS = 200_000
"""Rows times nodes."""
HIGHEST = 5
"""Degree of a gradient that nodes are taken for."""


@dataclass(frozen=True)
class DataPoints:
    """at: data entries (len(z), n), of weights (n,) that sum to 1; sets: numbers (n,) of the set that a point is drawn
    in, None where the average is exact."""

    at: Array
    weights: Array
    sets: Array | None = None

    def fewer(self, most: int | None) -> DataPoints:
        """About `most` of them, evenly."""
        if most is None or most >= len(self.weights):
            return self
        some = slice(None, None, -(-len(self.weights) // most))
        weights = self.weights[some]
        return DataPoints(np.ascontiguousarray(self.at[:, some]), weights / weights.sum())


@dataclass(frozen=True)
class Way:
    """How each entry in use is averaged over: `nodes` of some, `drawn` for others, and rows of a data set."""

    nodes: Mapping[sp.Symbol, int]
    drawn: tuple[sp.Symbol, ...]

    @property
    def exact(self) -> bool:
        """Whether nothing is drawn."""
        return not self.drawn


def node_counts(loss: Loss) -> dict[sp.Symbol, int]:
    """Of every entry that is drawn from a law by itself and has them: its nodes, the fewest first."""
    used = loss.expression.free_symbols
    laws = [(b, i, s) for b in loss.used if b.table is None for i, s in enumerate(b.symbols) if s in used]
    degree = degrees(loss, [s for _, _, s in laws])
    wanted = dict[sp.Symbol, int]()
    for block, i, s in laws:
        if _alone(block, i, used) and (block.binary or s in degree):
            n = 2 if block.binary else degree[s] + 1
            if n <= HIGHEST + 1 and _has_moments(block, s, n):
                wanted[s] = n
    return dict(sorted(wanted.items(), key=lambda pair: pair[1]))


def way(loss: Loss) -> Way | None:
    """How a loss's data are averaged over; None where a law can be neither drawn from nor has the moments."""
    used, wanted = loss.expression.free_symbols, node_counts(loss)
    laws = {s: b for b in loss.used if b.table is None for s in b.symbols if s in used}
    rows = next((b.size for b in loss.used if b.size), 1)
    for alone in (True, False):
        nodes, together = dict[sp.Symbol, int](), 1
        for s, n in wanted.items():
            if together * n <= MOST_NODES[alone] and (not alone or rows * together * n <= MOST_POINTS):
                nodes[s], together = n, together * n
        drawn = tuple(s for s in laws if s not in nodes)
        if not drawn:
            return Way(nodes, ())
    return Way(nodes, drawn) if all(laws[s].sampled for s in drawn) else None


def _alone(block: Distribution, i: int, used: set[sp.Basic]) -> bool:
    """Whether an entry is independent of all that the loss uses."""
    return all(block.independent(i, j) for j, s in enumerate(block.symbols) if j != i and s in used)


def _has_moments(block: Distribution, s: sp.Symbol, n: int) -> bool:
    try:
        block.moment({s: 2 * n - 2})
    except InputError:
        return False
    return True


def data_points(loss: Loss, how: Way, values: Mapping[sp.Symbol, float]) -> DataPoints:
    """The points, symbols in the laws at `values`."""
    base = np.zeros((len(loss.z), 1))
    table = next((b for b in loss.used if b.table is not None), None)
    sets = None
    if how.drawn:
        base, sets = _quasi_random(loss, how, table, values), np.repeat(np.arange(PARTS), DRAWN)
    elif table is not None and table.table is not None:
        base = np.zeros((len(loss.z), len(table.table)))
        base[[loss.z.index(s) for s in table.symbols]] = table.table.T
    nodes, chances = node_grid(loss, how.nodes, values)
    at = np.tile(base, len(chances)) + np.repeat(nodes, base.shape[1], axis=1)
    weights = np.repeat(chances, base.shape[1]) / base.shape[1]
    return DataPoints(at, weights, None if sets is None else np.tile(sets, len(chances)))


def node_grid(loss: Loss, counts: Mapping[sp.Symbol, int], values: Mapping[sp.Symbol, float]) -> tuple[Array, Array]:
    """All combinations of entries' nodes (len(z), n), other entries 0, and their weights (n,)."""
    blocks = {s: b for b in loss.used for s in b.symbols}
    rules = [gauss(blocks[s], s, n, values) for s, n in counts.items()]
    chosen = np.array(list(product(*(range(len(w)) for _, w in rules))), dtype=np.int64)
    at, weights = np.zeros((len(loss.z), len(chosen))), np.ones(len(chosen))
    for s, (x, w), k in zip(counts, rules, chosen.T, strict=True):
        at[loss.z.index(s)], weights = x[k], weights * w[k]
    return at, weights


def gauss(block: Distribution, s: sp.Symbol, n: int, values: Mapping[sp.Symbol, float]) -> tuple[Array, Array]:
    """At most n nodes and weights of an entry's law, by its moments: exact for polynomials of degree 2n - 1; of degree
    2n - 2 where no higher moment is known."""
    raw = [block.moment({s: p}) for p in range(2 * n - 1)]
    try:
        raw.append(block.moment({s: 2 * n - 1}))
    except InputError:
        if n == 1:
            raise
    central = [sum(comb(p, k) * raw[k] * (-raw[1]) ** (p - k) for k in range(p + 1)) for p in range(len(raw))]
    mean, m = float(numbers([raw[1]], values)[0]), np.resize(numbers(central, values), 2 * n)
    m[len(raw) :] = 0
    width = np.sqrt(max(m[2], 0.0)) if n > 1 else 0.0
    if not width > 0:
        return np.array([mean]), np.ones(1)
    m = m / width ** np.arange(2 * n)
    for size in range(n, 0, -1):  # fewer where the law has fewer values
        hankel = m[np.add.outer(np.arange(size), np.arange(size))]
        if np.linalg.eigvalsh(hankel)[0] > 1e-10:
            lower = np.linalg.inv(np.linalg.cholesky(hankel))
            shifted = m[np.add.outer(np.arange(size), np.arange(size)) + 1]
            x, vectors = np.linalg.eigh(lower @ shifted @ lower.T)
            return mean + width * x, vectors[0] ** 2
    return np.array([mean]), np.ones(1)


def _quasi_random(loss: Loss, how: Way, table: Distribution | None, values: Mapping[sp.Symbol, float]) -> Array:
    """Entries (len(z), PARTS * DRAWN): those that are drawn by their laws, and rows of the data set with equal
    chance."""
    from scipy.special import ndtri
    from scipy.stats import qmc

    recipes = list[tuple[list[sp.Symbol], Recipe]]()
    for block in loss.used:
        inside = [i for i, s in enumerate(block.symbols) if s in how.drawn]
        if inside:
            recipe = block.recipe(values)
            assert recipe is not None
            recipes.append(([block.symbols[i] for i in inside], recipe.of(inside)))
    axes = sum(r.normals + int((r.chance != EXPONENTIAL).sum()) for _, r in recipes) + (table is not None)
    many, out = PARTS * DRAWN, np.zeros((len(loss.z), PARTS * DRAWN))
    unit = [qmc.Sobol(axes, scramble=True, seed=11 + part).random(DRAWN).T for part in range(PARTS)]
    rows = iter(np.clip(np.concatenate(unit, axis=1), 1e-12, 1 - 1e-12))

    def uniforms(count: int) -> Array:
        return np.array([next(rows) for _ in range(count)]).reshape(count, many)

    def normals(count: int) -> Array:
        return ndtri(uniforms(count))

    place = {s: k for k, s in enumerate(loss.z)}
    if table is not None and table.table is not None:
        row = np.minimum((uniforms(1)[0] * len(table.table)).astype(np.int64), len(table.table) - 1)
        out[[place[s] for s in table.symbols]] = table.table[row].T
    for symbols, recipe in recipes:
        out[[place[s] for s in symbols]] = recipe.draw(many, normals, uniforms)
    return out
