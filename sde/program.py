"""Emitted text made runnable: a real file in the user's cache, named by content, compiled once per machine."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from time import perf_counter
from types import ModuleType
from typing import Any

import numba
import numpy as np
import platformdirs

from sde import compiling
from sde.kernels import options, programs

ROLES = ("step", "accumulate", "observe", "pace")


def cache_folder() -> Path:
    """Where emitted modules and their machine code live: $NOETHERFLOW_CACHE, else the user's cache folder."""
    chosen = os.environ.get("NOETHERFLOW_CACHE")
    return Path(chosen) if chosen else platformdirs.user_cache_path("noetherflow") / "kernels"


@dataclass(frozen=True)
class Program:
    """One problem's compiled functions. native: sizes and addresses for the loop; keep: what keeps the addresses alive."""

    manifest: Mapping[str, Any]
    native: programs.Program
    keep: tuple[Any, ...]
    compile_seconds: float

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.manifest["dtype"])

    @property
    def lanes(self) -> int:
        return self.native.lanes


def load(text: str, manifest: Mapping[str, Any]) -> Program:
    """Compile emitted text, or take its machine code from this process or from the cache. The text itself is written as it is."""
    started = perf_counter()
    with compiling.noticed(len(text) * compiling.TEXT_SECONDS):
        compiled = _machine_code(text, str(manifest["dtype"]), manifest["clock"] == "own")
    addresses = {role: compiled[role].address if role in compiled else 0 for role in ROLES}
    native = programs.Program(
        lanes=manifest["lanes"],
        states=len(manifest["states"]),
        inputs=manifest["inputs"],
        data=manifest["data"],
        observables=len(manifest["observables"]),
        **addresses,
    )
    return Program(dict(manifest), native, tuple(compiled.values()), perf_counter() - started)


@lru_cache(maxsize=64)
def _machine_code(text: str, dtype: str, own_clock: bool) -> dict[str, Any]:
    """A text's compiled functions by role. A call of a few milliseconds should not read them from the disk again."""
    module = import_text(text)
    compiled = {}
    for role in ROLES:
        if hasattr(module, role):
            function = getattr(module, role)
            function.__name__ = function.__qualname__ = f"{role}_{module.__name__.split('_')[-1]}"
            compiled[role] = programs.compile_emitted(function, role, np.dtype(dtype), own_clock)
    return compiled


def import_text(text: str) -> ModuleType:
    """The emitted module as plain Python, undecorated: the oracle for its compiled form. Raises OSError when the cache cannot be written."""
    stamp = f"{text}\n{options.source_hash()}\n{numba.__version__}"
    name = f"noetherflow_{hashlib.sha256(stamp.encode()).hexdigest()[:24]}"
    if name in sys.modules:
        return sys.modules[name]
    folder = cache_folder()
    path = folder / f"{name}.py"
    if not path.exists():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            scratch = folder / f".{name}.{os.getpid()}.part"
            scratch.write_text(text, encoding="utf-8")
            os.replace(scratch, path)
        except OSError as error:
            raise OSError(
                f"kernel cache: its folder must be writable; got {folder} ({error.strerror}). Set NOETHERFLOW_CACHE to a writable folder."
            ) from error
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules[name] = module
    return module
