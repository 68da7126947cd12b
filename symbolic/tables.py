"""Columns of numbers from a CSV file, with every bad cell named, and the two usual preparations of them."""

from __future__ import annotations

import csv
import difflib
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

SHOWN = 5


def nearest(word: str, known: Sequence[str]) -> str:
    """A hint for a misspelt word: the nearest known one, else all of them."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(known)}."


def read_columns(path: Path, columns: Sequence[str], where: str) -> tuple[np.ndarray, list[str]]:
    """The named columns of a comma-separated file with a header line, as floats of shape (rows, columns), and the problems found.

    Row 1 is the first line below the header. With problems the array is empty.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = [line for line in csv.reader(file, strict=True) if line]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return np.empty((0, 0)), [f"{where}: the file must be readable CSV; got {str(path)!r} ({reason}). Give a path relative to the spec file."]
    header = [cell.strip() for cell in lines[0]] if lines else []
    problems = [
        f"{where}: every column must be in the header of {path.name}; got {name!r} (missing). {nearest(name, header or ['(empty file)'])}"
        for name in columns
        if name not in header
    ]
    problems += [
        f"{where}: a column must occur once in the header of {path.name}; got {name!r} (twice). Rename one."
        for name in dict.fromkeys(columns)
        if header.count(name) > 1
    ]
    if not problems and len(lines) < 3:
        problems = [f"{where}: {path.name} must have at least 2 rows of data; got {max(len(lines) - 1, 0)} (rows). Add data."]
    if problems:
        return np.empty((0, 0)), problems
    out = np.empty((len(lines) - 1, len(columns)))
    for row, line in enumerate(lines[1:], start=1):
        if len(line) != len(header):
            problems.append(f"{where}: row {row} of {path.name} must have {len(header)} cells; got {len(line)} (cells). Fix the row.")
            continue
        for k, name in enumerate(columns):
            cell = line[header.index(name)].strip()
            value = _number(cell)
            if value is None:
                kind = "not a number" if cell else "missing"
                problems.append(
                    f"{where}: row {row}, column {name!r} of {path.name} must be a finite number; got {cell!r} ({kind}). Fill or drop the row."
                )
            else:
                out[row - 1, k] = value
    if len(problems) > SHOWN:
        problems[SHOWN:] = [f"{where}: {len(problems) - SHOWN} more cells of {path.name} are bad; got the first {SHOWN} above (cells). Clean the file."]
    return (np.empty((0, 0)), problems) if problems else (out, [])


def _number(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in cell else None


def standardize(table: np.ndarray, columns: Sequence[str], where: str) -> tuple[np.ndarray, list[str]]:
    """Columns shifted and scaled to zero mean and unit variance (divisor N); a constant column is a problem."""
    std = table.std(axis=0)
    flat = [name for name, s, m in zip(columns, std, np.abs(table).max(axis=0), strict=True) if s <= 1e-12 * max(m, 1e-300)]
    if flat:
        return table, [f"{where}: a constant column cannot be scaled to unit variance; got {name!r} (constant). Drop it." for name in flat]
    return (table - table.mean(axis=0)) / std, []


def one_hot(column: np.ndarray, name: str, where: str) -> tuple[np.ndarray, list[str]]:
    """Integer class labels as indicator vectors, shape (rows, classes), classes in increasing order of label."""
    labels = np.unique(column)
    if len(labels) < 2 or not np.equal(np.mod(labels, 1), 0).all():
        return column, [
            f"{where}: classes = true needs at least two whole-number labels in column {name!r}; got {labels[:4].tolist()} ({len(labels)} values). "
            "Number the classes 0, 1, 2, or leave classes out."
        ]
    return (column[:, None] == labels[None, :]).astype(np.float64), []
