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
from sde.networks.patterns import alike, families
from sde.networks.probe import Probe, one_thread
from sde.networks.proof import ROUGH, TOLERANCE, at_home, far_residuals, residuals, screened
from sde.networks.search import Candidates, candidates, without_gradient
from sde.networks.theory import Symmetries
from symbolic.errors import InputError

MOST = 6000
"""Unknowns of a model that is searched at its own width."""
NEARLY = 1e-2
"""Breaking at the model's own parameters above which a pattern is not worth a line."""


KINDS = ("no gradient", "translation", "GL pair", "affine", "scale", "rescaling")


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
    statistics, at scales from 1e-4 to 1e6, at the model's own parameters, and along its own orbit. The model itself is
    not touched.

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
        still = _still_families(full, small, found, seed)
        exact, broken = _tested(full, small, found, seed)
        exact += pair_families(full, exact, seed + 10**7) + still
        count = independent(full, exact, seed + 5)
    places = {n: k for k, n in enumerate(full.shapes)}

    def order(f: Family) -> tuple[bool, int, list[int]]:
        return not f.slots, len(KINDS) - KINDS.index(f.kind), [places[n] for n in f.parameters]

    return Symmetries(
        exact=Charges(sorted(exact, key=order)),
        broken=Charges(sorted(broken, key=order)),
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
    readings = [list(lifted(g, small.shapes, full.shapes, statistics)) for g in alike(found.exact)]
    tried = [f for fs in readings for f in fs]
    rough = iter(_apart(tried, screened(full, tried, seed + 4)) if tried else [])
    likely = [next((f for f, r in [(f, next(rough)) for f in fs] if np.any(r < ROUGH)), None) for fs in readings]
    exact, _ = _sorted(full, [f for f in likely if f is not None], seed)
    nearly = [next(lifted(g, small.shapes, full.shapes, statistics), None) for g in alike(found.nearly)]
    return exact, _broken(full, [f for f in nearly if f is not None], seed)


def _sorted(probe: Probe, proposed: Sequence[Family], seed: int) -> tuple[list[Family], list[Family]]:
    """(what holds, what does not), each with its residual."""
    if not proposed:
        return [], []
    sizes = _apart(proposed, residuals(probe, proposed, seed + 10**6))
    holds, fails = [], []
    for f, size in zip(proposed, sizes, strict=True):
        for into, kept in ((holds, size <= TOLERANCE), (fails, size > TOLERANCE)):
            if kept.any():
                into.append(replace(f, size=size).taken(np.flatnonzero(kept), status="exact", size=size))
    return holds, fails


def _apart(families: Sequence[Family], values: np.ndarray) -> list[np.ndarray]:
    return np.split(values, np.cumsum([len(f) for f in families])[:-1])


def _broken(probe: Probe, nearly: Sequence[Family], seed: int) -> list[Family]:
    """Those that nearly hold at the model's own parameters, with what breaks them there."""
    if not nearly:
        return []
    sizes = _apart(nearly, at_home(probe, nearly, seed + 2))
    return [
        f.taken(np.flatnonzero(s <= NEARLY), status="broken", size=s)
        for f, s in zip(nearly, sizes, strict=True)
        if np.any(s <= NEARLY)
    ]


def _still_families(full: Probe, small: Probe, found: Candidates, seed: int) -> list[Family]:
    """Entries without gradient, each a charge by itself, and hold them; of tables only rows that were looked up."""
    masks = found.dead
    if small is not full and masks:
        masks = {n: m for n, m in without_gradient(full, seed + 3, each=1).items() if n in found.dead}
    full.hold({}, seed)
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
    if families:
        sizes = _apart(families, far_residuals(full, families, seed + 6))
        families = [
            f.taken(np.flatnonzero(s <= TOLERANCE), status="exact", size=np.zeros(len(f)))
            for f, s in zip(families, sizes, strict=True)
            if np.any(s <= TOLERANCE)
        ]
    full.hold({f.shifts[0].parameter: _mask(f) for f in families}, seed + 8000)
    return families


def _mask(family: Family) -> np.ndarray:
    (shift,) = family.shifts
    mask = np.zeros(family.shapes[shift.parameter], dtype=bool)
    mask.reshape(-1)[shift.index[:, 0]] = True
    return mask
