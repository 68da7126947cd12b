"""Numbers as a reader wants them: as many digits as the error warrants, and words for what is not finite."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

MINUS = "−"
NO_ERROR = "no sampling error"
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_PLAIN_EXPONENTS = range(-3, 6)


def number(value: float | None, digits: int = 4) -> str:
    """One number at `digits` significant digits, no trailing zeros; None and NaN are "n/a", infinity "∞"."""
    if value is None or not math.isfinite(value):
        return _special(value)
    if value == 0:
        return "0"
    mantissa, exponent = _parts(value, digits)
    if exponent in _PLAIN_EXPONENTS:
        return _signed(_trimmed(f"{value:.{max(digits - 1 - exponent, 0)}f}"))
    power = f"10{str(exponent).translate(_RAISED)}"
    return power if mantissa == 1 else f"{_signed(_trimmed(f'{mantissa:.{digits - 1}f}'))}×{power}"


def measured(statistic: float, interval: Sequence[float]) -> tuple[str, str]:
    """(statistic, "[low, high]") as text, the statistic to two digits of the half-width, 3 to 6 in all."""
    half = (interval[1] - interval[0]) / 2
    digits = 4
    if math.isfinite(half) and half > 0 and math.isfinite(statistic) and statistic != 0:
        digits = min(6, max(3, math.floor(math.log10(abs(statistic))) - math.floor(math.log10(half)) + 2))
    return number(statistic, digits), span(interval)


def span(interval: Sequence[float]) -> str:
    """A measured interval, both ends to the same decimals, a power of ten taken out where it helps."""
    low, high = interval
    if low == high and math.isfinite(low):
        return NO_ERROR
    finite = [abs(v) for v in (low, high) if math.isfinite(v)]
    top = max(finite, default=0.0)
    if top == 0:
        return f"[{number(low)}, {number(high)}]"
    exponent = math.floor(math.log10(top))
    width = high - low if math.isfinite(high - low) and high > low else top
    decimals = min(6, max(2, 2 - math.floor(math.log10(width / top)) - 1))
    if exponent in _PLAIN_EXPONENTS:
        return f"[{_end(low, 0, decimals - exponent)}, {_end(high, 0, decimals - exponent)}]"
    ends = f"[{_end(low, exponent, decimals)}, {_end(high, exponent, decimals)}]"
    return f"{ends}×10{str(exponent).translate(_RAISED)}"


def bounds(margin: Sequence[float]) -> str:
    """A given interval, such as a margin, as text: each end as short as it is."""
    return f"[{number(margin[0])}, {number(margin[1])}]"


def words(value: Any) -> str:
    """Any setting as one line: mappings as "key value", items joined by commas, or semicolons if need be."""
    if value is None:
        return "none"
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    if isinstance(value, (float, np.floating)):
        return number(float(value))
    if isinstance(value, np.ndarray):
        return words(value.tolist())
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {words(v)}" for k, v in value.items())
    if isinstance(value, (list, tuple, set, frozenset)):
        nested = [f"({words(v)})" if isinstance(v, (list, tuple, Mapping)) else words(v) for v in value]
        comma = "; " if any("," in text and not text.startswith("(") for text in nested) else ", "
        return comma.join(sorted(nested) if isinstance(value, (set, frozenset)) else nested)
    return str(value)


def counted(part: int, whole: int) -> str:
    """As in "3 of 2000"."""
    return f"{part} of {whole}"


def _special(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "n/a"
    return "∞" if value > 0 else f"{MINUS}∞"


def _parts(value: float, digits: int) -> tuple[float, int]:
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    return float(mantissa), int(exponent)


def _trimmed(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


def _signed(text: str) -> str:
    return text.replace("-", MINUS)


def _end(value: float, exponent: int, decimals: int) -> str:
    if not math.isfinite(value) or value == 0:
        return number(value)
    text = f"{value / 10.0**exponent:.{max(decimals, 0)}f}"
    return text.lstrip("-") if float(text) == 0 else _signed(text)
