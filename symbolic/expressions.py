"""The expression language of spec files: a whitelist over Python's `ast`, evaluated on arrays of SymPy expressions.

Values are NumPy object arrays (0-d for scalars), so broadcasting, `@`, `.T`, indexing and axes mean what they mean in NumPy.
Nothing is ever handed to eval, exec or sympify: a tree of known nodes is walked, and everything else is refused.
"""

from __future__ import annotations

import ast
import math
import unicodedata
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, NoReturn

import numpy as np
import sympy as sp

from symbolic import functions

MAX_LENGTH = 10_000
MAX_DEPTH = 60
MAX_ENTRIES = 4_096
MAX_EXPONENT = 64
MAX_BITS = 2_048
MAX_NUMBER = 1e300

ALLOWED = "Allowed: numbers, names, + - * / ** @, .T, indexing with integers and slices, lists [a, b], and function calls."


class ExpressionError(ValueError):
    """A text outside the expression language; `column` counts from 1, `text` is the offending piece."""

    def __init__(self, where: str, column: int, rule: str, text: str, kind: str, do: str) -> None:
        self.where, self.column, self.rule, self.text = where, column, rule, text
        super().__init__(f"{where}, column {column}: {rule}; got {text!r} ({kind}). {do}")


class _Fault(Exception):
    """A rule broken inside a function; the walker adds the place."""

    def __init__(self, rule: str, do: str) -> None:
        self.rule, self.do = rule, do


def _wrap(value: Any) -> np.ndarray:
    if isinstance(value, np.ndarray):
        return value
    out = np.empty((), dtype=object)
    out[()] = value
    return out


def _each(function: Callable[..., sp.Expr]) -> Callable[..., np.ndarray]:
    """Apply a scalar function entry by entry, with broadcasting."""
    ufunc: Any = np.frompyfunc(function, 1, 1)
    return lambda a: _wrap(ufunc(a))


def _reduce(a: np.ndarray, axis: int | None, function: Callable[[list[sp.Expr]], sp.Expr]) -> np.ndarray:
    if axis is None:
        return _wrap(function(list(a.ravel())))
    moved = np.moveaxis(a, axis, -1)
    out = np.empty(moved.shape[:-1], dtype=object)
    for index in np.ndindex(out.shape):
        out[index] = function(list(moved[index]))
    return out


def _sum(a: np.ndarray, axis: int | None = None) -> np.ndarray:
    return _reduce(a, axis, lambda items: sp.Add(*items))


def _mean(a: np.ndarray, axis: int | None = None) -> np.ndarray:
    return _reduce(a, axis, lambda items: sp.Add(*items) / len(items))


def _norm(a: np.ndarray, axis: int | None = None) -> np.ndarray:
    return _reduce(a, axis, lambda items: sp.sqrt(sp.Add(*(x**2 for x in items))))


def _logsumexp(a: np.ndarray, axis: int | None = None) -> np.ndarray:
    return _reduce(a, axis, lambda items: sp.log(sp.Add(*(sp.exp(x) for x in items))))


def _softmax(a: np.ndarray, axis: int | None = None) -> np.ndarray:
    weights = _exp(a)
    total = _sum(weights, axis)
    return weights / (total if axis is None else np.expand_dims(total, axis))


def _extreme(pick: Callable[..., sp.Expr]) -> Callable[..., np.ndarray]:
    pair: Any = np.frompyfunc(pick, 2, 1)

    def extreme(a: np.ndarray, *more: np.ndarray, axis: int | None = None) -> np.ndarray:
        if not more:
            return _reduce(a, axis, lambda items: pick(*items))
        if axis is not None:
            raise _Fault("axis goes with one array, not with several", "Write max(a, axis=0) or max(a, b).")
        for b in more:
            _fits(a, b)
            a = _wrap(pair(a, b))
        return a

    return extreme


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Sum of products over two arrays of one shape; NumPy's `dot` for matrix-vector pairs is `@`."""
    if a.shape != b.shape:
        raise _Fault(f"dot needs two arrays of one shape, here {a.shape} and {b.shape}", "Use @ for a matrix product.")
    return _wrap(sp.Add(*(a * b).ravel()))


