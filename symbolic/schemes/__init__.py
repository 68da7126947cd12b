"""One-step stochastic maps, one formula a file, and the table of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from inspect import signature
from types import ModuleType
from typing import Any

import sympy as sp

from symbolic.dynamics.equation import SDE, LossDynamics, weight_decay
from symbolic.dynamics.step_map import StepMap, h, t
from symbolic.errors import InputError, nearest
from symbolic.schemes import (
    adaptive_euler,
    euler_heun,
    euler_maruyama,
    heun,
    implicit_euler,
    milstein,
    milstein_levy,
    orbit_splitting,
    platen_weak,
    sgd_momentum,
    sgd_step,
    sra,
    sri,
    tamed_euler,
)
from symbolic.schemes.noise_inputs import Naming, Noise

beta = sp.Symbol(":momentum", real=True)
SIZE = ":size"
size = sp.Symbol(SIZE, real=True, positive=True)
"""The root mean square of |x| in a run, for formulas that must not depend on the states' unit."""
Orders = str | Mapping[str, str]
MOST_INPUTS = 4096


@dataclass(frozen=True)
class Scheme:
    """A scheme's table row and formula.

    calculus: "ito", "stratonovich" or "discrete"; noise: the widest noise class it may be used on; strong and weak:
    orders as text; orders: the same by noise class, as numbers. step: the formula, which takes what it names of sde, x,
    t, dt, dW, dZ (int W ds), integrals (Ito's I_(j,k)), auxiliary (further normals), size (of the states in a run) and
    let (gives intermediate values a name).
    """

    name: str
    calculus: str
    noise: str
    strong: str
    weak: str
    reference: str
    step: Callable[..., Any]
    formula: ModuleType

    @property
    def own_clock(self) -> bool:
        """Whether each path chooses its steps: the formula's `pace` says how long they may be."""
        return hasattr(self.formula, "pace")

    def order(self, kind: str, noise_class: str) -> Fraction:
        """Strong or weak order on an SDE of this noise class; kind is "strong" or "weak"."""
        orders: Orders = self.formula.STRONG if kind == "strong" else self.formula.WEAK
        if isinstance(orders, str):
            return Fraction(orders)
        for name in (noise_class, *(("commutative",) if noise_class in ("scalar", "diagonal", "additive") else ())):
            if name in orders:
                return Fraction(orders[name])
        return Fraction(orders["general"])

    def noise_inputs(self, noises: int, terms: int | None = None) -> Noise:
        """The random inputs of one step for J noises; terms: of the Levy area's series."""
        names = signature(self.step).parameters
        modes = 1 + max(1 if "dZ" in names else 0, (terms or 1) if "integrals" in names and noises > 1 else 0)
        count = self.formula.auxiliary(noises) if "auxiliary" in names else 0
        return Noise(noises, modes, count, h)


def _text(orders: Orders) -> str:
    if isinstance(orders, str):
        return orders
    return "; ".join(order if kind == "general" else f"{kind} {order}" for kind, order in orders.items())


SCHEMES: dict[str, Scheme] = {
    m.NAME: Scheme(m.NAME, m.CALCULUS, m.NOISE, _text(m.STRONG), _text(m.WEAK), m.REFERENCE, m.step, m)
    for m in (
        euler_maruyama,
        tamed_euler,
        adaptive_euler,
        implicit_euler,
        milstein,
        milstein_levy,
        sra,
        sri,
        platen_weak,
        heun,
        euler_heun,
        orbit_splitting,
        sgd_step,
        sgd_momentum,
    )
}


def find(scheme: str) -> tuple[Scheme, int | None]:
    """A scheme by name, and the n of "milstein-levy:n". Raises ValueError for what is not there."""
    name, colon, count = scheme.partition(":") if isinstance(scheme, str) else ("", "", "")
    if name not in SCHEMES or (colon and name != milstein_levy.NAME):
        known = [name for name, s in SCHEMES.items() if s.calculus != "discrete"]
        hint = nearest(scheme, known, "See `noetherflow schemes`.")
        raise InputError.of("scheme", f"must be one of {', '.join(known)}", scheme, hint)
    if colon and not (count.isdigit() and 1 <= int(count) <= 1000):
        raise InputError(
            f"scheme: milstein-levy:n takes 1 to 1000 terms; got {scheme!r} (str). Write e.g. 'milstein-levy:8'."
        )
    return SCHEMES[name], int(count) if colon else None


