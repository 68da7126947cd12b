"""Random combinations of a loss's gradient fields in which every pattern of its labels and kinks takes part.

A bracket of such combinations is linear in each of their random coefficients: unless it lies in a given space for all
samples of all patterns, it leaves it with probability 1 - d/p, d its degree, however rare a pattern is. The sides of
kinks are those at random real points, so that patterns that cannot occur (w x > 0 with 2 w x < 0) take no part.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from symbolic.evaluation import random_points as probing
from symbolic.evaluation.lie_brackets import Fields, nested
from symbolic.evaluation.prime_field import PRIME, Jet, Unsupported
from symbolic.evaluation.rare_sides import rare
from symbolic.evaluation.room import Room
from symbolic.evaluation.tape import Arithmetic, Tape
from symbolic.functions.registry import Elementary
from symbolic.problem.loss import Loss

Array = np.ndarray
COPIES = 12
"""Samples of every pattern in a combination where there are kinks."""
WIDEST = 1024
"""Samples in a combination; with more patterns than that they take turns."""
BLOCK = 256
"""Points that are looked at together: all values in between are held at once."""
HELD = 1 << 12
"""Numbers held at a time for one step of a tape."""
ROUNDS = 300
"""Times a sample is drawn again until its roots exist."""
THETAS = 300
"""Thetas tried until every pattern has a sample whose roots exist."""
CHAMBERS = 6
"""Signs of the parameters tried where kinks lie in theta alone."""
CORNERS, CORNERS_TRIED = 12, 200
"""Thetas of other patterns of these kinks that are tried there, and thetas that show which are usual."""
RARE_TRIED = 600
"""Random points that show which sides are seldom met."""


class _Signs(Arithmetic):
    """Floats that note on which side of every kink they are."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Array] = []

    def call(self, row: Elementary, x: Any) -> Any:
        return row.gates(self.positive, x) if row.gates is not None else row.value(x)

    def positive(self, x: Any) -> Any:
        self.seen.append(np.where(np.isfinite(x), x > 0, -1) * np.ones(np.shape(x), dtype=np.int64))
        return np.heaviside(x, 0.0)

    def ahead(self, x: Any) -> Any:
        return self.positive(x)


@dataclass(frozen=True)
class Mixture:
    """Samples (inputs, n w) of n combinations of w fields each, their coefficients (n w,) and the sides of their
    kinks."""

    rest: Array
    weights: Array
    gates: Array | None


