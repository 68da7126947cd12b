"""The nodes that array expressions are made of.

A node knows its shape, its arguments and `data`, all else that it is; nodes of equal content are one object, so that
common parts are found by identity. Users make them by `states` and NumPy's own functions (`functions`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import Any, ClassVar
from weakref import WeakValueDictionary

import numpy as np
import sympy as sp
from numpy.lib.mixins import NDArrayOperatorsMixin

from symbolic.arrays.operations import OPERATIONS
from symbolic.errors import InputError, shown
from symbolic.functions.tables import digest

Shape = tuple[int, ...]
MOST_DEPTH = 200


class NoScalar(InputError, sp.SympifyError):
    """An array where SymPy takes scalars: an operator of SymPy's leaves it to the array's own, a function tells."""

    __str__ = ValueError.__str__


class Array(NDArrayOperatorsMixin):
    """An array of expressions as one node.

    Attributes
    ----------
    shape
        Its dimensions; () for a number.
    args
        Arrays that it is made of.
    """

    __slots__ = ("__weakref__", "args", "data", "depth", "reads", "shape", "symbols", "values")
    called: ClassVar[str] = "array"
    shape: Shape
    args: tuple[Array, ...]
    data: tuple[Any, ...]
    depth: int
    values: np.ndarray
    """Of a constant."""
    reads: frozenset[Array]
    """The states and noises in it."""
    symbols: frozenset[sp.Symbol]
    """The scalars in it."""

    _known: ClassVar[WeakValueDictionary[Any, Array]] = WeakValueDictionary()
    ufunc: ClassVar[Callable[..., Any]]
    function: ClassVar[Callable[..., Any]]
    getitem: ClassVar[Callable[..., Any]]
    written: ClassVar[Callable[[Array], str]]

    @classmethod
    def of(cls, shape: Sequence[int], args: Sequence[Array] = (), data: tuple[Any, ...] = ()) -> Any:
        """The node of this content."""
        shape, args = tuple(int(n) for n in shape), tuple(args)
        key = (cls, shape, tuple(map(id, args)), data)
        found = Array._known.get(key)
        if found is None:
            found = object.__new__(cls)
            found.shape, found.args, found.data = shape, args, data
            found.depth = 1 + max((a.depth for a in args), default=0)
            if found.depth > MOST_DEPTH:
                advice = "Sum many arrays by numpy.sum over the axis of a stack."
                raise InputError.of("array", f"nesting may be {MOST_DEPTH} deep at most", found.depth, advice)
            found.reads = frozenset().union(*(a.reads for a in args)) if args else frozenset()
            found.symbols = frozenset().union(*(a.symbols for a in args)) if args else frozenset()
            found._own()
            Array._known[key] = found
        return found

    def _own(self) -> None:
        """What a leaf adds to `reads` and `symbols`."""

    def __eq__(self, other: object) -> bool:  # type: ignore[override]
        if isinstance(other, (int, float, np.ndarray, np.generic)):
            raise InputError.of(
                "array", "a path that moves is never exactly at a place", other, "Write X > 1, or X < 1."
            )
        return self is other

    def __ne__(self, other: object) -> bool:  # type: ignore[override]
        return not self == other

    __hash__ = object.__hash__  # type: ignore[assignment]

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of entries."""
        return prod(self.shape)

    @property
    def T(self) -> Array:
        """The transpose."""
        return np.transpose(self)  # type: ignore[return-value, call-overload]

    @property
    def uniform(self) -> bool:
        """Whether it is the same on all paths."""
        return not self.reads

    @property
    def condition(self) -> bool:
        """Whether its entries are true or false."""
        return False

    def sum(self, axis: Any = None, keepdims: bool = False) -> Array:
        """Sum over axes, all when left out."""
        return np.sum(self, axis=axis, keepdims=keepdims)  # type: ignore[call-overload]

    def mean(self, axis: Any = None, keepdims: bool = False) -> Array:
        """Mean over axes, all when left out."""
        return np.mean(self, axis=axis, keepdims=keepdims)  # type: ignore[call-overload]

    def prod(self, axis: Any = None, keepdims: bool = False) -> Array:
        """Product over axes, all when left out."""
        return np.prod(self, axis=axis, keepdims=keepdims)  # type: ignore[call-overload]

    def max(self, axis: Any = None, keepdims: bool = False) -> Array:
        """The largest over axes, all when left out."""
        return np.max(self, axis=axis, keepdims=keepdims)  # type: ignore[call-overload]

    def min(self, axis: Any = None, keepdims: bool = False) -> Array:
        """The smallest over axes, all when left out."""
        return np.min(self, axis=axis, keepdims=keepdims)  # type: ignore[call-overload]

    def any(self, axis: Any = None, keepdims: bool = False) -> Array:
        """Whether one entry is true, over axes."""
        return np.any(self, axis=axis, keepdims=keepdims)  # type: ignore[call-overload]

    def all(self, axis: Any = None, keepdims: bool = False) -> Array:
        """Whether all entries are true, over axes."""
        return np.all(self, axis=axis, keepdims=keepdims)  # type: ignore[call-overload]

    def reshape(self, *shape: Any) -> Array:
        """The same entries, row-major, in another shape."""
        return np.reshape(self, shape[0] if len(shape) == 1 else shape)  # type: ignore[call-overload]

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        return Array.ufunc(ufunc, method, inputs, options)

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        return Array.function(function, args, options)

    def __getitem__(self, key: Any) -> Array:
        return Array.getitem(self, key)

    def __iter__(self) -> Iterator[Array]:
        if not self.shape:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(self.shape[0]))

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of unsized object")
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise InputError.of("array", "stays one symbol, of no numbers", self, "Use NumPy's functions on it.")

    def _sympy_(self) -> Any:
        raise NoScalar.of("array", "SymPy's functions take scalars", self, "Use NumPy's: numpy.sin(X).")

    def __bool__(self) -> bool:
        advice = "Write numpy.where(X > 0, a, b), numpy.maximum or numpy.minimum."
        raise InputError.of("array", "has no truth value before a run", self, advice)

    def __reduce__(self) -> Any:
        return type(self).of, (self.shape, self.args, self.data)

    def __repr__(self) -> str:
        return Array.written(self)


