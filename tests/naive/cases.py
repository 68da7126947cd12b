"""Hand-written losses, most of them traps, with the dimensions (algebra, symmetric, antisymmetric, charges) counted by
hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import sympy as sp

from symbolic import Bernoulli, Dataset, Loss, Normal, Uniform
from symbolic.functions.activations import gelu, relu

a, b, c, d, u, v, w = sp.symbols("a b c d u v w", real=True)
x, y, e = sp.symbols("x y e", real=True)
_GAUSS = {x: Normal(0, 1), y: Normal(sp.Rational(1, 2), 1)}
_POINTS = np.random.default_rng(7).normal(size=(40, 2)).round(3)


def _ridge() -> Loss:
    return Loss((u * w * x - y) ** 2 + (u**2 + w**2) / 10, [u, w], _GAUSS)


def _tiny_ridge() -> Loss:
    return Loss((u * w * x - y) ** 2 + u**2 / 100000, [u, w], _GAUSS)


def _generic() -> Loss:
    return Loss((a + b * c * x + a**2 * c - y) ** 2 + a * b * x, [a, b, c], _GAUSS)


def _tanh() -> Loss:
    return Loss((a * sp.tanh(w * x) + b - y) ** 2, [a, w, b], Dataset({x: _POINTS[:, 0], y: _POINTS[:, 1]}))


def _gelu() -> Loss:
    return Loss((a * gelu(w * x + b) - y) ** 2, [a, w, b], Dataset({x: _POINTS[:, 0], y: _POINTS[:, 1]}))


def _homogeneous() -> Loss:
    """A smooth cubic form: Euler's identity scales it, no linear flow keeps it."""
    cubic = a**3 + 2 * b**3 - c**3 + 3 * a**2 * b - a * b * c + b * c**2
    return Loss((cubic * x - y) ** 2, [a, b, c], _GAUSS)


def _vanishing() -> Loss:
    """An identity in disguise: no gradient at all, every affine field is a symmetry, and numbers give rounding errors
    only."""
    return Loss((((u + w) ** 2 - u**2 - 2 * u * w - w**2) * x - y) ** 2, [u, w], _GAUSS)


def _unused() -> Loss:
    """An entry of a parameter that the loss never reads: all its rows of the gradient vanish."""
    W = np.array(sp.symbols("w:3", real=True))
    return Loss(((W[0] * x + W[1] * W[0]) - y) ** 2, {"W": W}, _GAUSS)


def _shear() -> Loss:
    """(a, b, c) -> (a + s b + s^2 c/2, b + s c, c): one nilpotent generator, no charge."""
    return Loss((c * x + b**2 - 2 * a * c - y) ** 2, [a, b, c], _GAUSS)


def _narrow() -> Loss:
    """a' W x with two hidden entries and one output: beside GL(2), W moves along what a does not see, neither symmetric
    nor antisymmetric."""
    A, W = np.array(sp.symbols("a:2", real=True)), np.array(sp.symbols("w:4", real=True)).reshape(2, 2)
    return Loss((A @ (W @ np.array([x, e])) - y) ** 2, {"A": A, "W": W}, {**_GAUSS, e: Normal(0, 2)})


def _mixed_classes() -> Loss:
    """u^2 - w^2 converges, a^2 + b^2 diverges, c + d is frozen."""
    return Loss((u * w * x + a / sp.sqrt(a**2 + b**2) + c - d - y) ** 2, [u, w, a, b, c, d], _GAUSS)


def _sphere() -> Loss:
    return Loss((a**2 + b**2 + c**2 - y) ** 2, [a, b, c], {y: Normal(1, 1)})


def _shifted_sphere() -> Loss:
    """A rotation about (1, -2): affine, so neither symmetric nor linear antisymmetric."""
    return Loss(((a - 1) ** 2 + (b + 2) ** 2 - y) ** 2, [a, b], {y: Normal(1, 1)})


def _differences() -> Loss:
    """The gradient is orthogonal to (1, 1, 1): every affine function times it is a symmetry."""
    return Loss(((a - b) * x + (b - c) - y) ** 2, [a, b, c], _GAUSS)


def _shared() -> Loss:
    return Loss((u * v * x + u * w * e - y) ** 2, [u, v, w], {**_GAUSS, e: Normal(0, 2)})


def _shared_same_input() -> Loss:
    """u (v + w): v - w is free as well, times any affine function."""
    return Loss((u * v * x + u * w * x - y) ** 2, [u, v, w], _GAUSS)


def _two_rescalings() -> Loss:
    """Two terms that share v only: u v and v w scale together, one generator."""
    return Loss((u * v * x - y) ** 2 + (v * w * y - x) ** 2, [u, v, w], _GAUSS)


def _weighted() -> Loss:
    return Loss((u**2 * w * x - y) ** 2, [u, w], _GAUSS)


def _determinant() -> Loss:
    """so(2, 2), six generators; four symmetric, yet the orbits have three dimensions."""
    return Loss(((a * d - b * c) * x - y) ** 2, [a, b, c, d], _GAUSS)


