"""Named losses with known symmetries: one function per loss, and one table of what is known about each.

Sources: [S] Ziyin, Wang, Wu, "The Implicit Bias of Gradient Noise: A Symmetry Perspective" (arXiv 2402.07193 v1; v3, NeurIPS 2024:
"Parameter Symmetry and Noise Equilibrium of SGD"); [B] Ziyin, Li, Ueda, "Law of Balance and Stationary Distribution of SGD" (2308.06671);
[K] Kunin et al., "Neural Mechanics" (2012.04728); [M] Marcotte, Gribonval, Peyre, "Abide by the Law and Follow the Flow" (2307.00144);
[D] Du, Hu, Lee, "Algorithmic Regularization in Learning Deep Homogeneous Models" (1806.00900).
Sums of squares stay unexpanded: the emitter of gradients lives from that structure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp

from symbolic.functions import relu
from symbolic.laws import Dataset, Normal
from symbolic.loss import Loss, entries
from symbolic.sgd import SGD

_relu: Any = np.frompyfunc(relu, 1, 1)
_tanh: Any = np.frompyfunc(sp.tanh, 1, 1)


def _squares(a: np.ndarray) -> sp.Expr:
    return sp.Add(*(x**2 for x in a.ravel()))


def _fall(n: int, high: int, low: int) -> list[sp.Expr]:
    """n numbers falling evenly from high to low, both in tenths."""
    return [
        sp.Integer(high * (n - 1) + (low - high) * k) / (10 * (n - 1)) if n > 1 else sp.Integer(high) / 10
        for k in range(n)
    ]


def _frame(rows: int, columns: int) -> np.ndarray:
    """A fixed, full-rank matrix of small rationals."""
    out = np.empty((rows, columns), dtype=object)
    for i, j in np.ndindex(rows, columns):
        out[i, j] = sp.Rational((-1) ** (i * j), 1 + abs(i - j))
    return out


def _array(symbols: np.ndarray) -> Any:
    return sp.ImmutableDenseNDimArray(symbols)


def _cloud(rows: int, columns: int) -> np.ndarray:
    """A fixed synthetic sample: rows of falling standard deviation, from NumPy's frozen legacy stream, to 6 decimals."""
    points = np.random.RandomState(0).standard_normal((rows, columns + 1))
    points[:, :columns] *= np.linspace(1.2, 0.6, columns)
    return np.round(points, 6)


def rescaling(noise: Any = 0.5) -> Loss:
    """(u w x - y)^2 with x ~ N(0, 1), y = x + N(0, noise^2).

    Symmetry: u -> c u, w -> w/c. Charge u^2 - w^2, decaying at the rate 4 T C_2(uw): convergent. Source: [B], [S].
    """
    u, w, x, e = sp.symbols("u w x e", real=True)
    return Loss((u * w * x - x - e) ** 2, [u, w], {x: Normal(0, 1), e: Normal(0, noise)}, name="rescaling")


def scalar_chain(depth: int = 3) -> Loss:
    """(u_1 u_2 ... u_depth x - y)^2 with x ~ N(0, 1), y = x + N(0, 1/4).

    Symmetry: rescaling between any two factors. Charges u_i^2 - u_{i+1}^2, depth - 1 of them: convergent. Source: [B].
    """
    u = entries("u", (depth,))
    x, e = sp.symbols("x e", real=True)
    return Loss(
        (sp.Mul(*u, x) - x - e) ** 2,
        {"u": u},
        {x: Normal(0, 1), e: Normal(0, sp.Rational(1, 2))},
        name="scalar-chain",
    )


