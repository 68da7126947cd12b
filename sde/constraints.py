"""Settings as data: fields of dataclasses that know their rule, their help and who takes them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, fields, replace
from functools import cache
from typing import Any

import numpy as np

from symbolic.errors import InputError, as_real, as_reals, check


class Constraint:
    """What a setting may be: a check (of `symbolic.errors.check`, or below), the bounds it takes, the advice it
    gives."""

    def __init__(self, check: Callable[..., Any], advice: str, **bounds: Any) -> None:
        self.check, self.advice, self.bounds = check, advice, bounds

    def __call__(self, where: str, value: Any) -> Any:
        """The value as it is computed with. Raises InputError."""
        return self.check(where, value, advice=self.advice, **self.bounds)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is known of one setting.

    constraint: None where only the problem can tell; commands: functions that take it; required: None is no value of
    it; spec: whether [run] of a spec may hold it; option: its type on the command line, None where it is none; decides:
    whether numbers of a result depend on it.
    """

    help: str
    constraint: Constraint | None
    commands: tuple[str, ...]
    required: bool
    spec: bool
    option: type | None
    decides: bool
    name: str = ""
    default: Any = None

    def read(self, value: Any, where: str | None = None) -> Any:
        """The value as it is computed with; None stands for what is left out. Raises InputError."""
        left_out = value is None and self.default is None and not self.required
        return value if left_out or self.constraint is None else self.constraint(where or self.name, value)


def setting(
    help: str,
    constraint: Constraint | None = None,
    commands: tuple[str, ...] = ("simulate", "train"),
    *,
    required: bool = False,
    spec: bool = False,
    option: type | None = None,
    decides: bool = True,
) -> dict[str, Setting]:
    """What a field's metadata say of it: see `Setting`."""
    about = Setting(
        help=help,
        constraint=constraint,
        commands=commands,
        required=required,
        spec=spec,
        option=option,
        decides=decides,
    )
    return {"setting": about}


@cache
def settings_of(record: type) -> dict[str, Setting]:
    """The settings among a dataclass's fields, by name."""
    known = [(f, f.metadata["setting"]) for f in fields(record) if f.metadata]
    return {f.name: replace(s, name=f.name, default=None if f.default is MISSING else f.default) for f, s in known}


class Checked:
    """A dataclass that holds only values that keep their rules: each is read when it is made."""

    def __post_init__(self) -> None:
        for name, known in settings_of(type(self)).items():
            if self.takes(known):
                object.__setattr__(self, name, known.read(getattr(self, name)))

    def takes(self, known: Setting) -> bool:
        """Whether that setting is one of this record's."""
        return True


def real(where: str, value: Any, *, advice: str) -> float:
    """A finite number."""
    found = as_real(value)
    if found is None:
        raise InputError.of(where, "must be a finite number", value, advice)
    return found


def saved_times(where: str, value: Any, *, advice: str) -> Any:
    """A count of at least 2, or increasing times."""
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        if value < 2:
            raise InputError.of(where, "a count needs at least 2 times, both ends", value, "Give 2 or more.")
        return int(value)
    found = _times(value)
    if found is None or not len(found) or (np.diff(found) <= 0).any():
        raise InputError.of(where, "times must increase within the run", _shown(value), advice)
    return found


def times(where: str, value: Any, *, advice: str) -> Any:
    """Times, in any order."""
    if _times(value) is None:
        raise InputError.of(where, "must be times within the run", _shown(value), advice)
    return value


def _times(value: Any) -> np.ndarray | None:
    try:
        found = as_reals(value)
    except ValueError:
        return None
    return found if found.ndim == 1 and np.isfinite(found).all() else None


def _shown(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value


def names(where: str, value: Any, *, advice: str) -> tuple[Any, ...]:
    """A list of names."""
    if isinstance(value, (str, Mapping)) or not isinstance(value, Iterable):
        raise InputError.of(
            where,
            "must be a list of names",
            value,
            f"Write [{value!r}]." if isinstance(value, str) and value else advice,
        )
    return tuple(value)


def first_or_names(where: str, value: Any, *, advice: str) -> Any:
    """The word "first", or a list of names, each once."""
    if isinstance(value, str) and value != "first" and "," not in value and not value.isidentifier():
        raise InputError.of(where, 'must be "first" or names', value, advice)
    if isinstance(value, str):
        return value if value == "first" else tuple(name.strip() for name in value.split(","))
    if isinstance(value, Mapping) or not isinstance(value, Iterable):
        raise InputError.of(where, 'must be "first" or a list of names', value, advice)
    found = tuple(value)
    if not found or not all(isinstance(name, str) for name in found) or len(set(found)) != len(found):
        raise InputError.of(where, 'must be "first" or a list of names, each once', value, advice)
    return found


def file(where: str, value: Any, *, advice: str) -> Any:
    """A file's name, or what has one as its `path`."""
    if not isinstance(getattr(value, "path", value), (str, os.PathLike)):
        raise InputError.of(where, "must be the name of a file", value, advice)
    return value


RUNNERS = ("threads", "processes", "dask")


def runner(where: str, value: Any, *, advice: str) -> Any:
    """Who runs chunks of paths: one of RUNNERS, the address of a Dask scheduler, or what has `submit`."""
    address = isinstance(value, str) and re.fullmatch(r"\w+://\S+|[^\s:/]+:\d+", value)
    if (isinstance(value, str) and value in RUNNERS) or address or callable(getattr(value, "submit", None)):
        return value
    rule = f"must be one of {', '.join(RUNNERS)}, a Dask scheduler's address, or have submit(fn, *args) -> Future"
    raise InputError.of(where, rule, value, advice)


def shown_by(where: str, value: Any, *, advice: str) -> Any:
    """Whether to show progress, or a function that is told of it."""
    return value if callable(value) else check.flag(where, value, advice=advice)
