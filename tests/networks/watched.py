"""A small network and loops that train it, for tests of the monitor."""

import torch
from torch import nn
from torch.nn import functional as F

from sde.networks import symmetries, watch

ROWS, BATCH = 200, 16
KNOWN = {}


def network(dtype=torch.float64, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 7), nn.ReLU(), nn.Linear(7, 3)).to(dtype)


def rows(dtype=torch.float64):
    torch.manual_seed(1)
    return torch.randn(ROWS, 6, dtype=dtype), torch.randint(0, 3, (ROWS,))


def charges_of(model):
    """Of a `network`, whose charges are the same whatever its weights."""
    dtype = next(model.parameters()).dtype
    if dtype not in KNOWN:
        KNOWN[dtype] = symmetries(model, torch.randn(8, 6, dtype=dtype)).charges
    return KNOWN[dtype]


def train(model, optimizer, steps, *, scheduler=None, passes=1, clip=None, after_pass=None, seed=2):
    """The user's loop."""
    dtype = next(model.parameters()).dtype
    x, y = rows(dtype)
    torch.manual_seed(seed)
    for _ in range(steps):
        optimizer.zero_grad()
        for _ in range(passes):
            i = torch.randint(0, ROWS, (BATCH,))
            (F.cross_entropy(model(x[i]), y[i]) / passes).backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        if after_pass:
            after_pass()
        optimizer.step()
        if scheduler:
            scheduler.step()


def watched(make, steps=200, *, dtype=torch.float64, scheduler=None, passes=1, clip=None, after_pass=None, **options):
    """A monitor of a training; make: model -> optimiser."""
    model = network(dtype)
    optimizer = make(model)
    known = options.pop("charges", None) or charges_of(model)
    with watch(model, optimizer, charges=known, **options) as monitor:
        train(
            model,
            optimizer,
            steps,
            scheduler=scheduler and scheduler(optimizer),
            passes=passes,
            clip=clip,
            after_pass=after_pass and (lambda: after_pass(model)),
        )
    return monitor
