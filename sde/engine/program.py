"""Emitted text made runnable: named by content, compiled once per machine, kept in the user's cache."""

from __future__ import annotations

import hashlib
import importlib.util
import marshal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from importlib.abc import InspectLoader
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from types import CodeType, ModuleType
from typing import Any

import numpy as np

from sde.engine import compiling
from sde.kernels import compiled_program, options
from sde.storage import module_cache
from symbolic.errors import InputError

ROLES = ("step", "accumulate", "observe", "pace", "sweep")
OF_HYBRID = ("watch", "reach", "arrive", "change")
"""Of paths that stop, jump or are reset (`sde.kernels.hybrid`)."""


@dataclass(frozen=True)
class Program:
    """One problem's emitted text with its sizes. Its machine code is made, or taken from this process or the cache,
    where first asked for: a program sent to another process goes as text. compile_seconds: what `load` took. unused:
    roles that its runs do not call."""

    text: str
    manifest: Mapping[str, Any]
    compile_seconds: float = 0.0
    unused: tuple[str, ...] = ()

    def __reduce__(self) -> tuple[Any, ...]:
        if self.manifest.get("functions"):
            rule = "an equation of compiled functions runs in this process only"
            raise InputError.of("executor", rule, list(self.manifest["functions"])[:2], "Write it in symbols.")
        return Program, (self.text, dict(self.manifest), 0.0, self.unused)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.manifest["dtype"])

    @property
    def lanes(self) -> int:
        return int(self.manifest["lanes"])

    @property
    def states(self) -> int:
        return len(self.manifest["states"])

    @property
    def carried(self) -> int:
        """How many of the states, the last, are numbers of a path's past."""
        return int(self.manifest.get("carried", 0))

    @property
    def observables(self) -> int:
        return len(self.manifest["observables"])

    @cached_property
    def compiled(self) -> Mapping[str, Any]:
        """Compiled functions by role, which must live as long as their addresses are used."""
        dtype, own = str(self.manifest["dtype"]), self.manifest["clock"] in ("own", "hybrid")
        roles = tuple(role for role in (*ROLES, *OF_HYBRID) if role not in self.unused)
        return _machine_code(self.text, dtype, own, roles)

    def address(self, role: str) -> int:
        """Of an emitted function, 0 where there is none."""
        return self.compiled[role].address if role in self.compiled else 0

    @cached_property
    def native(self) -> compiled_program.Program:
        """Sizes and addresses for the loop."""
        addresses = {role: self.address(role) for role in ROLES}
        return compiled_program.Program(
            lanes=self.lanes,
            states=self.states,
            inputs=self.manifest["inputs"],
            data=self.manifest["data"],
            observables=self.observables,
            group=self.manifest["group"],
            carried=self.carried,
            **addresses,
        )


def load(
    text: str,
    manifest: Mapping[str, Any],
    functions: Mapping[str, Callable[..., Any]] | None = None,
    unused: tuple[str, ...] = (),
) -> Program:
    """Compile emitted text, or take its machine code from this process or from the cache. The text itself is written as
    it is. functions: a user's own compiled ones that it calls, by name, which are there in this process only. unused:
    roles that runs of it do not call."""
    vars(import_text(text)).update(functions or {})
    started, program = perf_counter(), Program(text, dict(manifest), unused=unused)
    with compiling.noticed(len(text) * compiling.TEXT_SECONDS):
        assert program.native
    object.__setattr__(program, "compile_seconds", perf_counter() - started)
    return program


@lru_cache(maxsize=64)
def _machine_code(text: str, dtype: str, own_clock: bool, roles: tuple[str, ...]) -> dict[str, Any]:
    """A text's compiled functions by role. A call of a few milliseconds should not read them from the disk again."""
    module = import_text(text)
    compiled = {}
    for role in roles:
        if hasattr(module, role):
            function = getattr(module, role)
            function.__name__ = function.__qualname__ = f"{role}_{module.__name__.split('_')[-1]}"
            kept = not any(name.startswith("user_") for name in function.__code__.co_names)
            compiled[role] = compiled_program.compile_emitted(function, role, np.dtype(dtype), own_clock, kept)
    return compiled


@cache
def _numba() -> str:
    return version("numba")


class _Text(InspectLoader):
    """Loads a module from the text in hand, or its bytecode from the sealed cache. Its file is there for people and
    tracebacks to read: nothing is ever run from it."""

    def __init__(self, text: str, path: Path) -> None:
        self.text, self.path = text, path

    def get_source(self, fullname: str) -> str:
        return self.text

    def get_code(self, fullname: str) -> CodeType:
        kept = f"{fullname}.{importlib.util.MAGIC_NUMBER.hex()}.nbc"
        found = module_cache.load(kept)
        if found is not None:
            return marshal.loads(found)
        code = self.source_to_code(self.text, str(self.path))
        module_cache.save(kept, marshal.dumps(code))
        return code


def import_text(text: str) -> ModuleType:
    """The emitted module as plain Python, undecorated: the oracle for its compiled form. The cache holds its text, as
    it is."""
    stamp = f"{text}\n{options.source_hash()}\n{_numba()}"
    name = f"noetherflow_{hashlib.sha256(stamp.encode()).hexdigest()[:24]}"
    if name in sys.modules:
        return sys.modules[name]
    loader = _Text(text, module_cache.save_text(f"{name}.py", text))
    spec = importlib.util.spec_from_loader(name, loader, origin=str(loader.path))
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    sys.modules[name] = module
    return module
