"""Building blocks of deep networks: the gated unit and the residual block."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import sympy as sp

from symbolic.functions.activations import relu, silu
from symbolic.library._shared import Entry, array, cloud, each, squares, start
from symbolic.problem.distributions import Dataset
from symbolic.problem.loss import Loss
from symbolic.problem.optimizer import SGD
from symbolic.problem.parameter import entries


def swiglu(inputs: int = 2, hidden: int = 2, outputs: int = 1, rows: int = 64) -> Loss:
    """|W_down (silu(W_gate x) * (W_up x)) - y|^2 on a fixed synthetic data set, y = |x_1| + noise/2 in every output.

    Symmetry: per hidden unit, its row of W_up -> c times, its column of W_down -> 1/c times; nothing moves W_gate.
    Charges |up_i|^2 - |down_i|^2: convergent. Parameters gate, up (hidden x inputs), down (outputs x hidden). Source:
    Shazeer, "GLU Variants Improve Transformer" (2002.05202), equation 6; the charges as for any product, [B].
    """
    gate, up, down = (
        entries("gate", (hidden, inputs)),
        entries("up", (hidden, inputs)),
        entries("down", (outputs, hidden)),
    )
    x, y, points = entries("x", (inputs,)), entries("y", (outputs,)), cloud(rows, inputs, outputs)
    target = np.abs(points[:, :1]) + points[:, inputs:] / 2
    value = squares(down @ (each(silu)(gate @ x) * (up @ x)) - y)
    data = Dataset({array(x): points[:, :inputs], array(y): target})
    return Loss(value, {"gate": gate, "up": up, "down": down}, data, name="swiglu")


def residual_relu(inputs: int = 2, hidden: int = 2, rows: int = 64, readout: bool = False) -> Loss:
    """|x + W2 relu(W1 x) - y|^2 on a fixed synthetic data set, y = |x| + noise/2 entry by entry; with readout, (a (x +
    W2 relu(W1 x)) - y_1)^2.

    Symmetry: per hidden unit, row i of W1 -> c times, column i of W2 -> 1/c times, c > 0, as without the skip; the skip
    breaks every symmetry of the readout that has a charge. Charges |row_i W1|^2 - |column_i W2|^2: convergent. Source:
    Marcotte, Gribonval, Peyre, "Transformative or Conservative? Conservation Laws for ResNets and Transformers"
    (2506.06194).
    """
    W1, W2, a = entries("W1", (hidden, inputs)), entries("W2", (inputs, hidden)), entries("a", (inputs,))
    x, points = entries("x", (inputs,)), cloud(rows, inputs, inputs)
    target = np.abs(points[:, :inputs]) + points[:, inputs:] / 2
    out = x + W2 @ each(relu)(W1 @ x)
    if readout:
        y = sp.Symbol("y", real=True)
        data = Dataset({array(x): points[:, :inputs], y: target[:, 0]})
        return Loss((a @ out - y) ** 2, {"W1": W1, "W2": W2, "a": a}, data, name="residual-relu")
    targets = entries("y", (inputs,))
    data = Dataset({array(x): points[:, :inputs], array(targets): target})
    return Loss(squares(out - targets), {"W1": W1, "W2": W2}, data, name="residual-relu")


ENTRIES: Mapping[str, Entry] = {
    "swiglu": Entry(
        swiglu,
        "|down (silu(gate x) * (up x)) - y|^2",
        "up_i -> c up_i, down_i -> down_i/c",
        "|up_i|^2 - |down_i|^2",
        2,
        "convergent",
        "arXiv 2002.05202; 2308.06671",
        start(gate=[[0.9, 0.2], [-0.8, 0.3]], up=[[0.8, 0.1], [-0.6, 0.2]], down=[[0.5, 0.4]]),
        SGD(0.01, batch_size=8),
        50.0,
    ),
    "residual-relu": Entry(
        residual_relu,
        "|x + W2 relu(W1 x) - y|^2",
        "W1_i -> c W1_i, W2_i -> W2_i/c, c > 0",
        "|W1_i|^2 - |W2_i|^2, row and column i",
        2,
        "convergent",
        "arXiv 2506.06194",
        start(W1=[[0.9, 0.2], [-0.3, 0.8]], W2=[[-0.5, 0.1], [0.2, -0.4]]),
        SGD(0.01),
        50.0,
    ),
}