def matrix_factorization(dy: int = 3, h: int = 2, dx: int = 4) -> Loss:
    """|U W x - y|^2, the two-layer linear network: U dy x h, W h x dx, y = V x + e with V fixed, of rank h.

    x ~ N(0, diag) with standard deviations falling from 6/5 to 3/5, label noise e from 4/5 to 3/10: both anisotropic. Symmetry: U -> U G^-1, W -> G W
    with G in GL(h). Charges: the h(h+1)/2 entries of U'U - W W'; equilibrium U'Gamma_U U = W Gamma_W W': convergent. Source: [S], [M].
    """
    U, W, x, e = entries("U", (dy, h)), entries("W", (h, dx)), entries("x", (dx,)), entries("e", (dy,))
    V = _frame(dy, h) @ _frame(h, dx) / 2
    data = {
        _array(x): Normal(0, _fall(dx, 12, 6)),
        _array(e): Normal(0, _fall(dy, 8, 3)),
    }
    return Loss(_squares(U @ (W @ x) - V @ x - e), {"U": U, "W": W}, data, name="matrix-factorization")


two_layer_linear = matrix_factorization


def deep_linear(widths: Sequence[int] = (3, 2, 2, 2)) -> Loss:
    """|W_L ... W_1 x - y|^2, widths from input to output, y = V x + e with V fixed, of the smallest width's rank.

    Symmetry: GL(h) at every hidden layer. Charges W_i W_i' - W_{i+1}' W_{i+1}, entry by entry: convergent. Source: [D] theorem 2.2, [M].
    """
    sizes = list(widths)
    layers = {f"W{k + 1}": entries(f"W{k + 1}", (sizes[k + 1], sizes[k])) for k in range(len(sizes) - 1)}
    x, e, rank = entries("x", (sizes[0],)), entries("e", (sizes[-1],)), min(sizes)
    V = _frame(sizes[-1], rank) @ _frame(rank, sizes[0]) / 2
    out = x
    for layer in layers.values():
        out = layer @ out
    data = {
        _array(x): Normal(0, _fall(sizes[0], 12, 8)),
        _array(e): Normal(0, _fall(sizes[-1], 8, 4)),
    }
    return Loss(_squares(out - V @ x - e), layers, data, name="deep-linear")


def scale_invariant(inputs: int = 3) -> Loss:
    """(w x/|w| - y)^2: regression on the direction of w, y = v x + N(0, 1/4) with v fixed.

    Symmetry: w -> c w. Charge |w|^2, with |w|^4 growing at the rate 2 T Tr Sigma(w/|w|): divergent. Source: [S] (scale invariance), [K].
    """
    w, x = entries("w", (inputs,)), entries("x", (inputs,))
    e = sp.Symbol("e", real=True)
    v = _frame(inputs, inputs)[0]
    data = {_array(x): Normal(0, _fall(inputs, 12, 8)), e: Normal(0, sp.Rational(1, 2))}
    return Loss((w @ x / sp.sqrt(_squares(w)) - v @ x - e) ** 2, {"w": w}, data, name="scale-invariant")


def _normalised(name: str, hidden: int, inputs: int, *, layerwise: bool) -> Loss:
    a, W, x = entries("a", (hidden,)), entries("W", (hidden, inputs)), entries("x", (inputs,))
    e = sp.Symbol("e", real=True)
    size = sp.sqrt(_squares(a)) * _squares(W) if layerwise else (_squares(a) + _squares(W)) ** sp.Rational(3, 2)
    teacher = _fall(inputs, 10, -5) @ (x**2)
    data = {_array(x): Normal(0, _fall(inputs, 10, 7)), e: Normal(0, sp.Rational(1, 2))}
    return Loss((a @ ((W @ x) ** 2) / size - teacher - e) ** 2, {"a": a, "W": W}, data, name=name)


def net_a(hidden: int = 2, inputs: int = 2) -> Loss:
    """(a (W x)^2 / (|a|^2 + |W|^2)^(3/2) - y)^2: a two-layer network normalised as a whole, square activation.

    Symmetry: (a, W) -> (c a, c W), and no other. Charge |a|^2 + |W|^2: divergent. After Net-A of [S] (one global scale symmetry); the square
    activation is this package's choice, so that the noise covariance has a closed form.
    """
    return _normalised("net-a", hidden, inputs, layerwise=False)


