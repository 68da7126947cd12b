"""Ensembles of SGD and of its SDE, compiled, and the verification of a derived theory against them."""

from sde.study import convergence, expectation, resume, simulate, train, verify
from symbolic.sde import SDE
from symbolic.sgd import SGD

__all__ = ["SDE", "SGD", "convergence", "expectation", "resume", "simulate", "train", "verify"]
