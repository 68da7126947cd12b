"""Linear networks: products of matrices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from symbolic.library._shared import Entry, array, fall, frame, squares, start
from symbolic.problem.distributions import Normal
from symbolic.problem.loss import Loss
from symbolic.problem.optimizer import SGD
from symbolic.problem.parameter import entries


def matrix_factorization(dy: int = 3, h: int = 2, dx: int = 4) -> Loss:
    """|U W x - y|^2, the two-layer linear network: U dy x h, W h x dx, y = V x + e with V fixed, of rank h.

    x ~ N(0, diag) with standard deviations falling from 6/5 to 3/5, label noise e from 4/5 to 3/10: both anisotropic.
    Symmetry: U -> U G^-1, W -> G W with G in GL(h). Charges: the h(h+1)/2 entries of U'U - W W'; equilibrium U'Gamma_U
    U = W Gamma_W W': convergent. Source: [S], [M].
    """
    U, W, x, e = entries("U", (dy, h)), entries("W", (h, dx)), entries("x", (dx,)), entries("e", (dy,))
    V = frame(dy, h) @ frame(h, dx) / 2
    data = {
        array(x): Normal(0, fall(dx, 12, 6)),
        array(e): Normal(0, fall(dy, 8, 3)),
    }
    return Loss(squares(U @ (W @ x) - V @ x - e), {"U": U, "W": W}, data, name="matrix-factorization")


two_layer_linear = matrix_factorization


def deep_linear(widths: Sequence[int] = (3, 2, 2, 2)) -> Loss:
    """|W_L ... W_1 x - y|^2, widths from input to output, y = V x + e with V fixed, of the smallest width's rank.

    Symmetry: GL(h) at every hidden layer. Charges W_i W_i' - W_{i+1}' W_{i+1}, entry by entry: convergent. Source: [D]
    theorem 2.2, [M].
    """
    sizes = list(widths)
    layers = {f"W{k + 1}": entries(f"W{k + 1}", (sizes[k + 1], sizes[k])) for k in range(len(sizes) - 1)}
    x, e, rank = entries("x", (sizes[0],)), entries("e", (sizes[-1],)), min(sizes)
    V = frame(sizes[-1], rank) @ frame(rank, sizes[0]) / 2
    out = x
    for layer in layers.values():
        out = layer @ out
    data = {
        array(x): Normal(0, fall(sizes[0], 12, 8)),
        array(e): Normal(0, fall(sizes[-1], 8, 4)),
    }
    return Loss(squares(out - V @ x - e), layers, data, name="deep-linear")


_FACTORS = Entry(
    matrix_factorization,
    "|U W x - y|^2",
    "U -> U G^-1, W -> G W, G in GL(h)",
    "U'U - W W'",
    3,
    "convergent",
    "arXiv 2402.07193; 2307.00144",
    start(U=[[0.9, 0.2], [-0.3, 0.7], [0.4, 0.5]], W=[[0.5, 0.1, -0.2, 0.3], [0.2, 0.6, 0.1, -0.1]]),
    SGD(0.01),
    100.0,
)

ENTRIES: Mapping[str, Entry] = {
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
        start(W1=[[0.9, 0.1, 0.2], [-0.1, 0.8, 0.3]], W2=[[0.8, 0.2], [-0.2, 0.7]], W3=[[0.6, 0.1], [0.2, 0.5]]),
        SGD(0.01),
        100.0,
    ),
}
