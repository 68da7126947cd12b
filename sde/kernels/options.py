"""The one table of compiler options, and the decorators that apply it.

Loops inline functions of other files of this folder, so every entry of the cache (`machine_code`) is stamped with a
hash of the whole folder: a change anywhere in it recompiles, nothing else does.
"""

import hashlib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from numba import njit
from numba.core.ccallback import CFunc
from numba.extending import overload, register_jitable

from .machine_code import MachineCode

FASTMATH = {"nsz", "arcp", "contract", "afn", "reassoc"}
"""Relaxed arithmetic that keeps `isfinite` and comparisons with NaN meaningful (no "nnan", no "ninf")."""

INNER: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}
"""Functions that are inlined into kernels: fused multiply-adds only, so that vector and scalar code round
alike.
"""

EMITTED: dict[str, Any] = {"error_model": "numpy", "fastmath": FASTMATH}
"""Functions emitted for one problem (see `compiled_program.compile_emitted`)."""

LEAN: Any = {**INNER, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
INLINED: Any = {**LEAN, "forceinline": True}
inner = register_jitable(**LEAN)
inlined = register_jitable(**INLINED)
"""Both leave the function plain Python for Python callers. `inlined` decorates what runs per lane, where a call left in
the loop over lanes would keep it from vectorising, and what runs every step on arrays, where a call would count
references."""


def chosen(function: Callable[..., Any], bodies: Mapping[type, Callable[..., Any]]) -> Callable[..., Any]:
    """Make `function`, inside kernels, the body for the class of its first argument, a NamedTuple: each class is
    compiled with its own body only."""

    def choose(first, *rest):
        return bodies.get(getattr(first, "instance_class", type(None)))

    overload(function, jit_options=INLINED, strict=False)(choose)
    return function


@cache
def source_hash() -> str:
    """Hash of all sources of this folder: part of every cache key, here and in emitted modules."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def kernel(function: Callable[..., Any], signature: Any) -> Any:
    """Compile `function` for exactly one Numba `signature`, or load it from the cache.

    Other argument types are then refused with a TypeError rather than compiled for silently.
    """
    compiled: Any = njit(**INNER)(function)
    if hasattr(compiled, "_cache"):
        compiled._cache = MachineCode(function, source_hash())
        compiled.compile(signature)
        compiled.disable_compile()
    return compiled


def native(
    function: Callable[..., Any], signature: Any, options: Mapping[str, Any] = INNER, stamp: str = "", kept: bool = True
) -> Any:
    """The same for a C function: `.address` is what another kernel calls, `.ctypes` is for Python. stamp: marks its
    entry besides; kept: whether it has one."""
    compiled: Any = CFunc(function, (signature.args, signature.return_type), locals={}, options=dict(options))
    if kept:
        compiled._cache = MachineCode(function, f"{source_hash()} {stamp}")
    compiled.compile()
    return compiled
