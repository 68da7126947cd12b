"""Every elementary function, one row each: all that the package knows of it. Every other table is made from these rows.

A new smooth function is one row here (and a line of `sde.kernels.math`, where its text needs a function of `math` that
is not there). sign(0) = 0 and relu'(0) = step(0) = 0, as in PyTorch; where two arguments of a maximum tie, each has
half of the slope.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any

import mpmath
import numpy as np
import sympy as sp

from symbolic.functions import activations
from symbolic.functions.activations import relu, step

Array = np.ndarray
X, H, VALUE = sp.Dummy("x", real=True), sp.Dummy("h", real=True), sp.Dummy("f(x)", real=True)
"""A function's argument, what Heaviside is at 0, and the function's own value, in a row's formulas."""


@dataclass(frozen=True)
class Domain:
    """Arguments from `low` to `high` (`narrow` in float32), the ends themselves if closed. why: how one beyond them is
    called; advice: what to write instead, {0} being the argument. edged: whether an argument may well cross an end."""

    low: float
    high: float
    why: str
    advice: str
    closed: bool = True
    narrow: float = math.inf
    edged: bool = True

    def left(self, x: float, dtype: str = "float64") -> bool:
        """Whether x is a number beyond the domain."""
        narrow = self.narrow if dtype == "float32" else math.inf
        low, high = max(self.low, -narrow), min(self.high, narrow)
        return x < low or x > high or (not self.closed and x in (low, high) and math.isfinite(x))

    def margin(self, x: float) -> float:
        """How far x lies from the nearer end."""
        return min(abs(x - self.low), abs(x - self.high))


ANGLE = Domain(
    -(2.0**45),
    2.0**45,
    "an angle too large to have one",
    "Reduce the angle, e.g. with Mod by 2*pi",
    narrow=2.0**20,
    edged=False,
)
"""Of sin, cos and tan, as kernels have it (`sde.kernels.math.circular`)."""
POSITIVE = Domain(
    0,
    math.inf,
    "the logarithm of a number that is not positive",
    "Write log(Max({0}, c)) with a small c > 0",
    closed=False,
)


def _unit(name: str, closed: bool) -> Domain:
    least = "1" if closed else "c"
    advice = f"Write {name}(Max(-{least}, Min({least}, {{0}})))" + ("" if closed else " with a c just below 1")
    return Domain(-1, 1, f"the {name} of a number {'beyond' if closed else 'not within'} -1 and 1", advice, closed)


@dataclass(frozen=True, eq=False, kw_only=True)
class Elementary:
    """What is known of one function.

    Parameters
    ----------
    function: its SymPy class. Its slope is SymPy's, almost everywhere.
    spec: its name in spec files; None where it has none.
    text: scalar Python on `math`, {0} and {1} being the arguments' texts; NaN passes through it.
    value, exact: NumPy's ufunc (or the like), and the same for mpmath's numbers.
    modular: its value mod p by an arithmetic's primitives (`evaluation.prime_field`), each of which notes its arguments
        under its family of dependent functions (exp and tanh; sine and cosine; erf); None where it has no faithful one.
    gates: a kinked function by the gate g(x), 1 where x > 0 and else 0: its form in exact derivations and mod p.
    jump: what is 0 where the function jumps, made of its arguments.
    provable: whether its atoms are independent wherever their arguments are, and a derivation with it can be proved.
    arity: of how many arguments it is; fold: of any number, pair by pair.
    """

    function: type[sp.Function]
    spec: str | None
    text: str
    value: Callable[..., Any]
    exact: Callable[..., Any]
    domain: Domain | None = None
    modular: Callable[[Any, Any], Any] | None = None
    gates: Callable[..., Any] | None = None
    jump: Callable[..., sp.Expr] | None = None
    kinked: bool = False
    provable: bool = False
    arity: int = 1
    fold: bool = False

    @property
    def name(self) -> str:
        """The SymPy class's."""
        return self.function.__name__

    @property
    def derivable(self) -> bool:
        """Whether losses may hold it: it is smooth and of one argument, or kinked at gates."""
        return self.fold or self.gates is not None or (self.arity == 1 and not self.kinked)

    @cached_property
    def slope(self) -> sp.Expr:
        """f'(x) in X and VALUE, for a function of one argument."""
        value = self.function(X)
        return derivative(value, X).xreplace({value: VALUE})

    @cached_property
    def algebraic(self) -> bool:
        """Whether the slope is rational, or has roots only, in x and f(x)."""
        return not self.slope.atoms(sp.Function)

    @cached_property
    def in_gates(self) -> sp.Expr:
        """`gates` as an expression in X (and H), the gate being `step`."""
        assert self.gates is not None
        return self.gates(step, *(X, H)[: self.arity])

    def at(self, *x: Any) -> Any:
        """Its value at numbers or arrays of floats."""
        return reduce(self.value, x) if self.fold else self.value(*x)