def net_b(hidden: int = 2, inputs: int = 2) -> Loss:
    """((a/|a|) ((W/|W|) x)^2 - y)^2: a two-layer network with each layer normalised, square activation.

    Symmetry: a -> c a and W -> d W apart. Charges |a|^2 and |W|^2: divergent. After Net-B of [S] (a scale symmetry for every layer too); the square
    activation is this package's choice, as in net_a.
    """
    return _normalised("net-b", hidden, inputs, layerwise=True)


def two_layer_relu(inputs: int = 2, hidden: int = 2, rows: int = 64) -> Loss:
    """(a relu(W x + b) - y)^2 on a fixed synthetic data set, y = |x_1| + noise/2.

    Symmetry: (W_i, b_i) -> c (W_i, b_i), a_i -> a_i/c for c > 0, per hidden unit. Charges |W_i|^2 + b_i^2 - a_i^2: convergent. Source: [D] theorem 2.1, [K].
    """
    a, b, W, x = (
        entries("a", (hidden,)),
        entries("b", (hidden,)),
        entries("W", (hidden, inputs)),
        entries("x", (inputs,)),
    )
    y, points = sp.Symbol("y", real=True), _cloud(rows, inputs)
    data = Dataset({_array(x): points[:, :inputs], y: np.abs(points[:, 0]) + points[:, -1] / 2})
    return Loss((a @ _relu(W @ x + b) - y) ** 2, {"W": W, "b": b, "a": a}, data, name="two-layer-relu")


def two_layer_tanh(inputs: int = 2, hidden: int = 2, rows: int = 64) -> Loss:
    """(a tanh(W x) - y)^2 on a fixed synthetic data set, y = x_1 + noise/2.

    Symmetry: only the discrete sign flips and permutations of units; no charge. The control case. Source: [M].
    """
    a, W, x = entries("a", (hidden,)), entries("W", (hidden, inputs)), entries("x", (inputs,))
    y, points = sp.Symbol("y", real=True), _cloud(rows, inputs)
    data = Dataset({_array(x): points[:, :inputs], y: points[:, 0] + points[:, -1] / 2})
    return Loss((a @ _tanh(W @ x) - y) ** 2, {"W": W, "a": a}, data, name="two-layer-tanh")


def softmax_regression(inputs: int = 2, classes: int = 3, rows: int = 60) -> Loss:
    """Cross-entropy log sum exp(W x + b) - y (W x + b), y one-hot, on fixed synthetic blobs.

    Symmetry: all logits shift together, W_k -> W_k + v, b_k -> b_k + c. Charges: the column sums of W and the sum of b, no noise on them: frozen.
    Source: [K] (translation symmetry).
    """
    W, b, x, y = (
        entries("W", (classes, inputs)),
        entries("b", (classes,)),
        entries("x", (inputs,)),
        entries("y", (classes,)),
    )
    label, points = np.arange(rows) % classes, _cloud(rows, inputs)[:, :inputs]
    angle = 2 * np.pi * label / classes
    points[:, 0] += np.round(np.cos(angle), 6)
    points[:, 1 % inputs] += np.round(np.sin(angle), 6)
    logits = W @ x + b
    value = sp.log(sp.Add(*(sp.exp(s) for s in logits))) - y @ logits
    data = Dataset({_array(x): points, _array(y): np.eye(classes)[label]})
    return Loss(value, {"W": W, "b": b}, data, name="softmax-regression")


@dataclass(frozen=True)
class Entry:
    """What is known about a library loss, at its default sizes.

    build: the function. charges: their formula; independent: how many. class_: "convergent", "divergent", "frozen", or "none" without charges.
    start: {parameter: float array}, sgd and time (= eta*k): values with which a run is stable and shows the effect.
    """

    build: Callable[..., Loss]
    formula: str
    symmetry: str
    charges: str
    independent: int
    class_: str
    source: str
    start: Mapping[str, np.ndarray]
    sgd: SGD
    time: float


def _start(**values: Any) -> dict[str, np.ndarray]:
    return {name: np.array(value, dtype=np.float64) for name, value in values.items()}


