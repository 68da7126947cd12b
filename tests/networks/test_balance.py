"""`balance` and the equilibria it goes to."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sde.networks import balance, covariance_traces, symmetries
from sde.networks.equilibrium import effective_rates, equilibria, relaxation_times, states
from sde.networks.optimiser_rules import Rule
from sde.networks.slice_products import SliceProducts, in_double
from sde.networks.untouched import largest_change, outputs_by_mode
from symbolic.errors import InputError
from tests.networks.watched import charges_of, network, rows
from tests.networks.zoo import Lambda, attention, tensor


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


def one_head():
    return Lambda(attention, q=tensor(3, 4), k=tensor(3, 4), v=tensor(2, 4), o=tensor(3, 2)), (8, 5, 4)


def two_heads():
    return Lambda(lambda m, x: m.a(x, x, x)[0], a=nn.MultiheadAttention(6, 2, batch_first=True)), (8, 5, 6)


def adapter():
    frozen = nn.Parameter(torch.randn(5, 4), requires_grad=False)
    return Lambda(lambda m, x: x @ (m.w + m.b @ m.a).T, w=frozen, a=tensor(2, 4), b=tensor(5, 2)), (64, 4)


def deep_linear():
    return nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 3, bias=False), nn.Linear(3, 4, bias=False)), (64, 4)


def branches():
    parts = {"a": nn.Linear(4, 2), "b": nn.Linear(4, 2), "c": nn.Linear(4, 5, bias=False)}
    return Lambda(lambda m, x: m.c(torch.cat([m.a(x), m.b(x)], -1)), **parts), (64, 4)


MIXED = {f.__name__: f for f in (one_head, two_heads, adapter, deep_linear, branches)}


def mixed(name):
    torch.manual_seed(3)
    model, shape = MIXED[name]()
    model = model.double()
    theory = symmetries(model, torch.randn(2, *shape[1:]))
    own = dict(model.named_parameters())
    with torch.no_grad():
        for f in theory.exact.families[:1]:
            own[f.parameters[0]] *= 3.0
    x = torch.randn(*shape, dtype=torch.float64)
    return model, theory.exact, x, torch.randn_like(model(x))


@pytest.mark.parametrize("name", MIXED)
def test_what_mixes_is_balanced_as_matrices_in_norm(name):
    """W_Q W_Q^T = W_K W_K^T: every charge of the pairs, too, is 0, and |theta|^2 is less than rescalings make it."""
    model, charges, x, _ = mixed(name)
    assert any(f.kind == "GL pair" for f in charges.families)
    single = copy.deepcopy(model)
    kept = model(x).detach()
    done = balance(model, x, charges=charges)
    torch.testing.assert_close(model(x).detach(), kept, rtol=1e-9, atol=1e-11)
    assert done.changed < 1e-12 and done.before > 0.1 > 1e-3 > done.after
    plain = [c for f, c in zip(kinds(charges), charges, strict=True) if f not in ("translation", "no gradient")]
    value = np.array([float(c.value(dict(model.named_parameters()))) for c in plain])
    assert abs(value).max() < 5e-3
    balance(single, x, charges=[c for c in plain if c.kind != "GL pair"])
    size, most = (sum(float(p.detach().square().sum()) for p in m.parameters()) for m in (model, single))
    assert size < most - 1e-3


@pytest.mark.parametrize("name", MIXED)
def test_what_mixes_is_balanced_as_matrices_in_noise(name):
    model, charges, x, y = mixed(name)

    def loss(out, y):
        return ((out - y) ** 2).flatten(1).sum(1)

    before = covariance_traces(model, (x, y), loss, charges, method="vmap")
    kept = model(x).detach()
    done = balance(model, x, y, charges=charges, loss=loss, to="noise")
    after = covariance_traces(model, (x, y), loss, charges, method="vmap")
    torch.testing.assert_close(model(x).detach(), kept, rtol=1e-9, atol=1e-11)
    assert done.changed < 1e-12 and done.after < 1e-3
    moved = (after.size > 1e-9) & np.array([k not in ("translation", "no gradient") for k in kinds(charges)])
    share = [np.max(np.abs(t.noise[moved] / t.size[moved])) for t in (before, after)]
    assert share[1] < 5e-3 < 0.1 < share[0]


def kinds(charges):
    return [f.kind for f in charges.families for _ in range(len(f))]


def test_a_factor_that_is_zero_is_left_where_it_is():
    """A fresh adapter has B = 0: its charges grow, or fall, for ever along the orbit."""
    torch.manual_seed(0)
    model, shape = adapter()
    charges = symmetries(model, torch.randn(2, *shape[1:]))
    with torch.no_grad():
        model.b.zero_()
    before = model.a.detach().clone()
    done = balance(model, torch.randn(*shape), charges=charges)
    assert torch.equal(model.a, before) and list(done.left_out) == ["a, b"]
    assert "one sign" in done.left_out["a, b"] and done.before == done.after == 0.0


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


def remembering(layer):
    """Unbalanced, with a layer that remembers batches or draws."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), layer, nn.ReLU(), nn.Linear(6, 2)).double()
    with torch.no_grad():
        for p in model[3].parameters():
            p *= 5
        for p in layer.parameters():
            p += 0.5 * torch.rand_like(p)
    return model


