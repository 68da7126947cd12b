"""Which groups an algebra of symmetries is made of, found by exact membership of their generators.

Candidates come from the parameters' axes: GL(h), SL(h) or SO(h) on the axes of size h that turn together, one rescaling
per index, one per parameter; then translations, orthogonal groups of a quadratic form, diagonal generators. Nothing is
accepted unless its generators lie in the algebra and are independent of those accepted before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import gcd

import numpy as np
import sympy as sp

from symbolic import clock
from symbolic.algebra.affine import AffineField, common_fixed_point
from symbolic.algebra.field_span import FieldSpan, components, invariant_form
from symbolic.algebra.nullspace import rank
from symbolic.algebra.number_field import Number, rational, written
from symbolic.functions.registry import KINKED
from symbolic.problem.loss import Loss
from symbolic.symmetry.axes import Axis, axes, wholes

FORM_LIMIT = 40
"""Entries of theta up to which an invariant quadratic form is looked for."""
WRITTEN = 4
"""Generators or entries written out in an action before the rest is counted."""


@dataclass(frozen=True)
class Group:
    """A recognised part of the algebra: its name, its action on the parameters in words, and the generators that span
    it.

    ideal: whether it is one that the other groups act on (translations, commuting shears), not one that must commute
    with them.
    """

    name: str
    action: str
    fields: tuple[AffineField, ...]
    ideal: bool = False

    @property
    def dimension(self) -> int:
        """Number of independent generators."""
        return len(self.fields)


def has_kinks(loss: Loss) -> bool:
    """Whether the loss has gates or kinks (ReLU, abs, max ...): its rescalings then hold for positive factors only."""
    return loss.expression.has(*KINKED)


class Recogniser:
    """Collects the groups of one algebra; `covered` is the span of those accepted so far."""

    def __init__(self, loss: Loss, basis: Sequence[AffineField], one_sided: bool) -> None:
        self.loss, self.size, self.basis = loss, loss.dimension, basis
        self.span, self.covered = FieldSpan(basis), FieldSpan()
        self.scale = self._letter("c", "k", "s")
        self.factor = f"{self.scale} > 0 only" if one_sided else f"{self.scale} > 0"
        self.groups: list[Group] = []

    @property
    def complete(self) -> bool:
        """Whether the groups found span the algebra."""
        return len(self.covered) == len(self.span)

    def take(self, name: str, action: str, fields: Sequence[AffineField], ideal: bool = False) -> bool:
        """Accept a group if its generators lie in the algebra, independent of each other and of all accepted."""
        trial = self.covered.copy()
        if len(self.span) - len(trial) < len(fields) or not all(x in self.span and trial.insert(x) for x in fields):
            return False
        self.covered = trial
        self.groups.append(Group(name, action, tuple(fields), ideal))
        return True

    def shifts(self) -> None:
        """Translations; with t also f(theta) t is a symmetry, for every affine f."""
        d, fields = self.size, []
        actions = [x for x in self.basis if x.is_translation]
        if len(actions) * (d + 1) > len(self.span):
            return
        for t in actions:
            clock.check()
            fields += [AffineField(d, {(i, j): c for i, c in t.b.items()}) for j in range(d)] + [t]
        if actions:
            what = "translation" if len(actions) == 1 else "translations"
            self.take(
                f"{_power('R', len(actions))} ({what}, times any affine function of theta)",
                f"theta -> theta + f(theta) t, {len(actions)} direction{'s' * (len(actions) > 1)} t",
                fields,
                ideal=True,
            )

    def matrices(self, family: Sequence[Axis]) -> None:
        """GL(h), SL(h) or SO(h) turning axes of one size together."""
        d, h = self.size, family[0].size
        candidates = [(axis, sign) for axis in family for sign in (1, -1)]

        def generator(chosen: Sequence[tuple[Axis, int]], a: int, b: int) -> AffineField:
            return AffineField.combination((_elementary(axis, sign, a, b, d), 1) for axis, sign in chosen)

        for mix in self.span.combinations(_elementary(axis, sign, 0, 1, d) for axis, sign in candidates):
            chosen = [candidates[k] for k in sorted(mix)]
            turned = {id(axis) for axis, _ in chosen}
            if set(mix.values()) != {1}:
                continue
            if 2 * len(turned) == len(chosen):
                fields = [generator(chosen, a, b) for a in range(h) for b in range(a)]
                self.take(f"so({h})", self._action([c for c in chosen if c[1] > 0], "R", f"SO({h})"), fields)
            elif len(turned) == len(chosen):
                other = [(axis, -sign) for axis, sign in chosen]
                action = min(
                    (self._action(c, "G", f"GL({h})") for c in (chosen, other)),
                    key=lambda t: t.count("^T") + t.count("^-T"),
                )
                turns = [generator(chosen, a, b) for a in range(h) for b in range(h) if a != b]
                scales = [generator(chosen, a, a) for a in range(h)]
                steps = [scales[a] - scales[a + 1] for a in range(h - 1)]
                if not self.take(f"gl({h})", action, turns + scales):
                    self.take(f"sl({h})", action.replace("GL(", "SL("), turns + steps)

    def _letter(self, *wanted: str) -> str:
        """The first letter that no parameter has for a name."""
        taken = {p.name for p in self.loss.parameters}
        return next((letter for letter in wanted if letter not in taken), "lambda")

    def _scaling(self, actions: Sequence[tuple[str, Number]]) -> str:
        """u -> c u, w -> c^-1 w."""
        return ", ".join(f"{name} -> {self.scale}{'' if c == 1 else f'^{written(c)}'} {name}" for name, c in actions)

    def _action(self, chosen: Sequence[tuple[Axis, int]], letter: str, group: str) -> str:
        """U -> U G^-1, W -> G W, G in GL(h)."""
        g = self._letter(letter, "H", "M")
        inverse, back = (f"{g}^T", g) if letter == "R" else (f"{g}^-1", f"{g}^-T")
        actions = []
        for axis, sign in chosen:
            name, order = axis.parameter.name, len(axis.parameter.shape)
            left = g if sign > 0 else back
            if order > 2:
                actions.append(f"{name} -> {name} x_{(axis.axis or 0) + 1} {left}")
            elif axis.axis == 0:
                actions.append(f"{name} -> {left} {name}")
            else:
                actions.append(f"{name} -> {name} {f'{g}^T' if sign > 0 else inverse}")
        return f"{', '.join(actions)}, {g} in {group}"

    def units(self, family: Sequence[Axis]) -> None:
        """One rescaling for every index of axes of one size."""
        h, d = family[0].size, self.size
        for mix in self.span.combinations(_identity(axis.lines[0], d) for axis in family):
            fields = [
                AffineField.combination((_identity(family[k].lines[a], d), c) for k, c in mix.items()) for a in range(h)
            ]
            actions = [(family[k].line(), c) for k, c in mix.items()]
            self.take(
                f"{_power('R', h)} ({fields[0].kind}s)",
                f"{self._scaling(actions)}, {self.factor}, for every i",
                fields,
            )

    def scales(self) -> None:
        """Rescalings of whole parameters."""
        whole = wholes(self.loss)
        for mix in self.span.combinations(_identity(p.lines[0], self.size) for p in whole):
            field = AffineField.combination((_identity(whole[k].lines[0], self.size), c) for k, c in mix.items())
            actions = [(whole[k].line(), c) for k, c in mix.items()]
            self.take(f"R ({field.kind})", f"{self._scaling(actions)}, {self.factor}", [field])

    def remainders(self) -> None:
        """What is left, cut where it shares no entry of theta: orthogonal groups and diagonal generators."""
        for part in components(self.covered.copy().extended(self.basis)):
            kinds = {x.kind for x in part}
            if kinds <= {"scale", "rescaling"}:
                words = [self._diagonal(x) for x in part[:WRITTEN]]
                more = f" and {len(part) - WRITTEN} more" if len(part) > WRITTEN else ""
                noun = "rescaling" if "rescaling" in kinds else "scale"
                name = f"{_power('R', len(part))} ({noun}{'s' * (len(part) > 1)})"
                self.take(name, "; ".join(words) + more + f"; {self.factor}", part)
            else:
                self.orthogonal(part, kinds)

    def shears(self) -> None:
        """What is left, if it commutes: shears, such as a bias moved by a constant and the next one by what undoes
        that."""
        part = self.covered.copy().extended(self.basis)
        if any(x.kind != "shear" for x in part) or any(x.bracket(y) for x, y in combinations(part, 2)):
            return
        moved = self._names(sorted({i for x in part for i in x.rows}))
        self.take(f"{_power('R', len(part))} (shear{'s' * (len(part) > 1)})", f"shears of {moved}", part, ideal=True)

    def orthogonal(self, part: Sequence[AffineField], kinds: Iterable[str]) -> None:
        """so(n) or so(p, q) of a quadratic form, also about a point."""
        touched = sorted(frozenset().union(*(x.touches for x in part)))
        n = len(touched)
        if len(part) != n * (n - 1) // 2 or n < 2:
            return
        centre = common_fixed_point(part)
        if centre is None:
            return
        about = ""
        if centre:
            point = [f"{self.loss.theta[i]} = {centre.get(i, 0)}" for i in touched]
            about = f" about {', '.join(point)}" if n <= WRITTEN else " about a point"
        if set(kinds) == {"rotation"}:
            self.take(f"so({n})", f"rotations of {self._names(touched)}{about}", part)
            return
        found = invariant_form(part) if n <= FORM_LIMIT else None
        if found is None or rank(form := found[1]) < n:
            return
        plus = int((np.linalg.eigvalsh(np.array(form, dtype=float)) > 0).sum())
        p, q = max(plus, n - plus), min(plus, n - plus)
        keeps = self._form(form, touched) if n <= 2 * WRITTEN else "a quadratic form"
        self.take(
            f"so({p},{q})" if q else f"so({n})", f"linear maps of {self._names(touched)} that keep {keeps}{about}", part
        )

    def _names(self, touched: Sequence[int]) -> str:
        whole = [p for p in wholes(self.loss) if set(p.lines[0]) <= set(touched)]
        if sum(len(p.lines[0]) for p in whole) == len(touched):
            return ", ".join(p.line() for p in whole)
        names = [str(self.loss.theta[i]) for i in touched[: 2 * WRITTEN]]
        return ", ".join(names) + (" ..." if len(touched) > 2 * WRITTEN else "")

    def _form(self, form: Sequence[Sequence[Number]], touched: Sequence[int]) -> str:
        symbols = [self.loss.theta[i] for i in touched]
        terms = [c * (1 if i == j else 2) for i, line in enumerate(form) for j, c in enumerate(line) if i <= j]
        whole = all(isinstance(c, int) for c in terms)
        content = gcd(*(c for c in terms if isinstance(c, int))) if whole else 1
        total = sum(rational(c) * symbols[i] * symbols[j] for i, line in enumerate(form) for j, c in enumerate(line))
        return str(sp.expand(total / content))

    def _diagonal(self, x: AffineField) -> str:
        return self._scaling([(str(self.loss.theta[i]), c) for (i, _), c in sorted(x.A.items())])


def recognise(loss: Loss, basis: Sequence[AffineField], one_sided: bool) -> tuple[tuple[Group, ...], bool]:
    """(groups, whether they span the algebra). basis: the algebra's, readable symmetric fields among it."""
    r = Recogniser(loss, basis, one_sided)
    r.shifts()
    if not r.groups:
        for part in components(basis):
            if len(part) > 1:
                r.orthogonal(part, {x.kind for x in part})
    families: dict[int, list[Axis]] = {}
    for axis in axes(loss):
        if axis.size > 1:
            families.setdefault(axis.size, []).append(axis)
    for search in (r.matrices, r.units):
        for family in families.values():
            if not r.complete:
                search(family)
    for rest in (r.scales, r.remainders, r.shears):
        if not r.complete:
            rest()
    return tuple(r.groups), r.complete


