"""Orders of convergence from errors at several steps, with intervals: the numbers of the convergence laboratory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sde.storage.files import write_figure

QUANTILE = 1.959963984540054
"""Of the normal law, for two-sided 95 % intervals."""
VISIBLE = 4.0
"""A weak error counts where it is this many standard errors away from 0."""


@dataclass(frozen=True)
class Slope:
    """An estimate and its two-sided 95 % interval; NaN and the whole line where the errors do not show it."""

    value: float
    interval: tuple[float, float]


UNSEEN = Slope(float("nan"), (float("-inf"), float("inf")))


def slope(h: np.ndarray, mean: np.ndarray, influence: np.ndarray) -> Slope:
    """p in mean_k = C h_k^p (1 + c h_k^q + ...), least squares on logarithms.

    h, mean: (K,), mean positive. influence: (K, paths), what each path adds to log mean_k, its average over paths being
    0. The steps share their paths, so the standard error comes from each path's effect on the whole fit (delta method).
      With four steps
    or more the first correction is fitted too, once with q = 1 and once with q = 1/2: the estimate is their mean, and
    the interval holds their difference beside the noise. With fewer there is no room for it, and the interval is the
    noise's alone.
    """
    ones, scaled = np.ones_like(h), h / h.max()
    terms: list[list[np.ndarray]] = [[scaled], [np.sqrt(scaled)]] if len(h) > 3 else [[]]
    weights = np.array([np.linalg.pinv(np.column_stack([ones, np.log(h), *more]))[1] for more in terms])
    fits = weights @ np.log(mean)
    value, each = float(fits.mean()), weights.mean(axis=0) @ influence
    noise = QUANTILE * float(each.std(ddof=1)) / np.sqrt(each.size)
    half = float(np.hypot(noise, np.ptp(fits)))
    return Slope(value, (value - half, value + half))


def strong_slope(h: np.ndarray, squares: np.ndarray) -> Slope:
    """Order of the root mean square error. squares: (K, paths) squared errors of the final state."""
    mean = squares.mean(axis=1)
    if not (mean > 0).all():
        return UNSEEN
    return slope(h, np.sqrt(mean), (squares / mean[:, None] - 1) / 2)


def weak_slope(h: np.ndarray, gaps: np.ndarray) -> Slope:
    """Order of |mean gap|. gaps: (K, paths) differences of the functional on the same paths, from the longest step
    down.

    Steps count down to the first whose mean is not clear of its own noise; four are needed, so that the first
    correction is fitted.
    """
    mean, sem = gaps.mean(axis=1), gaps.std(axis=1, ddof=1) / np.sqrt(gaps.shape[1])
    clear = (np.abs(mean) > VISIBLE * sem) & (np.sign(mean) == np.sign(mean[0]))
    count = len(h) if clear.all() else int(np.argmin(clear))
    if count < 4:
        return UNSEEN
    return slope(h[:count], np.abs(mean[:count]), gaps[:count] / mean[:count, None] - 1)


@dataclass(frozen=True)
class Convergence:
    """Orders of a scheme on one problem, with what they rest on.

    Attributes
    ----------
    problem, scheme, noise_class, paths, seed
        What was asked.
    against
        What the errors are differences to.
    stated
        The scheme's own (strong, weak) orders, NaN for none.
    dt
        Steps, (K,).
    strong_error, strong_sem
        Root mean square of the final state's error at each step, and its standard error, (K,).
    weak_error, weak_sem
        Mean gap of the functional, and its standard error, (K,).
    strong_fit, weak_fit
        Slopes with two-sided 95 % intervals; `strong`, `strong_interval`, `weak`, `weak_interval` give their parts.
    """

    problem: str
    scheme: str
    noise_class: str
    against: str
    paths: int
    seed: int
    stated: tuple[float, float]
    dt: np.ndarray
    strong_error: np.ndarray
    strong_sem: np.ndarray
    weak_error: np.ndarray
    weak_sem: np.ndarray
    strong_fit: Slope
    weak_fit: Slope

    @property
    def strong(self) -> float:
        """The strong order."""
        return self.strong_fit.value

    @property
    def strong_interval(self) -> tuple[float, float]:
        """Its two-sided 95 % interval."""
        return self.strong_fit.interval

    @property
    def weak(self) -> float:
        """The weak order."""
        return self.weak_fit.value

    @property
    def weak_interval(self) -> tuple[float, float]:
        """Its two-sided 95 % interval."""
        return self.weak_fit.interval

    @property
    def errors(self) -> list[dict[str, float]]:
        """One row per step."""
        names = ("dt", "strong_error", "strong_sem", "weak_error", "weak_sem")
        return [
            {name: float(value) for name, value in zip(names, row, strict=True)}
            for row in zip(*(getattr(self, name) for name in names), strict=True)
        ]

    def __str__(self) -> str:
        lines = [
            f"{self.scheme} on {self.problem} ({self.noise_class} noise), {self.paths} paths, against {self.against}"
        ]
        lines += [f"{'dt':>10}  {'strong error':>22}  {'weak error':>24}"]
        for row in self.errors:
            strong = f"{row['strong_error']:.4e} ± {row['strong_sem']:.1e}"
            lines.append(f"{row['dt']:>10.3g}  {strong:>22}  {row['weak_error']:>+14.4e} ± {row['weak_sem']:.1e}")
        for kind, fit, said in (("strong", self.strong_fit, self.stated[0]), ("weak", self.weak_fit, self.stated[1])):
            low, high = fit.interval
            found = f"{fit.value:.3f} [{low:.3f}, {high:.3f}]" if np.isfinite(fit.value) else "not visible"
            lines.append(f"{kind} order {found}" + (f", stated {said:g}" if np.isfinite(said) else ""))
        return "\n".join(lines)

    def plot(self, path: str | Path) -> Path:
        """Draw both errors over dt on log axes, with the stated slopes.

        Parameters
        ----------
        path
            File; its ending says the format.

        Returns
        -------
        Path
        """
        from matplotlib.figure import Figure

        figure = Figure(figsize=(5.2, 3.8), layout="constrained")
        axes: Any = figure.subplots()
        for kind, colour, said, fit in (
            ("strong", "#0072b2", self.stated[0], self.strong_fit),
            ("weak", "#d97706", self.stated[1], self.weak_fit),
        ):
            error = np.abs(getattr(self, f"{kind}_error"))
            sem = getattr(self, f"{kind}_sem")
            label = f"{kind}: {fit.value:.2f} [{fit.interval[0]:.2f}, {fit.interval[1]:.2f}]"
            label = label if np.isfinite(fit.value) else f"{kind}: not visible"
            low = np.minimum(QUANTILE * sem, 0.999 * error)
            axes.errorbar(self.dt, error, yerr=[low, QUANTILE * sem], fmt="o", color=colour, label=label, capsize=2)
            if np.isfinite(said) and error[0] > 0:
                line = error[0] * (self.dt / self.dt[0]) ** said
                axes.plot(self.dt, line, "--", color=colour, lw=1, label=f"slope {said:g}")
        axes.set(xscale="log", yscale="log", xlabel="dt", ylabel="error at the final time")
        axes.set_title(f"{self.scheme} on {self.problem}", fontsize=10)
        axes.legend(fontsize=8, frameon=False)
        write_figure(path, figure)
        return Path(path)
