"""Stochastic differential equations of whole arrays: `SDE` is this class where a state is an array."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import sympy as sp

from symbolic.arrays import building, calls
from symbolic.arrays.building import array, elementwise, mapped
from symbolic.arrays.bundle import Bundle, Strengths
from symbolic.arrays.derivative import along, entrywise
from symbolic.arrays.expression import Array, Noise, Past, Scalar, State, broadcast, number, viewed, walk
from symbolic.dynamics import array_domain, array_jump
from symbolic.dynamics import domain as domains
from symbolic.dynamics import equation_reading as reading
from symbolic.dynamics.correlation import factor
from symbolic.dynamics.equation import SDE
from symbolic.dynamics.step_map import t as time_symbol
from symbolic.errors import InputError, check
from symbolic.language import names, reserved_names
from symbolic.language.calls import called
from symbolic.problem.parameter import Parameter, entries

CLOCK = Scalar.of((), (), (time_symbol,))
Coefficients = Any
"""What is given as drift or diffusion: an array, number or expression, a list of them, or a function of x and t."""


@called()
class ArraySDE(SDE):
    """dX = drift dt + diffusion dW of arrays: `parts` are states of shapes of their own.

    forces, strengths: drift and diffusion, an array for each state; a diffusion of the state's shape is a noise for
    each entry, with an axis more, of J, J noises that all states share. states: nodes.
    """

    arrays = True

    def __init__(
        self,
        states: Any,
        drift: Coefficients,
        diffusion: Coefficients,
        interpretation: str = "ito",
        time: sp.Symbol | None = None,
        name: str = "sde",
        parameters: Sequence[sp.Symbol] = (),
        jumps: Sequence[Any] = (),
        domain: Any = None,
        *,
        correlation: Any = None,
    ) -> None:
        several = isinstance(states, (list, tuple))
        given = list(states) if several else [states]
        self.interpretation = reading.sense("SDE.interpretation", interpretation)
        self.name, self.W = names.check("SDE.name", name), ()
        symbols = dict[Any, Array]()
        for p in parameters:
            _scalar("SDE.parameters", p, symbols)
        self.parameters = tuple(_symbol(p) for p in parameters)
        self.time = None if time is None else _symbol(_scalar("SDE.time", time, symbols))
        if time is not None:
            symbols |= dict.fromkeys((time, self.time), CLOCK)
        made = list[Array]()
        for s in given:
            s = sp.Symbol(s, real=True) if isinstance(s, str) else s
            if isinstance(s, sp.Symbol):
                made.append(State.of((), (), (names.variable("SDE.states", s.name),)))
                symbols[s] = made[-1]
            elif isinstance(s, State):
                made.append(s)
            else:
                do = "Make it by symbolic.states, or sympy.Symbol."
                raise InputError.of("SDE.states", "must be arrays of states and symbols", s, do)
        labels = [s.data[0] for s in made] + [p.name for p in self.parameters]
        errors = reserved_names.refuse("SDE.states", labels[: len(made)])
        errors += reserved_names.refuse("SDE.parameters", labels[len(made) :])
        if errors:
            raise InputError("\n".join(errors))
        twice = sorted({n for n in labels if labels.count(n) > 1})
        if twice:
            raise InputError(f"SDE: a name may stand for one thing only; got {twice[0]!r} twice. Rename one.")
        self.states: Any = tuple(made)
        self.parts = tuple(Parameter(s.data[0], s.shape, tuple(entries(s.data[0], s.shape).ravel())) for s in made)
        self.symbols = symbols

        def read(where: str, value: Any) -> list[Array]:
            if callable(value) and not isinstance(value, Array):
                value = value(given if several else given[0], CLOCK)
            parts = list(value) if several and isinstance(value, (list, tuple)) else [value]
            if len(parts) != len(made):
                rule = f"must have an entry for each of the {len(made)} states"
                raise InputError.of(where, rule, len(parts), "Give a list of arrays, numbers and expressions.")
            return self.resolved(where, [array(p, where) for p in parts])

        self.forces = [
            self._fitted("SDE.drift", f, s.shape) for f, s in zip(read("SDE.drift", drift), made, strict=True)
        ]
        found = read("SDE.diffusion", diffusion)
        shared = {b.shape[-1] for b, s in zip(found, made, strict=True) if b.shape[:-1] == s.shape and b.ndim > s.ndim}
        self.shared = shared.pop() if len(shared) == 1 else 0
        shapes = [(*s.shape, self.shared) if self.shared else s.shape for s in made]
        self.strengths = [self._fitted("SDE.diffusion", b, n) for b, n in zip(found, shapes, strict=True)]
        if correlation is not None:
            self._correlate(correlation)
        self.jumps = array_jump.check(self, jumps)
        self.domain = domains.read(domain, self.states)
        array_domain.check(self)

    def _correlate(self, correlation: Any) -> None:
        """Make the noises, of all states or of their entries, mixtures of independent ones."""
        mixed = np.array(factor(correlation, self.shared or self.dimension).tolist(), dtype=np.float64)
        if self.shared:
            self.strengths = [building.matmul(b, array(mixed)) for b in self.strengths]
        else:
            ends = np.cumsum([s.size for s in self.states])[:-1]
            parts = [part.reshape(*s.shape, -1) for part, s in zip(np.split(mixed, ends), self.states, strict=True)]
            spread = [viewed(b, lambda v: v[..., None]) for b in self.strengths]
            self.strengths = [elementwise("multiply", b, array(p)) for b, p in zip(spread, parts, strict=True)]
        self.shared = mixed.shape[1]

    def in_states(self, nodes: Sequence[Array]) -> list[Array]:
        """Nodes with states and time for their symbols."""
        return mapped(nodes, lambda n: self.symbols.get(n.data[0] if isinstance(n, Scalar) else n))

    def resolved(self, where: str, nodes: Sequence[Array], more: Iterable[Array] = ()) -> list[Array]:
        """Nodes with states and time for their symbols. more: what else they may read. Raises InputError for what is
        neither state, time nor parameter."""
        known, out = {*self.states, *more}, self.in_states(nodes)
        for node in out:
            strange = [repr(s) for s in node.reads if s not in known]
            strange += [str(s) for s in node.symbols - {*self.parameters, time_symbol}]
            if strange:
                raise InputError.of(
                    where,
                    "may use the states, parameters and time only",
                    sorted(strange),
                    "Put in numbers, or list them as parameters=; time is named by time=.",
                )
        return out

    @staticmethod
    def _fitted(where: str, node: Array, shape: tuple[int, ...]) -> Array:
        if any(isinstance(n, Past) for n in walk([node])):
            rule = "may use states, time and parameters, not a path's past"
            raise InputError.of(where, rule, node, "Make it a state of its own.")
        if node.condition:
            raise InputError.of(where, "must be numbers, not conditions", node, "Write numpy.where(X > 0, 1, 0).")
        try:
            return node if node.shape == shape else broadcast(node, shape)
        except ValueError:
            advice = "A diffusion of the state's shape is a noise per entry; one with an axis more, J noises for all."
            raise InputError.of(where, f"must have the state's shape {shape}", node.shape, advice) from None

    def __repr__(self) -> str:
        """The equation, a line an array."""
        sense = "Ito" if self.interpretation == "ito" else "Stratonovich"
        lines = [f"SDE({self.name}: {sense}, {self.dimension} states, {self.noises} noises, {self.noise_class};"]
        for s, f, b in zip(self.states, self.forces, self.strengths, strict=True):
            shown = [t if len(t) < 200 else t[:197] + "..." for t in (repr(f), repr(b))]
            lines.append(f"    d{s.data[0]}{s.shape or ''} = {shown[0]} dt + {shown[1]} dW")
        return "\n".join(lines) + ")"

    def _repr_latex_(self) -> None:
        """Arrays are shown as text."""

    @property
    def dimension(self) -> int:
        """Number of scalar states."""
        return sum(s.size for s in self.states)

    @property
    def scalars(self) -> set[sp.Basic]:
        """The symbols in its coefficients."""
        return set[sp.Basic]().union(*(n.symbols for n in (*self.forces, *self.strengths)))

    @property
    def driven(self) -> list[bool]:
        """Which states have noise."""
        return [number(b) != 0 for b in self.strengths]

    @property
    def noisy(self) -> set[Any]:
        """The states that have noise."""
        return {s for s, on in zip(self.states, self.driven, strict=True) if on}

    @property
    def noises(self) -> int:
        """Number of independent Brownian motions."""
        return self.shared or sum(s.size for s, on in zip(self.states, self.driven, strict=True) if on)

    @cached_property
    def diagonal(self) -> bool:
        """Whether each noise drives one entry alone, with a strength that depends on no other entry, as the formula
        shows."""
        pairs = zip(self.states, self.strengths, strict=True)
        return not self.shared and all(not b.reads or entrywise(b, s) for s, b in pairs)

    @cached_property
    def noise_class(self) -> str:
        """One of "additive", "diagonal" and "general", as the formula shows."""
        if not any(b.reads for b in self.strengths):
            return "additive"
        return "diagonal" if self.diagonal else "general"

    def allows(self, noise: str) -> bool:
        """Whether a scheme for a noise class may be used."""
        if noise == "general" or self.noise_class == noise:
            return True
        return self.diagonal and noise in ("diagonal", "commutative")

    def to(self, interpretation: str) -> SDE:
        """The same process in the other sense."""
        if reading.sense("SDE.to", interpretation) == self.interpretation:
            return self
        if self.noise_class == "general":
            rule = "needs a noise whose strength at an entry depends on that entry alone"
            raise InputError.of("SDE.to", rule, self.noise_class, "Write the drift in that sense.")
        sign = 1 if interpretation == "ito" else -1
        moved = list(self.forces)
        if self.noise_class == "diagonal":
            slopes = along(self.strengths, dict(zip(self.states, self.strengths, strict=True)))
            moved = [f + sign * s / 2 for f, s in zip(self.forces, slopes, strict=True)]
        given = {s: d.given for s, d in self.domain.items()}
        made: Any = ArraySDE(
            list(self.states),
            moved,
            self.strengths,
            interpretation,
            time_symbol,
            self.name,
            self.parameters,
            domain=given,
        )
        made.jumps = self.jumps
        made.time, made.symbols = self.time, self.symbols
        return made

    def noise(self, first: int) -> Bundle:
        """The rows of one normal per noise, from row `first` on."""
        if self.shared:
            return Bundle([Noise.of((self.shared,), (), (first,))])
        parts = []
        for s, on in zip(self.states, self.driven, strict=True):
            parts.append(Noise.of(s.shape, (), (first,)) if on else broadcast(array(0), s.shape))
            first += s.size if on else 0
        return Bundle(parts)

    def drift(self, x: Any, t: Any) -> Any:
        """Drift at a state."""
        return Bundle(self._at(self.forces, x, t))

    def diffusion(self, x: Any, t: Any) -> Any:
        """Diffusion at a state."""
        return (Strengths if self.shared else Bundle)(self._at(self.strengths, x, t))

    def along(self, b: Any, x: Any, v: Any) -> Any:
        """The derivative of b(x) along v, x being the states themselves."""
        return Bundle(along(b.parts, dict(zip(self.states, v.parts, strict=True))))

    def length(self, v: Any) -> Any:
        """The Euclidean norm."""
        return v.length()

    def _at(self, nodes: Sequence[Array], x: Bundle, t: Any) -> list[Array]:
        known: dict[Array, Array] = dict(zip(self.states, x.parts, strict=True))
        if t is not time_symbol:
            known[CLOCK] = array(t)
        return mapped(nodes, known.get)


def _scalar(where: str, given: Any, symbols: dict[Any, Array]) -> Any:
    """A parameter or time, a symbol or an array of shape (), which then stands for its symbol. Raises InputError."""
    if isinstance(given, State) and not given.shape:
        symbols[given] = Scalar.of((), (), (_symbol(given),))
    elif not isinstance(given, sp.Symbol):
        raise InputError.of(where, "must be a symbol", given, "Use sympy.Symbol, or states(name, ()).")
    return given


def _symbol(given: Any) -> sp.Symbol:
    return sp.Symbol(given.name, real=True) if isinstance(given, State) else given


def of_functions(
    dimension: Any, functions: tuple[Any, Any], noise: Any, noises: Any, interpretation: str, name: str
) -> ArraySDE:
    """`SDE.compiled`. Raises InputError."""
    d = check.whole("SDE.compiled.dimension", dimension, advice="Give the number of states.")
    kinds = ("diagonal", "additive", "general")
    check.one_of("SDE.compiled.noise", noise, kinds, advice="Pick one.")
    if noises is not None and noise != "general":
        raise InputError.of("SDE.compiled.noises", "goes with noise='general'", noises, "Leave it out.")
    j = check.whole("SDE.compiled.noises", d if noises is None else noises, advice="Give how many noises there are.")
    X, shape = State.of((d,), (), ("X",)), (d, j) if noise == "general" else (d,)
    drift, diffusion = functions
    f = calls.call("SDE.compiled.drift", drift, X, CLOCK, (d,), d, False)
    at = None if noise == "additive" else X
    b = calls.call("SDE.compiled.diffusion", diffusion, at, CLOCK, shape, d, noise == "diagonal")
    return ArraySDE(X, f, b, interpretation, time_symbol, name)
