"""Matrix factorisation with isotropic label noise: the two noises U'Gamma_U U and W Gamma_W W' become equal under SGD
and stay apart under gradient descent; where SGD ends is a matrix geometric mean."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from itertools import pairwise

import numpy as np

from sde.api.training import train
from sde.results import drawing
from sde.results.linear_network import charge_matrix, linear_network, noise_sides, points
from sde.results.result import Effort, Finding, Result, Row
from symbolic.predictions.joint_equilibrium import geometric_mean_equilibrium
from symbolic.problem.optimizer import SGD
from symbolic.theory import Theory, derive

SEED, RATE = 1103, 0.004
TARGET = np.array([[1.0, 0.2, 0.4], [-0.1, 0.8, -0.3]])
INPUTS, LABELS = np.array([1.2, 0.9, 0.6]), np.ones(2)
START = {"U": np.array([[1.5, 0.3], [-0.2, 1.4]]), "W": np.array([[0.5, 0.2, 0.3], [0.0, 0.7, -0.3]])}
WINDOWS = (0.5, 1.5, 2.5)
"""Times between which rates of decay are read, in slowest relaxation times; entries are compared at the first."""
ENTRY = 0.03
"""Of entries over the matrix's size at the minimum: leaves out what is of first order in the learning rate."""
DECAY = 0.1
"""Of rates: leaves out the same, of entries that have died out to a tenth."""
AGREE = 1e-6
"""Of what is worked out in two ways."""
EIGENVALUE = 0.03
"""Of eigenvalues of U'U - WW', 2 % of the way that they go; leaves out the same."""
INDEX = ((0, 0), (0, 1), (1, 1))


@cache
def theories() -> Mapping[str, Theory]:
    """Of the loss."""
    return {"linear network": derive(linear_network(TARGET, INPUTS, LABELS))}


def difference(thetas: np.ndarray) -> np.ndarray:
    """U'Gamma_U U - W Gamma_W W' at points (..., D): (..., 2, 2)."""
    left, right = noise_sides(theories()["linear network"], thetas)
    return right - left


def closed_form(theta: np.ndarray) -> np.ndarray:
    """Eigenvalues of U'U - WW' at the geometric mean, from a minimum, where the gradient in UW is -2 e x': Gamma_U =
    4 Tr(Cov x) Cov e, Gamma_W = 4 Tr(Cov e) Cov x."""
    at = theories()["linear network"].loss.unpack(theta)
    x, e = np.diag(INPUTS**2), np.diag(LABELS**2)
    u, w = geometric_mean_equilibrium(at["U"], at["W"], 4 * np.trace(x) * e, 4 * np.trace(e) * x)
    return np.linalg.eigvalsh(u.T @ u - w @ w.T)


def measure(effort: Effort) -> Finding:
    """Gradient descent and SGD from one start; the path through the valley predicted from where the former ends."""
    theory, sgd, paths = theories()["linear network"], SGD(RATE), effort(1000, 8000)
    loss, common = theory.loss, {"start": START, "seed": SEED, "threads": effort.threads, "keep": "paths"}
    found = theory.equilibrium(START, sgd).relative
    assert found is not None
    slow = float(found.rates[0])
    steps = round(6 / slow / RATE)
    times = np.round(np.linspace(0, steps, 49)) * RATE
    descent = points(train(loss, sgd, steps=steps, paths=2, save_at=times, full_batch=True, **common))[0]
    effort.tick(0.1)
    begin = loss.unpack(descent[-1])
    thetas = points(train(loss, sgd, steps=steps, paths=paths, save_at=times, **common))
    effort.tick(0.9)
    path, _ = theory.sharpness(begin, sgd).path(times)
    size = float(np.linalg.norm(difference(descent[-1])))
    seen, told = difference(thetas) / size, difference(path) / size
    marks = [int(np.argmin(np.abs(times * slow - at))) for at in WINDOWS]
    early = marks[0]
    tau = times[early] * slow
    on_the_way = [
        Row.of_mean(
            f"entry {i + 1}{j + 1} on the way",
            f"SGD: entry {i + 1}{j + 1} of UᵀΓ_UU − WΓ_WWᵀ after {tau:.2f} slowest relaxation times (over the size at"
            " the minimum)",
            seen[:, early, i, j],
            told[early, i, j],
            ENTRY,
        )
        for i, j in INDEX
    ]
    decay = [_rate(seen[:, pair], told[list(pair)], (times * slow)[list(pair)]) for pair in pairwise(marks)]
    gone = [
        Row.of_mean(
            f"entry {i + 1}{j + 1} at the end",
            f"SGD: entry {i + 1}{j + 1} of UᵀΓ_UU − WΓ_WWᵀ goes to 0 (over the size at the minimum)",
            seen[:, -4:, i, j].mean(axis=1),
            0.0,
            ENTRY,
        )
        for i, j in INDEX
    ]
    still = np.linalg.norm(difference(descent[early]) - difference(descent[-1])) / size
    kept = Row.exact("descent", "gradient descent: UᵀΓ_UU − WΓ_WWᵀ stays (relative change)", float(still), 0.0, AGREE)
    mean_form, of_flow = closed_form(descent[-1]), np.linalg.eigvalsh(charge_matrix(loss, found.theta))
    values = np.linalg.eigvalsh(charge_matrix(loss, thetas[:, -4:])).mean(axis=1)
    ends = [
        Row.of_mean(
            f"eigenvalue {k + 1}",
            f"SGD ends at the geometric mean: {which} eigenvalue of UᵀU − WWᵀ",
            values[:, k],
            mean_form[k],
            EIGENVALUE,
        )
        for k, which in enumerate(("lower", "upper"))
    ]
    flow = Row.exact(
        "flow",
        "the flow over all generators ends at the geometric mean and does not turn (largest difference of eigenvalues)",
        float(np.abs(of_flow - mean_form).max()) if not found.turns else np.inf,
        0.0,
        AGREE,
    )
    before = np.linalg.eigvalsh(charge_matrix(loss, descent[-1]))
    wrong = (
        on_the_way[0].against(told[0, 0, 0], "SGD keeps it as gradient descent does"),
        decay[0].against(2 * decay[0].predicted, "the rate at 2T in place of T"),
        ends[0].against(0.0, "layers become equal in norm, UᵀU = WWᵀ, whatever the shapes"),
        ends[1].against(float(before[1]), "SGD ends where gradient descent does"),
    )
    figures = _figures(times * slow, seen, told, difference(descent) / size)
    return Finding(rows=(*on_the_way, *decay, *gone, kept, *ends, flow), wrong=wrong, figures=figures)


