"""A loss: an expression in parameters and data, with the data's law."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import sympy as sp

from symbolic.errors import InputError, shown
from symbolic.language import names, reserved_names
from symbolic.language.calls import called
from symbolic.problem import assumptions
from symbolic.problem.base_distribution import Distribution, floats
from symbolic.problem.distributions import bind
from symbolic.problem.parameter import Parameter, parameter, point

PARAMETERS = "must be a list of symbols, matrices or arrays, or a mapping name -> these"


@called({"params": "Give parameters=.", "law": "Give data=.", "expr": "Give expression=."})
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
    cancelling
        Names of parameters that cancel out of the expression, as a bias before its mean is taken off: their gradient
        is 0, and they stay where they are. Any other parameter must occur in it.

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
        self,
        expression: Any,
        parameters: Sequence[Any] | Mapping[str, Any],
        data: Any,
        name: str = "loss",
        *,
        cancelling: Sequence[str] = (),
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
        self.parameters: tuple[Parameter, ...] = tuple(parameter(item, label) for label, item in pairs)
        self.blocks: tuple[Distribution, ...] = bind(data)
        self.name = names.check("Loss.name", name)
        self.files: tuple[Path, ...] = ()
        self.theta: tuple[sp.Symbol, ...] = tuple(s for p in self.parameters for s in p.symbols)
        self.z: tuple[sp.Symbol, ...] = tuple(s for b in self.blocks for s in b.symbols)
        errors = self._misnamed() or self._errors({str(name) for name in cancelling})
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

    def _errors(self, cancelling: set[str]) -> list[str]:
        found = []
        known = [*self.theta, *self.z]
        labels = [p.name for p in self.parameters]
        free = self.expression.free_symbols
        endless = self.expression.has(sp.zoo, sp.nan, sp.oo, -sp.oo)  # these swallow what they are multiplied with
        if endless or self.expression.has(sp.I):
            found.append(
                f"Loss.expression: must be real and finite; got {shown(self.expression, 60)}, which holds an imaginary"
                " unit, an infinity or no number. Write a real loss."
            )
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
        twice = {n for n, k in Counter(labels).items() if k > 1} | {s.name for s, k in Counter(known).items() if k > 1}
        for name in sorted(twice):
            found.append(f"Loss: a name may stand for one thing only; got {name!r} twice. Rename one.")
        distribution_symbols = set(self.distribution_parameters)
        loose = sorted((free | distribution_symbols) - set(known) - distribution_symbols, key=str)
        own = {s.name: s for s in known}
        twins = [s for s in loose if s.name in own]
        for s in twins:
            found.append(
                f"Loss.expression: must be written with the same symbols as parameters and data; got {s} with other"
                f" assumptions than theirs. Make it once, by sympy.Symbol({s.name!r}, real=True)."
            )
        for block in self.blocks:
            for s in sorted(block.free_symbols & set(known), key=str):
                one = block.symbols[0]
                found.append(
                    f"Loss.data[{one}]: a law's parameters must be numbers or symbols of their own; got {s}, which is"
                    f" {'a parameter of the loss' if s in self.theta else 'data'}. Write {one} in the expression as"
                    f" what it is made of, e.g. {s} + e with a law for e."
                )
        for s in loose if not twins else ():
            found.append(
                f"Loss.expression: every symbol must be a parameter or have a law; got {s} with neither. Add it to"
                " parameters or to data."
            )
        for p in self.parameters:
            if endless or p.name in cancelling:
                continue
            if not free & set(p.symbols) and not {s.name for s in twins} & {s.name for s in p.symbols}:
                found.append(
                    f"Loss.parameters: each must occur in the expression; got {p.name}, which does not. Remove it or"
                    " use it, or say cancelling= if it cancels."
                )
        for piece in sorted(self.expression.atoms(sp.Piecewise), key=str):
            covered = sp.Or(*(condition for _, condition in piece.args))
            if covered != sp.true and covered.simplify() != sp.true:
                found.append(
                    f"Loss.expression: a Piecewise must have a value everywhere; got {shown(piece, 60)}, of which no"
                    " condition may hold. Give it a last branch (value, True)."
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
    def used(self) -> tuple[Distribution, ...]:
        """The distributions that the expression draws on."""
        free = self.expression.free_symbols
        return tuple(b for b in self.blocks if free & set(b.symbols))

    @cached_property
    def prepared(self) -> dict[Any, Any]:
        """What `symbolic.codegen.prepare` has made of it, by what it was asked."""
        return {}

    @property
    def population(self) -> int | None:
        """N, the rows of the data set that all data in the expression come from; None for fresh samples."""
        used = self.used
        return used[0].size if len(used) == 1 else None

    @cached_property
    def mean(self) -> sp.Expr:
        """L(theta) = E l, an expression to record beside a run, differentiate or evaluate.

        Exact by the data's moments where the loss is a polynomial in them; else an average over the rows of its data
        set, which stays one node (`RowMean`) however many there are.

        Raises
        ------
        InputError
            For a loss that is no polynomial in data drawn from a law.

        Examples
        --------
        >>> from symbolic import library
        >>> library.rescaling().mean.expand()
        u**2*w**2 - 2*u*w + 5/4
        """
        from symbolic.problem.mean_loss import mean_of  # it reads losses

        return mean_of(self, "Loss.mean", lambda c: c)

    @property
    def distribution_parameters(self) -> tuple[sp.Symbol, ...]:
        """Symbols that stand in the laws instead of numbers, sorted by name."""
        return tuple(sorted({s for b in self.blocks for s in b.free_symbols}, key=str))

    def check_point(self, values: Mapping[Any, Any], where: str = "start") -> None:
        """Raise InputError unless `pack` takes the values.

        Parameters
        ----------
        values
            {symbol, matrix or name: number or array}, one for every parameter.
        where
            What messages call the values.
        """
        self.pack(values, where)

    def points(self, theta: Any, where: str = "theta") -> np.ndarray:
        """Points as an array.

        Parameters
        ----------
        theta
            Numbers (..., D), or one point as `pack` takes it.
        where
            What messages call the points.

        Returns
        -------
        ndarray (..., D)

        Raises
        ------
        InputError
            For other shapes, and for what is not numbers.
        """
        if isinstance(theta, Mapping):
            return self.pack(theta, where)
        found = floats(where, theta)
        if not found.ndim or found.shape[-1] != self.dimension:
            rule = f"must be {{parameter: value}}, or numbers of shape (..., {self.dimension})"
            raise InputError.of(where, rule, theta, "Pack a point with loss.pack.")
        return found

    def point(self, theta: Any, where: str = "theta") -> np.ndarray:
        """One point as an array.

        Parameters
        ----------
        theta
            Numbers (D,), or a point as `pack` takes it.
        where
            What messages call it.

        Returns
        -------
        ndarray (D,)

        Raises
        ------
        InputError
            As `points`, and for more than one.
        """
        found = self.points(theta, where)
        if found.ndim != 1:
            raise InputError(f"{where}: must be one point, ({self.dimension},); got shape {found.shape}. Give one.")
        return found

    def pack(self, values: Mapping[Any, Any], where: str = "start") -> np.ndarray:
        """The point theta of given values.

        Parameters
        ----------
        values
            {symbol, matrix or name: number or array}, one for every parameter.
        where
            What messages call the values.

        Returns
        -------
        ndarray (D,)

        Raises
        ------
        InputError
            For a missing, unknown, misshapen or infinite value.
        """
        return point(self.parameters, where, values)

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


def _sum(value: Any) -> Any:
    flat = np.ravel(np.array(value, dtype=object))
    return sp.Tuple(*(v for v in flat if isinstance(v, sp.Basic)))
