"""Our compiled SGD against torch's own autograd and optimiser, from the same start on the same batches."""

from itertools import product

import numpy as np
import pytest
import sympy as sp
import torch

from sde import train
from sde.kernels.minibatch import INDEX_BLOCKS, SAMPLES, unbiased_index
from sde.kernels.random.philox import draw
from symbolic import SGD, Dataset, Loss
from symbolic.library import LIBRARY

LOSSES = ("rescaling", "two-layer-tanh", "two-layer-relu", "softmax-regression", "two-layer-quadratic")
SETTINGS = {
    "plain": {},
    "momentum": {"momentum": 0.9},
    "decay": {"weight_decay": 0.02},
    "momentum, decay": {"momentum": 0.9, "weight_decay": 0.02},
    "nesterov, decay": {"momentum": 0.9, "weight_decay": 0.02, "nesterov": True},
}
STEPS, BATCH, ROWS, SEED, RATE = 1000, 4, 24, 7, 0.005
TORCH = {"exp": torch.exp, "log": torch.log, "tanh": torch.tanh, "sqrt": torch.sqrt, "kink": torch.relu}


def on_rows(name):
    """The library's loss on a table, and the table (ROWS, symbols)."""
    loss = LIBRARY[name].build()
    rng = np.random.default_rng(0)
    table = rng.normal(size=(ROWS, len(loss.z)))
    if name == "softmax-regression":
        table[:, 2:] = np.eye(3)[rng.integers(0, 3, ROWS)]
    columns = {z: table[:, k] for k, z in enumerate(loss.z)}
    return Loss(loss.expression, loss.theta, Dataset(columns)), table


def batches(step):
    """Rows that the engine draws for its path 0: docs/theory.md, section 6, by the same counters."""
    words = draw(np.uint64(SEED), np.uint64(0), np.uint64(step), np.uint64(SAMPLES), np.uint64(INDEX_BLOCKS))
    return [int(unbiased_index(words[s], ROWS, SEED, 0, step, s)) for s in range(BATCH)]


QUICK = set(zip(LOSSES, ("momentum, decay", "nesterov, decay") * 3, strict=False))
"""Each loss once, by turns under either; under the rest, slow."""


@pytest.mark.parametrize(
    ("name", "setting"),
    [pytest.param(*p, marks=[pytest.mark.slow] * (p not in QUICK)) for p in product(LOSSES, SETTINGS)],
)
def test_a_thousand_steps_agree(name, setting):
    loss, table = on_rows(name)
    start = np.random.default_rng(1).normal(size=len(loss.theta)) * 0.6
    sgd = SGD(RATE, BATCH, **SETTINGS[setting])
    named = {p.symbols[0]: v for p, v in zip(loss.parameters, start, strict=True)}
    run = train(loss, sgd, start=named, steps=STEPS, paths=1, seed=SEED, save_at=11, keep="paths")
    ours = np.array([run[p.name].values[0] for p in loss.parameters]).reshape(len(start), -1)

    theta = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in start]
    symbols = sp.symbols(f"s:{len(loss.theta) + len(loss.z)}")
    plain = loss.expression.subs(dict(zip([*loss.theta, *loss.z], symbols, strict=True)), simultaneous=True)
    plain = plain.replace(lambda e: e.func.__name__ == "relu", lambda e: sp.Function("kink")(*e.args))
    of_row = sp.lambdify(symbols, plain, modules=[TORCH])
    optimizer = torch.optim.SGD(theta, lr=RATE, **SETTINGS[setting])
    theirs = [[t.item() for t in theta]]
    data = torch.tensor(table)
    for k in range(STEPS):
        optimizer.zero_grad()
        rows = data[batches(k)].T
        of_row(*theta, *rows).mean().backward()
        optimizer.step()
        if (k + 1) % (STEPS // 10) == 0:
            theirs.append([t.item() for t in theta])
    np.testing.assert_allclose(ours, np.array(theirs).T, rtol=1e-9, atol=1e-9)
    assert np.abs(ours[:, -1] - ours[:, 0]).max() > 1e-2
