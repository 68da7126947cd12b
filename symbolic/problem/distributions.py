"""Laws of the data: what one sample z is drawn from, with exact moments."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import sympy as sp

from symbolic.errors import InputError, instance, nearest
from symbolic.language.calls import called

Number = int | float | sp.Expr


SQUARE = "Give std=, its square root."


def exact(value: Any) -> sp.Expr:
    """A number as an exact SymPy one (0.1 becomes 1/10); expressions pass through."""
    if isinstance(value, sp.Float):
        value = float(value)
    if isinstance(value, sp.Basic):
        return value  # type: ignore[return-value]
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise InputError.of("law", "a parameter must be a number or a SymPy expression", value, "Give a number.")
    if not np.isfinite(value):
        raise InputError(f"law: a parameter must be finite; got {value!r}. Give a finite number.")
    return sp.Integer(int(value)) if float(value).is_integer() else sp.Rational(repr(float(value)))


def _array(value: Any) -> np.ndarray:
    if isinstance(value, sp.MatrixBase):
        value = np.array(value.tolist(), dtype=object)
        value = value[:, 0] if value.shape[1] == 1 else value
    source = np.array(value, dtype=object) if not isinstance(value, str) else np.array([value], dtype=object)
    out = np.empty(source.shape, dtype=object)
    for index, entry in np.ndenumerate(source):
        out[index] = exact(entry)
    return out


def _refuse(law: str, rule: str, got: Any, do: str) -> InputError:
    shape = isinstance(got, tuple) and all(isinstance(n, int) for n in got)
    return InputError(f"{law}: {rule}; got {got} (tuple). {do}") if shape else InputError.of(law, rule, got, do)


def floats(where: str, value: Any) -> np.ndarray:
    """Real numbers as a float64 array. Raises ValueError for text, truth values and complex numbers rather than turn
    them into numbers."""
    try:
        array = np.asarray(value)
    except ValueError as error:
        deep = "inhomogeneous" not in str(error)
        rule = "must be numbers of few dimensions" if deep else "must be numbers in rows of equal length"
        raise InputError.of(where, rule, value, "Give a number or an array of numbers.") from None
    if array.dtype.kind in "cbSUmM" or any(
        isinstance(e, (str, bool, complex)) for e in array.ravel() if array.dtype == object
    ):
        if not array.ndim:
            raise InputError.of(where, "must be a real number", value, "Give a number.")
        kind = type(array.ravel()[0]).__name__ if array.size else array.dtype
        raise InputError(f"{where}: must be real numbers; got an array of {kind}. Convert it to numbers first.")
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError):
        raise InputError.of(where, "must be real numbers", value, "Give a number or an array of numbers.") from None


class Distribution(ABC):
    """A distribution for one data variable; its parameters broadcast over the variable's entries."""

    @abstractmethod
    def bind(self, symbols: Sequence[sp.Symbol], shape: tuple[int, ...]) -> Block:
        """The independent block of a data law that draws `symbols` (row-major, of the given shape)."""


def _spread(name: str, value: np.ndarray, symbols: Sequence[sp.Symbol], shape: tuple[int, ...]) -> list[sp.Expr]:
    try:
        return list(np.broadcast_to(value, shape).ravel()) if shape else [value.item()]
    except ValueError:
        raise InputError(
            f"{name}: parameters must broadcast to the variable's shape {shape}; got shape {value.shape}. Give one"
            " number or an array of that shape."
        ) from None


