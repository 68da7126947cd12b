"""Milstein's scheme in steps that an error estimate accepts or halves, on one Brownian path (Gaines and Lyons 1997).

A step is taken at once, in halves and in quarters: where these differ by less than tolerance * sqrt(s^2 + |x|^2), s the
size that states have in the run, the path goes on from the quarters, else the step is halved and its noise with it. So
steps depend on the noise to come, which Euler's scheme does not bear: its sum of dW^2 - dt over such steps does not
vanish. Milstein's local error, pathwise of order 3/2 - on every interval, does, where Levy areas cancel; where they do
not, the limit may be another equation's (Foster and Jelincic, arXiv:2311.14201).
"""

from typing import Any

from symbolic.schemes.milstein import step
from symbolic.schemes.scheme import Scheme, order


def pace(sde: Any, x: Any, t: Any, dt: Any, size: Any) -> Any:
    """dt: what is shorter the estimate decides."""
    return dt


SCHEME = Scheme(
    name="adaptive-milstein",
    calculus="ito",
    noise="commutative",
    strong=order("1"),
    weak=order("1"),
    reference="Gaines & Lyons, SIAM J. Appl. Math. 57 (1997) 1455",
    suits="paths to a tolerance, where noises commute: steps that an error estimate accepts or halves; for fast parts"
    " of a run that dt cannot know",
    step=step,
    pace=pace,
    estimates=True,
    position=6,
)
