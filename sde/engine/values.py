"""What counts as a number where a user gives one: nothing is turned into one that is not."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np

from symbolic.errors import InputError

PLAIN = "iuf"
"""NumPy's kinds of numbers that are real: no truth values, complex numbers, text or times."""


def real(value: Any) -> float | None:
    """A finite real number as a float, None for anything else: truth values, text, complex numbers, arrays, NaN."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    if isinstance(value, (bool, np.bool_)) or not (isinstance(value, Real) or getattr(value, "is_Float", False)):
        return None
    try:
        number = float(value)
    except (OverflowError, TypeError, ValueError):
        return None
    return number if np.isfinite(number) else None


def whole(value: Any) -> int | None:
    """A whole number as an int (2.0 is one), None for anything else."""
    number = real(value)
    return int(value) if number is not None and int(value) == value else None


def reals(value: Any) -> np.ndarray:
    """Real numbers, nested as they may be, as a float64 array. Raises ValueError, with the reason, for anything else;
    NaN passes."""
    if isinstance(value, (np.ma.MaskedArray,)) and np.ma.is_masked(value):
        raise InputError("some entries are masked")
    try:
        array = np.asarray(value)
    except ValueError as error:
        deep = "dimension" in str(error) and "inhomogeneous" not in str(error)
        raise InputError("it has too many dimensions" if deep else "rows have unequal lengths") from None
    if array.dtype.kind == "O":
        for entry in array.ravel():
            exact = getattr(entry, "is_number", False) and getattr(entry, "is_extended_real", False)
            if isinstance(entry, (bool, np.bool_)) or not (isinstance(entry, Real) or exact):
                raise InputError(f"{entry!r} ({type(entry).__name__}) is not a real number")
        return np.array([float(e) for e in array.ravel()], dtype=np.float64).reshape(array.shape)
    if array.dtype.kind not in PLAIN and array.size:
        words = {"b": "truth values are", "c": "complex numbers are", "U": "text is", "S": "text is"}
        raise InputError(f"{words.get(array.dtype.kind, f'{array.dtype} is')} not real numbers")
    return array.astype(np.float64)


def check_ensemble(paths: Any, seed: Any) -> None:
    """Raise ValueError unless they are a number of paths and a seed."""
    if not 1 <= (whole(paths) or 0) < 2**48:
        raise InputError(
            f"paths: must be a whole number of at least 1; got {paths!r} ({type(paths).__name__}). Give a count."
        )
    if not 0 <= (-1 if (number := whole(seed)) is None else number) < 2**64:
        raise InputError(
            f"seed: must be a whole number in [0, 2**64); got {seed!r} ({type(seed).__name__}). Give e.g. 0; the same"
            " seed gives the same run."
        )
