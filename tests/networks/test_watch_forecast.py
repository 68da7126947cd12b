"""The forecast has no constant: measured change on predicted change, docs/theory.md eq. (11.6),
and with momentum eq. (11.9).

Batches are drawn without replacement, of which the forecast is exact (eq. (11.8)); a window is short against the time
in which noise changes; a slope over 5 runs of 300 steps scatters by 0.03.
"""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sde.networks import symmetries, watch
from sde.networks.traces import Moments

ROWS, BATCH = 512, 16


def mlp():
    return nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 10), nn.ReLU(), nn.Linear(10, 3))


def convolutions():
    layers = (nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 5, 3, stride=2), nn.ReLU())
    return nn.Sequential(nn.Unflatten(1, (1, 6, 6)), *layers, nn.Flatten(), nn.Linear(20, 3))


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(6, 6, bias=False) for _ in range(4))
        self.up, self.down, self.out = nn.Linear(6, 8), nn.Linear(8, 6), nn.Linear(6, 3)

    def forward(self, x):
        h = x.unflatten(1, (6, 6))
        h = h + self.o(F.scaled_dot_product_attention(self.q(h), self.k(h), self.v(h)))
        h = h + self.down(torch.relu(self.up(h)))
        return self.out(h.mean(1))


NETS = {"mlp": (mlp, 6), "convolutions": (convolutions, 36), "transformer": (Transformer, 36)}


STEPS = {"mlp": 800, "convolutions": 800, "transformer": 2000}
"""One run's scatter falls as their root."""


def slope(name, rate, seeds, steps, every, *, batch=BATCH, whole=True, **settings):
    """Of measured on predicted over all windows, charges and seeds, and its standard error over seeds. whole: with what
    momentum brings into a window, which is known exactly."""
    make, inputs = NETS[name]
    top, bottom = [], []
    for seed in range(seeds):
        torch.manual_seed(seed)
        model = make().double()
        x = torch.randn(ROWS, inputs).double()
        y = (x[:, :3] + 0.7 * torch.randn(ROWS, 3).double()).argmax(1)
        if not seed:
            charges = symmetries(model, x[:8]).charges
        optimizer = torch.optim.SGD(model.parameters(), lr=rate, **settings)

        def each(out, y):
            return F.cross_entropy(out, y, reduction="none")

        with watch(model, optimizer, charges=charges, every=every, probe=(x, y), loss=each, redrawn=True) as monitor:
            for _ in range(steps):
                i = torch.randperm(ROWS)[:batch]
                optimizer.zero_grad()
                F.cross_entropy(model(x[i]), y[i]).backward()
                optimizer.step()
        run = monitor.to_xarray()
        known = 0 if whole else run.known
        predicted, measured = ((v - known)[1:].values for v in (run.predicted, run.measured))
        top.append((predicted * measured).sum())
        bottom.append((predicted**2).sum())
    top, bottom = np.array(top), np.array(bottom)
    found = top.sum() / bottom.sum()
    left = top - found * bottom
    return found, np.sqrt((left**2).sum() * seeds / (seeds - 1)) / bottom.sum()


SMALL = {
    "no momentum": {"rate": 0.005, "steps": 300, "every": 50},
    "momentum": {"rate": 0.0005, "steps": 1000, "every": 50, "batch": 2, "momentum": 0.9, "whole": False},
}
"""Small batches: noise is most of what moves charges."""


@pytest.mark.parametrize("case", SMALL)
def test_slope_is_one_for_a_small_network(case):
    """Of docs/theory.md eqs. (11.6) and (11.9)."""
    found, error = slope("mlp", seeds=3, **SMALL[case])
    assert error < 0.05
    assert abs(found - 1) < 0.05 + 3 * error


@pytest.mark.parametrize("case", SMALL)
def test_slope_tells_a_wrong_forecast(case, monkeypatch):
    def larger(moments):
        return 1.3 * (moments.second - moments.samples * moments.mean) / (moments.samples - 1)

    monkeypatch.setattr(Moments, "covariance", property(larger))
    found, error = slope("mlp", seeds=3, **SMALL[case])
    assert found < 0.95 - 2 * error


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}], ids=str)
@pytest.mark.parametrize("rate", [0.001, 0.005])
@pytest.mark.parametrize("name", NETS)
def test_slope_is_one(name, rate, settings):
    every = 5 if settings else 10  # momentum goes as far in fewer steps, and the mean gradient changes on the way
    found, error = slope(name, rate, seeds=10, steps=STEPS[name], every=every, **settings)
    print(f"{name} {rate} {settings}: {found:.4f} +- {error:.4f}")
    assert abs(found - 1) + 2.26 * error < 0.05
