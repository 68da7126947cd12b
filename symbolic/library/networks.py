"""Two-layer networks, one per activation: which activations leave a charge, and which none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import sympy as sp

from symbolic.functions.activations import gelu, leaky_relu, relu, silu
from symbolic.library._shared import Entry, array, cloud, each, fall, start
from symbolic.problem.distributions import Dataset, Normal
from symbolic.problem.loss import Loss
from symbolic.problem.optimizer import SGD
from symbolic.problem.parameter import entries

SLOPE = sp.Rational(1, 10)
"""Default slope of the leaky ReLU: ten times PyTorch's, so that both sides carry noise."""


def _network(
    name: str, activation: Callable[..., Any], inputs: int, hidden: int, rows: int, *, bias: bool, even: bool
) -> Loss:
    """(a s(W x + b) - y)^2 on a fixed synthetic data set, y = |x_1| (even) or x_1, + noise/2."""
    W, b, a = entries("W", (hidden, inputs)), entries("b", (hidden,)), entries("a", (hidden,))
    x, y, points = entries("x", (inputs,)), sp.Symbol("y", real=True), cloud(rows, inputs)
    first = np.abs(points[:, 0]) if even else points[:, 0]
    data = Dataset({array(x): points[:, :inputs], y: first + points[:, -1] / 2})
    parameters = {"W": W, "b": b, "a": a} if bias else {"W": W, "a": a}
    before = W @ x + b if bias else W @ x
    return Loss((a @ each(activation)(before) - y) ** 2, parameters, data, name=name)


def two_layer_relu(inputs: int = 2, hidden: int = 2, rows: int = 64) -> Loss:
    """(a relu(W x + b) - y)^2 on a fixed synthetic data set, y = |x_1| + noise/2.

    Symmetry: (W_i, b_i) -> c (W_i, b_i), a_i -> a_i/c for c > 0, per hidden unit. Charges |W_i|^2 + b_i^2 - a_i^2:
    convergent. Source: [D] theorem 2.1, [K].
    """
    return _network("two-layer-relu", relu, inputs, hidden, rows, bias=True, even=True)


def two_layer_leaky_relu(inputs: int = 2, hidden: int = 2, slope: Any = SLOPE, rows: int = 64) -> Loss:
    """(a leaky_relu(W x + b) - y)^2 on a fixed synthetic data set, y = |x_1| + noise/2; slope: on the negative side.

    Symmetry and charges as for ReLU, per hidden unit: (W_i, b_i) -> c (W_i, b_i), a_i -> a_i/c for c > 0; |W_i|^2 +
    b_i^2 - a_i^2: convergent. Source: [D] theorem 2.1, for any homogeneous activation; Maas, Hannun, Ng (ICML 2013) for
    the activation.
    """
    activation = lambda x: leaky_relu(x, slope)  # noqa: E731
    return _network("two-layer-leaky-relu", activation, inputs, hidden, rows, bias=True, even=True)


def two_layer_quadratic(inputs: int = 2, hidden: int = 2) -> Loss:
    """(a (W x)^2 - y)^2, square activation: y = t x^2 + N(0, 1/4), t fixed, x normal with standard deviations falling
    from 7/10 to 1/2.

    Symmetry: W_i -> c W_i, a_i -> a_i/c^2, per hidden unit: neither trace-free nor of one sign. Charges |W_i|^2 - 2
    a_i^2: convergent. Source: [M], k-homogeneous activations with k = 2; Du, Lee, "On the Power of Over-parametrization
    in Neural Networks with Quadratic Activation" (1803.01206).
    """
    a, W, x = entries("a", (hidden,)), entries("W", (hidden, inputs)), entries("x", (inputs,))
    e = sp.Symbol("e", real=True)
    data = {array(x): Normal(0, fall(inputs, 7, 5)), e: Normal(0, sp.Rational(1, 2))}
    residual = a @ ((W @ x) ** 2) - fall(inputs, 10, -5) @ (x**2) - e
    return Loss(residual**2, {"W": W, "a": a}, data, name="two-layer-quadratic")


def two_layer_tanh(inputs: int = 2, hidden: int = 2, rows: int = 64) -> Loss:
    """(a tanh(W x) - y)^2 on a fixed synthetic data set, y = x_1 + noise/2.

    Symmetry: only the discrete sign flips and permutations of units; no charge. The control case. Source: [M].
    """
    return _network("two-layer-tanh", sp.tanh, inputs, hidden, rows, bias=False, even=False)


def two_layer_gelu(inputs: int = 2, hidden: int = 2, rows: int = 64) -> Loss:
    """(a gelu(W x) - y)^2 on a fixed synthetic data set, y = |x_1| + noise/2; gelu(s) = s Phi(s), the exact form.

    Symmetry: none that is continuous; no charge: a smooth bend at a fixed scale breaks ReLU's rescaling. Source: [M]
    (an activation has laws only if it is homogeneous); Hendrycks, Gimpel (1606.08415) for the activation.
    """
    return _network("two-layer-gelu", gelu, inputs, hidden, rows, bias=False, even=True)


