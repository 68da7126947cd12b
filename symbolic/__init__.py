"""Exact derivation: losses, symmetries, charges, their noise and equilibria; and the text of the programs that simulate them."""

from symbolic.laws import Bernoulli, Dataset, Moments, Normal, Uniform
from symbolic.loss import Loss, parameters
from symbolic.sgd import SGD

__all__ = ["SGD", "Bernoulli", "Dataset", "Loss", "Moments", "Normal", "Uniform", "parameters"]
