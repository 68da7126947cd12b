"""Softmax: regression, attention, and mixtures of experts."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import sympy as sp

from symbolic.library._shared import Entry, array, cloud, each, squares, start
from symbolic.problem.distributions import Dataset
from symbolic.problem.loss import Loss
from symbolic.problem.optimizer import SGD
from symbolic.problem.parameter import entries


def softmax_regression(inputs: int = 2, classes: int = 3, rows: int = 60) -> Loss:
    """Cross-entropy log sum exp(W x + b) - y (W x + b), y one-hot, on fixed synthetic blobs.

    Symmetry: all logits shift together, W_k -> W_k + v, b_k -> b_k + c. Charges: the column sums of W and the sum of b,
    no noise on them: frozen. Source: [K] (translation symmetry).
    """
    W, b, x, y = (
        entries("W", (classes, inputs)),
        entries("b", (classes,)),
        entries("x", (inputs,)),
        entries("y", (classes,)),
    )
    label, points = np.arange(rows) % classes, cloud(rows, inputs)[:, :inputs]
    angle = 2 * np.pi * label / classes
    points[:, 0] += np.round(np.cos(angle), 6)
    points[:, 1 % inputs] += np.round(np.sin(angle), 6)
    logits = W @ x + b
    value = sp.log(sp.Add(*(sp.exp(s) for s in logits))) - y @ logits
    data = Dataset({array(x): points, array(y): np.eye(classes)[label]})
    return Loss(value, {"W": W, "b": b}, data, name="softmax-regression")


def single_head_attention(
    inputs: int = 2, key: int = 2, value: int = 2, outputs: int = 2, tokens: int = 3, rows: int = 40
) -> Loss:
    """|O V sum_j p_j x_j - y|^2 with p = softmax_j(x_n Q'K x_j), the query at the last token x_n: one head of
    self-attention.

    Layout: Q, K key x inputs, V value x inputs, O outputs x value. Fixed synthetic tokens, y = the mean token's first
    entries + noise/2. Symmetry: Q -> G Q, K -> G^-T K with G in GL(key); V -> H V, O -> O H^-1 with H in GL(value).
    Charges: the entries of QQ' - KK' and of VV' - O'O: convergent. With outputs < value the algebra grows (V moves
    along O's kernel), its charges do not. Source: Vaswani et al. (1706.03762); Marcotte, Gribonval, Peyre (2506.06194)
    for the laws.
    """
    Q, K = entries("Q", (key, inputs)), entries("K", (key, inputs))
    V, out = entries("V", (value, inputs)), entries("O", (outputs, value))
    x, y = entries("x", (tokens, inputs)), entries("y", (outputs,))
    points = cloud(rows, tokens * inputs, outputs)
    sequence = points[:, : tokens * inputs].reshape(rows, tokens, inputs)
    target = np.resize(sequence.mean(axis=1).T, (outputs, rows)).T + points[:, tokens * inputs :] / 2
    weights = each(sp.exp)((x @ K.T) @ (Q @ x[-1]))
    mean = weights @ x / sp.Add(*weights)
    data = Dataset({array(x): sequence, array(y): np.round(target, 6)})
    return Loss(squares(out @ (V @ mean) - y), {"Q": Q, "K": K, "V": V, "O": out}, data, name="single-head-attention")


def gated_mixture(inputs: int = 2, experts: int = 2, rows: int = 48) -> Loss:
    """(sum_k p_k (E_k x) - y)^2 with p = softmax(G x + c): linear experts E_k mixed by a gate, y = |x_1| + noise/2 on a
    fixed data set.

    Symmetry: all gate logits shift together, G_k -> G_k + v, c_k -> c_k + s; the experts add none. Charges: the column
    sums of G and the sum of c, no noise on them: frozen. Source: Jacobs, Jordan, Nowlan, Hinton (Neural Computation 3,
    1991) for the model; [K] (translation).
    """
    G, c, E = entries("G", (experts, inputs)), entries("c", (experts,)), entries("E", (experts, inputs))
    x, y, points = entries("x", (inputs,)), sp.Symbol("y", real=True), cloud(rows, inputs)
    weights = each(sp.exp)(G @ x + c)
    residual = weights @ (E @ x) / sp.Add(*weights) - y
    data = Dataset({array(x): points[:, :inputs], y: np.abs(points[:, 0]) + points[:, -1] / 2})
    return Loss(residual**2, {"G": G, "c": c, "E": E}, data, name="gated-mixture")


ENTRIES: Mapping[str, Entry] = {
    "softmax-regression": Entry(
        softmax_regression,
        "log sum exp(W x + b) - y (W x + b)",
        "W_k -> W_k + v, b_k -> b_k + c",
        "sum_k W_kj; sum_k b_k",
        3,
        "frozen",
        "arXiv 2012.04728",
        start(W=[[0.3, -0.1], [0.0, 0.2], [-0.2, 0.1]], b=[0.1, 0.0, -0.2]),
        SGD(0.05),
        50.0,
    ),
    "single-head-attention": Entry(
        single_head_attention,
        "|O V sum_j p_j x_j - y|^2, p = softmax(x_n Q'K x_j)",
        "Q -> G Q, K -> G^-T K; V -> H V, O -> O H^-1",
        "QQ' - KK'; VV' - O'O",
        6,
        "convergent",
        "arXiv 2506.06194; 1706.03762",
        start(
            Q=[[0.8, 0.2], [-0.1, 0.6]],
            K=[[0.5, -0.2], [0.3, 0.4]],
            V=[[0.9, 0.1], [0.2, 0.7]],
            O=[[0.6, -0.1], [0.2, 0.5]],
        ),
        SGD(0.02),
        50.0,
    ),
    "gated-mixture": Entry(
        gated_mixture,
        "(sum_k p_k (E_k x) - y)^2, p = softmax(G x + c)",
        "G_k -> G_k + v, c_k -> c_k + s",
        "sum_k G_kj; sum_k c_k",
        3,
        "frozen",
        "Neural Comput. 3, 79; arXiv 2012.04728",
        start(G=[[0.5, 0.1], [-0.4, 0.2]], c=[0.1, -0.1], E=[[0.8, 0.1], [-0.7, 0.2]]),
        SGD(0.02),
        50.0,
    ),
}
