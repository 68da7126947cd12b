"""The gradient fields of a loss over a prime field: exact at random points, with all their nested Lie brackets.

A kink opens or shuts at random, consistently for q and -q: a ReLU network stands for its path products (Marcotte,
Gribonval, Peyre 2307.00144, section 2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np

from symbolic.evaluation import random_points as probing
from symbolic.evaluation.loss_constants import constants, moduli
from symbolic.evaluation.prime_field import PRIME, Jet, JetArithmetic, Modulus, Unsupported
from symbolic.evaluation.tape import Tape
from symbolic.functions.registry import Elementary
from symbolic.problem.loss import Loss

Array = np.ndarray
TRIES, SCOUTS = 500, 20
"""Thetas tried, and samples drawn at each, until what depends on theta alone has its square roots."""
MOST_TRIED = 1 << 18
"""Points drawn to find those where roots inside functions exist."""
PRIMES = 50
"""Primes tried until what is under a root of constants is a square."""


@dataclass(frozen=True)
class Inside:
    """roots: those, counted as a tape takes them, that stand inside a smooth function or another root; over: those
    that another stands inside; kinks: whether a kink stands inside a function or root."""

    roots: frozenset[int]
    over: frozenset[int]
    kinks: bool


class Fields:
    """The fields theta -> grad l(theta, z), z random, near one random theta, modulo the first prime up to `start` where
    the loss's constants exist. Raises Unsupported for functions without a value mod p."""

    def __init__(self, loss: Loss, seed: int = 8, start: int = PRIME) -> None:
        self.loss, self.rng = loss, np.random.default_rng(seed)
        self.salt, self.salt_log = seed, 5
        self.inputs = (*loss.theta, *loss.z, *(s for s in loss.distribution_parameters if s not in loss.z))
        self.tape, self.modulus = self._tape(start)
        self.prime = self.modulus.prime
        self.kinked = False
        for op, _, _, extra in self.tape.steps:
            if op == "power" and not (extra.is_Rational and extra.q <= 2):
                raise Unsupported(f"modular: no value mod p for the power {extra}.")
            if op == "call" and not (isinstance(extra, Elementary) and (extra.modular or extra.gates)):
                raise Unsupported(f"modular: no value mod p for the function {getattr(extra, 'name', extra)}.")
            self.kinked |= op in ("max", "min", "where") or (op == "call" and extra.kinked)
        for _ in range(TRIES):
            self.theta = self.uniform(loss.dimension)
            if self.draw(SCOUTS).shape[1]:
                return
        raise Unsupported("modular: no random point where all roots exist.")

    def _tape(self, start: int) -> tuple[Tape, Modulus]:
        """The loss's tape at the first prime where the roots of its constants exist."""
        reason = "no prime was found where its constants exist."
        for modulus in islice(moduli(constants(self.loss), start), PRIMES):
            try:
                return Tape([self.loss.expression], self.inputs, arithmetic=JetArithmetic(modulus=modulus)), modulus
            except Unsupported as error:
                reason = str(error)
        raise Unsupported(reason)

    def uniform(self, *shape: int) -> Array:
        """Random non-zero residues."""
        return self.rng.integers(1, self.prime, shape)

    def draw(self, n: int) -> Array:
        """Up to n samples z mod p at which everything exists, (len(z), n); labels keep the patterns of the data."""
        rest = self.uniform(len(self.inputs) - len(self.theta), n)
        at = 0
        for block in self.loss.blocks:
            if block.binary:
                rest[at : at + len(block.symbols)] &= 1
            elif block.table is not None:
                discrete, patterns = probing.label_patterns(block.table)
                chosen = [self.rng.choice(patterns[k]) for k in self.rng.integers(0, len(patterns), n)]
                labels = block.table[chosen].T[discrete].astype(np.int64)
                rest[at : at + len(block.symbols)][discrete] = labels
            at += len(block.symbols)
        return rest[:, ~self.forward(rest, self.start(n))[2].bad]

    def start(self, n: int) -> list[Jet]:
        """theta at every one of n samples."""
        return [Jet(np.full((1, n), v), self.prime) for v in self.theta]

    def arithmetic(self, n: int, gates: Array | None = None) -> JetArithmetic:
        """Fresh arithmetic at n points."""
        return JetArithmetic(n, self.salt, self.salt_log, self.modulus, gates)

    def forward(
        self, rest: Array, theta: list[Jet], gates: Array | None = None
    ) -> tuple[list[Any], list[Any], JetArithmetic]:
        """Slots and slopes of the tape, and the arithmetic with what it noted; gates: the sides of its kinks."""
        arithmetic = self.arithmetic(rest.shape[1], gates)
        zero = np.zeros((len(theta[0].data) - 1, rest.shape[1]), dtype=np.int64)
        inputs = [*theta, *(Jet(np.concatenate([row[None, :], zero]), self.prime) for row in rest)]
        self.tape.arithmetic = arithmetic
        return *self.tape.forward(inputs), arithmetic

    def gradient(self, rest: Array, theta: list[Jet], gates: Array | None = None) -> list[Jet]:
        """D components of the gradient at theta, sample by sample."""
        slots, slopes, _ = self.forward(rest, theta, gates)
        adjoint: dict[int, Any] = {self.tape.outputs[0]: 1}
        for k in self.tape.reach[0]:
            self.tape.back(k, adjoint, slots, slopes)
        zero = Jet(np.zeros_like(theta[0].data), self.prime)
        return [zero + adjoint[i] if i in adjoint else zero for i in range(len(theta))]

    def bracket(self, batches: Sequence[Any], theta: list[Jet] | None = None) -> list[Jet]:
        """[X_1, [X_2, ... X_m]] at theta, batches[j] holding the samples of X_j: D components, sample by sample."""
        return nested(self.gradient, batches, self.start(batches[0].shape[1]) if theta is None else theta)

    def arguments(
        self, n: int, sides: Array | None = None, anywhere: bool = False
    ) -> tuple[JetArithmetic, JetArithmetic]:
        """What the functions were taken of at n random (theta, z), and at the same theta with other z.

        sides: of the kinks, one for every time that the tape asks. Where a root stands inside a function or another
        root, it exists at these points, unless they are to be anywhere. Raises Unsupported where there are too many
        such roots for points to be found.
        """
        inner = [] if anywhere else sorted(self.inside.roots)
        tried = n * 5 ** len(inner)
        if tried > MOST_TRIED:
            raise Unsupported(f"modular: {len(inner)} roots inside functions are too many to find points for.")
        theta = [Jet(self.uniform(1, tried), self.prime) for _ in self.theta]
        gates = None if sides is None else np.repeat(sides[:, None], tried, axis=1)
        found = [self.forward(self._sample(tried), theta, gates)[2] for _ in range(2)]
        if inner:
            here = np.flatnonzero(~np.any([a.absent[k] for a in found for k in inner], axis=0))[:n]
            if len(here) < n:
                raise Unsupported("modular: too few points where the roots inside functions exist.")
            for a in found:
                a.at(here)
        return found[0], found[1]

    def _sample(self, n: int) -> Array:
        return self.uniform(len(self.inputs) - len(self.theta), n)

    @cached_property
    def inside(self) -> Inside:
        """What stands inside its smooth functions and roots."""
        roots: list[frozenset[int]] = [frozenset()] * self.tape.n_inputs
        kinks, inner, over, kinked, count = [False] * self.tape.n_inputs, set[int](), set[int](), False, 0
        for op, _, args, extra in self.tape.steps:
            here = frozenset[int]().union(*(roots[a] for a in args))
            kink = any(kinks[a] for a in args)
            root = op == "power" and not extra.is_Integer
            if root or (op == "call" and not extra.kinked):
                inner |= here
                kinked |= kink
            if root and here:
                over.add(count)
            roots.append(here | {count} if root else here)
            count += root
            kinks.append(kink or op in ("max", "min", "where") or (op == "call" and extra.kinked))
        return Inside(frozenset(inner), frozenset(over), kinked)