def _rate(seen: np.ndarray, told: np.ndarray, time: np.ndarray) -> Row:
    """Of the decay of the mean (paths, 2, 2, 2) between two times, along the matrix that is predicted (2, 2, 2) for the
    second. Each path counts by its part in the logarithms of the means, to first order."""
    begin, end = time
    direction = told[1] / np.linalg.norm(told[1])
    along = np.einsum("ptij,ij->pt", seen, direction)
    means, known = along.mean(axis=0), np.einsum("tij,ij->t", told, direction)
    parts = np.log(means[0] / means[1]) + (along / means - 1) @ np.array([1.0, -1.0])
    key = f"rate from {begin:.1f} to {end:.1f}"
    claim = f"SGD: the matrix dies out exponentially; its {key} relaxation times (over the slowest relaxation rate)"
    return Row.of_mean(key, claim, parts / (end - begin), float(np.log(known[0] / known[1]) / (end - begin)), DECAY)


def _figures(time: np.ndarray, seen: np.ndarray, told: np.ndarray, descent: np.ndarray) -> Mapping[str, object]:
    figure, axes = drawing.panels(3, width=3.2)
    for (i, j), one in zip(INDEX, axes, strict=True):
        drawing.band(one, time, seen[:, :, i, j], "SGD", "sgd")
        one.plot(time, descent[:, i, j], color=drawing.COLOURS["gd"], lw=1.2, label="gradient descent")
        drawing.theory(one, time, told[:, i, j], "valley flow")
        drawing.labels(one, "time, slowest relaxation times", f"entry {i + 1}{j + 1}")
    return {"Entries of UᵀΓ_UU − WΓ_WWᵀ over its size at the minimum: mean and 5 to 95 % of paths": figure}


RESULT = Result(
    name="factorisation",
    section="paper",
    position=30,
    title="Matrix factorisation, isotropic label noise: SGD aligns the two layers' noise, exponentially",
    claim=(
        "For ℓ(UW), SGD moves UᵀU − WWᵀ by T(WΓ_WWᵀ − UᵀΓ_UU), which gradient descent keeps. Where label noise is"
        " isotropic, the entries of UᵀΓ_UU − WΓ_WWᵀ go to 0 exponentially under SGD and stay under gradient descent;"
        " SGD ends where UᵀΓ_UU = WΓ_WWᵀ, a matrix geometric mean of the two at the start."
    ),
    source="arXiv 2402.07193, section on matrix factorisation and Figure 2",
    beyond=(
        "The entries' whole path and the rate, predicted by the flow along the valley of minima; the end in closed"
        " form. That the entries go to 0 holds for isotropic label noise only: the next result."
    ),
    seed=SEED,
    seconds=(2, 8),
    theories=theories,
    measure=measure,
)
