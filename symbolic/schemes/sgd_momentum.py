"""Heavy-ball SGD in PyTorch's form, v <- beta v + g, theta <- theta - eta v (Polyak 1964)."""

from typing import Any

from symbolic.schemes.scheme import NO_ORDER, Scheme


def step(loss: Any, x: Any, v: Any, beta: Any, t: Any, eta: Any, minibatch: Any) -> Any:
    velocity = beta * v - loss.increment(x, t, 1, minibatch)
    return x - eta * velocity, velocity


SCHEME = Scheme(
    name="sgd-momentum",
    calculus="discrete",
    noise="minibatch",
    strong=NO_ORDER,
    weak=NO_ORDER,
    reference="PyTorch torch.optim.SGD",
    step=step,
    steps_losses=True,
    position=14,
)
