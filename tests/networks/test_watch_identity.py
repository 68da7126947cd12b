"""What the optimiser's steps make of the charges, exactly: docs/theory.md eqs. (11.1) to (11.4)."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR

from tests.networks.watched import charges_of, network, watched


def sgd(**settings):
    return lambda model: SGD(model.parameters(), **{"lr": 0.02, **settings})


def weights_decay(model, **settings):
    weights, biases = ([p for p in model.parameters() if (p.ndim > 1) == w] for w in (True, False))
    return SGD([{"params": weights, "weight_decay": 1e-2}, {"params": biases}], lr=0.02, **settings)


def each_its_own(model):
    layers = [{"params": list(model[i].parameters())} for i in (0, 2, 4)]
    layers[0] |= {"lr": 0.05, "momentum": 0.5}
    layers[1] |= {"weight_decay": 1e-2, "dampening": 0.2}
    layers[2] |= {"momentum": 0.0}
    return SGD(layers, lr=0.02, momentum=0.9)


class Decoupled(Optimizer):
    """SGD with momentum whose decay does not enter the momentum, as other libraries have it."""

    def __init__(self, parameters, lr, momentum=0.0, weight_decay=0.0, nesterov=False):
        super().__init__(
            parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "nesterov": nesterov}
        )

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.mul_(1 - group["lr"] * group["weight_decay"])
                u = p.grad
                if group["momentum"]:
                    v = self.state[p].setdefault("momentum_buffer", torch.zeros_like(p))
                    v.mul_(group["momentum"]).add_(p.grad)
                    u = p.grad + group["momentum"] * v if group["nesterov"] else v
                p.sub_(group["lr"] * u)


LOOPS = {
    "plain": (sgd(lr=0.05), {}),
    "momentum": (sgd(momentum=0.9), {}),
    "dampening, decay": (sgd(momentum=0.9, dampening=0.3, weight_decay=1e-2), {}),
    "nesterov": (sgd(momentum=0.9, nesterov=True), {}),
    "nesterov, decay": (sgd(momentum=0.9, nesterov=True, weight_decay=1e-2), {}),
    "decay": (sgd(lr=0.05, weight_decay=1e-2), {}),
    "decoupled": (lambda m: Decoupled(m.parameters(), 0.05, 0.0, 1e-2), {}),
    "decoupled, momentum": (lambda m: Decoupled(m.parameters(), 0.02, 0.9, 1e-2), {}),
    "decoupled, nesterov": (lambda m: Decoupled(m.parameters(), 0.02, 0.9, 1e-2, True), {}),
    "maximize": (sgd(lr=-0.0, momentum=0.9, maximize=True, nesterov=True, weight_decay=1e-2), {}),
    "foreach": (sgd(momentum=0.9, foreach=True), {}),
    "fused": (sgd(momentum=0.9, nesterov=True, fused=True), {}),
    "no decay of biases": (lambda m: weights_decay(m, momentum=0.9, nesterov=True), {}),
    "three groups": (each_its_own, {}),
    "cosine": (sgd(lr=0.05, momentum=0.9, weight_decay=1e-3), {"scheduler": lambda o: CosineAnnealingLR(o, 1000)}),
    "one cycle of lr and momentum": (
        sgd(momentum=0.9),
        {"scheduler": lambda o: OneCycleLR(o, 0.05, total_steps=1001, cycle_momentum=True)},
    ),
    "accumulated, clipped": (sgd(lr=0.05, momentum=0.9, weight_decay=1e-3), {"passes": 2, "clip": 0.3}),
}
STEPS = 1000


@pytest.fixture(scope="module")
def known():
    return charges_of(network())


@pytest.mark.parametrize("name", [n for n in LOOPS if n != "maximize"])
def test_identity_is_exact_over_a_chain_of_steps(name, known):
    """Of docs/theory.md eqs. (11.1), (11.2), (11.3) and (11.4)."""
    make, options = LOOPS[name]
    run = watched(make, STEPS, every=STEPS, per_sample=None, charges=known, **options).to_xarray()
    assert run.step.values.tolist() == [0, STEPS]
    assert abs(run.residual[1:]).max() < 1e-12
    moved = abs(run.change[1]) / run.scale[1]
    assert np.median(moved) > 1e-3  # or there was nothing to follow


def test_identity_holds_for_maximize():
    run = watched(LOOPS["maximize"][0], 20, every=10, per_sample=None).to_xarray()
    ascend = watched(
        sgd(lr=1e-3, momentum=0.9, maximize=True, nesterov=True, weight_decay=1e-2), 20, every=10
    ).to_xarray()
    assert abs(run.change[1:]).max() == 0
    assert abs(ascend.residual[1:]).max() < 1e-13
    assert (abs(ascend.change[1:]).max("step") > 0).all()


def test_float32_is_followed_to_its_rounding(known):
    run = watched(
        sgd(lr=0.1, momentum=0.9, weight_decay=1e-3),
        STEPS,
        every=STEPS,
        per_sample=None,
        dtype=torch.float32,
        charges=known,
    ).to_xarray()
    assert abs(run.residual[1:]).max() < 3e-6
    assert np.linalg.norm(run.residual[1] * run.scale[1]) < 1e-5 * np.linalg.norm(run.change[1])


@pytest.mark.parametrize("how", ["new tensors", "new memory"])
def test_momentum_may_be_put_elsewhere(known, how):
    count, seen = iter(range(10**6)), []

    def make(model):
        seen.append(SGD(model.parameters(), lr=0.02, momentum=0.9))
        return seen[0]

    def move(model):
        if next(count) == 30:
            for state in seen[0].state.values():
                copy = state["momentum_buffer"].clone()
                if how == "new tensors":
                    state["momentum_buffer"] = copy
                else:
                    state["momentum_buffer"].data = copy

    run = watched(make, 60, every=60, per_sample=None, charges=known, after_pass=move).to_xarray()
    assert abs(run.residual[1]).max() < 1e-13


def test_a_step_that_is_not_the_optimisers_is_seen(known):
    count = iter(range(10**6))

    def clamp(model):
        if next(count) == 30:
            with torch.no_grad():
                model[0].weight.clamp_(-0.3, 0.3)

    run = watched(sgd(momentum=0.9), 60, every=20, per_sample=None, charges=known, after_pass=clamp).to_xarray()
    worst = abs(run.residual).max("charge").values
    assert worst[1] < 1e-13
    assert worst[3] < 1e-13
    assert worst[2] > 1e-3


def test_wrong_rules_are_refused_by_the_numbers(known):
    def scaled(model):
        return Decoupled(model.parameters(), 0.02, 0.9, 1e-2)

    good = watched(scaled, 100, every=25, per_sample=None, charges=known)
    assert good.to_xarray().attrs["followed_as"] == "sgd"

    class Other(Decoupled):
        def step(self, closure=None):
            for group in self.param_groups:
                for p in group["params"]:
                    p.grad.sign_()
            super().step()

    class Faster(Decoupled):
        def step(self, closure=None):
            super().step()
            super().step()

    for kind in (Other, Faster):
        run = watched(
            lambda m, kind=kind: kind(m.parameters(), 1e-3, 0.9), 40, every=20, per_sample=None, charges=known
        )
        assert not (run.to_xarray().residual[-1] < 1e-12).all()


def test_clipping_by_tensor_breaks_the_identity_and_is_named(known):
    def clip(model):
        for p in model.parameters():
            nn.utils.clip_grad_norm_([p], 0.05)

    monitor = watched(sgd(lr=0.05), 40, every=20, charges=known, after_pass=clip)
    assert abs(monitor.to_xarray().residual[-1]).max() > 1e-6
    assert any("tensor by tensor" in note for note in monitor.notes)
    assert {v.group: v.verdict for v in monitor.verify().verdicts}["identity"] == "refuted"


def test_adaptive_steps_are_split(known):
    model_steps = watched(lambda m: torch.optim.Adam(m.parameters(), lr=1e-3), 40, every=20, charges=known)
    run = model_steps.to_xarray()
    assert run.attrs["followed_as"] == "other"
    assert run.residual[1:].isnull().all()
    np.testing.assert_allclose(run.first_order[1:] + run.second_order[1:], run.change[1:], rtol=1e-9, atol=1e-15)
    assert (abs(run.first_order[1:]).mean() > 5 * abs(run.second_order[1:]).mean()).item()
