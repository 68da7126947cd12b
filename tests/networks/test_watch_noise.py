"""Tier 1 and what a watched model is: noise from the loop's own pass, and nothing left behind."""

import copy
import csv
import json

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import SGD

from sde.networks import Charge, covariance_traces, layer_capture, symmetries, watch
from sde.networks.charge import Term
from symbolic.errors import InputError
from tests.networks.watched import BATCH, charges_of, network, rows, train


def each(out, y):
    return F.cross_entropy(out, y, reduction="none")


def one_step(model, optimizer, x, y, passes=1):
    optimizer.zero_grad()
    for part in zip(x.chunk(passes), y.chunk(passes), strict=True):
        (F.cross_entropy(model(part[0]), part[1]) / passes).backward()


@pytest.mark.parametrize("passes, clip", [(1, None), (2, None), (4, 0.1)])
def test_noise_of_a_step_is_that_of_its_samples(passes, clip):
    model = network()
    charges, (x, y) = charges_of(model), [t[:BATCH] for t in rows()]
    wanted = covariance_traces(model, (x, y), each, charges, method="vmap")
    optimizer = SGD(model.parameters(), lr=0.01)
    with watch(model, optimizer, charges=charges, every=1) as monitor:
        one_step(model, optimizer, x, y, passes)
        norm = nn.utils.clip_grad_norm_(model.parameters(), clip or 1e9).item()
        optimizer.step()
    kept = min(1.0, (clip or 1e9) / norm) ** 2
    run = monitor.to_xarray()
    np.testing.assert_allclose(run.noise[1], kept * wanted.noise, rtol=1e-5, atol=1e-12)
    np.testing.assert_allclose(run.noise_size[1], kept * wanted.size, rtol=1e-5, atol=1e-12)
    drift = kept * wanted.drift(0.01, BATCH)
    np.testing.assert_allclose(run.predicted[1], drift, rtol=1e-5, atol=1e-14)
    assert not monitor.notes


class Twice(nn.Module):
    """The middle layer is passed twice, and its weight has no other way to tell."""

    def __init__(self):
        super().__init__()
        self.first, self.middle, self.last = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x):
        h = torch.relu(self.first(x))
        return self.last(self.middle(torch.tanh(self.middle(h))))


@pytest.mark.parametrize("held", [0, 2**17])
def test_layers_whose_numbers_cannot_wait_are_taken_in_the_backward_pass(held, monkeypatch):
    monkeypatch.setattr(layer_capture, "HELD", held)
    torch.manual_seed(0)
    model = Twice().double()
    whole = Term("middle.weight", "middle.weight", (), (), (0,), (0,), (1.0,))
    charges = [Charge("|middle.weight|^2", (whole,), (), "scale", "divergent", "exact", 0.0)]
    x, y = (t[:BATCH] for t in rows())
    wanted = covariance_traces(model, (x, y), each, charges, method="vmap")
    optimizer = SGD(model.parameters(), lr=0.01)
    with watch(model, optimizer, charges=charges, every=1) as monitor:
        model(x).sum()  # a pass that nothing comes back from
        one_step(model, optimizer, x, y)
        optimizer.step()
    np.testing.assert_allclose(monitor.to_xarray().noise[1], wanted.noise, rtol=1e-10)
    assert not monitor.notes


def test_a_backward_pass_that_fails_is_none():
    model = network()
    charges, (x, y) = charges_of(model), [t[:BATCH] for t in rows()]
    wanted = covariance_traces(model, (x, y), each, charges, method="vmap")
    optimizer = SGD(model.parameters(), lr=0.01)

    def fail(gradient):
        raise ArithmeticError

    with watch(model, optimizer, charges=charges, every=1) as monitor:
        handle = model[1].register_forward_hook(lambda m, args, out: out.register_hook(fail) and None)
        with pytest.raises(ArithmeticError):
            F.cross_entropy(model(x), y).backward()
        handle.remove()
        one_step(model, optimizer, x, y)
        optimizer.step()
    np.testing.assert_allclose(monitor.to_xarray().noise[1], wanted.noise, rtol=1e-10)


@pytest.mark.parametrize("whole", [False, True])
def test_sixteen_bits_are_watched_in_thirty_two(whole):
    model = network(torch.float32)
    charges, (x, y) = charges_of(model), rows(torch.float32)
    wanted = covariance_traces(model, (x, y), each, charges)
    model = model.bfloat16() if whole else model
    optimizer = SGD(model.parameters(), lr=0.01)
    with watch(model, optimizer, charges=charges, every=1) as monitor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = F.cross_entropy(model(x.bfloat16() if whole else x), y)
        loss.backward()
        optimizer.step()
    assert not monitor.notes
    off = abs(monitor.to_xarray().noise[1] - wanted.noise)
    assert (off <= 0.02 * wanted.size).all()


