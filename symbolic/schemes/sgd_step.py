"""Stochastic gradient descent: Euler's step with dt = eta, its noise a minibatch (Robbins and Monro 1951)."""

from typing import Any

from symbolic.schemes.scheme import NO_ORDER, Scheme


def step(loss: Any, x: Any, t: Any, eta: Any, minibatch: Any) -> Any:
    return x + loss.increment(x, t, eta, minibatch)


SCHEME = Scheme(
    name="sgd",
    calculus="discrete",
    noise="minibatch",
    strong=NO_ORDER,
    weak=NO_ORDER,
    reference="PyTorch torch.optim.SGD",
    step=step,
    steps_losses=True,
    position=13,
)
