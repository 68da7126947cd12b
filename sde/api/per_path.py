"""Parameters of an SDE that each path has for itself: numbers for each, or draws of a distribution.

They are rows of a block that steps read and do not write, which begin as states do: seed, path and parameter decide
them, and the equation, its noise class and its schemes are those of numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp

from sde.engine.initial_states import InitialStates, of_part
from sde.engine.plan import Start
from symbolic.dynamics.equation import SDE
from symbolic.errors import InputError
from symbolic.problem import assumptions
from symbolic.problem.loss import Loss

LOOKED = 4096
"""Paths whose draws are held against what the parameter's symbol is assumed to be."""


def is_own(value: Any) -> bool:
    """Whether a parameter's value is one for each path: {"path": numbers}, or a distribution."""
    return isinstance(value, Mapping) or hasattr(value, "bind")


@dataclass(frozen=True)
class Own:
    """blocks: {symbol: first, n -> (n, 1)}, in the order of the SDE's parameters."""

    blocks: Mapping[sp.Symbol, Start]

    @property
    def names(self) -> list[str]:
        """Of the parameters."""
        return [s.name for s in self.blocks]

    def values(self, name: str, paths: np.ndarray) -> np.ndarray:
        """Of one of them, of these paths, (n,)."""
        block = next(b for s, b in self.blocks.items() if s.name == name)
        return block(0, int(paths.max(initial=-1)) + 1)[paths, 0]

    def beside(self, start: InitialStates, states: list[str]) -> InitialStates:
        """Where paths begin, with these as rows of the block of `states`."""
        rows = tuple((states.index(s.name), 1, block) for s, block in self.blocks.items())
        return InitialStates(start.width, (*start.blocks, *rows))


NONE = Own({})


def read(problem: Loss | SDE, given: Mapping[Any, Any] | None, paths: int, seed: int) -> Own:
    """Those of `given`. Raises InputError."""
    blocks = dict[sp.Symbol, Start]()
    named = {getattr(key, "name", key): value for key, value in (given or {}).items()}
    if not isinstance(problem, SDE):
        return NONE
    for j, symbol in enumerate(problem.parameters):
        value, here = named.get(symbol.name), f"parameters[{symbol.name}]"
        if not is_own(value):
            continue
        if problem.arrays:
            rule = "must be numbers in an equation of arrays"
            raise InputError.of(here, rule, value, "Make it a state without drift and noise, drawn by start=.")
        if isinstance(value, Mapping):
            if set(value) != {"path"} or np.shape(value["path"]) != (paths,):
                rule = f"must be {{'path': numbers}}, one for each of the {paths} paths"
                raise InputError.of(here, rule, {k: np.shape(v) for k, v in value.items()}, "Give an array (paths,).")
            value = value["path"]
        block = of_part((symbol,), (), value, paths, seed, len(problem.states) + j, here)
        seen = block(0, min(paths, LOOKED))
        if not assumptions.holds(symbol, seen.min(), seen.max(), seen.ravel()):
            rule = f"must be what its symbol is assumed to be, {assumptions.known(symbol)}"
            advice = f"Write sympy.Symbol({symbol.name!r}, real=True), and every expression with it."
            raise InputError.of(here, rule, f"{seen.min():g} to {seen.max():g}", advice)
        blocks[symbol] = block
    return Own(blocks)
