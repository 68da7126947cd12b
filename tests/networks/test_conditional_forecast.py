"""What is forecast from the parameters and the momentum at a window's beginning, against every course that SGD may
take from there: docs/theory.md eq. (11.9)."""

import copy
import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import SGD

from sde.networks import symmetries, watch
from sde.networks.forecast import after
from sde.networks.optimiser_rules import Rule
from sde.networks.records import Records
from sde.networks.training_claims import claims_of
from sde.verification.verdicts import Claim
from tests.networks.test_watch_identity import Decoupled

ROWS, BATCH, STEPS = 3, 2, 3
DRAWS = list(itertools.combinations(range(ROWS), BATCH))
MOMENTUM = {"momentum": 0.9, "nesterov": False}
SETTINGS = {
    "plain": (SGD, {}),
    "momentum": (SGD, MOMENTUM),
    "maximised": (SGD, MOMENTUM | {"maximize": True}),
    "dampening": (SGD, MOMENTUM | {"dampening": 0.4}),
    "nesterov": (SGD, MOMENTUM | {"nesterov": True}),
    "coupled decay": (SGD, MOMENTUM | {"weight_decay": 0.2, "dampening": 0.3}),
    "coupled decay, nesterov": (SGD, MOMENTUM | {"weight_decay": 0.2, "nesterov": True}),
    "decoupled decay": (Decoupled, MOMENTUM | {"weight_decay": 0.2}),
    "decoupled decay, nesterov": (Decoupled, MOMENTUM | {"weight_decay": 0.2, "nesterov": True}),
}


def each(out, y):
    return F.cross_entropy(out, y, reduction="none")


def data():
    torch.manual_seed(0)
    return torch.randn(ROWS, 3, dtype=torch.float64), torch.tensor([0, 1, 2])


def network():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3)).double()


@pytest.fixture(scope="module")
def charges():
    """Rescalings of units, and sums over the classes: squares and lines."""
    return symmetries(network(), data()[0], loss="cross_entropy").charges


def go_on(model, optimizer, draws, rates):
    x, y = data()
    for i, rate in zip(draws, rates, strict=True):
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        each(model(x[list(i)]), y[list(i)]).mean().backward()
        optimizer.step()


def values(model, charges):
    return charges.value({n: p.detach() for n, p in model.named_parameters()}).numpy()


def misses(kind, settings, rate, charges, *, gathered):
    """Of the mean change over three steps at falling rates, the forecast less the mean of all courses; and the
    forecast. gathered: momentum was, in the window before."""
    model = network()
    optimizer = kind(model.parameters(), lr=rate, **settings)
    falling = [rate, 0.8 * rate, 0.5 * rate]
    with watch(model, optimizer, charges=charges, every=STEPS, probe=data(), loss=each, redrawn=True) as monitor:
        if gathered:
            go_on(model, optimizer, DRAWS, [1e-3] * STEPS)
        start = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
        go_on(model, optimizer, DRAWS[:STEPS], falling)
    run = monitor.to_xarray()
    changes = []
    for draws in itertools.product(DRAWS, repeat=STEPS):
        one = network()
        one.load_state_dict(start[0])
        again = kind(one.parameters(), lr=rate, **settings)
        again.load_state_dict(copy.deepcopy(start[1]))
        go_on(one, again, draws, falling)
        changes.append(values(one, charges))
    wanted = np.mean(changes, axis=0) - run.value[-2].values
    return run.predicted[-1].values - wanted, run.predicted[-1].values


@pytest.mark.parametrize("name", SETTINGS)
def test_the_forecast_is_the_mean_of_all_courses_to_second_order(name, charges):
    """Of docs/theory.md eq. (11.9): what is left falls as the third power of the rate, in which the mean gradient
    changes within the window; a wrong product would leave the second."""
    kind, settings = SETTINGS[name]
    for gathered in (False, True) if kind is SGD else (True,):
        (one, size), (half, _) = (misses(kind, settings, r, charges, gathered=gathered) for r in (1e-3, 5e-4))
        assert np.abs(size).max() > 1e-8
        assert 7.9 < np.linalg.norm(one) / np.linalg.norm(half) < 8.1, gathered


