"""What the loop needs of one problem: sizes and the addresses of its emitted functions.

Emitted functions are plain Python over flat arrays with the lane axis last (row j of lane i at
x[j * LANES + i]; S state, I input,
Z data, O observable rows), with every stride a literal so that LLVM vectorises them:

    step(x, n, h, t, p)         advance x in place by one step of size h from time t, with input rows n
    pace(x, h, t, p)            shorten each lane's step h to what its state at time t allows
    accumulate(x, z, w, n, p)   n[k] += w * f_k(x, z) for every input row k
    sweep(x, z, w, n, p, rows)  the same for `rows` rows z (rows, Z) of all lanes, for a group of lanes: x and n have
                                `group` entries a row, w (rows, lanes) begins at the group's first lane
    observe(x, t, p, out)       out rows = observables of x at time t

Where there is a pace, each lane has a clock of its own: h and t are rows then, in all of them, else numbers.
They are undecorated in their file: the text is the oracle. `compile_emitted` turns one into a C function with
bare pointers, `math` and `special` in the place of Python's and SciPy's.
"""

from collections.abc import Callable
from ctypes import POINTER, c_int64
from types import FunctionType
from typing import Any, NamedTuple

import numpy as np
from numpy.ctypeslib import as_ctypes_type

from . import contract, math, special
from .machine_code import native
from .options import EMITTED


class Program(NamedTuple):
    """Sizes (rows) and addresses; an address of 0 is a function that is not there. carried: how many of the states, the
    last, are numbers of a path's past, which do not decide whether it lives."""

    lanes: int
    states: int
    inputs: int
    data: int
    observables: int
    step: int
    accumulate: int
    observe: int
    pace: int = 0
    sweep: int = 0
    group: int = 1
    carried: int = 0


def signature(role: str, dtype: Any, own_clock: bool = False) -> tuple[Any, ...]:
    """Signature, of ctypes, of emitted function `role` ("step", "accumulate", "observe", "pace" or "sweep"); own_clock:
    of each lane."""
    scalar = as_ctypes_type(np.dtype(dtype))
    rows = POINTER(scalar)
    time = rows if own_clock else scalar
    roles = {
        "step": (rows, rows, time, time, rows),
        "accumulate": (rows, rows, rows, rows, rows),
        "observe": (rows, time, rows, rows),
        "pace": (rows, rows, rows, rows),
        "sweep": (rows, rows, rows, rows, rows, c_int64),
        "watch": (rows, time, rows, rows),
        "reach": (rows, rows, rows, rows, rows, rows, rows),
        "arrive": (rows, rows, rows, rows, rows, rows),
        "change": (rows, rows, rows, rows, rows),
    }
    return None, *roles[role]


def vectorising(function: Any) -> Any:
    """The emitted function with our `math`, `special` and matrix products: the same code in the same file, for the
    compiler only."""
    ours = {"math": math, "special": special}
    ours |= {"contract": contract.contract, "contract_shared": contract.contract_shared}
    copy = FunctionType(function.__code__, {**function.__globals__, **ours}, function.__name__)
    copy.__qualname__, copy.__module__ = function.__qualname__, function.__module__
    return copy


def compile_emitted(
    function: Callable[..., None], role: str, dtype: Any, own_clock: bool = False, kept: bool = True
) -> Any:
    """Compile an emitted function, or load it from the cache, where it is `kept`; `.address` goes into `Program`.

    Its name and its module's must contain a hash of the text. Keep the result alive as long as the address is used.
    """
    scratch = {"empty", "zeros"} & set(function.__code__.co_names)
    options = {**EMITTED, "_nrt": bool(scratch), "distinct": True}  # Numba's allocator is only for scratch of its own
    return native(vectorising(function), signature(role, dtype, own_clock), options, f"{dtype} {own_clock}", kept)
