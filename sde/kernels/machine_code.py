"""Machine code kept between processes: Numba's caching of compiled functions, over files that are verified before they
are read.

Numba keeps an index of pickles beside each source file and unpickles what it finds there. Here an entry is one sealed
file of `sde.storage.module_cache`, named by everything that decides its contents, and Numba's own reading and writing
of files is not used.
"""

from __future__ import annotations

import hashlib
import inspect
import pickle
import re
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from numba.core.caching import CompileResultCacheImpl, FunctionCache
from numba.core.serialize import dumps

from sde.storage import module_cache


class _NoLocator:
    """Where Numba's locators would say that the files are; ours are wherever `module_cache` is."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._py_file = inspect.getfile(function)

    def ensure_cache_path(self) -> None:
        """Nothing: the folder is made and checked on every use."""


class _Results(CompileResultCacheImpl):
    """How compiled functions become data and back, without a search for a folder."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._lineno = function.__code__.co_firstlineno
        self._locator = _NoLocator(function)


class _Files:
    """Numba's index and data files of one function, as sealed files with no index."""

    def __init__(self, function: Callable[..., Any], stamp: str) -> None:
        self.label = re.sub(r"[^\w]+", "_", function.__qualname__)[-60:].strip("_")
        self.mark = (
            function.__module__.rpartition(".")[2],
            function.__qualname__,
            function.__code__.co_firstlineno,
            stamp,
            sys.implementation.cache_tag,
            version("numba"),
            version("llvmlite"),
        )

    def name(self, key: Any) -> str:
        return f"{self.label}-{hashlib.sha256(repr((self.mark, key)).encode()).hexdigest()[:32]}.nbc"

    def load(self, key: Any) -> Any:
        found = module_cache.load(self.name(key))
        return None if found is None else pickle.loads(found)

    def save(self, key: Any, data: Any) -> None:
        module_cache.save(self.name(key), dumps(data))


class MachineCode(FunctionCache):
    """The cache of one function. stamp: what decides its code besides its own text: a hash of the sources it
    inlines."""

    def __init__(self, function: Callable[..., Any], stamp: str) -> None:
        self._name, self._py_func = repr(function), function
        self._impl = _Results(function)
        self._cache_path = str(module_cache.folder())
        self._cache_file = _Files(function, stamp)
        self.enable()

    def flush(self) -> None:
        """Nothing: an entry's name holds all that could make it outdated."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled function, or None where there is none that is whole."""
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # sealed by us and yet not readable: another build of the same version
            module_cache.discard(self._cache_file.name(self._index_key(sig, target_context.codegen())))
            return None
