"""Move a model along its symmetries' orbit to where noise, or the norms of its layers, balance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sde.networks.charge import Charge
from sde.networks.charges import Charges
from sde.networks.equilibrium import equilibria
from sde.networks.family import Family
from sde.networks.mixing import Mixing, mixings
from sde.networks.orbits import carry
from sde.networks.slice_products import SliceProducts, in_double
from sde.networks.symmetries import symmetries
from sde.networks.theory import Symmetries
from sde.networks.traces import batch_of, covariance_traces, in_order
from sde.networks.untouched import largest_change, outputs_by_mode, untouched
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
        Largest change of an output over the largest output, under one set of random numbers, and with the running
        statistics of evaluation too: rounding.
    sweeps : int
        Passes over all families of charges.
    charges : int
        That were balanced; pairs of units that mix count, too.
    left_out : dict
        {tensors of charges: why} of those that are left as they are.
    """

    before: float
    after: float
    changed: float
    sweeps: int
    charges: int
    left_out: dict[str, str]


@torch.no_grad()
def balance(
    model: nn.Module,
    inputs: Any,
    *targets: Tensor,
    charges: Sequence[Charge] | Symmetries | None = None,
    loss: Callable[..., Tensor] | None = None,
    to: str = "norms",
    sweeps: int = SWEEPS,
) -> Balanced:
    """Move a model along its rescalings and mixings, without changing its function, to balanced norms or noise.

    The former is where |theta|^2 is least on the orbit and every charge is 0, which weight decay leads to; the latter
    is where noise moves no charge (docs/theory.md eq. 4.2), where Tr Sigma is least. Charges that share no tensor are
    moved at once, each to its own zero; units that every invertible matrix mixes (GL pairs: a head's queries against
    keys, a low-rank adapter's factors) together, by a geometric mean of matrices (eq. 4.9).

    Parameters
    ----------
    model : torch.nn.Module
        Its parameters are changed in place, and nothing else.
    inputs : tensor, or tuple of tensors
        A batch, to show that the function stays; of many samples for noise.
    *targets : tensor
        For noise: what `loss` takes beside the output.
    charges : sequence of Charge, or Symmetries
        Of `symmetries`, or what it returned; None: it is asked.
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
    known = in_order(charges.charges if isinstance(charges, Symmetries) else charges, parameters).families
    own = Charges([f for f in known if _movable(f)])
    if not len(own):
        raise InputError(
            "balance.charges: none is a rescaling of slices of tensors. Take them from symmetries(model, x)."
        )
    products = SliceProducts(own, {n: tuple(p.shape) for n, p in parameters.items()})
    mixed = mixings(own, products)
    alone = np.zeros(len(own), dtype=bool)
    for k, f in enumerate(own.families):
        alone[own.slice_of(k)] = f.slots[0].diagonal
    for m in mixed:
        alone[m.charges] = False
    moves: list[int | Mixing] = [k for k in range(len(own.families)) if alone[own.slice_of(k)].any()]
    turns = _turns([*moves, *mixed], own)

    def places() -> tuple[np.ndarray, dict[int, np.ndarray | None]]:
        """How far along its orbit each charge has its zero, and the matrix of each mixing."""
        if to == "noise":
            assert loss is not None
            with torch.enable_grad(), untouched(model):
                form = covariance_traces(model, (inputs, *targets), loss, own).moments.covariance
        else:
            form = products.take(in_double(parameters, products.names)).cpu().numpy()
        sign = 1.0 if to == "noise" else -1.0  # C grows along the orbit as noise falls
        found = np.where(alone, sign * equilibria(own, products, form), np.nan)
        return found, {id(m): None if (s := m.equilibrium(form)) is None else sign * s for m in mixed}

    kept = outputs_by_mode(model, xs)
    found = places()
    before, done = _worst(*found), 0
    while done < sweeps and _worst(*found) > NEAR:
        for turn in turns:
            at, matrices = found
            for move in turn:
                if isinstance(move, Mixing):
                    if (by := matrices[id(move)]) is not None:
                        move.move(parameters, by, FARTHEST)
                    continue
                there = np.nan_to_num(at[own.slice_of(move)], nan=0.0, posinf=0.0, neginf=0.0)
                carry(parameters, own.families[move], np.clip(there, -FARTHEST, FARTHEST))
            found = places()
        done += 1
    changed = largest_change(kept, outputs_by_mode(model, xs))
    left = {", ".join(f.parameters): _reason(f) for f in known if not _movable(f)}
    side = f"its {to} have one sign only, or none"
    for move in [*moves, *mixed]:
        still = (
            found[1][id(move)] is None
            if isinstance(move, Mixing)
            else not np.isfinite(found[0][own.slice_of(move)]).any()
        )
        if still:
            left[", ".join(_names(move, own))] = side
    return Balanced(before, _worst(*found), changed, done, len(own), left)


def _names(move: int | Mixing, own: Charges) -> list[str]:
    return sorted(move.parameters if isinstance(move, Mixing) else own.families[move].parameters)


def _turns(moves: Sequence[int | Mixing], own: Charges) -> list[list[int | Mixing]]:
    """Moves that share no tensor, and so do not act on each other, in one turn."""
    turns: list[tuple[set[str], list[int | Mixing]]] = []
    for move in moves:
        names = set(_names(move, own))
        place = next((t for t in turns if not t[0] & names), None)
        if place is None:
            turns.append((names, [move]))
        else:
            place[0].update(names)
            place[1].append(move)
    return [t for _, t in turns]


def _movable(family: Family) -> bool:
    """Whether it scales slices, or mixes them."""
    of = {s.diagonal for s in family.slots}
    return family.status == "exact" and not family.shifts and len(of) == 1


def _reason(family: Family) -> str:
    return "its symmetry is broken" if family.status != "exact" else "it shifts"


def _worst(found: np.ndarray, matrices: dict[int, np.ndarray | None]) -> float:
    """Of the moves that have a finite end."""
    finite = [
        np.abs(found[np.isfinite(found)]),
        *(np.abs(np.linalg.eigvalsh(s)) for s in matrices.values() if s is not None),
    ]
    return float(np.concatenate(finite).max(initial=0.0))
