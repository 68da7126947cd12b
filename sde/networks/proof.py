"""The test of every candidate: <g, A theta + b> at fresh parameters, inputs, masks and statistics, near and far."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from sde.networks.charges import Charges
from sde.networks.family import Family
from sde.networks.outputs import tensors_in
from sde.networks.probe import Probe
from sde.networks.slice_products import SliceProducts

TOLERANCE, ROUGH = 1e-12, 1e-7
"""A law's largest residual; what is above the second at one set of parameters is none."""
SCALES = (1.0, 1e-2, 1e-4)
FAR, WIDE = (1e1, 1e2, 1e4, 1e6), (1e2, 1e6)
"""Scales of parameters, and of inputs, that take signals beyond kinks that no draw of order one reaches."""
FARTHEST = math.log(1e4)
"""How far along their own orbits candidates are moved: outputs stay as they are, where candidates are laws."""
ROUNDED = 1e-9
"""What rounding may make far off: softmax within 1e-12 of 0 and 1 leaves few digits, of logits of 10^4 the more."""
SAME = 1e-2
"""Share by which a breaking may change where all parameters change by 1e-9; rounding is another number then."""
_FLOOR = 1e-2
"""Share of the whole gradient that rounding is measured against where the tied entries have next to none."""
LARGE = 2**21
"""Parameters from which the other scales are tried on fewer rows."""

Inputs = tuple[Any, ...]


def residuals(probe: Probe, families: Sequence[Family], seed: int, thetas: int = 10, each: int = 3) -> np.ndarray:
    """Largest |<g, xi>| / (|xi| (|g on the tied entries| + |g| / 100)) of every charge, near and far."""
    test, large = _Test(probe, families), probe.size >= LARGE
    worst = np.zeros(len(test.charges))
    for s, scale in enumerate(SCALES):
        for k in range(thetas if s == 0 else 3 if large else (thetas + 1) // 2):
            probe.fresh(seed + 1000 * s + k, scale)
            worst = np.maximum(worst, test.worst(seed + 1000 * s + 500 + k, 1 if s and large else each))
    return np.maximum(worst, _far(test, seed + 10**5, each))


def far_residuals(probe: Probe, families: Sequence[Family], seed: int, each: int = 3) -> np.ndarray:
    """The same at the model's own parameters, and where units saturate, clip and switch that do not at order one. What
    is infinite there is left out, and what is rounding: it does not come again at parameters next to these."""
    return _far(_Test(probe, families), seed, each)


def screened(probe: Probe, families: Sequence[Family], seed: int) -> np.ndarray:
    """The same at one set of parameters: what is large here is no law."""
    probe.fresh(seed)
    return _Test(probe, families).worst(seed + 1, 2)


def at_home(probe: Probe, families: Sequence[Family], seed: int) -> np.ndarray:
    """The same at the model's own parameters and inputs."""
    probe.at_home()
    return _Test(probe, families).worst(seed, 6, probe.inputs)


class _Test:
    """What breaks the charges of some families where a probe's parameters are."""

    def __init__(self, probe: Probe, families: Sequence[Family]) -> None:
        self.probe, self.families, self.charges = probe, families, Charges(families)
        self._products = SliceProducts(self.charges, probe.shapes)
        self._fixed = not any(s.statistic for f in families for s in f.shifts)

    def worst(self, seed: int, each: int, inputs: Inputs | None = None) -> np.ndarray:
        """The largest of `each` random functions of the outputs."""
        return np.abs(self.breaking(seed, each, inputs)).max(0)

    def breaking(self, seed: int, each: int, inputs: Inputs | None = None) -> np.ndarray:
        """(functions, charges): <g, xi> over what it is measured against."""
        charges, products, theta = self._here(), self._products, self.probe.theta()
        squares = products.squared @ products.take(theta, double=True).numpy() + charges.shift_norms(theta).numpy()
        norms = np.maximum(np.sqrt(squares), 1e-300)
        rows = []
        for batch in self.probe.gradients(seed, min(each, self.probe.rank), inputs=inputs):
            for k in range(len(next(iter(batch.values())))):
                g = {n: v[k] for n, v in batch.items()}
                size = max(float(torch.stack([torch.linalg.vector_norm(v) for v in g.values()]).norm()), 1e-300)
                found = products.form @ products.take(g, theta, double=True).numpy() + charges.linear(g).numpy()
                found = found / norms
                if (np.abs(found) > TOLERANCE * _FLOOR * size).any():
                    rows.append(found / (charges.touched(g).numpy() + _FLOOR * size))
                else:
                    rows.append(found / (_FLOOR * size))
        return np.array(rows)

    def lasting(self, seed: int, each: int, inputs: Inputs) -> np.ndarray:
        """The largest, 0 for what is small, or another number nearby, or infinite."""
        statistics = self.probe.statistics()
        found = self._finite(seed, each, inputs)
        size = np.abs(found).max(0)
        size = np.where(size > ROUNDED, size, 0.0)
        for k in range(2):
            if not size.any():
                break
            self.probe.nudge(seed + k)
            self.probe.restore(statistics)
            moved = np.linalg.norm(self._finite(seed, each, inputs) - found, axis=0)
            size = np.where(moved > SAME * np.linalg.norm(found, axis=0), 0.0, size)
        return size

    def _finite(self, seed: int, each: int, inputs: Inputs) -> np.ndarray:
        try:
            with np.errstate(all="ignore"):
                found = self.breaking(seed, each, inputs)
        except (RuntimeError, ValueError, IndexError):  # such as infinite outputs, or an index that was an input
            return np.zeros((1, len(self.charges)))
        return np.nan_to_num(found, nan=0.0, posinf=0.0, neginf=0.0)

    def _here(self) -> Charges:
        """The charges at the running statistics that are set."""
        if self._fixed:
            return self.charges
        buffers = {n: b.numpy() for n, b in self.probe.module.named_buffers() if n in self.probe.running}
        return Charges([_at(f, buffers) for f in self.families])


def _far(test: _Test, seed: int, each: int) -> np.ndarray:
    worst = np.zeros(len(test.charges))
    for k, inputs in enumerate(_far_points(test.probe, test.families, seed)):
        worst = np.maximum(worst, test.lasting(seed + 500 + k, each, inputs))
    return worst


def _far_points(probe: Probe, families: Sequence[Family], seed: int) -> Iterator[Inputs]:
    """Inputs, with the parameters set."""
    rng = torch.Generator().manual_seed(seed)
    probe.at_home()
    yield probe.inputs
    probe.at_home()
    yield probe.drawn(rng)
    for s, scale in enumerate(FAR):
        probe.fresh(seed + s, scale)
        yield probe.drawn(rng)
    if any(True for _ in tensors_in(probe.inputs)):
        for s, scale in enumerate(WIDE):
            probe.fresh(seed + 10 + s)
            yield probe.drawn(rng, scale)
    for k in range(2):
        probe.fresh(seed + 20 + k)
        probe.carry(families, seed + k, FARTHEST)
        yield probe.drawn(rng)


def _at(family: Family, buffers: dict[str, np.ndarray]) -> Family:
    """A family at other running statistics."""
    if not any(s.statistic for s in family.shifts):
        return family
    shifts = [
        replace(s, weights=s.factor * buffers[s.statistic].reshape(-1)[s.index]) if s.statistic else s
        for s in family.shifts
    ]
    return replace(family, shifts=tuple(shifts))
