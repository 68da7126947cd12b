"""What was run, whole, as one JSON record: it stands in every result and checkpoint, and says nothing that would be
evaluated."""

from __future__ import annotations

import hashlib
import json
import math
import platform
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy as sp

from sde.engine import checkpoint
from sde.settings import RunSettings
from symbolic.arrays.expression import Array, text
from symbolic.dynamics.array_equation import ArraySDE
from symbolic.dynamics.equation import SDE
from symbolic.dynamics.jump import Jump
from symbolic.dynamics.step_map import t as clock
from symbolic.problem.loss import Loss
from symbolic.problem.optimizer import SGD

if TYPE_CHECKING:
    import xarray as xr

FORMAT = 1
MOST_NAMES = 8
MOST, FEW = 1000, 4
"""Numbers of an array that are written out; of a longer one its shape and SHA-256, or its numbers where they are so few
different ones."""
PACKAGES = ("noetherflow", "sympy", "numpy", "scipy", "numba", "llvmlite")

_source: ContextVar[dict[str, Any] | None] = ContextVar("source", default=None)


@contextmanager
def called(call: Mapping[str, Any]) -> Iterator[None]:
    """Runs within are those of a command line; call: its command, spec, the spec's text, and the options given."""
    token = _source.set({"call": dict(call), "data_file": data_file(call)})
    try:
        yield
    finally:
        _source.reset(token)