def commute(x: Group, y: Group) -> bool:
    """Whether every generator of one commutes with every one of the other."""
    return all(v.touches.isdisjoint(w.touches) or not v.bracket(w) for v in x.fields for w in y.fields)


def normalises(x: Group, ideal: Group) -> bool:
    """Whether all brackets of a group with an ideal lie in the ideal."""
    actions = [t for t in ideal.fields if t.is_translation]
    if actions:  # all affine multiples of translations: enough that the matrices keep the span of these
        span = FieldSpan(actions)
        return all(v @ t in span for v in x.fields for t in actions)
    span = FieldSpan(ideal.fields)
    return all(v.bracket(w) in span for v in x.fields for w in ideal.fields)


def _elementary(axis: Axis, sign: int, a: int, b: int, size: int) -> AffineField:
    """E_ab acting along an axis: v -> G v (sign 1) or v -> G^-T v (sign -1)."""
    pairs = zip(axis.lines[a], axis.lines[b], strict=True)
    return AffineField(size, {((i, j) if sign > 0 else (j, i)): sign for i, j in pairs})


def _identity(line: Sequence[int], size: int) -> AffineField:
    return AffineField(size, {(i, i): 1 for i in line})


def _power(name: str, n: int) -> str:
    return name if n == 1 else f"{name}^{n}"
