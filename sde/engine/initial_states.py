"""Where paths begin: one point for all, a point for each, or a law."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from sde.engine.plan import Start
from sde.kernels.minibatch import UNIFORM_BLOCKS
from sde.kernels.random import draws
from symbolic.errors import InputError, as_reals


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
        out = np.zeros((n, self.width))
        for column, rows, block in self.blocks:
            out[:, column : column + rows] = block(first, n)
        return out


class Named(Protocol):
    """A parameter: name, shape and row-major symbols."""

    @property
    def name(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def symbols(self) -> tuple[Any, ...]: ...


def reader(parameters: Sequence[Named], start: Mapping[Any, Any], paths: int, seed: int, width: int) -> Start:
    """start as a function of path numbers, (first, n) -> (n, width); columns past the parameters (velocities) are 0.

    Values are numbers or arrays of the parameter's shape (all paths alike), arrays (paths, *shape), or laws (Normal,
    Uniform, Laplace, Bernoulli with numbers). Raises ValueError with all problems at once.
    """
    if not isinstance(start, Mapping):
        raise InputError(
            f"start: must be a mapping {{parameter: value}}; got {type(start).__name__}. The parameters are"
            f" {[p.name for p in parameters]}."
        )
    left, errors, parts = dict(start), [], []
    at = 0
    for p in parameters:
        keys = [k for k in left if _matches(k, p)]
        rows = len(p.symbols)
        if len(keys) != 1:
            errors.append(
                f"start[{p.name}]: every parameter needs one value; got {len(keys)}. Give a number or an array of shape"
                f" {p.shape}."
            )
            at += rows
            continue
        value = left.pop(keys[0])
        try:
            parts.append((at, rows, _block(p, value, paths, seed, at)))
        except ValueError as error:
            errors.append(str(error))
        at += rows
    for key in left:
        errors.append(
            f"start[{repr(str(key))[1:-1]}]: must name a parameter; got {key!r} ({type(key).__name__}). Parameters are"
            f" {[p.name for p in parameters]}."
        )
    if errors:
        raise InputError("\n".join(errors))

    return InitialStates(width, tuple(parts))


def _matches(key: Any, p: Named) -> bool:
    if isinstance(key, str):
        return key == p.name
    try:
        return tuple(key) == tuple(p.symbols)
    except TypeError:
        return len(p.symbols) == 1 and key == p.symbols[0]


def _block(p: Named, value: Any, paths: int, seed: int, offset: int) -> Start:
    if hasattr(value, "bind"):
        return _drawn(p, value, seed, offset)
    try:
        array = as_reals(value)
    except ValueError as reason:
        shown = " ".join(repr(value).split())[:200]
        raise InputError(
            f"start[{p.name}]: must be numbers; got {shown} ({type(value).__name__}): {reason}. Give a number or an"
            f" array of shape {p.shape}."
        ) from None
    rows = len(p.symbols)
    if not np.isfinite(array).all():
        raise InputError(
            f"start[{p.name}]: must be finite; got"
            f" {array.tolist() if array.size < 20 else 'an array with NaN or infinity'}. Give finite numbers."
        )
    if array.shape == p.shape or (array.size == rows and array.shape in ((*p.shape, 1), (rows, 1))):
        flat = array.reshape(1, rows)
        return OnePoint(flat)
    if array.shape == (paths, *p.shape):
        table = array.reshape(paths, rows)
        return Listed(table)
    raise InputError(
        f"start[{p.name}]: must have shape {p.shape} or (paths, *{p.shape}) = {(paths, *p.shape)}; got {array.shape}."
        " Reshape it."
    )


def _drawn(p: Named, distribution: Any, seed: int, offset: int) -> Start:
    """Draws of a start law: a path's numbers depend on seed, path and parameter entry only."""
    try:
        if distribution.table is not None:
            raise TypeError
        block = distribution.bind(p.symbols, p.shape)
    except (AttributeError, TypeError):
        raise InputError(
            f"start[{p.name}]: must be numbers or a law; got {type(distribution).__name__}. Give an array (paths,"
            " *shape) for rows of your own."
        ) from None
    if block.unsampled:
        raise InputError(
            f"start[{p.name}]: a law must be one to draw from; got {block.name} without numbers. Use Normal, Uniform,"
            " Laplace or Bernoulli with numbers."
        )
    return Drawn(block.recipe({}), seed, offset)
