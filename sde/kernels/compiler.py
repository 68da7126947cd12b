"""Python to object code, by Numba: the only module that loads it, with `members`, `operators` and `pipeline`, and
only where something is not in the cache.

Numba makes a dispatcher, two wrappers and machine code of every function, helpers too. Here a function becomes one
object file with one C function; what it inlines is linked in before machine code is made, once.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from llvmlite import ir
from numba import from_dtype, jit, typeof, types
from numba.core.compiler_lock import global_compiler_lock
from numba.core.dispatcher import _FunctionCompiler  # type: ignore[attr-defined]
from numba.core.registry import cpu_target
from numba.core.typing.templates import infer, infer_global, make_intrinsic_template
from numba.extending import models, overload, register_model
from numba.np import linalg

from .machine_code import PRODUCT
from .members import Members, Words
from .operators import resolved_once
from .options import Intrinsic, marked
from .pipeline import Pipeline, Seldom, codegen
from .special import PREFIX

SCALARS = {
    ctypes.c_float: types.float32,
    ctypes.c_double: types.float64,
    ctypes.c_int32: types.int32,
    ctypes.c_uint32: types.uint32,
    ctypes.c_int64: types.int64,
    ctypes.c_uint64: types.uint64,
}


OWN = ("numba_", "NRT_", "__svml_", "PyExc_", PRODUCT, PREFIX)
"""How the names of functions and data begin that Numba keeps for its code, of our matrix products, and of SciPy's."""


_alive: list[Any] = []
"""What Numba's types know by weak references only."""


def kind(of: Any) -> Any:
    """Numba's type for one of ctypes; None is void."""
    if of is None:
        return types.void
    return SCALARS[of] if of in SCALARS else types.CPointer(kind(of._type_))


def prototype(value: Any) -> Any:
    """Numba's type of a number, an array in C order or a NamedTuple of such, of which only its type counts."""
    if isinstance(value, np.ndarray):
        return types.Array(from_dtype(value.dtype), value.ndim, "C")
    if isinstance(value, tuple):
        parts = [prototype(v) for v in value]
        return Members(parts, type(value)) if hasattr(value, "_fields") else types.Tuple(parts)
    return typeof(value)


class _Function(_FunctionCompiler):
    distinct = False
    """Whether no two of its arguments share memory that it writes to."""

    def _customize_flags(self, flags: Any) -> Any:
        flags.no_compile = flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
        flags.enable_pyobject = False
        flags.noalias = self.distinct
        return flags


class _Inner(types.Dispatcher):
    """A function that is called by others: compiled once for all values of a type, literals too."""

    def get_call_type(self, context: Any, args: Any, kws: Any) -> Any:
        return super().get_call_type(context, tuple(map(types.unliteral, args)), kws)


register_model(_Inner)(models.OpaqueModel)


def register() -> None:
    """Register what has been marked since."""
    for mark in marked:
        if isinstance(mark, Intrinsic):
            template = make_intrinsic_template(
                mark.function, mark.typed, mark.typed.__name__, prefer_literal=False, kwargs={}
            )
            infer(template)
            infer_global(mark.function, types.Function(template))
            continue
        options: Any = dict(mark.options)
        options["pipeline_class"] = Seldom if options.pop("seldom", False) else Pipeline
        if mark.choose is None:  # of one body for all types: an overload would compile it for every literal anew
            _alive.append(jit(**options)(mark.function))
            infer_global(mark.function, _Inner(_alive[-1]))
        else:
            overload(mark.function, jit_options=options, strict=mark.strict)(mark.choose)
    marked.clear()


def _context() -> Any:
    return cpu_target.target_context


def load_symbols() -> None:
    """Make the C functions known that Numba's own code may call."""
    own, linalg.ensure_blas = linalg.ensure_blas, lambda: None  # asks at once for all of SciPy's, and again where used
    try:
        _context().refresh()
    finally:
        linalg.ensure_blas = own


@global_compiler_lock
def object_code(
    function: Callable[..., Any], symbol: str, result: Any, arguments: Any, options: Mapping[str, Any], packed: bool
) -> tuple[bytes, list[str]]:
    """Object code of the C function `symbol`, which takes `arguments` (Numba's types) or, packed, the address of their
    words (`arguments.pack`); and the names of Numba's own functions, and SciPy's, that it calls."""
    register()
    collecting = gc.isenabled()
    gc.disable()  # it would go through all of Numba's types time and again
    context = _context()
    load_symbols()
    own, context._internal_codegen = context._internal_codegen, codegen()
    context.get_preferred_array_alignment = lambda kind: 64  # vectors that begin at a cache line are loaded at once
    codegen().early = "reassoc" in options["fastmath"]
    try:
        with resolved_once():
            of = _Function(function, cpu_target, {k: v for k, v in options.items() if k != "distinct"}, {}, Pipeline)
            of.distinct = options.get("distinct", False)
            made = of.compile(tuple(arguments), result)
        _add_entry(context, made.library, made.fndesc, symbol, packed)
        module = made.library.whole()
    finally:
        context._internal_codegen = own
        del context.get_preferred_array_alignment
        if collecting:
            gc.enable()
    called = [f.name for f in module.functions if f.is_declaration and f.name.startswith(OWN)]
    return codegen()._tm.emit_object(module), called


def _add_entry(context: Any, library: Any, description: Any, symbol: str, packed: bool) -> None:
    """The C function that calls the compiled one. Nothing here raises, so its status is not looked at."""
    module = context.create_module("entry")
    callee = ir.Function(
        module,
        context.call_conv.get_function_type(description.restype, description.argtypes),
        description.llvm_func_name,
    )
    kinds = [context.get_value_type(k) for k in description.argtypes]
    word = ir.IntType(64)
    entry_type = ir.FunctionType(
        context.get_value_type(description.restype) if description.restype != types.void else ir.VoidType(),
        [word.as_pointer()] if packed else kinds,
    )
    entry = ir.Function(module, entry_type, symbol)
    builder = ir.IRBuilder(entry.append_basic_block())
    values = list(entry.args)
    if packed:
        words = Words(context, builder, entry.args[0])
        values = [words.value(k) for k in description.argtypes]
    _, out = context.call_conv.call_function(
        builder, callee, description.restype, description.argtypes, values, attrs=("noinline",)
    )
    builder.ret_void() if description.restype == types.void else builder.ret(out)
    library.add_ir_module(module)
