"""A loss: an expression in parameters and data, with the data's law."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, cast

import numpy as np
import sympy as sp

from symbolic.errors import InputError, instance, shown, unknown
from symbolic.language import names, reserved_names
from symbolic.language.calls import called
from symbolic.problem import assumptions
from symbolic.problem.distributions import Block, bind, floats


@dataclass(frozen=True)
class Parameter:
    """A named parameter: its shape and its entry symbols, row-major."""

    name: str
    shape: tuple[int, ...]
    symbols: tuple[sp.Symbol, ...]


MOST_AXES = 16
"""Dimensions of a parameter: arrays of 33 and more are none, and a result adds its own."""
MOST_ENTRIES = 10_000_000
PARAMETERS = "must be a list of symbols, matrices or arrays, or a mapping name -> these"


def entries(name: str, shape: Sequence[int] = ()) -> np.ndarray:
    """Object array of real symbols "name[i,j]" of the given shape (0-d, holding `name` itself, for a scalar)."""
    out = np.empty(tuple(shape), dtype=object)
    for index in np.ndindex(*shape):
        out[index] = sp.Symbol(f"{name}[{','.join(map(str, index))}]" if index else name, real=True)
    return out


def parameters(**shapes: Sequence[int]) -> Any:
    """Symbolic parameters (or data variables) of given shapes: `U, W = parameters(U=(3, 2), W=(2, 4))`.

    A matrix comes as a SymPy matrix, a vector as a column, () as a symbol, higher orders as a SymPy array. One name
    gives the object itself, several a tuple.
    """
    made = tuple(_as_sympy(entries(name, _shape(name, shape))) for name, shape in shapes.items())
    return made[0] if len(made) == 1 else made


def _shape(name: str, shape: Any) -> tuple[int, ...]:
    sizes: tuple[Any, ...] = tuple(shape) if isinstance(shape, (tuple, list, np.ndarray)) else (None,)
    if (
        len(sizes) > MOST_AXES
        or not all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) and n >= 1 for n in sizes)
        or prod(map(int, sizes)) > MOST_ENTRIES
    ):
        rule = (
            f"must be a shape of at most {MOST_AXES} whole numbers from 1 on, with a product of at most {MOST_ENTRIES}"
        )
        many = isinstance(shape, int) and not isinstance(shape, bool) and shape > 0
        advice = f"Write ({shape},) for a vector." if many else "Write (), (4,) or (3, 2)."
        raise InputError.of(f"parameters.{names.symbol('parameters', name)}", rule, shape, advice)
    return tuple(map(int, sizes))


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
        rule = "each must be a symbol or a matrix or array of symbols"
        raise InputError.of("Loss.parameters", rule, item, "Use sympy.symbols or symbolic.parameters.")
    if not symbols or not all(isinstance(s, sp.Symbol) for s in symbols):
        raise InputError(
            f"Loss.parameters: a matrix must hold symbols only; got {item!r}. Use symbolic.parameters(U=(3, 2))."
        )
    return Parameter(name or symbols[0].name.split("[")[0], tuple(int(n) for n in shape), symbols)


@called({"params": "Give parameters=.", "law": "Give data=.", "expr": "Give expression=."})
class Loss:
    """Per-sample loss l(theta, z) with z drawn from a law.

    expression: a scalar SymPy expression. parameters: symbols, matrices or arrays of symbols (see `parameters`), or a
    mapping name -> these; theta is their entries in order, row-major. data: {variable: law}, a Dataset, or a list of
    both. Attributes: parameters (tuple of Parameter), blocks (independent data laws), theta, z, name, files (that it
    was read from: its spec and data). Raises ValueError, all problems at once.
    """

    def __init__(
        self, expression: Any, parameters: Sequence[Any] | Mapping[str, Any], data: Any, name: str = "loss"
    ) -> None:
        if isinstance(expression, sp.MatrixBase) and expression.shape == (1, 1):
            expression = expression[0, 0]
        if isinstance(expression, np.ndarray) and expression.shape == ():
            expression = expression.item()
        if not isinstance(expression, sp.Expr) or isinstance(expression, sp.MatrixBase):
            array = isinstance(expression, (sp.MatrixBase, sp.NDimArray, np.ndarray, list, tuple))
            advice = "Sum or take a norm to make it one number." if array else "Write it with SymPy's symbols."
            raise InputError.of("Loss.expression", "must be a scalar SymPy expression", expression, advice)
        if isinstance(parameters, (sp.Symbol, sp.MatrixBase, sp.NDimArray)):
            raise InputError.of("Loss.parameters", PARAMETERS, parameters, f"Write [{shown(parameters, 60)}].")
        if isinstance(parameters, str) or not isinstance(parameters, Iterable):
            advice = "Write [u, w], of sympy.symbols or symbolic.parameters."
            raise InputError.of("Loss.parameters", PARAMETERS, parameters, advice)
        pairs = parameters.items() if isinstance(parameters, Mapping) else ((None, item) for item in parameters)
        self.expression: sp.Expr = cast(sp.Expr, expression).replace(_whole_float_power, lambda e: e.base ** int(e.exp))
        self.parameters: tuple[Parameter, ...] = tuple(_parameter(item, label) for label, item in pairs)
        self.blocks: tuple[Block, ...] = bind(data)
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
                why = f"Its {block.kind} law does not promise that of every sample"
                described = None if assumptions.support(s, block) else assumptions.refused("Loss.data", s, why)
                found += [described] if described else []
        for name in sorted({n for n in labels if labels.count(n) > 1} | {s.name for s in known if known.count(s) > 1}):
            found.append(f"Loss: a name may stand for one thing only; got {name!r} twice. Rename one.")
        distribution_symbols = {
            s for b in self.blocks for v in b.parameters.values() for s in getattr(_sum(v), "free_symbols", ())
        }
        loose = sorted((free | distribution_symbols) - set(known) - distribution_symbols, key=str)
        own = {s.name: s for s in known}
        twins = [s for s in loose if s.name in own]
        for s in twins:
            found.append(
                f"Loss.expression: must be written with the same symbols as parameters and data; got {s} with other"
                f" assumptions than theirs. Make it once, by sympy.Symbol({s.name!r}, real=True)."
            )
        for s in loose if not twins else ():
            found.append(
                f"Loss.expression: every symbol must be a parameter or have a law; got {s} with neither. Add it to"
                " parameters or to data."
            )
        for p in self.parameters:
            if not free & set(p.symbols) and not {s.name for s in twins} & {s.name for s in p.symbols}:
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
        inside = {s for b in self.blocks for v in b.parameters.values() for s in getattr(_sum(v), "free_symbols", ())}
        return tuple(sorted(inside, key=str))

    def check_point(self, values: Mapping[Any, Any], where: str = "start") -> None:
        """Raise ValueError unless `pack` takes the values."""
        self.pack(values, where)

    def points(self, theta: Any, where: str = "theta") -> np.ndarray:
        """theta as floats of shape (..., D): an array of them, or one point as `pack` takes it. Raises ValueError."""
        if isinstance(theta, Mapping):
            return self.pack(theta, where)
        found = floats(where, theta)
        if not found.ndim or found.shape[-1] != self.dimension:
            rule = f"must be {{parameter: value}}, or numbers of shape (..., {self.dimension})"
            raise InputError.of(where, rule, theta, "Pack a point with loss.pack.")
        return found

    def pack(self, values: Mapping[Any, Any], where: str = "start") -> np.ndarray:
        """theta as a float array of shape (D,) from {symbol or name: number or array}; where: what messages call the
        values. Raises ValueError."""
        names_ = [p.name for p in self.parameters]
        instance(where, values, Mapping, "must be a mapping {parameter: value}", f"The parameters are {names_}.")
        out, left = np.empty(self.dimension), dict(values)
        strange = [k for k in left if not any(_stands_for(k, p) for p in self.parameters)]
        if strange:
            own = {p.name: p.symbols[0] for p in self.parameters}
            raise InputError("\n".join(unknown(where, k, own) for k in strange))
        at = 0
        for p in self.parameters:
            keys = [k for k in left if _stands_for(k, p)]
            if len(keys) != 1:
                raise InputError(
                    f"{where}[{p.name}]: every parameter needs one value; got {len(keys) or 'none'}. Give"
                    f" {f'an array of shape {p.shape}' if p.shape else 'a number'}."
                )
            value = floats(f"{where}[{p.name}]", left.pop(keys[0]))
            if value.shape != p.shape and not (len(p.shape) == 1 and value.shape == (*p.shape, 1)):
                raise InputError(f"{where}[{p.name}]: must have shape {p.shape}; got {value.shape}. Reshape it.")
            if not np.isfinite(value).all():
                raise InputError(
                    f"{where}[{p.name}]: must be finite; got {shown(value.tolist())}. Give finite numbers."
                )
            out[at : at + len(p.symbols)] = value.ravel()
            at += len(p.symbols)
        return out

    def unpack(self, theta: np.ndarray) -> dict[str, np.ndarray]:
        """{name: array} from theta of shape (..., D)."""
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


def _sum(value: Any) -> Any:
    flat = np.ravel(np.array(value, dtype=object))
    return sp.Tuple(*(v for v in flat if isinstance(v, sp.Basic)))


def _stands_for(key: Any, p: Parameter) -> bool:
    """Whether a key of a mapping names this parameter."""
    if isinstance(key, sp.MatrixBase):
        return tuple(key) == p.symbols
    return key == p.name if isinstance(key, str) else isinstance(key, sp.Symbol) and p.symbols == (key,)
