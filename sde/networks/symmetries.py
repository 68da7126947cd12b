"""The symmetries of a network: proposed by null vectors, carried to full width, tested, counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from time import perf_counter
from typing import Any

import numpy as np
from torch import nn

from sde.networks.charges import Charges
from sde.networks.family import Family, ShiftSlot
from sde.networks.independence import independent
from sde.networks.lifting import lifted, narrow_copy, unknowns_at_full_width
from sde.networks.pairs import pair_families
from sde.networks.patterns import Pattern, families
from sde.networks.probe import Probe, one_thread
from sde.networks.proof import TOLERANCE, at_home, residuals
from sde.networks.search import Candidates, candidates, without_gradient
from sde.networks.theory import Symmetries
from symbolic.errors import InputError

MOST = 6000
"""Unknowns of a model that is searched at its own width."""
NEARLY = 1e-2
"""Breaking at the model's own parameters above which a pattern is not worth a line."""


def symmetries(
    model: nn.Module,
    *inputs: Any,
    loss: Any = None,
    make: Callable[[int], nn.Module] | None = None,
    seed: int = 0,
) -> Symmetries:
    """Find the layer-wise symmetries of a model, and prove each in float64.

    Fields A theta + b are sought that are orthogonal to the gradient of every loss of the outputs, at all parameters
    and all data: A symmetric, acting on slices of every tensor along its axes (and between units that can be
    rescaled), b shifting slices. Every candidate is tested at fresh parameters, inputs, dropout masks and running
    statistics, at the scales 1, 1e-2 and 1e-4 of the parameters. The model itself is not touched.

    Parameters
    ----------
    model
        As it is trained: its training flags count (BatchNorm, dropout), its frozen parameters stay as they are.
    *inputs
        What a forward pass takes, such as one small batch. Shapes and ranges are used, values are drawn afresh.
    loss
        "cross_entropy", "mse", "bce", "l1", "huber", the like of torch.nn, or a function of the outputs; None: any loss
        of the outputs. Cross-entropy adds the shifts of the logits.
    make
        Factory width -> model, the same layers at another width (heads and groups kept), for models too large to be
        searched as they are.
    seed
        Of the parameters and data that are drawn; the result does not depend on it but for rounding.

    Returns
    -------
    Symmetries
        ``.charges``, ``.independent_charges``, ``.summary()``.

    Raises
    ------
    InputError
        When a pass does not repeat under a seed, the outputs do not depend on parameters, or the model is too large to
        be searched without `make`.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from sde.networks import symmetries
    >>> model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
    >>> theory = symmetries(model, torch.randn(8, 3))
    >>> len(theory.charges), theory.charges[0].name
    (5, '0.weight[0,:]^2 + 0.bias[0]^2 - 2.weight[:,0]^2')
    """
    began = perf_counter()
    full = Probe(model, inputs, loss)
    if make is None and (unknowns := unknowns_at_full_width(full)) > MOST:
        advice = "Give make=, a function width -> the same model at another width."
        raise InputError.of("model", f"may have at most {MOST:,} unknowns without make", unknowns, advice)
    small, width = (full, None) if make is None else narrow_copy(make, full, inputs, loss)
    with one_thread(small.size < 2**17):
        found = candidates(small, seed)
    with one_thread(full.size < 2**17):
        exact, broken = _tested(full, small, found, seed)
        exact += pair_families(full, exact, seed + 10**7)
        exact += _dead_families(full, small, found, seed)
        count = independent(full, exact, seed + 5)
    return Symmetries(
        exact=Charges(exact),
        broken=Charges(broken),
        independent_charges=count,
        unknowns=found.unknowns,
        windows=found.windows,
        width=width,
        tied=full.tied(),
        parameters=full.size,
        seconds=perf_counter() - began,
    )


