"""Calls with an argument that is not there, or without one that is needed: said as all bad input is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Any, TypeVar, cast

from symbolic.errors import InputError, nearest, shown

F = TypeVar("F", bound=Callable[..., Any])
Hints = Mapping[str, str]
"""{argument of another place, or another name: what to give instead}."""
OF_SGD: Hints = dict.fromkeys(
    ("learning_rate", "batch_size", "weight_decay", "momentum", "replacement", "schedule", "lr"),
    "Give it to SGD(...), the second argument.",
)


OF_RUNS: Hints = (
    dict.fromkeys(("n_jobs", "n_threads", "num_threads", "workers", "n_workers", "num_workers"), "Give threads=.")
    | dict.fromkeys(("n_paths", "num_paths", "n_samples", "samples", "trials"), "Give paths=.")
    | dict.fromkeys(("x0", "y0", "theta0", "initial", "init"), "Give start=.")
    | dict.fromkeys(("rng", "random_state", "key"), "Give seed=, a whole number.")
    | dict.fromkeys(("solver", "method"), "Give scheme=.")
    | {"outputs": "Give observables=.", "precision": "Give dtype=.", "verbose": "Give progress=True."}
)
"""What other libraries call the settings of a run."""


class CallError(InputError, TypeError):
    """A call with an argument that is not there, or without one that is needed."""


def called(hints: Hints | Callable[[Any], Hints] | None = None) -> Callable[[F], F]:
    """A decorator of functions and classes: calls that do not fit the signature raise CallError. hints: also as a
    function of the call's first argument."""

    def decorate(target: F) -> F:
        if isinstance(target, type):
            setattr(target, "__init__", _checked(target.__init__, target.__name__, hints, 1))  # noqa: B010
            return cast(F, target)
        skip = int(next(iter(signature(target).parameters), "") == "self")
        return cast(F, _checked(target, target.__name__, hints, skip))

    return decorate


def _checked(function: Callable[..., Any], name: str, hints: Any, skip: int) -> Callable[..., Any]:
    form = signature(function)

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            form.bind(*args, **kwargs)
        except TypeError:
            given = args[skip:]
            known: Any = hints(given[0] if given else None) if callable(hints) else hints or {}
            raise CallError(_sentence(name, form, skip, given, kwargs, known)) from None
        return function(*args, **kwargs)

    return call


def _sentence(
    name: str, form: Signature, skip: int, args: tuple[Any, ...], kwargs: Mapping[str, Any], hints: Hints
) -> str:
    taken = list(form.parameters.values())[skip:]
    names = [p.name for p in taken]
    strange = [k for k in kwargs if k not in names]
    if strange:
        key = strange[0]
        do = hints.get(key) or nearest(key, names, f"{name} takes {{}}.")
        return f"{name}: has no argument {key!r}; got {key}={shown(kwargs[key])} ({type(kwargs[key]).__name__}). {do}"
    places = [p for p in taken if p.kind is not Parameter.KEYWORD_ONLY]
    if len(args) > len(places):
        more, rest = args[len(places)], [p.name for p in taken[len(places) :]]
        do = f"Give the others by name: {', '.join(rest[:6])}, ..." if rest else "Leave it out"
        rule = f"takes {len(places)} argument{'s' * (len(places) != 1)} by position"
        return f"{name}: {rule}; got {shown(more)} ({type(more).__name__}) besides. {do}."
    twice = [p.name for p in places[: len(args)] if p.name in kwargs]
    if twice:
        return f"{name}.{twice[0]}: is given by position already; got {shown(kwargs[twice[0]])} by name. Drop one."
    wanted = [p.name for p in taken if p.default is Parameter.empty and p not in places[: len(args)]]
    lacking = [n for n in wanted if n not in kwargs]
    return f"{name}: {' and '.join(lacking)} must be given; got none. Write {', '.join(f'{n}=...' for n in lacking)}."
