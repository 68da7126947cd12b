"""Conservation laws of gradient flow that are not quadratic: polynomials of a given degree, and separable ones.

A law C obeys <grad C, grad l(., z)> = 0 for every z. Polynomials: linear in the coefficients of C, exact over Q.
Separable C = sum_i phi_i(theta_i): phi_i' is sought in the span of 1, theta_i, f/f' and 1/f' for the functions f that
the loss takes of theta_i; with a two-layer network on whitened inputs this finds |a|^2 - 2 sum_j int sigma/sigma'
(w_j).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations_with_replacement
from math import comb

import numpy as np
import sympy as sp

from symbolic.algebra import polynomial as poly
from symbolic.algebra.constants import constants_of
from symbolic.algebra.nullspace import Solver, Vector, readable
from symbolic.algebra.number_field import rational
from symbolic.algebra.polynomial import Monomial, TooLarge
from symbolic.errors import InputError
from symbolic.evaluation.lie_brackets import Fields, jacobian, rank
from symbolic.evaluation.loss_constants import modulus
from symbolic.evaluation.prime_field import Jet, JetArithmetic, Unsupported
from symbolic.evaluation.tape import Tape
from symbolic.functions.registry import FLAT
from symbolic.problem.loss import Loss
from symbolic.symmetry.antiderivatives import antiderivative, by_slopes
from symbolic.symmetry.independence import free_functions
from symbolic.symmetry.invariants import Formal
from symbolic.symmetry.solve import slices

Array = np.ndarray
MOST = 20_000
"""Coefficients beyond which a polynomial is not sought."""
TRIES = 500
"""Random points tried until the roots in a law exist mod p."""
LARGEST = 1000
"""Largest numerator and denominator of a separable law's coefficients."""


def polynomial_laws(loss: Loss, degree: int) -> list[sp.Expr]:
    """A basis of all conserved polynomials of degree 1 to `degree`, dependent ones (products of others) included.

    Raises ValueError where there are too many coefficients or the loss has no exact form.
    """
    size = loss.dimension
    if not isinstance(degree, int) or degree < 1:
        raise InputError(
            f"polynomial_laws: degree must be a whole number of at least 1; got {degree!r} ({type(degree).__name__})."
            " Try 3."
        )
    count = comb(size + degree, degree) - 1
    if count > MOST:
        raise InputError(
            f"polynomial_laws: at most {MOST} coefficients are sought; got {count} for D = {size}, degree {degree}."
            " Lower the degree."
        )
    try:
        fields = slices(Formal(loss))
    except TooLarge as error:
        raise InputError(
            f"polynomial_laws: the loss has no exact form that fits; got {error}. Use a smaller instance."
        ) from error
    monomials: list[Monomial] = [m for d in range(1, degree + 1) for m in combinations_with_replacement(range(size), d)]
    solver = Solver(len(monomials))
    slopes = [poly.derivatives({m: 1}) for m in monomials]
    for field in fields:
        rows: dict[Monomial, Vector] = {}
        for k, slope in enumerate(slopes):
            if solver.dead(k):
                continue
            for i, d in slope.items():
                for m, c in poly.multiply(field.get(i, {}), d).items():
                    row = rows.setdefault(m, {})
                    row[k] = row.get(k, 0) + c
        solver.add([{k: c for k, c in row.items() if c} for row in sorted(rows.values(), key=len)])
    laws = []
    for vector in readable(solver.basis()):
        laws.append(sp.Add(*(rational(c) * sp.Mul(*(loss.theta[v] for v in monomials[k])) for k, c in vector.items())))
    return sorted(laws, key=lambda law: (sp.total_degree(law, *loss.theta), law.count_ops(), str(law)))


def separable_laws(loss: Loss) -> list[sp.Expr]:
    """A basis of the conserved sum_i phi_i(theta_i) with phi_i' in the dictionary above.

    Coefficients are found mod p at random points and read as fractions. Raises ValueError where the loss's functions
    have no values mod p or are not independent.
    """
    try:
        if not free_functions(loss):
            raise Unsupported("separable_laws: its functions are not independent.")
        fields = Fields(loss)
    except Unsupported as error:
        raise InputError(
            f"separable_laws: needs independent functions of known values; got {loss.name}. {error}"
        ) from error
    entries = _without_repeats(fields, _dictionary(loss))
    vectors = _null(_rows(loss, fields, entries), fields.prime)
    return [
        _tidy(sp.Add(*(c * antiderivative(entries[k][1], loss.theta[entries[k][0]]) for k, c in v.items())))
        for v in vectors
    ]


def new_laws(loss: Loss, laws: Sequence[sp.Expr], known: Sequence[sp.Expr]) -> list[sp.Expr]:
    """The laws, in order, that are not functions of the known ones and of those before: by ranks of gradients at a
    random point mod p."""
    rows, p = _gradients(loss, [*known, *laws])
    kept, out, have = list(rows[: len(known)]), [], rank(rows[: len(known)], p)
    for law, row in zip(laws, rows[len(known) :], strict=True):
        now = rank(np.array([*kept, row]), p)
        if now > have:
            kept, have = [*kept, row], now
            out.append(law)
    return out


