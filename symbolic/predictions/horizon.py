"""The sizes of what moves a function C(theta) under SGD, side by side, and for how long the symmetric theory of C
holds.

The symmetric theory says dC/dt = decay + noise. Left out are the breaking drift and the diffusion; the distance e that
they drive C away from it obeys, with the terms frozen, de = (breaking - k e) dt + sqrt(diffusion) dW: noise and weight
decay pull C back to its equilibrium at the rate k (docs/theory.md eq. (4.4)). The theory holds until the mean of |e|
plus one standard deviation reaches a stated share of the size of C.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite, log1p, sqrt

import numpy as np

from symbolic.errors import InputError


@dataclass(frozen=True, kw_only=True)
class BreakingSizes:
    """The terms of dC at one theta, per unit of time t = eta*k, for one SGD setting.

    Attributes
    ----------
    name
        What C is called.
    value
        C.
    breaking, decay, noise
        The parts of its drift.
    diffusion
        d<C>/dt, so that C spreads by sqrt(diffusion*t).
    finite_step
        (eta/2) w^T Hess C w with w = gbar + lambda theta: what a discrete step adds to the SDE's drift, exact for
        quadratic C; None with momentum.
    size
        sum_i |theta_i dC/dtheta_i|/2, the scale of C (u^2 + w^2 for C = u^2 - w^2).
    relaxation
        The rate at which the symmetric theory forgets a disturbance of C along the orbit, T Tr[Sigma A^2]/|A theta +
        b|^2 plus weight decay's; 0 unless C is quadratic.
    learning_rate
        eta.
    """

    name: str
    value: float
    breaking: float
    decay: float
    noise: float
    diffusion: float
    finite_step: float | None
    size: float
    relaxation: float
    learning_rate: float

    @property
    def drift(self) -> float:
        """The mean of dC/dt under the SDE of order 1."""
        return self.breaking + self.decay + self.noise

    @property
    def ratio(self) -> float:
        """|breaking|/|noise|: above 1 the breaking, not the noise, drives C. 0 without breaking, inf without noise
        drift."""
        return abs(self.breaking) / abs(self.noise) if self.noise else (inf if self.breaking else 0.0)

    @property
    def visible_from(self) -> float:
        """The time diffusion/noise^2 from which the noise drift's effect |noise| t exceeds the spread
        sqrt(diffusion*t)."""
        return self.diffusion / self.noise**2 if self.noise else (inf if self.diffusion else 0.0)

    @property
    def holds_until(self) -> float:
        """`horizon()`: until when the symmetric theory is right to a tenth of the size of C."""
        return self.horizon()

    def deviation(self, t: float) -> float:
        """Mean distance from the symmetric theory's C(t) plus one standard deviation, with the terms frozen at theta.

        |breaking| phi(k, t) + sqrt(diffusion phi(2 k, t)), phi(k, t) = (1 - e^{-k t})/k (t for k = 0), k = relaxation:
        the distance e of C from what dC/dt = decay + noise gives obeys de = (breaking - k e) dt + sqrt(diffusion) dW.

        Parameters
        ----------
        t
            Time, eta*k.

        Returns
        -------
        float
        """
        if not (isfinite(t) and t >= 0):
            raise InputError(
                f"deviation: t must be a time of at least 0; got {t!r} ({type(t).__name__}). Give a finite time."
            )

        def phi(k: float) -> float:
            return float(-np.expm1(-k * t) / k) if k else t

        return abs(self.breaking) * phi(self.relaxation) + sqrt(self.diffusion * phi(2 * self.relaxation))

    def horizon(self, fraction: float = 0.1, scale: float | None = None) -> float:
        """The time at which `deviation` reaches a share of the scale; inf when it never does.

        With L = fraction*scale, B = |breaking|, V = diffusion, k = relaxation: for k = 0 sqrt(t) = 2 L/(sqrt(V) +
        sqrt(V + 4 B L)); else t = -log(1 - s)/k with s = L^2/(L P + Q + sqrt(Q (Q + 2 L P - L^2))), P = B/k, Q = V/(2
        k) (the root of opposite sign for k < 0), and never if k > 0 and P + sqrt(Q) <= L.

        Parameters
        ----------
        fraction
            The share.
        scale
            `size` unless given.

        Returns
        -------
        float
            In t = eta*k.

        Raises
        ------
        InputError
            For a fraction or scale that is not positive.
        """
        scale = self.size if scale is None else scale
        if not (isfinite(fraction) and fraction > 0 and isfinite(scale) and scale >= 0):
            raise InputError(
                f"horizon: fraction must be positive and scale not negative; got {fraction!r} and {scale!r}. Give"
                " finite numbers."
            )
        b, v, k, limit = abs(self.breaking), self.diffusion, self.relaxation, fraction * scale
        if not b and not v:
            return inf
        if not limit:
            return 0.0
        if not k:
            return (2 * limit / (sqrt(v) + sqrt(v + 4 * b * limit))) ** 2
        p, q = b / k, v / (2 * k)
        if k > 0 and p + sqrt(q) <= limit:
            return inf
        root = sqrt(max(q * (q + 2 * limit * p - limit**2), 0.0))
        share = limit**2 / (limit * p + q + (root if k > 0 else -root))
        return -log1p(-share) / k if share < 1 else inf

    def __str__(self) -> str:
        until = self.holds_until
        lines = [
            f"{self.name} = {self.value:.6g} (size {self.size:.6g}), per unit time:",
            f"  breaking drift  {self.breaking:+.6g}",
            f"  weight decay    {self.decay:+.6g}",
            f"  noise drift     {self.noise:+.6g}",
            f"  spread          {sqrt(self.diffusion):.6g} sqrt(t)",
        ]
        if self.finite_step is not None:
            lines.append(f"  finite step     {self.finite_step:+.6g}")
        if not self.breaking and not self.diffusion:
            return "\n".join([*lines, "  exact here: neither breaking nor diffusion"])
        lines.append(f"  |breaking|/|noise drift| = {self.ratio:.3g}")
        if until == inf:
            return "\n".join([*lines, "  the symmetric theory stays right to a tenth of the size"])
        return "\n".join(
            [
                *lines,
                (
                    f"  the symmetric theory is right to a tenth of the size until t = {until:.4g}"
                    f" ({until / self.learning_rate:.4g} steps)"
                ),
            ]
        )

    __repr__ = __str__