_FACTORS = Entry(
    matrix_factorization,
    "|U W x - y|^2",
    "U -> U G^-1, W -> G W, G in GL(h)",
    "U'U - W W'",
    3,
    "convergent",
    "arXiv 2402.07193; 2307.00144",
    _start(U=[[0.9, 0.2], [-0.3, 0.7], [0.4, 0.5]], W=[[0.5, 0.1, -0.2, 0.3], [0.2, 0.6, 0.1, -0.1]]),
    SGD(0.01),
    100.0,
)

LIBRARY: Mapping[str, Entry] = {
    "rescaling": Entry(
        rescaling,
        "(u w x - y)^2",
        "u -> c u, w -> w/c",
        "u^2 - w^2",
        1,
        "convergent",
        "arXiv 2308.06671; 2402.07193",
        _start(u=1.2, w=0.6),
        SGD(0.01),
        50.0,
    ),
    "scalar-chain": Entry(
        scalar_chain,
        "(u_1 u_2 u_3 x - y)^2",
        "u_i -> c u_i, u_j -> u_j/c",
        "u_i^2 - u_{i+1}^2",
        2,
        "convergent",
        "arXiv 2308.06671",
        _start(u=[1.3, 1.0, 0.7]),
        SGD(0.01),
        50.0,
    ),
    "matrix-factorization": _FACTORS,
    "two-layer-linear": _FACTORS,
    "deep-linear": Entry(
        deep_linear,
        "|W3 W2 W1 x - y|^2",
        "GL(h) at each hidden layer",
        "W_i W_i' - W_{i+1}' W_{i+1}",
        6,
        "convergent",
        "arXiv 1806.00900, theorem 2.2; 2307.00144",
        _start(W1=[[0.9, 0.1, 0.2], [-0.1, 0.8, 0.3]], W2=[[0.8, 0.2], [-0.2, 0.7]], W3=[[0.6, 0.1], [0.2, 0.5]]),
        SGD(0.01),
        100.0,
    ),
    "scale-invariant": Entry(
        scale_invariant,
        "(w x/|w| - y)^2",
        "w -> c w",
        "|w|^2",
        1,
        "divergent",
        "arXiv 2402.07193; 2012.04728",
        _start(w=[0.8, -0.4, 0.5]),
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
        _start(a=[0.9, -0.7], W=[[0.8, 0.3], [-0.2, 0.9]]),
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
        _start(a=[0.9, -0.7], W=[[0.8, 0.3], [-0.2, 0.9]]),
        SGD(0.01),
        50.0,
    ),
    "two-layer-relu": Entry(
        two_layer_relu,
        "(a relu(W x + b) - y)^2",
        "(W_i, b_i) -> c (W_i, b_i), a_i -> a_i/c, c > 0",
        "|W_i|^2 + b_i^2 - a_i^2",
        2,
        "convergent",
        "arXiv 1806.00900, theorem 2.1; 2012.04728",
        _start(W=[[0.9, 0.2], [-0.8, 0.1]], b=[0.1, 0.2], a=[0.6, 0.5]),
        SGD(0.01),
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
        _start(W=[[0.7, 0.2], [-0.4, 0.5]], a=[0.8, -0.3]),
        SGD(0.01),
        50.0,
    ),
    "softmax-regression": Entry(
        softmax_regression,
        "log sum exp(W x + b) - y (W x + b)",
        "W_k -> W_k + v, b_k -> b_k + c",
        "sum_k W_kj; sum_k b_k",
        3,
        "frozen",
        "arXiv 2012.04728",
        _start(W=[[0.3, -0.1], [0.0, 0.2], [-0.2, 0.1]], b=[0.1, 0.0, -0.2]),
        SGD(0.05),
        50.0,
    ),
}


def rows() -> list[dict[str, str]]:
    """The table that `noetherflow library` prints: name, loss, symmetry, charges, class, source."""
    return [
        {
            "name": name,
            "loss": e.formula,
            "symmetry": e.symmetry,
            "charges": e.charges,
            "class": e.class_,
            "source": e.source,
        }
        for name, e in LIBRARY.items()
    ]
