"""Losses whose whole derivation takes long: contrastive pairs with norms, convolutions, attention, wide inputs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import sympy as sp

from symbolic import Dataset, Loss, Normal, library
from symbolic.functions.activations import relu
from symbolic.library._shared import array
from symbolic.problem.parameter import entries


def _products(A: np.ndarray, x: np.ndarray) -> list[sp.Expr]:
    """A @ x, every sum made at once."""
    return [sp.Add(*(a * b for a, b in zip(row, x, strict=True))) for row in A]


def _cross_entropy(z: list[sp.Expr], y: np.ndarray) -> sp.Expr:
    return sp.log(sp.Add(*map(sp.exp, z))) - sp.Add(*(a * b for a, b in zip(y, z, strict=True)))


def _labels(rows: int, classes: int) -> np.ndarray:
    return np.eye(classes)[np.arange(rows) % classes]


def contrastive(inputs: int = 3, width: int = 3) -> Loss:
    """Two pairs under a contrastive loss of cosines: rotations of the features and their scale."""
    W, x, y = entries("W", (width, inputs)), entries("x", (2, inputs)), entries("y", (2, inputs))
    left, right = ([_products(W, row) for row in rows] for rows in (x, y))

    def cosine(a: list[sp.Expr], b: list[sp.Expr]) -> sp.Expr:
        norms = sp.sqrt(sp.Add(*(c**2 for c in a))) * sp.sqrt(sp.Add(*(c**2 for c in b)))
        return sp.Add(*(c * d for c, d in zip(a, b, strict=True))) / norms

    s = [[cosine(a, b) for b in right] for a in left]
    value = sp.Add(*(sp.log(sp.Add(*map(sp.exp, row))) - row[i] for i, row in enumerate(s)))
    return Loss(value, {"W": W}, {array(x): Normal(0, 1), array(y): Normal(0, 1)}, name="contrastive")


def convolution(channels: int = 4, kernel: int = 3, size: int = 6, classes: int = 4, rows: int = 60) -> Loss:
    """ReLU of a convolution with stride 2, then softmax."""
    K, b, x = entries("K", (channels, kernel, kernel)), entries("b", (channels,)), entries("x", (size, size))
    at = range(0, size - kernel + 1, 2)
    patches = [x[i : i + kernel, j : j + kernel].ravel() for i in at for j in at]
    h = [relu(_products(K[c].reshape(1, -1), patch)[0] + b[c]) for c in range(channels) for patch in patches]
    V, a, y = entries("V", (classes, len(h))), entries("a", (classes,)), entries("y", (classes,))
    z = [s + c for s, c in zip(_products(V, np.array(h)), a, strict=True)]
    points = np.random.default_rng(0).standard_normal((rows, size, size)).round(3)
    data = Dataset({array(x): points, array(y): _labels(rows, classes)})
    return Loss(_cross_entropy(z, y), {"K": K, "b": b, "V": V, "a": a}, data, name="convolution")


def attention(width: int = 8) -> Loss:
    """One head of attention."""
    return library.single_head_attention(width, width, width, width)


def relu_network(inputs: int, hidden: int) -> Loss:
    """(a relu(W x + b) + c - y)^2."""
    W, b, a, x = (
        entries("W", (hidden, inputs)),
        entries("b", (hidden,)),
        entries("a", (hidden,)),
        entries("x", (inputs,)),
    )
    c, y = sp.symbols("c y", real=True)
    units = [f * relu(z + s) for f, z, s in zip(a, _products(W, x), b, strict=True)]
    return Loss(
        (sp.Add(*units, c) - y) ** 2,
        {"W": W, "b": b, "a": a, "c": c},
        {array(x): Normal(0, 1), y: Normal(0, 1)},
        name=f"{inputs}-{hidden}-1",
    )


def softmax_regression(inputs: int, classes: int = 10, rows: int = 200) -> Loss:
    """Cross-entropy of W x + b."""
    W, b, x, y = (
        entries("W", (classes, inputs)),
        entries("b", (classes,)),
        entries("x", (inputs,)),
        entries("y", (classes,)),
    )
    z = [s + c for s, c in zip(_products(W, x), b, strict=True)]
    points = np.random.default_rng(0).standard_normal((rows, inputs)).round(3)
    data = Dataset({array(x): points, array(y): _labels(rows, classes)})
    return Loss(_cross_entropy(z, y), {"W": W, "b": b}, data, name=f"softmax of {inputs}")


HARD: dict[str, Callable[[], Loss]] = {
    "contrastive": contrastive,
    "contrastive of 4": lambda: contrastive(4, 2),
    "convolution": convolution,
    "convolution of 6 channels": lambda: convolution(channels=6),
    "attention": attention,
    "attention of 6": lambda: attention(6),
    "784 inputs": lambda: relu_network(784, 10),
    "784 inputs, softmax": lambda: softmax_regression(784),
}
