"""Steps that follow what schemes leave of a drift whose linear part they solve, however fast that relaxes or turns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import sympy as sp

from sde.api.survey import FEWEST_DEFAULT, Survey
from sde.engine.pilot import PATHS, QUANTILE, RESOLVED, SHARE, STEPS, Field
from symbolic.dynamics.equation import SDE
from symbolic.schemes import exponential_coupled, exponential_euler


def relaxed(survey: Survey, fit: Sequence[str], most_states: int) -> Iterator[tuple[str, float]]:
    """Of a run that only looks at its saves: schemes that draw noise of constants as a linear part leaves it, with the
    step that the rest of the drift asks for."""
    problem, beside = survey.sde, survey.beside
    within = beside.rates or beside.levels or beside.integrands or beside.extremes or problem.jumps
    if within or problem.arrays or survey.moves_with_time or problem.dimension > most_states:
        return
    if exponential_euler.SCHEME.name in fit and _apart(problem):
        own = sp.diag(*exponential_euler.rates(problem))
        yield exponential_euler.SCHEME.name, _step(survey, own)
    if exponential_coupled.SCHEME.name in fit and exponential_coupled.draws_noise(problem):
        yield exponential_coupled.SCHEME.name, _step(survey, exponential_coupled.couplings(problem))


def _apart(problem: SDE) -> bool:
    """Whether noises are of constants, and each moves one state."""
    b = problem.diffusion_matrix
    alone = all(sum(e != 0 for e in b.col(j)) < 2 for j in range(b.cols))
    return alone and b.free_symbols <= set(problem.parameters)


def _step(survey: Survey, linear: sp.MatrixBase) -> float:
    """A thousandth of the run, or as short as resolves the drift's Jacobian, less its linear part, along a pilot."""
    problem, longest = survey.sde, survey.time / FEWEST_DEFAULT
    rest = (sp.Matrix(problem.drift_vector) - linear * sp.Matrix(problem.states)).applyfunc(sp.expand)
    if not rest.free_symbols & set(problem.states):
        return longest
    if survey.coefficients is None:
        return 0.0
    formulas, _ = survey.coefficients.formulas({str(k): e for k, e in enumerate(rest)})
    numbers = linear.xreplace({p: sp.Float(v) for p, v in survey.numbers().items()})
    if numbers.free_symbols:
        return 0.0
    rates = _rates(survey, np.array(numbers.tolist(), dtype=float), formulas)
    known = rates[np.isfinite(rates)]
    rate = float(np.quantile(known, QUANTILE)) if known.size else np.inf
    return min(longest, RESOLVED / rate) if rate > 0 else longest


def _rates(survey: Survey, linear: np.ndarray, rest: Field) -> np.ndarray:
    """Frobenius norms of the rest's Jacobian along a few paths, of steps that are implicit in the linear part."""
    assert survey.coefficients is not None
    rng, passed, found = np.random.Generator(np.random.Philox(22)), 0.0, list[np.ndarray]()
    x = survey.begin(PATHS)
    at = np.full(x.shape[1], survey.began)
    with np.errstate(all="ignore"):
        for _ in range(STEPS):
            found.append(_frobenius(rest, x, at))
            fastest = np.nanmax(np.append(found[-1], 0.0))
            h = min(2 * survey.time / STEPS, SHARE / fastest if fastest > 0 else np.inf, survey.time - passed)
            if not h > 0:
                break
            b = survey.coefficients.diffusion(x, at)
            kick = np.einsum("djn,jn->dn", b, rng.standard_normal(b.shape[1:])) * np.sqrt(h)
            x, passed = np.linalg.pinv(np.eye(len(x)) - h * linear) @ (x + h * rest(x, at) + kick), passed + h
            x[:, ~np.isfinite(x).all(axis=0)] = np.nan
    return np.concatenate(found)


def _frobenius(f: Field, x: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Norms (n,) of the Jacobian of f at x (D, n), by central differences."""
    squares, gap = np.zeros(x.shape[1]), 1e-6 * (np.abs(x) + np.sqrt(np.nanmean(np.append(x**2, 0.0)))) + 1e-9
    for k in range(len(x)):
        up, down = x.copy(), x.copy()
        up[k], down[k] = x[k] + gap[k], x[k] - gap[k]
        squares += np.square((f(up, at) - f(down, at)) / (2 * gap[k])).sum(axis=0)
    return np.sqrt(squares)