def _mean_only() -> Loss:
    """L is rotation invariant, no sample is."""
    return Loss((u - x) ** 2 + (w - y) ** 2, [u, w], {x: Normal(0, 1), y: Normal(0, 1)})


def _affine() -> Loss:
    return Loss(((u + 1) * (w - 2) * x - y) ** 2, [u, w], _GAUSS)


def _max_and_abs() -> Loss:
    rows = Dataset({x: _POINTS[:, 0], y: _POINTS[:, 1]})
    return Loss((a * sp.Max(0, u * x) + c * sp.Abs(v * x) - y) ** 2, [a, u, c, v], rows)


def _relu_gaussian() -> Loss:
    return Loss((a * relu(w * x + b) - y) ** 2, [a, w, b], _GAUSS)


def _one_sided() -> Loss:
    """Symmetric where x > 0 only."""
    value = sp.Piecewise(((u * w * x - y) ** 2, x > 0), ((u * w * x - y) ** 2 + u**2, True))
    return Loss(value, [u, w], Dataset({x: _POINTS[:, 0], y: _POINTS[:, 1]}))


def _exponential() -> Loss:
    return Loss(sp.exp(-u * w * (x - sp.Rational(1, 3))), [u, w], {x: Bernoulli(sp.Rational(2, 5))})


def _attention() -> Loss:
    """q . k with two entries each: more than GL(2), the so(2, 2) of a quadratic form."""
    return Loss(sp.log(1 + sp.exp(-(a * c + b * d) * x)), [a, b, c, d], Dataset({x: _POINTS[:, 0]}))


def _unlabelled() -> Loss:
    """Softmax with one row without a label among forty: that row feels a shift of the logits."""
    W, Y = np.array(sp.symbols("w:3", real=True)), np.array(sp.symbols("y:3", real=True))
    labels = np.eye(3)[np.arange(40) % 3]
    labels[17] = 0
    value = sp.log(sum(sp.exp(s * x) for s in W)) - Y @ W * x
    return Loss(value, {"W": W}, Dataset({x: _POINTS[:, 0], tuple(Y): labels}))


def _never_seen() -> Loss:
    """Softmax with a class that no row has: the shift of all logits stays, nothing is added."""
    W, Y = np.array(sp.symbols("w:3", real=True)), np.array(sp.symbols("y:3", real=True))
    value = sp.log(sum(sp.exp(s * x) for s in W)) - Y @ W * x
    return Loss(value, {"W": W}, Dataset({x: _POINTS[:, 0], tuple(Y): np.eye(3)[np.arange(40) % 2]}))


def _quotient() -> Loss:
    return Loss((u * x / w - y) ** 2, [u, w], _GAUSS)


def _uniform() -> Loss:
    return Loss((u * w * x**2 - v * x - y) ** 2, [u, v, w], {x: Uniform(-1, 2), y: Normal(0, 1)})


CASES: dict[str, tuple[Callable[[], Loss], tuple[int, int, int, int]]] = {
    "ridge": (_ridge, (0, 0, 0, 0)),
    "tiny-ridge": (_tiny_ridge, (0, 0, 0, 0)),
    "generic": (_generic, (0, 0, 0, 0)),
    "tanh": (_tanh, (0, 0, 0, 0)),
    "gelu": (_gelu, (0, 0, 0, 0)),
    "homogeneous": (_homogeneous, (0, 0, 0, 0)),
    "vanishing": (_vanishing, (6, 5, 1, 2)),
    "unused": (_unused, (4, 2, 0, 1)),
    "shear": (_shear, (1, 0, 0, 0)),
    "narrow": (_narrow, (6, 3, 1, 3)),
    "mixed-classes": (_mixed_classes, (9, 4, 0, 3)),
    "mean-only": (_mean_only, (0, 0, 0, 0)),
    "one-sided": (_one_sided, (0, 0, 0, 0)),
    "sphere": (_sphere, (3, 0, 3, 0)),
    "shifted-sphere": (_shifted_sphere, (1, 0, 0, 0)),
    "differences": (_differences, (4, 2, 0, 1)),
    "shared": (_shared, (1, 1, 0, 1)),
    "shared-same-input": (_shared_same_input, (5, 3, 0, 2)),
    "two-rescalings": (_two_rescalings, (1, 1, 0, 1)),
    "weighted": (_weighted, (1, 1, 0, 1)),
    "determinant": (_determinant, (6, 4, 2, 3)),
    "affine": (_affine, (1, 1, 0, 1)),
    "max-and-abs": (_max_and_abs, (2, 2, 0, 2)),
    "relu-gaussian": (_relu_gaussian, (1, 1, 0, 1)),
    "exponential": (_exponential, (1, 1, 0, 1)),
    "attention": (_attention, (6, 4, 2, 3)),
    "unlabelled": (_unlabelled, (0, 0, 0, 0)),
    "never-seen": (_never_seen, (4, 2, 0, 1)),
    "quotient": (_quotient, (1, 1, 0, 1)),
    "uniform": (_uniform, (1, 1, 0, 1)),
}
