"""What the algebra of symmetries is: kinds of its generators, a split basis, the bracket table, and the groups it is
made of.

Bracket: that of vector fields (`symbolic.algebra.affine`), so that [X, Y] has minus the commutator of the matrices.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import sympy as sp

from symbolic import clock
from symbolic.algebra.affine import AffineField, Kind
from symbolic.algebra.field_span import FieldSpan
from symbolic.algebra.nullspace import Solver, Vector
from symbolic.algebra.number_field import rational, written
from symbolic.algebra.span import Span
from symbolic.errors import InputError
from symbolic.problem.loss import Loss
from symbolic.symmetry.generators import Algebra
from symbolic.symmetry.groups import Group, commute, has_kinks, normalises, recognise

SHOWN = 12
"""Dimension up to which the bracket table is written out."""


@dataclass(frozen=True)
class Generator:
    """One basis element. name: S1, S2, ... symmetric A, R1, ... antisymmetric A with b = 0, X1, ... the rest.

    field: A theta + b. about: the fixed point {parameter entry: value} of a rotation about a point other than the
    origin, else None.
    """

    name: str
    field: AffineField
    about: dict[sp.Symbol, sp.Rational] | None

    @property
    def kind(self) -> Kind:
        """See `AffineField.kind`."""
        return self.field.kind

    @property
    def matrices(self) -> tuple[sp.Matrix, sp.Matrix]:
        """(A, b) as SymPy matrices, D x D and D x 1."""
        return self.field.matrices()

    def __str__(self) -> str:
        if self.about is None:
            return f"{self.name}: {self.kind}"
        return f"{self.name}: {self.kind} about {', '.join(f'{s} = {c}' for s, c in self.about.items())}"


@dataclass(frozen=True, eq=False)
class Structure:
    """An algebra in a basis of generators: symmetric, then antisymmetric, then a complement of both ("the rest").

    Nothing is symmetrised: the symmetric part of a generator of the rest need not be a generator.

    Attributes
    ----------
    generators
        The basis.
    groups
        What was recognised, each with its action in words.
    complete
        Whether the groups span the algebra and their brackets make it the sum that `name` says.
    name
        Such as "gl(2) + gl(3)"; "algebra of dimension n" when not complete.
    """

    generators: tuple[Generator, ...]
    groups: tuple[Group, ...]
    complete: bool
    name: str

    @property
    def dimension(self) -> int:
        """Dimension of the algebra."""
        return len(self.generators)

    @property
    def symmetric(self) -> tuple[Generator, ...]:
        """Basis of the part with A = A^T: S1, S2, ..., in the order of the charges."""
        return tuple(g for g in self.generators if g.name[0] == "S")

    @property
    def antisymmetric(self) -> tuple[Generator, ...]:
        """Basis of the part with A = -A^T and b = 0."""
        return tuple(g for g in self.generators if g.name[0] == "R")

    @property
    def rest(self) -> tuple[Generator, ...]:
        """Basis of a complement of the two."""
        return tuple(g for g in self.generators if g.name[0] == "X")

    @property
    def action(self) -> str:
        """The recognised groups' actions in words."""
        return "; ".join(g.action for g in self.groups)

    @cached_property
    def kinds(self) -> dict[str, int]:
        """How many generators there are of each kind."""
        out: dict[str, int] = {}
        for g in self.generators:
            out[g.kind] = out.get(g.kind, 0) + 1
        return out

    @cached_property
    def brackets(self) -> dict[tuple[int, int], Vector]:
        """Structure constants {(i, j): {k: c}}: [g_i, g_j] = sum_k c g_k, exact, i < j, vanishing brackets left out.

        Raises ValueError when a bracket leaves the span: then this is no algebra.
        """
        fields, out = [g.field for g in self.generators], {}
        span = FieldSpan(fields, tracked=True)
        for i, j in _meeting(fields):
            clock.check()
            found = fields[i].bracket(fields[j])
            if not found:
                continue
            mix = span.coordinates(found)
            if mix is None:
                raise InputError(
                    f"structure: symmetries must close under the bracket; got [{self.generators[i].name},"
                    f" {self.generators[j].name}] outside their span. The algebra is incomplete or wrong: derive it"
                    " anew, and report the loss."
                )
            out[i, j] = mix
        return out

    @property
    def abelian(self) -> bool:
        """Whether all brackets vanish."""
        return not self.brackets

    @cached_property
    def centre(self) -> tuple[Vector, ...]:
        """Basis, in coordinates over `generators`, of what commutes with everything."""
        equations: dict[tuple[int, int], Vector] = {}
        for (i, j), mix in self.brackets.items():
            for k, c in mix.items():
                equations.setdefault((j, k), {})[i] = c
                equations.setdefault((i, k), {})[j] = -c
        solver = Solver(self.dimension)
        solver.add(equations.values())
        return tuple(solver.basis())

    @cached_property
    def derived_dimension(self) -> int:
        """Dimension of the derived algebra, spanned by all brackets."""
        return len(Span(self.brackets.values()))

    def table(self) -> str:
        """The bracket table [row, column] as text; counts beyond dimension 12."""
        if self.dimension > SHOWN:
            return f"{len(self.brackets)} of {self.dimension * (self.dimension - 1) // 2} brackets are not zero"
        names = [g.name for g in self.generators]
        cells = [["", *names]] + [[names[i], *(self._cell(i, j) for j in range(len(names)))] for i in range(len(names))]
        widths = [max(len(line[j]) for line in cells) for j in range(len(names) + 1)]
        return "\n".join("  ".join(c.rjust(w) for c, w in zip(line, widths, strict=True)) for line in cells)

    def table_latex(self) -> str:
        """The same as a LaTeX array."""
        if self.dimension > SHOWN:
            return rf"\text{{{self.table()}}}"
        names = [_subscript(g.name) for g in self.generators]
        lines = [" & ".join([r"[\cdot,\cdot]", *names]) + r" \\ \hline"]
        for i, name in enumerate(names):
            lines.append(" & ".join([name, *(_subscript(self._cell(i, j)) for j in range(len(names)))]) + r" \\")
        return "\\begin{array}{c|" + "c" * len(names) + "}\n" + "\n".join(lines) + "\n\\end{array}"

    def _cell(self, i: int, j: int) -> str:
        sign, out = 1 if i < j else -1, ""
        for k, c in self.brackets.get((min(i, j), max(i, j)), {}).items():
            size = "" if abs(c) == 1 else f"{written(abs(c))} "
            minus = " - " if out else "-"
            out += f"{minus if sign * c < 0 else ' + ' if out else ''}{size}{self.generators[k].name}"
        return out or "0"

    def __str__(self) -> str:
        counts = f"{len(self.symmetric)} symmetric, {len(self.antisymmetric)} antisymmetric, {len(self.rest)} neither"
        kinds = ", ".join(f"{n} {k}" for k, n in self.kinds.items())
        lines = [f"{self.name}: dimension {self.dimension} ({counts}; {kinds})" if self.generators else self.name]
        lines += [f"  {g.name}: {g.action}" for g in self.groups[:SHOWN]]
        lines += [f"  ... and {len(self.groups) - SHOWN} more"] if len(self.groups) > SHOWN else []
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Plain lists, numbers and strings: name, complete, kinds, and per group its name, dimension and action."""
        groups = [{"name": g.name, "dimension": g.dimension, "action": g.action} for g in self.groups]
        return {"name": self.name, "complete": self.complete, "kinds": self.kinds, "groups": groups}


def structure(loss: Loss, algebra: Algebra, one_sided: bool | None = None) -> Structure:
    """What an algebra of the loss is. one_sided: rescalings hold for c > 0 only; None looks for gates and kinks in the
    loss.

    What is recognised closes under the bracket by construction; of the rest that is checked, exactly.
    Raises ValueError when a proved algebra does not close, or is not one of this loss.
    """
    size = algebra.size
    if size != loss.dimension:
        raise InputError(
            f"structure: the algebra must be the loss's own; got one on {size} parameters for D = {loss.dimension}"
            " (int). Derive it from the loss."
        )
    symmetric = sorted(algebra.symmetric_fields, key=lambda x: not x.is_translation)
    parts = {"S": symmetric, "R": algebra.antisymmetric_fields, "X": _rest(algebra)}
    generators = tuple(
        _generator(f"{letter}{k}", x, loss) for letter, part in parts.items() for k, x in enumerate(part, start=1)
    )
    basis = [g.field for g in generators]
    groups, complete = recognise(loss, basis, has_kinks(loss) if one_sided is None else one_sided)
    name = _name(groups) if complete else None
    out = Structure(generators, groups, name is not None, name or f"algebra of dimension {len(basis)}")
    if name is None and algebra.certificate.status == "proved":
        _require_closed(out)
    return out


def _require_closed(found: Structure) -> None:
    """Raise ValueError unless the brackets stay in the span: one bracket of two random combinations tells, and names
    are looked for only where it fails."""
    draw, fields = random.Random(41), [g.field for g in found.generators]
    x, y = (AffineField.combination((v, draw.randint(1, 1_000_000)) for v in fields) for _ in range(2))
    if fields and x.bracket(y) not in FieldSpan(fields):
        found.brackets  # noqa: B018 - raises with the names


def unrecognised(loss: Loss, algebra: Algebra, why: str) -> Structure:
    """The algebra's basis as it is, no group looked for; `why` not."""
    generators = tuple(_generator(f"X{k}", x, loss) for k, x in enumerate(algebra.fields, start=1))
    return Structure(generators, (), False, f"algebra of dimension {len(generators)}, its groups {why}")


