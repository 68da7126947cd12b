"""Products of parameters: scalar factors, diagonal networks, tensor factorisations, products of norms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import sympy as sp

from symbolic.library._shared import Entry, array, fall, frame, squares, start
from symbolic.problem.distributions import Normal
from symbolic.problem.loss import Loss
from symbolic.problem.optimizer import SGD
from symbolic.problem.parameter import entries


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
    data = {x: Normal(0, 1), e: Normal(0, sp.Rational(1, 2))}
    return Loss((sp.Mul(*u, x) - x - e) ** 2, {"u": u}, data, name="scalar-chain")


def diagonal_network(inputs: int = 3) -> Loss:
    """(w x - y)^2 with w = u u - v v entry by entry, y = t x + N(0, 1/4) with t fixed, falling from 1 to 0.

    Symmetry: hyperbolic rotations of each pair, (u_i, v_i) -> (u_i cosh s + v_i sinh s, u_i sinh s + v_i cosh s).
    Charges 2 u_i v_i, one per input: convergent. Source: Woodworth et al., "Kernel and Rich Regimes in Overparametrized
    Models" (2002.09277).
    """
    u, v, x = entries("u", (inputs,)), entries("v", (inputs,)), entries("x", (inputs,))
    e = sp.Symbol("e", real=True)
    data = {array(x): Normal(0, fall(inputs, 12, 8)), e: Normal(0, sp.Rational(1, 2))}
    residual = (u * u - v * v) @ x - fall(inputs, 10, 0) @ x - e
    return Loss(residual**2, {"u": u, "v": v}, data, name="diagonal-network")


def _contract(tensor: np.ndarray, factors: Sequence[np.ndarray]) -> np.ndarray:
    """Every mode k of a tensor multiplied by factors[k] (n_k x r_k)."""
    for factor in factors:
        tensor = np.tensordot(tensor, factor, axes=(0, 1))
    return tensor


def _diagonal(order: int, rank: int) -> np.ndarray:
    """The core of a CP factorisation: 1 where all indices agree."""
    core = np.full((rank,) * order, sp.S.Zero, dtype=object)
    core[(np.arange(rank),) * order] = sp.S.One
    return core


def _noisy_tensor(name: str, model: np.ndarray, target: np.ndarray, parameters: Mapping[str, np.ndarray]) -> Loss:
    e = entries("e", (model.size,))
    data = {array(e): Normal(0, fall(model.size, 8, 3))}
    return Loss(squares(model.ravel() - target.ravel() - e), parameters, data, name=name)


def cp_factorization(shape: Sequence[int] = (2, 2, 2), rank: int = 2) -> Loss:
    """sum_ijk (sum_r A_ir B_jr C_kr - y_ijk)^2, and so on for any order: a sum of `rank` outer products, factors A, B,
    C, ...

    y = a fixed tensor of that rank + independent noise of standard deviations falling from 4/5 to 3/10. Symmetry:
    rescaling between the factors of one component r. Charges |A_r|^2 - |B_r|^2, |B_r|^2 - |C_r|^2, ... (columns):
    convergent. Source: Razin, Maman, Cohen, "Implicit Regularization in Tensor Factorization" (2102.09972).
    """
    names = [chr(ord("A") + k) for k in range(len(shape))]
    factors = {s: entries(s, (n, rank)) for s, n in zip(names, shape, strict=True)}
    core = _diagonal(len(shape), rank)
    target = _contract(core, [frame(n, rank) for n in shape])
    return _noisy_tensor("cp-factorization", _contract(core, list(factors.values())), target, factors)


def tucker_factorization(shape: Sequence[int] = (2, 2, 2), ranks: Sequence[int] = (2, 2, 2)) -> Loss:
    """sum_ijk (sum_abc G_abc A_ia B_jb C_kc - y_ijk)^2, and so on for any order: a core G of shape `ranks` and a factor
    per mode.

    y = a fixed tensor + noise as in `cp_factorization`. Symmetry: GL(r_k) at every mode, A -> A g^-1, G -> G times g at
    that mode. Charges A'A - G_1 G_1', with G_k the core unfolded along mode k, r_k (r_k + 1)/2 for every mode:
    convergent. Source: Kolda, Bader, "Tensor Decompositions and Applications" (SIAM Review 51, 2009), section 4; the
    charges as in [M].
    """
    names = [chr(ord("A") + k) for k in range(len(shape))]
    factors = {s: entries(s, (n, r)) for s, n, r in zip(names, shape, ranks, strict=True)}
    G = entries("G", ranks)
    target = _contract(_diagonal(len(shape), min(ranks)), [frame(n, min(ranks)) for n in shape])
    model = _contract(G, list(factors.values()))
    return _noisy_tensor("tucker-factorization", model, target, {"G": G, **factors})


def product_of_norms(first: int = 2, second: int = 3) -> Loss:
    """(|u| |w| x - y)^2 with x ~ N(0, 1), y = x + N(0, 1/4): u and w have `first` and `second` entries.

    Symmetry: u -> c u, w -> w/c, and rotations of u and of w, which have no charge. Charge |u|^2 - |w|^2: convergent.
    The directions u/|u| and w/|w| are conserved as well, by no affine symmetry: more laws than charges. Source: [B],
    with norms for the scalar factors.
    """
    u, w = entries("u", (first,)), entries("w", (second,))
    x, e = sp.symbols("x e", real=True)
    data = {x: Normal(0, 1), e: Normal(0, sp.Rational(1, 2))}
    residual = sp.sqrt(squares(u)) * sp.sqrt(squares(w)) * x - x - e
    return Loss(residual**2, {"u": u, "w": w}, data, name="product-of-norms")


ENTRIES: Mapping[str, Entry] = {
    "rescaling": Entry(
        rescaling,
        "(u w x - y)^2",
        "u -> c u, w -> w/c",
        "u^2 - w^2",
        1,
        "convergent",
        "arXiv 2308.06671; 2402.07193",
        start(u=1.2, w=0.6),
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
        start(u=[1.3, 1.0, 0.7]),
        SGD(0.01),
        50.0,
    ),
    "diagonal-network": Entry(
        diagonal_network,
        "((u u - v v) x - y)^2",
        "hyperbolic rotation of (u_i, v_i)",
        "u_i v_i",
        3,
        "convergent",
        "arXiv 2002.09277",
        start(u=[1.1, 0.9, 0.6], v=[0.6, 0.5, 0.4]),
        SGD(0.01),
        50.0,
    ),
    "cp-factorization": Entry(
        cp_factorization,
        "|sum_r A_r x B_r x C_r - y|^2",
        "A_r -> c A_r, B_r -> B_r/c, per r",
        "|A_r|^2 - |B_r|^2; |B_r|^2 - |C_r|^2",
        4,
        "convergent",
        "arXiv 2102.09972",
        start(A=[[1.2, 0.3], [0.4, -0.9]], B=[[0.8, 0.2], [0.3, -0.8]], C=[[0.6, -0.2], [0.3, 0.7]]),
        SGD(0.01),
        50.0,
    ),
    "tucker-factorization": Entry(
        tucker_factorization,
        "|G (A, B, C) - y|^2",
        "A -> A g^-1, G -> g G, g in GL(r), per mode",
        "A'A - G_1 G_1'; B, C alike",
        9,
        "convergent",
        "SIAM Rev. 51, 455; arXiv 2307.00144",
        start(
            G=[[[0.9, 0.2], [0.1, -0.2]], [[0.1, 0.2], [-0.3, 0.8]]],
            A=[[1.1, 0.3], [0.4, -0.9]],
            B=[[0.9, 0.2], [0.3, -0.8]],
            C=[[0.7, -0.2], [0.3, 0.7]],
        ),
        SGD(0.01),
        50.0,
    ),
    "product-of-norms": Entry(
        product_of_norms,
        "(|u| |w| x - y)^2",
        "u -> c u, w -> w/c; rotations of u, of w",
        "|u|^2 - |w|^2",
        1,
        "convergent",
        "arXiv 2308.06671",
        start(u=[1.0, 0.6], w=[0.5, -0.4, 0.3]),
        SGD(0.01),
        50.0,
    ),
}
