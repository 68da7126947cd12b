"""What befalls a loop while it is watched: steps that fail, layers that are frozen, settings that change, other passes.
The user's training goes on as it would unwatched, and no verdict comes from it."""

import contextlib

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import SGD

from sde.networks import covariance_traces, symmetries, watch
from sde.networks.steps import Steps
from symbolic.errors import InputError
from tests.networks.watched import charges_of, network, rows

EXACT = 1e-13


def each(out, y):
    return F.cross_entropy(out, y, reduction="none")


PROBE = {"probe": rows(), "loss": each}


def loop(model, optimizer, steps=30, before=None, after=None, batch=16):
    """before: called before the backward pass of step k, after: before its step."""
    x, y = rows()
    for k in range(steps):
        i = torch.arange(batch * k, batch * (k + 1)) % len(x)
        if before:
            before(k, model, optimizer)
        optimizer.zero_grad()
        F.cross_entropy(model(x[i]), y[i]).backward()
        if after:
            after(k, model, optimizer)
        with contextlib.suppress(KeyboardInterrupt, ArithmeticError):
            optimizer.step()


def seen(before=None, after=None, make=SGD, steps=30, settings=None, **options):
    model = network()
    optimizer = make(model.parameters(), **(settings or {"lr": 0.05}))
    with watch(model, optimizer, charges=charges_of(model), **{"every": 10, **options}) as monitor:
        loop(model, optimizer, steps, before, after)
    return monitor


def verdict(monitor, group):
    return {v.verdict for v in monitor.verify().verdicts if v.group == group}


class Fails(SGD):
    """Whose 14th step is interrupted, before or after half of the parameters moved; a step calls its base class's."""

    calls, late = 0, False

    def step(self, closure=None):
        self.calls += 1
        if self.calls == 14:
            if self.late:
                with torch.no_grad():
                    self.param_groups[0]["params"][0].add_(0.1)
            raise KeyboardInterrupt
        return super().step(closure)


class FailsLate(Fails):
    late = True


@pytest.mark.parametrize("probe", [{}, PROBE], ids=["own samples", "probe"])
@pytest.mark.parametrize("make", [Fails, FailsLate])
def test_a_step_that_is_interrupted_is_left_out_and_the_watch_goes_on(make, probe):
    monitor = seen(make=make, **probe)
    run = monitor.to_xarray()
    assert run.step.values.tolist() == [0, 10, 20, 29]
    assert abs(run.residual[2:]).max() < EXACT
    assert np.isfinite(run.residual[2:]).all()
    assert np.isnan(run.predicted[2]).all()
    assert np.isfinite(run.predicted[3]).all()
    assert any("could not be followed" in note for note in monitor.notes)


def test_an_interrupted_training_that_ends_is_not_refuted():
    model = network()
    optimizer = FailsLate(model.parameters(), lr=0.05)
    with contextlib.suppress(KeyboardInterrupt), watch(model, optimizer, charges=charges_of(model), every=5) as monitor:
        x, y = rows()
        while True:
            optimizer.zero_grad()
            F.cross_entropy(model(x[:16]), y[:16]).backward()
            optimizer.step()
    assert abs(monitor.to_xarray().residual[1:]).max() < EXACT
    assert "refuted" not in verdict(monitor, "identity")


def test_a_closure_that_fails_is_no_step():
    model = network()
    optimizer = SGD(model.parameters(), lr=0.05, momentum=0.9)
    x, y = rows()
    with watch(model, optimizer, charges=charges_of(model), every=5) as monitor:
        for k in range(20):

            def closure(k=k):
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x[:16]), y[:16])
                loss.backward()
                if k in (5, 7):
                    raise ArithmeticError
                return loss

            with contextlib.suppress(ArithmeticError):
                optimizer.step(closure)
    run = monitor.to_xarray()
    assert monitor.steps == 18
    assert monitor.notes == ()
    assert abs(run.residual[1:]).max() < EXACT
    assert np.isfinite(run.predicted[1:]).all()