def _erf(x: Array) -> Array:
    from scipy.special import erf  # slow to load, and rarely asked for

    return erf(x)


def _smooth(
    function: type[sp.Function],
    value: Callable[..., Any],
    exact: Callable[..., Any],
    modular: Callable[[Any, Any], Any] | None = None,
    *,
    domain: Domain | None = None,
    provable: bool = False,
    arity: int = 1,
) -> Elementary:
    """A smooth function that has one name in SymPy, specs and `math`."""
    name, arguments = function.__name__, ", ".join(f"{{{k}}}" for k in range(arity))
    return Elementary(
        function=function,
        spec=name,
        text=f"math.{name}({arguments})",
        value=value,
        exact=exact,
        domain=domain,
        modular=modular,
        provable=provable,
        arity=arity,
    )


def _extremum(function: type[sp.Function], ahead: str, value: Callable[..., Any], exact: Any) -> Elementary:
    tie = f"(({{1}}) if ({{1}}) {ahead}= ({{0}}) else ({{0}}) + ({{1}}))"
    return Elementary(
        function=function,
        spec=function.__name__.lower(),
        text=f"(({{0}}) if ({{0}}) {ahead} ({{1}}) else {tie})",
        value=value,
        exact=exact,
        kinked=True,
        provable=True,
        arity=2,
        fold=True,
    )


ROWS = (
    _smooth(sp.exp, np.exp, mpmath.exp, lambda m, x: m.exp(x), provable=True),
    _smooth(sp.log, np.log, mpmath.log, lambda m, x: m.log(x), domain=POSITIVE, provable=True),
    _smooth(sp.sin, np.sin, mpmath.sin, lambda m, x: m.circle(x)[0], domain=ANGLE),
    _smooth(sp.cos, np.cos, mpmath.cos, lambda m, x: m.circle(x)[1], domain=ANGLE),
    _smooth(sp.tan, np.tan, mpmath.tan, lambda m, x: (y := m.circle(x))[0] / y[1], domain=ANGLE),
    _smooth(sp.asin, np.arcsin, mpmath.asin, domain=_unit("asin", True)),
    _smooth(sp.acos, np.arccos, mpmath.acos, domain=_unit("acos", True)),
    _smooth(sp.atan, np.arctan, mpmath.atan),
    _smooth(sp.sinh, np.sinh, mpmath.sinh, lambda m, x: ((y := m.exp(x)) - 1 / y) / 2),
    _smooth(sp.cosh, np.cosh, mpmath.cosh, lambda m, x: ((y := m.exp(x)) + 1 / y) / 2),
    _smooth(sp.tanh, np.tanh, mpmath.tanh, lambda m, x: 1 - 2 / (m.exp(x, 2, "tanh") + 1), provable=True),
    _smooth(sp.asinh, np.arcsinh, mpmath.asinh),
    _smooth(sp.atanh, np.arctanh, mpmath.atanh, domain=_unit("atanh", False)),
    _smooth(sp.erf, _erf, mpmath.erf, lambda m, x: m.erf(x), provable=True),
    _smooth(sp.atan2, np.arctan2, mpmath.atan2, arity=2),
    Elementary(
        function=relu,
        spec="relu",
        text="(F(0.0) if ({0}) <= F(0.0) else ({0}))",
        value=lambda x: np.maximum(x, 0.0),
        exact=lambda x: x if x > 0 else mpmath.mpf(0),
        gates=lambda g, x: x * g(x),
        kinked=True,
        provable=True,
    ),
    Elementary(
        function=sp.Abs,
        spec="abs",
        text="abs({0})",
        value=np.abs,
        exact=abs,
        gates=lambda g, x: x * (g(x) - g(-x)),
        kinked=True,
        provable=True,
    ),
    Elementary(
        function=sp.sign,
        spec="sign",
        text="(F(1.0) if ({0}) > F(0.0) else (F(-1.0) if ({0}) < F(0.0) else F(0.0)*({0})))",
        value=np.sign,
        exact=mpmath.sign,
        gates=lambda g, x: g(x) - g(-x),
        jump=lambda x: x,
        kinked=True,
        provable=True,
    ),
    Elementary(
        function=step,
        spec=None,
        text="(F(1.0) if ({0}) > F(0.0) else (F(0.0) if ({0}) <= F(0.0) else ({0})))",
        value=lambda x: np.heaviside(x, 0.0),
        exact=lambda x: mpmath.mpf(x > 0),
        gates=lambda g, x: g(x),
        jump=lambda x: x,
        kinked=True,
        provable=True,
    ),
    Elementary(
        function=sp.Heaviside,
        spec=None,
        text="(F(1.0) if ({0}) > F(0.0) else (F(0.0) if ({0}) < F(0.0) else (({1}) if ({0}) == F(0.0) else ({0}))))",
        value=np.heaviside,
        exact=lambda x, at_zero: mpmath.mpf(x > 0) if x else mpmath.mpf(at_zero),
        gates=lambda g, x, at_zero: g(x) + at_zero * (1 - g(x) - g(-x)),
        jump=lambda x, at_zero: x,
        kinked=True,
        provable=True,
        arity=2,
    ),
    _extremum(sp.Max, ">", np.maximum, max),
    _extremum(sp.Min, "<", np.minimum, min),
    Elementary(
        function=sp.floor,
        spec="floor",
        text="F(math.floor({0}))",
        value=np.floor,
        exact=mpmath.floor,
        jump=lambda x: sp.sin(sp.pi * x),
        kinked=True,
    ),
    Elementary(
        function=sp.ceiling,
        spec="ceil",
        text="F(math.ceil({0}))",
        value=np.ceil,
        exact=mpmath.ceil,
        jump=lambda x: sp.sin(sp.pi * x),
        kinked=True,
    ),
    Elementary(
        function=sp.Mod,
        spec="mod",
        text="(({0}) % ({1}))",
        value=np.mod,
        exact=lambda x, y: x % y,
        jump=lambda x, y: sp.sin(sp.pi * x / y),
        kinked=True,
        arity=2,
    ),
)
EXPRESSIONS: Mapping[str, Callable[[sp.Expr], sp.Expr]] = {
    "sqrt": sp.sqrt,
    "square": lambda x: x**2,
    "leaky_relu": activations.leaky_relu,
    "sigmoid": activations.sigmoid,
    "silu": activations.silu,
    "gelu": activations.gelu,
    "softplus": activations.softplus,
}
"""Names in spec files for what is an expression of these functions and powers."""