def test_sums_and_losses_say_how_they_are_reduced():
    charges, (x, y) = charges_of(network()), [t[:BATCH] for t in rows()]
    found = []
    for say, loss in (
        ("mean", F.cross_entropy),
        (F.cross_entropy, F.cross_entropy),
        (nn.CrossEntropyLoss(reduction="sum"), nn.CrossEntropyLoss(reduction="sum")),
    ):
        model = network()
        optimizer = SGD(model.parameters(), lr=0.01)
        with watch(model, optimizer, charges=charges, every=1, per_sample=say) as monitor:
            loss(model(x), y).backward()
            optimizer.step()
        found.append(monitor.to_xarray().noise[1].values)
    np.testing.assert_allclose(found[1], found[0], rtol=1e-9)
    np.testing.assert_allclose(found[2], found[0], rtol=1e-9)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attend = nn.MultiheadAttention(6, 2, batch_first=True)
        self.first, self.out = nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x):
        return self.out(torch.relu(self.first(self.attend(x, x, x, need_weights=False)[0].mean(1))))


@pytest.mark.filterwarnings("ignore")
def test_what_passes_no_layer_is_taken_from_the_whole_model():
    torch.manual_seed(0)
    model = Attention().double()
    charges = symmetries(model, torch.randn(4, 3, 6).double()).charges
    x, y = torch.randn(9, 3, 6).double(), torch.randint(0, 3, (9,))
    assert any("attend.in_proj_weight" in f.parameters for f in charges.families)
    wanted = covariance_traces(model, (x, y), each, charges, method="vmap")
    optimizer = SGD(model.parameters(), lr=0.01)
    with watch(model, optimizer, charges=charges, every=1) as monitor:
        one_step(model, optimizer, x, y)
        optimizer.step()
    np.testing.assert_allclose(monitor.to_xarray().noise[1], wanted.noise, rtol=1e-8, atol=1e-12)


def test_batch_norm_takes_micro_batches():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)).double()
    charges = symmetries(model, torch.randn(8, 6).double()).charges
    x, y = rows()
    for passes in (1, 4):
        optimizer = SGD(model.parameters(), lr=0.01)
        with watch(model, optimizer, charges=charges, every=1) as monitor:
            g = []
            optimizer.zero_grad()
            for part in zip(x[:64].chunk(passes), y[:64].chunk(passes), strict=True):
                before = {n: 0 if p.grad is None else p.grad.clone() for n, p in model.named_parameters()}
                (F.cross_entropy(model(part[0]), part[1]) / passes).backward()
                g.append({n: p.grad - before[n] for n, p in model.named_parameters() if p.grad is not None})
            optimizer.step()
        run = monitor.to_xarray()
        assert abs(run.residual[1]).max() < 1e-12
        if passes == 1:
            assert run.noise[1].isnull().all()
            assert "micro-batches" in monitor.notes[0]
            continue
        mean = {n: sum(part[n] for part in g) / passes for n in g[0]}
        spread = sum(monitor.charges.form(d, d) for part in g if (d := {n: part[n] - mean[n] for n in mean}))
        np.testing.assert_allclose(run.noise[1], 64 * passes / (passes - 1) * spread, rtol=1e-7, atol=1e-9)


def test_the_training_is_the_same_bits_and_nothing_is_left(tmp_path):
    plain, seen = network(), network()
    settings = {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-3}
    train(plain, SGD(plain.parameters(), **settings), 30)
    optimizer = SGD(seen.parameters(), **settings)
    objects = [id(p) for p in seen.parameters()]
    numbers = []
    table = tmp_path / "charges.csv"
    with watch(seen, optimizer, every=7, sinks=[table, lambda row, step: numbers.append((step, row))]) as monitor:
        train(seen, optimizer, 30)
    assert [id(p) for p in seen.parameters()] == objects
    assert all(torch.equal(a, b) for a, b in zip(plain.state_dict().values(), seen.state_dict().values(), strict=True))
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks
    for module in seen.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
    for p in seen.parameters():
        assert not p._backward_hooks
        assert not p._post_accumulate_grad_hooks
    assert monitor.steps == 30
    assert [step for step, _ in numbers] == [7, 14, 21, 28, 30]
    with table.open() as file:
        read = list(csv.DictReader(file))
    assert [int(r["step"]) for r in read] == [7, 14, 21, 28, 30]
    assert float(read[0]["charges/rescaling/residual"]) < 1e-13


def test_a_probe_leaves_the_loop_alone():
    plain, seen = (nn.Sequential(network(), nn.Dropout(0.5)) for _ in range(2))
    train(plain, SGD(plain.parameters(), lr=0.05), 20)
    charges = symmetries(seen, torch.randn(8, 6).double()).charges
    optimizer = SGD(seen.parameters(), lr=0.05)
    with watch(seen, optimizer, charges=charges, every=5, probe=rows(), loss=each) as monitor:
        train(seen, optimizer, 20)
    assert all(torch.equal(a, b) for a, b in zip(plain.state_dict().values(), seen.state_dict().values(), strict=True))
    assert all(np.isfinite(monitor.to_xarray().predicted[1:].values).ravel())