STATEFUL = {
    "batch norm": lambda: nn.BatchNorm1d(6),
    "batch norm, eval": lambda: nn.BatchNorm1d(6).eval(),
    "instance norm": lambda: nn.Sequential(
        nn.Unflatten(1, (3, 2)), nn.InstanceNorm1d(3, affine=True, track_running_stats=True), nn.Flatten()
    ),
    "dropout": lambda: nn.Dropout(0.5),
    "noise": lambda: Lambda(lambda m, x: x * torch.rand_like(x)),
}


@pytest.mark.parametrize("name", STATEFUL)
def test_nothing_but_parameters_is_changed(name):
    """Neither running statistics nor flags nor random numbers; outputs stay in training and in evaluation."""
    model, x = remembering(STATEFUL[name]()), torch.randn(32, 4).double()
    before = copy.deepcopy(model)
    state, modes = torch.get_rng_state(), [m.training for m in model.modules()]
    done = balance(model, x)
    assert torch.equal(state, torch.get_rng_state()) and modes == [m.training for m in model.modules()]
    assert all(torch.equal(a, b) for a, b in zip(model.buffers(), before.buffers(), strict=True))
    assert done.changed < 1e-12 and done.before > 0.1 > done.after
    for mode in (True, False):
        outputs = []
        for m in (model.train(mode), before.train(mode)):
            torch.manual_seed(1)
            outputs.append(copy.deepcopy(m)(x))
        torch.testing.assert_close(*outputs, rtol=1e-10, atol=1e-12)


def test_a_change_of_any_output_is_told():
    """Of a mapping of outputs, too, and in evaluation where a model is training."""
    model = Lambda(
        lambda m, x: {"a": m.a(x), "b": m.b(x) if m.training else 2 * m.b(x)}, a=nn.Linear(3, 2), b=nn.Linear(3, 2)
    )
    x = (torch.randn(8, 3),)
    before = outputs_by_mode(model, x)
    assert largest_change(before, outputs_by_mode(model, x)) == 0.0
    with torch.no_grad():
        for p in model.parameters():
            p += 1
    assert largest_change(before, outputs_by_mode(model, x)) > 0.1


def test_bad_input_is_refused():
    model, (x, y) = network(), rows()
    charges = charges_of(model)
    with pytest.raises(InputError, match="loss"):
        balance(model, x, y, charges=charges, to="noise")
    with pytest.raises(InputError, match="to"):
        balance(model, x, charges=charges, to="peace")
    with pytest.raises(InputError, match="none is a rescaling"):
        balance(model, x, charges=[])