def data_file(call: Mapping[str, Any]) -> dict[str, str] | None:
    """Name and SHA-256 of the data file that a spec's text names, None where there is none or it has gone."""
    if not call.get("text"):
        return None
    try:
        named = tomllib.loads(call["text"])["data"]["file"]
        path = Path(call["spec"]).parent / named
        return {"name": named, "path": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    except (KeyError, TypeError, OSError, ValueError):
        return None


@cache
def machine() -> dict[str, Any]:
    """Versions, processor and kernel hash: what the bits depend on besides the problem."""
    found = checkpoint.engine()
    versions = {p: version(p) for p in PACKAGES} | {"python": platform.python_version()}
    return {"versions": versions, "processor": found["processor"], "kernels": found["kernels"]}


@cache
def versions() -> str:
    """Ours and those that the numbers depend on, in a line."""
    return ", ".join(f"{p} {version(p)}" for p in ("noetherflow", "sympy", "numpy", "numba"))


def plain(value: Any) -> Any:
    """A value as JSON holds it: numbers, lists, names; expressions and laws as text; long arrays by shape and
    SHA-256."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, (np.bool_, np.integer, np.floating)):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {text(k) if isinstance(k, Array) else str(getattr(k, "name", k)): plain(v) for k, v in value.items()}
    if isinstance(value, Array):
        return text(value)
    if isinstance(value, sp.MatrixBase):
        return plain(value.tolist())
    if isinstance(value, sp.Basic):
        return _text(value)
    if isinstance(value, np.ndarray) and value.size > MOST:
        found = Counter(value.ravel()[:: value.size // MOST].tolist())  # most arrays show here that they are not few
        found = Counter(value.ravel().tolist()) if len(found) <= FEW else found
        return {"shape": list(value.shape)} | (
            {"counts": {str(k): n for k, n in found.items()}} if len(found) <= FEW else {"sha256": digest(value)}
        )
    if isinstance(value, np.ndarray):
        return [plain(v) for v in value] if value.ndim else plain(value.item())
    if hasattr(value, "bind"):
        return {"law": type(value).__name__, **{k: plain(v) for k, v in vars(value).items()}}
    if isinstance(value, (Sequence, range)):
        return plain(np.asarray(value)) if len(value) > MOST else [plain(v) for v in value]
    return str(value)


def digest(values: np.ndarray) -> str:
    """SHA-256 of an array's numbers, as little-endian."""
    if values.dtype == object:
        return hashlib.sha256(json.dumps([str(v) for v in values.ravel()]).encode()).hexdigest()
    return hashlib.sha256(np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()).hexdigest()


@lru_cache(maxsize=256)
def _text(expression: Any) -> str:
    return str(expression)


def problem(of: Loss | SDE) -> dict[str, Any]:
    """A loss as its expression, parameters and data; an SDE as its coefficients."""
    if isinstance(of, Loss):
        shapes = {p.name: list(p.shape) for p in of.parameters}
        laws = [
            {"names": _names(b.symbols), "law": b.name}
            | (
                {"rows": b.size, "sha256": digest(b.table)}
                if b.table is not None
                else {k: plain(np.array(v, dtype=object)) for k, v in b.parameters.items()}
            )
            for b in of.blocks
        ]
        return {
            "loss": of.name,
            "expression": _text(of.expression),
            "parameters": shapes,
            "data": laws,
        }
    named = {} if of.time is None else {clock: of.time}
    if isinstance(of, ArraySDE):
        shown: dict[str, Any] = {
            "drift": [text(f) for f in of.forces],
            "diffusion": [text(b) for b in of.strengths],
            "shapes": [list(s.shape) for s in of.states],
        }
    else:
        rows = [of.diffusion_matrix.row(i) for i in range(len(of.states))]
        shown = {
            "drift": [_text(e.xreplace(named)) for e in of.drift_vector],
            "diffusion": [[_text(e.xreplace(named)) for e in row] for row in rows],
        }
    return {
        "sde": of.name,
        "states": _names(of.states),
        **shown,
        "interpretation": of.interpretation,
        "time": None if of.time is None else of.time.name,
        "parameters": _names(of.parameters),
        **({"jumps": [_jump(j) for j in of.jumps]} if of.jumps else {}),
        **({"domain": {s.name: str(d) for s, d in of.domain.items()}} if of.domain else {}),
    }


def _jump(of: Jump) -> dict[str, Any]:
    shown = {k: v for k in ("rate", "at", "when") if (v := getattr(of, k)) is not None}
    more = {k: v for k in ("sizes", "entry") if (v := getattr(of, k)) not in (None, {})}
    return plain({"changes": of.changes, **shown, **more})


def _names(symbols: Sequence[Any]) -> list[str]:
    return [s.name for s in symbols]


def optimiser(sgd: SGD | None) -> dict[str, Any] | None:
    """SGD's settings, its schedule as text."""
    return None if sgd is None else {k: plain(v) for k, v in vars(sgd).items()}


def record(command: str, of: Loss | SDE, sgd: SGD | None, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What was run: `command` on a problem with an optimiser and settings, by what and on what; within `called`, the
    command line's call and its data file too."""
    source = _source.get() or {"call": None, "data_file": None}
    record_ = {"format": FORMAT, "command": command, "problem": problem(of), "sgd": optimiser(sgd)}
    return record_ | {"settings": plain(settings)} | source | machine()


@dataclass(frozen=True)
class Given:
    """A call: its problem and optimiser, and settings."""

    problem: Loss | SDE
    sgd: SGD | None
    settings: RunSettings

    def record(self, more: Mapping[str, Any]) -> dict[str, Any]:
        """What was run, with what was chosen beside the settings that numbers depend on."""
        return record(self.settings.command, self.problem, self.sgd, {**self.settings.deciding(), **more})


def identity(of: Mapping[str, Any], *more: Any) -> str:
    """Hash of what a record says was run, without who asked and on what machine; more: arrays and texts that count
    too."""
    record_ = {k: of[k] for k in ("command", "problem", "sgd", "settings") if k in of}
    mark = hashlib.sha256(json.dumps(record_, sort_keys=True).encode())
    for value in more:
        mark.update(np.ascontiguousarray(value).tobytes() if isinstance(value, np.ndarray) else str(value).encode())
        mark.update(b";")
    return mark.hexdigest()


def shown(of: Mapping[str, Any]) -> dict[str, Any]:
    """What a report tells besides its settings: the loss, its data, the spec's own text, versions, processor and
    kernels."""
    record_, call = of["problem"], of["call"] or {}
    laws = {
        ", ".join(law["names"][:MOST_NAMES]) + (", ..." if len(law["names"]) > MOST_NAMES else ""): ", ".join(
            f"{k} {json.dumps(v) if isinstance(v, (list, dict)) else v}" for k, v in law.items() if k != "names"
        )
        for law in record_["data"]
    }
    out: dict[str, Any] = {
        "loss": record_["expression"],
        "parameters": {k: str(v) for k, v in record_["parameters"].items()},
        "data": laws,
    }
    if of["data_file"]:
        out["data file"] = f"{of['data_file']['name']}, SHA-256 {of['data_file']['sha256']}"
    if call:
        out["spec"] = call["text"] or call["spec"]
    versions = ", ".join(f"{k} {v}" for k, v in of["versions"].items())
    return out | {"versions": versions, "processor": of["processor"], "kernels": of["kernels"]}


def labels(of: Loss | SDE, observables: Mapping[str, Any] | None) -> Callable[[str], dict[str, str]]:
    """By a variable's name, its long_name and units (all numbers are in the problem's own units, hence "1")."""
    what = "parameter" if isinstance(of, Loss) else "state"
    names = {p.name for p in of.parameters} if isinstance(of, Loss) else {s.name for s in of.states}
    known = {name: f"{what} {name}" for name in names}
    known |= {name: f"{name} = {plain(value)}" for name, value in (observables or {}).items()}
    known |= {
        "time": "learning-rate time t = eta*k" if isinstance(of, Loss) else "time",
        "exploded": "paths that had left the bound by then",
        "explosion_time": "time at which the path left the bound",
        "explosion_value": "value with which the path left the bound",
        "path": "number of the path",
    }
    return lambda name: {"long_name": known.get(name, name), "units": "1"}


def label(data: xr.Dataset, attrs: Callable[[str], Mapping[str, str]]) -> None:
    """Give time and variables the attributes of their names."""
    for name, variable in data.variables.items():
        if variable.dtype.kind in "fiu":
            variable.attrs = {**attrs(str(name)), **variable.attrs}
