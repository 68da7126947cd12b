"""Machine code kept between processes, loaded without Numba: one sealed file of `sde.storage.module_cache` for each C
function, named by everything that decides its contents, read byte by byte into LLVM's linker.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property, partial
from importlib.metadata import version
from itertools import count
from threading import RLock
from typing import Any
from weakref import WeakValueDictionary

from llvmlite import binding

from sde.storage import module_cache

from . import special
from .arguments import Words
from .options import INNER, source_hash
from .target import fix, processor

PRODUCT = "noetherflow_product"
"""How the names of matrix products begin (`contract`), which other functions call."""
_lock, _numbers = RLock(), count()
taken = {"compiled": 0, "from the cache": 0}
"""How many functions this process has compiled, and loaded."""
_watching: list[Callable[[], None]] = []
_alive: WeakValueDictionary[str, Native] = WeakValueDictionary()
"""By the name of its entry, so that threads that ask at once get one and the same: the code of a second would go while
its address is in use."""


@dataclass(frozen=True)
class Native:
    """A C function in memory, as long as this object lives. signature: of ctypes, the result first; cached: it was not
    compiled anew."""

    address: int
    signature: tuple[Any, ...]
    cached: bool
    library: Any

    @cached_property
    def ctypes(self) -> Any:
        """For Python, without the GIL."""
        return ctypes.CFUNCTYPE(*self.signature)(self.address)


def _name(function: Callable[..., Any], signature: tuple[Any, ...], stamp: str) -> str:
    label = re.sub(r"[^\w]+", "_", function.__qualname__)[-60:].strip("_")
    code = function.__code__
    inside = [repr(cell.cell_contents) for cell in function.__closure__ or ()]
    mark = (
        function.__module__.rpartition(".")[2],
        function.__qualname__,
        code.co_firstlineno,
        code.co_code,
        repr(code.co_consts) if inside else "",
        inside,
        [getattr(kind, "__name__", "") for kind in signature],
        stamp,
        source_hash(),
        sys.implementation.cache_tag,
        *_versions(),
        processor(),
    )
    return f"{label}-{hashlib.sha256(repr(mark).encode()).hexdigest()[:32]}.nbc"


@cache
def _versions() -> tuple[str, str]:
    return version("numba"), version("llvmlite")


@contextmanager
def watched(tell: Callable[[], None]) -> Iterator[None]:
    """Within, `tell` is called once, as something begins to be compiled anew."""
    _watching.append(tell)
    try:
        yield
    finally:
        if tell in _watching:
            _watching.remove(tell)


@cache
def _linker() -> Any:
    fix()
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    machine = binding.Target.from_default_triple().create_target_machine()
    return binding.create_lljit_compiler(machine)


def _link(symbol: str, called: list[str], code: bytes) -> Any:
    """The library, in memory. called: what it needs of Numba's own functions and of SciPy's. Raises RuntimeError where
    it needs what is not there."""
    library = binding.JITLibraryBuilder().add_object_img(code).add_current_process().export_symbol(symbol)
    ours = [name for name in called if name.startswith((PRODUCT, special.PREFIX))]
    if len(called) > len(ours):
        from . import compiler

        compiler.load_symbols()
    for name in called:
        if name.startswith(PRODUCT):
            from . import contract

            place = contract.compiled(name).address
        elif name in ours:
            place = special.address(name)
        else:
            place = binding.address_of_symbol(name)
        library.import_symbol(name, place)
    return library.link(_linker(), f"{symbol}.{next(_numbers)}")


def _native(
    function: Any, signature: Any, stamp: str, make: Callable[[str], tuple[bytes, list[str]]], kept: bool = True
) -> Native:
    symbol = f"noetherflow_{re.sub(r'[^A-Za-z0-9_]+', '_', function.__name__)}"
    name = _name(function, signature, stamp)
    with _lock:
        alive = _alive.get(name) if kept else None
        if alive is not None:
            return alive
        found = module_cache.load(name) if kept else None
        if found is not None:
            try:
                called, _, code = found.partition(b"\n")
                library = _link(symbol, json.loads(called), code)
                taken["from the cache"] += 1
                return _alive.setdefault(name, Native(library[symbol], signature, True, library))
            except Exception:  # sealed by us and yet not readable: another build of the same version
                module_cache.discard(name)
        for tell in _watching:
            tell()
        _watching.clear()
        code, called = make(symbol)
        if kept:
            module_cache.save(name, json.dumps(called).encode() + b"\n" + code)
        library = _link(symbol, called, code)
        taken["compiled"] += 1
        made = Native(library[symbol], signature, False, library)
        return _alive.setdefault(name, made) if kept else made


def native(
    function: Callable[..., Any],
    signature: tuple[Any, ...],
    options: Mapping[str, Any] = INNER,
    stamp: str = "",
    kept: bool = True,
) -> Native:
    """`function` as a C function, compiled or loaded from the cache: `.address` is what another kernel calls, `.ctypes`
    is for Python. signature: of ctypes, the result first. stamp: marks its entry besides; kept: whether it has one."""

    def make(symbol: str) -> tuple[bytes, list[str]]:
        from . import compiler

        result, *arguments = map(compiler.kind, signature)
        return compiler.object_code(function, symbol, result, arguments, options, False)

    return _native(function, signature, stamp, make, kept)


class Kernel:
    """A compiled function for Python: arrays in C order, numbers and NamedTuples of them as the prototypes have; others
    are refused with a TypeError. It releases the GIL."""

    def __init__(
        self, function: Callable[..., Any], prototypes: tuple[Any, ...], stamp: str, options: Mapping[str, Any] = INNER
    ) -> None:
        def make(symbol: str) -> tuple[bytes, list[str]]:
            from . import compiler

            kinds = [compiler.prototype(value) for value in prototypes]
            return compiler.object_code(function, symbol, compiler.kind(None), kinds, options, True)

        self.prototypes, self.words = prototypes, Words(prototypes)
        self._parts = dict[int, tuple[Words, Words]]()
        signature = (None, ctypes.POINTER(ctypes.c_int64))
        self.native = _native(function, signature, f"{stamp} {self.words.struct.format} {self.words.kinds}", make)

    def __call__(self, *arguments: Any) -> None:
        self.native.ctypes(self.words.pack(arguments))

    def bind(self, *first: Any) -> Callable[..., None]:
        """The function of the others: many calls need not pack the same ones again."""
        if len(first) not in self._parts:
            parts = self.prototypes[: len(first)], self.prototypes[len(first) :]
            self._parts[len(first)] = Words(parts[0]), Words(parts[1])
        given, others = self._parts[len(first)]
        return partial(self._after, first, bytes(given.pack(first)), others)

    def _after(self, first: Any, packed: bytes, others: Words, *arguments: Any) -> None:
        """Call with what is packed, which tells of the memory of `first`, and with what is not."""
        self.native.ctypes(self.words.type.from_buffer_copy(packed + bytes(others.pack(arguments))))


def bound(function: Callable[..., None], *first: Any) -> Callable[..., None]:
    """What `kernel` gave, with its first arguments given."""
    return function.bind(*first) if isinstance(function, Kernel) else partial(function, *first)


def kernel(
    function: Callable[..., Any], *prototypes: Any, stamp: str = "", options: Mapping[str, Any] = INNER
) -> Callable[..., None]:
    """`function` for arguments of the prototypes' types, compiled or loaded from the cache. stamp: marks its entry
    besides; options: of the compiler. Plain Python where NUMBA_DISABLE_JIT says so."""
    if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        return function
    return Kernel(function, prototypes, stamp, options)