def two_layer_silu(inputs: int = 2, hidden: int = 2, rows: int = 64) -> Loss:
    """(a silu(W x) - y)^2 on a fixed synthetic data set, y = |x_1| + noise/2; silu(s) = s/(1 + exp(-s)).

    Symmetry: none that is continuous; no charge, as for GELU. Source: [M]; Elfwing, Uchibe, Doya (1702.03118) for the
    activation.
    """
    return _network("two-layer-silu", silu, inputs, hidden, rows, bias=False, even=True)


def separable_tanh(inputs: int = 2, hidden: int = 2) -> Loss:
    """sum_j (sum_i a_i tanh(W_ij) - y_j)^2: a two-layer tanh network on whitened inputs, the unit vectors e_j, with
    targets y_j = t_j + e_j.

    Symmetry: none that is affine. No quadratic charge; yet each hidden unit keeps a_i^2 - 2 sum_j int s/s'(W_ij) =
    a_i^2 - sum_j sinh(W_ij)^2 under gradient flow, because W_ij acts through tanh(W_ij) alone. Source: Zhao, Ganev,
    Walters, Yu, Dehmamy, "Symmetries, Flat Minima, and the Conserved Quantities of Gradient Flow" (2210.17216),
    elementwise activations.
    """
    a, W, e = entries("a", (hidden,)), entries("W", (hidden, inputs)), entries("e", (inputs,))
    residual = a @ each(sp.tanh)(W) - fall(inputs, 8, -4) - e
    data = {array(e): Normal(0, fall(inputs, 6, 3))}
    return Loss(sp.Add(*(r**2 for r in residual)), {"W": W, "a": a}, data, name="separable-tanh")


ENTRIES: Mapping[str, Entry] = {
    "two-layer-relu": Entry(
        two_layer_relu,
        "(a relu(W x + b) - y)^2",
        "(W_i, b_i) -> c (W_i, b_i), a_i -> a_i/c, c > 0",
        "|W_i|^2 + b_i^2 - a_i^2",
        2,
        "convergent",
        "arXiv 1806.00900, theorem 2.1; 2012.04728",
        start(W=[[0.9, 0.2], [-0.8, 0.1]], b=[0.1, 0.2], a=[0.6, 0.5]),
        SGD(0.01),
        50.0,
    ),
    "two-layer-leaky-relu": Entry(
        two_layer_leaky_relu,
        "(a leaky_relu(W x + b) - y)^2",
        "as two-layer-relu",
        "|W_i|^2 + b_i^2 - a_i^2",
        2,
        "convergent",
        "arXiv 1806.00900, theorem 2.1",
        start(W=[[0.9, 0.2], [-0.8, 0.1]], b=[0.1, 0.2], a=[0.6, 0.5]),
        SGD(0.01),
        50.0,
    ),
    "two-layer-quadratic": Entry(
        two_layer_quadratic,
        "(a (W x)^2 - y)^2",
        "W_i -> c W_i, a_i -> a_i/c^2",
        "|W_i|^2 - 2 a_i^2",
        2,
        "convergent",
        "arXiv 2307.00144; 1803.01206",
        start(W=[[0.9, 0.2], [-0.2, 0.8]], a=[0.8, -0.5]),
        SGD(0.004),
        50.0,
    ),
    "two-layer-tanh": Entry(
        two_layer_tanh,
        "(a tanh(W x) - y)^2",
        "none that is continuous",
        "none",
        0,
        "none",
        "arXiv 2307.00144",
        start(W=[[0.7, 0.2], [-0.4, 0.5]], a=[0.8, -0.3]),
        SGD(0.01),
        50.0,
    ),
    "two-layer-gelu": Entry(
        two_layer_gelu,
        "(a gelu(W x) - y)^2",
        "none that is continuous",
        "none",
        0,
        "none",
        "arXiv 2307.00144; 1606.08415",
        start(W=[[0.9, 0.2], [-0.8, 0.3]], a=[0.6, 0.5]),
        SGD(0.01),
        50.0,
    ),
    "two-layer-silu": Entry(
        two_layer_silu,
        "(a silu(W x) - y)^2",
        "none that is continuous",
        "none",
        0,
        "none",
        "arXiv 2307.00144; 1702.03118",
        start(W=[[0.9, 0.2], [-0.8, 0.3]], a=[0.6, 0.5]),
        SGD(0.01),
        50.0,
    ),
    "separable-tanh": Entry(
        separable_tanh,
        "sum_j (a tanh(W e_j) - y_j)^2",
        "none that is affine",
        "none; a_i^2 - sum_j sinh(W_ij)^2 is conserved",
        0,
        "none",
        "arXiv 2210.17216",
        start(W=[[0.7, 0.2], [-0.4, 0.5]], a=[0.8, -0.3]),
        SGD(0.01),
        50.0,
    ),
}
