"""Claims of a user's own: what they say, and what it means for one loss."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
import sympy as sp

from sde.verification.distances import DISTANCES
from sde.verification.runs import Kind
from symbolic.errors import InputError, as_real, as_reals, check, instance
from symbolic.language import names
from symbolic.language.calls import called

RUNS = {"sgd": Kind.SGD, "sde": Kind.SDE, "gd": Kind.GD}
PROBES = np.linspace(0.05, 0.95, 19)
"""Shares of mass at whose quantiles a distribution is told from others."""
EQUALS = "must be a number, a function of time, (times, values), a sample or a distribution"
WRITTEN = "Give e.g. 0.5, exp(-t), (times, values), an array of at least two draws, or scipy.stats.norm(0, 1)."


@called({"tolerance": "Give margin=.", "time": "Give at=.", "law": "Give equals=.", "steps": "Give at=, a time."})
@dataclass(frozen=True, eq=False)
class Claim:
    """Claim of your own for `verify`: an observable of a run equals a prediction, to within a margin.

    Parameters
    ----------
    observable : expression, Charge or str
        What is looked at, a number at each point: a SymPy expression of the loss's parameters, a charge of the theory,
        the name of a parameter, of its entry ("W[0,1]") or of a charge, or text as of a run's observables: "loss",
        "sharpness", "u**2 - w**2".
    equals : number, expression, callable, (times, values), array or distribution
        What it should be. Of its mean over paths: a number, a curve as an expression or a function of time t = eta*k,
        or as a tuple of two arrays, read between its times by straight lines. Of its distribution over paths: an array
        of draws, or anything with `cdf` and `ppf`, such as a frozen SciPy distribution or `theory.stationary_law(...)`.
    margin : float
        How far from it still counts as agreement: in the observable's units for a mean and for Wasserstein's distance,
        a number in (0, 1) for Kolmogorov and Smirnov's. 0 for a distribution claims exactly that one, which can be
        refuted only.
    at : float or array, optional
        Time or times, taken at the nearest steps. Left out: the end; of a function, eight times up to it.
    run : {"sgd", "sde", "gd"}
        Discrete SGD, its SDE, or gradient descent.
    start : int, optional
        The number of the start, from 1 as the report counts them; when left out there is one claim for each start
        given.
    distance : {"ks", "wasserstein"}
        Between distributions.
    name : str, optional
        What the report calls it.

    Raises
    ------
    InputError
        For what cannot be a claim.

    Examples
    --------
    >>> import sympy as sp
    >>> from sde import Claim
    >>> u, w, t = sp.symbols("u w t", real=True)
    >>> Claim(u**2 - w**2, equals=1.08 * sp.exp(-t / 20), margin=0.05).run
    'sgd'
    """

    observable: Any
    _: KW_ONLY
    equals: Any
    margin: float
    at: Any = None
    run: str = "sgd"
    start: int | None = None
    distance: str = "ks"
    name: str | None = None

    def __post_init__(self) -> None:
        margin = as_real(self.margin)
        if margin is None or margin < 0:
            raise InputError.of("Claim.margin", "must be finite and 0 or more", self.margin, "Give e.g. 0.05.")
        object.__setattr__(self, "margin", margin)
        check.one_of("Claim.run", self.run, tuple(RUNS), advice="Leave it out for sgd.")
        check.one_of("Claim.distance", self.distance, tuple(DISTANCES), advice="Leave it out for ks.")
        if self.start is not None:
            advice = "Give 1 for the first, or leave it out for all."
            object.__setattr__(self, "start", check.whole("Claim.start", self.start, advice=advice))
        if self.name is not None:
            names.check("Claim.name", check.text("Claim.name", self.name, advice="Give a text, or leave it out."))
        object.__setattr__(self, "equals", _read(self.equals))
        if self.at is not None:
            object.__setattr__(self, "at", self._times())
        if self.of_distribution:
            self._check_distribution()
        elif margin == 0:
            rule = "must be above 0 for a mean, which no run tells without error"
            raise InputError.of("Claim.margin", rule, self.margin, "Give e.g. 0.05.")

    @property
    def of_distribution(self) -> bool:
        """Whether it is about a distribution, not a mean."""
        return isinstance(self.equals, np.ndarray) or _is_law(self.equals)

    def _times(self) -> np.ndarray:
        if isinstance(self.equals, tuple):
            raise InputError.of("Claim.at", "(times, values) have times of their own", self.at, "Leave it out.")
        try:
            found = np.atleast_1d(as_reals(self.at))
        except InputError:
            found = np.empty(0)
        if found.ndim != 1 or not len(found) or not np.isfinite(found).all() or (found < 0).any():
            raise InputError.of("Claim.at", "must be a time or times, from 0 on", self.at, "Give e.g. 10.0.")
        return found

    def _check_distribution(self) -> None:
        if self.run == "gd":
            raise InputError.of(
                "Claim.run", "gradient descent is one path, without a distribution", self.run, "Use sgd."
            )
        if self.at is not None and len(self.at) != 1:
            raise InputError.of("Claim.at", "a distribution is claimed at one time", self.at.tolist(), "Give one.")
        if self.distance == "ks" and self.margin >= 1:
            raise InputError.of(
                "Claim.margin", "must be below 1 for ks, or nothing is claimed", self.margin, "Lower it."
            )
        if self.margin == 0 and self.distance == "wasserstein" and _is_law(self.equals):
            do = "Use ks, whose distribution is known, or give a sample."
            raise InputError.of("Claim.margin", "must be above 0 for Wasserstein to a distribution", self.margin, do)


def _is_law(value: Any) -> bool:
    return callable(getattr(value, "cdf", None)) and callable(getattr(value, "ppf", None))


def _read(value: Any) -> Any:
    """What a claim may equal, as it is computed with."""
    number = as_real(value)
    if number is not None:
        return number
    if isinstance(value, sp.Expr) and value.is_number and value.is_real:
        return float(value)
    if isinstance(value, sp.Expr):
        if len(value.free_symbols) > 1:
            rule = "a curve must be an expression of time alone"
            raise InputError.of("Claim.equals", rule, value, "Write it with one symbol, t.")
        return value
    if isinstance(value, tuple) and len(value) == 2:
        return _table(value)
    if _is_law(value):
        _check_law(value)
        return value
    if callable(value) and not isinstance(value, type):
        return value
    try:
        sample = as_reals(np.asarray(value) if hasattr(value, "__array__") else value)
    except InputError:
        sample = np.empty(0)
    if sample.ndim != 1 or len(sample) < 2 or not np.isfinite(sample).all():
        raise InputError.of("Claim.equals", EQUALS, value, WRITTEN)
    return sample


def _table(value: tuple[Any, Any]) -> tuple[np.ndarray, np.ndarray]:
    try:
        times, values = (as_reals(part) for part in value)
    except InputError:
        times = values = np.empty(0)
    good = times.ndim == 1 and times.shape == values.shape and len(times) > 0 and np.isfinite(values).all()
    if not good or not np.isfinite(times).all() or times[0] < 0 or (np.diff(times) <= 0).any():
        rule = "(times, values) must be two arrays of one length, finite, with increasing times from 0 on"
        raise InputError.of("Claim.equals", rule, value, "A sample is an array, not a tuple.")
    return times, values


def _check_law(law: Any) -> None:
    """Raise InputError unless it is the distribution of a real number."""
    try:
        at = np.asarray(law.ppf(PROBES), dtype=np.float64)
        shares = np.asarray(law.cdf(at), dtype=np.float64)
        good = at.shape == shares.shape == PROBES.shape and np.isfinite(at).all() and (np.diff(at) >= 0).all()
        good = good and bool(((shares >= PROBES - 1e-6) & (shares <= 1)).all())
    except Exception:  # a law of the user's own may raise anything
        good = False
    if not good:
        rule = "a distribution must be frozen, of one real number, with quantiles that its cdf gives back"
        raise InputError.of("Claim.equals", rule, law, "Give e.g. scipy.stats.norm(0, 1).")


def check_claims(claims: Any) -> tuple[Claim, ...]:
    """Raise InputError unless they are claims."""
    instance("verify.claims", claims, (list, tuple), "must be a list of Claims", "Write [Claim(...)].")
    for i, claim in enumerate(claims):
        instance(
            f"verify.claims[{i}]", claim, Claim, "must be a Claim", "Write Claim(observable, equals=..., margin=...)."
        )
    return tuple(claims)
