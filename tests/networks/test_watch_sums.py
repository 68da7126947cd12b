"""A sum whose entries cancel is known to the rounding of its entries, not of itself."""

import torch
from torch import nn
from torch.nn import functional as F

from sde.networks import symmetries, watch


def test_the_identity_of_a_sum_that_is_nothing_holds_to_its_entries_rounding():
    torch.manual_seed(0)
    model, x, y = nn.Linear(4, 10).double(), torch.randn(64, 4).double(), torch.randint(0, 10, (64,))
    with torch.no_grad():
        for p in model.parameters():
            p -= p.mean(0)
    theory = symmetries(model, x[:4], loss="cross_entropy")
    assert {c.kind for c in theory.exact} == {"translation"}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch(model, optimizer, charges=theory, every=5, per_sample=None) as monitor:
        for _ in range(50):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    assert abs(monitor.to_xarray().residual).max() < 1e-15