class State(Array):
    """What moves: (name,)."""

    __slots__ = ()

    def _own(self) -> None:
        self.reads = frozenset((self,))

    @property
    def name(self) -> str:
        """What it is called."""
        return self.data[0]


class Noise(Array):
    """Rows of a step's random inputs, from row (first,) on."""

    __slots__ = ()

    def _own(self) -> None:
        self.reads = frozenset((self,))


class Scalar(Array):
    """A number that all paths share, (symbol,): a parameter, time, the step."""

    __slots__ = ()

    def _own(self) -> None:
        self.symbols = frozenset(self.data)


class Constant(Array):
    """Numbers, (digest,)."""

    __slots__ = ()

    def __reduce__(self) -> Any:
        return constant, (self.values,)


class Elementwise(Array):
    """An operation (name of `operations.OPERATIONS`,) of entries, by broadcasting."""

    __slots__ = ()

    @property
    def condition(self) -> bool:
        return OPERATIONS[self.data[0]].condition


class Lookup(Elementwise):
    """Entries by a table (`functions.tables`): ("lookup", kind, digest); values: its times and values, (2, n)."""

    __slots__ = ()

    def __reduce__(self) -> Any:
        return lookup, (self.args[0], *self.values, self.data[1])


class Call(Array):
    """What a user's own function f(x, t, out) writes to out, (name in `calls.FUNCTIONS`, whether by entry): args x and
    t, or t alone where it takes zeros for x."""

    __slots__ = ()


class Past(Array):
    """What a path's past has of an array, entry by entry: ("running_max",) or ("integral",)."""

    __slots__ = ()


class Reduce(Array):
    """(kind, axes): "sum", "prod", "max" or "min" over axes."""

    __slots__ = ()


class View(Array):
    """Entries of an array in other places: for each of its axes (start, ((own axis, step), ...))."""

    __slots__ = ()

    @property
    def condition(self) -> bool:
        return self.args[0].condition


class Take(Array):
    """Entries of args[0] by their row-major places, the whole numbers args[1]."""

    __slots__ = ()


class Reshape(Array):
    """The same entries, row-major."""

    __slots__ = ()


class Join(Array):
    """Arrays one after another along (axis,)."""

    __slots__ = ()


