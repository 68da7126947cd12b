"""Callbacks of trainer libraries, called as these call them: Lightning's order is that of its optimizer loop, where a
closure makes the gradients within the step; Hugging Face's that of its inner training loop."""

import json

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import LBFGS, SGD

from sde.networks import trainer_callback, watch
from symbolic.errors import InputError
from tests.networks.watched import BATCH, charges_of, network, rows

STEPS = 12


class LightningCallback:
    """The hooks that a training calls, by getattr without a default."""

    state_key = "Callback"

    def __getattr__(self, name):
        if name.startswith(("on_", "setup", "teardown")):
            return lambda *args: None
        raise AttributeError(name)


class Lightning(nn.Module):
    """A LightningModule whose training step calls a submodule."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def training_step(self, batch):
        return F.cross_entropy(self.network(batch[0]), batch[1])


class LightningTrainer:
    def __init__(self, callbacks, clip=None):
        self.callbacks, self.clip = callbacks, clip

    def call(self, hook, *args):
        for callback in self.callbacks:
            getattr(callback, hook)(self, self.module, *args)

    def fit(self, module, optimizer, batches, state=None):
        self.module, self.optimizers = module, [optimizer]
        self.call("setup", "fit")
        for callback in self.callbacks if state else ():
            callback.load_state_dict(state)
        self.call("on_fit_start")
        self.call("on_train_start")
        try:
            for k, batch in enumerate(batches):
                self.call("on_train_batch_start", batch, k)
                optimizer.step(closure=lambda: self.closure(module, optimizer, batch))  # noqa: B023
                self.call("on_train_batch_end", None, batch, k)
        except Exception as error:
            self.call("on_exception", error)
            raise
        self.call("on_train_end")
        self.call("teardown", "fit")

    def closure(self, module, optimizer, batch):
        loss = module.training_step(batch)
        self.call("on_before_zero_grad", optimizer)
        optimizer.zero_grad()
        loss.backward()
        self.call("on_after_backward")
        self.call("on_before_optimizer_step", optimizer)
        if self.clip:
            nn.utils.clip_grad_norm_(module.parameters(), self.clip)
        return loss


class HuggingFaceCallback:
    """All events, with what is trained by name."""

    def on_train_begin(self, args, state, control, **kwargs):
        pass

    on_step_begin = on_pre_optimizer_step = on_optimizer_step = on_step_end = on_train_end = on_train_begin


class Accelerated:
    """An optimiser as accelerate wraps it: its step always passes a closure on, which is None."""

    def __init__(self, optimizer):
        self.optimizer = optimizer

    def step(self, closure=None):
        self.optimizer.step(closure)


def hugging_face(callback, model, optimizer, batches, clip=None):
    known = {"model": model, "optimizer": optimizer, "lr_scheduler": None}
    callback.on_train_begin("args", "state", "control", **known)
    for x, y in batches:
        callback.on_step_begin("args", "state", "control", **known)
        F.cross_entropy(model(x), y).backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        callback.on_pre_optimizer_step("args", "state", "control", **known)
        optimizer.step()
        callback.on_optimizer_step("args", "state", "control", **known)
        optimizer.optimizer.zero_grad()
        callback.on_step_end("args", "state", "control", **known)
    callback.on_train_end("args", "state", "control", **known)


def batches(count=STEPS):
    x, y = rows()
    return [(x[BATCH * k : BATCH * (k + 1)], y[BATCH * k : BATCH * (k + 1)]) for k in range(count)]


@pytest.fixture(scope="module")
def charges():
    return charges_of(network())


@pytest.fixture(scope="module")
def wanted(charges):
    """Of the user's own loop."""
    model = network()
    optimizer = SGD(model.parameters(), lr=0.05, momentum=0.9)
    with watch(model, optimizer, charges=charges, every=3) as monitor:
        for x, y in batches():
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
    return monitor.to_xarray()


