"""What an SDE is given: its symbols read and checked, and its refusals and its coefficients in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sympy as sp

from symbolic.dynamics.step_map import t as time_symbol
from symbolic.errors import InputError, instance, near, nearest, shown
from symbolic.language import names, reserved_names
from symbolic.problem import assumptions

SENSES = ("ito", "stratonovich")
COMPLEX = (sp.re, sp.im, sp.conjugate, sp.arg, sp.Derivative)
MOST_LINES, LONGEST_TERM = 6, 60


def symbols(
    states: Any, parameters: Any, time: sp.Symbol | None
) -> tuple[tuple[sp.Symbol, ...], tuple[sp.Symbol, ...]]:
    """The states and parameters; names become symbols. Raises InputError for what cannot be one."""
    for where, group in (("SDE.states", states), ("SDE.parameters", parameters)):
        if isinstance(group, (str, sp.Symbol)) or not isinstance(group, Iterable):
            alone = isinstance(group, (str, sp.Symbol))
            advice = f"Write [{shown(group)}]." if alone else "Write [X], of sympy.Symbol('X', real=True)."
            raise InputError.of(where, "must be a list of symbols", group, advice)
    states, parameters = list(states), tuple(parameters)
    found = tuple(sp.Symbol(names.variable("SDE.states", s), real=True) if isinstance(s, str) else s for s in states)
    if not found or len(set(found)) != len(found) or not all(isinstance(s, sp.Symbol) for s in found):
        raise InputError.of("SDE.states", "must be distinct symbols", states, "Name each state once.")
    if not all(isinstance(p, sp.Symbol) for p in parameters):
        raise InputError.of("SDE.parameters", "must be symbols", list(parameters), "Use sympy.symbols.")
    if time is not None:
        rule = "must be the symbol of time in the coefficients"
        instance("SDE.time", time, sp.Symbol, rule, "Use sympy.Symbol('t', real=True).")
    errors = reserved_names.refuse("SDE.states", [s.name for s in found])
    errors += reserved_names.refuse("SDE.parameters", [p.name for p in parameters])
    vague = [assumptions.refused("SDE.states", s, "A path goes where noise takes it") for s in found]
    # a run's times are positive but for its first
    if time is not None and not assumptions.holds(time, sp.Symbol("t", positive=True), sp.oo):
        vague.append(assumptions.refused("SDE.time", time, "Time is any number from 0 on"))
    errors += [p for p in vague if p]
    if errors:
        raise InputError("\n".join(errors))
    return found, parameters


def labels(states: Sequence[sp.Symbol], parameters: Sequence[sp.Symbol], time: sp.Symbol | None) -> list[str]:
    """The names of all symbols. Raises InputError for what is no name, and one that stands twice."""
    for where, group in (("SDE.states", states), ("SDE.parameters", parameters)):
        for s in group:
            names.variable(where, s.name)
    if time is not None and time != time_symbol:
        names.symbol("SDE.time", time.name)
    found = [s.name for s in (*states, *parameters, *((time,) if time is not None else ()))]
    twice = sorted({n for n in found if found.count(n) > 1})
    if twice:
        raise InputError(f"SDE: a name may stand for one thing only; got {twice[0]!r} twice. Rename one.")
    return found


def sense(where: str, given: Any) -> str:
    """The sense, which must be one. Raises InputError."""
    if not isinstance(given, str) or given not in SENSES:
        raise InputError.of(where, "must be 'ito' or 'stratonovich'", given, nearest(given, SENSES, "Pick one."))
    return given


def refuse_vague(given: Sequence[sp.Symbol], coefficients: Sequence[sp.Expr]) -> None:
    """Refuse symbols that are not known to be real where that shows: sqrt(Y**2) is then no Abs(Y), whose slope holds
    re(Y) and im(Y)."""
    vague = {s for s in given if s.is_real is not True}
    for e in coefficients if vague else ():
        for s in sorted(vague & e.free_symbols, key=str):
            if e.has(*COMPLEX) or e.diff(s).has(*COMPLEX):
                raise InputError(
                    f"SDE: symbols must be real; got {s} without that assumption in {_short(e)}. Write"
                    f" sympy.Symbol({s.name!r}, real=True), and every expression with it."
                )


def described(
    head: str, states: Sequence[sp.Symbol], parameters: Sequence[sp.Symbol], drift: sp.Matrix, diffusion: sp.Matrix
) -> str:
    """An equation, a line a state; of a large one its size. head: its name and sense."""
    d, j = diffusion.shape
    own = f", {', '.join(p.name for p in parameters)} given" if parameters else ""
    head = f"{head}, {d} state{'s' * (d > 1)}, {j} noise{'s' * (j > 1)}{own}"
    if d > MOST_LINES or j > MOST_LINES:
        return head + ")"
    lines = []
    for x, f, row in zip(states, drift, diffusion.tolist(), strict=True):
        terms = [(f, "dt"), *((b, f"dW_{k}" if j > 1 else "dW") for k, b in enumerate(row))]
        texts = [w if c == 1 else f"({_short(c)}) {w}" for c, w in terms if c != 0]
        lines.append(f"d{x.name} = {' + '.join(texts) or '0'}")
    return f"{head}; {lines[0]})" if d == 1 else "\n    ".join([f"{head};", *lines]) + ")"


def typeset(states: Sequence[sp.Symbol], drift: sp.Matrix, diffusion: sp.Matrix, sense: str) -> str:
    """An equation as LaTeX, a line a state; of a large one its first states."""
    several, mark = diffusion.cols > 1, r"\circ " if sense == "stratonovich" else ""
    lines = []
    for x, f, row in list(zip(states, drift, diffusion.tolist(), strict=True))[:MOST_LINES]:
        noises = [(b, rf"{mark}dW_{{{k}}}" if several else f"{mark}dW") for k, b in enumerate(row)]
        terms = [w if c == 1 else rf"\left({sp.latex(c)}\right) {w}" for c, w in [(f, "dt"), *noises] if c != 0]
        lines.append(f"d{sp.latex(x)} &= {' + '.join(terms) or '0'}")
    lines += [r"&\ \vdots"] if len(states) > MOST_LINES else []
    return r"$\displaystyle \begin{aligned} " + r" \\ ".join(lines) + r" \end{aligned}$"


def check_shapes(f: Sequence[Any], b: Sequence[Sequence[Any]], d: int) -> None:
    """Refuse a drift (D,) or diffusion (D, J) of another shape."""
    shapes = [len(row) for row in b]
    if len(f) != d:
        raise InputError(f"SDE.drift: must have one entry per state ({d}); got {len(f)}. Match the states.")
    if len(shapes) != d or len(set(shapes)) != 1 or shapes[0] < 1:
        own = d > 1 and len(b) == 1 and len(b[0]) == d
        raise InputError(
            f"SDE.diffusion: must be {d} row{'s' * (d > 1)} of equal length, one a state, with one column per"
            f" noise; got {len(shapes)} of lengths {shapes}. Write"
            f" {'sympy.diag(...).tolist() where each state has a noise of its own' if own else example(d)}."
        )


def example(states: int) -> str:
    """How a diffusion is written."""
    if states == 1:
        return "[[b]] for one noise, [[b, c]] for two"
    return f"[{', '.join(f'[b{i}]' for i in range(min(states, 3)))}{', ...' if states > 3 else ''}] for one noise"


def _short(coefficient: sp.Expr) -> str:
    text = str(coefficient)
    return text if len(text) <= LONGEST_TERM else text[: LONGEST_TERM - 3] + "..."


def strange(others: Sequence[str], known: Sequence[str]) -> str:
    """The refusal of symbols that coefficients may not use."""
    twins = [name for name in others if name in known]
    if twins:
        return (
            f"SDE: coefficients must be written with the same symbols as states and parameters; got {twins[0]} with"
            f" other assumptions than theirs. Make it once, by sympy.Symbol({twins[0]!r}, real=True)."
        )
    do = "Name time=." if others == ["t"] else "Put in numbers, or list them as parameters=; time is named by time=."
    close = near(others[0], known)
    do = f"Did you mean {close[0]!r}? {do}" if close else do
    return f"SDE: coefficients may use the states, parameters and time only; got {others} besides. {do}"
