"""Families of charges with one readable form: U.T @ U - W @ W.T, sum(W**2, axis=1) + b**2 - a**2, sum(W, axis=0).

A form is a combination of terms of one shape (see `symbolic.symmetry.matrix_terms`): Gram matrices along an axis,
products of two parameters, squared norms per index and their steps from one index to the next, whole squared norms,
sums, and products of sums. The combination is solved for in one entry; it is kept only if every entry is a charge,
exactly, and one of them is new.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, combinations, combinations_with_replacement, product
from math import prod
from typing import Any, NamedTuple, overload

import numpy as np

from symbolic import clock
from symbolic.algebra.affine import AffineField
from symbolic.algebra.field_span import FieldSpan
from symbolic.algebra.number_field import Number
from symbolic.errors import InputError
from symbolic.problem.loss import Loss
from symbolic.symmetry import matrix_terms
from symbolic.symmetry.axes import Axis, axes, wholes
from symbolic.symmetry.matrix_terms import Index, Term


class Sides(NamedTuple):
    """left, right: arrays of a family's shape, equal where noise leaves its charges in place."""

    left: np.ndarray
    right: np.ndarray


@dataclass(frozen=True, eq=False, kw_only=True)
class Family:
    """Charges that are the entries of one array formula.

    kind: "gram", "cross", "unit", "step", "scale", "sum", or "product" (of sums, so that it follows from these). text:
    the formula in the expression language; its value at theta has shape `shape`. latex: the same, typeset. entries:
    index -> generator of the charge that is that entry; for a Gram form the upper triangle. number: how
    many are independent as quadratics. charges: positions, among the theory's, of those in their span. noise,
    noise_latex: the form in the gradients g_P = dl/dP, "" where the noise term vanishes.
    """

    kind: str
    text: str
    latex: str
    shape: tuple[int, ...]
    entries: Mapping[Index, AffineField]
    number: int
    charges: tuple[int, ...]
    noise: str
    noise_latex: str
    loss: Loss = field(repr=False)
    parts: tuple[tuple[Term, Number], ...] = field(default=(), repr=False)
    sigma: Callable[[Any], np.ndarray] | None = field(default=None, repr=False)

    @property
    def symmetric(self) -> bool:
        """Whether the form is a symmetric matrix, its entries given for the upper triangle."""
        return len(self.entries) < prod(self.shape)

    def at(self, theta: Any) -> np.ndarray:
        """Its value at a point.

        Parameters
        ----------
        theta
            A point, {symbol or name: value} or numbers (D,).

        Returns
        -------
        ndarray
            Of shape `shape`.

        Raises
        ------
        InputError
            For a point that does not fit the loss.
        """
        theta, out = self.loss.point(theta), np.empty(self.shape)
        for index, generator in self.entries.items():
            out[index] = generator.charge(theta)
            if self.symmetric:
                out[index[::-1]] = out[index]
        return out

    def drift(self, name: str = "C") -> str:
        """dC/dt under the order-1 SDE, C the array. E_c[f(g)] = E f(g) - f(E g) over samples, g_P the gradient in P."""
        if self.kind == "sum":
            return f"-lambda_wd*{name}"
        return f"-2*lambda_wd*{name}" + (f" + T*E_c[{self.noise}]" if self.noise else "")

    def drift_latex(self, name: str = "C") -> str:
        """`drift`, typeset."""
        if self.kind == "sum":
            return rf"-\lambda_{{\mathrm{{wd}}}}\, {name}"
        noise = rf" + T\,\mathbb{{E}}_{{\mathrm c}}\!\left[{self.noise_latex}\right]" if self.noise else ""
        return rf"-2\lambda_{{\mathrm{{wd}}}}\, {name}{noise}"

    def sides(self, at: Any) -> Sides:
        """Both sides of the equation in which noise rests, left = right (docs/theory.md eq. (4.2)): the noise of the
        terms that enter the form with a plus, and of those with a minus.

        Of U.T @ U - W @ W.T they are E_c[g_U.T @ g_U] = W Gamma_W W^T and E_c[g_W @ g_W.T] = U^T Gamma_U U. The drift
        of the form is T (left - right), without weight decay.

        Parameters
        ----------
        at
            A point, {symbol or name: value} or numbers (D,).

        Returns
        -------
        Sides
            Arrays of the family's shape.

        Raises
        ------
        InputError
            For a point that does not fit the loss, and where the noise has no covariance.
        """
        if self.sigma is None:
            raise InputError("sides: needs the noise; got a family by itself. Take it from derive(loss).families.")
        sigma, left, right = self.sigma(at), np.zeros(self.shape), np.zeros(self.shape)
        for index in self.entries:
            for term, c in self.parts:
                push = float(c) * term.entry(index).trace(sigma)
                for place in {index, index[::-1]} if self.symmetric else {index}:
                    side, size = (left, push) if c > 0 else (right, -push)
                    side[place] += size
        return Sides(left, right)

    def equation(self) -> tuple[str, str]:
        """The equation of `sides` in the gradients, (text, LaTeX); "" where noise leaves the form alone."""
        if not self.noise:
            return "", ""
        text = " = ".join(self._side(lambda t: t.text(lambda n: f"g_{n}"), "*", sign, "E_c[{}]") for sign in (1, -1))
        expected = r"\mathbb{{E}}_{{\mathrm c}}\!\left[{}\right]"
        rename = matrix_terms.gradient_symbol
        return text, " = ".join(self._side(lambda t: t.latex(rename), r"\,", sign, expected) for sign in (1, -1))

    def _side(self, written: Callable[[Term], str], times: str, sign: int, expected: str) -> str:
        mine = [(t, abs(c)) for t, c in self.parts if c * sign > 0]
        return expected.format(matrix_terms.join(mine, written, times)) if mine else "0"

    def __str__(self) -> str:
        size = " x ".join(map(str, self.shape)) or "one number"
        many = f"{self.number} charge{'s' * (self.number > 1)}"
        kind = "symmetric " if self.symmetric else ""
        return f"C = {self.text}  ({kind}{size}, {many})\ndC/dt = {self.drift()}"

    __repr__ = __str__

    def _repr_latex_(self) -> str:
        return rf"$\displaystyle C = {self.latex}, \qquad \dot C = {self.drift_latex()}$"

    def _repr_html_(self) -> str:
        return f"<p>{self._repr_latex_()}</p>"


