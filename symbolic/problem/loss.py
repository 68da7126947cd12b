"""A loss: an expression in parameters and data, with the data's law."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import sympy as sp

from symbolic.errors import InputError
from symbolic.language import names, reserved_names
from symbolic.problem import assumptions
from symbolic.problem.base_distribution import Distribution, floats
from symbolic.problem.distributions import bind


@dataclass(frozen=True)
class Parameter:
    """A named parameter of a loss.

    Attributes
    ----------
    name
        What it is called in starts and results.
    shape
        Its dimensions; () for a number.
    symbols
        Its entries' symbols, row-major.
    """

    name: str
    shape: tuple[int, ...]
    symbols: tuple[sp.Symbol, ...]


def entries(name: str, shape: Sequence[int] = ()) -> np.ndarray:
    """Object array of real symbols "name[i,j]" of the given shape (0-d, holding `name` itself, for a scalar)."""
    out = np.empty(tuple(shape), dtype=object)
    for index in np.ndindex(*shape):
        out[index] = sp.Symbol(f"{name}[{','.join(map(str, index))}]" if index else name, real=True)
    return out


def parameters(**shapes: Sequence[int]) -> Any:
    """Symbolic parameters, or data variables, of given shapes.

    Parameters
    ----------
    **shapes
        Name and shape of each.

    Returns
    -------
    symbol, matrix, array, or a tuple of them
        () gives a symbol, (n,) a column, (n, m) a SymPy matrix, more dimensions a SymPy array. One name gives the
        object itself, several a tuple.

    Examples
    --------
    >>> from symbolic import parameters
    >>> U, W = parameters(U=(3, 2), W=(2, 4))
    >>> (U @ W).shape
    (3, 4)
    """
    made = tuple(_as_sympy(entries(name, shape)) for name, shape in shapes.items())
    return made[0] if len(made) == 1 else made


def _as_sympy(array: np.ndarray) -> Any:
    if array.ndim == 0:
        return array.item()
    if array.ndim <= 2:
        return sp.ImmutableMatrix(array.tolist())
    return sp.ImmutableDenseNDimArray(array.tolist())


def _parameter(item: Any, name: str | None = None) -> Parameter:
    if isinstance(item, sp.Symbol):
        return Parameter(name or item.name, (), (item,))
    if isinstance(item, sp.MatrixBase):
        shape: tuple[int, ...] = (item.rows,) if item.cols == 1 else item.shape
        symbols = tuple(item)
    elif isinstance(item, (np.ndarray, sp.NDimArray)):
        array = np.array(item.tolist(), dtype=object)
        shape, symbols = array.shape, tuple(array.ravel())
    else:
        raise InputError(
            f"Loss.parameters: each must be a symbol or a matrix or array of symbols; got {item!r}"
            f" ({type(item).__name__}). Use sympy.symbols or symbolic.parameters."
        )
    if not symbols or not all(isinstance(s, sp.Symbol) for s in symbols):
        raise InputError(
            f"Loss.parameters: a matrix must hold symbols only; got {item!r}. Use symbolic.parameters(U=(3, 2))."
        )
    return Parameter(name or symbols[0].name.split("[")[0], tuple(int(n) for n in shape), symbols)


class Loss:
    """Per-sample loss l(theta, z), with z drawn from the distribution of the data.

    Parameters
    ----------
    expression
        A scalar SymPy expression.
    parameters
        Symbols, matrices or arrays of symbols (see `parameters`), or a mapping from names to these. theta is their
        entries in order, row-major, of shape (D,).
    data
        {variable: distribution}, a `Dataset`, or a list of both.
    name
        What reports and messages call it.

    Attributes
    ----------
    theta, z
        Symbols of the parameters' and of the data's entries.
    blocks
        Independent blocks of data.
    files
        What it was read from: a spec and its data.

    Raises
    ------
    InputError
        All problems at once, one a line.

    Examples
    --------
    >>> import sympy as sp
    >>> from symbolic import Loss, Normal
    >>> u, w, x, e = sp.symbols("u w x e", real=True)
    >>> Loss((u*w*x - x - e)**2, [u, w], {x: Normal(0, 1), e: Normal(0, 1)}, name="rescaling")
    Loss(rescaling: D = 2; u, w)
    """

    def __init__(
        self, expression: Any, parameters: Sequence[Any] | Mapping[str, Any], data: Any, name: str = "loss"
    ) -> None:
        if isinstance(expression, sp.MatrixBase) and expression.shape == (1, 1):
            expression = expression[0, 0]
        if isinstance(expression, np.ndarray) and expression.shape == ():
            expression = expression.item()
        if not isinstance(expression, sp.Expr) or isinstance(expression, sp.MatrixBase):
            raise InputError(
                f"Loss.expression: must be a scalar SymPy expression; got {type(expression).__name__}. Sum or take a"
                " norm to make it one number."
            )
        pairs = parameters.items() if isinstance(parameters, Mapping) else ((None, item) for item in parameters)
        self.expression: sp.Expr = cast(sp.Expr, expression).replace(_whole_float_power, lambda e: e.base ** int(e.exp))
        self.parameters: tuple[Parameter, ...] = tuple(_parameter(item, label) for label, item in pairs)
        self.blocks: tuple[Distribution, ...] = bind(data)
        self.name = names.check("Loss.name", name)
        self.files: tuple[Path, ...] = ()
        self.theta: tuple[sp.Symbol, ...] = tuple(s for p in self.parameters for s in p.symbols)
        self.z: tuple[sp.Symbol, ...] = tuple(s for b in self.blocks for s in b.symbols)
        errors = self._misnamed() or self._errors()
        if errors:
            raise InputError("\n".join(errors))

    def _misnamed(self) -> list[str]:
        found = []
        wheres = [("Loss.parameters", names.variable, p.name) for p in self.parameters]
        wheres += [("Loss.parameters", names.symbol, s.name) for s in self.theta]
        wheres += [("Loss.data", names.symbol, s.name) for s in (*self.z, *self.distribution_parameters)]
        for where, rule, name in dict.fromkeys(wheres):
            try:
                rule(where, name)
            except ValueError as error:
                found.append(str(error))
        return found

    def _errors(self) -> list[str]:
        found = []
        known = [*self.theta, *self.z]
        labels = [p.name for p in self.parameters]
        free = self.expression.free_symbols
        if not self.theta:
            found.append("Loss.parameters: at least one is needed; got none. Name the symbols that SGD moves.")
        found += reserved_names.refuse("Loss.parameters", labels)
        why = "SGD moves it wherever the gradient points"
        found += [described for s in self.theta if (described := assumptions.refused("Loss.parameters", s, why))]
        for block in self.blocks:
            for s in block.symbols:
                why = f"Its {block.name} law does not promise that of every sample"
                described = None if assumptions.support(s, block) else assumptions.refused("Loss.data", s, why)
                found += [described] if described else []
        for name in sorted({n for n in labels if labels.count(n) > 1} | {s.name for s in known if known.count(s) > 1}):
            found.append(f"Loss: a name may stand for one thing only; got {name!r} twice. Rename one.")
        distribution_symbols = set(self.distribution_parameters)
        loose = sorted((free | distribution_symbols) - set(known) - distribution_symbols, key=str)
        for s in loose:
            found.append(
                f"Loss.expression: every symbol must be a parameter or have a law; got {s} with neither. Add it to"
                " parameters or to data."
            )
        for p in self.parameters:
            if not free & set(p.symbols):
                found.append(
                    f"Loss.parameters: each must occur in the expression; got {p.name}, which does not. Remove it or"
                    " use it."
                )
        if self.expression.has(sp.I, sp.zoo, sp.nan, sp.oo):
            found.append(
                "Loss.expression: must be real and finite; got an imaginary unit or infinity in it. Write a real loss."
            )
        for s in sorted(set(known) & free, key=str):
            if s.is_real is not True:
                found.append(
                    f"Loss: symbols must be real; got {s} without that assumption. Use sympy.symbols({s.name!r},"
                    " real=True)."
                )
        return found

    @property
    def dimension(self) -> int:
        """D, the number of parameter entries."""
        return len(self.theta)

    @property
    def distribution_parameters(self) -> tuple[sp.Symbol, ...]:
        """Symbols that stand in the laws instead of numbers, sorted by name."""
        return tuple(sorted({s for b in self.blocks for s in b.free_symbols}, key=str))

    def pack(self, values: Mapping[Any, Any]) -> np.ndarray:
        """The point theta of given values.

        Parameters
        ----------
        values
            {symbol, matrix or name: number or array}, one for every parameter.

        Returns
        -------
        ndarray (D,)

        Raises
        ------
        InputError
            For a missing, unknown, misshapen or infinite value.
        """
        out, left = np.empty(self.dimension), dict(values)
        at = 0
        for p in self.parameters:
            keys = [
                k for k in left if k == p.name or (isinstance(k, sp.Symbol) and k in p.symbols and len(p.symbols) == 1)
            ]
            keys += [
                k for k in left if k not in keys and not isinstance(k, (str, sp.Symbol)) and _symbols_of(k) == p.symbols
            ]
            if len(keys) != 1:
                raise InputError(
                    f"start[{p.name}]: every parameter needs one value; got {len(keys)} of them. Give a number or an"
                    f" array of shape {p.shape}."
                )
            value = floats(f"start[{p.name}]", left.pop(keys[0]))
            if value.shape != p.shape and not (len(p.shape) == 1 and value.shape == (*p.shape, 1)):
                raise InputError(f"start[{p.name}]: must have shape {p.shape}; got {value.shape}. Reshape it.")
            if not np.isfinite(value).all():
                raise InputError(f"start[{p.name}]: must be finite; got {value.tolist()}. Give finite numbers.")
            out[at : at + len(p.symbols)] = value.ravel()
            at += len(p.symbols)
        if left:
            raise InputError(
                f"start: keys must be parameters; got {sorted(map(str, left))}. The loss has"
                f" {[p.name for p in self.parameters]}."
            )
        return out

    def unpack(self, theta: np.ndarray) -> dict[str, np.ndarray]:
        """Values by name, the inverse of `pack`.

        Parameters
        ----------
        theta
            Points, (..., D).

        Returns
        -------
        dict
            {name: array (..., *shape)}.
        """
        theta, out, at = np.asarray(theta), {}, 0
        for p in self.parameters:
            n = len(p.symbols)
            out[p.name] = theta[..., at : at + n].reshape(theta.shape[:-1] + p.shape)
            at += n
        return out

    def __repr__(self) -> str:
        shapes = ", ".join(f"{p.name}{list(p.shape) if p.shape else ''}" for p in self.parameters)
        return f"Loss({self.name}: D = {self.dimension}; {shapes})"


def _whole_float_power(e: sp.Basic) -> bool:
    return isinstance(e, sp.Pow) and isinstance(e.exp, sp.Float) and e.exp == int(e.exp)


def _symbols_of(key: Any) -> tuple[sp.Symbol, ...] | None:
    return tuple(key) if isinstance(key, sp.MatrixBase) else None
