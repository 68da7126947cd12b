"""SGD with Nesterov's momentum in PyTorch's form, v <- beta v + g, theta <- theta - eta (g + beta v)."""

from typing import Any

from symbolic.schemes.scheme import NO_ORDER, Scheme


def step(loss: Any, x: Any, v: Any, beta: Any, t: Any, eta: Any, minibatch: Any) -> Any:
    gradient = -loss.increment(x, t, 1, minibatch)
    velocity = beta * v + gradient
    return x - eta * (gradient + beta * velocity), velocity


SCHEME = Scheme(
    name="sgd-nesterov",
    calculus="discrete",
    noise="minibatch",
    strong=NO_ORDER,
    weak=NO_ORDER,
    reference="PyTorch torch.optim.SGD",
    step=step,
    steps_losses=True,
    position=15,
)
