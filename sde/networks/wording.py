"""Charges in the model's own words: tensors, axes and slices, such as ``fc1.weight[3,:]^2 - fc2.weight[:,3]^2``."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sde.networks.charge import Shift, Term

MOST = 8
"""Parts of a name that are written out."""


def charge_name(terms: Sequence[Term], shift: Sequence[Shift], shapes: dict[str, tuple[int, ...]]) -> str:
    """C as text: squares of slices, products <a, b> of two of them, sums of what is translated."""
    parts: list[tuple[float, str]] = []
    for t in terms:
        left, right = shapes[t.left], shapes[t.right]
        if t.left == t.right and t.rows == t.columns:
            for weight, index in _ranges(t.rows, t.weights):
                parts.append((weight, f"{t.left}{_where(index, t.left_axes, left)}^2"))
        else:
            for i, j, w in zip(t.rows, t.columns, t.weights, strict=True):
                a, b = _where(range(i, i + 1), t.left_axes, left), _where(range(j, j + 1), t.right_axes, right)
                parts.append((2 * w, f"<{t.left}{a}, {t.right}{b}>"))
    for s in shift:
        for weight, index in _ranges(s.index, s.weights):
            if weight == 0:
                continue
            where = _where(index, s.axes, shapes[s.parameter])
            entry = math.prod(shapes[s.parameter]) == 1 or (len(s.axes) == len(shapes[s.parameter]) and len(index) == 1)
            parts.append((2 * weight, f"{s.parameter}{where}" if entry else f"sum {s.parameter}{where}"))
    text = ""
    for k, (weight, word) in enumerate(parts[:MOST]):
        sign = ("-" if weight < 0 else "") if k == 0 else (" - " if weight < 0 else " + ")
        size = abs(weight)
        text += f"{sign}{'' if size == 1 else f'{size:.6g} '}{word}"
    return text + (f" and {len(parts) - MOST} more" if len(parts) > MOST else "")


def _ranges(index: Sequence[int], weights: Sequence[float]) -> list[tuple[float, range]]:
    """Slices of one weight in equal steps, as ranges."""
    found: list[tuple[float, range]] = []
    for i, w in sorted(zip(index, weights, strict=True), key=lambda e: (e[1], e[0])):
        if found and found[-1][0] == w:
            last = found[-1][1]
            if len(last) == 1 or i == last[-1] + last.step:
                found[-1] = (w, range(last[0], i + 1, i - last[-1]))
                continue
        found.append((w, range(i, i + 1)))
    return sorted(found, key=lambda e: e[1][0])


def _where(index: range, axes: tuple[int, ...], shape: tuple[int, ...]) -> str:
    """The slices' place: one number, a range or ':' for each axis; nothing for a whole tensor."""
    if not axes or len(index) == math.prod(shape[a] for a in axes):
        return ""
    kept = [shape[a] for a in axes]
    first, last = _digits(index[0], kept), _digits(index[-1], kept)
    if len(axes) > 1 and len(index) > 1 and first[:-1] != last[:-1]:
        return f"[slices {index[0]}:{index[-1] + 1}{f':{index.step}' if index.step > 1 else ''}]"
    words = [":"] * len(shape)
    for a, i in zip(axes, first, strict=True):
        words[a] = str(i)
    if len(index) > 1:
        words[max(axes)] = f"{first[-1]}:{last[-1] + 1}" + (f":{index.step}" if index.step > 1 else "")
    return f"[{','.join(words)}]"


def _digits(number: int, sizes: Sequence[int]) -> list[int]:
    found = []
    for size in reversed(sizes):
        number, digit = divmod(number, size)
        found.append(digit)
    return found[::-1]