def _gradients(loss: Loss, expressions: Sequence[sp.Expr]) -> tuple[Array, int]:
    """d expressions / d theta mod p at a random theta, (n, D), and p."""
    m = modulus(constants_of(*expressions))
    twins: dict[sp.Symbol, sp.Symbol] = {s: sp.Dummy(real=True) for s in loss.theta}
    known = [by_slopes(e, twins) for e in expressions]
    tape = Tape(known, (*twins, *twins.values()), arithmetic=JetArithmetic(modulus=m))
    rng = np.random.default_rng(13)
    for _ in range(TRIES):
        out = jacobian(tape, [int(v) for v in rng.integers(1, m.prime, loss.dimension)] * 2, loss.dimension, m)
        if out is not None:
            return out, m.prime
    raise Unsupported("new_laws: no random point where all roots exist.")


def _dictionary(loss: Loss) -> list[tuple[int, sp.Expr]]:
    """(i, phi_i') to combine."""
    out: list[tuple[int, sp.Expr]] = []
    found = _of_one(loss)
    for i, s in enumerate(loss.theta):
        out += [(i, sp.S.One), (i, s)]
        for f in sorted(found.get(s, ()), key=str):
            slope = sp.diff(f, s)
            for e in (f / slope, 1 / slope):
                if (i, e) not in out and not sp.cancel(e / s).is_number and not e.is_number:
                    out.append((i, e))
    return out


def _without_repeats(fields: Fields, entries: Sequence[tuple[int, sp.Expr]]) -> list[tuple[int, sp.Expr]]:
    """The entries that are no linear combination of earlier ones of their coordinate."""
    rng, points = np.random.default_rng(19), 2 * len(entries)
    arithmetic, p = JetArithmetic(points, modulus=fields.modulus), fields.prime
    theta = fields.loss.theta
    tape = Tape([e for _, e in entries], theta, arithmetic=arithmetic)
    slots, _ = tape.forward([Jet(rng.integers(1, p, (1, points)), p) for _ in theta])
    zero = Jet(np.zeros((1, points), dtype=np.int64), p)
    rows: dict[int, list[Array]] = {}
    out = []
    for (i, e), o in zip(entries, tape.outputs, strict=True):
        values = (zero + slots[o]).data[0]
        good = ~arithmetic.bad
        kept = rows.setdefault(i, [])
        if rank(np.array([*kept, values])[:, good], p) > len(kept):
            kept.append(values)
            out.append((i, e))
    return out


def _of_one(loss: Loss) -> dict[sp.Symbol, set[sp.Expr]]:
    """The functions of one parameter entry alone that occur in a loss, whole factors and terms first of all."""
    out: dict[sp.Symbol, set[sp.Expr]] = {}
    theta = set(loss.theta)
    for node in sp.preorder_traversal(loss.expression):
        parts = [node]
        if isinstance(node, (sp.Mul, sp.Add)):
            for s in node.free_symbols & theta:
                own = [a for a in node.args if a.free_symbols == {s}]
                parts += [node.func(*own)] if own else []
        for part in parts:
            names = part.free_symbols
            function = isinstance(part, sp.Expr) and not part.is_Symbol  # no condition, no branch with its condition
            if function and len(names) == 1 and names <= theta and not part.has(*FLAT):
                out.setdefault(next(iter(names)), set()).add(part)
    return out


def _rows(loss: Loss, fields: Fields, entries: Sequence[tuple[int, sp.Expr]]) -> Array:
    """d_k(theta_i) g_i(theta, z) mod p, a row per random (theta, z)."""
    n = len(entries) + 10
    tape = Tape([e for _, e in entries], loss.theta, arithmetic=fields.arithmetic(0))
    rng, found = np.random.default_rng(17), []
    while len(found) < n:
        fields.theta = rng.integers(1, fields.prime, loss.dimension)
        rest = fields.draw(1)
        if not rest.shape[1]:
            continue
        theta = fields.start(1)
        gradient = fields.gradient(rest, theta)
        tape.arithmetic = fields.arithmetic(1)
        slots, _ = tape.forward(theta)
        values = [slots[o] for o in tape.outputs]
        found.append([int((gradient[i] * v).data[0, 0]) for (i, _), v in zip(entries, values, strict=True)])
    return np.array(found)


def _null(rows: Array, p: int) -> list[dict[int, sp.Rational]]:
    """A basis of the null space mod p, as fractions of small parts; vectors that are none are dropped."""
    from flint import nmod_mat

    basis, count = nmod_mat(rows.shape[0], rows.shape[1], [int(v) for v in rows.ravel()], p).nullspace()
    out = []
    columns = (
        nmod_mat(count, rows.shape[1], [int(basis[i, k]) for k in range(count) for i in range(rows.shape[1])], p)
        if count
        else None
    )
    reduced = columns.rref()[0] if columns is not None else None
    for k in range(count):
        vector = {i: _fraction(int(reduced[k, i]), p) for i in range(rows.shape[1]) if int(reduced[k, i])}  # type: ignore[index]
        if None not in vector.values():
            out.append({i: c for i, c in vector.items() if c is not None})
    return out


def _fraction(residue: int, p: int) -> sp.Rational | None:
    """The small fraction with this residue (rational reconstruction by Euclid's algorithm)."""
    a, b, s, t = p, residue, 0, 1
    while abs(b) > LARGEST:
        q = a // b
        a, b, s, t = b, a - q * b, t, s - q * t
    return sp.Rational(b, t) if 0 < abs(t) <= LARGEST else None


def _tidy(law: sp.Expr) -> sp.Expr:
    """The multiple with coprime whole coefficients, the first term's positive."""
    law = law.primitive()[1]
    return -law if law.as_ordered_terms()[0].as_coeff_Mul()[0] < 0 else law
