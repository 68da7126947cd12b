"""Parameters, or entries of them, that are numbers, constants, or computed by a module itself."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sde.networks import Charge, balance, covariance_traces, symmetries
from symbolic.errors import InputError
from tests.networks.zoo import Lambda


def words(padding: int | None, rows: int = 7) -> nn.Module:
    torch.manual_seed(0)
    table = nn.Embedding(rows, 3, padding_idx=padding)
    return Lambda(lambda m, i: m.o(m.e(i)).mean(1), e=table, o=nn.Linear(3, 2, bias=False))


@pytest.mark.parametrize("padding", [0, 6])
def test_the_row_for_padding_is_a_constant(padding: int) -> None:
    ids = torch.randint(0, 7, (16, 5))
    plain, padded = symmetries(words(None), ids).exact, symmetries(words(padding), ids).exact
    assert {c.name for c in padded} == {c.name for c in plain} | {f"e.weight[{padding},{k}]" for k in range(3)}
    assert len(plain) == 6


def test_a_row_for_padding_that_is_not_zero_breaks_what_mixes_its_columns() -> None:
    model: Any = words(0)
    with torch.no_grad():
        model.e.weight[0] = 1.0
    assert {c.kind for c in symmetries(model, torch.randint(0, 7, (16, 5))).exact} == {"no gradient"}


def test_columns_of_a_table_with_padding_are_carried_over() -> None:
    def make(width: int) -> nn.Module:
        return Lambda(
            lambda m, i: m.o(m.e(i)), e=nn.Embedding(6, width, padding_idx=0), o=nn.Linear(width, 3, bias=False)
        )

    torch.manual_seed(0)
    ids = torch.randint(0, 6, (8, 4))
    narrow, full = symmetries(make(8), ids, make=make), symmetries(make(8), ids)
    assert {c.name for c in narrow.exact} == {c.name for c in full.exact} and len(full.exact) == 8 + 28 + 8


def test_entries_that_a_graph_leaves_out_are_constants() -> None:
    """The first unit's bias is detached, and 0: with it the unit can be rescaled."""

    def forward(m: Any, x: Tensor) -> Tensor:
        return m.b(torch.relu(x @ m.a.T + torch.cat([m.c[:1].detach(), m.c[1:]])))

    model = Lambda(forward, a=nn.Parameter(torch.randn(3, 2)), b=nn.Linear(3, 2), c=nn.Parameter(torch.zeros(3)))
    theory = symmetries(model, torch.randn(8, 2))
    assert sum(c.kind == "rescaling" for c in theory.exact) == 3, theory.summary()
    with torch.no_grad():
        model.c.fill_(0.5)  # type: ignore[operator]
    assert sum(c.kind == "rescaling" for c in symmetries(model, torch.randn(8, 2)).exact) == 2


def gated() -> nn.Module:
    """A ReZero gate, and a scale of the logits."""
    torch.manual_seed(0)
    return Lambda(
        lambda m, x: m.s * m.o(torch.relu(m.a(x)) * m.g),
        s=nn.Parameter(torch.tensor(1.3)),
        g=nn.Parameter(torch.tensor(0.7)),
        a=nn.Linear(4, 3),
        o=nn.Linear(3, 2, bias=False),
    ).double()


def test_charges_of_numbers_have_values_forms_and_fields() -> None:
    model, x, y = gated(), torch.randn(16, 4).double(), torch.randn(16, 2).double()
    charges = symmetries(model, x).exact
    own = {n: p.detach() for n, p in model.named_parameters()}
    assert any("s" in c.parameters for c in charges) and any("g" in c.parameters for c in charges)
    for k, c in enumerate(charges):
        torch.testing.assert_close(c.value(own), charges.value(own)[k])
        torch.testing.assert_close(c.form(own, own), charges.form(own, own)[k])
        field = charges.field(own, torch.eye(len(charges)).double()[k])
        for n, moved in charges[k].field(own).items():
            assert moved.shape == own[n].shape
            torch.testing.assert_close(moved, field[n])
    grams, each = (
        covariance_traces(model, (x, y), lambda o, y: ((o - y) ** 2).sum(1), charges, method=m)
        for m in ("grams", "vmap")
    )
    assert abs(grams.noise - each.noise).max() < 1e-12 * abs(each.noise).max()
    kept = model(x).detach()
    assert balance(model, x, charges=charges).changed < 1e-13
    torch.testing.assert_close(model(x).detach(), kept)
    assert isinstance(charges[0], Charge)


def test_an_epsilon_that_is_left_out_is_that_of_the_models_precision() -> None:
    """Of float32, which a copy in float64 would not have: the breaking is the float32 model's own."""
    torch.manual_seed(0)
    for scale in (1.0, 1e-2):
        sizes = []
        for norm in (nn.RMSNorm(6), nn.RMSNorm(6, eps=torch.finfo(torch.float32).eps)):
            torch.manual_seed(1)
            model: Any = nn.Sequential(nn.Linear(4, 6), norm, nn.Linear(6, 2))
            with torch.no_grad():
                for p in model[0].parameters():
                    p *= scale
            (broken,) = symmetries(model, torch.randn(8, 4)).broken
            sizes.append(broken.size)
        assert sizes[0] == pytest.approx(sizes[1]) and sizes[0] > 1e-9
    functional = Lambda(lambda m, x: torch.rms_norm(m.a(x), (6,)), a=nn.Linear(4, 6))
    assert symmetries(functional, torch.randn(8, 4)).broken[0].size > 1e-9


@pytest.mark.filterwarnings("ignore:.*weight_norm")
def test_tensors_that_a_module_computes_and_keeps_are_copied() -> None:
    model = nn.Sequential(nn.utils.weight_norm(nn.Linear(4, 5)), nn.ReLU(), nn.Linear(5, 2))
    assert len(symmetries(model, torch.randn(6, 4)).exact) == 10


def test_a_pass_that_moves_parameters_is_refused_and_sparse_gradients_are_read() -> None:
    ids = torch.randint(0, 7, (8, 5))
    found = [
        symmetries(nn.Sequential(nn.Embedding(7, 3, sparse=s), nn.Linear(3, 2, False)), ids) for s in (False, True)
    ]
    assert len(found[0].exact) == len(found[1].exact) == 6
    with pytest.raises(InputError, match="must not change its parameters"):
        symmetries(nn.Sequential(nn.Embedding(7, 3, max_norm=0.1), nn.Linear(3, 2)), ids)