@pytest.mark.parametrize("name", ["momentum", "nesterov", "dampening"])
def test_a_forecast_is_that_of_gathered_momentum_once_the_start_is_forgotten(name):
    """Of docs/theory.md eq. (11.6), a step of many."""
    rate, noise, mean = 0.01, 0.7, 0.3
    rule = Rule(lr=rate, **{k: SETTINGS[name][1].get(k, 0.0) for k in ("momentum", "dampening", "nesterov")})
    state = np.array([2.0, 0.1, 0.2, 0.3, noise + mean, mean, 0.0, 0.0])
    for _ in range(500):
        last, state = state, after(rule) @ state
    b, c = rule.momentum, 1 - rule.momentum + 2 * rule.momentum**2 if rule.nesterov else 1 + rule.momentum
    wanted = rate**2 * (1 - rule.dampening) ** 2 * (noise / (1 - b) ** 2 + c * mean / (1 - b) ** 3)
    np.testing.assert_allclose(state[0] - last[0], wanted, rtol=1e-9)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_step_is_forecast_exactly_from_its_own_samples(name, charges):
    """Of docs/theory.md eq. (11.9) for the loop's own gradients: the momentum times the step's own is unbiased of its
    product with the mean gradient, and none but the step's own enters a window of one step."""
    kind, settings = SETTINGS[name]
    model = network()
    optimizer = kind(model.parameters(), lr=0.05, **settings)
    with watch(model, optimizer, charges=charges, every=1) as monitor:
        go_on(model, optimizer, 4 * DRAWS, [0.05] * 12)
    run = monitor.to_xarray()
    known = np.isfinite(run.predicted).values
    assert known[4:].all()
    np.testing.assert_allclose(run.predicted.values[known], run.measured.values[known], rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("name", ["momentum", "dampening", "nesterov"])
@pytest.mark.parametrize("probed", [True, False])
def test_what_is_known_is_what_gradients_that_were_seen_make(name, probed, charges):
    """A probe sees none of a window's own; samples of the loop are the first step's."""
    model, rate = network(), 0.01
    optimizer = SGD(model.parameters(), lr=rate, **SETTINGS[name][1])
    with watch(
        model, optimizer, charges=charges, every=STEPS, **({"probe": data(), "loss": each} if probed else {})
    ) as m:
        go_on(model, optimizer, DRAWS, [rate] * STEPS)
        start = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
        go_on(model, optimizer, DRAWS, [rate] * STEPS)
    one = network()
    one.load_state_dict(start[0])
    coasting = SGD(one.parameters(), lr=rate, **SETTINGS[name][1])
    coasting.load_state_dict(start[1])
    if not probed:
        go_on(one, coasting, DRAWS[:1], [rate])
    for _ in range(STEPS - (not probed)):
        for p in one.parameters():
            p.grad = torch.zeros_like(p)
        coasting.step()
    run = m.to_xarray()
    np.testing.assert_allclose(run.known[-1], values(one, charges) - run.value[-2], rtol=1e-9, atol=1e-14)


def test_drift_is_of_what_is_not_known():
    """Of what is measured besides, half was forecast; a hundred times as much that is known hides none of it."""
    rng, records = np.random.default_rng(0), Records()
    for k in range(50):
        known, told = 100 * rng.standard_normal(2), np.array([1.0, -2.0])
        measured = known + 2 * told + 0.01 * rng.standard_normal(2)
        row = {
            "known": known,
            "predicted": known + told,
            "measured": measured,
            "scale": np.ones(2),
            "residual": 0 * told,
        }
        records.add(k, row | {"time": np.array(float(k))})
    drift = next(c for c in claims_of(records, ["rescaling"] * 2, ["convergent"] * 2) if c.group == "drift")
    assert isinstance(drift, Claim)
    assert abs(drift.estimate - 2) < 0.01