@dataclass(frozen=True)
class Block:
    """Some data entries and their joint law, independent of every other block.

    kind: "normal", "uniform", "bernoulli", "moments" or "dataset". parameters: what the kind needs, see the laws.
    """

    kind: str
    symbols: tuple[sp.Symbol, ...]
    parameters: Mapping[str, Any] = field(hash=False, compare=False)
    cache: dict = field(default_factory=dict, hash=False, compare=False, repr=False)

    @property
    def size(self) -> int | None:
        """Number of rows of a data set, else None."""
        return len(self.parameters["table"]) if self.kind == "dataset" else None

    @property
    def can_sample(self) -> bool:
        """Whether single samples can be drawn: not from bare moments, nor with symbolic parameters."""
        if self.kind in ("moments", "dataset"):
            return self.kind == "dataset"
        return not any(
            getattr(p, "free_symbols", None) for values in self.parameters.values() for p in np.ravel(values)
        )

    def moment(self, exponents: Mapping[sp.Symbol, int]) -> sp.Expr:
        """E of the product of entries to the given powers, exact (a Float for a data set).

        Sources: Isserlis' theorem for normals; raw moments of the uniform and Bernoulli laws.
        """
        powers = tuple(int(exponents.get(s, 0)) for s in self.symbols)
        if not any(powers):
            return sp.S.One
        if powers not in self.cache:
            self.cache[powers] = getattr(self, f"_{self.kind}")(powers)
        return self.cache[powers]

    def _normal(self, powers: tuple[int, ...]) -> sp.Expr:
        mean, cov = self.parameters["mean"], self.parameters["covariance"]

        @cache
        def raw(powers: tuple[int, ...]) -> sp.Expr:
            first = next((i for i, p in enumerate(powers) if p), None)
            if first is None:
                return sp.S.One
            rest = list(powers)
            rest[first] -= 1
            total = mean[first] * raw(tuple(rest))
            for j, p in enumerate(rest):  # Stein: E z_i f = mu_i E f + sum_j cov_ij E d_j f
                if p and cov[first][j] != 0:
                    lower = list(rest)
                    lower[j] -= 1
                    total += p * cov[first][j] * raw(tuple(lower))
            return sp.expand(total)

        return raw(powers)

    def _independent(self, powers: tuple[int, ...], one: Any) -> sp.Expr:
        return sp.Mul(*(one(i, p) for i, p in enumerate(powers) if p))

    def _uniform(self, powers: tuple[int, ...]) -> sp.Expr:
        low, high = self.parameters["low"], self.parameters["high"]

        def one(i: int, p: int) -> sp.Expr:
            return sp.Add(*(low[i] ** k * high[i] ** (p - k) for k in range(p + 1))) / (p + 1)

        return self._independent(powers, one)

    def _bernoulli(self, powers: tuple[int, ...]) -> sp.Expr:
        return self._independent(powers, lambda i, p: self.parameters["p"][i])

    def _moments(self, powers: tuple[int, ...]) -> sp.Expr:
        moments = self.parameters["moments"]

        def one(i: int, p: int) -> sp.Expr:
            if p > len(moments):
                raise InputError(
                    f"Moments: the loss needs E {self.symbols[i]}**{p}; got {len(moments)} moments. Give raw moments up"
                    f" to order {p}."
                )
            return moments[p - 1]

        return self._independent(powers, one)

    def _dataset(self, powers: tuple[int, ...]) -> sp.Expr:
        table = self.parameters["table"]
        product = np.ones(len(table))
        for column, p in enumerate(powers):
            if p:
                product = product * table[:, column] ** p
        return sp.Float(float(product.mean()), 17)


