"""No false law: what looks like one at special data, buffers, masks, precisions, scales, or from one reader of two."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sde.networks import Symmetries, symmetries
from symbolic.errors import InputError
from tests.networks.zoo import Lambda, mlp, norm0, rms0, tensor


def found(model: nn.Module, *inputs: Any, **settings: Any) -> Symmetries:
    return symmetries(model, *inputs, **settings)


def normed(eps: float) -> nn.Module:
    return nn.Sequential(nn.Linear(2, 8), nn.LayerNorm(8, eps=eps, elementwise_affine=False), nn.Linear(8, 2, False))


@pytest.mark.parametrize("eps", [1e-5, 1e-9, 1e-12])
def test_an_epsilon_in_a_norm_breaks_the_scale_however_small(eps: float) -> None:
    theory = found(normed(eps), torch.randn(4, 2))
    assert theory.independent_charges == 5 and not any(c.kind == "scale" for c in theory.exact), theory.summary()
    if eps >= 1e-9:
        (scale,) = theory.broken
        assert scale.kind == "scale" and scale.noise == "divergent" and eps / 1e3 < scale.size < 1e3 * eps


def test_a_fresh_modules_running_mean_of_zero_makes_no_law() -> None:
    model = nn.Sequential(nn.Linear(2, 3, False), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 1)).eval()
    theory = found(model, torch.randn(8, 2))
    assert theory.independent_charges == 3 and all("0.weight" not in c.name for c in theory.charges)


def test_one_reader_of_two_does_not_carry_the_law() -> None:
    reads = Lambda(
        lambda m, x: (m.b(h := torch.relu(m.a(x)))) + m.c(torch.tanh(h)),
        a=nn.Linear(2, 3),
        b=nn.Linear(3, 2),
        c=nn.Linear(3, 2),
    )
    assert found(reads, torch.randn(4, 2)).independent_charges == 2  # the two biases add: b and c's, entry by entry


def test_a_dropout_mask_is_drawn_for_every_pass() -> None:
    model = nn.Sequential(nn.Linear(2, 4, False), nn.Dropout(0.5), nn.Linear(4, 2, False))
    assert (
        found(model, torch.randn(1, 2)).independent_charges == 4
    )  # a fixed mask would leave GL(2) of two that are kept
    assert found(model.eval(), torch.randn(1, 2)).independent_charges == 10  # GL(4)


def test_constant_and_one_hot_inputs_make_no_law() -> None:
    model = mlp(nn.Tanh())
    assert found(model, torch.ones(4, 2)).independent_charges == 0
    assert found(model, torch.eye(2)).independent_charges == 0
    assert found(model, torch.zeros(4, 2)).independent_charges == 0


def test_ids_of_a_batch_are_not_the_vocabulary() -> None:
    model = nn.Sequential(nn.Embedding(9, 3), nn.Tanh(), nn.Linear(3, 2))
    assert found(model, torch.zeros(2, 2, dtype=torch.long)).independent_charges == 0


def test_dead_units_of_the_model_given_make_no_law() -> None:
    model: Any = mlp(nn.ReLU())
    with torch.no_grad():
        model[0].bias.fill_(-100.0)
    assert found(model, torch.randn(4, 2)).independent_charges == 3


def test_a_soft_cap_hides_no_shift_and_keeps_none() -> None:
    model = Lambda(lambda m, x: 5 * torch.tanh(m.a(x) / 5), a=nn.Linear(2, 3))
    assert found(model, torch.randn(4, 2), loss="cross_entropy").independent_charges == 0


def test_a_router_of_normalised_sigmoids_conserves_nothing() -> None:
    def route(m: Any, x: Tensor) -> Tensor:
        gate = torch.sigmoid(m.gate(x))
        return ((gate / gate.sum(-1, keepdim=True))[..., None] * torch.stack([m.a(x), m.b(x)], -2)).sum(-2)

    model = Lambda(route, gate=nn.Linear(2, 2), a=nn.Linear(2, 2), b=nn.Linear(2, 2))
    assert found(model, torch.randn(4, 2)).independent_charges == 0


def test_query_key_normalisation_and_rotary_pairs_leave_only_the_scales() -> None:
    def attend(m: Any, x: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(rms0(x @ m.q.T), rms0(x @ m.k.T), x)

    theory = found(Lambda(attend, q=tensor(4, 2), k=tensor(4, 2)), torch.randn(2, 4, 2))
    assert theory.independent_charges == 2 and {c.kind for c in theory.exact} == {"scale"}


def test_casts_to_float32_inside_a_model_are_no_breaking() -> None:
    model = Lambda(lambda m, x: m.b(torch.relu(m.a(x).float()).to(torch.float32)), a=nn.Linear(2, 3), b=nn.Linear(3, 2))
    theory = found(model.float(), torch.randn(4, 2))
    assert theory.independent_charges == 3 and max(c.size for c in theory.exact) < 1e-12


def test_an_almost_homogeneous_activation_is_not_one() -> None:
    model = Lambda(lambda m, x: m.b(F.softplus(200 * m.a(x)) / 200), a=nn.Linear(2, 3), b=nn.Linear(3, 2))
    assert found(model, torch.randn(4, 2)).independent_charges == 0


def test_a_tensor_used_twice_is_counted_once() -> None:
    shared = nn.Linear(2, 2, False)
    model = nn.Sequential(shared, nn.ReLU(), shared)
    assert found(model, torch.randn(4, 2)).independent_charges == 0  # rows and columns act on the same tensor
    tied: Any = Lambda(lambda m, i: m.out(torch.relu(m.e(i))), e=nn.Embedding(5, 3), out=nn.Linear(3, 5, False))
    tied.out.weight = tied.e.weight
    theory = found(tied, torch.randint(0, 5, (6,)))
    assert theory.independent_charges == 0 and theory.tied == {"e.weight": ["out.weight"]}


def test_frozen_parameters_are_constants() -> None:
    model: Any = mlp(nn.ReLU())
    model[2].weight.requires_grad_(False)
    assert found(model, torch.randn(4, 2)).independent_charges == 0


def test_a_shared_temperature_is_against_all_queries() -> None:
    model = Lambda(lambda m, x: torch.tanh(m.t * (x @ m.q.T)), t=tensor(1), q=tensor(3, 2))
    theory = found(model, torch.randn(4, 2))
    assert theory.independent_charges == 1 and theory.exact[0].name == "t^2 - q^2"


def test_the_mean_that_a_norm_removes_is_not_there_when_a_gain_follows() -> None:
    gained = Lambda(lambda m, x: m.b(norm0(m.a(x)) * m.g), a=nn.Linear(2, 3), b=nn.Linear(3, 2, False), g=tensor(3))
    theory = found(gained, torch.randn(4, 2))
    assert theory.independent_charges == 7  # scale, 3 shifts of what enters, 3 gains against readers


def test_what_cannot_be_tested_is_refused_with_the_reason() -> None:
    class Restless(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.n = nn.Linear(2, 2), 0

        def forward(self, x: Tensor) -> Tensor:
            self.n += 1
            return self.a(x) * self.n

    with pytest.raises(InputError, match="must repeat under one seed"):
        found(Restless(), torch.randn(4, 2))
    with pytest.raises(InputError, match="must depend on its parameters"):
        found(Lambda(lambda m, x: x, a=nn.Linear(2, 2)), torch.randn(4, 2))
    with pytest.raises(InputError, match="must be a torch.nn.Module"):
        found(torch.relu, torch.randn(4, 2))
    with pytest.raises(InputError, match="loss: must be one of"):
        found(nn.Linear(2, 2), torch.randn(4, 2), loss="cross entropy")
    with pytest.raises(InputError, match="unknowns without make"):
        found(nn.Linear(4000, 4000), torch.randn(1, 4000))


def test_the_model_is_not_touched() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Dropout(), nn.Linear(3, 1))
    before = {n: t.clone() for n, t in model.state_dict().items()}
    state = torch.get_rng_state()
    found(model, torch.randn(8, 2))
    torch.set_rng_state(state)
    after = model.state_dict()
    assert all(torch.equal(before[n], after[n]) for n in before) and model.training
    assert all(p.grad is None and p.dtype == torch.float32 for p in model.parameters())


def test_rows_of_a_table_that_no_input_indexes_are_no_laws() -> None:
    """Five words of four hundred: nothing is said of the others' rows but what holds when they come up."""

    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.out = nn.Embedding(400, 4), nn.Linear(4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.out(self.table(x)).mean(1)

    torch.manual_seed(0)
    theory = symmetries(Words(), torch.randint(0, 5, (2, 3)))
    assert len(theory.exact) == 10 and {c.kind for c in theory.exact} == {"rescaling", "GL pair"}
