"""How any function C(theta) moves under SGD when the symmetry behind it is broken, or was never there (docs/theory.md
eq. (5.2)).

Ito: dC = [-<grad C, gbar + lambda theta> + (T/2) Tr(Sigma Hess C)] dt + sqrt(T) grad C^T Sigma^{1/2} dW. For the charge
of an exact symmetry the breaking drift -<grad C, gbar> and the diffusion T grad C^T Sigma grad C vanish.
`BreakingSizes.horizon` says for how long they may be left out.
Source: Ziyin, Wang, Wu, arXiv 2402.07193, "even when the symmetry is not present".
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import sympy as sp

from symbolic.errors import InputError, instance
from symbolic.evaluation.tape import Tape
from symbolic.functions.registry import KINKED
from symbolic.language.names import latex
from symbolic.noise import drift as laws
from symbolic.noise.covariance import Noise
from symbolic.predictions.charge import Charge
from symbolic.predictions.horizon import BreakingSizes
from symbolic.problem.base_distribution import exact
from symbolic.problem.loss import Loss
from symbolic.problem.optimizer import SGD, require_sgd
from symbolic.problem.parameter import Parameter, assign

Array = np.ndarray
ROUNDING = 1e-12
"""Breaking drift and diffusion below this share of |grad C|.|gradients|, entry by entry, are rounding, and reported as
0."""
WRITTEN = 20_000
"""Operations up to which the breaking terms are written out as expressions."""
LONG = 1000
"""Characters beyond which a term is shown in operator form."""
SHORT = 150
"""Operations up to which an expression is factored, or shown in typeset form."""


class Breaking:
    """A function C(theta) of a loss's parameters and its Ito formula: symbolic where Sigma has an expression, else
    numeric.

    Parameters
    ----------
    loss
        The loss.
    noise
        Mean and covariance of its gradient, what moves theta.
    expression
        C, in the loss's symbols.
    name
        What C is called.
    form
        (A, b) as floats where C = theta^T A theta + 2 b.theta was given so.
    """

    def __init__(
        self, loss: Loss, noise: Noise, expression: sp.Expr, name: str = "C", form: tuple[Array, Array] | None = None
    ) -> None:
        self.loss, self.noise, self.expression, self.name, self.form = loss, noise, expression, name, form

    @cached_property
    def gradient(self) -> dict[int, sp.Expr]:
        """Non-zero entries of grad C by index into theta."""
        free = self.expression.free_symbols
        pairs = ((i, sp.diff(self.expression, s)) for i, s in enumerate(self.loss.theta) if s in free)
        return {i: d for i, d in pairs if d != 0}

    @cached_property
    def hessian(self) -> dict[tuple[int, int], sp.Expr]:
        """Non-zero entries of Hess C."""
        out = {}
        for i, g in self.gradient.items():
            free = g.free_symbols
            for j, s in enumerate(self.loss.theta):
                if s in free and (d := sp.diff(g, s)) != 0:
                    out[i, j] = d
        return out

    @cached_property
    def quadratic(self) -> bool:
        """Whether C is a polynomial of degree 2 at most."""
        return self.form is not None or all(h.is_number for h in self.hessian.values())

    @cached_property
    def _tape(self) -> tuple[list[int], Tape]:
        inside = [i for i, s in enumerate(self.loss.theta) if s in self.expression.free_symbols]
        outputs = [self.expression, *(self.gradient.get(i, sp.S.Zero) for i in inside)]
        return inside, Tape(outputs, [self.loss.theta[i] for i in inside], where="breaking")

    def _derivatives(self, theta: Array) -> tuple[float, Array, Array]:
        """C, grad C (D,) and Hess C (D, D) at theta."""
        if self.form is not None:
            a, b = self.form
            pushed = a @ theta
            return float(theta @ pushed + 2 * b @ theta), 2 * (pushed + b), 2 * a
        inside, tape = self._tape
        at = theta[inside][:, None]
        values, slopes = tape.evaluate(at)[:, 0], tape.gradient(at)[1:, :, 0]
        gradient, hessian = np.zeros(len(theta)), np.zeros((len(theta), len(theta)))
        gradient[inside], hessian[np.ix_(inside, inside)] = values[1:], slopes
        if not (np.isfinite(values).all() and np.isfinite(slopes).all()):
            raise InputError(
                f"breaking.at: C and its derivatives must be finite at theta; got {values.tolist()}. Move theta or"
                " change C."
            )
        return float(values[0]), gradient, hessian

    def at(self, theta: Mapping[Any, Any] | Array, sgd: SGD) -> BreakingSizes:
        """All terms as numbers at a point.

        Parameters
        ----------
        theta
            A packed vector (D,), or {symbol or name: value}.
        sgd
            The optimiser.

        Returns
        -------
        BreakingSizes

        Raises
        ------
        InputError
            For a point that does not fit the loss, and where its gradients are not finite.
        """
        sgd = require_sgd("breaking.at", sgd)
        point, mean, root, _ = self.noise.at_point(theta, "breaking.at")
        r = self.noise.rates(sgd, numeric=True)
        value, slope, hessian = self._derivatives(point)
        speed, noisy = r.speed, np.linalg.norm(root, axis=1)
        pull, channels = float(slope @ mean), root.T @ slope
        pull = 0.0 if abs(pull) <= ROUNDING * float(np.abs(slope) @ (np.abs(mean) + noisy)) else pull
        quiet = float(np.linalg.norm(channels)) <= ROUNDING * float(np.abs(slope) @ noisy)
        spread = 0.0 if quiet else float(channels @ channels)
        descent = mean + r.weight_decay * point
        bend = float(np.einsum("ik,ij,jk->", root, hessian, root, optimize=True))
        return BreakingSizes(
            name=self.name,
            value=value,
            breaking=-speed * pull + 0.0,
            decay=-speed * r.weight_decay * float(slope @ point) + 0.0,
            noise=speed**2 * r.temperature / 2 * bend + 0.0,
            diffusion=speed**2 * r.temperature * spread,
            finite_step=None if sgd.momentum else r.learning_rate / 2 * float(descent @ hessian @ descent) + 0.0,
            size=float(np.abs(point * slope).sum()) / 2,
            relaxation=self._relaxation(point, slope, hessian, root, r) if self.quadratic else 0.0,
            learning_rate=sgd.learning_rate,
        )

    @staticmethod
    def _relaxation(point: Array, slope: Array, hessian: Array, root: Array, r: laws.Rates) -> float:
        """-(dF/d lambda)/(2 |v|^2) along the orbit of v = grad C/2, F = noise + decay (docs/theory.md eq. (4.4), the
        rate at
        lambda*)."""
        v, a = slope / 2, hessian / 2
        pushed, size = a @ root, float(v @ v)
        noise, shift = r.speed * r.temperature * float(np.sum(pushed * pushed)), v - a @ point
        decay = r.weight_decay * (2 * size - float(shift @ v))
        return r.speed * (noise + decay) / size if size else 0.0

    @cached_property
    def _directional(self) -> list[sp.Expr] | None:
        """<grad C, grad c_k> for every feature of the loss, and for its constant last; None when too long or not
        polynomial.

        One that vanishes at random points to 1e-12 of its terms is 0.
        """
        f, theta = self.noise.features, self.loss.theta
        if f is None or self.noise.source != "features":
            return None
        coefficients = [*f.coefficients, f.constant]
        if sum(c.count_ops() for c in coefficients) * len(self.gradient) > WRITTEN:
            return None
        inputs = (*theta, *self.loss.distribution_parameters)
        points = np.abs(np.random.default_rng(8).normal(1, 0.5, (len(inputs), 4)))
        points[: len(theta), 2:] *= np.random.default_rng(9).choice([-1.0, 1.0], (len(theta), 2))
        slopes: Any = Tape([self.expression, *coefficients], inputs, where="breaking").gradient(points, len(theta))
        with np.errstate(all="ignore"):
            terms = slopes[:1] * slopes[1:]
            silent = np.abs(terms.sum(axis=1)) <= 1e-12 * np.abs(terms).sum(axis=1)
        known = np.isfinite(terms).all(axis=1)
        zero = [any(known[k]) and all(silent[k][known[k]]) for k in range(len(coefficients))]
        return [
            sp.S.Zero if z else sp.Add(*(g * sp.diff(c, theta[i]) for i, g in self.gradient.items()))
            for z, c in zip(zero, coefficients, strict=True)
        ]

    @cached_property
    def _forms(self) -> tuple[Any, Any, Any, Any]:
        """<grad C, gbar>, <grad C, theta>, Tr(Sigma Hess C) and grad C^T Sigma grad C; symbols where there is no
        expression."""
        theta, along, d = self.loss.theta, self._directional, self.loss.dimension
        inner: Any = sp.Symbol(f"<grad {self.name}, g>", real=True)
        spread: Any = sp.Symbol(f"grad({self.name})*Sigma*grad({self.name})", real=True)
        if along is not None:
            f: Any = self.noise.features
            along = [_short(p) for p in along]
            inner = _short(sp.Add(*(m * p for m, p in zip([*f.mean, 1], along, strict=True))))
            live = [k for k, p in enumerate(along[:-1]) if p != 0]
            pairs = [(k, m) for k in live for m in live]
            spread = _short(sp.Add(*(f.covariance[k, m] * along[k] * along[m] for k, m in pairs)))
        trace = self.noise.trace(sp.SparseMatrix(d, d, self.hessian)) if self.hessian else sp.S.Zero
        trace = sp.Symbol(f"Tr[Sigma*Hess({self.name})]", real=True) if trace is None else trace
        return inner, _short(sp.Add(*(g * theta[i] for i, g in self.gradient.items()))), trace, spread

    def parts(self, sgd: SGD | None = None) -> dict[str, sp.Expr]:
        """The terms of C's drift, and its diffusion, as expressions.

        Parameters
        ----------
        sgd
            The optimiser; symbols T and lambda_wd stand for it where it is left out.

        Returns
        -------
        dict
            "breaking", "decay", "noise", "diffusion". A term without an expression fit to write is a symbol that names
            it: `at` gives its number.
        """
        r, (inner, scaling, trace, spread) = self.noise.rates(sgd), self._forms
        speed: Any = r.speed
        return {
            "breaking": sp.sympify(-speed * inner, strict=True),
            "decay": sp.sympify(-speed * r.weight_decay * scaling, strict=True),
            "noise": sp.sympify(speed**2 * r.temperature * trace / 2, strict=True),
            "diffusion": sp.sympify(speed**2 * r.temperature * spread, strict=True),
        }

    def drift(self, sgd: SGD | None = None) -> sp.Expr:
        """The drift of C under the SDE of order 1.

        Parameters
        ----------
        sgd
            The optimiser; symbols stand for it where it is left out.
        """
        parts = self.parts(sgd)
        return parts["breaking"] + parts["decay"] + parts["noise"]

    def diffusion(self, sgd: SGD | None = None) -> sp.Expr:
        """The squared diffusion T grad C^T Sigma grad C; 0 where every sample respects the symmetry.

        Parameters
        ----------
        sgd
            The optimiser; symbols stand for it where it is left out.
        """
        return self.parts(sgd)["diffusion"]

    def __str__(self) -> str:
        texts = {"breaking": f"-<grad {self.name}, g>", "decay": f"-lambda_wd*<grad {self.name}, theta>"}
        texts |= {
            "noise": f"T/2*Tr[Sigma*Hess({self.name})]",
            "diffusion": f"T*grad({self.name})*Sigma*grad({self.name})",
        }
        lines = [
            f"{self.name} = {self.expression}",
            f"d{self.name} = (breaking + decay + noise) dt + sqrt(diffusion) dW",
        ]
        for key, part in self.parts().items():
            text = str(part)
            lines.append(f"  {key + ':':<11}{text if len(text) <= LONG else texts[key]}")
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_latex_(self) -> str:
        parts, c = self.parts(), self.name
        formulas = {
            "breaking": r"-\langle\nabla C, \nabla L\rangle",
            "decay": r"-\lambda_{\mathrm{wd}}\langle\nabla C, \theta\rangle",
            "noise": r"\tfrac{T}{2}\,\mathrm{Tr}[\Sigma\nabla^2 C]",
            "diffusion": r"T\,\nabla C^{\mathsf T}\Sigma\nabla C",
        }
        rows = [rf"{c} &= {latex(self.expression)}"]
        for key, formula in formulas.items():
            named = any("(" in s.name or "<" in s.name for s in parts[key].free_symbols if isinstance(s, sp.Symbol))
            right = "" if named or parts[key].count_ops() > SHORT else f" = {latex(parts[key])}"
            rows.append(rf"\text{{{key}}} &: {formula}{right}")
        return "$$\\begin{aligned}\n" + " \\\\\n".join(rows) + "\n\\end{aligned}$$"


def _short(e: sp.Expr) -> sp.Expr:
    """Factored where that is cheap and shortens."""
    if e.count_ops() > SHORT:
        return e
    factored: Any = sp.factor(e)
    return factored if factored.count_ops() <= e.count_ops() else e


def breaking(loss: Loss, of: Any, noise: Noise | None = None) -> Breaking:
    """The law of C(theta) under a loss's SGD, whether or not C belongs to a symmetry of it.

    of: a pair (A, b) with A = A^T for C = theta^T A theta + 2 b.theta; a mapping {parameter: weight or array of
    weights} for C = the weighted sum of squares; a twice differentiable expression in the loss's parameters; or a
    Charge, also of another loss with the same parameters. noise: the loss's Noise, made when left out. Raises
    ValueError.
    """
    instance("breaking", loss, Loss, "needs a Loss", "Build one with symbolic.Loss.")
    name, form, expression = "C", None, sp.S.Zero
    if isinstance(of, Charge):
        if of.loss.theta != loss.theta:
            raise InputError(
                f"breaking: a charge must be of the same parameters; got {of.name} of {of.loss}. Use the loss's own, or"
                " name them alike."
            )
        name, expression, form = of.name, of.expression, (of.A, of.b)
    elif isinstance(of, Mapping):
        expression, form = _weighted(loss, of)
    elif isinstance(of, tuple) and len(of) == 2:
        expression, form = _quadratic(loss, *of)
    elif isinstance(of, sp.Expr) and not isinstance(of, sp.MatrixBase):
        expression = sp.S.Zero + of
    else:
        rule = "of must be (A, b), a mapping {parameter: weight}, an expression or a Charge"
        raise InputError.of("breaking", rule, of, "Write C(theta) in the loss's symbols.")
    free = expression.free_symbols
    if not free or free - set(loss.theta):
        raise InputError(
            f"breaking: C must be a function of the parameters alone and not constant; got {expression}. Use"
            f" {[p.name for p in loss.parameters]}."
        )
    if expression.has(*KINKED):
        raise InputError(
            f"breaking: C must be twice differentiable; got {expression}. Replace the kink, e.g. |u| by sqrt(u**2 + a)."
        )
    if noise is not None and noise.loss is not loss:
        raise InputError(
            f"breaking: the noise must be this loss's own; got that of {noise.loss}. Leave it out, or build it with"
            " Noise(loss)."
        )
    return Breaking(loss, noise or Noise(loss), expression, name, form)


Quadratic = tuple[sp.Expr, tuple[Array, Array] | None]


def _weighted(loss: Loss, weights: Mapping[Any, Any]) -> Quadratic:
    """sum of weight * entry^2, and (A, b)."""

    def entries(p: Parameter, here: str, value: Any) -> list[sp.Expr]:
        array = np.array(value, dtype=object)
        if array.shape not in ((), p.shape):
            raise InputError(
                f"{here}: one weight is needed, a number or of shape {p.shape}; got shape {array.shape}. Reshape it."
            )
        return [exact(c) for c in np.broadcast_to(array, p.shape).ravel()]

    diagonal = [c for row in assign("breaking", loss.parameters, weights, entries, default=0) for c in row]
    return _built(loss, {(i, i): c for i, c in enumerate(diagonal)}, [sp.S.Zero] * loss.dimension)


def _quadratic(loss: Loss, a: Any, b: Any) -> Quadratic:
    """theta^T A theta + 2 b.theta, exact, and (A, b)."""
    d = loss.dimension
    matrix = np.array(a.tolist() if isinstance(a, sp.MatrixBase) else a, dtype=object)
    shift = np.zeros(d, dtype=int) if b is None or (np.ndim(b) == 0 and b == 0) else b
    vector = np.array(shift.tolist() if isinstance(shift, sp.MatrixBase) else shift, dtype=object)
    if matrix.shape != (d, d) or vector.shape not in ((d,), (d, 1)):
        raise InputError(
            f"breaking: (A, b) must have shapes {(d, d)} and {(d,)}; got {matrix.shape} and {vector.shape}. One row per"
            " entry of theta."
        )
    entries = {(i, j): exact(matrix[i, j]) for i in range(d) for j in range(d)}
    if any(c != entries[j, i] for (i, j), c in entries.items()):
        raise InputError(
            "breaking: A must be symmetric, since theta^T A theta sees nothing else of it; got another. A generator"
            " with A != A^T has no charge; to follow one function of theta, give its expression."
        )
    return _built(loss, entries, [exact(c) for c in vector.ravel()])


def _built(loss: Loss, entries: Mapping[tuple[int, int], sp.Expr], shift: list[sp.Expr]) -> Quadratic:
    """The expression, and (A, b) as floats where they are numbers."""
    theta, d = loss.theta, loss.dimension
    terms = [c * theta[i] * theta[j] for (i, j), c in entries.items() if c != 0]
    expression = sp.Add(*terms, *(2 * c * s for c, s in zip(shift, theta, strict=True) if c != 0))
    if not all(c.is_number for c in (*entries.values(), *shift)):
        return expression, None
    a = np.zeros((d, d))
    for index, c in entries.items():
        a[index] = float(c)
    return expression, (a, np.array([float(c) for c in shift]))
