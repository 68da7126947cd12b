"""Move a model along its symmetries' orbit to where noise, or the norms of its layers, balance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sde.networks.charge import Charge, add, slices
from sde.networks.charges import Charges
from sde.networks.equilibrium import equilibria
from sde.networks.family import Family
from sde.networks.slice_products import SliceProducts, in_double
from sde.networks.symmetries import symmetries
from sde.networks.traces import batch_of, covariance_traces, in_order
from symbolic.errors import InputError, instance
from symbolic.errors import check as must

AIMS = ("norms", "noise")
SWEEPS, NEAR, FARTHEST = 40, 1e-3, 2.0


@dataclass(frozen=True)
class Balanced:
    """What `balance` did.

    Attributes
    ----------
    before, after : float
        Largest distance to balance along any charge's orbit.
    changed : float
        Largest change of an output over the largest output: rounding.
    sweeps : int
        Passes over all families of charges.
    charges : int
        That were balanced; those with slices of two tensors coupled, and translations, are left as they are.
    """

    before: float
    after: float
    changed: float
    sweeps: int
    charges: int


@torch.no_grad()
def balance(
    model: nn.Module,
    inputs: Any,
    *targets: Tensor,
    charges: Sequence[Charge] | None = None,
    loss: Callable[..., Tensor] | None = None,
    to: str = "norms",
    sweeps: int = SWEEPS,
) -> Balanced:
    """Move a model's parameters along its rescalings, without changing its function, to balanced norms or noise.

    The former is where |theta|^2 is least on the orbit and every charge is 0, which weight decay leads to; the latter
    is where noise moves no charge (docs/theory.md eq. 4.2), which SGD leads to. One family of charges is moved at a
    time, each to its own zero.

    Parameters
    ----------
    model : torch.nn.Module
        Its parameters are changed in place.
    inputs : tensor, or tuple of tensors
        A batch, to show that the function stays; of many samples for noise.
    *targets : tensor
        For noise: what `loss` takes beside the output.
    charges : sequence of Charge
        Of `symmetries`; None: it is asked.
    loss : callable
        For noise: ``loss(output, *targets)``, of every sample.
    to : "norms" or "noise"
    sweeps : int
        At most.

    Returns
    -------
    Balanced

    Raises
    ------
    InputError
        Where no charge can be moved along, or noise is asked for without a loss.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from sde.networks import balance
    >>> model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).double()
    >>> done = balance(model, torch.randn(8, 3).double())
    >>> done.after < 1e-3, done.changed < 1e-12
    (True, True)
    """
    instance("balance.model", model, nn.Module, "needs a torch.nn.Module", "Give the model.")
    must.one_of("balance.to", to, advice="Pick one.", choices=AIMS)
    must.whole("balance.sweeps", sweeps, advice="Give a count.")
    xs, _ = batch_of((inputs, *targets))
    if to == "noise" and not callable(loss):
        raise InputError.of("balance.loss", "is needed for noise", loss, "Give loss(output, *targets).")
    parameters: dict[str, Tensor] = dict(model.named_parameters())
    if charges is None:
        with torch.enable_grad():
            charges = symmetries(model, *xs).charges
    own = Charges([f for f in in_order(charges, parameters).families if _movable(f)])
    if not len(own):
        raise InputError(
            "balance.charges: none is a rescaling of slices of tensors. Take them from symmetries(model, x)."
        )
    products = SliceProducts(own, {n: tuple(p.shape) for n, p in parameters.items()})

    def places() -> np.ndarray:
        """How far along its orbit each charge has its zero."""
        if to == "noise":
            assert loss is not None
            with torch.enable_grad(), torch.random.fork_rng(devices=[]):
                moments = covariance_traces(model, (inputs, *targets), loss, own).moments
            return equilibria(own, products, np.maximum(moments.covariance, 0.0))
        theta = products.take(in_double(parameters, products.names)).cpu().numpy()
        return -equilibria(own, products, theta)  # C grows along the orbit as noise falls

    kept = model(*xs)
    found = places()
    before, done = _worst(found), 0
    while done < sweeps and _worst(found) > NEAR:
        for k, family in enumerate(own.families):
            if k:
                found = places()
            there = np.nan_to_num(found[own.slice_of(k)], nan=0.0, posinf=0.0, neginf=0.0)
            _move(parameters, family, np.clip(there, -FARTHEST, FARTHEST))
        found, done = places(), done + 1
    now = model(*xs)
    changed = float((now - kept).abs().max() / kept.abs().max()) if isinstance(now, Tensor) else float("nan")
    return Balanced(before, _worst(found), changed, done, len(own))


def _movable(family: Family) -> bool:
    """Whether it only scales slices."""
    return family.status == "exact" and not family.shifts and all(s.diagonal for s in family.slots)


def _worst(found: np.ndarray) -> float:
    finite = np.abs(found[np.isfinite(found)])
    return float(finite.max(initial=0.0))


def _move(parameters: dict[str, Tensor], family: Family, there: np.ndarray) -> None:
    """theta to e^{lA} theta, of all charges of a family."""
    for s in family.slots:
        p = parameters[s.left]
        power = torch.zeros(slices(p, s.left_axes).shape[0], dtype=torch.float64)
        values = torch.as_tensor(np.multiply.outer(there, s.weights).reshape(-1))
        power.index_add_(0, torch.as_tensor(s.rows.reshape(-1)), values)
        factor = torch.expm1(power).to(p)[:, None]
        add(p.data, s.left_axes, torch.arange(len(power)), factor * slices(p.data, s.left_axes))
