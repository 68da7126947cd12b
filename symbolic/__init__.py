"""Exact derivation: losses, symmetries, charges, their noise and equilibria; and the text of the programs that simulate them."""

from symbolic.drift import LEARNING_RATE as eta
from symbolic.drift import TEMPERATURE as T
from symbolic.drift import WEIGHT_DECAY as lambda_wd
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
    "T",
    "Theory",
    "Uniform",
    "derive",
    "eta",
    "lambda_wd",
    "parameters",
]