def require_scheme(scheme: Any) -> str:
    """The name, which must be of a scheme that integrates an SDE. Raises ValueError."""
    if find(scheme)[0].calculus == "discrete":
        raise InputError.of(
            "scheme", "must integrate an SDE", scheme, "It is a discrete optimiser: use train, of a loss."
        )
    return scheme


def for_step(problem: SDE | object, scheme: str, dt: float) -> str:
    """The name in full: how many terms milstein-levy takes at this step, where the name does not say: 1 where areas
    cancel. Raises ValueError."""
    chosen, terms = find(scheme)
    if chosen.name != milstein_levy.NAME or terms is not None or not isinstance(problem, SDE):
        return scheme
    return f"{scheme}:{milstein_levy.levy_terms(dt) if problem.noise_class == 'general' else 1}"


def check_pairing(problem: SDE, chosen: Scheme) -> None:
    """Raises ValueError, with the reason, for a scheme that would not converge, or not at its order, on this SDE."""
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
    reason = getattr(chosen.formula, "refuse", lambda _: None)(problem)
    if reason:
        raise InputError(f"scheme: {name} {reason}. Use one of {', '.join(fitting(problem))}.")


def fitting(problem: SDE) -> list[str]:
    """Names of the schemes that may be used on this SDE as it is written."""
    return [
        s.name
        for s in SCHEMES.values()
        if s.calculus == problem.interpretation
        and problem.allows(s.noise)
        and not getattr(s.formula, "refuse", lambda _: None)(problem)
    ]


def step_map(problem: SDE | LossDynamics, scheme: str) -> StepMap:
    """The one-step map of a problem under a scheme. Raises ValueError for an unknown name or a wrong pairing."""
    chosen, terms = find(scheme)
    x = sp.ImmutableMatrix(problem.states)
    if isinstance(problem, SDE):
        check_pairing(problem, chosen)
        noise, let = chosen.noise_inputs(problem.noises, terms), Naming()
        if len(noise.inputs) > MOST_INPUTS:
            raise InputError(
                f"scheme: a step takes at most {MOST_INPUTS} normals; got {len(noise.inputs)} for {scheme} with"
                f" {problem.noises} noises. Take fewer terms, or another scheme."
            )
        wanted = signature(chosen.step).parameters
        offered: dict[str, Callable[[], Any]] = {
            "sde": lambda: problem,
            "x": lambda: x,
            "t": lambda: t,
            "dt": lambda: h,
            "dW": lambda: noise.coefficients[0],
            "dZ": lambda: noise.dZ,
            "integrals": lambda: let(noise.integrals),
            "auxiliary": lambda: noise.extra,
            "let": lambda: let,
            "size": lambda: size,
        }
        updates = chosen.step(**{name: offered[name]() for name in wanted})
        pace = chosen.formula.pace(problem, x, t, h, size) if chosen.own_clock else None
        sized = "size" in wanted or pace is not None
        return StepMap(
            f"{problem.name}:{scheme}",
            problem.states,
            noise.inputs,
            (*problem.parameters, *((size,) if sized else ())),
            tuple(let.statements),
            tuple(updates),
            pace,
        )
    inputs = sp.ImmutableMatrix(problem.inputs)
    if scheme == sgd_momentum.NAME:
        v = sp.ImmutableMatrix([sp.Symbol(f":v_{s.name}", real=True) for s in problem.states])
        position, velocity = chosen.step(problem, x, v, beta, t, h, inputs)
        return StepMap(
            f"{problem.name}:{scheme}",
            (*problem.states, *v),
            problem.inputs,
            (weight_decay, beta),
            problem.statements,
            (*position, *velocity),
        )
    if chosen.name not in (sgd_step.NAME, euler_maruyama.NAME):
        raise InputError(
            f"scheme: {scheme} needs drift and diffusion as formulas; got a loss, whose noise is in its inputs. "
            "Use euler-maruyama, or SDE.from_loss(loss, sgd)."
        )
    updates = chosen.step(problem, x, t, h, inputs)
    return StepMap(
        f"{problem.name}:map", problem.states, problem.inputs, (weight_decay,), problem.statements, tuple(updates)
    )