def test_a_monitor_goes_on_from_a_checkpoint():
    settings = {"lr": 0.05, "momentum": 0.9, "nesterov": True}
    whole = network()
    optimizer = SGD(whole.parameters(), **settings)
    charges = charges_of(whole)
    with watch(whole, optimizer, charges=charges, every=10, per_sample=None) as wanted:
        train(whole, optimizer, 20, seed=3)
        train(whole, optimizer, 20, seed=4)
    first = network()
    optimizer = SGD(first.parameters(), **settings)
    monitor = watch(first, optimizer, charges=charges, every=10, per_sample=None)
    train(first, optimizer, 20, seed=3)
    saved = json.loads(json.dumps(monitor.state_dict())), copy.deepcopy(first.state_dict()), optimizer.state_dict()
    monitor.close()
    second = network(seed=5)
    optimizer = SGD(second.parameters(), **settings)
    second.load_state_dict(saved[1])
    optimizer.load_state_dict(saved[2])
    with watch(second, optimizer, charges=charges, every=10, per_sample=None) as again:
        again.load_state_dict(saved[0])
        train(second, optimizer, 20, seed=4)
    a, b = again.to_xarray(), wanted.to_xarray()
    assert a.step.values.tolist() == b.step.values.tolist() == [0, 10, 20, 30, 40]
    np.testing.assert_array_equal(a.value, b.value)
    assert abs(a.residual).max() < 1e-13
    with pytest.raises(InputError, match="of these charges"):
        again.load_state_dict({**saved[0], "charges": ["other"]})


def test_scaled_gradients_and_skipped_steps():
    model = network(torch.float32)
    charges = charges_of(model)
    for fused in (False, True):
        optimizer = SGD(model.parameters(), lr=0.02, momentum=0.9, fused=fused, nesterov=True)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
        x, y = rows(torch.float32)
        with watch(model, optimizer, charges=charges, every=5) as monitor:
            for k in range(10):
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x[k : k + 16]), y[k : k + 16])
                if k == 3:
                    loss = loss * float("inf")
                scaler.scale(loss).backward()
                scaler.step(optimizer)
                scaler.update()
        run = monitor.to_xarray()
        assert monitor.steps == 9, fused
        assert abs(run.residual).max() < 1e-6
        assert np.isfinite(run.noise[1]).all()


def test_what_cannot_be_watched_is_refused_with_the_reason():
    model = network()
    charges = charges_of(model)

    def attempt(**options):
        return watch(model, SGD(model.parameters(), lr=0.1), **{"charges": charges, **options})

    handle = model[0].weight.register_post_accumulate_grad_hook(lambda p: None)
    with pytest.raises(InputError, match="optimiser in the"):
        attempt()
    handle.remove()
    handle = model[0].weight.register_hook(lambda g: g.clamp(-1, 1))
    with pytest.raises(InputError, match="clipping per parameter"):
        attempt()
    handle.remove()

    class DTensor(nn.Parameter):
        pass

    kept, model[0].weight = model[0].weight, DTensor(model[0].weight.detach())
    with pytest.raises(InputError, match="sharded"):
        attempt()
    model[0].weight = kept
    with pytest.raises(InputError, match=r"none can be watched: .*not in this optimiser"):
        watch(model, SGD([model[4].bias], lr=0.1), charges=charges)
    for wrong, said in (
        ({"every": 0}, "every"),
        ({"per_sample": "median"}, "per_sample"),
        ({"per_sample": lambda out, y: out}, "per_sample"),
        ({"sinks": [3]}, "sinks"),
        ({"probe": (torch.zeros(1, 6),), "loss": each}, "at least 2"),
        ({"probe": rows()}, "loss"),
    ):
        with pytest.raises(InputError, match=said):
            attempt(**wrong)
    with pytest.raises(InputError, match="optimizer"):
        watch(model, "sgd", charges=charges)
    model[0].weight.requires_grad_(False)
    monitor = attempt()
    assert len(monitor.charges) == 7
    assert "is not trained" in next(iter(monitor.left_out.values()))
    monitor.close()


def test_charges_that_nothing_moves_have_no_drift_to_test():
    """Sums over the classes of a softmax: conserved, with no noise; weight decay moves them."""
    told = []
    for decay in (0.0, 0.1):
        torch.manual_seed(0)
        model = nn.Linear(4, 3).double()
        charges = symmetries(model, torch.randn(8, 4), loss="cross_entropy").charges
        optimizer = SGD(model.parameters(), lr=0.05, weight_decay=decay)
        with watch(model, optimizer, charges=charges, every=1) as monitor:
            for _ in range(12):
                one_step(model, optimizer, torch.randn(8, 4).double(), torch.randint(0, 3, (8,)))
                optimizer.step()
        told.append(str(monitor.verify()))
    assert "no drift is predicted" in told[0]
    assert "every window is the one step" in told[1]
