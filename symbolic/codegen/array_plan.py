"""Which parts of array expressions are kept in rows of their own, and what stays in the loop that uses it.

A kernel is a nest of loops that fills one target. Elementwise operations stay in the kernel that consumes them; kept
are sums and other reductions, joined arrays, what is read by place (reshapes, indices), and whatever would be computed
more than once, in two kernels or over and over along an axis that it does not have.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from symbolic.arrays.expression import (
    Array,
    Call,
    Constant,
    Elementwise,
    Join,
    Noise,
    Reduce,
    Reshape,
    Scalar,
    State,
    Take,
    View,
    walk,
)
from symbolic.arrays.operations import OPERATIONS

Place = tuple[int, tuple[tuple[int, int], ...]]
"""start + sum of step * (the kernel's index along axis), as (start, ((axis, step), ...))."""
Index = tuple[Place, ...]
CHEAP = 1
"""Additions that may rather be done again than kept."""
ADDRESSED = (State, Noise, Constant)
"""Leaves that lie in rows."""


@dataclass(frozen=True)
class Kernel:
    """Loops over `extents` that compute `body` at `index`; reduced: how many of the last loops are summed over."""

    extents: tuple[int, ...]
    body: Array
    index: Index
    reduced: int = 0


def whole(shape: Sequence[int], first: int = 0) -> Index:
    """Each axis by a loop of its own, from number `first` on."""
    return tuple((0, ((first + k, 1),) if n > 1 else ()) for k, n in enumerate(shape))


def composed(place: Place, index: Index) -> Place:
    """A place in terms of axes that stand at `index`."""
    start, steps = place
    total = dict[int, int]()
    for axis, step in steps:
        own, inner = index[axis]
        start += step * own
        for a, s in inner:
            total[a] = total.get(a, 0) + s * step
    return start, tuple(sorted((a, s) for a, s in total.items() if s))


def moved(index: Index, axis: int, shift: int) -> Index:
    """The index some entries further along an axis of the kernel."""
    return tuple((start + shift * sum(s for a, s in steps if a == axis), steps) for start, steps in index)


def flat(index: Index, shape: Sequence[int]) -> Place:
    """The row-major place of an index."""
    strides = [1]
    for n in reversed(shape[1:]):
        strides.insert(0, strides[0] * n)
    return composed((0, tuple(enumerate(strides[: len(shape)]))), index)


def arguments(node: Array, index: Index) -> list[tuple[Array, Index]]:
    """What an elementwise operation or a view takes to be computed at an index."""
    if isinstance(node, View):
        return [(node.args[0], tuple(composed(p, index) for p in node.data[0]))]
    out = []
    for a in node.args:
        own = index[node.ndim - a.ndim :] if a.ndim else ()
        out.append((a, tuple(p if n > 1 else (0, ()) for p, n in zip(own, a.shape, strict=True))))
    return out


def kernels_of(node: Array) -> list[Kernel]:
    """What fills a kept node: one kernel, or one for each of the arrays that are joined."""
    if isinstance(node, Call):
        return [Kernel((), a, ()) for a in node.args if not a.shape]
    if isinstance(node, Join):
        return [Kernel(a.shape, a, whole(a.shape)) for a in node.args]
    if not isinstance(node, Reduce):
        return [Kernel(node.shape, node, whole(node.shape))]
    (inner,), axes = node.args, node.data[1]
    left = [k for k in range(inner.ndim) if k not in axes]
    order = [*left, *axes]
    index = tuple((0, ((order.index(k), 1),) if n > 1 else ()) for k, n in enumerate(inner.shape))
    return [Kernel(tuple(inner.shape[k] for k in order), inner, index, len(axes))]


def read_within(kernel: Kernel, kept: set[Array]) -> Iterator[tuple[Array, Index]]:
    """All that a kernel computes or reads, itself included, with the places; not what kept nodes are made of, but for
    its own."""
    seen, stack = set[tuple[Array, Index]](), [(kernel.body, kernel.index, True)]
    while stack:
        node, index, first = stack.pop()
        if (node, index) in seen:
            continue
        seen.add((node, index))
        yield node, index
        if isinstance(node, (Elementwise, View)) and (first or node not in kept):
            stack += [(a, i, False) for a, i in arguments(node, index)]


def keep(roots: Sequence[Array], forced: Sequence[Array] = ()) -> list[Array]:
    """Nodes that are kept, in the order in which they can be filled. forced: some of them."""
    nodes, kept = walk(roots), set(forced)
    costs = _costs(nodes)
    for node in nodes:
        if isinstance(node, (Reduce, Join, Call)):
            kept.add(node)
        if (
            isinstance(node, (Take, Reshape, Call))
            and len(node.args[0].shape)
            and not isinstance(node.args[0], ADDRESSED)
        ):
            kept.add(node.args[0])
    contexts: dict[Array, set[tuple[int, Index, int]]] = {n: set() for n in nodes}
    for k, root in enumerate(roots):
        if root not in kept:
            contexts[root].add((-1 - k, whole(root.shape), root.size))
    for number, node in enumerate(reversed(nodes)):
        if node not in kept and isinstance(node, Elementwise) and costs[node] > CHEAP and _again(node, contexts[node]):
            kept.add(node)
        if node in kept:
            where = []
            for k, kernel in enumerate(kernels_of(node)):
                size = _size(kernel.extents)
                if kernel.body is node:
                    where += [(a, (number, i, size)) for a, i in _inside(node, kernel.index)]
                else:
                    where.append((kernel.body, (number + k * len(nodes), kernel.index, size)))
        else:
            where = [(a, (n, i, size)) for n, index, size in contexts[node] for a, i in _inside(node, index)]
        for a, context in where:
            contexts[a].add(context)
    return [n for n in nodes if n in kept]


def _inside(node: Array, index: Index) -> list[tuple[Array, Index]]:
    return arguments(node, index) if isinstance(node, (Elementwise, View)) else []


def _again(node: Array, contexts: set[tuple[int, Index, int]]) -> bool:
    return len(contexts) > 1 or any(size > node.size for _, _, size in contexts)


def _size(extents: Sequence[int]) -> int:
    out = 1
    for n in extents:
        out *= n
    return out


def _costs(nodes: Sequence[Array]) -> dict[Array, int]:
    costs = dict[Array, int]()
    for node in nodes:
        own = OPERATIONS[node.data[0]].cost if isinstance(node, Elementwise) else 0
        costs[node] = own + (sum(costs[a] for a in node.args) if isinstance(node, (Elementwise, View)) else 0)
    return costs


def plain(node: Array) -> bool:
    """Whether it is one number that all paths share, made of such numbers alone."""
    return all(not n.shape and n.uniform and isinstance(n, (Elementwise, Scalar, Constant)) for n in walk([node]))
