"""Losses that see the direction of a weight and not its size, or its size and not its direction."""

from __future__ import annotations

from collections.abc import Mapping

import sympy as sp

from symbolic.library._shared import Entry, array, fall, frame, squares, start
from symbolic.problem.distributions import Normal
from symbolic.problem.loss import Loss
from symbolic.problem.optimizer import SGD
from symbolic.problem.parameter import entries


def scale_invariant(inputs: int = 3) -> Loss:
    """(w x/|w| - y)^2: regression on the direction of w, y = v x + N(0, 1/4) with v fixed.

    Symmetry: w -> c w. Charge |w|^2, with |w|^4 growing at the rate 2 T Tr Sigma(w/|w|): divergent. Source: [S] (scale
    invariance), [K].
    """
    w, x = entries("w", (inputs,)), entries("x", (inputs,))
    e = sp.Symbol("e", real=True)
    v = frame(inputs, inputs)[0]
    data = {array(x): Normal(0, fall(inputs, 12, 8)), e: Normal(0, sp.Rational(1, 2))}
    return Loss((w @ x / sp.sqrt(squares(w)) - v @ x - e) ** 2, {"w": w}, data, name="scale-invariant")


def _normalised(name: str, hidden: int, inputs: int, *, layerwise: bool) -> Loss:
    a, W, x = entries("a", (hidden,)), entries("W", (hidden, inputs)), entries("x", (inputs,))
    e = sp.Symbol("e", real=True)
    size = sp.sqrt(squares(a)) * squares(W) if layerwise else (squares(a) + squares(W)) ** sp.Rational(3, 2)
    teacher = fall(inputs, 10, -5) @ (x**2)
    data = {array(x): Normal(0, fall(inputs, 10, 7)), e: Normal(0, sp.Rational(1, 2))}
    return Loss((a @ ((W @ x) ** 2) / size - teacher - e) ** 2, {"a": a, "W": W}, data, name=name)


def net_a(hidden: int = 2, inputs: int = 2) -> Loss:
    """(a (W x)^2 / (|a|^2 + |W|^2)^(3/2) - y)^2: a two-layer network normalised as a whole, square activation.

    Symmetry: (a, W) -> (c a, c W), and no other. Charge |a|^2 + |W|^2: divergent. The ratios of |W_i|^2 - 2 a_i^2
    between units are conserved as well, by no affine symmetry. After Net-A of [S] (one global scale symmetry); the
    square activation is this package's choice, so that the noise covariance has a closed form.
    """
    return _normalised("net-a", hidden, inputs, layerwise=False)


def net_b(hidden: int = 2, inputs: int = 2) -> Loss:
    """((a/|a|) ((W/|W|) x)^2 - y)^2: a two-layer network with each layer normalised, square activation.

    Symmetry: a -> c a and W -> d W apart. Charges |a|^2 and |W|^2: divergent. After Net-B of [S] (a scale symmetry for
    every layer too); the square activation is this package's choice, as in net_a.
    """
    return _normalised("net-b", hidden, inputs, layerwise=True)


def weight_norm(outputs: int = 2, inputs: int = 2) -> Loss:
    """sum_i (g_i v_i x/|v_i| - y_i)^2: a linear layer with its rows' lengths g_i and directions v_i apart, y = U x + e
    with U fixed.

    Symmetry: v_i -> c_i v_i, row by row. Charges |v_i|^2: divergent, so that the directions move ever slower. Source:
    Salimans, Kingma, "Weight Normalization" (1602.07868), section 2.1, where |v| only grows; [K] (scale symmetry).
    """
    g, v = entries("g", (outputs,)), entries("v", (outputs, inputs))
    x, e = entries("x", (inputs,)), entries("e", (outputs,))
    data = {array(x): Normal(0, fall(inputs, 12, 8)), array(e): Normal(0, fall(outputs, 8, 4))}
    teacher = frame(outputs, inputs) @ x
    out = [g[i] * (v[i] @ x) / sp.sqrt(squares(v[i])) - teacher[i] - e[i] for i in range(outputs)]
    return Loss(sp.Add(*(r**2 for r in out)), {"g": g, "v": v}, data, name="weight-norm")


def radial(inputs: int = 3) -> Loss:
    """(|w|^2 x - y)^2 with x ~ N(0, 1), y = x + N(0, 1/4): a function of the norm of w alone.

    Symmetry: rotations, n(n-1)/2 of them, which conserve nothing under gradient flow. No charge; yet the direction
    w/|w| is conserved, n - 1 laws that no affine symmetry gives. Source: Marcotte, Gribonval, Peyre, "Keep the
    Momentum" (2405.12888): rotations conserve an angular momentum, and that needs momentum.
    """
    w = entries("w", (inputs,))
    x, e = sp.symbols("x e", real=True)
    data = {x: Normal(0, 1), e: Normal(0, sp.Rational(1, 2))}
    return Loss((squares(w) * x - x - e) ** 2, {"w": w}, data, name="radial")


ENTRIES: Mapping[str, Entry] = {
    "scale-invariant": Entry(
        scale_invariant,
        "(w x/|w| - y)^2",
        "w -> c w",
        "|w|^2",
        1,
        "divergent",
        "arXiv 2402.07193; 2012.04728",
        start(w=[0.8, -0.4, 0.5]),
        SGD(0.02),
        50.0,
    ),
    "net-a": Entry(
        net_a,
        "(a (W x)^2/(|a|^2 + |W|^2)^(3/2) - y)^2",
        "(a, W) -> c (a, W)",
        "|a|^2 + |W|^2",
        1,
        "divergent",
        "arXiv 2402.07193 (Net-A)",
        start(a=[0.9, -0.7], W=[[0.8, 0.3], [-0.2, 0.9]]),
        SGD(0.01),
        50.0,
    ),
    "net-b": Entry(
        net_b,
        "((a/|a|) ((W/|W|) x)^2 - y)^2",
        "a -> c a; W -> d W",
        "|a|^2; |W|^2",
        2,
        "divergent",
        "arXiv 2402.07193 (Net-B)",
        start(a=[0.9, -0.7], W=[[0.8, 0.3], [-0.2, 0.9]]),
        SGD(0.01),
        50.0,
    ),
    "weight-norm": Entry(
        weight_norm,
        "|g (v/|v|) x - y|^2, v by rows",
        "v_i -> c_i v_i",
        "|v_i|^2",
        2,
        "divergent",
        "arXiv 1602.07868; 2012.04728",
        start(g=[0.6, 0.5], v=[[0.7, -0.4], [0.3, 0.8]]),
        SGD(0.01),
        50.0,
    ),
    "radial": Entry(
        radial,
        "(|w|^2 x - y)^2",
        "rotations of w",
        "none; w/|w| is conserved",
        0,
        "none",
        "arXiv 2405.12888",
        start(w=[0.4, -0.3, 0.2]),
        SGD(0.01),
        50.0,
    ),
}
