"""Text of a step whose states solve an equation: Newton's turns in a loop, each over all lanes, until all are done.

A lane that has found its solution stays as it is, so that no lane's bits depend on the others'.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sympy as sp

from symbolic.dynamics.step_map import StepMap


def step_text(
    write: Callable[..., str],
    step: StepMap,
    lanes: int,
    dtype: str,
    places: Mapping[sp.Symbol, str],
    updates: Sequence[sp.Expr],
) -> str:
    """Text of `step(x, n, h, t, p)`. write(signature, statements, places, target, results): text of a function; places:
    of states, inputs, parameters and clock; updates: the new states."""
    found, head = step.solved, "step(x, n, h, t, p)"
    if found is None:
        return write(head, step.statements, places, "x", updates)
    rows = (*found.unknowns, found.done, *found.known)
    scratch = {**places, **{s: f"y[{{{j}}}]" for j, s in enumerate(rows)}}

    def section(statements: Any, at: Any, target: str, results: Sequence[sp.Expr]) -> tuple[list[str], list[str]]:
        """What comes before the loops over lanes, and these."""
        text = write(head, statements, at, target, results).splitlines()[1:]
        first = next(k for k, line in enumerate(text) if line.startswith("    for "))
        return text[:first], text[first:]

    begin = section(found.before, places, "y", (*found.values, sp.S.Zero, *found.values))
    turn = section(found.statements, scratch, "y", (*found.updates, found.finished))
    end = section(step.statements, scratch, "x", updates)
    lines = [
        f"def {head}:",
        f"    y = np.empty({len(rows)}*LANES, np.{dtype})",
        *begin[0],
        *begin[1],
        *turn[0],
        f"    for turn in range({found.most}):",
        *(f"    {line}" for line in turn[1]),
        "        left = 0.0",
        "        for i in range(LANES):",
        f"            left += 1.0 - y[{len(found.unknowns) * lanes} + i]",
        "        if left == 0.0:",
        "            break",
        *end[0],
        *end[1],
    ]
    return "\n".join(lines) + "\n"