def test_lightnings_steps_make_their_gradients_in_a_closure(charges, wanted):
    model = network()
    callback = trainer_callback(LightningCallback, module="network", charges=charges, every=3)
    optimizer = SGD(model.parameters(), lr=0.05, momentum=0.9)
    LightningTrainer([callback], clip=0.5).fit(Lightning(model), optimizer, batches())
    assert isinstance(callback, LightningCallback)
    check(callback.monitor, wanted, model)


def test_hugging_faces_steps(charges, wanted):
    model = network()
    callback = trainer_callback(HuggingFaceCallback, charges=charges, every=3)
    optimizer = Accelerated(SGD(model.parameters(), lr=0.05, momentum=0.9))
    hugging_face(callback, model, optimizer, batches(), clip=0.5)
    check(callback.monitor, wanted, model)


def check(monitor, wanted, model):
    run = monitor.to_xarray()
    assert not monitor.notes
    assert abs(run.residual).max() < 1e-13
    for name in ("value", "noise", "predicted"):
        np.testing.assert_allclose(run[name], wanted[name], rtol=1e-12, atol=1e-15)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert not monitor.optimizer._optimizer_step_pre_hooks


def test_a_checkpoint_of_lightnings(charges, wanted):
    model = network()
    first, second = (trainer_callback(LightningCallback, module="network", charges=charges, every=3) for _ in range(2))
    optimizer = SGD(model.parameters(), lr=0.05, momentum=0.9)
    LightningTrainer([first], clip=0.5).fit(Lightning(model), optimizer, batches()[:6])
    state = json.loads(json.dumps(first.state_dict()))
    LightningTrainer([second], clip=0.5).fit(Lightning(model), optimizer, batches()[6:], state)
    check(second.monitor, wanted, model)
    with pytest.raises(InputError, match="go on from a checkpoint"):
        trainer_callback(LightningCallback).load_state_dict(state)


def test_a_training_that_fails_leaves_no_hook(charges):
    model = network()
    callback = trainer_callback(LightningCallback, module="network", charges=charges)
    optimizer = SGD(model.parameters(), lr=0.05)
    with pytest.raises(RuntimeError):
        LightningTrainer([callback]).fit(Lightning(model), optimizer, [(torch.zeros(2, 5), torch.zeros(2))])
    assert not optimizer._optimizer_step_pre_hooks


def test_a_closure_that_is_called_often_is_a_gap(charges):
    model = network()
    x, y = rows()
    optimizer = LBFGS(model.parameters(), max_iter=3)

    def closure():
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        return loss

    with watch(model, optimizer, charges=charges, every=1) as monitor:
        optimizer.step(closure)
    assert any("could not be followed" in n for n in monitor.notes)


def test_rows_as_json_lines(charges, tmp_path):
    model, path = network(), tmp_path / "charges.jsonl"
    optimizer = SGD(model.parameters(), lr=0.05)
    with watch(model, optimizer, charges=charges, every=4, sinks=[path]):
        for x, y in batches(8):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    found = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["step"] for row in found] == [4, 8]
    assert found[1]["charges/rescaling/residual"] < 1e-13


def test_bad_input_is_refused(charges):
    with pytest.raises(InputError, match="base"):
        trainer_callback("lightning")
    with pytest.raises(InputError, match="submodule"):
        trainer_callback(HuggingFaceCallback, module="net").on_train_begin(0, 0, 0, model=network(), optimizer=None)
    model = Named()
    trainer = LightningTrainer([])
    trainer.optimizers = [SGD(model.parameters(), lr=0.1)] * 2
    with pytest.raises(InputError, match="one optimiser"):
        trainer_callback(LightningCallback).on_train_start(trainer, model)
    with (
        watch(model, SGD(model.parameters(), lr=0.1)),
        pytest.raises(InputError, match=r"by name; got \['x'\]"),
    ):
        model(x=rows()[0])


class Named(nn.Module):
    def __init__(self):
        super().__init__()
        self.network = network()

    def forward(self, x):
        return self.network(x)