ELEMENTARY: Mapping[type, Elementary] = {row.function: row for row in ROWS}
PROVABLE = frozenset({row.name for row in ROWS if row.provable} | {"Piecewise"})
"""Names of functions whose derivations can be proved."""
KINKED = (*(row.function for row in ROWS if row.kinked), sp.Piecewise, sp.DiracDelta)
"""Classes that are not smooth somewhere, for `has`."""
FLAT = tuple(f for f in KINKED if f is not sp.Abs)
"""Those whose slope may be 0 on an interval."""
_JUMPING = tuple(row.function for row in ROWS if row.jump)


def switches(e: sp.Basic) -> set[sp.Expr]:
    """What is 0 where a function in e jumps."""
    return {jump(*f.args) for f in e.atoms(*_JUMPING) if (jump := ELEMENTARY[type(f)].jump)}


def derivative(e: sp.Expr, s: sp.Symbol) -> sp.Expr:
    """d e / d s almost everywhere: a jump's own slope counts as 0."""
    return derivatives(e, (s,))[0]


def derivatives(e: sp.Expr, symbols: Sequence[sp.Symbol]) -> list[sp.Expr]:
    """d e / d s for each symbol, almost everywhere; what jumps in e is looked for once."""
    if e.has(sp.Mod):
        e = e.replace(sp.Mod, lambda a, b: a - b * sp.floor(a / b))
    held = {f: sp.Dummy(real=True) for f in e.atoms(*_JUMPING)}
    if not held:
        return _slopes(e, symbols)
    still, back = e.xreplace(held), {v: k for k, v in held.items()}
    return [slope.xreplace(back) for slope in _slopes(still, symbols)]


def _slopes(e: sp.Expr, symbols: Sequence[sp.Symbol]) -> list[sp.Expr]:
    """As SymPy's `diff` gives them; sums, products and functions part by part, a sum's each by the symbols that it
    holds: a layer's loss has thousands of terms, and each symbol stands in a few."""
    if isinstance(e, sp.Pow) and isinstance(e.base, sp.Add) and e.exp.is_Number:
        inner = _slopes(e.base, symbols)
        return [e * (slope * e.exp / e.base) if slope else sp.S.Zero for slope in inner]
    if isinstance(e, sp.Function) and len(e.args) == 1 and type(e)._eval_derivative is sp.Function._eval_derivative:
        outer = e.fdiff()
        return [outer * slope if slope else sp.S.Zero for slope in _slopes(e.args[0], symbols)]
    if isinstance(e, sp.Mul):
        factors = list(e.args)
        each = [_slopes(f, symbols) for f in factors]
        return [
            sp.Add(*(sp.Mul(*factors[:k], slopes[i], *factors[k + 1 :]) for k, slopes in enumerate(each) if slopes[i]))
            for i in range(len(symbols))
        ]
    if not isinstance(e, sp.Add):
        return [sp.diff(e, s) for s in symbols]
    wanted, terms = set(symbols), dict[sp.Basic, list[sp.Expr]]()
    for part in e.args:
        mine = sorted(part.free_symbols & wanted, key=str)
        for s, slope in zip(mine, _slopes(part, mine), strict=True):  # type: ignore[arg-type]
            terms.setdefault(s, []).append(slope)
    return [sp.Add(*terms.get(s, ())) for s in symbols]
