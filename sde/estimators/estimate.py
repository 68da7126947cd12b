"""What a multilevel estimate says: the value, its error, its levels, and what plain Monte Carlo would have cost."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from sde.estimators.convergence_order import QUANTILE
from sde.storage.files import write_figure

MOST_ORDER_ERROR = 0.3
"""Most standard error of an order that is stated."""


@dataclass(frozen=True)
class Level:
    """One level of a multilevel estimate: f at steps of dt, less f at `refine` times longer steps on the same paths.

    The first level's mean and variance are f's own.

    Attributes
    ----------
    steps
        Per path at the level itself.
    dt
        Their length.
    paths
        How many.
    mean, variance, kurtosis
        Of the difference.
    cost
        Path-steps of one sample, the longer steps included.
    path_steps
        Taken in all.
    plain_variance
        Of f at this step.
    mismatch
        Standard errors between f's mean at this level and what the next finer one found for the same step; NaN for the
        last.
    """

    steps: int
    dt: float
    paths: int
    mean: float
    variance: float
    kurtosis: float
    cost: int
    path_steps: int
    plain_variance: float
    mismatch: float


@dataclass(frozen=True)
class Estimate:
    """A multilevel estimate.

    value; sem: its standard error; bias, bias_sem: estimate of the scheme's |bias| that is left, from the last levels,
    and its standard error; steady: whether the last levels' means fall like one power of the step (if not, the bias is
    the most that they allow at weak order 1/2); order, decay: the weak order and the levels' variance order that were
    reckoned with; order_seen, decay_seen: those that the levels show, and their standard errors (None where they show
    none). discarded: path-steps on levels whose steps were too long to pay, or that were not needed. plain_steps,
    plain_path_steps: per path, and altogether, of the cheapest plain Monte Carlo run of the same scheme to the same
    error, by the measured variance and bias; None where the bias is not steady, or within its noise.
    """

    value: float
    sem: float
    bias: float
    bias_sem: float
    order: float
    order_seen: tuple[float, float] | None
    decay: float
    decay_seen: tuple[float, float] | None
    steady: bool
    levels: tuple[Level, ...]
    discarded: int
    plain_steps: int | None
    plain_path_steps: float | None

    @property
    def error(self) -> float:
        """Root mean square error: the standard error and the bias together."""
        return float(np.hypot(self.sem, self.bias))

    @property
    def interval(self) -> tuple[float, float]:
        """95 %: the bias and 1.96 standard errors, its own among them, to both sides."""
        half = self.bias + QUANTILE * float(np.hypot(self.sem, self.bias_sem))
        return self.value - half, self.value + half

    @property
    def path_steps(self) -> int:
        """All that were taken."""
        return sum(level.path_steps for level in self.levels) + self.discarded

    @property
    def saving(self) -> float:
        """Plain Monte Carlo's path-steps over these; NaN where those are not known."""
        return float("nan") if self.plain_path_steps is None else self.plain_path_steps / self.path_steps

    @property
    def table(self) -> list[dict[str, float]]:
        """One row per level."""
        return [{f.name: getattr(level, f.name) for f in fields(Level)} for level in self.levels]


