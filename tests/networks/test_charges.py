"""Charges as arrays: value, form and field against dense matrices."""

from __future__ import annotations

import numpy as np
import torch

from sde.networks.charge import Charge, Shift, Term
from sde.networks.charges import Charges

SHAPES = {"a": (3, 4), "b": (3,), "c": (5, 3), "s": (3, 2, 4)}


def dense(charge: Charge) -> tuple[torch.Tensor, torch.Tensor]:
    """A and b on all entries, by the words of Term and Shift, entry by entry."""
    starts, n = {}, 0
    for name, shape in SHAPES.items():
        starts[name], n = n, n + int(np.prod(shape))
    number = {name: starts[name] + np.arange(np.prod(s)).reshape(s) for name, s in SHAPES.items()}

    def entries(name: str, axes: tuple[int, ...], index: int) -> np.ndarray:
        place: list = [slice(None)] * len(SHAPES[name])
        for a, i in zip(axes, np.unravel_index(index, [SHAPES[name][a] for a in axes]), strict=True):
            place[a] = int(i)
        return number[name][tuple(place)].reshape(-1)

    A, b = np.zeros((n, n)), np.zeros(n)
    for t in charge.terms:
        for i, j, w in zip(t.rows, t.columns, t.weights, strict=True):
            left, right = entries(t.left, t.left_axes, i), entries(t.right, t.right_axes, j)
            A[left, right] += w
            if t.left != t.right or i != j:
                A[right, left] += w
    for s in charge.shift:
        for i, w in zip(s.index, s.weights, strict=True):
            b[entries(s.parameter, s.axes, i)] += w
    return torch.tensor(A), torch.tensor(b)


CHARGES = [
    Charge("unit", (Term("a", "a", (0,), (0,), (1,), (1,), (1.0,)), Term("b", "b", (0,), (0,), (1,), (1,), (1.0,)),
                    Term("c", "c", (1,), (1,), (1,), (1,), (-1.0,))), (), "rescaling", "convergent", "exact", 0.0),
    Charge("pair", (Term("a", "a", (0,), (0,), (0,), (2,), (1.0,)), Term("c", "c", (1,), (1,), (0,), (2,), (-1.0,))),
           (), "GL pair", "convergent", "exact", 0.0),
    Charge("cross", (Term("a", "s", (0,), (0, 1), (2,), (3,), (0.5,)),), (), "GL pair", "convergent", "exact", 0.0),
    Charge("whole", (Term("s", "s", (), (), (0,), (0,), (2.0,)),), (Shift("b", (), (0,), (1.0,)),), "affine",
           "divergent", "exact", 0.0),
    Charge("slices",
           (Term("s", "s", (0, 2), (0, 2), (5, 7), (5, 6), (1.0, -3.0)),), (Shift("c", (1,), (2,), (0.5,)),),
           "affine", "convergent", "exact", 0.0),
]  # fmt: skip


def random(seed: int) -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(seed)
    return {name: torch.tensor(rng.normal(size=shape)) for name, shape in SHAPES.items()}


def flat(tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([tensors.get(n, torch.zeros(s)).double().reshape(-1) for n, s in SHAPES.items()])


def test_values_forms_and_fields_are_those_of_the_dense_matrices() -> None:
    theta, d1, d2 = random(0), random(1), random(2)
    charges = Charges.of(CHARGES, theta)
    AB = [dense(c) for c in CHARGES]
    x, u, v = flat(theta), flat(d1), flat(d2)
    torch.testing.assert_close(charges.value(theta), torch.stack([x @ A @ x + 2 * b @ x for A, b in AB]))
    torch.testing.assert_close(charges.form(d1, d2), torch.stack([u @ A @ v for A, _ in AB]))
    torch.testing.assert_close(charges.linear(theta), torch.stack([b @ x for _, b in AB]))
    for k, charge in enumerate(CHARGES):
        torch.testing.assert_close(charge.value(theta).double(), charges.value(theta)[k])
        torch.testing.assert_close(charge.form(d1, d2).double(), charges.form(d1, d2)[k])
        torch.testing.assert_close(flat(charge.field(theta)), AB[k][0] @ x + AB[k][1])
    c = torch.linspace(-1, 2, len(AB)).double()
    field = charges.field(theta, c)
    torch.testing.assert_close(flat(field), sum(w * (A @ x + b) for w, (A, b) in zip(c, AB, strict=True)))


def test_a_sequence_of_records_that_name_their_slices() -> None:
    charges = Charges.of(CHARGES, random(0))
    assert len(charges) == 5 and charges[0].terms == CHARGES[0].terms
    assert charges[0].name == "a[1,:]^2 + b[1]^2 - c[:,1]^2"
    assert charges[1].name == "2 <a[0,:], a[2,:]> - 2 <c[:,0], c[:,2]>"
    assert charges[3].name == "2 s^2 + 2 sum b"
    assert charges[0].parameters == ("a", "b", "c")