def _rest(algebra: Algebra) -> list[AffineField]:
    """Shortest basis fields that complete the symmetric and antisymmetric ones."""
    span = FieldSpan([*algebra.symmetric_fields, *algebra.antisymmetric_fields])
    if len(span) == algebra.dimension:
        return []
    return span.extended(sorted(algebra.fields, key=len))


def _generator(name: str, x: AffineField, loss: Loss) -> Generator:
    about = None
    if x.kind == "rotation" and not x.is_linear:
        point = x.fixed_point or {}
        about = {loss.theta[i]: rational(point.get(i, 0)) for i in sorted(x.rows)}
    return Generator(name, x, about)


def _name(groups: Sequence[Group]) -> str | None:
    """The groups' names joined, if their sum is one of ideals or acts on the shifts; None where brackets mix them
    otherwise."""
    if not groups:
        return "no symmetry"
    ideals, rest = [g for g in groups if g.ideal], [g for g in groups if not g.ideal]
    if len(ideals) > 1 or not all(commute(x, y) for i, x in enumerate(rest) for y in rest[:i]):
        return None
    counted: Mapping[str, int] = {g.name: sum(o.name == g.name for o in rest) for g in rest}
    joined = " + ".join(_several(name, n) for name, n in counted.items())
    if not ideals:
        return joined
    if not all(normalises(g, ideals[0]) for g in rest):
        return None
    return f"{joined} acting on {ideals[0].name}" if rest else ideals[0].name


def _several(name: str, n: int) -> str:
    """n copies of a group."""
    if n > 1 and name.startswith("R ("):
        return f"R^{n} ({name[3:-1]}s)"
    return f"{n} x {name}" if n > 2 else " + ".join([name] * n)


def _meeting(fields: Sequence[AffineField]) -> Iterable[tuple[int, int]]:
    """Pairs i < j whose bracket can differ from zero."""
    movers: dict[int, list[int]] = {}
    for j, x in enumerate(fields):
        for row in x.rows:
            movers.setdefault(row, []).append(j)
    pairs = set()
    for i, x in enumerate(fields):
        clock.check()
        for column in x.reads:
            pairs.update((min(i, j), max(i, j)) for j in movers.get(column, ()) if i != j)
    return sorted(pairs)


def _subscript(text: str) -> str:
    out = ""
    for piece in text.split(" "):
        sign, name = ("-", piece[1:]) if piece[:1] == "-" and len(piece) > 1 else ("", piece)
        out += f" {sign}{name[0]}_{{{name[1:]}}}" if name[:1].isalpha() else f" {piece}"
    return out.strip()