@dataclass(frozen=True, kw_only=True)
class Expectation(Estimate):
    """A multilevel estimate of E f(X_time), and what was asked.

    Attributes
    ----------
    value, sem
        The estimate and its standard error.
    bias, bias_sem
        Estimate of the scheme's |bias| that is left, from the last levels, and its standard error.
    order, decay
        The weak order and the levels' variance order that were reckoned with.
    order_seen, decay_seen
        Those that the levels show, and their standard errors; None where they show none.
    steady
        Whether the last levels' means fall like one power of the step; if not, the bias is the most that they allow at
        weak order 1/2.
    levels
        `Level` each.
    discarded
        Path-steps on levels whose steps were too long to pay, or that were not needed.
    plain_steps, plain_path_steps
        Per path, and altogether, of the cheapest plain Monte Carlo run of the same scheme to the same error; None where
        the bias is not steady, or within its noise.
    problem, functional, scheme, noise_class, time, tolerance, seed, refine
        What was asked.
    seconds
        Wall clock, compilation among it.
    """

    problem: str
    functional: str
    scheme: str
    noise_class: str
    time: float
    tolerance: float
    seed: int
    refine: int
    seconds: float

    def __str__(self) -> str:
        low, high = self.interval
        lines = [
            f"E[{self.functional}] at time {self.time:g} of {self.problem} ({self.noise_class} noise), {self.scheme}",
            (
                f"{self.value:.6g} ± {self.error:.1e}  (standard error {self.sem:.1e}, bias {self.bias:.1e} ±"
                f" {self.bias_sem:.1e}; asked {self.tolerance:.1e})"
            ),
            f"95 % interval [{low:.6g}, {high:.6g}]",
            (
                f"{'dt':>10} {'steps':>7} {'paths':>11} {'mean':>12} {'variance':>10} {'kurtosis':>9} {'cost':>7}"
                f" {'path-steps':>11}"
            ),
        ]
        for level in self.levels:
            lines.append(
                f"{level.dt:>10.4g} {level.steps:>7} {level.paths:>11} {level.mean:>+12.4e} {level.variance:>10.2e} "
                f"{level.kurtosis:>9.3g} {level.cost:>7} {level.path_steps:>11.3g}"
            )
        weak = f"{self.order:.2f} assumed, " if self.steady else ""
        lines.append(f"orders: weak {weak}{_seen(self.order_seen)}, variance {_seen(self.decay_seen)}")
        cause = "is within its noise" if self.steady else "does not fall by one order yet"
        plain = f"not known, as the bias {cause}"
        if self.plain_steps is not None:
            plain = f"{self.plain_path_steps:.3g} ({self.plain_steps} steps a path), {self.saving:.3g} times as many"
        lines.append(f"{self.path_steps:.3g} path-steps; plain Monte Carlo {plain}")
        return "\n".join(lines)

    def plot(self, path: str | Path) -> Path:
        """Draw log2 of the levels' variance and of |mean| over dt, beside those of f itself.

        Parameters
        ----------
        path
            File; its ending says the format.

        Returns
        -------
        Path
        """
        from matplotlib.figure import Figure

        figure: Any = Figure(figsize=(7.6, 3.4), layout="constrained")
        base = max(len(self.levels) - 1, 1)
        for axes, name, plain, order in (
            (figure.add_subplot(121), "variance", [level.plain_variance for level in self.levels], self.decay),
            (figure.add_subplot(122), "mean", [self.value] * len(self.levels), self.order),
        ):
            dt = np.array([level.dt for level in self.levels])
            own = np.abs([getattr(level, name) for level in self.levels])
            with np.errstate(divide="ignore"):
                axes.plot(np.log2(dt), np.log2(np.abs(plain)), "o--", color="#64748b", label="f")
                axes.plot(np.log2(dt[1:]), np.log2(own[1:]), "o-", color="#0072b2", label="difference of levels")
            if len(dt) > 1 and own[1] > 0 and np.isfinite(order):
                line = np.log2(own[1]) + order * np.log2(dt[1:] / dt[1])
                axes.plot(np.log2(dt[1:]), line, ":", color="#d97706", lw=1.5, label=f"slope {order:.2f}")
            axes.set(xlabel="log2 dt", ylabel=f"log2 |{name}|" if name == "mean" else f"log2 {name}")
            axes.invert_xaxis()
            axes.legend(fontsize=8, frameon=False)
        figure.suptitle(f"{self.scheme} on {self.problem}, {base + 1} levels", fontsize=10)
        write_figure(path, figure)
        return Path(path)


@dataclass(frozen=True, kw_only=True)
class Sensitivity(Expectation):
    """A multilevel estimate of the derivative of E f(X_time) in a parameter, or in a start.

    Attributes
    ----------
    value, sem, bias, bias_sem, order, decay, order_seen, decay_seen, steady, levels, discarded
        As of `Expectation`.
    plain_steps, plain_path_steps, problem, functional, scheme, noise_class, time, tolerance, seed, refine, seconds
        As of `Expectation`.
    wrt
        The parameter's name, or the state's whose start it is.
    method
        "pathwise" or "likelihood-ratio".
    why
        Why that.
    """

    wrt: str
    method: str
    why: str

    def __str__(self) -> str:
        return f"d/d{self.wrt}, {self.method} ({self.why}), of {super().__str__()}"


def _seen(order: tuple[float, float] | None) -> str:
    return f"{order[0]:.2f} ± {order[1]:.2f} seen" if order and order[1] <= MOST_ORDER_ERROR else "not known"