def freeze(at, layer=0, thaw=None, none=True):
    def before(k, model, optimizer):
        if k == at:
            model[layer].requires_grad_(False)
            if none:
                optimizer.zero_grad()
        if k == thaw:
            model[layer].requires_grad_(True)

    return before


@pytest.mark.parametrize("probe", [{}, PROBE], ids=["own samples", "probe"])
@pytest.mark.parametrize("at, layer, none", [(10, 0, True), (15, 0, False), (15, 2, True), (15, 4, True)])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_charges_of_a_layer_that_is_frozen_are_followed_no_longer(at, layer, none, momentum, probe):
    settings = {"lr": 0.05, "momentum": momentum}
    plain = network()
    loop(plain, SGD(plain.parameters(), **settings), before=freeze(at, layer, none=none))
    model = network()
    optimizer = SGD(model.parameters(), **settings)
    with watch(model, optimizer, charges=charges_of(model), every=10, **probe) as monitor:
        loop(model, optimizer, before=freeze(at, layer, none=none))
    assert all(torch.equal(a, b) for a, b in zip(plain.state_dict().values(), model.state_dict().values(), strict=True))
    run = monitor.to_xarray()
    touched = np.array([f"{layer}." in name for name in run.charge.values])
    assert touched.any()
    assert abs(run.residual[1:]).max() < EXACT
    assert np.isfinite(run.residual[1]).all()
    for name in ("residual", "noise", "predicted"):
        assert np.isnan(run[name].values[2:][:, touched]).all(), name
        assert np.isfinite(run[name].values[2:][:, ~touched]).all(), name
    assert all("was frozen while it was watched" in note for note in monitor.notes)
    assert len(monitor.notes) == (1 if layer == 4 else 2)  # no charge has the last layer's bias
    assert monitor.steps == 30


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_layer_that_is_thawed_is_followed_again(momentum):
    run = seen(before=freeze(5, thaw=15), settings={"lr": 0.05, "momentum": momentum}).to_xarray()
    touched = np.array(["0." in name for name in run.charge.values])
    assert np.isnan(run.residual.values[1:3][:, touched]).all()
    assert np.isfinite(run.residual.values[3]).all()
    assert abs(run.residual[1:]).max() < EXACT


SWITCHES = {
    "momentum on": ({}, {"momentum": 0.5}),
    "momentum on, decay": ({}, {"momentum": 0.5, "weight_decay": 0.1}),
    "momentum off": ({"momentum": 0.9}, {"momentum": 0.0}),
    "nesterov on": ({"momentum": 0.5}, {"nesterov": True}),
    "nesterov off": ({"momentum": 0.5, "nesterov": True}, {"nesterov": False}),
    "dampening": ({"momentum": 0.5}, {"dampening": 0.5}),
    "sign": ({"momentum": 0.5, "lr": 0.005}, {"maximize": True}),
    "rate": ({}, {"lr": 0.01}),
}


@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize("switch", SWITCHES)
def test_each_step_has_its_own_settings(switch, back):
    """Also within a window, and where the old ones come back."""
    first, then = SWITCHES[switch]

    def before(k, model, optimizer):
        group = optimizer.param_groups[0]
        if k == 13:
            group.update(then)
        if back and k == 17:
            group.update(
                {key: {"momentum": 0, "weight_decay": 0, "nesterov": False}.get(key, 0) for key in then} | first
            )

    run = seen(before, settings={"lr": 0.05, **first}, steps=40).to_xarray()
    assert abs(run.residual[1:]).max() < EXACT
    assert np.isfinite(run.residual[1:]).all()


