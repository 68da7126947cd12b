"""Text of a step; where its states solve an equation, Newton's turns in a loop, each over all lanes, until all are
done.

A lane that has found its solution stays as it is, so that no lane's bits depend on the others'.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sympy as sp

from symbolic.codegen import modal_text
from symbolic.codegen.lookup_text import Numbers
from symbolic.dynamics.step_map import StepMap, h


def step_text(
    write: Callable[..., str],
    step: StepMap,
    lanes: int,
    dtype: str,
    places: Mapping[sp.Symbol, str],
    updates: Sequence[sp.Expr],
    numbers: Numbers,
) -> str:
    """Text of `step(x, n, h, t, p)`. write(signature, statements, places, target, results): text of a function; places:
    of states, inputs, parameters and clock; updates: the new states; numbers: where in p those of matrices are."""
    found, modal, head = step.solved, step.modal, "step(x, n, h, t, p)"
    if found is None and modal is None:
        return write(head, step.statements, places, "x", updates)

    def section(statements: Any, at: Any, target: str, results: Sequence[sp.Expr]) -> tuple[list[str], list[str]]:
        """What comes before the loops over lanes, and these."""
        text = write(head, statements, at, target, results).splitlines()[1:]
        first = next(k for k, line in enumerate(text) if line.startswith("    for "))
        return text[:first], text[first:]

    def at(rows: Sequence[sp.Symbol]) -> dict[sp.Symbol, str]:
        return {**places, **{s: f"y[{{{j}}}]" for j, s in enumerate(rows)}}

    if modal is not None:
        begin = section(modal.before, places, "u", [e for vector in modal.vectors for e in vector])
        end = section(step.statements, at(modal.results), "x", updates)
        lines = [
            *begin[0],
            *modal_text.lines(modal, step.inputs, dtype, numbers, begin[1], places[h] != "h"),
            *end[0],
            *end[1],
        ]
        return "\n".join([f"def {head}:", *lines]) + "\n"
    assert found is not None
    rows = (*found.unknowns, found.done, *found.known)
    scratch = at(rows)
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
