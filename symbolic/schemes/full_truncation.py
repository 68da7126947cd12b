"""Full truncation: Euler-Maruyama whose coefficients see Max(x, 0) of every state that the equation keeps at or above
0, as does all that is saved (Lord, Koekkoek, van Dijk 2010). The state that is carried along may be below 0 between
steps, which leaves its mean unbiased where the drift is linear."""

from typing import Any

from symbolic.dynamics.domain import WALLS, truncated
from symbolic.schemes.scheme import Scheme, order


def refuse(sde: Any) -> str | None:
    """Why this SDE cannot be stepped, if so."""
    return None if truncated(sde) else 'is for states of a domain: SDE(..., domain={X: "nonnegative"})'


def step(sde: Any, x: Any, t: Any, dt: Any, dW: Any, let: Any) -> Any:
    return x + sde.increment(let(x.xreplace(truncated(sde))), t, dt, dW)


SCHEME = Scheme(
    name="full-truncation",
    calculus="ito",
    noise="general",
    strong=order("1/2", additive="1"),
    weak=order("1"),
    reference="Lord, Koekkoek & van Dijk, Quant. Finance 10 (2010) 177",
    suits="states at or above 0, any equation that keeps them there",
    step=step,
    arrays="general",
    refuse=refuse,
    keeps=("nonnegative", *WALLS),
    seen=truncated,
    position=13,
)
