"""What watching a network costs: a step with and without, in turns; a measurement of noise against a backward pass."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from time import process_time
from typing import Any

STEP, CONV_STEP, NOISE, MEMORY = 0.05, 0.03, 1.5, 1.2
"""What may be spent: of a step, of a convolution net's, in backward passes, of a backward pass's memory."""
TURNS = 15
"""Steps of a turn."""


def networks(repeats: int) -> bool:
    """A table; whether nothing costs more than it may."""
    import torch

    right, threads = True, torch.get_num_threads()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}; medians of paired turns, CPU seconds of one thread")
    print(
        f"{'network':34}{'step':>10}{'watched':>10}{'tier 0':>9}{'backward':>11}{'noise':>9}{'passes':>8}{'memory':>8}"
    )
    for name, make, most in (
        ("MLP 784-256-256-10, batch 128", _mlp, STEP),
        ("residual convolutions, batch 64", _residual, CONV_STEP),
    ):
        found = _measured(make, max(repeats, 3))
        extra, noise = found["share"], found["noise"] / found["backward"]
        print(
            f"{name:34}{1e3 * found['step']:8.2f}ms{1e3 * found['step'] * (1 + extra):8.2f}ms{100 * extra:8.1f}%"
            f"{1e3 * found['backward']:9.2f}ms{1e3 * found['noise']:7.2f}ms{noise:8.2f}{found['memory']:8.2f}"
        )
        right = right and extra <= most and noise <= NOISE and found["memory"] <= MEMORY
    torch.set_num_threads(threads)
    return right


def _measured(make: Callable[[], Any], repeats: int) -> dict[str, float]:
    """Seconds: a step without; share that tier 0 adds; a backward pass; what a measurement of noise adds; and the
    memory that it needs at most, over a backward pass's."""
    import torch

    from sde.networks import watch

    model, charges, x, y = make()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)
    loss = torch.nn.functional.cross_entropy

    def steps(count: int) -> float:
        """Median of a step's time."""
        times = []
        for _ in range(count):
            began = process_time()
            optimizer.zero_grad()
            loss(model(x), y).backward()
            optimizer.step()
            times.append(process_time() - began)
        return statistics.median(times)

    def backward() -> float:
        optimizer.zero_grad()
        value = loss(model(x), y)
        began = process_time()
        value.backward()
        return process_time() - began

    steps(TURNS)
    plain, shares, passes, noises, sides = [], [], [], [], []
    for turn in range(2 * repeats):
        pair: dict[bool, float] = {}
        for watched in ((False, True), (True, False))[turn % 2]:
            if watched:
                with watch(model, optimizer, charges=charges, every=50, per_sample=None):
                    steps(2)
                    pair[True] = steps(TURNS)
            else:
                steps(2)
                pair[False] = steps(TURNS)
        plain.append(pair[False])
        shares.append(pair[True] / pair[False] - 1)
        passes.append(statistics.median(backward() for _ in range(3)))
        with watch(model, optimizer, charges=charges, every=1) as monitor:
            noises.append(_noise_step(monitor, steps))
        sides.append(pair[True])
    return {
        "step": statistics.median(plain),
        "share": statistics.median(shares),
        "backward": statistics.median(passes),
        "noise": statistics.median(n - s for n, s in zip(noises, sides, strict=True)),
        "memory": _peak(model, charges, loss, x, y, True) / _peak(model, charges, loss, x, y, False),
    }


def _noise_step(monitor: Any, steps: Callable[[int], float]) -> float:
    """A step whose samples are taken, without the row that is written after it."""
    rows, monitor._row = monitor._row, lambda: monitor._samples.open()
    try:
        return steps(9)
    finally:
        monitor._row = rows


def _peak(model: Any, charges: Any, loss: Any, x: Any, y: Any, watched: bool) -> float:
    """Bytes that are held at most in a forward and a backward pass, parameters and their gradients with them."""
    import torch

    from sde.networks.slice_products import SliceProducts
    from sde.networks.step_samples import StepSamples

    named = {n: p for n, p in model.named_parameters() if n in set(charges.parameters)}
    samples = StepSamples(model, named, SliceProducts(charges, {n: tuple(p.shape) for n, p in named.items()}))
    model.zero_grad()
    if watched:
        samples.open()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as seen:
        loss(model(x), y).backward()
    samples.close()
    held = peak = float(sum(p.numel() * p.element_size() for p in model.parameters()))
    for event in seen.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak


def units(model: Any, first: str, last: str, bias: bool = True) -> Any:
    """The rescalings of the units between two layers."""
    import numpy as np

    from sde.networks.family import Family, Slot

    shapes = {n: tuple(p.shape) for n, p in model.named_parameters()}
    number = shapes[f"{first}.weight"][0]
    index = np.arange(number)[:, None]
    slots = [Slot.on(f"{first}.weight", (0,), index, np.ones(1)), Slot.on(f"{last}.weight", (1,), index, -np.ones(1))]
    if bias:
        slots.append(Slot.on(f"{first}.bias", (0,), index, np.ones(1)))
    return Family("rescaling", "convergent", "exact", np.zeros(number), tuple(slots), (), shapes)


def _mlp() -> Any:
    import torch
    from torch import nn

    from sde.networks import Charges

    torch.manual_seed(0)
    layers = (nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))
    model = nn.Sequential(*layers)
    charges = Charges([units(model, "0", "2"), units(model, "2", "4")])
    return model, charges, torch.randn(128, 784), torch.randint(0, 10, (128,))


def _residual() -> Any:
    import torch
    from torch import nn

    from sde.networks import Charges

    class Block(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.first, self.last = (nn.Conv2d(width, width, 3, padding=1, bias=False) for _ in range(2))

        def forward(self, x: Any) -> Any:
            return x + self.last(torch.relu(self.first(x)))

    torch.manual_seed(0)
    tail = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))
    model = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), *(Block(32) for _ in range(4)), *tail)
    charges = Charges([units(model, f"{k}.first", f"{k}.last", bias=False) for k in range(1, 5)])
    return model, charges, torch.randn(64, 3, 16, 16), torch.randint(0, 10, (64,))