def test_a_wrong_step_before_a_switch_is_not_forgotten():
    """What the identity was off by is kept where it begins anew."""

    def before(k, model, optimizer):
        if k == 11:
            with torch.no_grad():
                model[0].weight.mul_(1.01)
        if k == 13:
            optimizer.param_groups[0]["momentum"] = 0.5

    run = seen(before).to_xarray()
    assert abs(run.residual[2]).max() > 1e-4
    assert abs(run.residual[3]).max() < EXACT


def metric(k, model, optimizer):
    model(rows()[0])


def judged(k, model, optimizer):
    model.eval()
    x, y = rows()
    F.cross_entropy(model(x), y).item()
    model.train()


def discarded(k, model, optimizer, none=True):
    x, y = rows()
    F.cross_entropy(model(x), y).backward()
    optimizer.zero_grad(set_to_none=none)


def discarded_in_place(k, model, optimizer):
    discarded(k, model, optimizer, none=False)


@pytest.mark.parametrize("probe", [{}, PROBE], ids=["own samples", "probe"])
@pytest.mark.parametrize("other", [metric, judged, discarded, discarded_in_place])
def test_only_samples_whose_gradients_a_step_takes_are_counted(other, probe):
    wanted, found = seen(**probe).to_xarray(), seen(before=other, **probe)
    assert found.notes == ()
    for name in ("noise", "predicted"):
        np.testing.assert_allclose(found.to_xarray()[name], wanted[name], rtol=1e-12, atol=1e-18)


@pytest.mark.parametrize("parts", [2, 4])
def test_micro_batches_are_counted_together(parts):
    x, y = rows()
    predicted = []
    for pieces in (1, parts):
        model = network()
        optimizer = SGD(model.parameters(), lr=0.05)
        with watch(model, optimizer, charges=charges_of(model), every=1, **PROBE) as monitor:
            for part in zip(x[:32].chunk(pieces), y[:32].chunk(pieces), strict=True):
                (F.cross_entropy(model(part[0]), part[1]) / pieces).backward()
            optimizer.step()
        predicted.append(monitor.to_xarray().predicted[1].values)
    np.testing.assert_allclose(predicted[1], predicted[0], rtol=1e-12)


def clip(k, model, optimizer):
    nn.utils.clip_grad_norm_(model.parameters(), 0.01)


def clip_by_value(k, model, optimizer):
    nn.utils.clip_grad_value_(model.parameters(), 0.01)


def clip_once(k, model, optimizer):
    if k % 10 == 7:
        clip(k, model, optimizer)


@pytest.mark.parametrize("after", [clip, clip_by_value, clip_once])
def test_a_probe_makes_no_forecast_of_clipped_gradients(after):
    monitor = seen(after=after, steps=120, **PROBE)
    assert any("as clipping does" in note for note in monitor.notes)
    run = monitor.to_xarray()
    assert np.isfinite(run.noise[1:]).all()
    assert np.isnan(run.predicted[1:]).all()
    assert verdict(monitor, "drift") == {"not tested"}
    assert "no forecast of it was made" in str(monitor.verify())


def test_clipping_that_clips_nothing_and_loss_scales_are_no_clipping():
    def wide(k, model, optimizer):
        nn.utils.clip_grad_norm_(model.parameters(), 1e6)

    model = network()
    optimizer = SGD(model.parameters(), lr=0.05)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=3)
    x, y = rows()
    with watch(model, optimizer, charges=charges_of(model), every=5, **PROBE) as scaled:
        for k in range(10):
            optimizer.zero_grad()
            scaler.scale(F.cross_entropy(model(x[k : k + 16]), y[k : k + 16])).backward()
            scaler.step(optimizer)
            scaler.update()
    for monitor in (seen(after=wide, **PROBE), scaled):
        assert monitor.notes == ()
        assert np.isfinite(monitor.to_xarray().predicted[1:]).all()


def test_gradients_that_are_not_finite_are_said_to_be():
    def after(k, model, optimizer):
        if k == 10:
            F.cross_entropy(model(rows()[0]) * float("nan"), rows()[1]).backward()

    monitor = seen(after=after, steps=11)
    assert any("not finite" in note for note in monitor.notes)
    assert not any("known kind" in note for note in monitor.notes)


