"""Passes that are not the training's own do not change what a monitor sees, nor does a monitor make them fail."""

import copy
import pickle
import threading
import warnings

import numpy as np
import pytest
import torch
from torch.func import functional_call, grad, hessian, jacrev, jvp, vmap
from torch.nn import functional as F

from sde.networks import balance, covariance_traces, symmetries, watch
from sde.networks.step_samples import StepSamples
from symbolic.errors import InputError
from tests.networks.watched import charges_of, network, rows

STEPS, EVERY = 12, 3


def loss_of(model, values, x, y):
    return F.cross_entropy(functional_call(model, values, (x,)), y)


def values_of(model):
    return {n: p.detach().clone().requires_grad_() for n, p in model.named_parameters()}


def vmap_grad(model, x, y):
    one = grad(lambda p, a, b: loss_of(model, p, a[None], b[None]))
    vmap(one, (None, 0, 0))(dict(model.named_parameters()), x, y)


def grad_whole(model, x, y):
    grad(lambda p: loss_of(model, p, x, y))(dict(model.named_parameters()))


def push_forward(model, x, y):
    values = {n: p.detach() for n, p in model.named_parameters()}
    jvp(lambda p: loss_of(model, p, x, y), (values,), (values,))


def jacobian(model, x, y):
    vmap(jacrev(model))(x)


def hessian_of_inputs(model, x, y):
    hessian(lambda a: F.cross_entropy(model(a[None]), y[:1]))(x[0])


def autograd_grad(model, x, y):
    torch.autograd.grad(F.cross_entropy(model(x), y), list(model.parameters()))


def input_gradient(model, x, y):
    inputs = x.clone().requires_grad_()
    torch.autograd.grad(F.cross_entropy(model(inputs), y), inputs)


def hessian_vector(model, x, y):
    parameters = list(model.parameters())
    g = torch.autograd.grad(F.cross_entropy(model(x), y), parameters, create_graph=True)
    torch.autograd.grad(sum((a * b.detach()).sum() for a, b in zip(g, g, strict=True)), parameters)


def other_tensors(model, x, y):
    loss_of(model, values_of(model), x, y).backward()


def copied(model, x, y):
    F.cross_entropy(copy.deepcopy(model)(x), y).backward()


def pickled(model, x, y):
    F.cross_entropy(pickle.loads(pickle.dumps(model))(x), y).backward()


def forward_only(model, x, y):
    model(x[:3])


def no_grad(model, x, y):
    with torch.no_grad():
        model(x)


def traces(model, x, y):
    covariance_traces(model, (x, y), lambda o, t: F.cross_entropy(o, t), charges_of(model))


def another_thread(model, x, y):
    thread = threading.Thread(target=lambda: F.cross_entropy(model(x), y))
    thread.start()
    thread.join()


OTHERS = (
    vmap_grad,
    grad_whole,
    push_forward,
    jacobian,
    hessian_of_inputs,
    autograd_grad,
    input_gradient,
    hessian_vector,
    other_tensors,
    copied,
    pickled,
    forward_only,
    no_grad,
    traces,
    another_thread,
)


def seen(other=None, before=True, **options):
    """A monitor of a training in which another pass is made in every step, before or after its own."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    x, y = rows()
    with watch(model, optimizer, charges=charges_of(model), every=EVERY, **options) as monitor:
        for k in range(STEPS):
            here = slice(16 * (k % 10), 16 * (k % 10) + 16)
            optimizer.zero_grad()
            if other and before:
                other(model, x[here], y[here])
            F.cross_entropy(model(x[here]), y[here]).backward()
            if other and not before:
                other(model, x[here], y[here])
            optimizer.step()
    return monitor


@pytest.fixture(scope="module")
def alone():
    return seen().to_xarray()


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("other", OTHERS)
def test_a_pass_that_is_not_the_trainings_own_changes_nothing(alone, other, before):
    """To the bit: values, noise and forecasts."""
    found = seen(other, before)
    assert found.notes == ()
    again = found.to_xarray()
    assert np.isfinite(alone.noise.values[1:]).all()
    for name in alone.data_vars:
        np.testing.assert_array_equal(again[name].values, alone[name].values, err_msg=name)


def test_the_first_pass_of_a_loop_may_be_one_of_torch_func():
    """The charges are found from the first one of training."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    x, y = rows()
    with watch(model, optimizer, every=1) as monitor:
        vmap_grad(model, x[:4], y[:4])
        assert monitor.steps == 0 and not len(monitor.charges)
        F.cross_entropy(model(x[:16]), y[:16]).backward()
        optimizer.step()
    assert len(monitor.charges) and np.isfinite(monitor.to_xarray().noise.values[1:]).all()