@dataclass(frozen=True, eq=False)
class Forms(Sequence[Family]):
    """The families of a theory's charges, in order. left: positions of charges that, with the families, span all of
    them."""

    families: tuple[Family, ...]
    left: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.families)

    @overload
    def __getitem__(self, index: int) -> Family: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Family, ...]: ...
    def __getitem__(self, index: int | slice) -> Family | tuple[Family, ...]:
        return self.families[index]

    @property
    def single(self) -> dict[int, Family]:
        """Families of one number that are one charge: position -> family."""
        return {f.charges[0]: f for f in self.families if not f.shape and len(f.charges) == 1}

    @property
    def arrays(self) -> tuple[Family, ...]:
        """The other families."""
        alone = self.single.values()
        return tuple(f for f in self.families if f not in alone)

    def __str__(self) -> str:
        return "; ".join(f.text for f in self.families)


class _Finder:
    """Grows a cover of the charges by families."""

    def __init__(self, loss: Loss, charges: Sequence[AffineField]) -> None:
        self.loss, self.size, self.charges = loss, loss.dimension, charges
        self.span, self.covered = FieldSpan(charges), FieldSpan()
        self.families: list[Family] = []

    @property
    def complete(self) -> bool:
        """Whether the families span the charges."""
        return len(self.covered) == len(self.span)

    def search(
        self, kind: str, candidates: Sequence[Term], indices: Sequence[Index], probe: Index, shape: Index
    ) -> None:
        """Offer every combination of the candidates whose entry at `probe` is a charge."""
        if self.complete or not candidates:
            return
        for mix in self.span.combinations(t.entry(probe) for t in candidates):
            self.offer(kind, [(candidates[k], c) for k, c in sorted(mix.items())], indices, shape)

    def offer(self, kind: str, parts: Sequence[tuple[Term, Number]], indices: Iterable[Index], shape: Index) -> None:
        """Accept a combination if all its entries are charges and one is new."""
        entries = {}
        for index in indices:
            clock.check()
            entries[index] = AffineField.combination((t.entry(index), c) for t, c in parts)
            if entries[index] not in self.span:
                return
        if not self.covered.extended(entries.values()):
            return
        own = FieldSpan(entries.values())
        members = tuple(k for k, x in enumerate(self.charges) if x in own)
        quadratic = parts if kind not in ("sum", "product") else ()
        self.families.append(
            Family(
                kind=kind,
                text=matrix_terms.join(parts, lambda t: t.text(str), "*"),
                latex=matrix_terms.join(parts, lambda t: t.latex(matrix_terms.symbol), r"\,"),
                shape=shape,
                entries=entries,
                number=len(own),
                charges=members,
                loss=self.loss,
                noise=matrix_terms.join(quadratic, lambda t: t.text(lambda n: f"g_{n}"), "*"),
                noise_latex=matrix_terms.join(quadratic, lambda t: t.latex(matrix_terms.gradient_symbol), r"\,"),
                parts=tuple(quadratic),
            )
        )

    def sums(self) -> None:
        """Linear charges: parameters and their sums along an axis, or over all entries."""
        found: dict[Index, list[Term]] = {}
        for x in wholes(self.loss):
            found.setdefault(x.parameter.shape, []).append(matrix_terms.itself(x, self.size))
        for x in [*axes(self.loss), *(x for x in wholes(self.loss) if len(x.parameter.shape) > 1)]:
            term, shape = matrix_terms.sums(x, self.size)
            found.setdefault(shape, []).append(term)
        for shape, candidates in sorted(found.items(), key=lambda item: -len(item[0])):
            indices = list(product(*map(range, shape)))
            self.search("sum", candidates, indices, indices[0], shape)

    def grams(self, h: int, family: Sequence[Axis]) -> None:
        """Symmetric matrices: Gram matrices along axes of one size."""
        candidates = [t for t in (matrix_terms.gram(x, self.size) for x in family) if t is not None]
        self.search("gram", candidates, list(combinations_with_replacement(range(h), 2)), (0, 1), (h, h))

    def crosses(self, family: Sequence[Axis]) -> None:
        """Products of two parameters along one axis each, with the transpose where they are square."""
        for x, y in combinations(family, 2):
            if self.complete:
                return
            if x.parameter == y.parameter or x.rest != y.rest or len(x.rest) > 1:
                continue
            candidates = [matrix_terms.cross(x, y, self.size)]
            if x.size == y.size:
                candidates.append(matrix_terms.cross(y, x, self.size))
            shape = (x.size, y.size)
            self.search("cross", candidates, list(product(*map(range, shape))), (0, 1), shape)

    def units(self, h: int, family: Sequence[Axis]) -> None:
        """One number per index: squared norms and inner products of what shares the index, then steps from index to
        index."""
        pairs = [(x, x) for x in family] + [(x, y) for x, y in combinations(family, 2) if x.rest == y.rest]
        self.search(
            "unit", [matrix_terms.unit(x, y, self.size) for x, y in pairs], [(a,) for a in range(h)], (0,), (h,)
        )
        steps = [matrix_terms.step(x, self.size) for x in family]
        self.search("step", steps, [(a,) for a in range(h - 1)], (0,), (h - 1,))

    def scales(self) -> None:
        """Single numbers: squared norms and inner products of whole parameters."""
        if self.complete:
            return
        family, terms = wholes(self.loss), list[Term]()
        for x, y in chain(((x, x) for x in family), combinations(family, 2)):
            clock.check()
            if x.parameter.shape == y.parameter.shape:
                terms.append(matrix_terms.whole(x, y, self.size))
        self.search("scale", terms, [()], (), ())

    def products(self) -> None:
        """Products of two linear charges, themselves charges."""
        for f, g in combinations_with_replacement(
            [f for f in self.families if f.kind == "sum" and len(f.shape) < 2], 2
        ):
            if self.complete:
                return
            term = _product(f, g)
            shape = f.shape + g.shape
            same = f is g and bool(shape)
            indices = list(combinations_with_replacement(range(shape[0]), 2) if same else product(*map(range, shape)))
            self.offer("product", [(term, 1)], indices, shape)


