"""The test of every candidate: <g, A theta + b> at fresh parameters, inputs, masks and statistics, at three scales."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from sde.networks.charges import Charges
from sde.networks.family import Family
from sde.networks.probe import Probe

TOLERANCE = 1e-12
SCALES = (1.0, 1e-2, 1e-4)
_FLOOR = 1e-2
"""Share of the whole gradient that rounding is measured against where the tied entries have next to none."""
LARGE = 2**21
"""Parameters from which the smaller scales are tried at three parameters each, not ten."""


def residuals(probe: Probe, families: Sequence[Family], seed: int, thetas: int = 10, each: int = 3) -> np.ndarray:
    """Largest |<g, xi>| / (|xi| (|g on the tied entries| + |g| / 100)) of every charge, over all scales."""
    worst = np.zeros(sum(len(f) for f in families))
    for s, scale in enumerate(SCALES):
        for k in range(thetas if s == 0 or probe.size < LARGE else 3):
            theta = probe.fresh(seed + 1000 * s + k, scale)
            buffers = {n: b.numpy() for n, b in probe.module.named_buffers() if n in probe.running}
            charges = Charges([_at(f, buffers) for f in families])
            worst = np.maximum(worst, _worst(charges, probe, theta, seed + 1000 * s + 500 + k, each, own=False))
    return worst


def screened(probe: Probe, families: Sequence[Family], seed: int) -> np.ndarray:
    """The same at one set of parameters: what is large here is no law."""
    theta = probe.fresh(seed)
    return _worst(Charges(families), probe, theta, seed + 1, 2, own=False)


def at_home(probe: Probe, families: Sequence[Family], seed: int) -> np.ndarray:
    """The same at the model's own parameters and inputs."""
    theta = probe.at_home()
    return _worst(Charges(families), probe, theta, seed, 6, own=True)


def _worst(
    charges: Charges, probe: Probe, theta: dict[str, torch.Tensor], seed: int, each: int, *, own: bool
) -> np.ndarray:
    worst = torch.zeros(len(charges), dtype=torch.float64)
    norms = charges.norms(theta).clamp_min(1e-300)
    for batch in probe.gradients(seed, min(each, probe.rank), own_inputs=own):
        for k in range(len(next(iter(batch.values())))):
            g = {n: v[k] for n, v in batch.items()}
            size = torch.stack([v.square().sum() for v in g.values()]).sum().sqrt().clamp_min(1e-300)
            found = (charges.form(g, theta) + charges.linear(g)).abs()
            torch.maximum(worst, found / (norms * (charges.touched(g) + _FLOOR * size)), out=worst)
    return worst.numpy()


def _at(family: Family, buffers: dict[str, np.ndarray]) -> Family:
    """A family at other running statistics."""
    if not any(s.statistic for s in family.shifts):
        return family
    shifts = [
        replace(s, weights=s.factor * buffers[s.statistic].reshape(-1)[s.index]) if s.statistic else s
        for s in family.shifts
    ]
    return replace(family, shifts=tuple(shifts))
