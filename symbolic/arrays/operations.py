"""What is done entry by entry: the functions of `symbolic.functions.registry`, arithmetic, relations and choices."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from symbolic.functions.reached import TEXT, reached
from symbolic.functions.registry import ROWS, Elementary


@dataclass(frozen=True)
class Operation:
    """text: plain Python of names {0}, {1}, ...; value: NumPy's; condition: whether it gives truth values; row: the
    registry's, if it is one of its functions; cost: in additions."""

    text: str
    value: Callable[..., Any]
    condition: bool = False
    row: Elementary | None = None
    cost: int = 1


OPERATIONS: Mapping[str, Operation] = {
    "add": Operation("{0} + {1}", np.add),
    "subtract": Operation("{0} - {1}", np.subtract),
    "multiply": Operation("{0}*{1}", np.multiply),
    "divide": Operation("{0}/{1}", np.divide, cost=4),
    "negative": Operation("-{0}", np.negative),
    "power": Operation("{0}**{1}", np.power, cost=20),
    "sqrt": Operation("math.sqrt({0})", np.sqrt, cost=4),
    "less": Operation("{0} < {1}", np.less, True),
    "less_equal": Operation("{0} <= {1}", np.less_equal, True),
    "greater": Operation("{0} > {1}", np.greater, True),
    "greater_equal": Operation("{0} >= {1}", np.greater_equal, True),
    "logical_and": Operation("{0} & {1}", np.logical_and, True),
    "logical_or": Operation("{0} | {1}", np.logical_or, True),
    "logical_not": Operation("not {0}", np.logical_not, True),
    "where": Operation("{1} if {0} else {2}", np.where),
    "Reached": Operation(TEXT, reached),
    "lookup": Operation("", np.interp, cost=40),
    **{row.name: Operation(row.text, row.value, row=row, cost=10) for row in ROWS},
}
