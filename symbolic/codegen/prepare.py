"""A problem made ready for the engine: emitted text, and the numbers that feed its inputs. No SymPy object leaves this
file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, partial
from typing import Any

import numpy as np
import sympy as sp
from sympy.core.function import AppliedUndef

from symbolic.codegen.array_hybrid import WatchedArrays
from symbolic.codegen.emit import Module, emit
from symbolic.codegen.hybrid_text import Watched, emit_hybrid
from symbolic.codegen.prepare_arrays import emitted, observed
from symbolic.codegen.row_loops import averages
from symbolic.dynamics.array_equation import ArraySDE
from symbolic.dynamics.bridge_points import largest, noise_of
from symbolic.dynamics.equation import SDE
from symbolic.dynamics.gradient import LossDynamics
from symbolic.dynamics.path_functionals import by_words, carrying, functionals, values
from symbolic.dynamics.step_map import StepMap, t
from symbolic.errors import InputError, nearest
from symbolic.language import names
from symbolic.language.reserved_names import OURS
from symbolic.problem.loss import Loss
from symbolic.problem.optimizer import t as time_symbol
from symbolic.problem.parameter import Parameter
from symbolic.problem.row_mean import RowMean
from symbolic.problem.sampling import SamplingPlan, sampling_plan
from symbolic.schemes import find, step_map


@dataclass(frozen=True)
class Output:
    """A variable of the result: name and own shape, taking prod(shape) observable rows."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Prepared:
    """Text and numbers of one problem.

    outputs: what a run saves, in row order. mean, factor: E m and R with R R^T = Cov m of the data features, for losses
    polynomial in the data; for a general SDE, 0 and the identity; None otherwise. modes: how many of an SDE's inputs
    are coefficients of the Brownian path (degree by degree), the others being normals of their own. table: rows that
    observables average over, which follow the parameters of a run. drivers: what has driven its runs, by what they
    asked for. The plan (how to draw one data row) is made on demand.
    """

    module: Module
    outputs: tuple[Output, ...]
    mean: np.ndarray | None
    factor: np.ndarray | None
    dynamics: LossDynamics | SDE
    modes: int = 1
    table: np.ndarray = field(default_factory=lambda: np.empty(0))
    drivers: dict[Any, Any] = field(default_factory=dict[Any, Any], compare=False, repr=False)

    @cached_property
    def plan(self) -> SamplingPlan:
        """How minibatch samples are drawn. Raises ValueError when the law has no samples."""
        if isinstance(self.dynamics, SDE):
            raise InputError("train: discrete SGD needs a Loss; got an SDE. Use simulate.")
        return sampling_plan(self.dynamics.loss.blocks, self.dynamics.accumulation.z)


DTYPES = ("float32", "float64")
KEPT = 16
"""How many forms of a problem are kept with it."""


def parameters_of(problem: Loss | SDE) -> tuple[Parameter, ...]:
    """The named parts of the state: a loss's parameters, or one scalar per state of an SDE."""
    if isinstance(problem, Loss):
        return problem.parameters
    return problem.parts


def prepare(
    problem: Loss | SDE,
    scheme: str,
    observables: Mapping[str, Any] | None = None,
    dtype: str = "float64",
    dynamics: Callable[[Loss], LossDynamics] = LossDynamics,
    shared_rows: bool = False,
    watched: Watched | WatchedArrays | None = None,
    own: tuple[sp.Symbol, ...] = (),
    begin: float = 0.0,
) -> Prepared:
    """Emit a problem under a scheme. observables: {name: expression, or matrix or array of them, in the states and
    time}; dynamics: of a loss; shared_rows: each step takes all rows of a data set, not some of each path's own;
    watched: levels and changes of paths with clocks of their own; own: parameters that each path has for itself, rows
    of the state that steps do not write; begin: when paths begin. What was made is kept with the problem: the next run
    that asks the same takes it. Raises ValueError."""
    if not isinstance(dtype, str) or dtype not in DTYPES:
        hint = nearest(dtype, DTYPES, "Pick one.")
        raise InputError.of("dtype", "must be 'float32' or 'float64'", dtype, hint)
    if isinstance(problem, ArraySDE):
        assert not isinstance(watched, Watched)
        module, shapes, made = emitted(problem, scheme, observables or {}, dtype, watched, begin)
        found, zeros, unit = tuple(Output(*o) for o in shapes.items()), np.zeros(made.inputs), np.eye(made.inputs)
        return Prepared(module, found, zeros, unit, problem, made.modes, module.numbers)
    parts = parameters_of(problem)
    taken = {p.name for p in parts} | OURS.keys()
    known, clock = _known(problem)
    extra = [_observable(name, value, taken, known, clock) for name, value in (observables or {}).items()]
    rows: dict[str, sp.Expr] = {s.name: s for p in parts for s in p.symbols}
    for output, entries in extra:
        if rows.keys() & entries.keys():
            raise InputError(
                f"observables[{output.name}]: a name must be new text; got one that an entry of a parameter or"
                " observable has. Rename it."
            )
        rows |= entries
    outputs = tuple(Output(p.name, p.shape) for p in parts) + tuple(output for output, _ in extra)
    asked = {"dtype": dtype, "dynamics": dynamics, "shared_rows": shared_rows, "own": own, "begin": begin}
    made = partial(_made, problem, scheme, outputs, rows, watched, **asked)
    if watched is not None:
        return made()
    key = (scheme, outputs, tuple(rows.items()), *asked.values())
    kept = problem.prepared
    found = kept.get(key)
    if found is None:
        found = kept[key] = made()
        for oldest in list(kept)[:-KEPT]:
            kept.pop(oldest, None)
    return found