def nested(gradient: Callable[[Any, list[Jet]], list[Jet]], batches: Sequence[Any], theta: list[Jet]) -> list[Jet]:
    """The bracket of fields given by `gradient`, batches[j] choosing the j-th."""
    first, *rest = batches
    if not rest:
        return gradient(first, theta)
    x = gradient(first, theta)
    both = nested(gradient, rest, _extend(theta, x))
    half, p = len(theta[0].data), theta[0].prime
    inner = [Jet(v.data[:half], p) for v in both]
    back = gradient(first, _extend(theta, inner))
    return [Jet((v.data[half:] - w.data[half:]) % p, p) for v, w in zip(both, back, strict=True)]


def _extend(theta: list[Jet], along: list[Jet]) -> list[Jet]:
    """theta + e * along, e a new nilpotent element."""
    return [Jet(np.concatenate([t.data, a.data]), t.prime) for t, a in zip(theta, along, strict=True)]


def jacobian(tape: Tape, point: Sequence[int], size: int, modulus: Modulus | None = None) -> Array | None:
    """d outputs / d inputs of a tape mod p at one point, for the first `size` inputs: (outputs, size). None where a
    root does not exist."""
    arithmetic = JetArithmetic(1, modulus=modulus)
    tape.arithmetic, p = arithmetic, arithmetic.prime
    slots, slopes = tape.forward([Jet(np.full((1, 1), v), p) for v in point])
    if arithmetic.bad.any():
        return None
    out = np.zeros((len(tape.outputs), size), dtype=np.int64)
    for k, slot in enumerate(tape.outputs):
        adjoint = {slot: Jet(np.ones((1, 1), dtype=np.int64), p)}
        for step in tape.reach[k]:
            tape.back(step, adjoint, slots, slopes)
        out[k] = [adjoint[i].data[0, 0] if i in adjoint else 0 for i in range(size)]
    return out


def rank(rows: Array, prime: int = PRIME) -> int:
    """Rank over F_p of an integer matrix."""
    from flint import nmod_mat

    rows = np.asarray(rows)
    if not rows.size:
        return 0
    return int(nmod_mat(rows.shape[0], rows.shape[1], [int(v) for v in rows.ravel()], prime).rank())
