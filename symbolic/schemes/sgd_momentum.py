"""Heavy-ball SGD in PyTorch's form, v <- beta v + g, theta <- theta - eta v (Polyak 1964)."""

from typing import Any

NAME, CALCULUS, NOISE, STRONG, WEAK = "sgd-momentum", "discrete", "minibatch", "-", "-"
REFERENCE = "PyTorch torch.optim.SGD"


def step(loss: Any, x: Any, v: Any, beta: Any, t: Any, eta: Any, minibatch: Any) -> Any:
    velocity = beta * v - loss.increment(x, t, 1, minibatch)
    return x - eta * velocity, velocity