def test_a_model_that_is_passed_in_parts_has_no_noise_and_is_told_so():
    model = network()
    optimizer = SGD(model.parameters(), lr=0.05)
    x, y = rows()
    with watch(model, optimizer, charges=charges_of(model), every=1) as monitor:
        F.cross_entropy(model[4](model[3](model[2](model[1](model[0](x))))), y).backward()
        optimizer.step()
    assert monitor.notes == ("no backward pass of at least two samples was seen to come from this module",)


def test_no_hook_raises_into_a_step(monkeypatch):
    """The watch ends with a note; the rows until then stay."""

    def broken(self):
        if self.count == 12:
            raise IndexError("out of bounds")
        return after(self)

    after = Steps.after
    monkeypatch.setattr(Steps, "after", broken)
    monitor = seen()
    assert monitor.notes == ("the watch ended at step 12: IndexError: out of bounds",)
    assert monitor.to_xarray().step.values.tolist() == [0, 10]
    assert not monitor.optimizer._optimizer_step_pre_hooks
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in monitor.model.modules())


def test_a_sink_that_fails_is_told_no_more(tmp_path):
    told = []

    def bad(numbers, step):
        raise KeyError("sink")

    monitor = seen(sinks=[bad, lambda numbers, step: told.append(step)])
    assert told == [10, 20, 30]
    assert monitor.notes == ("a sink failed at step 10 and is told no more: KeyError: 'sink'",)
    model = network()
    with pytest.raises(OSError, match=r"watch\.sinks"):
        watch(model, SGD(model.parameters(), lr=0.1), charges=charges_of(model), sinks=[tmp_path / "none" / "x.csv"])


def test_a_probe_of_another_width_is_refused_in_one_line():
    model = network()
    optimizer = SGD(model.parameters(), lr=0.1)
    for probe in ((torch.randn(8, 5).double(), rows()[1][:8]), (rows()[0][:8], torch.randn(8, 9))):
        with pytest.raises(InputError, match=r"^watch\.probe: must be samples of this model and loss \(.*; got"):
            watch(model, optimizer, charges=charges_of(model), probe=probe, loss=each)
    assert not optimizer._optimizer_step_pre_hooks
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


class Encoder(nn.Module):
    def __init__(self, inside):
        super().__init__()
        self.inside = inside
        self.attend = nn.MultiheadAttention(4, 2)
        self.up, self.out = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, x):
        h = x.transpose(0, 1) if self.inside else x
        h = self.attend(h, h, h, need_weights=False)[0]
        return self.out(torch.relu(self.up(h.mean(0))))


@pytest.mark.filterwarnings("ignore")
def test_layers_that_have_sequences_first_tell_where_the_samples_are():
    """The model's own first axis is the samples', or no noise is measured."""
    torch.manual_seed(0)
    x, y = torch.randn(9, 3, 4).double(), torch.randint(0, 3, (9,))
    for inside in (True, False):
        model = Encoder(inside).double()
        given = x if inside else x.transpose(0, 1)
        charges = symmetries(model, given).charges
        optimizer = SGD(model.parameters(), lr=0.01)
        with watch(model, optimizer, charges=charges, every=1) as monitor:
            F.cross_entropy(model(given), y).backward()
            optimizer.step()
        if inside:
            wanted = covariance_traces(model, (given, y), each, charges)
            assert monitor.notes == ()
            assert np.isfinite(monitor.to_xarray().noise[1]).all()
            assert np.isfinite(wanted.noise).all()
            continue
        assert len(monitor.notes) == 1
        assert "attend (MultiheadAttention, batch_first=False) has 9 samples on its second axis" in monitor.notes[0]
        with pytest.raises(InputError, match="batch_first=False"):
            covariance_traces(model, (given, y[:3]), lambda out, _: out.square().mean(1), charges)
