"""An SDE with the derivatives of its paths as further states, and with the weights whose products with a function of
the end have its mean's derivatives as their means (docs/theory.md eqs (6.11) to (6.13))."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import sympy as sp

from symbolic.dynamics.equation import SDE
from symbolic.dynamics.step_map import t as time_symbol
from symbolic.dynamics.stochastic_calculus import jacobian
from symbolic.functions.registry import derivatives, switches
from symbolic.functions.tables import Table

MOST_NOISY = 4
"""States of an SDE whose diffusion is inverted as a formula."""


def jumps_with(expressions: Sequence[sp.Basic], moving: set[sp.Symbol]) -> sp.Basic | None:
    """What decides between values of an expression, and depends on symbols that move: there it has no derivative."""
    for e in expressions:
        deciders = [*switches(e), *(p.cond for piece in e.atoms(sp.Piecewise) for p in piece.args), *e.atoms(Table)]
        for found in sorted(deciders, key=sp.default_sort_key):
            if found.free_symbols & moving:
                return found
    return None


Entry = dict[sp.Symbol, sp.Expr]
"""{state: expression}: a vector over states, without the entries that are 0."""


@dataclass
class Extended:
    """States that are added one by one to those of an SDE in Ito's sense, with drifts, rows of noises, starts (none for
    the SDE's own)."""

    sde: SDE
    began: sp.Expr
    length: sp.Expr
    drift: Entry = field(default_factory=dict)
    rows: dict[sp.Symbol, list[sp.Expr]] = field(default_factory=dict)
    starts: dict[sp.Symbol, float] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    made: dict[tuple[str, sp.Symbol], Entry] = field(default_factory=dict)
    inverse: dict[sp.Symbol, dict[sp.Symbol, sp.Symbol]] = field(default_factory=dict)
    directions: dict[sp.Symbol, list[sp.Expr] | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        clock = {} if self.sde.time is None else {time_symbol: self.sde.time}
        self.clock = time_symbol if self.sde.time is None else self.sde.time
        self.drift = dict(zip(self.sde.states, self.sde.drift_vector.xreplace(clock), strict=True))
        rows = self.sde.diffusion_matrix.xreplace(clock).tolist()
        self.rows = dict(zip(self.sde.states, rows, strict=True))
        self.taken = {s.name for s in (*self.sde.states, *self.sde.parameters, self.clock)}

    @property
    def own(self) -> tuple[sp.Symbol, ...]:
        """The SDE's own states."""
        return self.sde.states

    def whole(self) -> SDE:
        """All states as one SDE."""
        rows = [self.rows[s] for s in self.drift]
        names = (self.clock, self.sde.name, self.sde.parameters)
        return SDE(list(self.drift), list(self.drift.values()), rows, "ito", *names)

    def noisy(self, e: sp.Basic) -> bool:
        """Whether noise reaches an expression of the states."""
        found = {s for s, row in self.rows.items() if any(b != 0 for b in row)}
        while grown := {s for s, f in self.drift.items() if s not in found and f.free_symbols & found}:
            found |= grown
        return bool(e.free_symbols & found)

    def add(self, name: str, drift: sp.Expr, row: list[sp.Expr], start: float) -> sp.Symbol:
        """A new state."""
        symbol = self._fresh(name)
        self.drift[symbol], self.rows[symbol], self.starts[symbol] = drift, row, start
        return symbol

    def _fresh(self, name: str) -> sp.Symbol:
        while name in self.taken:
            name += "_"
        self.taken.add(name)
        return sp.Symbol(name, real=True)

    def linear(
        self,
        of: Sequence[sp.Symbol],
        name: Callable[[sp.Symbol], str],
        forcing: Callable[[sp.Symbol], tuple[sp.Expr, list[sp.Expr]]],
        starts: Mapping[sp.Symbol, float],
        known: Entry,
    ) -> Entry:
        """Derivatives of states `of` along something: they obey the linearised equation with a forcing (drift, row);
        those of other states are `known`. Entries that stay 0 are left out."""
        slopes = {s: self._slopes(s) for s in of}
        forced = {s: forcing(s) for s in of}
        live = {s for s in of if starts.get(s) or any(e != 0 for e in (forced[s][0], *forced[s][1]))}
        while grown := {s for s in of if s not in live and set(slopes[s]) & (live | known.keys())}:
            live |= grown
        found = {s: self._fresh(name(s)) for s in of if s in live}
        along = {**known, **found}
        for s, symbol in found.items():
            drift, row = forced[s]
            for k, (f, b) in slopes[s].items():
                if k in along:
                    drift += f * along[k]
                    row = [e + g * along[k] for e, g in zip(row, b, strict=True)]
            self.drift[symbol], self.rows[symbol], self.starts[symbol] = drift, row, float(starts.get(s, 0.0))
        return {**known, **found}

    def _slopes(self, s: sp.Symbol) -> dict[sp.Symbol, tuple[sp.Expr, list[sp.Expr]]]:
        """{state k: d(drift, row) of s / dk}, of those that are not 0."""
        states = list(self.drift)
        columns = jacobian(sp.Matrix([self.drift[s], *self.rows[s]]), states)
        each = {k: list(columns[:, i]) for i, k in enumerate(states)}
        return {k: (c[0], c[1:]) for k, c in each.items() if any(e != 0 for e in c)}

    def along_parameter(self, p: sp.Symbol) -> Entry:
        """dX/dp of the SDE's states."""

        def forcing(s: sp.Symbol) -> tuple[sp.Expr, list[sp.Expr]]:
            f, *row = (derivatives(e, (p,))[0] for e in (self.drift[s], *self.rows[s]))
            return f, row

        return self._once("p", p, lambda: self.linear(self.own, lambda s: f"d{s}_d{p}", forcing, {}, {}))

    def along_start(self, x: sp.Symbol) -> Entry:
        """dX/dx of the SDE's states, x being the start of one."""

        def none(s: sp.Symbol) -> tuple[sp.Expr, list[sp.Expr]]:
            return sp.S.Zero, [sp.S.Zero] * self.sde.noises

        return self._once("x", x, lambda: self.linear(self.own, lambda s: f"d{s}_d{x}0", none, {x: 1.0}, {}))

    def _once(self, kind: str, of: sp.Symbol, make: Callable[[], Entry]) -> Entry:
        if (kind, of) not in self.made:
            self.made[kind, of] = make()
        return self.made[kind, of]

    def pull(self, vector: Entry) -> list[sp.Expr] | None:
        """u (J,) with b u = vector, of the least length; None where there is none, or it cannot be shown."""
        b = sp.Matrix([self.rows[s] for s in self.own])
        v = sp.Matrix([vector.get(s, 0) for s in self.own])
        if b.rows > MOST_NOISY or b.cols > MOST_NOISY:
            return None
        square = b if b.cols == b.rows else b.T * b if b.cols < b.rows else b * b.T
        if sp.simplify(square.det()) == 0:
            return None
        if b.cols < b.rows:
            u = (square.inv() * b.T * v).applyfunc(sp.simplify)
            return list(u) if all(sp.simplify(e) == 0 for e in b * u - v) else None
        return list((square.inv() * v if b.cols == b.rows else b.T * square.inv() * v).applyfunc(sp.simplify))

    def weight_of_drift(self, p: sp.Symbol) -> sp.Expr | None:
        """Of a parameter of the drift alone (6.12)."""
        force = {s: derivatives(f, (p,))[0] for s, f in self.drift.items() if s in self.own}
        u = self.pull(force)
        return None if u is None else self.add(f"weight_{p}", sp.S.Zero, u, 0.0)

    def direction(self, x: sp.Symbol) -> list[sp.Expr] | None:
        """u along which noise moves the end as the start x does."""
        if x not in self.directions:
            u = self.pull(self.along_start(x))
            self.directions[x] = None if u is None else [e / self.length for e in u]
        return self.directions[x]

    def weight_of_start(self, x: sp.Symbol) -> sp.Expr | None:
        """Of the start of a state (6.12)."""
        u = self.direction(x)
        if u is None:
            return None
        return self._once("w", x, lambda: {x: self.add(f"weight_{x}0", sp.S.Zero, u, 0.0)})[x]

    def weight_of_diffusion(self, p: sp.Symbol) -> sp.Expr | None:
        """Of a parameter of drift and diffusion (6.13)."""
        flows = {x: self.along_start(x) for x in self.own}
        weights = {x: self.weight_of_start(x) for x in self.own}
        shares, total = self._shares(p), sp.S.Zero
        inverse = [s for row in self._inverse().values() for s in row.values()]
        for x, share in shares.items():
            weight = weights[x]
            if weight is None:
                return None
            known = {s: e * (self.clock - self.began) / self.length for s, e in flows[x].items()}
            back = self._once("d", x, lambda x=x, known=known: self._moved(inverse, x, known))
            total += share * weight - self._moved([share], x, back).get(share, 0)
        return total

    def _moved(self, of: Sequence[sp.Symbol], x: sp.Symbol, known: Entry) -> Entry:
        """Derivatives of states along the direction of the start x."""
        u = self.direction(x)
        assert u is not None

        def forcing(s: sp.Symbol) -> tuple[sp.Expr, list[sp.Expr]]:
            return sp.Add(*(b * e for b, e in zip(self.rows[s], u, strict=True))), [sp.S.Zero] * self.sde.noises

        return self.linear(of, lambda s: f"d{s}_along_{x}", forcing, {}, known)

    def _shares(self, p: sp.Symbol) -> Entry:
        """{state m: entry m of (dX/dX_0)^-1 dX/dp}, of those that are not 0."""
        columns = [[self.rows[s][j] for s in self.own] for j in range(self.sde.noises)]
        slopes = [jacobian(sp.Matrix(b), self.own) for b in columns]
        forced = [sp.Matrix([derivatives(e, (p,))[0] for e in b]) for b in columns]
        pull = sp.Matrix([derivatives(self.drift[s], (p,))[0] for s in self.own])
        pull -= sum((b * f for b, f in zip(slopes, forced, strict=True)), sp.zeros(len(self.own), 1))
        found: Entry = {}
        for m, row in self._inverse().items():
            at = sp.Matrix([[row.get(s, 0) for s in self.own]])
            drift, noise = (at * pull)[0], [(at * f)[0] for f in forced]
            if drift != 0 or any(e != 0 for e in noise):
                found[m] = self.add(f"share_{m}_of_{p}", drift, noise, 0.0)
        return found

    def _inverse(self) -> dict[sp.Symbol, dict[sp.Symbol, sp.Symbol]]:
        """{m: {i: entry (m, i) of (dX/dX_0)^-1}}, of those that are not 0, as states."""
        if not self.inverse:
            a = jacobian(sp.Matrix([self.drift[s] for s in self.own]), self.own)
            b = [jacobian(sp.Matrix([self.rows[s][j] for s in self.own]), self.own) for j in range(self.sde.noises)]
            back = [sum((e * e for e in b), sp.zeros(*a.shape)) - a, *(-e for e in b)]
            size = range(len(self.own))
            for m in size:
                live = {m}
                while grown := {i for i in size if i not in live and any(g[k, i] != 0 for g in back for k in live)}:
                    live |= grown
                row = {i: self._fresh(f"back_{self.own[m]}_{self.own[i]}") for i in sorted(live)}
                for i, symbol in row.items():
                    self.drift[symbol], *noise = (sp.Add(*(row[k] * g[k, i] for k in row)) for g in back)
                    self.rows[symbol], self.starts[symbol] = noise, float(i == m)
                self.inverse[self.own[m]] = {self.own[i]: symbol for i, symbol in row.items()}
        return self.inverse