def _product(f: Family, g: Family) -> Term:
    left, right = (f"({h.text})" if " + " in h.text or " - " in h.text else h.text for h in (f, g))
    tex_left, tex_right = (h.latex if h.latex.isalnum() else rf"({h.latex})" for h in (f, g))
    if f.shape and g.shape:
        text = f"outer({f.text}, {g.text})"
        latex = rf"{tex_left} \otimes {tex_right}"
    else:
        text, latex = (
            (f"{left}**2", f"{tex_left}^{{2}}") if f is g else (f"{left}*{right}", f"{tex_left}\\,{tex_right}")
        )
    at = len(f.shape)
    return Term(lambda i: matrix_terms.squared(f.entries[i[:at]], g.entries[i[at:]]), lambda _: text, lambda _: latex)


def find_families(loss: Loss, charges: Sequence[AffineField]) -> Forms:
    """The families among charges, given as independent symmetric generators of the loss."""
    finder = _Finder(loss, charges)
    if any(x.is_translation for x in charges):
        finder.sums()
        finder.products()
    families: dict[int, list[Axis]] = {}
    for x in axes(loss):
        if x.size > 1:
            families.setdefault(x.size, []).append(x)
    for h, family in families.items():
        finder.grams(h, family)
    finder.crosses([x for family in families.values() for x in family])
    for h, family in families.items():
        finder.units(h, family)
    finder.scales()
    left = tuple(k for k, x in enumerate(charges) if finder.covered.insert(x))
    return Forms(tuple(finder.families), left)


def arranged(loss: Loss, charges: Sequence[AffineField]) -> list[AffineField]:
    """Another basis of the same charges: the families' entries in order, then what they leave out."""
    found = find_families(loss, charges)
    return FieldSpan().extended([*(x for f in found for x in f.entries.values()), *(charges[k] for k in found.left)])
