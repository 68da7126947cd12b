"""What matrix forms of charges are made of: a formula in one or two parameters, its entries as generators, and how it
is written.

Texts are in the package's expression language. A generator (A, b) stands for its charge theta^T A theta + 2 b^T theta.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product

import sympy as sp

from symbolic.algebra.affine import AffineField
from symbolic.algebra.number_field import Number, tidy, written
from symbolic.language.names import latex
from symbolic.symmetry.axes import Axis

Index = tuple[int, ...]
Rename = Callable[[str], str]
SLICES = 8
"""Slices up to which the Gram matrix of a tensor is written out."""


@dataclass(frozen=True)
class Term:
    """entry(index): the generator of one entry. text, latex: the formula, given a naming of the parameters. single:
    whether it is one summand."""

    entry: Callable[[Index], AffineField]
    text: Callable[[Rename], str]
    latex: Callable[[Rename], str]
    single: bool = True


def pairing(left: Sequence[int], right: Sequence[int], size: int) -> AffineField:
    """The generator of sum_m theta_left[m] theta_right[m]."""
    return _quadratic(((i, j, Fraction(1, 2)) for i, j in zip(left, right, strict=True)), size)


def linear(line: Sequence[int], size: int) -> AffineField:
    """The generator of sum_m theta_line[m]."""
    return AffineField(size, {}, dict.fromkeys(line, Fraction(1, 2)))


def squared(x: AffineField, y: AffineField) -> AffineField:
    """The generator of the product of two linear charges."""
    return _quadratic(((i, j, 2 * c * e) for i, c in x.b.items() for j, e in y.b.items()), x.size)


def _quadratic(terms: Iterable[tuple[int, int, Number]], size: int) -> AffineField:
    """The generator of sum 2 c theta_i theta_j over (i, j, c)."""
    out: dict[tuple[int, int], Number] = {}
    for i, j, c in terms:
        for index in ((i, j), (j, i)):
            out[index] = out.get(index, 0) + c
    return AffineField(size, {index: tidy(c) for index, c in out.items() if c})


def symbol(name: str) -> str:
    """A parameter's name in LaTeX; words stand upright."""
    text = latex(sp.Symbol(name))
    return rf"\mathrm{{{text}}}" if text == name and len(name) > 1 and name.isalpha() else text


def gradient_symbol(name: str) -> str:
    """Of dl/dP in LaTeX, for a parameter's name."""
    return f"g_{{{symbol(name)}}}"


def gram(x: Axis, size: int) -> Term | None:
    """P @ P.T along an axis; None for a tensor too large to write."""
    name, k, order = x.parameter.name, x.axis or 0, len(x.parameter.shape)
    sliced = _slices(x)
    if sliced is None:
        return None

    def text(rename: Rename) -> str:
        n = rename(name)
        if order == 1:
            return f"outer({n}, {n})"
        parts = [(f"{n}{s} @ {n}{s}.T" if first else f"{n}{s}.T @ {n}{s}") for s, first in sliced]
        return parts[0] if len(parts) == 1 else f"({' + '.join(parts)})"

    def latex(rename: Rename) -> str:
        n = rename(name)
        if order <= 2:
            return rf"{n}^{{\mathsf T}} {n}" if k == 1 else rf"{n} {n}^{{\mathsf T}}"
        return rf"{_grouped(n)}_{{({k + 1})}} {_grouped(n)}_{{({k + 1})}}^{{\mathsf T}}"

    return Term(lambda ab: pairing(x.lines[ab[0]], x.lines[ab[1]], size), text, latex)


def _slices(x: Axis) -> list[tuple[str, bool]] | None:
    """Index texts of the matrices that a tensor's Gram matrix sums over, and whether the axis comes first in each."""
    shape, k = x.parameter.shape, x.axis or 0
    if len(shape) <= 2:
        return [("", k == 0)]
    inner = max((m for m in range(len(shape)) if m != k), key=lambda m: shape[m])
    free = [m for m in range(len(shape)) if m not in (k, inner)]
    found = list(product(*(range(shape[m]) for m in free)))
    if len(found) > SLICES:
        return None
    out = []
    for index in found:
        at = dict(zip(free, map(str, index), strict=True))
        out.append((f"[{', '.join(at.get(m, ':') for m in range(len(shape)))}]", k < inner))
    return out


def cross(x: Axis, y: Axis, size: int) -> Term:
    """P.T @ Q and the like: entry (a, b) pairs index a of one matrix or vector with index b of another."""
    p, q = x.parameter.name, y.parameter.name

    def text(rename: Rename) -> str:
        if not x.rest:
            return f"outer({rename(p)}, {rename(q)})"
        return f"{rename(p)}{'.T' if x.axis == 1 else ''} @ {rename(q)}{'.T' if y.axis == 0 else ''}"

    def latex(rename: Rename) -> str:
        turned = r"^{\mathsf T}"
        return f"{rename(p)}{turned if x.axis == 1 else ''} {rename(q)}{turned if y.axis == 0 else ''}"

    return Term(lambda ab: pairing(x.lines[ab[0]], y.lines[ab[1]], size), text, latex)


