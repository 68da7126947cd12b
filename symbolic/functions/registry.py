"""Every elementary function, one row each: all that the package knows of it. Every other table is made from these rows.

A new smooth function is one row here (and a line of `sde.kernels.math`, where its text needs a function of `math` that
is not there). sign(0) = 0 and relu'(0) = step(0) = 0, as in PyTorch; where two arguments of a maximum tie, each has
half of the slope.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any

import mpmath
import numpy as np
import sympy as sp

from symbolic.functions import activations
from symbolic.functions.activations import relu, step
from symbolic.functions.intervals import ANGLE, POLES, POSITIVE, SIDE, Domain, above, unit

Array = np.ndarray
X, H, VALUE = sp.Dummy("x", real=True), sp.Dummy("h", real=True), sp.Dummy("f(x)", real=True)
"""A function's argument, what Heaviside is at 0, and the function's own value, in a row's formulas."""


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
    parity: 1 for an even function, -1 for an odd one. others: the same by other functions, which derivations see in its
        place, so that what holds between them holds there.
    gates: a kinked function by the gate g(x), 1 where x > 0 and else 0: its form in exact derivations and mod p.
    jump: what is 0 where the function jumps, made of its arguments.
    provable: whether its atoms are independent wherever their arguments are, and a derivation with it can be proved.
    arity: of how many arguments it is; fold: of any number, pair by pair.
    order: whether its first argument is an order, which is a number and does not move; limits: its domain by that.
    of_losses: whether derivations know it.
    """

    function: type[sp.Function]
    spec: str | None
    text: str
    value: Callable[..., Any]
    exact: Callable[..., Any]
    domain: Domain | None = None
    modular: Callable[[Any, Any], Any] | None = None
    parity: int = 0
    others: Callable[[sp.Expr], sp.Expr] | None = None
    gates: Callable[..., Any] | None = None
    jump: Callable[..., sp.Expr] | None = None
    kinked: bool = False
    provable: bool = False
    arity: int = 1
    fold: bool = False
    order: bool = False
    limits: Callable[[float], Domain | None] | None = None
    of_losses: bool = True

    @property
    def name(self) -> str:
        """The SymPy class's."""
        return self.function.__name__

    @property
    def derivable(self) -> bool:
        """Whether losses may hold it: it is smooth and of one argument, or kinked at gates."""
        smooth = self.arity == 1 and not self.kinked and self.of_losses
        return self.fold or self.gates is not None or smooth

    def domain_of(self, x: Sequence[float]) -> Domain | None:
        """That of its last argument, at an order."""
        return self.domain if self.limits is None else self.limits(x[0])

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
    def in_others(self) -> sp.Expr:
        """`others` of X."""
        assert self.others is not None
        return self.others(X)

    @cached_property
    def in_gates(self) -> sp.Expr:
        """`gates` as an expression in X (and H), the gate being `step`."""
        assert self.gates is not None
        return self.gates(step, *(X, H)[: self.arity])

    def at(self, *x: Any) -> Any:
        """Its value at numbers."""
        return reduce(self.value, x) if self.fold else self.value(*x)


def _scipy(name: str) -> Callable[..., Any]:
    """A function of SciPy's, which is slow to load and rarely asked for."""

    def value(*x: Any) -> Any:
        from scipy import special

        return getattr(special, name)(*x)

    return value


def _of_positive(x: Any) -> Any:
    """log gamma(x), as SymPy's: real for positive numbers only."""
    return np.where(np.asarray(x) > 0, _scipy("gammaln")(x), np.nan)


def _polygamma(n: Any, x: Any) -> Any:
    """Derivatives of digamma, those but itself of positive numbers only."""
    return np.where((np.asarray(x) > 0) | (np.asarray(n) == 0), _scipy("polygamma")(n, x), np.nan)


def _special(
    function: type[sp.Function], value: Callable[..., Any], exact: Callable[..., Any], text: str, **more: Any
) -> Elementary:
    """A smooth function of SciPy's, which derivations do not know; `limits` where it has an order."""
    more |= {"arity": 2, "order": True} if "limits" in more else {}
    return Elementary(
        function=function, spec=function.__name__, text=text, value=value, exact=exact, of_losses=False, **more
    )


def _smooth(
    function: type[sp.Function],
    value: Callable[..., Any],
    exact: Callable[..., Any],
    modular: Callable[[Any, Any], Any] | None = None,
    *,
    arity: int = 1,
    **more: Any,
) -> Elementary:
    """A smooth function of one name in SymPy, specs and `math`."""
    name, arguments = function.__name__, ", ".join(f"{{{k}}}" for k in range(arity))
    return Elementary(
        function=function,
        spec=name,
        text=f"math.{name}({arguments})",
        value=value,
        exact=exact,
        modular=modular,
        arity=arity,
        **more,
    )


