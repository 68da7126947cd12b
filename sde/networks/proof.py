"""The test of every candidate: <g, A theta + b> at fresh parameters, inputs, masks and statistics, at three scales."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from sde.networks.charges import Charges
from sde.networks.family import Family
from sde.networks.probe import Probe
from sde.networks.slice_products import SliceProducts

TOLERANCE, ROUGH = 1e-12, 1e-7
"""A law's largest residual; what is above the second at one set of parameters is none."""
SCALES = (1.0, 1e-2, 1e-4)
_FLOOR = 1e-2
"""Share of the whole gradient that rounding is measured against where the tied entries have next to none."""
LARGE = 2**21
"""Parameters from which the smaller scales are tried on three rows each, not thirty."""


def residuals(probe: Probe, families: Sequence[Family], seed: int, thetas: int = 10, each: int = 3) -> np.ndarray:
    """Largest |<g, xi>| / (|xi| (|g on the tied entries| + |g| / 100)) of every charge, over all scales."""
    worst = np.zeros(sum(len(f) for f in families))
    products = SliceProducts(Charges(families), probe.shapes)
    for s, scale in enumerate(SCALES):
        for k in range(thetas if s == 0 or probe.size < LARGE else 3):
            theta = probe.fresh(seed + 1000 * s + k, scale)
            buffers = {n: b.numpy() for n, b in probe.module.named_buffers() if n in probe.running}
            charges = Charges([_at(f, buffers) for f in families])
            rows = each if s == 0 or probe.size < LARGE else 1
            found = _worst(charges, products, probe, theta, seed + 1000 * s + 500 + k, rows, own=False)
            worst = np.maximum(worst, found)
    return worst


def screened(probe: Probe, families: Sequence[Family], seed: int) -> np.ndarray:
    """The same at one set of parameters: what is large here is no law."""
    charges, theta = Charges(families), probe.fresh(seed)
    return _worst(charges, SliceProducts(charges, probe.shapes), probe, theta, seed + 1, 2, own=False)


def at_home(probe: Probe, families: Sequence[Family], seed: int) -> np.ndarray:
    """The same at the model's own parameters and inputs."""
    charges, theta = Charges(families), probe.at_home()
    return _worst(charges, SliceProducts(charges, probe.shapes), probe, theta, seed, 6, own=True)


def _worst(
    charges: Charges,
    products: SliceProducts,
    probe: Probe,
    theta: dict[str, torch.Tensor],
    seed: int,
    each: int,
    *,
    own: bool,
) -> np.ndarray:
    """products: of A and the shifts' slices, whatever their weights."""
    worst = np.zeros(len(charges))
    squares = products.squared @ products.take(theta, double=True).numpy() + charges.shift_norms(theta).numpy()
    norms = np.maximum(np.sqrt(squares), 1e-300)
    for batch in probe.gradients(seed, min(each, probe.rank), own_inputs=own):
        for k in range(len(next(iter(batch.values())))):
            g = {n: v[k] for n, v in batch.items()}
            size = max(float(torch.stack([torch.linalg.vector_norm(v) for v in g.values()]).norm()), 1e-300)
            found = products.form @ products.take(g, theta, double=True).numpy() + charges.linear(g).numpy()
            found = np.abs(found) / norms
            if (found > TOLERANCE * _FLOOR * size).any():
                found = found / (charges.touched(g).numpy() + _FLOOR * size)
            else:
                found = found / (_FLOOR * size)
            worst = np.maximum(worst, found)
    return worst


def _at(family: Family, buffers: dict[str, np.ndarray]) -> Family:
    """A family at other running statistics."""
    if not any(s.statistic for s in family.shifts):
        return family
    shifts = [
        replace(s, weights=s.factor * buffers[s.statistic].reshape(-1)[s.index]) if s.statistic else s
        for s in family.shifts
    ]
    return replace(family, shifts=tuple(shifts))
