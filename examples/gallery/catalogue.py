"""The problems of the gallery in their order, their verdicts, and the record of these that pages are made from."""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import Any

from sde.results.judgement import Judgement, judged
from sde.results.result import Finding

NAMES = (
    "ornstein_uhlenbeck",
    "geometric_brownian_motion",
    "heston",
    "cox_ingersoll_ross",
    "lotka_volterra",
    "double_well",
    "kuramoto",
    "fitzhugh_nagumo",
    "chemical_langevin",
    "wright_fisher",
    "underdamped_langevin",
    "kalman_filter",
)
RECORD = Path(__file__).with_name("verdicts.json")


@dataclass(frozen=True)
class Problem:
    """One equation. title, text: what it is, and how what is known of it was found; code: its module, without that."""

    name: str
    title: str
    text: str
    code: str
    equation: Any
    finding: Callable[[], Finding]


def problem(name: str) -> Problem:
    """A problem by name."""
    module = import_module(f"examples.gallery.problems.{name}")
    source, text = inspect.getsource(module), inspect.getdoc(module) or ""
    begins = ast.parse(source).body[1].lineno - 1
    title, _, rest = text.partition("\n\n")
    code = "".join(source.splitlines(keepends=True)[begins:])
    return Problem(name, title.rstrip("."), rest, code, module.EQUATION, module.finding)


def measured(name: str) -> Judgement:
    """A problem's verdicts, anew."""
    began = perf_counter()
    rows, wrong = judged(problem(name).finding(), "")
    return Judgement(
        name=name, rows=rows, wrong=wrong, notes=(), figures=(), theories=(), seconds=perf_counter() - began
    )


def recorded() -> dict[str, Judgement]:
    """The verdicts of all problems as `python -m examples.gallery --write` left them."""
    return {one["name"]: Judgement.of_dict(one) for one in json.loads(RECORD.read_text(encoding="utf-8"))}


def write(found: list[Judgement]) -> None:
    """Keep them as the record."""
    RECORD.write_text(json.dumps([one.to_dict() for one in found], indent=1) + "\n", encoding="utf-8")