def test_the_noise_of_a_gradient_penalty_is_not_taken_for_that_of_the_loss():
    """Its gradient passes through the layers' slopes too: what left the layers does not tell each sample's."""
    model = network()
    x, y = rows()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    with watch(model, optimizer, charges=charges_of(model), every=1) as monitor:
        for _ in range(3):
            optimizer.zero_grad()
            inputs = x[:16].clone().requires_grad_()
            loss = F.cross_entropy(model(inputs), y[:16])
            (slope,) = torch.autograd.grad(loss, inputs, create_graph=True)
            (loss + 100 * slope.square().sum()).backward()
            optimizer.step()
    run = monitor.to_xarray()
    assert monitor.steps == 3
    assert "noise" not in run or not np.isfinite(run.noise.values).any()


def test_a_second_monitor_closes_the_first_with_a_warning():
    model = network()
    optimizer, charges = torch.optim.SGD(model.parameters(), lr=0.05), charges_of(model)
    x, y = rows()
    first = watch(model, optimizer, charges=charges, every=EVERY)
    with pytest.warns(UserWarning, match="watched by an earlier monitor, which is closed now"):
        second = watch(model, optimizer, charges=charges, every=EVERY)
    autograd_grad(model, x, y)
    balance(model, x)
    for _ in range(EVERY):
        optimizer.zero_grad()
        F.cross_entropy(model(x[:16]), y[:16]).backward()
        optimizer.step()
    assert first.steps == 0 and second.steps == EVERY
    second.close()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        watch(model, optimizer, charges=charges).close()


def test_what_goes_wrong_in_a_hook_is_a_note(monkeypatch):
    """And the training goes on, its identity followed."""

    def broken(*_, **__):
        raise RuntimeError("no storage")

    monkeypatch.setattr(StepSamples, "_gather", broken)
    found = seen()
    assert found.steps == STEPS
    assert found.notes == ("noise could not be measured: RuntimeError: no storage",)
    assert float(abs(found.to_xarray().residual).max()) < 1e-12


def test_one_charge_and_one_file_are_taken_and_other_things_refused(tmp_path):
    model = network()
    optimizer, charges = torch.optim.SGD(model.parameters(), lr=0.05), charges_of(model)
    with watch(model, optimizer, charges=charges[0], sinks=str(tmp_path / "x.csv")) as monitor:
        assert len(monitor.charges) == 1
    for given in ("x", 1, ["x"], [charges[0], 2]):
        with pytest.raises(InputError, match=r"^watch.charges: must be charges; got .* Give symmetries\(model, x\)"):
            watch(model, optimizer, charges=given)
    with pytest.raises(InputError, match=r"^watch.sinks: must be a list of sinks"):
        watch(model, optimizer, charges=charges, sinks=3)
    for name in ("x.parquet", "x.txt"):
        with pytest.raises(InputError, match=r"^watch.sinks: is written as CSV or JSON lines"):
            watch(model, optimizer, charges=charges, sinks=str(tmp_path / name))


def test_values_are_of_tensors_by_name_or_of_a_model():
    model = network()
    charges, tensors = charges_of(model), dict(model.named_parameters())
    for some in (charges, charges[0]):
        assert torch.equal(some.value(model), some.value(tensors))
        with pytest.raises(InputError, match=r"^value.parameters: must be a mapping {name: tensor}; got"):
            some.value(list(model.parameters()))


def test_a_loss_of_outputs_and_targets_is_refused_in_one_line():
    with pytest.raises(InputError, match=r"^loss: a function must take the outputs alone; got"):
        symmetries(network(), rows()[0][:8], loss=lambda out, y: ((out - y) ** 2).mean())
