"""Two-layer linear networks whose inputs and label noise are normal, and what is read off their runs."""

from __future__ import annotations

import numpy as np
import sympy as sp
import xarray as xr

from symbolic.problem.distributions import Normal
from symbolic.problem.loss import Loss
from symbolic.problem.parameter import entries
from symbolic.theory import Theory


def linear_network(target: np.ndarray, inputs: np.ndarray, labels: np.ndarray, hidden: int = 2) -> Loss:
    """|U W x - target x - e|^2 with U (outputs, hidden), W (hidden, inputs), and independent x and e of these standard
    deviations."""
    outputs, width = target.shape
    u, w = entries("U", (outputs, hidden)), entries("W", (hidden, width))
    x, e = entries("x", (width,)), entries("e", (outputs,))
    residual = u @ (w @ x) - target @ x - e
    data = {sp.ImmutableMatrix(x): Normal(0, inputs.tolist()), sp.ImmutableMatrix(e): Normal(0, labels.tolist())}
    return Loss(sp.Add(*(r**2 for r in residual)), {"U": u, "W": w}, data, name="linear-network")


def points(run: xr.Dataset) -> np.ndarray:
    """theta of a run that kept its paths, (paths, times, D)."""
    u, w = np.asarray(run["U"].values), np.asarray(run["W"].values)
    return np.concatenate([u.reshape(*u.shape[:2], -1), w.reshape(*w.shape[:2], -1)], axis=2)


def charge_matrix(loss: Loss, thetas: np.ndarray) -> np.ndarray:
    """U'U - WW' of points (..., D): (..., hidden, hidden)."""
    (outputs, hidden), (_, width) = (p.shape for p in loss.parameters)
    u = thetas[..., : outputs * hidden].reshape(*thetas.shape[:-1], outputs, hidden)
    w = thetas[..., outputs * hidden :].reshape(*thetas.shape[:-1], hidden, width)
    return np.einsum("...ki,...kj->...ij", u, u) - np.einsum("...ik,...jk->...ij", w, w)


def noise_sides(theory: Theory, thetas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """W Gamma_W W' and U' Gamma_U U at points (..., D): (..., hidden, hidden) each; the drift of U'U - WW' is T times
    their difference."""
    (outputs, hidden), (_, width) = (p.shape for p in theory.loss.parameters)
    root = theory.noise.factors(thetas.reshape(-1, thetas.shape[-1]))[1]
    u = root[:, : outputs * hidden].reshape(len(root), outputs, hidden, -1)
    w = root[:, outputs * hidden :].reshape(len(root), hidden, width, -1)
    left = np.einsum("nyik,nyjk->nij", u, u, optimize=True)
    right = np.einsum("nixk,njxk->nij", w, w, optimize=True)
    shape = (*thetas.shape[:-1], hidden, hidden)
    return left.reshape(shape), right.reshape(shape)
