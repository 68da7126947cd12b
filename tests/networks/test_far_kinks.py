"""A law holds on every side of every kink that parameters and data can reach: none is one that ends far off."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sde.networks import symmetries
from tests.networks.zoo import Lambda, mlp


def soft_clip(x: Tensor) -> Tensor:
    h = torch.relu(x)
    return torch.where(h > 8, 8 + torch.tanh(h - 8), h)


def acting(act: Any, last: Any = lambda f: f) -> nn.Module:
    return Lambda(lambda m, x: last(m.b(act(m.a(x)))), a=nn.Linear(2, 3), b=nn.Linear(3, 2))


def switching() -> nn.Module:
    """By the inputs alone, which no symmetry moves."""

    def forward(m: Any, x: Tensor) -> Tensor:
        h = m.a(x)
        return m.b(torch.where(x.norm(dim=-1, keepdim=True) > 50, torch.tanh(h), torch.relu(h)))

    return Lambda(forward, a=nn.Linear(2, 3), b=nn.Linear(3, 2))


ENDING = {
    "relu 6": lambda: mlp(nn.ReLU6()),
    "clip of both sides": lambda: mlp(nn.Hardtanh(-20, 20)),
    "clip at 1000": lambda: acting(lambda h: h.clamp(0, 1000)),
    "soft clip": lambda: acting(soft_clip),
    "relu 6 below outputs that saturate": lambda: acting(F.relu6, torch.tanh),
    "clip at 1000 below outputs that saturate": lambda: acting(lambda h: h.clamp(0, 1000), torch.tanh),
    "a switch by the inputs": switching,
    "a unit of directions": lambda: Lambda(
        lambda m, x: m.b(F.relu6(x @ F.normalize(m.a, dim=0))), a=nn.Parameter(torch.randn(2, 3)), b=nn.Linear(3, 2)
    ),
}


@pytest.mark.parametrize("name", ENDING)
def test_a_law_that_ends_far_off_is_none(name: str) -> None:
    torch.manual_seed(0)
    theory = symmetries(ENDING[name](), torch.randn(4, 2))
    assert not any(c.kind in ("rescaling", "GL pair") for c in theory.exact), theory.summary()


@pytest.mark.parametrize("scale", [1.0, 5.0])
def test_what_ends_far_off_is_told_with_its_size_at_the_models_own_parameters(scale: float) -> None:
    torch.manual_seed(0)
    model: Any = mlp(nn.ReLU6())
    x = torch.randn(16, 2)
    with torch.no_grad():
        model[0].weight *= scale / 2
        model[0].bias.fill_(0.1)
    inside = float(model[0](x).detach().max()) < 6
    theory = symmetries(model, x)
    assert not len(theory.exact) and len(theory.broken) == 3 and all(c.size < 1e-13 for c in theory.broken) == inside


def test_the_answer_does_not_depend_on_how_large_a_batch_is() -> None:
    torch.manual_seed(0)
    model, x = mlp(nn.ReLU6()), torch.randn(4, 2)
    assert [len(symmetries(model, s * x).exact) for s in (1e-2, 1.0, 10.0)] == [0, 0, 0]


def test_units_that_wake_up_far_off_have_gradients() -> None:
    """No draw of order one passes the threshold; its jump breaks no law of the gradient."""
    model = acting(lambda h: F.threshold(h, 50.0, 0.0))
    theory = symmetries(model, torch.randn(4, 2))
    assert not any(c.kind == "no gradient" for c in theory.exact), theory.summary()


KEPT = {
    "outputs that are clipped": (lambda: acting(torch.relu, lambda f: f.clamp(-5, 5)), 3),
    "outputs that saturate": (lambda: acting(torch.relu, torch.tanh), 3),
    "outputs that overflow": (lambda: acting(torch.relu, torch.exp), 3),
    "an index made of the input": (
        lambda: Lambda(
            lambda m, x: m.b(torch.relu(m.a(x) + torch.arange(30.0)[x.abs().long()].sum(-1, keepdim=True) * m.c)),
            a=nn.Linear(2, 3),
            b=nn.Linear(3, 2),
            c=nn.Parameter(torch.randn(3)),
        ),
        3,
    ),
}


@pytest.mark.parametrize("name", KEPT)
def test_laws_stay_where_far_off_nothing_is_finite_or_seen(name: str) -> None:
    make, count = KEPT[name]
    torch.manual_seed(0)
    theory = symmetries(make(), torch.randn(4, 2))
    assert sum(c.kind == "rescaling" for c in theory.exact) == count, theory.summary()
