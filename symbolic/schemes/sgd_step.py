"""Stochastic gradient descent: Euler's step with dt = eta, its noise a minibatch (Robbins and Monro 1951)."""

from typing import Any

NAME, CALCULUS, NOISE, STRONG, WEAK = "sgd", "discrete", "minibatch", "-", "-"
REFERENCE = "PyTorch torch.optim.SGD"


def step(loss: Any, x: Any, t: Any, eta: Any, minibatch: Any) -> Any:
    return x + loss.increment(x, t, eta, minibatch)
