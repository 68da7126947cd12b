"""The expression language of spec files: a whitelist over Python's `ast`, evaluated on arrays of SymPy expressions.

Values are NumPy object arrays (0-d for scalars), so broadcasting, `@`, `.T`, indexing and axes mean what they mean in
NumPy. Nothing is ever handed to eval, exec or sympify: a tree of known nodes is walked, and everything else is refused.
"""

from __future__ import annotations

import ast
import math
import unicodedata
import warnings
from collections.abc import Callable, Mapping
from fractions import Fraction
from inspect import signature
from typing import Any, NoReturn

import numpy as np
import sympy as sp

from symbolic.errors import InputError, near, nearest
from symbolic.language.vocabulary import (
    CONSTANTS,
    FUNCTIONS,
    OF_THREE,
    OF_TWO,
    WITH_AXIS,
    Fault,
    check,
    fits,
    matmul,
    power,
    stack,
    wrap,
)

MAX_LENGTH = 10_000
MAX_DEPTH = 60

ALLOWED = (
    "Allowed: numbers, names, + - * / ** @, .T, indexing with integers and slices, lists [a, b], and function calls."
)


OTHER_SIGNS: Mapping[type[ast.AST], tuple[str, str]] = {
    ast.BitXor: ("^", "Write ** for a power: u**2."),
    ast.BitOr: ("|", "Write abs(a) for |a|, norm(a) for a length."),
    ast.BitAnd: ("&", ALLOWED),
    ast.Mod: ("%", ALLOWED),
    ast.FloorDiv: ("//", "Write / for a quotient."),
    ast.LShift: ("<<", ALLOWED),
    ast.RShift: (">>", ALLOWED),
    ast.Invert: ("~", "Write -a for minus a."),
    ast.Not: ("not", ALLOWED),
}
"""Operators of Python that mean something else to some: as they are written, and what to write."""
OTHER_CHARACTERS = {"\u2212": "-", "\u00b7": "*", "\u22c5": "*", "\u00d7": "*", "\u00f7": "/"}
OTHER_CHARACTERS |= {"\u00b2": "**2", "\u00b3": "**3", "\u2013": "-"}
"""Characters of print, and what to write for them."""
PRODUCT = "Write products with *, as in 2*u*w."
OTHER_NAMES = {
    "ln": "Write log(...), the natural logarithm.",
    "pow": "Write ** for a power: u**2.",
}
"""Functions that go by another name here."""


class ExpressionError(InputError):
    """A text outside the expression language; `column` counts from 1, `text` is the offending piece."""

    def __init__(self, where: str, column: int, rule: str, text: str, kind: str, do: str) -> None:
        self.column, self.text = column, text
        super().__init__(f"{where}, column {column}: {rule}; got {text!r} ({kind}). {do}")


_BINARY: Mapping[type[ast.operator], Callable[[np.ndarray, np.ndarray], Any]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.Pow: power,
    ast.MatMult: matmul,
}