def _outer(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if a.ndim != 1 or b.ndim != 1:
        raise _Fault(f"outer needs two vectors, here shapes {a.shape} and {b.shape}", "Give one-dimensional arrays.")
    _room(a.size * b.size)
    return a[:, None] * b[None, :]


def _trace(a: np.ndarray) -> np.ndarray:
    if a.ndim != 2 or a.shape[0] != a.shape[1]:
        raise _Fault(f"trace needs a square matrix, here shape {a.shape}", "Give a square matrix.")
    return _wrap(sp.Add(*a.diagonal()))


def _leaky(x: sp.Expr) -> sp.Expr:
    return functions.relu(x) - functions.relu(-x) / 100


def _sigmoid(x: sp.Expr) -> sp.Expr:
    return 1 / (1 + sp.exp(-x))


_exp = _each(sp.exp)
_ELEMENTWISE: dict[str, Callable[..., np.ndarray]] = {
    "exp": _exp,
    "log": _each(sp.log),
    "sqrt": _each(sp.sqrt),
    "abs": _each(sp.Abs),
    "square": _each(lambda x: x**2),
    "sin": _each(sp.sin),
    "cos": _each(sp.cos),
    "tanh": _each(sp.tanh),
    "relu": _each(functions.relu),
    "leaky_relu": _each(_leaky),
    "sigmoid": _each(_sigmoid),
    "silu": _each(lambda x: x * _sigmoid(x)),
    "gelu": _each(lambda x: x * (1 + sp.erf(x / sp.sqrt(2))) / 2),
    "softplus": _each(lambda x: sp.log(1 + sp.exp(x))),
}
_AXIS: dict[str, Callable[..., np.ndarray]] = {
    "sum": _sum,
    "mean": _mean,
    "norm": _norm,
    "softmax": _softmax,
    "logsumexp": _logsumexp,
    "max": _extreme(sp.Max),
    "min": _extreme(sp.Min),
}
_OTHER: dict[str, Callable[..., np.ndarray]] = {"dot": _dot, "outer": _outer, "trace": _trace}
FUNCTIONS: Mapping[str, Callable[..., np.ndarray]] = {**_AXIS, **_ELEMENTWISE, **_OTHER}
CONSTANTS: Mapping[str, sp.Expr] = {"pi": sp.pi}


def _room(size: int) -> None:
    if size > MAX_ENTRIES:
        raise _Fault(f"an array may have {MAX_ENTRIES} entries at most, here {size}", "Use smaller sizes.")


def _fits(a: np.ndarray, b: np.ndarray) -> None:
    try:
        shape = np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        raise _Fault(f"shapes {a.shape} and {b.shape} do not broadcast", "Make the shapes match (use .T, @, or an index).") from None
    _room(math.prod(shape))


def _bits(x: sp.Expr) -> int:
    return max(x.p.bit_length(), x.q.bit_length()) if isinstance(x, sp.Rational) else 0


def _float(x: sp.Expr) -> float:
    """A constant as a float; inf beyond float64."""
    try:
        return float(x)  # type: ignore[arg-type]
    except (OverflowError, TypeError):
        return math.inf


def _power(base: sp.Expr, exponent: sp.Expr) -> sp.Expr:
    if isinstance(exponent, sp.Rational):
        if abs(exponent) > MAX_EXPONENT:
            raise _Fault(f"an exponent may be {MAX_EXPONENT} at most in size, here {exponent}", "Use a smaller exponent, or exp and log.")
        if max((_bits(n) for n in base.atoms(sp.Rational)), default=0) * abs(exponent) > MAX_BITS:
            raise _Fault("the number grows too large", "Use smaller numbers or exponents.")
    return base**exponent


def _add(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a + b


def _matmul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if not a.ndim or not b.ndim:
        raise _Fault(f"@ needs vectors or matrices, here shapes {a.shape} and {b.shape}", "Use * with a scalar.")
    if a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        raise _Fault(f"@ needs equal inner sizes, here shapes {a.shape} and {b.shape}", "Transpose one side (.T) or change a shape.")
    return _wrap(a @ b)


_POWER: Any = np.frompyfunc(_power, 2, 1)
_BINARY: Mapping[type[ast.operator], Callable[[np.ndarray, np.ndarray], Any]] = {
    ast.Add: _add,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.Pow: lambda a, b: _POWER(a, b),
    ast.MatMult: _matmul,
}


class _Walker:
    """Evaluates one tree; every refusal names the column and the piece of text."""

    def __init__(self, source: str, names: Mapping[str, Any], where: str) -> None:
        self.source, self.where = source, where
        self.names = {name: _wrap(value) for name, value in {**CONSTANTS, **names}.items()}
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
            value: np.ndarray = method(node)
            _room(value.size)
            for x in value.flat:
                if x.has(sp.zoo, sp.nan, sp.oo, -sp.oo, sp.I):
                    raise _Fault("the value is not a finite real number", "Look for a division by zero, or a log or root of a negative number.")
                if _bits(x) > MAX_BITS or (x.is_number and not abs(_float(x)) < MAX_NUMBER):
                    raise _Fault("the number grows too large", "Use smaller numbers.")
        except _Fault as fault:
            self.refuse(node, fault.rule, fault.do)
        self.depth -= 1
        return value

    def _constant(self, node: ast.Constant) -> np.ndarray:
        value = node.value
        if type(value) not in (int, float):
            self.refuse(node, "only real numbers are allowed as literals", ALLOWED, type(value).__name__)
        text = (ast.get_source_segment(self.source, node) or "").replace("_", "")
        if isinstance(value, int):
            return _wrap(sp.Integer(value))
        if not math.isfinite(value) or (value == 0.0 and any(digit in "123456789" for digit in text.lower().split("e")[0])):
            self.refuse(node, "a number must be within the range of float64", "Rescale the problem.", "float")
        exact = Fraction(text)
        return _wrap(sp.Rational(exact.numerator, exact.denominator))

    def _name(self, node: ast.Name) -> np.ndarray:
        if node.id in self.names:
            return self.names[node.id]
        if node.id in FUNCTIONS:
            self.refuse(node, f"{node.id} is a function", f"Call it: {node.id}(...).", "function")
        known = ", ".join(name for name in self.names if name not in CONSTANTS) or "none"
        self.refuse(node, f"unknown name {node.id!r}", f"Known names: {known}.", "name")

    def _binop(self, node: ast.BinOp) -> np.ndarray:
        operation = _BINARY.get(type(node.op))
        if operation is None:
            self.refuse(node, f"the operator {type(node.op).__name__} is not allowed", ALLOWED)
        a, b = self.visit(node.left), self.visit(node.right)
        if not isinstance(node.op, ast.MatMult):
            _fits(a, b)
        if isinstance(node.op, ast.Div) and any(x == 0 for x in b.flat):
            raise _Fault("division by zero", "Divide by something that is not 0.")
        return _wrap(operation(a, b))

    def _unaryop(self, node: ast.UnaryOp) -> np.ndarray:
        if not isinstance(node.op, (ast.USub, ast.UAdd)):
            self.refuse(node, f"the operator {type(node.op).__name__} is not allowed", ALLOWED)
        value = self.visit(node.operand)
        return _wrap(-value) if isinstance(node.op, ast.USub) else value

    def _attribute(self, node: ast.Attribute) -> np.ndarray:
        if node.attr != "T":
            self.refuse(node, "attribute access other than .T is not allowed", ALLOWED, "attribute")
        return self.visit(node.value).T

    def _list(self, node: ast.List) -> np.ndarray:
        if not node.elts:
            self.refuse(node, "a list must not be empty", "Write at least one entry.")
        items = [self.visit(item) for item in node.elts]
        if len({item.shape for item in items}) > 1:
            raise _Fault(f"entries of a list must have one shape, here {[item.shape for item in items]}", "Make the shapes equal.")
        _room(sum(item.size for item in items))
        return np.stack(items)

    def _subscript(self, node: ast.Subscript) -> np.ndarray:
        array = self.visit(node.value)
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        index = tuple(self._index(part) for part in parts)
        try:
            value = _wrap(array[index])
        except (IndexError, ValueError, OverflowError):
            self.refuse(node, f"the index does not fit shape {array.shape}", "Indices count from 0.", "index")
        if not value.size:
            self.refuse(node, f"the slice of shape {array.shape} is empty", "Choose at least one entry.", "index")
        return value

    def _index(self, node: ast.expr) -> int | slice:
        if isinstance(node, ast.Slice):
            return slice(*(None if part is None else self._integer(part) for part in (node.lower, node.upper, node.step)))
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
            self.refuse(node, "only functions can be called", f"Functions: {', '.join(sorted(FUNCTIONS))}.")
        name = node.func.id
        function = FUNCTIONS.get(name)
        if function is None:
            self.refuse(node, f"unknown function {name!r}", f"Functions: {', '.join(sorted(FUNCTIONS))}.", "call")
        wanted = 2 if name in ("dot", "outer") else 1
        if len(node.args) != wanted and not (name in ("max", "min") and node.args):
            self.refuse(node, f"{name} takes {wanted} argument{'s' * (wanted > 1)}, here {len(node.args)}", "Give the right number.", "call")
        axes = {}
        for keyword in node.keywords:
            if keyword.arg != "axis" or name not in _AXIS or axes:
                allowed = f"{name}(a, axis=0) is the one keyword." if name in _AXIS else f"{name} takes none."
                self.refuse(node, f"the keyword {keyword.arg or '**'} is not allowed here", allowed, "call")
            axes["axis"] = self._integer(keyword.value)
        arguments = [self.visit(argument) for argument in node.args]
        if axes and not -arguments[0].ndim <= axes["axis"] < arguments[0].ndim:
            self.refuse(node, f"axis {axes['axis']} does not fit shape {arguments[0].shape}", "Axes count from 0.", "call")
        return function(*arguments, **axes)


def parse(text: str, names: Mapping[str, Any], where: str = "expression") -> np.ndarray:
    """The value of `text` as an object array of SymPy expressions (0-d for a scalar).

    names: name -> SymPy expression or object array of them. Decimals become exact rationals. Raises ExpressionError only.
    """
    if not isinstance(text, str):
        raise ExpressionError(where, 1, "an expression must be a text", repr(text)[:60], type(text).__name__, 'Write it in quotes: "(u*w - y)**2".')
    source = " ".join(text.splitlines()).strip()
    if not source or len(source) > MAX_LENGTH:
        raise ExpressionError(where, 1, f"an expression must have 1 to {MAX_LENGTH} characters", source[:60], f"{len(source)} characters", ALLOWED)
    odd = next((i for i, c in enumerate(source) if c in "#\\;" or unicodedata.category(c) in ("Cc", "Cs") and c != "\t"), None)
    if odd is not None:
        raise ExpressionError(where, odd + 1, "the character is not allowed", source[odd], "character", ALLOWED)
    try:
        tree = ast.parse(source, mode="eval")
    except SyntaxError as error:
        column = max(error.offset or 1, 1)
        raise ExpressionError(where, column, f"cannot be read: {error.msg}", source[column - 1 : column + 39], "syntax", ALLOWED) from None
    except (ValueError, RecursionError, MemoryError, OverflowError) as error:
        raise ExpressionError(where, 1, f"cannot be read: {str(error)[:60] or 'too deep or too long'}", source[:60], "syntax", ALLOWED) from None
    walker = _Walker(source, names, where)
    try:
        return walker.visit(tree.body)
    except ExpressionError:
        raise
    except (ValueError, TypeError, ArithmeticError, RecursionError, NotImplementedError) as error:
        walker.refuse(tree.body, f"has no meaning: {str(error)[:120]}", "Rewrite it.")


def parse_scalar(text: str, names: Mapping[str, Any], where: str = "expression") -> sp.Expr:
    """Like `parse`, for a text whose value must be one number; returns the SymPy expression itself."""
    value = parse(text, names, where)
    if value.shape:
        raise ExpressionError(where, 1, f"must be a scalar, here shape {value.shape}", str(text)[:60], "array", "Sum it or take a norm: sum((...)**2).")
    return value.item()
