"""SymPy expressions as plain scalar Python on `math`, with constants wrapped in the number type F."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import reduce

import sympy as sp

from symbolic.errors import InputError
from symbolic.functions import reached
from symbolic.functions.reached import Reached
from symbolic.functions.registry import ELEMENTARY, Elementary

RELATIONS = {
    sp.StrictLessThan: "<",
    sp.LessThan: "<=",
    sp.StrictGreaterThan: ">",
    sp.GreaterThan: ">=",
    sp.Equality: "==",
    sp.Unequality: "!=",
}


def literal(e: sp.Basic) -> str:
    """A constant as Python source: digits, `math.inf` or `math.nan`, whatever its class says of itself."""
    try:
        value = float(e)  # type: ignore[arg-type]
    except (OverflowError, TypeError):
        value = math.inf
    if math.isinf(value) and e not in (sp.oo, -sp.oo):
        raise InputError(f"emit: a number must be within float64's range; got {str(e)[:60]}. Rescale the problem.")
    if math.isfinite(value):
        return float.__repr__(value)
    return "math.nan" if math.isnan(value) else "math.inf" if value > 0 else "-math.inf"


class ScalarPrinter:
    """Prints expressions; `names` maps symbols to Python identifiers. Raises ValueError for what has no scalar form.

    Only these names, literals, operators and functions of a fixed list are ever printed: nothing that is called by a
    user's text.

    Branches are written so that NaN passes through: a comparison with NaN must never turn it into a number.
    """

    def __init__(self, names: Mapping[sp.Basic, str]) -> None:
        self.names = dict(names)

    def __call__(self, e: sp.Basic) -> str:
        if e in self.names:
            return self.names[e]
        if isinstance(e, (sp.Number, sp.NumberSymbol)):
            return f"F({literal(e)})"
        if isinstance(e, sp.Add):
            return self._add(e)
        if isinstance(e, sp.Mul):
            return self._mul(e)
        if isinstance(e, sp.Pow):
            return self._pow(e)
        if (row := ELEMENTARY.get(type(e))) is not None:
            return self._function(row, e)
        if isinstance(e, sp.Piecewise):
            return self._piecewise(e)
        if isinstance(e, Reached):
            return reached.TEXT.format(self(e.args[0]))
        raise InputError(
            f"emit: every function must have a scalar form; got {e} ({type(e).__name__}). Rewrite it with"
            f" {self.known()}."
        )

    @staticmethod
    def known() -> str:
        """The functions that can be printed, for messages."""
        return ", ".join(sorted([row.name for row in ELEMENTARY.values()] + ["Piecewise"]))

    def _add(self, e: sp.Add) -> str:
        out = ""
        for term in e.args:
            negative = term.could_extract_minus_sign()
            text = self(-term if negative else term)
            text = f"({text})" if isinstance(-term if negative else term, sp.Add) else text
            out += (" - " if negative else " + ") + text if out else ("-" + text if negative else text)
        return f"({out})"

    def _mul(self, e: sp.Mul) -> str:
        above, below = [], []
        for factor in e.args:
            if isinstance(factor, sp.Pow) and factor.exp.is_Rational and factor.exp.is_negative:
                below.append(self._pow(sp.Pow(factor.base, -factor.exp, evaluate=False)))
            else:
                above.append(self(factor))
        if above and above[0] == "F(-1.0)" and len(above) > 1:
            above[:2] = [f"-{above[1]}"]
        top = "*".join(above) or "F(1.0)"
        return f"({top}/({'*'.join(below)}))" if below else f"({top})"

    def _pow(self, e: sp.Basic) -> str:
        if not isinstance(e, sp.Pow):
            return self(e)
        base, power = self(e.base), e.exp
        if power.is_Integer:
            n = abs(int(power))
            if n > 64:
                raise InputError(f"emit: integer powers go up to 64; got {e}. Rewrite it with exp and log.")
            return self._repeated(base, n) if power > 0 else f"(F(1.0)/{self._repeated(base, n)})"
        if power.is_Rational and power.q == 2:
            root = f"math.sqrt({base})"
            whole = abs(int(power.p)) // 2
            text = root if whole == 0 else f"({self._repeated(base, whole)}*{root})"
            return text if power > 0 else f"(F(1.0)/{text})"
        return f"({base}**{self(power)})"

    @staticmethod
    def _repeated(base: str, n: int) -> str:
        if n == 1:
            return base
        half = ScalarPrinter._repeated(base, n // 2)
        return f"({half}*{half})" if n % 2 == 0 else f"({half}*{half}*{base})"

    def _function(self, row: Elementary, e: sp.Basic) -> str:
        if row.order and not (e.args[0].is_number and e.args[0].is_real):
            raise InputError.of(f"emit.{row.name}", "needs a number for its order", e.args[0], "Give e.g. 0 or 1.")
        texts = [self(a) for a in e.args]
        return reduce(row.text.format, texts) if row.fold else row.text.format(*texts)

    def _piecewise(self, e: sp.Piecewise) -> str:
        out = "math.nan" if e.args[-1][1] != sp.true else ""
        for value, condition in reversed(e.args):
            text = self(value)
            out = f"({text})" if condition == sp.true else f"(({text}) if {self.condition(condition)} else {out})"
        return out

    def condition(self, c: sp.Basic) -> str:
        """A comparison, or several joined."""
        if isinstance(c, (sp.And, sp.Or)):
            word = " and " if isinstance(c, sp.And) else " or "
            return "(" + word.join(self.condition(a) for a in c.args) + ")"
        if isinstance(c, sp.Not):
            return f"(not {self.condition(c.args[0])})"
        if isinstance(c, sp.logic.boolalg.ITE):
            first, second, third = (self.condition(a) for a in c.args)
            return f"({second} if {first} else {third})"
        if c in (sp.true, sp.false):
            return str(bool(c))
        if type(c) in RELATIONS:
            left, right = c.args
            return f"({self(left)} {RELATIONS[type(c)]} {self(right)})"
        raise InputError(f"emit: a condition must compare two expressions; got {c}. Rewrite the Piecewise.")
