"""A loss as a tape of elementary operations: values and exact gradients at many points, in float64 or at any mpmath
precision.

Reverse mode over the shared expression graph, so a gradient costs a few evaluations, and no derivative is ever written
out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mpmath
import numpy as np
import sympy as sp

from symbolic import clock
from symbolic.errors import InputError
from symbolic.functions.activations import step
from symbolic.functions.registry import ELEMENTARY, VALUE, Elementary, X

Array = np.ndarray
FEW_POINTS = 64
"""Below this many points, gradients of several outputs share one backward pass."""
BLOCK = 4096
"""Points that a pass goes over at once, so that its slots stay in the processor's cache."""


class Arithmetic:
    """Elementary functions on float64 arrays (digits=None), or on object arrays of mpf. Complex arrays are numbers with
    a small imaginary step: kinks go by the real part."""

    def __init__(self, digits: int | None = None) -> None:
        self.digits = digits

    @property
    def key(self) -> Any:
        """What tells its numbers from those of other arithmetic."""
        return self.digits

    def plain(self) -> Arithmetic:
        """Such arithmetic for a formula's constants."""
        return Arithmetic(self.digits)

    def call(self, row: Elementary, x: Any) -> Any:
        """A function of one argument."""
        if self.digits is not None:
            return np.frompyfunc(row.exact, 1, 1)(x)
        return row.gates(self.positive, x) if row.gates is not None and np.iscomplexobj(x) else row.value(x)

    def sqrt(self, x: Any) -> Any:
        """The positive root."""
        return np.sqrt(x) if self.digits is None else np.frompyfunc(mpmath.sqrt, 1, 1)(x)

    def number(self, e: sp.Expr) -> Any:
        """A constant at this precision."""
        if self.digits is None:
            return float(e)
        with mpmath.workdps(self.digits):  # an mpf made with fewer would be rounded to them
            return mpmath.mpf(sp.N(e, self.digits))

    def positive(self, x: Any) -> Any:
        """1 where x > 0, else 0."""
        return np.heaviside(np.real(x), 0.0) if self.digits is None else self.call(ELEMENTARY[step], x)

    def ahead(self, x: Any) -> Any:
        """1 where x > 0, 1/2 where x = 0, else 0."""
        return (self.call(ELEMENTARY[sp.sign], x) + 1) / 2


