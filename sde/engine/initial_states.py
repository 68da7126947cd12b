"""Where paths begin: one point for all, a point for each, or a law."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from sde.engine.plan import Start
from sde.engine.values import reals
from sde.kernels.random import draws
from symbolic.errors import InputError, instance, near, shown, unknown


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
    Uniform, Bernoulli with numbers). Raises ValueError with all problems at once.
    """
    example = ", ".join(f"{p.name!r}: ..." for p in parameters[:3]) + (", ..." if len(parameters) > 3 else "")
    instance("start", start, Mapping, "must be a mapping {name or symbol: value}", f"Write {{{example}}}.")
    left, errors, parts = dict(start), [], []
    strange = [k for k in left if not any(_matches(k, p) for p in parameters)]
    meant = {name for k in strange for name in near(getattr(k, "name", k), [p.name for p in parameters])}
    at = 0
    for p in parameters:
        keys = [k for k in left if _matches(k, p)]
        rows = len(p.symbols)
        if len(keys) != 1:
            if keys or p.name not in meant:
                errors.append(
                    f"start[{p.name}]: needs one value; got {len(keys) or 'none'}. Give"
                    f" {f'an array of shape {p.shape}' if p.shape else 'a number'}, or a law."
                )
            at += rows
            continue
        value = left.pop(keys[0])
        try:
            parts.append((at, rows, _block(p, value, paths, seed, at)))
        except ValueError as error:
            errors.append(str(error))
        at += rows
    errors += [unknown("start", key, {p.name: p.symbols[0] for p in parameters}) for key in strange]
    if errors:
        raise InputError("\n".join(errors))

    def states(first: int, n: int) -> np.ndarray:
        out = np.zeros((n, width))
        for column, rows, block in parts:
            out[:, column : column + rows] = block(first, n)
        return out

    return states


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
        array = reals(value)
    except ValueError as reason:
        raise InputError(
            f"start[{p.name}]: must be numbers; got {shown(value)} ({type(value).__name__}): {reason}. Give"
            f" {f'an array of shape {p.shape}' if p.shape else 'a number'}."
        ) from None
    rows = len(p.symbols)
    if not np.isfinite(array).all():
        raise InputError(
            f"start[{p.name}]: must be finite; got"
            f" {array.tolist() if array.size < 20 else 'an array with NaN or infinity'}. Give finite numbers."
        )
    if array.shape == p.shape or (array.size == rows and array.shape in ((*p.shape, 1), (rows, 1))):
        flat = array.reshape(1, rows)
        return lambda first, n: np.broadcast_to(flat, (n, rows))
    if array.shape == (paths, *p.shape):
        table = array.reshape(paths, rows)
        return lambda first, n: table[first : first + n]
    raise InputError(
        f"start[{p.name}]: must have shape {p.shape}, or that of a row per path, {(paths, *p.shape)}; got {array.shape}. Reshape it."
        if p.shape
        else f"start[{p.name}]: must be one number, or one per path, {(paths,)}; got shape {array.shape}. Reshape it."
    )


def _drawn(p: Named, distribution: Any, seed: int, offset: int) -> Start:
    """Draws of a start law: a path's numbers depend on seed, path and parameter entry only."""
    try:
        block = distribution.bind(p.symbols, p.shape)
    except TypeError:
        raise InputError(
            f"start[{p.name}]: must be numbers or a law; got {type(distribution).__name__}. Give an array (paths,"
            " *shape) for rows of your own."
        ) from None
    if not block.can_sample or block.kind == "dataset":
        raise InputError(
            f"start[{p.name}]: a law must be one to draw from; got {block.kind} without numbers. Use Normal, Uniform or"
            " Bernoulli with numbers."
        )
    rows, q = len(p.symbols), block.parameters
    if block.kind == "normal":
        mean = np.array([float(m) for m in q["mean"]])
        values, vectors = np.linalg.eigh(np.array(q["covariance"], dtype=object).astype(float))
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        return lambda first, n: mean + (root @ draws.normals(rows, n, seed, first, step=offset)).T

    def uniform(first: int, n: int) -> np.ndarray:
        return draws.uniforms(rows, n, seed, first, step=offset).T

    if block.kind == "uniform":
        low, high = (np.array([float(v) for v in q[k]]) for k in ("low", "high"))
        return lambda first, n: low + (high - low) * uniform(first, n)
    chance = np.array([float(v) for v in q["p"]])
    return lambda first, n: (uniform(first, n) < chance).astype(float)
