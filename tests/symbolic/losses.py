"""Small losses that the derivation tests share."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import reduce
from itertools import pairwise
from operator import mul
from typing import Any

import numpy as np
import sympy as sp

from symbolic import Dataset, Loss, Normal, parameters
from symbolic.functions.activations import relu

HALF = sp.Rational(1, 2)
u, w, x, e, y = sp.symbols("u w x e y", real=True)


def column(symbols: Any) -> Any:
    """A vector that may have one entry as a column."""
    return symbols if isinstance(symbols, sp.MatrixBase) else sp.ImmutableMatrix([symbols])


def squares(m: Any) -> sp.Expr:
    """|m|^2, not expanded."""
    return sp.Add(*(c**2 for c in m))


def rescaling(mean: Any = 0, std: Any = 1, noise: Any = HALF) -> Loss:
    """(u w x - y)^2 with y = x + e."""
    return Loss((u * w * x - x - e) ** 2, [u, w], {x: Normal(mean, std), e: Normal(0, noise)}, name="rescaling")


def linear_net(widths: Sequence[int], stds: tuple[Any, Any] = (1, 1)) -> Loss:
    """|W_0 W_1 ... x - y|^2; widths from output to input."""
    layers = [parameters(**{f"W{i}": (a, b)}) for i, (a, b) in enumerate(pairwise(widths))]
    inputs, targets = column(parameters(x=(widths[-1],))), column(parameters(y=(widths[0],)))
    return Loss(
        squares(reduce(mul, layers) * inputs - targets),
        layers,
        {inputs: Normal(0, stds[0]), targets: Normal(0, stds[1])},
        name="linear",
    )


def network(widths: Sequence[int], activation: Any, bias: bool = False) -> Loss:
    """|f(x) - y|^2 for a fully connected network; widths from input to output."""
    inputs, targets = column(parameters(x=(widths[0],))), column(parameters(y=(widths[-1],)))
    h, layers = inputs, []
    for i, (a, b) in enumerate(pairwise(widths)):
        weights = parameters(**{f"W{i}": (b, a)})
        layers.append(weights)
        h = weights * h
        if bias:
            layers.append(column(parameters(**{f"b{i}": (b,)})))
            h = h + layers[-1]
        if i < len(widths) - 2:
            h = sp.ImmutableMatrix(h.applyfunc(activation))
    return Loss(squares(h - targets), layers, {inputs: Normal(0, 1), targets: Normal(0, 1)}, name="network")


def relu_net(widths: Sequence[int], bias: bool = False) -> Loss:
    """`network` with ReLU units."""
    return network(widths, relu, bias)


def linear_sizes() -> list[list[int]]:
    """Widths, input to output, of 50 random linear networks: depth 2 to 4, widths 2 to 5."""
    draw = random.Random(11)
    return [[draw.randint(2, 5) for _ in range(draw.randint(3, 5))] for _ in range(50)]


def relu_sizes() -> list[tuple[list[int], bool]]:
    """Widths and whether there are biases, of 50 random ReLU networks: depth 2 to 4, widths 2 to 9."""
    draw = random.Random(12)
    return [([draw.randint(2, 9) for _ in range(draw.randint(3, 5))], draw.random() < 0.5) for _ in range(50)]


def softmax(classes: int = 3, inputs: int = 2, rows: int = 12) -> Loss:
    """Cross-entropy of softmax(W x) on one-hot labels."""
    rng = np.random.default_rng(0)
    weights, points, labels = (
        parameters(W=(classes, inputs)),
        column(parameters(x=(inputs,))),
        column(parameters(y=(classes,))),
    )
    logits = weights * points
    data = Dataset({points: rng.normal(size=(rows, inputs)), labels: np.eye(classes)[np.arange(rows) % classes]})
    return Loss(sp.log(sum(map(sp.exp, logits))) - labels.dot(logits), [weights], data, name="softmax")


def scale_invariant(inputs: int = 3, std: Any = 1) -> Loss:
    """(w.x/|w| - y)^2."""
    weights, points = parameters(w=(inputs,)), parameters(x=(inputs,))
    return Loss(
        (weights.dot(points) / sp.sqrt(weights.dot(weights)) - y) ** 2,
        [weights],
        {points: Normal(0, std), y: Normal(0, 1)},
        name="scale",
    )


def attention(tokens: int = 2, width: int = 2) -> Loss:
    """|softmax(X Q K^T X^T) X V O - Y|^2, one head, first row."""
    q, k, v, o = parameters(Q=(width, width), K=(width, width), V=(width, width), O=(width, width))
    tokens_, target = parameters(x=(tokens, width)), column(parameters(y=(width,)))
    scores = [(tokens_[0, :] * q * k.T * tokens_[j, :].T)[0] for j in range(tokens)]
    total = sum(map(sp.exp, scores))
    mixed = sum(((sp.exp(s) / total) * tokens_[j, :] for j, s in enumerate(scores)), sp.zeros(1, width))
    return Loss(
        squares((mixed * v * o).T - target),
        [q, k, v, o],
        {tokens_: Normal(0, 1), target: Normal(0, 1)},
        name="attention",
    )
