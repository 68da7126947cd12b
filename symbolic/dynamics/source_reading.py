"""What the code of a user's function shows without a call: the order of its arguments, and sources of chance or of the
time of day."""

from __future__ import annotations

import dis
import inspect
import random
from collections.abc import Callable, Iterator, Sequence
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

TIMES = frozenset({"t", "time"})
STATES = frozenset({"x", "y", "X", "Y", "x0", "y0", "state", "states", "W"})
CHANCE = frozenset({"random", "secrets", "uuid", "numpy.random"})
CLOCKS = frozenset({"time"})
NOW = frozenset({"now", "utcnow", "today"})
ASSUMED = frozenset(
    f"is_{prefix}{fact}"
    for prefix in ("", "extended_")
    for fact in (
        *(
            "positive",
            "negative",
            "nonnegative",
            "nonpositive",
            "nonzero",
            "zero",
            "real",
            "complex",
            "imaginary",
            "finite",
        ),
        *(
            "infinite",
            "integer",
            "noninteger",
            "rational",
            "irrational",
            "even",
            "odd",
            "prime",
            "number",
            "Number",
            "constant",
        ),
    )
)
"""What SymPy answers of a symbol by what is assumed of it, None and so no where nothing is."""
LIBRARIES = frozenset({"sympy", "numpy", "mpmath", "scipy", "math"})


def arguments(function: Callable[..., Any]) -> list[str] | None:
    """Names of the positional arguments, None where they cannot be told."""
    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(p.kind is p.VAR_POSITIONAL for p in found):
        return None
    return [p.name for p in found if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]


def misordered(function: Callable[..., Any], wanted: Sequence[str]) -> str | None:
    """The function's own arguments in words where their names say that they stand in another order than `wanted`, of
    which "t" is time."""
    names = arguments(function)
    if names is None:
        return None
    for own, ours in zip(names, wanted, strict=False):
        if own in (STATES if ours == "t" else TIMES):
            return f"f({', '.join(names[: len(wanted)])})"
    return None


def unnamed_time(function: Callable[..., Any], wanted: Sequence[str]) -> str | None:
    """The function's own arguments in words where no name tells which is time, so that their order cannot be told."""
    names = arguments(function)
    if names is None or len(names) < len(wanted):
        return None
    pairs = list(zip(names, wanted, strict=False))
    known = any(own in (TIMES | {"s", "tau"} if ours == "t" else STATES) for own, ours in pairs)
    return None if known else f"f({', '.join(names[: len(wanted)])})"


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _functions(function: Any) -> list[FunctionType]:
    """The function and those of the user's own that it names, and what they hold."""
    found, left = list[FunctionType](), [getattr(function, "func", function)]
    while left and len(found) < 100:
        one = left.pop()
        one = getattr(one, "__func__", one)
        if not isinstance(one, FunctionType):
            one = vars(type(one)).get("__call__")
        if isinstance(one, FunctionType) and one not in found and one.__module__.partition(".")[0] not in LIBRARIES:
            found.append(one)
            left += [v for v in _named(one).values() if isinstance(v, FunctionType)]
    return found


def _named(function: FunctionType) -> dict[str, Any]:
    """What a function's code refers to by name: globals and variables of the functions around it."""
    names = {name for code in _codes(function.__code__) for name in code.co_names}
    found = {name: function.__globals__[name] for name in names if name in function.__globals__}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # not yet filled
            continue
    return found


def source(function: Callable[..., Any]) -> str | None:
    """In words, the random numbers, the time of day or the assumptions that a function asks for; None for none that can
    be seen."""
    for one in _functions(function):
        names = _named(one)
        for name, value in names.items():
            owner = getattr(value, "__self__", value)
            home = value.__name__ if isinstance(value, ModuleType) else str(getattr(value, "__module__", ""))
            if isinstance(owner, (random.Random, np.random.Generator, np.random.RandomState)) or home in CHANCE:
                return f"random numbers ({name})"
            if home in CLOCKS and (isinstance(value, ModuleType) or callable(value)):
                return f"the time of day ({name})"
            if home == "datetime" and NOW & {n for code in _codes(one.__code__) for n in code.co_names}:
                return f"the time of day ({name})"
        for code in _codes(one.__code__):
            before: Any = None
            for step in dis.get_instructions(code):
                attribute = step.opname in ("LOAD_ATTR", "LOAD_METHOD")
                if attribute and str(step.argval) == "random" and before is np:
                    return "random numbers (numpy.random)"
                if attribute and step.argval in ASSUMED | {"assumptions0"}:
                    return f"what is assumed of a symbol (.{step.argval})"
                if not step.opname.startswith(("CACHE", "PUSH_NULL", "EXTENDED_ARG")):
                    before = (
                        names.get(str(step.argval)) if step.opname.startswith(("LOAD_GLOBAL", "LOAD_DEREF")) else None
                    )
    return None
