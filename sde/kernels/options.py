"""The one table of compiler options, and the marks of what is compiled with them.

Numba is slow to load and is needed only where something is compiled (`compiler`): a mark is kept here until then.
Loops inline functions of other files of this folder, so every entry of the cache (`machine_code`) is stamped with a
hash of the whole folder: a change anywhere in it recompiles, nothing else does.
"""

import hashlib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

FASTMATH = {"nsz", "arcp", "contract", "afn", "reassoc"}
"""Relaxed arithmetic that keeps `isfinite` and comparisons with NaN meaningful (no "nnan", no "ninf")."""

LEAN: Any = {"nogil": True, "error_model": "numpy", "_nrt": False, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
"""Nothing allocates or counts references: all arrays are the caller's."""

INNER: dict[str, Any] = {**LEAN, "fastmath": {"contract"}}
"""Kernels, and functions that are inlined into them: fused multiply-adds only, so that vector and scalar code round
alike.
"""

EMITTED: dict[str, Any] = {**LEAN, "fastmath": FASTMATH}
"""Functions emitted for one problem (see `compiled_program.compile_emitted`)."""

INLINED: Any = {**INNER, "forceinline": True}


class Overload(NamedTuple):
    """Inside kernels, `function` is what `choose` gives for the types of its arguments, or itself."""

    function: Callable[..., Any]
    choose: Callable[..., Any] | None
    options: Mapping[str, Any]
    strict: bool


class Intrinsic(NamedTuple):
    """Inside kernels, `function` is what `typed` emits."""

    function: Callable[..., Any]
    typed: Callable[..., Any]


class _Types:
    def __getattr__(self, name: str) -> Any:
        from numba import types

        return getattr(types, name)


types: Any = _Types()
"""numba.types, loaded where first asked for."""

marked: list[Overload | Intrinsic] = []
"""What Numba has not been told of."""


def _as_itself(options: Mapping[str, Any]) -> Callable[[Any], Any]:
    def mark(function: Any) -> Any:
        marked.append(Overload(function, None, options, False))
        return function

    return mark


inner: Any = _as_itself(INNER)
inlined: Any = _as_itself(INLINED)
relaxed: Any = _as_itself({**EMITTED, "forceinline": True})
seldom: Any = _as_itself({**INNER, "forceinline": False, "seldom": True})
"""All leave the function plain Python for Python callers. `inlined` decorates what runs per lane, where a call left in
the loop over lanes would keep it from vectorising; `relaxed` sums, which vectorise where their order is free; `seldom`
what is called now and then, as short code."""


def chosen(function: Callable[..., Any], bodies: Mapping[type, Any]) -> Callable[..., Any]:
    """Make `function`, inside kernels, the body for the class of its first argument, a NamedTuple: each class is
    compiled with its own body only."""

    def choose(first, *rest):
        return bodies.get(getattr(first, "instance_class", type(None)))

    marked.append(Overload(function, choose, INLINED, False))
    return function


def overloaded(function: Callable[..., Any], choose: Callable[..., Any]) -> Callable[..., Any]:
    """Make `function`, inside kernels, what `choose` gives for the type of its argument."""
    marked.append(Overload(function, choose, INLINED, True))
    return function


def intrinsic(typed: Callable[..., Any]) -> Any:
    """A function for kernels alone: typed(typing context, types of the arguments) gives its signature and what emits
    it, as for `numba.extending.intrinsic`."""

    def function(*arguments: Any) -> Any:
        raise NotImplementedError(f"kernels.options: {typed.__name__} is for compiled code; got a call from Python.")

    marked.append(Intrinsic(function, typed))
    return function


@cache
def source_hash() -> str:
    """Hash of all sources of this folder: part of every cache key, here and in emitted modules."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
