"""`balance` and the equilibria it goes to."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from sde.networks import balance, covariance_traces
from sde.networks.equilibrium import effective_rates, equilibria, relaxation_times, states
from sde.networks.optimiser_rules import Rule
from sde.networks.slice_products import SliceProducts, in_double
from symbolic.errors import InputError
from tests.networks.watched import charges_of, network, rows


def each(out, y):
    return F.cross_entropy(out, y, reduction="none")


def unbalanced():
    model = network()
    with torch.no_grad():
        for layer, factor in ((0, 3.0), (2, 0.5), (4, 0.7)):
            for p in model[layer].parameters():
                p *= factor
    return model


def test_norms_balance_and_the_function_stays():
    model, (x, _) = unbalanced(), rows()
    charges, kept = charges_of(model), model(x).detach()
    done = balance(model, x, charges=charges)
    assert done.before > 0.2 > 1e-3 > done.after
    assert done.changed < 1e-13
    torch.testing.assert_close(model(x).detach(), kept, rtol=1e-10, atol=1e-12)
    value = charges.value(dict(model.named_parameters()))
    assert abs(value).max() < 5e-3


def test_noise_balances_where_the_traces_vanish():
    model, (x, y) = unbalanced(), rows()
    charges, kept = charges_of(model), model(x).detach()
    before = covariance_traces(model, (x, y), each, charges)
    done = balance(model, x, y, charges=charges, loss=each, to="noise")
    after = covariance_traces(model, (x, y), each, charges)
    assert done.changed < 1e-13
    torch.testing.assert_close(model(x).detach(), kept, rtol=1e-10, atol=1e-12)
    moved = after.size > 1e-9
    assert (
        np.max(np.abs(after.noise / after.size)[moved]) < 5e-3 < 0.1 < np.max(np.abs(before.noise / before.size)[moved])
    )
    whole = covariance_traces(model, (x, y), each, charges).moments.covariance
    assert whole.sum() < before.moments.covariance.sum()


def test_an_equilibrium_is_a_quarter_of_the_logarithm_of_the_two_noises():
    """And decay holds a charge that noise would drive for ever: docs/theory.md section 4."""
    model, (x, y) = network(), rows()
    charges = charges_of(model)
    products = SliceProducts(charges, {n: tuple(p.shape) for n, p in model.named_parameters()})
    found = covariance_traces(model, (x, y), each, charges)
    there = equilibria(charges, products, found.moments.covariance)
    plus, minus = (found.size + found.noise) / 2, (found.size - found.noise) / 2
    moved = (plus > 1e-9) & (minus > 1e-9)
    assert moved.sum() > 8
    np.testing.assert_allclose(there[moved], np.log(plus[moved] / minus[moved]) / 4, rtol=1e-9, atol=1e-12)
    theta = products.take(in_double(dict(model.named_parameters()), products.names)).numpy()
    assert np.isnan(equilibria(charges, products, np.zeros(products.size))).all()
    first = products.squares["0.weight", (0,)]
    up = np.zeros(products.size)
    up[first.start : first.start + first.size] = 1.0
    assert np.isposinf(equilibria(charges, products, up)).sum() == first.size
    held = equilibria(charges, products, found.moments.covariance, 0.1 * theta)
    assert np.isfinite(held).all()
    times = relaxation_times(products.squared @ found.moments.covariance, found.field)
    np.testing.assert_allclose(times[moved], found.field[moved] / found.squared[moved])
    words = states(
        np.array([0.0, 5.0, 5.0, 0.0]), np.array([10.0, 10.0, 10.0, 0.0]), np.array([0.0, 1.0, np.inf, np.nan])
    )
    assert words.tolist() == ["balanced", "on its way", "diverging", "frozen"]


def test_effective_rates_rest_where_growth_and_decay_balance():
    """docs/theory.md eq. (11.7): at |w|^4 = eta |g|^2 |w|^2 / (2 lambda (1 - beta)) the angle is that at rest."""
    rule = Rule(0.1, momentum=0.9, decay=0.01)
    norm, unit = np.array([1.0]), 1.0
    norm = np.sqrt(np.array([rule.lr * unit / (2 * rule.decay * (1 - rule.momentum))]))
    found = effective_rates(norm, unit / norm, rule)
    np.testing.assert_allclose(found["angle"], found["angle_at_rest"], rtol=1e-12)
    np.testing.assert_allclose(found["rate"], 1.0 / norm)


def test_bad_input_is_refused():
    model, (x, y) = network(), rows()
    charges = charges_of(model)
    with pytest.raises(InputError, match="loss"):
        balance(model, x, y, charges=charges, to="noise")
    with pytest.raises(InputError, match="to"):
        balance(model, x, charges=charges, to="peace")
    with pytest.raises(InputError, match="none is a rescaling"):
        balance(model, x, charges=[])
