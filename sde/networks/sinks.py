"""Where a monitor's rows go while it runs: whoever can be told numbers."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sde.storage.files import check_ending, check_writable
from symbolic.errors import InputError

Tell = Callable[[Mapping[str, float], int], object]


class Tellers:
    """Those who are told; who fails is told no more."""

    def __init__(self, tellers: Sequence[Tell]) -> None:
        self._tellers = list(tellers)

    def __bool__(self) -> bool:
        return bool(self._tellers)

    def tell(self, numbers: Mapping[str, float], step: int) -> list[str]:
        """What went wrong."""
        wrong: list[str] = []
        for tell in list(self._tellers):
            try:
                tell(numbers, step)
            except Exception as error:  # of the user's own code, within the user's step
                wrong.append(f"a sink failed at step {step} and is told no more: {type(error).__name__}: {error}")
                self._tellers.remove(tell)
        return wrong


def teller(sink: Any) -> Tell:
    """How a sink is told {name: number} of a step. Raises InputError for one that cannot be.

    sink: with `log(numbers, step=)`, as runs of W&B and trackio have; with `add_scalar(name, number, step)`, as
    TensorBoard's writers have; a path to a CSV file, or one of JSON lines (.jsonl), which is begun anew; or a function
    (numbers, step).
    """
    if callable(log := getattr(sink, "log", None)):
        return lambda numbers, step: log(dict(numbers), step=step)
    if callable(add := getattr(sink, "add_scalar", None)):
        return lambda numbers, step: [add(name, number, step) for name, number in numbers.items()]
    if isinstance(sink, (str, Path)):
        path = Path(sink)
        check_ending(path, "watch.sinks", "CSV or JSON lines", (".csv", ".jsonl", ".ndjson"))
        check_writable(path, "watch.sinks")
        return _lines(path) if path.suffix in (".jsonl", ".ndjson") else _table(path)
    if callable(sink):
        return lambda numbers, step: sink(dict(numbers), step)
    advice = "Give a run of W&B or trackio, a TensorBoard writer, the name of a file (.csv, .jsonl), or a function."
    raise InputError.of("watch.sinks", "must be something that can be told numbers", sink, advice)


def _lines(path: Path) -> Tell:
    """An object a row, as JSON has it: what is not finite is null."""
    begun = False

    def tell(numbers: Mapping[str, float], step: int) -> None:
        nonlocal begun
        row = {"step": step, **{name: number if math.isfinite(number) else None for name, number in numbers.items()}}
        with path.open("a" if begun else "w", encoding="utf-8") as file:
            file.write(json.dumps(row, allow_nan=False) + "\n")
        begun = True

    return tell


def _table(path: Path) -> Tell:
    """Rows of a CSV file, under the names of the first."""
    names: list[str] = []

    def tell(numbers: Mapping[str, float], step: int) -> None:
        first = not names
        if first:
            names.extend(numbers)
        with path.open("w" if first else "a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            if first:
                writer.writerow(["step", *names])
            writer.writerow([step, *(numbers.get(n, "") for n in names)])

    return tell