def _bessel(
    function: type[sp.Function], scipy: str, exact: Callable[..., Any], limits: Callable[[float], Domain | None]
) -> Elementary:
    return _special(function, _scipy(scipy), exact, f"special.{scipy}({{0}}, {{1}})", limits=limits)


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
    _smooth(sp.sin, np.sin, mpmath.sin, lambda m, x: m.circle(x)[0], domain=ANGLE, parity=-1),
    _smooth(sp.cos, np.cos, mpmath.cos, lambda m, x: m.circle(x)[1], domain=ANGLE, parity=1),
    _smooth(sp.tan, np.tan, mpmath.tan, lambda m, x: (y := m.circle(x))[0] / y[1], domain=ANGLE, parity=-1),
    _smooth(sp.asin, np.arcsin, mpmath.asin, domain=unit("asin", True), parity=-1),
    _smooth(sp.acos, np.arccos, mpmath.acos, domain=unit("acos", True)),
    _smooth(sp.atan, np.arctan, mpmath.atan, parity=-1),
    _smooth(
        sp.sinh,
        np.sinh,
        mpmath.sinh,
        lambda m, x: ((y := m.exp(x)) - 1 / y) / 2,
        provable=True,
        others=lambda x: (sp.exp(x) - sp.exp(-x)) / 2,
    ),
    _smooth(
        sp.cosh,
        np.cosh,
        mpmath.cosh,
        lambda m, x: ((y := m.exp(x)) + 1 / y) / 2,
        provable=True,
        others=lambda x: (sp.exp(x) + sp.exp(-x)) / 2,
    ),
    _smooth(sp.tanh, np.tanh, mpmath.tanh, lambda m, x: 1 - 2 / (m.exp(x, 2, "tanh") + 1), provable=True, parity=-1),
    _smooth(sp.asinh, np.arcsinh, mpmath.asinh, parity=-1),
    _smooth(sp.atanh, np.arctanh, mpmath.atanh, domain=unit("atanh", False), parity=-1),
    _smooth(sp.erf, _scipy("erf"), mpmath.erf, lambda m, x: m.erf(x), provable=True, parity=-1),
    _smooth(
        sp.erfc, _scipy("erfc"), mpmath.erfc, lambda m, x: 1 - m.erf(x), provable=True, others=lambda x: 1 - sp.erf(x)
    ),
    _smooth(sp.atan2, np.arctan2, mpmath.atan2, arity=2),
    _special(sp.gamma, _scipy("gamma"), mpmath.gamma, "special.gamma({0})", domain=POLES),
    _special(
        sp.loggamma,
        _of_positive,
        mpmath.loggamma,
        "(special.gammaln({0}) if ({0}) > F(0.0) else {0}*F(math.nan))",
        domain=above("the logarithm of the gamma function"),
    ),
    _special(
        sp.polygamma,
        _polygamma,
        lambda n, x: mpmath.psi(int(n), x),
        "(special.polygamma({0}, {1}) if ({1}) > F(0.0) or ({0}) == F(0.0) else {1}*F(math.nan))",
        limits=lambda n: above("a derivative of digamma") if n else POLES,
    ),
    _bessel(sp.besselj, "jv", mpmath.besselj, lambda n: None if n == round(n) else SIDE),
    _bessel(sp.besseli, "iv", mpmath.besseli, lambda n: None if n == round(n) else SIDE),
    _bessel(sp.bessely, "yv", mpmath.bessely, lambda n: above("Y")),
    _bessel(sp.besselk, "kv", mpmath.besselk, lambda n: above("K")),
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
        function=sp.frac,
        spec="frac",
        text="(({0}) - F(math.floor({0})))",
        value=lambda x: x - np.floor(x),
        exact=lambda x: x - mpmath.floor(x),
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


def jumping(e: sp.Basic) -> set[tuple[sp.Expr, sp.Expr]]:
    """Functions in e that jump, each with what is 0 where it does."""
    return {(f, jump(*f.args)) for f in e.atoms(*_JUMPING) if (jump := ELEMENTARY[type(f)].jump)}


def switches(e: sp.Basic) -> set[sp.Expr]:
    """What is 0 where a function in e jumps."""
    return {switch for _, switch in jumping(e)}


def derivative(e: sp.Expr, s: sp.Symbol) -> sp.Expr:
    """d e / d s almost everywhere: a jump's own slope counts as 0."""
    return derivatives(e, (s,))[0]


def derivatives(e: sp.Expr, symbols: Sequence[sp.Symbol]) -> list[sp.Expr]:
    """d e / d s for each symbol, almost everywhere; what jumps in e is looked for once."""
    if e.has(sp.Mod):
        e = e.replace(sp.Mod, lambda a, b: a - b * sp.floor(a / b))
    if e.has(sp.frac):
        e = e.replace(sp.frac, lambda a: a - sp.floor(a))
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
