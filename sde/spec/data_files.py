"""Data sets from CSV files: chosen columns, every bad cell named, and the two usual preparations."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import sympy as sp

from sde.spec.error_list import ErrorList
from symbolic.errors import InputError, nearest
from symbolic.language.names import printable
from symbolic.problem.distributions import Dataset
from symbolic.problem.parameter import entries

FILE_KEYS = {
    "file": "Comma-separated, with a header; relative to the spec. Its rows are drawn with equal chance.",
    "inputs": "Columns that make the data vector x, of shape [number of inputs], also for one input.",
    "targets": "Columns that make y: a number for one target (it broadcasts against shape [1]), else a vector.",
    "standardize": 'true: inputs and targets to mean 0 and variance 1 (divisor N); "inputs" leaves targets alone.',
    "classes": "true: the one target holds whole-number labels, and y is its one-hot vector, never standardized.",
}
"""Keys of [data] for a file, and what each is."""
SHOWN = 5
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
"""Marks that stand between cells where commas should, and their names; blanks too, where they part the wanted names."""
_MARKS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}


def not_utf8(where: str, path: Path, raw: bytes, error: UnicodeDecodeError | None = None) -> str:
    """The sentence for a file of text in another encoding."""
    known = _MARKS.get(raw[:2]) or ("UTF-16, without its mark" if error is None or b"\0" in raw else None)
    at = "" if error is None else f"byte {raw[error.start]:#04x} in line {raw.count(10, 0, error.start) + 1}"
    found = known or at
    return (
        f"{where}: the file must be UTF-8 text; got {printable(repr(str(path)), 300)} ({found}). Save it as UTF-8, e.g."
        " by iconv -t UTF-8."
    )


def read_dataset(
    keys: Mapping[str, Any], folder: Path, errors: ErrorList
) -> tuple[dict[str, np.ndarray | None], Dataset | None]:
    """The symbols x (and y, with targets) and the data set that [data]'s file keys describe (see
    `sde.spec.problem_file`).

    A file name is relative to `folder`. With problems, added to `problems`, the symbols are None and there is no data
    set.
    """
    before = len(errors.found)
    inputs, targets = _names(keys, "inputs", errors), _names(keys, "targets", errors)
    file, scale, classes = keys.get("file"), keys.get("standardize", False), keys.get("classes", False)
    if not isinstance(file, str) or not file:
        errors.add("data.file", "must name a CSV file", file, 'Write file = "train.csv".')
    if not (isinstance(scale, bool) or scale == "inputs"):
        errors.add("data.standardize", 'must be true, false or "inputs"', scale, "Write standardize = true.")
    if not isinstance(classes, bool) or (classes and len(targets) != 1):
        errors.add(
            "data.classes",
            "must be true or false, and true needs exactly one target column",
            classes,
            "Give one target of labels.",
        )
    both = sorted(set(inputs) & set(targets))
    if both:
        errors.add("data.targets", "a column may not be both input and target", both[0], "Remove it from one list.")
    blank: dict[str, np.ndarray | None] = dict.fromkeys(("x", "y") if keys.get("targets") else ("x",))
    if len(errors.found) > before:
        return blank, None
    table, found = _read_columns(folder / str(file), [*inputs, *targets], "data.file")
    if found:
        errors.found += found
        return blank, None
    values = {"x": table[:, : len(inputs)], "y": table[:, len(inputs) :]}
    if scale:
        values["x"], found = _standardize(values["x"], inputs, "data.standardize")
    more: list[str] = []
    if classes:
        values["y"], more = _one_hot(values["y"][:, 0], targets[0], "data.classes")
    elif scale is True:
        values["y"], more = _standardize(values["y"], targets, "data.standardize")
    if found or more:
        errors.found += [*found, *more]
        return blank, None
    if len(targets) == 1 and not classes:
        values["y"] = values["y"][:, 0]
    arrays = {name: entries(name, values[name].shape[1:]) for name in blank}
    columns = {sp.ImmutableDenseNDimArray(a) if a.shape else a.item(): values[name] for name, a in arrays.items()}
    return dict(arrays), Dataset(columns)


def _names(keys: Mapping[str, Any], key: str, errors: ErrorList) -> list[str]:
    value = keys.get(key, [])
    if (
        isinstance(value, list)
        and all(isinstance(c, str) for c in value)
        and len(set(value)) == len(value)
        and (value or key == "targets")
    ):
        return value
    errors.add(f"data.{key}", "must be a list of different column names", keys.get(key), 'Write ["x1", "x2"].')
    return []


def _read_columns(path: Path, columns: Sequence[str], where: str) -> tuple[np.ndarray, list[str]]:
    """The named columns of a comma-separated file with a header line, as floats of shape (rows, columns), and the
    problems found.

    Row 1 is the first line below the header. With problems the array is empty.
    """
    try:
        if path.exists() and not path.is_file():
            raise InputError("no file")
        raw = path.read_bytes()
        text = raw.decode("utf-8-sig")
        lines = [line for line in csv.reader(io.StringIO(text, newline=""), strict=True) if line]
    except UnicodeDecodeError as error:
        return np.empty((0, 0)), [not_utf8(where, path, raw, error)]
    except (OSError, ValueError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return np.empty((0, 0)), [
            f"{where}: the file must be readable CSV; got {printable(repr(_whole(path)), 300)} ({reason}). Give a path"
            " relative to the spec file."
        ]
    if "\0" in text:
        return np.empty((0, 0)), [not_utf8(where, path, raw)]
    called = printable(path.name, 100)
    header = [cell.strip() for cell in lines[0]] if lines else []
    if not lines:
        return np.empty((0, 0)), [f"{where}: {called} must have a header and rows; got an empty file. Name another."]
    other = next((s for s in SEPARATORS if len(header) == 1 and s in header[0]), None)
    if len(header) == 1 and not other and len(columns) > 1 and set(columns) <= set(header[0].split()):
        other = " "
    if other:
        return np.empty((0, 0)), [
            f"{where}: cells must be separated by commas; got {SEPARATORS.get(other, 'blanks')} in the header of"
            f" {called}, {printable(repr(lines[0][0]), 100)} (str). Save it with commas, and points in decimals."
        ]
    errors = [
        f"{where}: every column must be in the header of {called}; got {printable(repr(name), 100)} (missing)."
        f" {nearest(name, header)}"
        for name in columns
        if name not in header
    ]
    errors += [
        f"{where}: a column must occur once in the header of {called}; got {printable(repr(name), 100)} (twice). Rename"
        " one."
        for name in dict.fromkeys(columns)
        if header.count(name) > 1
    ]
    if not errors and len(lines) < 3:
        errors = [
            f"{where}: {called} must have at least 2 rows of data; got {max(len(lines) - 1, 0)} (rows). Add data."
        ]
    if errors:
        return np.empty((0, 0)), errors
    out = np.empty((len(lines) - 1, len(columns)))
    for row, line in enumerate(lines[1:], start=1):
        if len(line) != len(header):
            errors.append(
                f"{where}: row {row} of {called} must have {len(header)} cells; got {len(line)} (cells). Fix the row."
            )
            continue
        for k, name in enumerate(columns):
            cell = line[header.index(name)].strip()
            value = _number(cell)
            if value is None:
                kind = "not a number" if cell else "missing"
                errors.append(
                    f"{where}: row {row}, column {printable(repr(name), 100)} of {called} must be a finite number; got"
                    f" {printable(repr(cell), 100)} ({kind}). Fill or drop the row."
                )
            else:
                out[row - 1, k] = value
    if len(errors) > SHOWN:
        errors[SHOWN:] = [
            f"{where}: {len(errors) - SHOWN} more cells of {called} are bad; got the first {SHOWN} above (cells). Clean"
            " the file."
        ]
    return (np.empty((0, 0)), errors) if errors else (out, [])


def _whole(path: Path) -> str:
    """The whole path, as far as it can be said."""
    try:
        return str(path.absolute())
    except OSError:
        return str(path)


def _number(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in cell else None


def _standardize(table: np.ndarray, columns: Sequence[str], where: str) -> tuple[np.ndarray, list[str]]:
    """Columns shifted and scaled to zero mean and unit variance (divisor N); a constant column is a problem."""
    std = table.std(axis=0)
    flat = [
        name for name, s, m in zip(columns, std, np.abs(table).max(axis=0), strict=True) if s <= 1e-12 * max(m, 1e-300)
    ]
    if flat:
        return table, [
            f"{where}: a constant column cannot be scaled to unit variance; got {printable(repr(name), 100)}"
            " (constant). Drop it."
            for name in flat
        ]
    return (table - table.mean(axis=0)) / std, []


def _one_hot(column: np.ndarray, name: str, where: str) -> tuple[np.ndarray, list[str]]:
    """Integer class labels as indicator vectors, shape (rows, classes), classes in increasing order of label."""
    labels = np.unique(column)
    if len(labels) < 2 or not np.equal(np.mod(labels, 1), 0).all():
        got = f"got {labels[:4].tolist()} ({len(labels)} values)"
        rule = f"{where}: classes = true needs at least two whole-number labels in column {printable(repr(name), 100)}"
        return column, [f"{rule}; {got}. Number the classes 0, 1, 2, or leave classes out."]
    return (column[:, None] == labels[None, :]).astype(np.float64), []