@called(
    {
        "sigma": "Give std=.",
        "scale": "Give std=.",
        "mu": "Give mean=.",
        "loc": "Give mean=.",
        "variance": SQUARE,
        "var": SQUARE,
    }
)
class Normal(Distribution):
    """Gaussian with mean and standard deviation per entry, or with a joint covariance matrix over the entries."""

    def __init__(self, mean: Any = 0, std: Any = None, *, covariance: Any = None) -> None:
        if (std is None) == (covariance is None):
            raise _refuse(
                "Normal",
                "needs either std or covariance",
                (std, covariance),
                "Write Normal(0, 1) or Normal(0, covariance=matrix).",
            )
        self.mean = _array(mean)
        self.std = None if std is None else _array(std)
        self.covariance = None if covariance is None else _array(covariance)
        if self.std is not None and any(s.is_negative for s in self.std.ravel()):
            raise _refuse(
                "Normal", "std must not be negative", std, "Give the standard deviation, not a signed number."
            )
        if self.covariance is not None:
            c = self.covariance
            if c.ndim != 2 or c.shape[0] != c.shape[1] or any(sp.simplify(d) != 0 for d in (c - c.T).ravel()):
                raise _refuse("Normal", "covariance must be a symmetric square matrix", covariance, "Symmetrise it.")
            if not any(e.free_symbols for e in c.ravel()) and np.linalg.eigvalsh(c.astype(float)).min() < -1e-12:
                raise _refuse("Normal", "covariance must be positive semi-definite", covariance, "Check its entries.")

    def bind(self, symbols: Sequence[sp.Symbol], shape: tuple[int, ...]) -> Block:
        n = len(symbols)
        mean = _spread("Normal", self.mean, symbols, shape)
        if self.std is not None:
            std = _spread("Normal", self.std, symbols, shape)
            covariance = [[std[i] ** 2 if i == j else sp.S.Zero for j in range(n)] for i in range(n)]
        else:
            assert self.covariance is not None
            if self.covariance.shape != (n, n):
                raise _refuse(
                    "Normal",
                    f"covariance must be {n} x {n} for this variable",
                    self.covariance.shape,
                    "Match the variable's entries.",
                )
            covariance = self.covariance.tolist()
        return Block("normal", tuple(symbols), {"mean": mean, "covariance": covariance})


@called({"a": "Give low=.", "b": "Give high=.", "min": "Give low=.", "max": "Give high=."})
class Uniform(Distribution):
    """Uniform on [low, high], independently per entry."""

    def __init__(self, low: Any = 0, high: Any = 1) -> None:
        self.low, self.high = _array(low), _array(high)
        try:
            pairs = np.broadcast(self.low, self.high)
        except ValueError:
            got = (self.low.shape, self.high.shape)
            raise _refuse("Uniform", "low and high must broadcast together", got, "Give equal shapes.") from None
        for a, b in pairs:
            if (b - a).is_nonpositive:
                raise _refuse("Uniform", "low must be below high", (low, high), "Swap or widen the bounds.")

    def bind(self, symbols: Sequence[sp.Symbol], shape: tuple[int, ...]) -> Block:
        return Block(
            "uniform",
            tuple(symbols),
            {
                "low": _spread("Uniform", self.low, symbols, shape),
                "high": _spread("Uniform", self.high, symbols, shape),
            },
        )


@called({"probability": "Give p=.", "q": "Give p=."})
class Bernoulli(Distribution):
    """1 with probability p, else 0, independently per entry."""

    def __init__(self, p: Any) -> None:
        self.p = _array(p)
        for q in self.p.ravel():
            if q.is_negative or (1 - q).is_negative:
                raise _refuse("Bernoulli", "p must lie in [0, 1]", p, "Give a probability.")

    def bind(self, symbols: Sequence[sp.Symbol], shape: tuple[int, ...]) -> Block:
        return Block("bernoulli", tuple(symbols), {"p": _spread("Bernoulli", self.p, symbols, shape)})


@called()
class Moments(Distribution):
    """A law known through its raw moments [E z, E z^2, ...] only, independently per entry. Cannot be sampled."""

    def __init__(self, moments: Sequence[Any]) -> None:
        if not isinstance(moments, (list, tuple, np.ndarray)) or not len(moments):
            raise _refuse("Moments", "must be a list of raw moments, at least one", moments, "Write Moments([m1, m2]).")
        self.moments = [exact(m) for m in moments]
        if len(self.moments) > 1 and (self.moments[1] - self.moments[0] ** 2).is_negative:
            raise _refuse(
                "Moments",
                "the variance m2 - m1**2 must not be negative",
                moments,
                "Give raw moments, not central ones.",
            )

    def bind(self, symbols: Sequence[sp.Symbol], shape: tuple[int, ...]) -> Block:
        return Block("moments", tuple(symbols), {"moments": self.moments})