def _made(
    problem: Loss | SDE,
    scheme: str,
    outputs: tuple[Output, ...],
    rows: Mapping[str, sp.Expr],
    watched: Watched | None,
    *,
    dtype: str,
    dynamics: Callable[[Loss], LossDynamics],
    shared_rows: bool,
    own: tuple[sp.Symbol, ...],
    begin: float,
) -> Prepared:
    """What `prepare` gives, once its arguments are known to be right. rows: all that is saved, by label."""
    if isinstance(problem, SDE):
        _refuse_averages(rows)
        if problem.jumps and (watched is None or not watched.changes):
            raise InputError.of("jumps", "only simulate runs them", list(problem.jumps), "Leave them out, or simulate.")
        named = [*rows.values(), *(watched.expressions if watched else ())]
        step = _with_own(_with_brownian(step_map(problem, scheme), problem, named), own)
        rows = {name: sp.sympify(e, strict=True).xreplace(step.seen) for name, e in rows.items()} if step.seen else rows
        watched = watched.seen(step.seen) if watched and step.seen else watched
        named = [*rows.values(), *(watched.expressions if watched else ())]
        carried = functionals(named, float(np.dtype(dtype).type(begin)))
        shown = values(carried)
        rows = {name: sp.sympify(e, strict=True).xreplace(shown) for name, e in rows.items()} if carried else rows
        noise = noise_of(problem, scheme).seen(step.seen)
        step = carrying(step, carried, lambda c, then, k: largest(c, noise, then, k))
        watched = watched.carrying(carried) if watched else None
        chosen, terms = find(scheme)
        drawn = chosen.noise_inputs(problem.noises, terms)
        size, in_words = len(step.inputs), {} if problem.time is None else {t: problem.time}
        module = emit(step, rows, None, dtype) if watched is None else emit_hybrid(step, rows, watched, None, dtype)
        past = by_words(str(c.node.xreplace(in_words)) for c in carried)
        states = [str(s) for s in step.states[: len(step.states) - len(past)]]
        module = replace(module, manifest={**module.manifest, "states": [*states, *past], "carried": len(past)})
        return Prepared(module, outputs, np.zeros(size), np.eye(size), problem, drawn.modes, module.numbers)
    if problem.distribution_parameters:
        raise InputError(
            "data: numbers are needed to run; got laws with symbols"
            f" {sorted(map(str, problem.distribution_parameters))}. Give the laws numbers."
        )
    if functionals([*rows.values(), *(watched.levels if watched else ())]):
        rule = "running(...) and integral(...) are of SDEs"
        raise InputError.of("observables", rule, "a loss", "Run SDE.from_loss(loss, sgd).")
    moved = dynamics(problem)
    rows = {**rows, **{str(s): s for s in moved.carried}}
    step = step_map(moved, scheme)
    if watched is None:
        module = emit(step, rows, moved.accumulation, dtype, shared_rows)
    else:
        module = emit_hybrid(step, rows, watched, moved.accumulation, dtype, shared_rows)
    mean, factor = moved.moments or (None, None)
    tables = [a.table.T.ravel() for a in averages(rows.values())]
    return Prepared(module, outputs, mean, factor, moved, table=np.concatenate([*tables, module.numbers]))


def _refuse_averages(rows: Mapping[str, sp.Expr]) -> None:
    for name, e in rows.items():
        if e.has(RowMean):
            raise InputError(
                f"observables[{name}]: averages over rows of a data set belong to the runs of a loss; got one beside an"
                " SDE. Use train, or simulate with a Loss."
            )


def _with_brownian(step: StepMap, problem: SDE, outputs: Iterable[sp.Expr]) -> StepMap:
    """The step that also carries the Brownian motions that outputs name, as states that begin at 0."""
    used = set().union(*(e.free_symbols for e in outputs))
    kept = [(w, w + step.inputs[j]) for j, w in enumerate(problem.W) if w in used]
    return replace(
        step,
        states=(*step.states, *(w for w, _ in kept)),
        updates=(*step.updates, *(update for _, update in kept)),
    )