class Tape:
    """Several scalar outputs of the same inputs, evaluated and differentiated together.

    gradient(values) takes inputs of shape (n_inputs, n) and returns (n_outputs, n_inputs, n). definitions: names that
    the outputs use, each in terms of the inputs and the earlier names. arithmetic: what the numbers are,
    `Arithmetic(digits)` when None. where: what messages call the outputs.
    """

    def __init__(
        self,
        outputs: Sequence[sp.Expr],
        inputs: Sequence[sp.Symbol],
        digits: int | None = None,
        arithmetic: Any = None,
        definitions: Sequence[tuple[sp.Symbol, sp.Expr]] = (),
        where: str = "Loss.expression",
    ) -> None:
        self.where = where
        self.arithmetic = arithmetic or Arithmetic(digits)
        self.slots: dict[sp.Basic, int] = {s: i for i, s in enumerate(inputs)}
        self.n_inputs = len(inputs)
        self.steps: list[tuple[str, int, tuple[int, ...], Any]] = []
        for name, value in definitions:
            self.slots[name] = self._slot(value)
        self.outputs = [self._slot(e) for e in outputs]
        self.reach = [self._ancestors(o) for o in self.outputs]

    def _push(self, op: str, args: tuple[int, ...], extra: Any = None) -> int:
        out = self.n_inputs + len(self.steps)
        self.steps.append((op, out, args, extra))
        return out

    def _slot(self, e: sp.Basic) -> int:
        if e not in self.slots:
            self.slots[e] = self._make(e)
        return self.slots[e]

    def _make(self, e: Any) -> int:
        if e.is_number:
            return self._push("constant", (), self.arithmetic.number(e))
        if e.is_Symbol:
            raise InputError(f"{self.where}: every symbol needs a value; got {e} (Symbol). Give it as an input.")
        if isinstance(e, (sp.Add, sp.Mul)):
            return self._push("add" if isinstance(e, sp.Add) else "mul", tuple(self._slot(a) for a in e.args))
        if isinstance(e, sp.Pow):
            if e.exp.is_number:
                return self._push("power", (self._slot(e.base),), e.exp)
            return self._slot(sp.exp(sp.Mul(e.exp, sp.log(e.base)), evaluate=False))
        if isinstance(e, (sp.Max, sp.Min)):
            out = self._slot(e.args[0])
            for a in e.args[1:]:
                out = self._push("max" if isinstance(e, sp.Max) else "min", (out, self._slot(a)))
            return out
        if isinstance(e, sp.Piecewise):
            return self._pieces(list(e.args))
        row = ELEMENTARY.get(type(e))
        if row is not None and row.gates is not None and row.arity > 1:
            return self._slot(row.gates(step, *e.args))
        if isinstance(e, sp.Function) and len(e.args) == 1:
            known = row if row is not None and row.derivable else type(e).__name__
            return self._push("call", (self._slot(e.args[0]),), known)
        raise InputError(
            f"{self.where}: no rule for {type(e).__name__}; got {e}. Write it with + - * / ** and functions of one"
            " argument."
        )

    def _pieces(self, pieces: list[Any]) -> int:
        value: Any = pieces[0][0]
        condition: Any = pieces[0][1]
        if condition == sp.true or len(pieces) == 1:
            return self._slot(value)
        flip = type(condition) in (sp.StrictLessThan, sp.LessThan)
        if not flip and type(condition) not in (sp.StrictGreaterThan, sp.GreaterThan):
            raise InputError(
                f"{self.where}: Piecewise conditions must be inequalities; got {condition}. Rewrite it with < or >."
            )
        ahead = condition.rhs - condition.lhs if flip else condition.lhs - condition.rhs
        return self._push("where", (self._slot(ahead), self._slot(value), self._pieces(pieces[1:])))

    def _ancestors(self, output: int) -> list[int]:
        """Steps that an output depends on, last first."""
        wanted, out = {output}, []
        for k in range(len(self.steps) - 1, -1, -1):
            _, slot, args, _ = self.steps[k]
            if slot in wanted:
                out.append(k)
                wanted.update(args)
        return out

    def forward(self, values: Any, sloped: bool = True) -> tuple[list[Any], list[Any]]:
        """Every slot's value, and, if sloped, the slope of every step that has one, from one value per input in any
        arithmetic."""
        m, slots = self.arithmetic, list(values)
        slopes: list[Any] = [None] * len(self.steps)
        for k, (op, _, args, extra) in enumerate(self.steps):
            clock.check()
            match op:
                case "constant":
                    slots.append(extra)
                case "add":
                    slots.append(sum(slots[a] for a in args))
                case "mul":
                    product = slots[args[0]]
                    for a in args[1:]:
                        product = product * slots[a]
                    slots.append(product)
                case "power":
                    x = slots[args[0]]
                    if extra.is_Integer:
                        n = int(extra)
                        slots.append(x**n)
                        slopes[k] = n * x ** (n - 1) if sloped else None
                    else:
                        half = extra.is_Rational and extra.q == 2
                        y = m.sqrt(x) ** int(extra.p) if half else _general(x, extra, m)
                        slots.append(y)
                        slopes[k] = m.number(extra) * y / x if sloped else None
                case "max" | "min":
                    x, y = slots[args[0]], slots[args[1]]
                    slopes[k] = m.ahead(x - y if op == "max" else y - x)
                    slots.append(y + slopes[k] * (x - y))
                case "where":
                    slopes[k] = m.positive(slots[args[0]])
                    slots.append(slopes[k] * slots[args[1]] + (1 - slopes[k]) * slots[args[2]])
                case _:
                    if not isinstance(extra, Elementary):
                        raise InputError(
                            f"{self.where}: no rule for the function {extra}. Write it with {_derivable()} and"
                            " arithmetic."
                        )
                    slots.append(m.call(extra, slots[args[0]]))
                    slopes[k] = _slope(extra, slots[args[0]], slots[-1], m) if sloped else None
        return slots, slopes

    def evaluate(self, values: Array) -> Array:
        """Outputs at inputs of shape (n_inputs, n): shape (n_outputs, n)."""
        with np.errstate(all="ignore"):
            slots, _ = self.forward(values)
        return np.array([slots[o] + 0 * values[0] for o in self.outputs])

    def gradient(self, values: Array, count: int | None = None) -> Array:
        """d outputs / d inputs, shape (n_outputs, count, n), for the first `count` inputs (all when None)."""
        count = self.n_inputs if count is None else count
        out = np.zeros((len(self.outputs), count, values.shape[1]), dtype=values.dtype)
        with np.errstate(all="ignore"):
            if values.shape[1] < FEW_POINTS and len(self.outputs) > 1 and self.arithmetic.digits is None:
                return self._together(out, *self.forward(values))
            for begin in range(0, values.shape[1], BLOCK):
                self._apart(out[:, :, begin : begin + BLOCK], *self.forward(values[:, begin : begin + BLOCK]))
        return out

    def _apart(self, out: Array, slots: list[Any], slopes: list[Any]) -> None:
        """Every output in a backward pass of its own."""
        for o, steps in enumerate(self.reach):
            adjoint: dict[int, Any] = {self.outputs[o]: 1}
            for k in steps:
                self.back(k, adjoint, slots, slopes)
            for i in range(out.shape[1]):
                if i in adjoint:
                    out[o, i] = adjoint[i]

    def _together(self, out: Array, slots: list[Any], slopes: list[Any]) -> Array:
        """All outputs in one backward pass, a row of adjoints each: at few points the passes would cost more than the
        numbers."""
        rows, points = len(self.outputs), out.shape[2]
        adjoint: dict[int, Any] = {}
        for o, slot in enumerate(self.outputs):
            adjoint.setdefault(slot, np.zeros((rows, points)))[o] += 1.0
        for k in range(len(self.steps) - 1, -1, -1):
            self.back(k, adjoint, slots, slopes)
        for i in range(out.shape[1]):
            if i in adjoint:
                out[:, i] = adjoint[i]
        return out

    def back(self, k: int, adjoint: dict[int, Any], slots: list[Any], slopes: list[Any]) -> None:
        """Hand the adjoint of step k on to its arguments."""
        clock.check()
        op, slot, args, _ = self.steps[k]
        seed = adjoint.pop(slot, None)
        if seed is None or op == "constant":
            return
        if op == "add":
            weights = [1] * len(args)
        elif op == "mul":
            left: list[Any] = [1]
            for a in args[:-1]:
                left.append(left[-1] * slots[a])
            weights, right = [1] * len(args), 1
            for j in range(len(args) - 1, -1, -1):
                weights[j] = left[j] * right
                right = right * slots[args[j]]
        elif op in ("max", "min"):
            weights = [slopes[k], 1 - slopes[k]]
        elif op == "where":
            weights = [0, slopes[k], 1 - slopes[k]]
        else:
            weights = [slopes[k]]
        for a, w in zip(args, weights, strict=True):
            adjoint[a] = adjoint.get(a, 0) + seed * w


def _general(x: Any, power: sp.Expr, m: Any) -> Any:
    return m.call(ELEMENTARY[sp.exp], m.number(power) * m.call(ELEMENTARY[sp.log], x))


def _slope(row: Elementary, x: Any, y: Any, m: Any) -> Any:
    """f'(x), from x and y = f(x)."""
    if row.slope == VALUE:
        return y
    if row.slope.is_zero:
        return 0 * x
    if (tape := _FORMULAS.get((row, m.key))) is None:
        tape = _FORMULAS[row, m.key] = Tape([row.slope], [X, VALUE], arithmetic=m.plain())
    tape.arithmetic = m
    return tape.forward((x, y), sloped=False)[0][tape.outputs[0]]


_FORMULAS: dict[tuple[Elementary, Any], Tape] = {}
"""The slopes' own tapes, by the numbers in them."""


def _derivable() -> str:
    return ", ".join(sorted(row.name for row in ELEMENTARY.values() if row.derivable))
