"""Real points on every side of a loss's kinks that can be reached: drawn at many scales, then sought along lines.

Random points of one scale meet relu(w x + b) > 6 seldom and |u| > 8 never, and what holds where they fall need not hold
beyond. A line through a known point changes one variable, or the scale of a parameter or of the data; every pattern of
sides along it is kept, and where two kinks lie close together the stretch between them is sought by halving. A side
that is not found is either shown to be out of reach, by intervals and signs, or named.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import sympy as sp

from symbolic import clock
from symbolic.evaluation.intervals import Intervals
from symbolic.evaluation.random_points import Probe
from symbolic.evaluation.rare_sides import rare
from symbolic.evaluation.room import Room
from symbolic.evaluation.tape import Tape
from symbolic.functions.registry import ELEMENTARY
from symbolic.problem.loss import Loss

Array = np.ndarray
DECADES = (-13, -9, -6, -4, -3, -2, -1, -0.5, 0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 2, 2.5, 3, 4, 5, 6, 8)
"""Sizes, as powers of 10, that a variable is given or a group is multiplied by."""
STEPS = (-6, -4, -3, -2, -1, 0)
"""The same by which it is moved, relative to its own size."""
GENERIC, MOST = 256, 300
"""Random points at first; points kept."""
WORK = 1 << 23
"""Numbers that one round over lines may hold."""
ROUNDS, PATIENCE = 2, 8
"""Rounds over lines, and the most there are while a side is missing."""
BASES, BEST = 6, 3
"""Points that lines go through, by chance and for every missing side."""
BETWEEN, HALVINGS = 96, 24
"""Stretches between kinks that are halved in a round, and how often."""
OTHERS = 6
"""Further points kept of every pattern."""
PAIRED = 64
"""Kinks up to which two sides together count."""
SPREADS = (-4, 4)
"""Sizes, as powers of 10, between which points at many scales lie."""


@dataclass(frozen=True)
class Reached:
    """Points (inputs, m) of different patterns of sides, as far as they were found, the hardest to find last; sides
    (kinks, m), 1 where the argument of a kink is positive. missing: sides in words that were neither found nor shown to
    be out of reach; seldom: points on sides that generic points hardly ever meet; others:
    further points of the same patterns, of the last first."""

    points: Array
    sides: Array
    missing: tuple[str, ...]
    seldom: tuple[int, ...] = ()
    others: Array = field(default_factory=lambda: np.zeros((0, 0)))


@lru_cache(maxsize=8)
def reached(loss: Loss) -> Reached:
    """The sides of a loss's kinks that parameters and data can reach."""
    return _Search(loss).found()


def kink_arguments(expression: sp.Expr) -> list[sp.Expr]:
    """What the kinks of an expression are taken of: each is smooth but where one of these is 0."""
    found: dict[sp.Expr, None] = {}
    seen, left = {expression}, [expression]
    while left:
        e = left.pop()
        row = ELEMENTARY.get(type(e))
        if isinstance(e, (sp.Max, sp.Min)):
            found.update(dict.fromkeys(e.func(*e.args[:k]) - e.args[k] for k in range(1, len(e.args))))
        elif isinstance(e, sp.Piecewise):
            found.update(
                dict.fromkeys(c.lhs - c.rhs for _, c in e.args if isinstance(c, sp.core.relational.Relational))
            )
        elif row is not None and row.gates is not None:
            found[e.args[0]] = None
        for a in e.args:
            if a not in seen:
                seen.add(a)
                left.append(a)
    return [e for e in found if e.free_symbols]