def _with_own(step: StepMap, own: tuple[sp.Symbol, ...]) -> StepMap:
    """The step with parameters as states that stand still."""
    shared = tuple(p for p in step.parameters if p not in own)
    return replace(step, states=(*step.states, *own), updates=(*step.updates, *own), parameters=shared)


def check_expression(where: str, value: Any, problem: Loss | SDE, condition: bool = False) -> None:
    """Raise ValueError unless a value is an expression of a problem's states and time, or an array of them; condition:
    or a relation, or several joined by And, Or and Not."""
    if isinstance(problem, ArraySDE):
        observed(problem, where, value)
        return
    states, clock = _known(problem)
    if isinstance(value, (sp.MatrixBase, sp.NDimArray)):
        value = value.tolist()
    for e in np.array(value, dtype=object).ravel():
        if condition and isinstance(e, (sp.Rel, sp.And, sp.Or, sp.Not)):
            if e.atoms(sp.Eq, sp.Ne):
                advice = "Give the expression that becomes positive, e.g. u - 1, or u > 1."
                raise InputError.of(where, "a path that moves is never exactly at a place", e, advice)
            for side in (a for r in e.atoms(sp.Rel) for a in r.args):
                _expression(where, side, states, clock)
        else:
            _expression(where, e, states, clock, " or a relation" if condition else " or an array of them")


def in_states(where: str, value: Any, problem: Loss | SDE, more: Iterable[sp.Symbol] = ()) -> sp.Expr:
    """An expression of a problem's states and time, and `more` symbols, in the time of a run. Raises InputError."""
    if np.ndim(value):
        rule = "must be one expression"
        raise InputError.of(where, rule, f"an array of shape {np.shape(value)}", "Name one per entry.")
    known, clock = _known(problem)
    return _expression(where, value, known | set(more), clock)


def _known(problem: Loss | SDE) -> tuple[set[sp.Symbol], sp.Symbol | None]:
    """The symbols that expressions may use, and that of time, where it is no state."""
    states = {s for p in parameters_of(problem) for s in p.symbols}
    clock = problem.time if isinstance(problem, SDE) else time_symbol
    known = states | ({*problem.W, *problem.parameters} if isinstance(problem, SDE) else set())
    return known, None if clock in states else clock


def _expression(
    where: str, e: Any, states: set[sp.Symbol], clock: sp.Symbol | None, other: str = " or an array of them"
) -> sp.Expr:
    """An entry, in the time of a run."""
    if isinstance(e, (bool, np.bool_)) or not isinstance(e, (sp.Expr, int, float)):
        relation = isinstance(e, (sp.Rel, sp.logic.boolalg.Boolean))
        advice = "Write Heaviside(a - b) for a > b." if relation else "Write it with the symbols of the problem."
        raise InputError.of(where, f"must be a SymPy expression{other}", e, advice)
    e, strange, symbols = _in_run(sp.sympify(e, strict=True), clock)
    if strange:
        rule = f"must be real, of functions that are known; {strange[0]} is not"
        raise InputError.of(where, rule, e, "Write it with the symbols of the problem.")
    loose = sorted(map(str, symbols - states - {t}))
    named = {s.name for s in states if not s.name.startswith(":")} if loose else set[str]()
    twins = [name for name in loose if name in named or (clock is not None and name == clock.name)]
    if twins:
        raise InputError(
            f"{where}: symbols must be the problem's own; got {twins} with other assumptions. Use the same objects,"
            " sympy.symbols(..., real=True)."
        )
    if loose:
        hint = nearest(loose[0], sorted(named))
        raise InputError(f"{where}: may use the problem's symbols and time only; got {loose}. {hint}")
    return e


@lru_cache(maxsize=512)
def _in_run(e: sp.Expr, clock: sp.Symbol | None) -> tuple[sp.Expr, list[sp.Expr], frozenset[sp.Symbol]]:
    """An expression in the time of a run, what in it is no real number or known function, and its symbols."""
    e = e.xreplace({} if clock is None else {clock: t})
    return e, [*e.atoms(AppliedUndef), *(c for c in (sp.I, sp.zoo) if e.has(c))], frozenset(e.free_symbols)


def _observable(
    name: str, value: Any, taken: set[str], states: set[sp.Symbol], clock: sp.Symbol | None
) -> tuple[Output, dict[str, sp.Expr]]:
    """The output and its rows, {label: expression}."""
    if names.variable("observables", name) in taken:
        raise InputError(
            f"observables[{name}]: a name must be new text; got one in use. Rename it; parameters are always saved."
        )
    if isinstance(value, (sp.MatrixBase, sp.NDimArray)):
        value = np.array(value.tolist(), dtype=object)
    array = np.array(value, dtype=object)
    array = array.reshape(()) if array.shape == (1, 1) else array
    rows = {}
    for index, e in np.ndenumerate(array):
        e = _expression(f"observables[{name}]", e, states, clock)
        rows[f"{name}[{','.join(map(str, index))}]" if index else name] = e
    return Output(name, array.shape), rows
