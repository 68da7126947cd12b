"""Normals of MKL's Philox4x32-10 by its inverse distribution function: as `mkl_random` gives them (float64 only), and
from the same library called directly, which has float32 too.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

Draw = Callable[[int], Any]
"""draw(times): that many blocks of `BLOCK` normals."""

BLOCK = 16_384
"""Of the sizes tried the fastest: a block stays in the cache."""
PHILOX4X32X10, ICDF = 16 << 20, 2
"""VSL_BRNG_PHILOX4X32X10 and VSL_RNG_METHOD_GAUSSIAN_ICDF of mkl_vsl_defines.h."""


def through_mkl_random(dtype: str, seed: int) -> Draw:
    """float64 whatever the dtype says."""
    module: Any = import_module("mkl_random")
    state = module.MKLRandomState(seed, brng="PHILOX4X32X10")

    def draw(times: int) -> None:
        for _ in range(times):
            state.standard_normal(BLOCK, method="ICDF")

    return draw


def through_mkl(dtype: str, seed: int) -> Draw:
    """float32 or float64, into one buffer again and again. Raises ImportError where the library is not found."""
    library, real = _library(), ctypes.c_float if dtype == "float32" else ctypes.c_double
    fill = getattr(library, "vsRngGaussian" if dtype == "float32" else "vdRngGaussian")
    stream, out = ctypes.c_void_p(), np.empty(BLOCK, dtype)
    if library.vslNewStream(ctypes.byref(stream), PHILOX4X32X10, ctypes.c_uint(seed)):
        raise ImportError("MKL makes no Philox stream", name="mkl")
    where, mean, deviation = out.ctypes.data_as(ctypes.POINTER(real)), real(0.0), real(1.0)
    check = fill(ICDF, stream, BLOCK, where, mean, deviation)
    if check or not 0.9 < out.std() < 1.1:
        raise ImportError("MKL's normals are not normals", name="mkl")

    def draw(times: int) -> None:
        for _ in range(times):
            fill(ICDF, stream, BLOCK, where, mean, deviation)

    return draw


def processor_code() -> str:
    """Which of its variants of machine code MKL has loaded, once it has run; "def" is the generic one, as on AMD."""
    try:
        lines = Path("/proc/self/maps").read_text(encoding="utf-8").split()
    except OSError:
        return "unknown"
    names = {Path(line).name.split(".")[0] for line in lines if "libmkl_vml_" in line}
    return ", ".join(sorted(names)) or "unknown"


def _library() -> Any:
    """libmkl_rt, where pip puts it or where the system finds it."""
    found = sorted((Path(sys.prefix) / "lib").glob("libmkl_rt.so*")) or [Path("libmkl_rt.so.2")]
    try:
        return ctypes.CDLL(str(found[-1]))
    except OSError as error:
        raise ImportError(str(error), name="mkl") from error
