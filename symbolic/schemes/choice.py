"""Which scheme goes with which equation."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from symbolic.dynamics.equation import SDE
from symbolic.errors import InputError, nearest
from symbolic.schemes import walls
from symbolic.schemes.scheme import Scheme
from symbolic.schemes.table import SCHEMES

MOST_TERMS = 1000


def find(scheme: str) -> tuple[Scheme, int | None]:
    """A scheme by name, and the n of "milstein-levy:n". Raises InputError for what is not there."""
    name, colon, count = scheme.partition(":") if isinstance(scheme, str) else ("", "", "")
    if name not in SCHEMES or (colon and SCHEMES[name].terms is None):
        known = [name for name, s in SCHEMES.items() if s.calculus != "discrete"]
        hint = nearest(scheme, known, "See `noetherflow schemes`.")
        raise InputError.of("scheme", f"must be one of {', '.join(known)}", scheme, hint)
    if colon and not (count.isdigit() and 1 <= int(count) <= MOST_TERMS):
        raise InputError(
            f"scheme: {name}:n takes 1 to {MOST_TERMS} terms; got {scheme!r} (str). Write e.g. '{name}:8'."
        )
    return SCHEMES[name], int(count) if colon else None


def require_scheme(scheme: Any) -> str:
    """The name, which must be of a scheme that integrates an SDE. Raises InputError."""
    if find(scheme)[0].calculus == "discrete":
        do = "It is a discrete optimiser: use train, of a loss."
        raise InputError.of("scheme", "must integrate an SDE", scheme, do)
    return scheme


def for_step(problem: SDE | object, scheme: str, dt: float) -> str:
    """The name in full: how many terms of the Levy areas it takes at this step, where the name does not say: 1 where
    areas cancel. Raises InputError."""
    chosen, terms = find(scheme)
    if chosen.terms is None or terms is not None or not isinstance(problem, SDE):
        return scheme
    return f"{scheme}:{chosen.terms(dt) if problem.noise_class == 'general' else 1}"


def check_pairing(problem: SDE, chosen: Scheme) -> None:
    """Raises InputError, with the reason, for a scheme that would not converge, or not at its order, on this SDE."""
    name = chosen.name
    if chosen.calculus == "discrete":
        raise InputError(f"scheme: {name} is a minibatch optimiser; got a general SDE. Use euler-maruyama.")
    if chosen.calculus != problem.interpretation and problem.noise_class != "additive":
        raise InputError(
            f"scheme: {name} integrates {chosen.calculus} equations; got one written in the {problem.interpretation}"
            f" sense. Convert the drift with sde.to({chosen.calculus!r}), or choose a scheme of that calculus."
        )
    if not problem.allows(chosen.noise):
        why = {
            "additive": "a diffusion that does not depend on the state",
            "diagonal": "one noise, or a noise of its own for each state",
            "commutative": "noises that commute (L^i b_j = L^j b_i), whose Levy areas cancel",
        }[chosen.noise]
        raise InputError(
            f"scheme: {name} needs {why}; got {problem.noise_class} noise. Use one of {', '.join(fitting(problem))}."
        )
    if problem.arrays and not _of_arrays(problem, chosen):
        why = f"needs {chosen.arrays} noise" if chosen.arrays else "does not step them"
        raise InputError(
            f"scheme: {name} {why} where states are arrays; got {problem.noise_class} noise as the formula shows. Use"
            f" one of {', '.join(fitting(problem))}."
        )
    for state, domain in problem.domain.items():
        if domain.kind not in chosen.keeps:
            raise InputError(
                f"scheme: {name} does not keep {state} in its domain, {domain}; got {name!r} (str). Leave it out, or"
                f" use one of {', '.join(fitting(problem))}."
            )
    reason = chosen.refuse(problem)
    if reason:
        raise InputError(f"scheme: {name} {reason}. Use one of {', '.join(fitting(problem))}.")


def fitting(problem: SDE) -> list[str]:
    """Names of the schemes that may be used on this SDE as it is written."""
    return [
        s.name
        for s in SCHEMES.values()
        if s.calculus == problem.interpretation
        and problem.allows(s.noise)
        and _of_arrays(problem, s)
        and all(d.kind in s.keeps for d in problem.domain.values())
        and not s.refuse(problem)
    ]


def orders(problem: SDE, scheme: str) -> tuple[Fraction, Fraction]:
    """Strong and weak order of a scheme on this SDE, its walls taken into account."""
    chosen, _ = find(scheme)
    strong, weak = (chosen.order(kind, problem.noise_class) for kind in ("strong", "weak"))
    return min([strong, *(walls.STRONG[d.kind] for d in problem.domain.values() if d.kind in walls.STRONG)]), weak


def within_domain(problem: SDE) -> tuple[str, str]:
    """The scheme that keeps states in their domains, and why it. Raises InputError where none does."""
    fit = fitting(problem)
    for name, why in (
        ("log-euler", "the logarithms of states at or above 0 have no singular coefficients"),
        ("quadratic-exponential", "square-root diffusions at or above 0"),
        ("full-truncation", "states at or above 0"),
        ("euler-maruyama", "states between walls"),
    ):
        if name in fit:
            return name, why
    sense = problem.interpretation
    advice = "Write it in Ito's sense, sde.to('ito')." if sense != "ito" else "Leave the domain out."
    raise InputError.of("SDE.domain", "needs a scheme that keeps it, which are Ito's", sense, advice)


def _of_arrays(problem: SDE, chosen: Scheme) -> bool:
    """Whether a scheme takes an equation, if it is of arrays."""
    return not problem.arrays or (chosen.arrays is not None and problem.allows(chosen.arrays))
