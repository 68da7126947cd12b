"""Where paths begin: one point for all, a point for each, or draws of a distribution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from sde.engine.plan import Start
from sde.kernels.minibatch import UNIFORM_BLOCKS
from sde.kernels.random import draws
from symbolic.errors import InputError, as_reals, shown

SAMPLED = 4096
"""Starts that are looked at before a run."""


@dataclass(frozen=True)
class OnePoint:
    """All paths begin alike: states (1, S)."""

    states: np.ndarray

    def __call__(self, first: int, n: int) -> np.ndarray:
        return np.broadcast_to(self.states, (n, self.states.shape[1]))


@dataclass(frozen=True)
class Listed:
    """A row of states (paths, S) for each path, from path `begin` on."""

    states: np.ndarray
    begin: int = 0

    def __call__(self, first: int, n: int) -> np.ndarray:
        return self.states[first - self.begin : first - self.begin + n]


@dataclass(frozen=True)
class Drawn:
    """Draws of a distribution (`symbolic.problem.base_distribution.Recipe`), which seed, path and entry decide."""

    recipe: Any
    seed: int
    offset: int

    def __call__(self, first: int, n: int) -> np.ndarray:
        at = UNIFORM_BLOCKS if self.recipe.normals else 0
        return self.recipe.draw(
            n,
            lambda rows: draws.normals(rows, n, self.seed, first, step=self.offset),
            lambda rows: draws.uniforms(rows, n, self.seed, first, step=self.offset, block=at),
        ).T


@dataclass(frozen=True)
class InitialStates:
    """(first, n) -> (n, width): columns of `blocks`, each (first column, how many, states of these); 0 elsewhere."""

    width: int
    blocks: tuple[tuple[int, int, Start], ...]

    def __call__(self, first: int, n: int) -> np.ndarray:
        return self._of(first, n) if self._one is None else np.broadcast_to(self._one, (n, self.width))

    def _of(self, first: int, n: int) -> np.ndarray:
        out = np.zeros((n, self.width))
        for column, rows, block in self.blocks:
            out[:, column : column + rows] = block(first, n)
        return out

    @cached_property
    def _one(self) -> np.ndarray | None:
        """Where all paths begin alike."""
        return self._of(0, 1) if all(isinstance(block, OnePoint) for _, _, block in self.blocks) else None

    def several(self, n: int) -> np.ndarray:
        """Of n paths, whatever number a run has, (n, width): rows of an array over again where it has fewer."""
        out = np.zeros((n, self.width))
        for column, rows, block in self.blocks:
            out[:, column : column + rows] = over_again(block, n)
        return out

    def sample(self, paths: int) -> np.ndarray:
        """The first of them, up to SAMPLED; one where all paths begin alike."""
        return self(0, min(paths, SAMPLED) if self._one is None else 1)


def over_again(block: Start, n: int) -> np.ndarray:
    """The first n of a block's rows, over again where it has fewer."""
    found = block(0, n)
    return np.resize(found, (n, found.shape[1]))


def of_part(
    symbols: Sequence[Any], shape: tuple[int, ...], value: Any, paths: int, seed: int, offset: int, here: str
) -> Start:
    """Where paths begin in one parameter, whose entries begin at `offset`: numbers, rows for each path, or draws of a
    distribution. here: the value's name in errors. Raises InputError."""
    if hasattr(value, "bind"):
        return _drawn(symbols, shape, value, seed, offset, here)
    try:
        array = as_reals(value)
    except ValueError as reason:
        raise InputError(
            f"{here}: must be numbers; got {shown(value)} ({type(value).__name__}): {reason}. Give"
            f" {f'an array of shape {shape}' if shape else 'a number'}."
        ) from None
    rows = len(symbols)
    if not np.isfinite(array).all():
        raise InputError(
            f"{here}: must be finite; got"
            f" {array.tolist() if array.size < 20 else 'an array with NaN or infinity'}. Give finite numbers."
        )
    if array.shape == shape or (array.size == rows and array.shape in ((*shape, 1), (rows, 1))):
        flat = array.reshape(1, rows)
        return OnePoint(flat)
    if array.shape == (paths, *shape):
        table = array.reshape(paths, rows)
        return Listed(table)
    raise InputError(
        f"{here}: must have shape {shape}, or that of a row per path, {(paths, *shape)}; got {array.shape}. Reshape it."
        if shape
        else f"{here}: must be one number, or one per path, {(paths,)}; got shape {array.shape}. Reshape it."
    )


def _drawn(
    symbols: Sequence[Any], shape: tuple[int, ...], distribution: Any, seed: int, offset: int, here: str
) -> Start:
    """Draws of a start law: a path's numbers depend on seed, path and parameter entry only."""
    try:
        if distribution.table is not None:
            raise TypeError
        block = distribution.bind(symbols, shape)
    except (AttributeError, TypeError):
        raise InputError(
            f"{here}: must be numbers or a law; got {type(distribution).__name__}. Give an array (paths,"
            " *shape) for rows of your own."
        ) from None
    if block.unsampled:
        raise InputError(
            f"{here}: a law must be one to draw from; got {block.name} without numbers. Use Normal, Uniform,"
            " Laplace or Bernoulli with numbers."
        )
    return Drawn(block.recipe({}), seed, offset)
