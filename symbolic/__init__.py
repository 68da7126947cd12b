"""Exact derivation: losses, symmetries, charges, their noise and equilibria; and the text of the programs that simulate them."""

from symbolic.laws import Bernoulli, Dataset, Moments, Normal, Uniform
from symbolic.loss import Loss, parameters
from symbolic.sde import SDE
from symbolic.sgd import SGD
from symbolic.theory import Theory, derive

__all__ = [
    "SDE",
    "SGD",
    "Bernoulli",
    "Dataset",
    "Loss",
    "Moments",
    "Normal",
    "Theory",
    "Uniform",
    "derive",
    "parameters",
]
