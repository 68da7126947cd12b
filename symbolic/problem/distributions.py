"""Distributions of the data: what one sample z is drawn from, with exact moments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import takewhile
from typing import Any

import numpy as np
import sympy as sp

from symbolic.errors import InputError, nearest
from symbolic.language.calls import called
from symbolic.problem.base_distribution import (
    EXPONENTIAL,
    UNIFORM,
    Array,
    Distribution,
    Independent,
    Recipe,
    exact,
    exact_array,
    numbers,
    per_entry,
)
from symbolic.problem.dataset import Dataset, variable

MOST_BITS = 11
"""Bernoulli entries whose joint values are gone through one by one."""


SQUARE = "Give std=, its square root."
SPREAD = {"sigma": "Give std=.", "scale": "Give std=.", "mu": "Give mean=.", "loc": "Give mean=."}


@called({**SPREAD, "variance": SQUARE, "var": SQUARE})
class Normal(Distribution):
    """Gaussian, with independent entries or with a joint covariance over them.

    Parameters
    ----------
    mean
        Number or array of the variable's shape; numbers are taken as exact (0.1 is 1/10), symbols may stand for them.
    std
        Standard deviation per entry.
    covariance
        Instead of std: covariance matrix over the n entries, row-major, (n, n).

    Examples
    --------
    >>> from symbolic import Normal
    >>> Normal(0, 2).std.item()
    2
    """

    name = "normal"

    def __init__(self, mean: Any = 0, std: Any = None, *, covariance: Any = None) -> None:
        if (std is None) == (covariance is None):
            raise InputError.of(
                "Normal",
                "needs either std or covariance",
                (std, covariance),
                "Write Normal(0, 1) or Normal(0, covariance=matrix).",
            )
        self.mean = exact_array(mean)
        self.std = None if std is None else exact_array(std)
        self.covariance = None if covariance is None else exact_array(covariance)
        if self.std is not None and any(s.is_negative for s in self.std.ravel()):
            raise InputError.of(
                "Normal", "std must not be negative", std, "Give the standard deviation, not a signed number."
            )
        if self.covariance is not None:
            c = self.covariance
            if c.ndim != 2 or c.shape[0] != c.shape[1] or any(sp.simplify(d) != 0 for d in (c - c.T).ravel()):
                raise InputError.of(
                    "Normal", "covariance must be a symmetric square matrix", covariance, "Symmetrise it."
                )
            if not any(e.free_symbols for e in c.ravel()) and np.linalg.eigvalsh(c.astype(float)).min() < -1e-12:
                raise InputError.of(
                    "Normal", "covariance must be positive semi-definite", covariance, "Check its entries."
                )

    def spread(self, shape: tuple[int, ...]) -> dict[str, Any]:
        """mean: n entries; covariance: n lists of n."""
        mean = per_entry("Normal", self.mean, shape)
        n = len(mean)
        if self.std is not None:
            std = per_entry("Normal", self.std, shape)
            return {
                "mean": mean,
                "covariance": [[std[i] ** 2 if i == j else sp.S.Zero for j in range(n)] for i in range(n)],
            }
        assert self.covariance is not None
        if self.covariance.shape != (n, n):
            raise InputError.of(
                "Normal",
                f"covariance must be {n} x {n} for this variable",
                self.covariance.shape,
                "Match the variable's entries.",
            )
        return {"mean": mean, "covariance": self.covariance.tolist()}

    def raw_moment(self, powers: tuple[int, ...]) -> sp.Expr:
        """By Isserlis' theorem, one factor at a time: E z_i f = mu_i E f + sum_j cov_ij E d_j f (Stein)."""
        mean, covariance = self.parameters["mean"], self.parameters["covariance"]

        @cache
        def raw(powers: tuple[int, ...]) -> sp.Expr:
            first = next((i for i, p in enumerate(powers) if p), None)
            if first is None:
                return sp.S.One
            rest = list(powers)
            rest[first] -= 1
            total = mean[first] * raw(tuple(rest))
            for j, p in enumerate(rest):
                if p and covariance[first][j] != 0:
                    lower = list(rest)
                    lower[j] -= 1
                    total += p * covariance[first][j] * raw(tuple(lower))
            return sp.expand(total)

        return raw(powers)

    def recipe(self, values: Mapping[sp.Symbol, float]) -> Recipe:
        """A normal part alone."""
        mean, covariance = (numbers(self.parameters[k], values) for k in ("mean", "covariance"))
        return Recipe(mean, covariance, np.zeros(0), np.zeros((len(mean), 0)))

    def independent(self, i: int, j: int) -> bool:
        """Uncorrelated normals are."""
        return self.parameters["covariance"][i][j] == 0

    @classmethod
    def shape_of(cls, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
        """A covariance matrix stands for a vector."""
        return super().shape_of({k: s[:1] if k == "covariance" else s for k, s in shapes.items()})

    @classmethod
    def completed(cls, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """A standard deviation of 1 where no spread is given."""
        return given if "covariance" in given else {"std": 1, **given}


@called({"a": "Give low=.", "b": "Give high=.", "min": "Give low=.", "max": "Give high=."})
class Uniform(Independent):
    """Uniform on an interval, independently per entry.

    Parameters
    ----------
    low, high
        Ends, numbers or arrays of the variable's shape.
    """

    name = "uniform"

    def __init__(self, low: Any = 0, high: Any = 1) -> None:
        self.low, self.high = exact_array(low), exact_array(high)
        try:
            pairs = np.broadcast(self.low, self.high)
        except ValueError:
            got = (self.low.shape, self.high.shape)
            raise InputError.of("Uniform", "low and high must broadcast together", got, "Give equal shapes.") from None
        for a, b in pairs:
            if (b - a).is_nonpositive:
                raise InputError.of("Uniform", "low must be below high", (low, high), "Swap or widen the bounds.")

    def spread(self, shape: tuple[int, ...]) -> dict[str, Any]:
        """low, high: n entries each."""
        return {"low": per_entry("Uniform", self.low, shape), "high": per_entry("Uniform", self.high, shape)}

    def entry_moment(self, i: int, p: int) -> sp.Expr:
        """(high^(p+1) - low^(p+1)) / ((p + 1) (high - low)), divided out."""
        low, high = self.parameters["low"][i], self.parameters["high"][i]
        return sp.Add(*(low**k * high ** (p - k) for k in range(p + 1))) / (p + 1)

    def recipe(self, values: Mapping[sp.Symbol, float]) -> Recipe:
        """low + (high - low) * uniform."""
        low, high = (numbers(self.parameters[k], values) for k in ("low", "high"))
        return Recipe.scaled(low, high - low, np.full(len(low), UNIFORM))

    def bounds(self, i: int) -> tuple[Any, Any, None] | None:
        """Its own, where they are numbers."""
        low, high = self.parameters["low"][i], self.parameters["high"][i]
        return (low, high, None) if low.is_number and high.is_number else None


@called({"probability": "Give p=.", "q": "Give p=."})
class Bernoulli(Independent):
    """1 with probability p, else 0, independently per entry.

    Parameters
    ----------
    p
        Probability, number or array of the variable's shape.
    """

    name, binary = "bernoulli", True

    def __init__(self, p: Any) -> None:
        self.p = exact_array(p)
        for q in self.p.ravel():
            if q.is_negative or (1 - q).is_negative:
                raise InputError.of("Bernoulli", "p must lie in [0, 1]", p, "Give a probability.")

    def spread(self, shape: tuple[int, ...]) -> dict[str, Any]:
        """p: n entries."""
        return {"p": per_entry("Bernoulli", self.p, shape)}

    def entry_moment(self, i: int, p: int) -> sp.Expr:
        """The probability, whatever the power."""
        return self.parameters["p"][i]

    def recipe(self, values: Mapping[sp.Symbol, float]) -> Recipe:
        """The base variables themselves."""
        p = numbers(self.parameters["p"], values)
        return Recipe.scaled(np.zeros(len(p)), np.ones(len(p)), p)

    def bounds(self, i: int) -> tuple[Any, Any, Sequence[Any]]:
        """0 and 1."""
        return 0, 1, (0, 1)

    @property
    def atom_count(self) -> int:
        """2^n for few entries."""
        n = len(self.symbols)
        return 2**n if n <= MOST_BITS else 0

    def atoms(self, values: Mapping[sp.Symbol, float]) -> tuple[Array, Array]:
        """All rows of bits."""
        n, p = len(self.symbols), numbers(self.parameters["p"], values)
        bits = (np.arange(2**n)[None, :] >> np.arange(n)[:, None]) & 1
        return bits.astype(float), np.prod(np.where(bits, p[:, None], 1 - p[:, None]), axis=0)


@called({"b": "Give scale=.", "std": "Give scale=, std/sqrt(2).", "mu": "Give mean=.", "loc": "Give mean=."})
class Laplace(Independent):
    """Density exp(-|z - mean|/scale) / (2 scale), independently per entry: noise with heavy tails.

    Parameters
    ----------
    mean
        Centre, number or array of the variable's shape.
    scale
        Mean distance from it; the variance is 2 scale^2.
    """

    name = "laplace"

    def __init__(self, mean: Any = 0, scale: Any = 1) -> None:
        self.mean, self.scale = exact_array(mean), exact_array(scale)
        if any(b.is_nonpositive for b in self.scale.ravel()):
            raise InputError.of("Laplace", "scale must be positive", scale, "Give the mean distance from the mean.")

    def spread(self, shape: tuple[int, ...]) -> dict[str, Any]:
        """mean, scale: n entries each."""
        return {"mean": per_entry("Laplace", self.mean, shape), "scale": per_entry("Laplace", self.scale, shape)}

    def entry_moment(self, i: int, p: int) -> sp.Expr:
        """The binomial theorem about the mean, with central moments k! scale^k for even k."""
        mean, scale = self.parameters["mean"][i], self.parameters["scale"][i]
        central = (sp.binomial(p, k) * sp.factorial(k) * scale**k * mean ** (p - k) for k in range(0, p + 1, 2))
        return sp.expand(sp.Add(*central))

    def recipe(self, values: Mapping[sp.Symbol, float]) -> Recipe:
        """mean + scale * (one exponential less another)."""
        mean, scale = (numbers(self.parameters[k], values) for k in ("mean", "scale"))
        return Recipe(mean, None, np.full(2 * len(mean), EXPONENTIAL), np.hstack([np.diag(scale), -np.diag(scale)]))


@called()
class Moments(Independent):
    """A distribution known through its raw moments only, independently per entry. It cannot be sampled.

    Parameters
    ----------
    moments
        [E z, E z^2, ...], up to the order that the loss's covariance needs.
    """

    name, sampled = "moments", False

    def __init__(self, moments: Sequence[Any]) -> None:
        if not isinstance(moments, (list, tuple, np.ndarray)) or not len(moments):
            raise InputError.of(
                "Moments", "must be a list of raw moments, at least one", moments, "Write Moments([m1, m2])."
            )
        self.moments = [exact(m) for m in moments]
        if len(self.moments) > 1 and (self.moments[1] - self.moments[0] ** 2).is_negative:
            raise InputError.of(
                "Moments",
                "the variance m2 - m1**2 must not be negative",
                moments,
                "Give raw moments, not central ones.",
            )
        numbers_ = [sp.S.One, *takewhile(lambda m: m.is_Rational, self.moments)]
        size = (len(numbers_) + 1) // 2
        if sp.Matrix(size, size, lambda i, j: numbers_[i + j]).is_positive_semidefinite is False:
            rule = "must be those of some law: no E (a0 + a1 z + a2 z**2 + ...)**2 may be negative"
            raise InputError.of(
                "Moments", rule, moments, "Give raw moments, E z, E z**2 and on; of a normal 0, 1, 0, 3."
            )

    def spread(self, shape: tuple[int, ...]) -> dict[str, Any]:
        """moments: the same for all entries."""
        return {"moments": self.moments}

    def entry_moment(self, i: int, p: int) -> sp.Expr:
        """As given. Raises InputError for an order beyond."""
        if p > len(self.moments):
            raise InputError(
                f"Moments: the loss needs E {self.symbols[i]}**{p}; got {len(self.moments)} moments. Give raw moments"
                f" up to order {p}."
            )
        return self.moments[p - 1]

    def recipe(self, values: Mapping[sp.Symbol, float]) -> None:
        """None."""
        return None

    def plausible(self, rng: np.random.Generator) -> dict[sp.Symbol, float]:
        """The moments of some three values, for those that are symbols."""
        support, weights = rng.uniform(0.5, 2.0, 3) * rng.choice([-1, 1], 3), rng.dirichlet(np.ones(3))
        return {m: float(weights @ support**p) for p, m in enumerate(self.moments, 1) if isinstance(m, sp.Symbol)}

    @classmethod
    def shape_of(cls, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
        """A list of moments says nothing of the shape."""
        return ()


NAMED: Mapping[str, type[Distribution]] = {d.name: d for d in (Normal, Uniform, Bernoulli, Laplace, Moments)}
"""What a spec may name, by its word."""


def bind(data: Any) -> tuple[Distribution, ...]:
    """Bound distributions of `data`: a mapping {variable: law}, a Dataset, or a list of these. Raises InputError."""
    if isinstance(data, Dataset):
        return (data,)
    if isinstance(data, Mapping):
        blocks = []
        for key, law in data.items():
            symbols, shape = variable(key)
            if not isinstance(law, Distribution) or isinstance(law, Dataset):
                rule = f"needs a law ({', '.join(d.__name__ for d in NAMED.values())})"
                raise InputError.of(f"data[{key}]", rule, law, _law_advice(law))
            blocks.append(law.bind(symbols, shape))
        return tuple(blocks)
    if isinstance(data, (list, tuple)):
        return tuple(block for part in data for block in bind(part))
    rule = "must be a mapping {variable: law}, a Dataset, or a list of these"
    raise InputError.of("data", rule, data, "Write {x: Normal(0, 1)} or Dataset({x: rows}).")


def _law_advice(law: Any) -> str:
    """What to write in place of what is no law."""
    made = {c.__name__: c for c in NAMED.values()}
    if isinstance(law, str):
        return f"{nearest(law, list(made))[:-1]}, as in Normal(0, 1)."
    if isinstance(law, type) and law in made.values():
        return f"Call it: {law.__name__}(...)."
    return "Write e.g. Normal(0, 1); for rows of data use Dataset."
