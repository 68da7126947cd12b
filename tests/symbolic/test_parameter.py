"""The one reader of values given for parameters: what goes in comes out, and each problem is named where it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from symbolic import Loss, Normal, parameters
from symbolic.errors import InputError
from symbolic.problem.parameter import Parameter, assign, entries, parameter, point

u, w = sp.symbols("u w", real=True)
PARTS = [parameter(entries("U", (2, 3))), parameter(u), parameter(entries("learned", (2,)))]
GIVEN: dict[Any, Any] = {"U": np.zeros((2, 3)), "u": 1.0, "learned": [1, 2]}
shapes = st.lists(st.integers(1, 3), max_size=3).map(tuple)


def key(part: Parameter, form: str) -> Any:
    """A parameter as a user may name it."""
    made = np.array(part.symbols, dtype=object).reshape(part.shape)
    if form == "name":
        return part.name
    if not part.shape:
        return part.symbols[0]
    if form == "tuple":
        return tuple(part.symbols)
    return sp.ImmutableMatrix(made.tolist()) if len(part.shape) < 3 else sp.ImmutableDenseNDimArray(made.tolist())


@settings(max_examples=100, deadline=None)
@given(data=st.data(), layout=st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), shapes, min_size=1))
def test_what_is_assigned_comes_back(data: st.DataObject, layout: dict[str, tuple[int, ...]]) -> None:
    """Any shapes, any form of key, any order: point, and a loss's unpack after its pack."""
    parts = [
        parameter(entries(name, shape), name) if shape else parameter(entries(name).item())
        for name, shape in layout.items()
    ]
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    values = {p.name: rng.normal(size=p.shape) for p in parts}
    order = data.draw(st.permutations(parts))
    mapping = {key(p, data.draw(st.sampled_from(["name", "symbols", "tuple"]))): values[p.name] for p in order}
    assert assign("start", parts, mapping, lambda p, here, value: (p, here, value)) == [
        (p, f"start[{p.name}]", pytest.approx(values[p.name], rel=0)) for p in parts
    ]
    packed = point(parts, "start", mapping)
    assert packed.tolist() == [e for p in parts for e in values[p.name].ravel()]
    x = sp.Symbol("x", real=True)
    loss = Loss(
        sp.Add(*(s for p in parts for s in p.symbols)) * x,
        {p.name: np.array(p.symbols, dtype=object).reshape(p.shape) if p.shape else p.symbols[0] for p in parts},
        {x: Normal(0, 1)},
    )
    assert all(np.array_equal(v, values[name]) for name, v in loss.unpack(loss.pack(mapping)).items())


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        ({"U": np.zeros((3, 2))}, ["start[U]: must have shape (2, 3); got (3, 2)"]),
        ({"u": None}, ["start[u]: must be finite; got nan"]),
        ({"u": "1"}, ["start[u]: must be a real number; got '1' (str)"]),
        ({"learned": [[1, 2], [3]]}, ["start[learned]: must be real numbers, in rows of equal length; got"]),
        ({u: 2.0}, ["start[u]: every parameter needs one value; got 2 of them"]),
        ({"lerned": 1}, ["start[lerned]: must name a parameter; got 'lerned' (str). Did you mean 'learned'?"]),
        ({w: 1}, ["start[w]: must name a parameter; got w (Symbol). There are: U, u, learned."]),
        ({3: 1}, ["start[3]: must name a parameter; got 3 (int). There are: U, u, learned."]),
        ({"two\nlines": 1}, ["start[two\\nlines]: must name a parameter; got 'two\\nlines' (str)."]),
        ({"u": np.inf, "q": 1}, ["start[u]: must be finite", "start[q]: must name a parameter"]),
    ],
)
def test_refusals(change: dict[Any, Any], lines: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        point(PARTS, "start", {**GIVEN, **change})
    found = str(caught.value).splitlines()
    assert len(found) == len(lines)
    assert all(text.startswith(line) for text, line in zip(found, lines, strict=True)), found


def test_what_is_missing_is_named_with_its_shape() -> None:
    with pytest.raises(InputError) as caught:
        point(PARTS, "at", {"u": 1})
    assert str(caught.value).splitlines() == [
        "at[U]: every parameter needs one value; got nothing (missing). Give an array of shape (2, 3).",
        "at[learned]: every parameter needs one value; got nothing (missing). Give an array of shape (2,).",
    ]
    with pytest.raises(InputError, match=r"at: must be a mapping \{parameter: value\}; got \[1, 2\] \(list\)"):
        point(PARTS, "at", [1, 2])  # type: ignore[arg-type]


def test_names_places_and_defaults() -> None:
    found = assign("run", PARTS, {"u": 5}, lambda p, here, v: (here, v), place="{where}.{name}", default=0)
    assert found == [("run.U", 0), ("run.u", 5), ("run.learned", 0)]
    same_name = sp.Symbol("u")
    with pytest.raises(InputError, match="other assumptions"):
        assign("run", PARTS, {same_name: 5}, lambda p, here, v: v, default=0)
    with pytest.raises(InputError, match=r"n\[k\]: must name a constant; got 'k' \(str\)\. There are: none\."):
        assign("n", [], {"k": 1}, lambda p, here, v: v, kind="constant")


def test_parameters_of_a_matrix_key() -> None:
    U, v = parameters(U=(2, 2), v=(3,))
    assert point([parameter(U), parameter(v)], "start", {v: sp.Matrix([1, 2, 3]), U: [[1, 2], [3, 4]]}).tolist() == [
        1, 2, 3, 4, 1, 2, 3,
    ]  # fmt: skip
