"""Exponential Euler of states that a matrix couples: of f = A x + g, A of numbers, x' = e^(A h) x + h phi(A h) g(x, t)
+ noise, phi(z) = (e^z - 1)/z (Lord, Powell, Shardlow 2014, section 10.6), in a basis in which A acts on each direction,
or pair of them, by itself, so that h may be any.

Noise of constants has the distribution that A leaves of it over the step (docs/theory.md eq. (6.15)): linear drifts
are exact in distribution at any step. Other noise keeps the variance of each direction.
"""

from typing import Any

import sympy as sp

from symbolic.algebra.eigenbasis import Eigenbasis, eigenbasis
from symbolic.schemes import relaxed_noise
from symbolic.schemes.scheme import Scheme, order

MOST_STATES = 128
"""Work of a step grows with their square."""
WORST = 1e4
"""Condition of the basis; rounding grows by it."""


def couplings(sde: Any) -> sp.ImmutableMatrix:
    """A, (D, D): the numbers c of the terms c y of the drift, y any state."""
    place = {x: j for j, x in enumerate(sde.states)}
    out = sp.zeros(len(place), len(place))
    for i, f in enumerate(sde.drift_vector):
        for term in sp.Add.make_args(sp.expand_mul(f)):
            c, y = term.as_independent(*place, as_Add=False)
            if y in place and c.is_number and c.is_finite:
                out[i, place[y]] += c
    return sp.ImmutableMatrix(out)


def eigenbasis_of(sde: Any) -> Eigenbasis:
    """Of its couplings."""
    return eigenbasis(tuple(tuple(map(float, row)) for row in couplings(sde).tolist()))


def refuse(sde: Any) -> str | None:
    """Why this SDE cannot be stepped, if so."""
    if len(sde.states) > MOST_STATES:
        return f"takes at most {MOST_STATES} states; got {len(sde.states)}"
    if couplings(sde).is_diagonal():
        return "needs a drift with terms c y of other states y in it, c a number; got none"
    if (condition := eigenbasis_of(sde).condition) > WORST:
        return (
            f"needs a linear part whose eigenvectors are well apart, of condition {WORST:g} at most; got"
            f" {condition:.3g}, as where an oscillator is damped critically"
        )
    return None


def exact(sde: Any) -> bool:
    """Whether its steps have the solution's own distribution: of a linear drift and noise of constants."""
    rest = sde.drift_vector - couplings(sde) * sp.ImmutableMatrix(sde.states)
    return draws_noise(sde) and all(sp.expand_mul(e).is_number for e in rest)


def draws_noise(sde: Any) -> bool:
    """Whether its noise has the distribution that its couplings leave of it."""
    return not refuse(sde) and _kind(sde) != relaxed_noise.SPREAD


def _kind(sde: Any) -> str:
    return relaxed_noise.kind(eigenbasis_of(sde), sde.diffusion_matrix)


def auxiliary(sde: Any) -> int:
    """A normal for each state where noise of constants ties directions together."""
    return len(sde.states) if not refuse(sde) and _kind(sde) == relaxed_noise.TIED else 0


def step(sde: Any, x: Any, t: Any, dt: Any, dW: Any, auxiliary: Any, let: Any) -> Any:
    own, tied = eigenbasis_of(sde), len(auxiliary) > 0
    rest = (sde.drift(x, t) - couplings(sde) * x).applyfunc(sp.expand_mul)
    phi, noise = relaxed_noise.phi(), let(sde.diffusion(x, t) * dW)
    pull = [let(rest * dt + (noise if tied else 0 * noise))] if tied or any(rest) else []
    kept = [x] if tied else [x, noise]
    functions = [relaxed_noise.decay(), *([] if tied else [relaxed_noise.spread()]), *([phi] if pull else [])]
    left = relaxed_noise.left(own, sde.diffusion_matrix, auxiliary, phi) if tied else None
    return let.in_directions(own, [*kept, *pull], functions, left)


SCHEME = Scheme(
    name="exponential-coupled",
    calculus="ito",
    noise="general",
    strong=order("1/2", additive="1"),
    weak=order("1"),
    reference="Lord, Powell & Shardlow 2014, section 10.6; Van Loan 1978",
    suits="stiff drifts where a matrix of numbers couples states, which it solves exactly; linear drifts with noise of"
    " constants (underdamped Langevin, heat), which are exact in distribution at any step",
    step=step,
    refuse=refuse,
    auxiliary=auxiliary,
    position=17,
)