class _Walker:
    """Evaluates one tree; every refusal names the column and the piece of text."""

    def __init__(self, source: str, names: Mapping[str, Any], where: str, own: Mapping[str, Any]) -> None:
        self.source, self.where, self.own = source, where, own
        self.names = {name: wrap(value) for name, value in {**CONSTANTS, **names}.items()}
        self.depth = 0

    def refuse(self, node: ast.AST, rule: str, do: str, kind: str | None = None) -> NoReturn:
        start = getattr(node, "col_offset", 0)
        column = len(self.source.encode()[:start].decode(errors="ignore")) + 1
        piece = ast.get_source_segment(self.source, node) or self.source
        piece = piece if len(piece) <= 60 else piece[:57] + "..."
        raise ExpressionError(self.where, column, rule, piece, kind or type(node).__name__, do)

    def visit(self, node: ast.AST) -> np.ndarray:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self.refuse(node, f"nesting may be {MAX_DEPTH} deep at most", "Split it with loss.where.")
        method = getattr(self, f"_{type(node).__name__.lower()}", None)
        if method is None:
            self.refuse(node, "not part of the expression language", ALLOWED)
        try:
            value = wrap(method(node))
            check(value)
        except Fault as fault:
            self.refuse(node, fault.rule, fault.do)
        self.depth -= 1
        return value

    def _constant(self, node: ast.Constant) -> np.ndarray:
        value = node.value
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            self.refuse(node, "only real numbers are allowed as literals", ALLOWED, type(value).__name__)
        text = (ast.get_source_segment(self.source, node) or "").replace("_", "")
        if isinstance(value, int):
            return wrap(sp.Integer(value))
        if not math.isfinite(value) or (
            value == 0.0 and any(digit in "123456789" for digit in text.lower().split("e")[0])
        ):
            self.refuse(node, "a number must be within the range of float64", "Rescale the problem.", "float")
        exact = Fraction(text)
        return wrap(sp.Rational(exact.numerator, exact.denominator))

    def _name(self, node: ast.Name) -> np.ndarray:
        if node.id in self.names:
            return self.names[node.id]
        if node.id in FUNCTIONS:
            self.refuse(node, f"{node.id} is a function", f"Call it: {node.id}(...).", "function")
        known = ", ".join(name for name in self.names if name not in CONSTANTS) or "none"
        meant = nearest(node.id, list(self.names)) if near(node.id, list(self.names)) else f"Known names: {known}."
        self.refuse(node, f"unknown name {node.id!r}", meant, "name")

    def _binop(self, node: ast.BinOp) -> np.ndarray:
        operation = _BINARY.get(type(node.op))
        if operation is None:
            sign, do = OTHER_SIGNS.get(type(node.op), (type(node.op).__name__, ALLOWED))
            self.refuse(node, f"the operator {sign} is not allowed", do)
        a, b = self.visit(node.left), self.visit(node.right)
        if not isinstance(node.op, ast.MatMult):
            fits(a, b)
        if isinstance(node.op, ast.Div) and any(x == 0 for x in b.flat):
            raise Fault("division by zero", "Divide by something that is not 0.")
        return wrap(operation(a, b))

    def _unaryop(self, node: ast.UnaryOp) -> np.ndarray:
        if not isinstance(node.op, (ast.USub, ast.UAdd)):
            self.refuse(node, f"the operator {type(node.op).__name__} is not allowed", ALLOWED)
        value = self.visit(node.operand)
        return wrap(-value) if isinstance(node.op, ast.USub) else value

    def _attribute(self, node: ast.Attribute) -> np.ndarray:
        if node.attr != "T":
            self.refuse(node, "attribute access other than .T is not allowed", ALLOWED, "attribute")
        return self.visit(node.value).T

    def _list(self, node: ast.List) -> np.ndarray:
        if not node.elts:
            self.refuse(node, "a list must not be empty", "Write at least one entry.")
        return stack([self.visit(item) for item in node.elts])

    def _subscript(self, node: ast.Subscript) -> np.ndarray:
        array = self.visit(node.value)
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        index = tuple(self._index(part) for part in parts)
        try:
            value = wrap(array[index])
        except (IndexError, ValueError, OverflowError):
            self.refuse(node, f"the index does not fit shape {array.shape}", "Indices count from 0.", "index")
        if not value.size:
            self.refuse(node, f"the slice of shape {array.shape} is empty", "Choose at least one entry.", "index")
        return value

    def _index(self, node: ast.expr) -> int | slice:
        if isinstance(node, ast.Slice):
            return slice(
                *(None if part is None else self._integer(part) for part in (node.lower, node.upper, node.step))
            )
        return self._integer(node)

    def _integer(self, node: ast.expr) -> int:
        sign, inner = 1, node
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            sign, inner = -1, node.operand
        if isinstance(inner, ast.Constant) and type(inner.value) is int:
            return sign * inner.value
        self.refuse(node, "an index must be a whole number", "Write it as a literal, such as 0 or -1.")

    def _call(self, node: ast.Call) -> np.ndarray:
        if not isinstance(node.func, ast.Name):
            last = node.func.attr if isinstance(node.func, ast.Attribute) else None
            do = f"Write {last}(...)." if last in FUNCTIONS else f"Functions: {', '.join(sorted(FUNCTIONS))}."
            self.refuse(node, "only functions can be called", do)
        name = node.func.id
        if name in self.own:
            return self._own(node, name)
        function = FUNCTIONS.get(name)
        if function is None:
            do = OTHER_NAMES.get(name.lower()) or nearest(name, sorted({*FUNCTIONS, *self.own}), "Functions: {}.")
            do = f"Write a product with *, as in {name}*(...)." if name in self.names else do
            self.refuse(node, f"unknown function {name!r}", do, "call")
        wanted = 3 if name in OF_THREE else 2 if name in OF_TWO else 1
        if len(node.args) != wanted and not (name in ("max", "min") and node.args):
            self.refuse(
                node,
                f"{name} takes {wanted} argument{'s' * (wanted > 1)}, here {len(node.args)}",
                "Give the right number.",
                "call",
            )
        axes = {}
        for keyword in node.keywords:
            if keyword.arg != "axis" or name not in WITH_AXIS or axes:
                allowed = f"{name}(a, axis=0) is the one keyword." if name in WITH_AXIS else f"{name} takes none."
                self.refuse(node, f"the keyword {keyword.arg or '**'} is not allowed here", allowed, "call")
            axes["axis"] = self._integer(keyword.value)
        arguments = [self.visit(argument) for argument in node.args]
        if axes and not -arguments[0].ndim <= axes["axis"] < arguments[0].ndim:
            self.refuse(
                node,
                f"axis {axes['axis']} does not fit shape {arguments[0].shape}",
                "Axes count from 0.",
                "call",
            )
        return function(*arguments, **axes)

    def _own(self, node: ast.Call, name: str) -> np.ndarray:
        """A function of one place only, which itself refuses what is not for it; the bare name of a function among its
        arguments stays a name."""
        taken = list(signature(self.own[name]).parameters.values())
        least = sum(p.default is p.empty for p in taken)
        if node.keywords or not least <= len(node.args) <= len(taken):
            several = f"{least} to {len(taken)} arguments" if least < len(taken) else f"{least} arguments"
            form = f"Write {name}({', '.join(p.name for p in taken[:least])})."
            self.refuse(node, f"{name} takes {several if len(taken) > 1 else 'one argument'}", form, "call")
        arguments = [self._bare(argument) for argument in node.args]
        try:
            return wrap(self.own[name](*arguments))
        except InputError as error:
            return self.refuse(node, error.rule or str(error), error.advice, "call")

    def _bare(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Name) and node.id in FUNCTIONS and node.id not in self.names:
            return node.id
        value = self.visit(node)
        return value if value.shape else value.item()


