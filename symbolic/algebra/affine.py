"""Affine vector fields v(theta) = A theta + b as sparse vectors over (A row-major, b): their bracket, kind and fixed
point."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from symbolic.algebra.nullspace import Number, Solver, Vector, kernel
from symbolic.algebra.polynomial import add

Kind = Literal["rescaling", "scale", "rotation", "translation", "shear", "mixed"]
Rows = dict[int, Vector]
"""The matrix [[A, b], [0, 0]] by rows; column D holds b."""


def rows(vector: Mapping[int, Number], size: int) -> Rows:
    """A field by the rows of [[A, b], [0, 0]]."""
    out: Rows = {}
    for index, c in vector.items():
        i, j = divmod(index, size) if index < size * size else (index - size * size, size)
        out.setdefault(i, {})[j] = c
    return out


def flat(matrix: Mapping[int, Mapping[int, Number]], size: int) -> Vector:
    """The inverse of `rows`."""
    return {i * size + j if j < size else size * size + i: c for i, row in matrix.items() for j, c in row.items() if c}


def coordinates(vectors: Iterable[Mapping[int, Number]], size: int) -> set[int]:
    """The entries of theta that fields move or depend on."""
    out: set[int] = set()
    for vector in vectors:
        for index in vector:
            out.update(divmod(index, size) if index < size * size else (index - size * size,))
    return out


def product(x: Rows, y: Rows) -> Rows:
    """The matrix product."""
    out: Rows = {}
    for i, row in x.items():
        total: Vector = {}
        for k, c in row.items():
            if k in y:
                add(total, y[k], c)
        if total:
            out[i] = total
    return out


def bracket(x: Rows, y: Rows, size: int) -> Vector:
    """The Lie bracket of vector fields, [v, w] = (Dw) v - (Dv) w.

    For v = A theta + b and w = A' theta + b' it is (A'A - AA', A'b - Ab'): minus the commutator of the matrices.
    """
    out = flat(product(y, x), size)
    return add(out, flat(product(x, y), size), -1)


def fixed_point(fields: Sequence[Rows], size: int) -> Vector | None:
    """The sparse theta_0 with A theta_0 + b = 0 for every field, 0 where it is free; None when there is none."""
    lines = [line for field in fields for line in field.values()]
    if not any(size in line for line in lines):
        return {}
    touched = sorted({j for line in lines for j in line})
    position = {j: k for k, j in enumerate(touched)}
    last = position[size]
    found = kernel([{position[j]: c for j, c in line.items()} for line in lines], len(touched))
    return next(({touched[k]: c for k, c in v.items() if k != last} for v in found if last in v), None)


def kind(vector: Mapping[int, Number], size: int) -> Kind:
    """What a generator (A, b) is, exactly.

    "translation": A = 0. "scale", "rescaling": A diagonal with one sign, with both; b = 0. "rotation": A antisymmetric,
    about the origin or about a fixed point (b in the range of A). "shear": A^2 = 0 and Ab = 0, so that the flow is
    theta + t v. "mixed": anything else.
    """
    matrix, offset = {k: c for k, c in vector.items() if k < size * size}, max(vector) >= size * size
    if not matrix:
        return "translation"
    places = {divmod(k, size): c for k, c in matrix.items()}
    if all(i == j for i, j in places):
        return "mixed" if offset else "scale" if len({c > 0 for c in places.values()}) == 1 else "rescaling"
    field = rows(vector, size)
    if all(places.get((j, i), 0) == -c for (i, j), c in places.items()):
        return "rotation" if not offset or fixed_point([field], size) is not None else "mixed"
    return "mixed" if product(field, field) else "shear"


def invariant_form(fields: Sequence[Rows], size: int) -> tuple[list[int], Vector] | None:
    """The one quadratic form, up to scale, that linear fields keep: (coordinates, {i*n + j: Q_ij}), i <= j.

    Solves A^T Q + Q A = 0 for symmetric Q over the n coordinates involved. None when there is none, or more than one.
    """
    touched = sorted(
        {j for field in fields for j in (*field, *(c for line in field.values() for c in line)) if j < size}
    )
    n, position = len(touched), {j: k for k, j in enumerate(touched)}
    solver = Solver(n * n)
    solver.add(
        [
            {position[i] * n + position[j]: 1, position[j] * n + position[i]: -1}
            for i in touched
            for j in touched
            if i < j
        ]
    )
    for field in fields:
        equations: dict[tuple[int, int], Vector] = {}
        for i, line in field.items():
            for j, c in line.items():
                if j == size:
                    continue
                for k in range(n):
                    a, b = sorted((position[j], k))
                    add(equations.setdefault((a, b), {}), {position[i] * n + k: c})
        solver.add(equations.values())
    found = solver.basis()
    return (touched, {k: c for k, c in found[0].items() if k // n <= k % n}) if len(found) == 1 else None


def components(vectors: Sequence[Vector], size: int) -> list[list[Vector]]:
    """Fields grouped so that different groups touch different entries of theta."""
    parent = list(range(size))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    places = [sorted(coordinates([v], size)) for v in vectors]
    for position in places:
        for i in position[1:]:
            parent[root(i)] = root(position[0])
    out: dict[int, list[Vector]] = {}
    for vector, position in zip(vectors, places, strict=True):
        out.setdefault(root(position[0]), []).append(vector)
    return list(out.values())
