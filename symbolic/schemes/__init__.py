"""One-step stochastic maps, one formula a file, and the table of them.

A new scheme is a file in this folder with a `SCHEME`.
"""

from symbolic.schemes.array_step import ArrayStep, array_step
from symbolic.schemes.choice import check_pairing, find, fitting, for_step, orders, require_scheme, within_domain
from symbolic.schemes.exponential_coupled import couplings
from symbolic.schemes.exponential_coupled import exact as exact_in_distribution
from symbolic.schemes.one_step import SIZE, beta, size, step_map
from symbolic.schemes.scheme import Scheme
from symbolic.schemes.table import SCHEMES

__all__ = [
    "SCHEMES",
    "SIZE",
    "ArrayStep",
    "Scheme",
    "array_step",
    "beta",
    "check_pairing",
    "couplings",
    "exact_in_distribution",
    "find",
    "fitting",
    "for_step",
    "orders",
    "require_scheme",
    "size",
    "step_map",
    "within_domain",
]