def parse(
    text: str,
    names: Mapping[str, Any],
    where: str = "expression",
    own: Mapping[str, Callable[..., sp.Expr]] | None = None,
) -> np.ndarray:
    """The value of `text` as an object array of SymPy expressions (0-d for a scalar).

    names: name -> SymPy expression or object array of them. own: further functions, by name, which raise InputError.
    Decimals become exact rationals. Raises ExpressionError only.
    """
    if not isinstance(text, str):
        raise ExpressionError(
            where,
            1,
            "an expression must be a text",
            repr(text)[:60],
            type(text).__name__,
            'Write it in quotes: "(u*w - y)**2".',
        )
    source = " ".join(text.splitlines()).strip()
    if not source or len(source) > MAX_LENGTH:
        raise ExpressionError(
            where,
            1,
            f"an expression must have 1 to {MAX_LENGTH} characters",
            source[:60],
            f"{len(source)} characters",
            ALLOWED,
        )
    odd = next(
        (i for i, c in enumerate(source) if c in "#\\;" or (unicodedata.category(c) in ("Cc", "Cs") and c != "\t")),
        None,
    )
    if odd is not None:
        raise ExpressionError(where, odd + 1, "the character is not allowed", source[odd], "character", ALLOWED)
    foreign = next((i for i, c in enumerate(source) if c in OTHER_CHARACTERS), None)
    if foreign is not None:
        c = source[foreign]
        do = f"Write {OTHER_CHARACTERS[c]} for it."
        raise ExpressionError(where, foreign + 1, "the character is not allowed", c, "character", do)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            tree = ast.parse(source, mode="eval")
    except SyntaxError as error:
        column = max(error.offset or 1, 1)
        raise ExpressionError(
            where,
            column,
            f"cannot be read: {error.msg}",
            source[column - 1 : column + 39],
            "syntax",
            PRODUCT if "decimal literal" in error.msg or "forgot a comma" in error.msg else ALLOWED,
        ) from None
    except (ValueError, RecursionError, MemoryError, OverflowError) as error:
        raise ExpressionError(
            where,
            1,
            f"cannot be read: {str(error)[:60] or 'too deep or too long'}",
            source[:60],
            "syntax",
            ALLOWED,
        ) from None
    walker = _Walker(source, names, where, own or {})
    try:
        return walker.visit(tree.body)
    except ExpressionError:
        raise
    except (
        ValueError,
        TypeError,
        AttributeError,
        ArithmeticError,
        RecursionError,
        NotImplementedError,
    ) as error:
        walker.refuse(tree.body, f"has no meaning: {str(error)[:120]}", "Rewrite it.")


def parse_scalar(
    text: str,
    names: Mapping[str, Any],
    where: str = "expression",
    own: Mapping[str, Callable[..., sp.Expr]] | None = None,
) -> sp.Expr:
    """Like `parse`, for a text whose value must be one number; returns the SymPy expression itself."""
    value = parse(text, names, where, own)
    if value.shape:
        raise ExpressionError(
            where,
            1,
            f"must be a scalar, here shape {value.shape}",
            str(text)[:60],
            "array",
            "Sum it or take a norm: sum((...)**2).",
        )
    return value.item()