class _Search:
    """Points by pattern, and where to look for more."""

    def __init__(self, loss: Loss) -> None:
        self.loss, self.rng = loss, np.random.default_rng(31)
        self.probe = Probe(loss)
        self.arguments = kink_arguments(loss.expression)
        self.tape = Tape([*self.arguments, loss.expression], self.probe.inputs)
        self.room = Room(self.probe)
        self.groups = self._groups()
        self.kept: dict[bytes, int] = {}
        self.points: list[Array] = []
        self.values: list[Array] = []
        self.others: list[list[Array]] = []
        self.shown, self.together = np.zeros(0, dtype=bool), np.zeros((0, 0), dtype=bool)
        self.nearest: dict[tuple[int, int], tuple[Array, Array]] = {}

    def found(self) -> Reached:
        """All that the search ends with."""
        if not self.arguments:
            return Reached(np.zeros((len(self.probe.inputs), 0)), np.zeros((0, 0), dtype=np.int64), ())
        start = self._start()
        self.distinct = self._apart(self._at(start)[:-1])
        k = len(self.distinct)
        self.shown = np.zeros(2 * k, dtype=bool)
        self.together = np.zeros((2 * k, 2 * k) if k <= PAIRED else (0, 0), dtype=bool)
        usual = self._keep(start, self._at(start))[:, :GENERIC]
        decided = Intervals(dict(zip(self.probe.inputs, zip(self.room.low, self.room.high, strict=True), strict=True)))
        away: set[tuple[int, int]] = set()
        for r in range(PATIENCE):
            clock.check()
            left = [target for target in self._missing() if target not in away]
            away |= {target for target in left if decided.excludes(self.arguments[self.distinct[target[0]]], target[1])}
            left = [target for target in left if target not in away]
            if r >= ROUNDS and not left:
                break
            self._along(self._bases(left))
        missing = tuple(self._words(*target) for target in self._missing() if target not in away)
        if not self.points:
            return Reached(np.zeros((len(self.probe.inputs), 0)), np.zeros((k, 0), dtype=np.int64), missing)
        sides = (np.array(self.values).T > 0).astype(np.int64)
        others = [point for points in self.others[::-1] for point in points[:OTHERS]]
        beside = np.array(others).reshape(-1, len(self.probe.inputs)).T
        return Reached(np.array(self.points).T, sides, missing, tuple(rare(usual, sides)), beside)

    def _words(self, kink: int, side: int) -> str:
        text = sp.sstr(self.arguments[self.distinct[kink]], full_prec=False)
        return f"{text if len(text) <= 60 else text[:57] + '...'} {'>' if side else '<'} 0"

    def _groups(self) -> list[Array]:
        """Inputs whose scale is changed together: a parameter, all of them, a block of data."""
        groups, at = [], 0
        for size in [len(p.symbols) for p in self.loss.parameters] + [len(b.symbols) for b in self.loss.blocks]:
            groups.append(np.arange(at, at + size))
            at += size
        groups.append(np.arange(self.loss.dimension))
        return [g for g in ([*map(self._unbounded, groups)]) if len(g) > 1]

    def _unbounded(self, group: Array) -> Array:
        return group[self.room.free[group]]

    def _start(self) -> Array:
        """Generic points, and the same with inputs of all sizes."""
        points = np.concatenate(self.probe.points(GENERIC, self.rng))
        scale = 10 ** (2 * self.rng.standard_t(2, points.shape).clip(-3, 3))
        scaled = [self.room.scaled(points, self.rng, SPREADS) for _ in range(2)]
        return np.concatenate([points, *scaled, self.room.held(points, points * scale)], axis=1)

    def _at(self, points: Array) -> Array:
        """Arguments of all kinks, and the loss."""
        return np.asarray(self.tape.evaluate(points), dtype=float)

    def _apart(self, values: Array) -> list[int]:
        """One of all kinks whose arguments are multiples of each other."""
        kept: list[int] = []
        rows: list[Array] = []
        some = values[:, np.isfinite(values).all(axis=0)][:, :24]
        for k, row in enumerate(some):
            size = np.abs(row).max(initial=0.0)
            unit = row / (size if size else 1.0)
            if not any(np.allclose(unit, sign * other, rtol=1e-12, atol=1e-14) for other in rows for sign in (1, -1)):
                kept.append(k)
                rows.append(unit)
        return kept

    def _keep(self, points: Array, values: Array) -> Array:
        """Keep what shows a new pattern while there is room, and always what shows two sides together for the first
        time; patterns (kinks, n), -1 where one has no value."""
        signs = self._signs(values)
        usable = np.flatnonzero((signs >= 0).all(axis=0))
        if not len(usable):
            return signs
        self._near(points[:, usable], values[:, usable])
        packed = np.packbits(signs[:, usable].astype(np.uint8), axis=0).T
        _, first, which = np.unique(packed, axis=0, return_index=True, return_inverse=True)
        order = np.argsort(which.ravel(), kind="stable")
        ends = np.cumsum(np.bincount(which.ravel()))
        for k in np.argsort(first):
            pattern, j = signs[:, usable[first[k]]], usable[first[k]]
            key = np.packbits(pattern.astype(np.uint8)).tobytes()
            if key in self.kept:
                same = usable[order[(ends[k - 1] if k else 0) : ends[k]]]
                others = self.others[self.kept[key]]
                others += [points[:, i].copy() for i in self.rng.permutation(same)[: OTHERS - len(others)]]
                continue
            shown = np.concatenate([pattern == 1, pattern == 0])
            pairs = np.ix_(shown, shown) if len(self.together) else ()
            new = not self.shown[shown].all() or not self.together[pairs].all()
            if len(self.points) >= MOST and not new:
                continue
            self.shown |= shown
            self.together[pairs] = True
            self.kept[key] = len(self.points)
            self.others.append([])
            self.points.append(points[:, j].copy())
            self.values.append(values[self.distinct, j].copy())
        return signs

    def _near(self, points: Array, values: Array) -> None:
        """Keep the points that come nearest to every missing side."""
        for kink, side in self._missing():
            size = abs(values[self.distinct[kink]])
            order = np.argsort(size, kind="stable")[:BEST]
            sizes, best = size[order], points[:, order]
            if (kink, side) in self.nearest:
                before, there = self.nearest[kink, side]
                sizes, best = np.concatenate([before, sizes]), np.concatenate([there, best], axis=1)
            order = np.argsort(sizes, kind="stable")[:BEST]
            self.nearest[kink, side] = sizes[order], best[:, order]

    def _signs(self, values: Array) -> Array:
        chosen = values[self.distinct]
        real = np.isfinite(values).all(axis=0)
        return np.where(real, (chosen > 0).astype(np.int64), -1)

    def _missing(self) -> list[tuple[int, int]]:
        """(kink, side) that no point shows."""
        k = len(self.distinct)
        return [(i, s) for i in range(k) for s in (0, 1) if not self.shown[i if s else k + i]]

    def _bases(self, wanted: list[tuple[int, int]]) -> Array:
        """Points through which lines go: those nearest to a missing side, and some by chance, the last found first."""
        count = len(self.points)
        if not count:
            return np.concatenate(self.probe.points(BASES, self.rng))
        order = [*range(max(0, count - BASES // 2), count), *self.rng.permutation(count)[:BASES]]
        some = np.array([self.points[int(j)] for j in dict.fromkeys(order)]).T
        turn = self.rng.permutation(len(wanted))[:BASES]
        best = [self.nearest[wanted[k]][1] for k in turn if wanted[k] in self.nearest]
        return np.concatenate([*best, some], axis=1)

    def _along(self, bases: Array) -> None:
        """Keep what lines through the bases show."""
        grid = 2 * (len(DECADES) + len(STEPS))
        most = max(8, WORK // ((len(self.tape.steps) + len(bases)) * grid))
        lines = [*np.flatnonzero(self.room.free), *self.groups]
        pairs = [(b, k) for b in range(bases.shape[1]) for k in range(len(lines))]
        if len(pairs) > most:
            pairs = [pairs[j] for j in self.rng.permutation(len(pairs))[:most]]
        if not pairs:
            return
        across = np.array([np.sort(self._places(bases[:, b], lines[k])) for b, k in pairs])
        moving = np.zeros((len(pairs), len(bases)), dtype=bool)
        scaled = np.array([isinstance(lines[k], np.ndarray) for _, k in pairs])
        for row, (_, k) in enumerate(pairs):
            moving[row, lines[k]] = True
        through = bases[:, [b for b, _ in pairs]].T

        def placed(rows: Array, places: Array) -> Array:
            base, which = through[rows], moving[rows]
            moved = np.where(which, np.where(scaled[rows, None], base * places[:, None], places[:, None]), base)
            return self.room.held(base.T, moved.T)

        rows = np.repeat(np.arange(len(pairs)), across.shape[1])
        points = placed(rows, across.ravel())
        signs = self._keep(points, self._at(points)).reshape(len(self.distinct), *across.shape)
        self._between(signs, across, placed)

    def _places(self, base: Array, line: int | Array) -> Array:
        """Where a line is looked at: values of a variable, factors of a group; none so round that kinks tie there."""
        sizes = np.concatenate([s * 10.0 ** np.array(DECADES) for s in (1, -1)]) * self.rng.uniform(0.95, 1.05)
        steps = np.concatenate([s * 10.0 ** np.array(STEPS) for s in (1, -1)])
        if isinstance(line, np.ndarray):
            return np.concatenate([sizes, 1 + steps])
        x, low, high = base[line], self.room.low[line], self.room.high[line]
        if np.isfinite(high - low):
            inside = low + (high - low) * self.rng.uniform(0, 1, len(sizes))
            return np.concatenate([inside, x + steps * (high - low)])
        return np.concatenate([sizes, x + steps * max(abs(x), 1e-3)])

    def _between(self, signs: Array, across: Array, placed: object) -> None:
        """Halve stretches on which several kinks are crossed, towards those that lie close together."""
        known = np.asarray((signs >= 0).all(axis=0))
        crossed = (signs[:, :, 1:] != signs[:, :, :-1]).sum(axis=0)
        rows, at = np.nonzero((crossed > 1) & known[:, 1:] & known[:, :-1])
        if len(rows) > BETWEEN:
            some = self.rng.permutation(len(rows))[:BETWEEN]
            rows, at = rows[some], at[some]
        low, high = across[rows, at], across[rows, at + 1]
        left, right = signs[:, rows, at], signs[:, rows, at + 1]
        for _ in range(HALVINGS):
            clock.check()
            if not len(rows):
                return
            middle = _middle(low, high)
            points = placed(rows, middle)  # type: ignore[operator]
            here = self._keep(points, self._at(points))
            parts = [(low, middle, left, here), (middle, high, here, right)]
            rows = np.concatenate([rows, rows])
            low, high = (np.concatenate([p[i] for p in parts]) for i in (0, 1))
            left, right = (np.concatenate([p[i] for p in parts], axis=1) for i in (2, 3))
            both = np.asarray((left >= 0).all(axis=0) & (right >= 0).all(axis=0))
            on = np.flatnonzero(((left != right).sum(axis=0) > 1) & both & (low < high))[: 2 * BETWEEN]
            rows, low, high, left, right = rows[on], low[on], high[on], left[:, on], right[:, on]


def _middle(low: Array, high: Array) -> Array:
    """Between two numbers, by their size where it differs much."""
    apart = (low * high > 0) & (np.maximum(abs(low), abs(high)) > 4 * np.minimum(abs(low), abs(high)))
    return np.where(apart, np.sign(low) * np.sqrt(abs(low)) * np.sqrt(abs(high)), (low + high) / 2)