def unit(x: Axis, y: Axis, size: int) -> Term:
    """sum(P*Q, axis): one number per index along an axis of each, the squared norm where both are one axis."""
    return Term(
        lambda a: pairing(x.lines[a[0]], y.lines[a[0]], size),
        lambda rename: _total(x, y, rename),
        lambda rename: _norm(x, y, rename, "i"),
    )


def _transposed(x: Axis, y: Axis) -> bool:
    """Whether two matrices line up only with one of them transposed."""
    return x.axis != y.axis and len(x.parameter.shape) == 2


def _total(x: Axis, y: Axis, rename: Rename, cut: str = "") -> str:
    """The text of `unit`; cut is a slice taken along the axis, such as ":-1"."""

    def name(a: Axis) -> str:
        return rename(a.parameter.name) + (f"[{', '.join([':'] * (a.axis or 0) + [cut])}]" if cut else "")

    out = f"{name(x)}**2" if x == y else f"{name(x)}*{name(y)}{'.T' if _transposed(x, y) else ''}"
    for m in reversed(range(len(x.parameter.shape))):
        if m != x.axis:
            out = f"sum({out}, axis={m})"
    return out


def _norm(x: Axis, y: Axis, rename: Rename, index: str) -> str:
    def name(a: Axis) -> str:
        n, order = rename(a.parameter.name), len(a.parameter.shape)
        places = [index if m == a.axis else r"\cdot" for m in range(order)]
        return f"{_grouped(n)}_{{{' '.join(places)}}}"

    if not x.rest:
        return f"{name(x)}^{{2}}" if x == y else f"{name(x)} {name(y)}"
    return rf"\lVert {name(x)} \rVert^{{2}}" if x == y else rf"\langle {name(x)}, {name(y)} \rangle"


def step(x: Axis, size: int) -> Term:
    """Squared norms per index, less that of the next index: one number fewer than indices."""

    def entry(a: Index) -> AffineField:
        here, ahead = (x.lines[k] for k in (a[0], a[0] + 1))
        return pairing(here, here, size) - pairing(ahead, ahead, size)

    return Term(
        entry,
        lambda rename: f"{_total(x, x, rename, ':-1')} - {_total(x, x, rename, '1:')}",
        lambda rename: f"{_norm(x, x, rename, 'i')} - {_norm(x, x, rename, 'i+1')}",
        single=False,
    )


def whole(x: Axis, y: Axis, size: int) -> Term:
    """sum(P**2), or sum(P*Q) for two parameters of one shape."""
    p, q, scalar = x.parameter.name, y.parameter.name, not x.parameter.shape

    def text(rename: Rename) -> str:
        inner = f"{rename(p)}**2" if x == y else f"{rename(p)}*{rename(q)}"
        return inner if scalar else f"sum({inner})"

    def latex(rename: Rename) -> str:
        left, right = rename(p), rename(q)
        if x == y:
            return f"{_grouped(left)}^{{2}}" if scalar else rf"\lVert {left} \rVert^{{2}}"
        return f"{left} {right}" if scalar else rf"\langle {left}, {right} \rangle"

    return Term(lambda _: pairing(x.lines[0], y.lines[0], size), text, latex)


def sums(x: Axis, size: int) -> tuple[Term, tuple[int, ...]]:
    """(sum(P, axis) or, for a whole parameter, sum(P); its shape)."""
    name, k, order = x.parameter.name, x.axis, len(x.parameter.shape)
    shape = x.rest
    places = {index: n for n, index in enumerate(product(*(range(m) for m in shape)))}

    def entry(index: Index) -> AffineField:
        return linear(x.lines[0] if k is None else [line[places[index]] for line in x.lines], size)

    def text(rename: Rename) -> str:
        n = rename(name)
        return n if not order else f"sum({n})" if k is None or order == 1 else f"sum({n}, axis={k})"

    def latex(rename: Rename) -> str:
        n, ones = rename(name), r"\mathbf{1}"
        if not order:
            return n
        if k is None and order > 1:
            return rf"\textstyle\sum {n}"
        if order <= 2:
            return rf"{n} {ones}" if k == 1 else rf"{ones}^{{\mathsf T}} {n}"
        return rf"\textstyle\sum_{{i_{(k or 0) + 1}}} {n}"

    return Term(entry, text, latex), shape


def itself(x: Axis, size: int) -> Term:
    """The parameter's own entries; x is the whole parameter."""
    places = {index: n for n, index in zip(x.lines[0], product(*(range(m) for m in x.parameter.shape)), strict=True)}
    name = x.parameter.name
    return Term(lambda index: linear([places[index]], size), lambda rename: rename(name), lambda rename: rename(name))


def _grouped(name: str) -> str:
    """A name that can take another subscript."""
    return f"{{{name}}}" if "_" in name or "^" in name else name


def join(parts: Sequence[tuple[Term, Number]], write: Callable[[Term], str], times: str) -> str:
    """A combination as a sum; times: what stands between a coefficient and its term."""
    out = ""
    for term, c in parts:
        text = write(term)
        if not term.single and (c != 1 or out):
            text = f"({text})"
        size = "" if abs(c) == 1 else f"{written(abs(c), latex=times != '*')}{times}"
        sign = (" - " if c < 0 else " + ") if out else ("-" if c < 0 else "")
        out += f"{sign}{size}{text}"
    return out
