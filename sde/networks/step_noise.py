"""The noise of a step's gradient, as products of slices, and what a monitor writes down of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from sde.networks.charges import Charges
from sde.networks.equilibrium import equilibria, relaxation_times, states
from sde.networks.forecast import Start, forecast
from sde.networks.identity import Identity
from sde.networks.optimiser_rules import Rule
from sde.networks.slice_products import SliceProducts, in_single
from sde.networks.step_samples import StepSamples
from sde.networks.traces import Moments

CLIPPED = 1e-3
"""Relative difference of two tensors' clipping beyond which they were not clipped together."""


@dataclass
class StepNoise:
    """At one step: spread, mean (products,) of the covariance of its gradient and of its mean, as the optimiser had
    them; apart: of the mean gradients of two steps; along: of the momentum before it and the mean gradient; factor:
    from that covariance to one sample's; seen: they are of the gradient that the step took. notes: for readers."""

    spread: np.ndarray
    mean: np.ndarray
    apart: np.ndarray
    along: np.ndarray
    factor: float
    seen: bool
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of_samples(
        cls,
        samples: StepSamples,
        parameters: Mapping[str, Tensor],
        products: SliceProducts,
        per_sample: str,
        along: np.ndarray,
    ) -> StepNoise:
        """From the passes of a step that was taken; parameters: with their gradients, as they were used; along: of the
        momentum before it and the step's own gradient, whose mean is the mean gradient."""
        units, notes = samples.units, []
        used = products.take(
            {n: in_single(torch.zeros_like(p) if p.grad is None else p.grad) for n, p in parameters.items()}
        )
        used = used.cpu().double().numpy()
        found = (products.totals @ used).tolist()
        ratios = sorted(f / raw for f, raw in zip(found, samples.raw, strict=True) if f > 0 and raw > 0)
        kept = ratios[len(ratios) // 2] if ratios else 1.0
        if ratios and ratios[-1] - ratios[0] > CLIPPED * ratios[-1]:
            notes.append(
                "gradients were changed tensor by tensor before the step, as clipping per parameter does: what is left"
                " is no gradient of a symmetric loss, and the identity does not hold"
            )
        before = used / kept if kept else np.zeros_like(used)
        spread = kept * units / (units - 1) * (samples.second.numpy() - before / units)
        mean = kept * before - spread
        for name in sorted(samples.unknown):
            notes.append(f"{name} has no gradient by sample: it passes no layer of a known kind")
            lost = (products.tensors == products.names.index(name)).any(0)
            spread[lost] = mean[lost] = np.nan
        factor = samples.samples if per_sample == "mean" else 1 / (max(kept, 1e-300) * samples.samples)
        return cls(spread, mean, mean, along, float(factor), True, notes)

    @classmethod
    def of_probe(cls, moments: Moments, batch: int, along: np.ndarray, *, redrawn: bool = False) -> StepNoise:
        """Of steps with `batch` samples, from a probe's; along: of the momentum and the probe's mean gradient; redrawn:
        every step draws its batch anew from the probe's own rows, docs/theory.md eq. (11.8)."""
        covariance = moments.covariance
        mean = moments.mean - covariance / moments.samples
        return cls(covariance / batch, mean, moments.mean if redrawn else mean, along, float(batch), False)

    def row(
        self,
        charges: Charges,
        products: SliceProducts,
        start: Start,
        identity: Identity | None,
        rules: Sequence[tuple[Rule, ...]],
    ) -> dict[str, np.ndarray]:
        """Variables of `records.FIELDS`, and the words of `states` under "state"; start: of the window."""
        theta = start.theta
        out = {
            "noise": products.form @ self.spread * self.factor,
            "noise_size": products.absolute @ self.spread * self.factor,
            "mean": products.form @ self.mean,
            "gradient": products.absolute @ (self.spread + self.mean),
        }
        if identity is None or not rules:
            return out
        step = self.spread + self.mean
        parts = forecast(identity, rules, start, step, self.apart, self.along, seen=self.seen)
        out["predicted"], out["known"] = parts
        tensors = [rules[0][b] for b in identity.blocks]
        heat, hold, speed = (
            np.array([f(r) for r in tensors])[products.tensors[0]] for f in (_heat, _hold, lambda r: r.lr)
        )
        noise, place = heat * np.nan_to_num(self.spread), hold * theta
        out["equilibrium"] = equilibria(charges, products, noise, place)
        rate = products.squared @ noise + 2 * (products.squared @ place)
        out["relaxation"] = relaxation_times(rate, products.squared @ theta)
        out["net"] = products.form @ noise - 2 * (products.form @ place)
        out["state"] = states(
            out["net"], products.absolute @ noise, out["equilibrium"], held=bool((hold * speed).any())
        )
        return out


def _heat(rule: Rule) -> float:
    """T S of theta's motion per unit of t = lr k, where momentum multiplies the learning rate."""
    return 0.0 if rule.still else rule.lr * rule.noise_factor


def _hold(rule: Rule) -> float:
    """Weight decay of that motion."""
    if rule.still:
        return 0.0
    return rule.decay * (1.0 if rule.decoupled else (1 - rule.dampening) / (1 - rule.momentum))