@called()
class Dataset:
    """N rows drawn with equal chance: {symbol or array of symbols: array of shape (N, *shape of the key)}."""

    def __init__(self, columns: Mapping[Any, Any]) -> None:
        instance("Dataset", columns, Mapping, "must be a mapping {symbol: rows}", "Write Dataset({x: rows}).")
        self.columns = {_key(k): floats(f"Dataset[{k}]", v) for k, v in columns.items()}
        for key, (_, values) in zip(columns, self.columns.items(), strict=True):
            if not values.ndim:
                raise _refuse(f"Dataset[{key}]", "must be rows, (N, ...)", columns[key], "Give one entry per row.")
        sizes = {len(v) for v in self.columns.values()}
        if len(sizes) != 1 or not min(sizes):
            raise _refuse(
                "Dataset",
                "all columns must have the same number of rows, at least one",
                sorted(sizes),
                "Align the columns.",
            )
        for (_, shape), values in self.columns.items():
            if values.shape[1:] not in (shape, (*shape, 1)):
                raise _refuse(
                    "Dataset", f"a column for shape {shape} must be (N, *{shape})", values.shape, "Reshape it."
                )
            if not np.isfinite(values).all():
                raise _refuse(
                    "Dataset", "all entries must be finite", "a missing or infinite entry", "Drop or fill those rows."
                )

    def bind(self) -> Block:
        """The block of all columns side by side."""
        symbols = tuple(s for entries, _ in self.columns for s in entries)
        table = np.concatenate([v.reshape(len(v), -1) for v in self.columns.values()], axis=1)
        return Block("dataset", symbols, {"table": table})


def _key(variable: Any) -> tuple[tuple[sp.Symbol, ...], tuple[int, ...]]:
    """Entries (row-major) and shape of a data variable given as a Symbol, SymPy matrix or array, or NumPy object
    array."""
    if isinstance(variable, sp.Symbol):
        return (variable,), ()
    if isinstance(variable, sp.MatrixBase):
        rows, columns = variable.shape
        return tuple(variable), (rows,) if columns == 1 else (rows, columns)
    if isinstance(variable, sp.NDimArray):
        return tuple(sp.flatten(variable)), tuple(variable.shape)
    if isinstance(variable, (np.ndarray, tuple, list)):
        array = np.array(variable, dtype=object)
        if all(isinstance(s, sp.Symbol) for s in array.ravel()):
            return tuple(array.ravel()), array.shape
    raise InputError(
        f"data: a key must be a symbol or an array of symbols; got {variable!r} ({type(variable).__name__}). Use"
        " sympy.symbols or symbolic.parameters."
    )


def bind(data: Any) -> tuple[Block, ...]:
    """Blocks of `data`: a mapping {variable: law}, a Dataset, or a list of these."""
    if isinstance(data, Dataset):
        return (data.bind(),)
    if isinstance(data, Mapping):
        blocks = []
        for variable, law in data.items():
            symbols, shape = _key(variable)
            if not isinstance(law, Distribution):
                rule = "needs a law (Normal, Uniform, Bernoulli, Moments)"
                raise InputError.of(f"data[{variable}]", rule, law, _law_advice(law))
            blocks.append(law.bind(symbols, shape))
        return tuple(blocks)
    if isinstance(data, (list, tuple)):
        return tuple(block for part in data for block in bind(part))
    rule = "must be a mapping {variable: law}, a Dataset, or a list of these"
    raise InputError.of("data", rule, data, "Write {x: Normal(0, 1)} or Dataset({x: rows}).")


def _law_advice(law: Any) -> str:
    """What to write in place of what is no law."""
    made = {c.__name__: c for c in (Normal, Uniform, Bernoulli, Moments)}
    if isinstance(law, str):
        return f"{nearest(law, list(made))[:-1]}, as in Normal(0, 1)."
    if isinstance(law, type) and law in made.values():
        return f"Call it: {law.__name__}(...)."
    return "Write e.g. Normal(0, 1); for rows of data use Dataset."
