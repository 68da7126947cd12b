"""The irrational constants of a loss, and primes where they exist."""

from __future__ import annotations

from collections.abc import Iterator

import sympy as sp

from symbolic.algebra.constants import Constants, constants_of
from symbolic.evaluation.prime_field import PRIME, Modulus, Unsupported, primes
from symbolic.functions.registry import ELEMENTARY
from symbolic.problem.loss import Loss

TRIED = 3000
"""Primes tried: a field of degree n has a place of degree 1 over one in n! or more of them."""


def constants(loss: Loss) -> Constants:
    """The constants in a loss and in the slopes of its functions."""
    rows = {
        row for f in {type(f) for f in loss.expression.atoms(sp.Function)} if (row := ELEMENTARY.get(f)) is not None
    }
    slopes = {row.slope for row in rows if row.arity == 1 and row.derivable and not row.kinked}
    return constants_of(loss.expression, *sorted(slopes, key=str))


def moduli(of: Constants, start: int = PRIME) -> Iterator[Modulus]:
    """The primes up to `start`, with residues, where every constant exists, at most TRIED primes further down."""
    for _, p in zip(range(TRIED), primes(start), strict=False):
        residues = of.residues(p)
        if residues is not None:
            yield Modulus(p, residues)


def modulus(of: Constants, start: int = PRIME) -> Modulus:
    """The first of `moduli`. Raises Unsupported where there is none."""
    found = next(moduli(of, start), None)
    if found is None:
        raise Unsupported(f"modular: no prime was found where the constants of {of.name} exist.")
    return found