def _tested(full: Probe, small: Probe, found: Candidates, seed: int) -> tuple[list[Family], list[Family]]:
    """(exact, broken) families at full width."""
    statistics = {n: b.numpy() for n, b in full.buffers.items()}
    if small is full:
        proposed = families(found.exact, full.shapes, statistics)
        exact, failed = _sorted(full, proposed, seed)
        nearly = failed + families(found.nearly, full.shapes, statistics)
        return exact, _broken(full, nearly, seed)
    exact, failed = [], []
    alternatives = [list(lifted(g, small.shapes, full.shapes, statistics)) for g in _looks(found.exact)]
    first, missed = _sorted_each(full, [a[0] for a in alternatives if a], seed)
    exact += first
    again = [a[1] for a, m in zip([a for a in alternatives if a], missed, strict=True) if m and len(a) > 1]
    second, _ = _sorted_each(full, again, seed)
    exact += second
    nearly = [next(lifted(g, small.shapes, full.shapes, statistics), None) for g in _looks(found.nearly)]
    return exact, _broken(full, [f for f in nearly if f is not None], seed)


def _looks(found: Sequence[Pattern]) -> list[list[Pattern]]:
    groups: dict[object, list[Pattern]] = {}
    for p in found:
        groups.setdefault(tuple(part.look for part in p), []).append(p)
    return [sorted(g, key=lambda q: [p.index for p in q]) for g in groups.values()]


def _sorted(probe: Probe, proposed: Sequence[Family], seed: int) -> tuple[list[Family], list[Family]]:
    """(what holds, what does not), each with its residual."""
    if not proposed:
        return [], []
    sizes = np.split(residuals(probe, proposed, seed + 10**6), np.cumsum([len(f) for f in proposed])[:-1])
    holds, fails = [], []
    for f, size in zip(proposed, sizes, strict=True):
        for into, kept in ((holds, size <= TOLERANCE), (fails, size > TOLERANCE)):
            if kept.any():
                into.append(replace(f, size=size).taken(np.flatnonzero(kept), status="exact", size=size))
    return holds, fails


def _sorted_each(probe: Probe, proposed: Sequence[Family], seed: int) -> tuple[list[Family], list[bool]]:
    """(what holds, for every family whether none of it does)."""
    if not proposed:
        return [], []
    sizes = np.split(residuals(probe, proposed, seed + 10**6), np.cumsum([len(f) for f in proposed])[:-1])
    holds = [
        f.taken(np.flatnonzero(s <= TOLERANCE), status="exact", size=s)
        for f, s in zip(proposed, sizes, strict=True)
        if np.any(s <= TOLERANCE)
    ]
    return holds, [not np.any(s <= TOLERANCE) for s in sizes]


def _broken(probe: Probe, nearly: Sequence[Family], seed: int) -> list[Family]:
    """Those that nearly hold at the model's own parameters, with what breaks them there."""
    if not nearly:
        return []
    sizes = np.split(at_home(probe, nearly, seed + 2), np.cumsum([len(f) for f in nearly])[:-1])
    return [
        f.taken(np.flatnonzero(s <= NEARLY), status="broken", size=s)
        for f, s in zip(nearly, sizes, strict=True)
        if np.any(s <= NEARLY)
    ]


def _dead_families(full: Probe, small: Probe, found: Candidates, seed: int) -> list[Family]:
    """Entries without gradient, each a charge by itself; of tables only rows that were looked up."""
    masks = found.dead
    if small is not full and masks:
        masks = without_gradient(full, seed + 3, each=1)
        masks = {n: m for n, m in masks.items() if n in found.dead}
    families = []
    for name, mask in masks.items():
        shape = full.shapes[name]
        kept = mask.copy()
        if name in full.met:
            kept[~full.met[name].numpy()] = False
        index = np.flatnonzero(kept).reshape(-1, 1)
        if len(index):
            shift = ShiftSlot(name, tuple(range(len(shape))), index, np.full((len(index), 1), 0.5))
            families.append(Family("no gradient", "frozen", "exact", np.zeros(len(index)), (), (shift,), {name: shape}))
    return families
