"""Named losses with known symmetries: one function per loss, a file per family, and one table of what is known about
each.

Sources: [S] Ziyin, Wang, Wu, "The Implicit Bias of Gradient Noise: A Symmetry Perspective" (arXiv 2402.07193 v1; v3,
NeurIPS 2024: "Parameter Symmetry and Noise Equilibrium of SGD"); [B] Ziyin, Li, Ueda, "Law of Balance and Stationary
Distribution of SGD" (2308.06671); [K] Kunin et al., "Neural Mechanics" (2012.04728); [M] Marcotte, Gribonval, Peyre,
"Abide by the Law and Follow the Flow" (2307.00144); [D] Du, Hu, Lee, "Algorithmic Regularization in Learning Deep
Homogeneous Models" (1806.00900). Sums of squares stay unexpanded: the emitter of gradients lives from that structure.
"""

from symbolic.library.attention import gated_mixture, single_head_attention, softmax_regression
from symbolic.library.blocks import residual_relu, swiglu
from symbolic.library.linear import deep_linear, matrix_factorization, two_layer_linear
from symbolic.library.networks import (
    separable_tanh,
    two_layer_gelu,
    two_layer_leaky_relu,
    two_layer_quadratic,
    two_layer_relu,
    two_layer_silu,
    two_layer_tanh,
)
from symbolic.library.normalised import net_a, net_b, radial, scale_invariant, weight_norm
from symbolic.library.products import (
    cp_factorization,
    diagonal_network,
    product_of_norms,
    rescaling,
    scalar_chain,
    tucker_factorization,
)
from symbolic.library.table import LIBRARY, Entry, rows

__all__ = [
    "LIBRARY",
    "Entry",
    "cp_factorization",
    "deep_linear",
    "diagonal_network",
    "gated_mixture",
    "matrix_factorization",
    "net_a",
    "net_b",
    "product_of_norms",
    "radial",
    "rescaling",
    "residual_relu",
    "rows",
    "scalar_chain",
    "scale_invariant",
    "separable_tanh",
    "single_head_attention",
    "softmax_regression",
    "swiglu",
    "tucker_factorization",
    "two_layer_gelu",
    "two_layer_leaky_relu",
    "two_layer_linear",
    "two_layer_quadratic",
    "two_layer_relu",
    "two_layer_silu",
    "two_layer_tanh",
    "weight_norm",
]