class Mixtures:
    """Such combinations at one random theta. chamber: which signs of theta the kinks that lie in theta alone have.

    cycle: how many of them it takes until every pattern has had its turn. beyond: real points (inputs, m) on sides of
    kinks that random points seldom see; those sides take part in every combination.
    """

    def __init__(
        self, loss: Loss, seed: int = 8, start: int = PRIME, chamber: int = 0, beyond: Array | None = None
    ) -> None:
        self.fields = Fields(loss, seed, start)
        self.rng, self.prime, self.size = self.fields.rng, self.fields.prime, loss.dimension
        self.kinked = self.fields.kinked
        self._read_labels(loss)
        copies = COPIES if self.kinked or self.bits.any() else 1
        self.width = min(copies * self.patterns, WIDEST)
        self.cycle = -(-copies * self.patterns // self.width)
        self.turn, self.usual, self.rare_turn = 0, self.width, 0
        self.rare = np.zeros((0, 0), dtype=np.int64), np.zeros((len(self.labels), 0), dtype=np.int64)
        if self.kinked:
            self.real = Tape([loss.expression], self.fields.inputs)
            self.values = probing.distribution_values(loss, self.rng)
            self.narrow = Room(probing.Probe(loss)).narrow[self.size :]
            self.held = self._held()
            self.beyond = np.zeros((len(self.fields.inputs), 0)) if beyond is None else beyond
            self.corners = self._corners() if self.held.any() else []
            self.signs = self._chamber(chamber)
            self._add_rare()
        for _ in range(THETAS):
            self.fields.theta = self.fields.uniform(self.size)
            try:
                self.draw(1, ROUNDS // 5)
            except Unsupported:
                continue
            return
        raise Unsupported("modular: no random point where all roots exist for every pattern of the data.")

    @property
    def chambers(self) -> int:
        """How many signs of theta are to be looked at: more than one where kinks lie in theta alone."""
        return CHAMBERS + len(self.corners) if self.kinked and self.held.any() else 1

    def _read_labels(self, loss: Loss) -> None:
        """Which inputs after theta are labels, which single bits, and each table's patterns of labels."""
        n = len(self.fields.inputs) - self.size
        self.labels, self.bits = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
        self.parts: list[Array] = []
        at = 0
        for block in loss.blocks:
            here = slice(at, at + len(block.symbols))
            self.bits[here] = block.binary
            if block.table is not None and not block.binary:
                discrete, rows = probing.label_patterns(block.table)
                self.labels[here] = discrete
                self.parts.append(block.table[[r[0] for r in rows]][:, discrete].astype(np.int64))
            at += len(block.symbols)
        self.patterns = prod(map(len, self.parts))

    def _joint(self, n: int) -> Array:
        """The next n joint patterns of the labels, (labels, n)."""
        turns = (self.turn + np.arange(n)) % self.patterns
        self.turn = int(turns[-1]) + 1
        chosen = np.unravel_index(turns, [len(p) for p in self.parts])
        return np.concatenate([p[k].T for p, k in zip(self.parts, chosen, strict=True)])

    def _held(self) -> Array:
        """Which parameters lie in kinks whose sides no continuous variable of the data changes."""
        free = np.r_[np.zeros(self.size, dtype=bool), ~(self.labels | self.bits)]
        moved: list[set[int]] = [{i} for i in range(len(free))]
        held = np.zeros(self.size, dtype=bool)
        for op, _, args, extra in self.real.steps:
            here = set().union(*(moved[a] for a in args))
            moved.append(here)
            kink = op in ("max", "min", "where") or (op == "call" and getattr(extra, "kinked", False))
            inside = moved[args[0]] if op == "where" else here
            if kink and not any(free[i] for i in inside):
                held[[i for i in inside if i < self.size]] = True
        return held

    def _chamber(self, chamber: int) -> Array:
        if chamber >= CHAMBERS:
            return self.corners[chamber - CHAMBERS]
        theta = self.rng.standard_normal(self.size)
        return np.abs(theta) if chamber == 0 else -np.abs(theta) if chamber == 1 else theta

    def _corners(self) -> list[Array]:
        """Thetas beyond, one for every pattern that the kinks in theta alone show there, the least usual first."""
        if not self.beyond.shape[1]:
            return []
        points = self.beyond
        sides = self._seen(points)
        others = self.rng.permutation(points.shape[1])
        still = (sides == self._seen(np.concatenate([points[: self.size], points[self.size :, others]]))).all(axis=1)
        usual = self.rng.standard_normal((self.size, CORNERS_TRIED)) * self.rng.choice([0.4, 1.0, 1.7], CORNERS_TRIED)
        rest = points[self.size :, self.rng.integers(0, points.shape[1], CORNERS_TRIED)]
        known = Counter(column.tobytes() for column in self._seen(np.concatenate([usual, rest]))[still].T)
        found: dict[bytes, Array] = {}
        for j in range(points.shape[1] - 1, -1, -1):
            found.setdefault(np.ascontiguousarray(sides[still, j]).tobytes(), points[: self.size, j])
        return [found[key] for key in sorted(found, key=known.__getitem__)[:CORNERS]]

    def _add_rare(self) -> None:
        """Let every combination have some samples on sides that are seldom met, as they are with theta's held part."""
        points = self.beyond.copy()
        if not points.shape[1]:
            return
        points[: self.size][self.held] = self.signs[self.held, None]
        sides = self._seen(points)
        real = (sides >= 0).all(axis=0)
        rest = self.fields.uniform(len(self.labels), RARE_TRIED)
        rest[self.bits] &= 1
        if self.labels.any():
            rest[self.labels] = self._joint(RARE_TRIED)
        chosen = np.flatnonzero(real)[rare(self._sides(rest), sides[:, real])]
        if len(chosen):
            self.rare = sides[:, chosen], np.rint(points[self.size :, chosen]).astype(np.int64)
            share = min(len(chosen), COPIES)
            self.width += share
            self.cycle = max(self.cycle, -(-len(chosen) // share))

    def _with_rare(self, rest: Array, gates: Array) -> tuple[Array, Array]:
        """Samples and sides (.., n usual) with those of the next rare patterns beside every combination's: (.., n
        width)."""
        n, share = rest.shape[1] // self.usual, self.width - self.usual
        sides, points = self.rare
        turns = (self.rare_turn + np.arange(n * share)) % sides.shape[1]
        self.rare_turn = int(turns[-1]) + 1
        fresh = self.fields.uniform(len(rest), n * share)
        fixed = self.labels | self.bits
        fresh[fixed] = points[fixed][:, turns]
        pairs = ((rest, fresh), (gates, sides[:, turns]))
        whole = [np.concatenate([a.reshape(len(a), n, -1), b.reshape(len(b), n, -1)], axis=2) for a, b in pairs]
        return whole[0].reshape(len(rest), -1), whole[1].reshape(len(gates), -1)

    def _sides(self, rest: Array) -> Array:
        """Sides of the kinks (calls, n) at random real points with the labels and bits of the samples."""
        n = rest.shape[1]
        out, waiting = None, np.arange(n)
        for attempt in range(ROUNDS):
            m = len(waiting)
            theta = self.rng.standard_normal((self.size, m)) * self.rng.choice([0.4, 1.0, 1.7], m)
            theta[self.held] = self.signs[self.held, None]
            z = self.rng.standard_normal((len(rest), m)) * self.rng.choice([0.4, 1.0, 3.0], m)
            if attempt % 2:
                drawn = [probing.generic(b, m, self.rng, self.values) for b in self.fields.loss.blocks]
                z[: sum(map(len, drawn))] = np.concatenate(drawn)
            for k, s in enumerate(self.fields.inputs[self.size :]):
                if s not in self.fields.loss.z:
                    z[k] = self.values[s]
            if self.narrow.any():
                drawn = np.concatenate([probing.generic(b, m, self.rng, self.values) for b in self.fields.loss.blocks])
                z[self.narrow] = drawn[self.narrow[: len(drawn)]]
            fixed = self.labels | self.bits
            z[fixed] = rest[fixed][:, waiting]
            drawn_at = np.concatenate([theta, z])
            seen = np.concatenate([self._seen(drawn_at[:, k : k + BLOCK]) for k in range(0, m, BLOCK)], axis=1)
            out = np.full((len(seen), n), -1, dtype=np.int64) if out is None else out
            out[:, waiting] = seen
            waiting = waiting[(seen < 0).any(axis=0)]
            if not len(waiting):
                return out
        raise Unsupported("modular: no random real point where every kink has a side.")

    def _seen(self, inputs: Array) -> Array:
        """Sides of the kinks (calls, n) at inputs (.., n)."""
        signs, m = _Signs(), inputs.shape[1]
        self.real.arithmetic = signs
        with np.errstate(all="ignore"):
            self.real.forward(inputs)
        return np.array([s * np.ones(m, dtype=np.int64) for s in signs.seen]).reshape(len(signs.seen), m)

    def draw(self, n: int, rounds: int = ROUNDS) -> Mixture:
        """n combinations; patterns take turns. Raises Unsupported where a pattern has no sample whose roots exist."""
        total, usual = n * self.width, n * self.usual
        rest = self.fields.uniform(len(self.labels), usual)
        rest[self.bits] &= 1
        if self.labels.any():
            rest[self.labels] = self._joint(usual)
        gates = self._sides(rest) if self.kinked else None
        if gates is not None and usual < total:
            rest, gates = self._with_rare(rest, gates)
        waiting, again = np.arange(total), ~(self.labels | self.bits)
        for _ in range(rounds):
            here = None if gates is None else gates[:, waiting]
            bad = self.fields.forward(rest[:, waiting], self.fields.start(len(waiting)), here)[2].bad
            if bad.all() and len(waiting) == total >= 20 * self.patterns:
                break
            waiting = waiting[bad]
            if not len(waiting):
                return Mixture(rest, self.fields.uniform(total), gates)
            fresh = self.fields.uniform(len(self.labels), len(waiting))
            rest[:, waiting] = np.where(again[:, None], fresh, rest[:, waiting])
        raise Unsupported("modular: a pattern has no sample where all roots exist.")

    def gradient(self, mixture: Mixture, theta: list[Jet]) -> list[Jet]:
        """D components of the combinations at theta."""
        wide = [Jet(np.repeat(t.data, self.width, axis=1), self.prime) for t in theta]
        found = self.fields.gradient(mixture.rest, wide, mixture.gates)
        order = len(theta[0].data)
        return [
            Jet(
                (g.data * mixture.weights % self.prime).reshape(order, -1, self.width).sum(axis=2) % self.prime,
                self.prime,
            )
            for g in found
        ]

    def brackets(self, length: int, count: int) -> Array:
        """Values at theta of `count` random brackets [X_1, [X_2, ...]] of so many combinations, (count, D)."""
        together = max(1, HELD // (self.width << (length - 1)))
        found = []
        for first in range(0, count, together):
            here = min(together, count - first)
            batches = [self.draw(here) for _ in range(length)]
            found.append([v.data[0] for v in nested(self.gradient, batches, self.fields.start(here))])
        return np.concatenate(found, axis=1).T
