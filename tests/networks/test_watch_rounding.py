"""What rounding can do to a charge, and what it cannot: docs/theory.md eq. (11.10)."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import SGD

from sde.networks import Charge, watch
from sde.networks.charge import Shift, Term
from tests.networks.watched import charges_of, network, rows


class Attention(nn.Module):
    """Whose keys' bias begins at 0, and changes no output."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(4, 4) for _ in range(3))
        nn.init.zeros_(self.k.bias)

    def forward(self, x):
        scores = self.q(x) @ self.k(x).transpose(1, 2)
        return (torch.softmax(scores, 2) @ self.v(x)).mean(1)


def of_rounding():
    """Shifts of the keys' bias, and its square, which its gradient of 0 conserves too."""
    shifts = [Charge(f"k.bias[{i}]", (), (Shift("k.bias", (0,), (i,), (1.0,)),), *SMALL) for i in range(4)]
    whole = Term("k.bias", "k.bias", (), (), (0,), (0,), (1.0,))
    return [*shifts, Charge("|k.bias|^2", (whole,), (), *SMALL)]


SMALL = ("no gradient", "frozen", "exact", 0.0)


def attended(dtype, moved=0.0, **settings):
    torch.manual_seed(0)
    model, x = Attention().to(dtype), torch.randn(64, 5, 4).to(dtype)
    optimizer = SGD(model.parameters(), lr=0.05, **settings)
    with watch(model, optimizer, charges=of_rounding(), every=10) as monitor:
        for k in range(150):
            optimizer.zero_grad()
            (model(x[torch.randint(0, 64, (8,))]) - 1).square().mean().backward()
            optimizer.step()
            if k == 75 and moved:
                with torch.no_grad():
                    model.k.bias.add_(moved)
    return monitor


def verdicts(monitor):
    return {v.group: v for v in monitor.verify().verdicts}


@pytest.mark.parametrize("settings", [{}, {"momentum": 0.9}, {"weight_decay": 0.01}], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_what_is_0_but_for_rounding_is_not_refuted(dtype, settings):
    """Of docs/theory.md eq. (11.10)."""
    monitor = attended(dtype, **settings)
    run = monitor.to_xarray()
    assert 0 < abs(run.value[-1]).max() < 1e-5
    found = verdicts(monitor)
    assert found["identity"].verdict == "supported"
    assert found["drift"].reason in ("they are 0, but for rounding", NOTHING)


NOTHING = "noise and decay leave them where they are: no drift is predicted"


@pytest.mark.parametrize("dtype, moved", [(torch.float32, 1e-5), (torch.float64, 1e-13)])
def test_what_rounding_cannot_have_moved_is_refuted(dtype, moved):
    """Beyond docs/theory.md eq. (11.10)."""
    assert verdicts(attended(dtype, moved))["identity"].verdict == "refuted"


def autocast(spoil=0.0, whole=False, **options):
    """A loop whose passes compute in bfloat16; whole: within the model's own forward pass."""
    model, (x, y) = network(torch.float32), rows(torch.float32)
    charges = charges_of(model)
    optimizer = SGD(model.parameters(), lr=0.05, momentum=0.9)
    if whole:
        setattr(model, "forward", torch.autocast("cpu", dtype=torch.bfloat16)(model.forward))  # noqa: B010
    with watch(model, optimizer, charges=charges, every=10, **options) as monitor:
        for k in range(60):
            i = torch.arange(16 * k, 16 * k + 16) % len(x)
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=not whole):
                out = model(x[i])
            nn.functional.cross_entropy(out.float(), y[i]).backward()
            optimizer.step()
            if k == 35 and spoil:
                with torch.no_grad():
                    next(model.parameters()).mul_(1 + spoil)
    return monitor


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("options", [{}, {"per_sample": None}], ids=str)
def test_gradients_that_are_made_in_16_bits_are_judged_by_these(options, whole):
    monitor = autocast(whole=whole, **options)
    found = verdicts(monitor)["identity"]
    assert found.verdict == "supported"
    assert found.statistic > 1e-5  # or float32 would have done
    run = monitor.to_xarray()
    assert (run.rounding[1:] > 3 * np.finfo(np.float32).eps).any()
    assert (run.rounding[1:] < torch.finfo(torch.bfloat16).eps).all()


def test_a_step_that_16_bits_do_not_explain_is_refuted():
    assert verdicts(autocast(spoil=0.2))["identity"].verdict == "refuted"