def constant(values: Any) -> Array:
    """Numbers as a node: a broadcast number where all are the same."""
    array = np.ascontiguousarray(values, dtype=np.float64).reshape(np.shape(values))
    if array.size > 1 and (array == array.flat[0]).all():
        return broadcast(constant(array.flat[0]), array.shape)
    digest = hashlib.sha256(array.tobytes()).hexdigest()
    made = Constant.of(array.shape, (), (digest,))
    array.flags.writeable = False
    made.values = array
    return made


def lookup(x: Array, times: np.ndarray, values: np.ndarray, kind: str) -> Array:
    """The entries of x looked up in a table."""
    made = Lookup.of(x.shape, (x,), ("lookup", kind, digest(times, values, kind)))
    made.values = np.array([times, values])
    return made


def number(node: Array) -> float | None:
    """The value of a constant all of whose entries are the same, else None."""
    while isinstance(node, View):
        node = node.args[0]
    return float(node.values) if isinstance(node, Constant) and node.shape == () else None


def broadcast(node: Array, shape: Sequence[int]) -> Array:
    """A view of a larger shape."""
    return viewed(node, lambda a: np.broadcast_to(a, tuple(shape)))


def viewed(node: Array, function: Callable[[np.ndarray], np.ndarray]) -> Array:
    """What a function that gives views of NumPy's arrays, by strides, makes of a node."""
    if not node.shape:
        places = [np.zeros((), np.int64)]
    else:
        ranges = [np.arange(n) for n in node.shape]
        places = [np.broadcast_to(r.reshape(-1, *[1] * (node.ndim - 1 - k)), node.shape) for k, r in enumerate(ranges)]
    found = [function(p) for p in places]
    shape = found[0].shape
    if not prod(shape):
        raise InputError.of("array", "must not be empty", shape, "Choose at least one entry.")
    maps = tuple(
        (int(f[(0,) * len(shape)]), tuple((a, s // 8) for a, s in enumerate(f.strides) if s and shape[a] > 1))
        for f in found[: node.ndim]
    )
    identity = tuple((0, ((k, 1),) if n > 1 else ()) for k, n in enumerate(node.shape))
    if shape == node.shape and maps == identity:
        return node
    return View.of(shape, (node,), (maps,))


def narrow(node: Array) -> Array:
    """A node without the broadcasting that it begins with: what an elementwise operation can do later."""
    while isinstance(node, View):
        inner = node.args[0]
        ahead = node.ndim - inner.ndim
        plain = tuple((0, ((ahead + k, 1),) if n > 1 else ()) for k, n in enumerate(inner.shape))
        whole = all(n in (1, m) for n, m in zip(inner.shape, node.shape[ahead:], strict=True)) if ahead >= 0 else False
        if not whole or node.data[0] != plain:
            return node
        node = inner
    return node


def walk(roots: Sequence[Array]) -> list[Array]:
    """All nodes, each after its arguments."""
    out, seen = list[Array](), set[Array]()
    stack = [(r, False) for r in reversed(roots)]
    while stack:
        node, done = stack.pop()
        if done:
            out.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack += [(a, False) for a in reversed(node.args) if a not in seen]
    return out


MOST_TEXT = 2000
"""Characters of an array's text, after which it is cut."""


def text(node: Array) -> str:
    """A node's structure in words, cut where it is long: what a record tells of it."""
    if isinstance(node, State):
        return node.name
    if isinstance(node, Noise):
        return f"noise[{node.data[0]}:{node.data[0] + node.size}]"
    if isinstance(node, Scalar):
        return str(node.data[0])
    if isinstance(node, Constant):
        return f"{float(node.values):g}" if not node.shape else f"numbers{node.shape} {node.data[0][:12]}"
    inside, room = list[str](), MOST_TEXT
    for a in node.args:
        inside.append(text(a) if room > 0 else "...")
        room -= len(inside[-1])
    more = [] if isinstance(node, (Reshape, Take)) else [shown(d, MOST_TEXT) for d in node.data]
    name = more.pop(0).strip("'") if isinstance(node, (Elementwise, Reduce, Past)) else type(node).__name__.lower()
    shape = [str(node.shape)] if isinstance(node, (View, Reshape)) else []
    return f"{name}({', '.join(inside + more + shape)})"
