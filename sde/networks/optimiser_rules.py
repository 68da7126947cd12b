"""What an optimiser does to a tensor in one step, read off its settings, and who cannot be watched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from symbolic.errors import InputError

BUFFER = "momentum_buffer"
SHARDED = ("DTensor", "ShardedTensor", "FlatParameter")


@dataclass(frozen=True)
class Rule:
    """v' = momentum v + (1 - dampening) h, h = g + decay theta, theta' = theta - lr u, u = v' or h + momentum v'
    (nesterov); decoupled: h = g, theta' = (1 - lr decay) theta - lr u. buffered: v' is kept by the optimiser; sign: of
    g; still: nothing moves, for want of a gradient.
    """

    lr: float
    momentum: float = 0.0
    dampening: float = 0.0
    decay: float = 0.0
    nesterov: bool = False
    sign: float = 1.0
    decoupled: bool = False
    buffered: bool = False
    still: bool = False

    @property
    def shrink(self) -> float:
        """rho of theta' = rho theta - lr u."""
        return 1 - self.lr * self.decay if self.decoupled else 1.0

    @property
    def coupled(self) -> float:
        """The decay that enters the momentum."""
        return 0.0 if self.decoupled else self.decay

    @property
    def noise_factor(self) -> float:
        """What momentum makes of lr^2 Tr[Cov A] in the mean drift of a charge: docs/theory.md eq. (11.6)."""
        return ((1 - self.dampening) / (1 - self.momentum)) ** 2


STILL = Rule(0.0, momentum=1.0, dampening=1.0, still=True)


def rule_of(group: Mapping[str, Any], decoupled: bool, fresh: bool) -> Rule:
    """The rule of a parameter group. fresh: no momentum has been gathered yet: torch's first step is undamped."""
    momentum = float(group.get("momentum", 0.0))
    return Rule(
        lr=float(group["lr"]),
        momentum=momentum,
        dampening=float(group.get("dampening", 0.0)) if momentum and not fresh else 0.0,
        decay=float(group.get("weight_decay", 0.0)),
        nesterov=bool(group.get("nesterov", False)) and momentum != 0,
        sign=-1.0 if group.get("maximize", False) else 1.0,
        decoupled=decoupled,
        buffered=momentum != 0,
    )


def follows(
    rule: Rule, before: Tensor, gradient: Tensor, buffers: tuple[Tensor | None, Tensor | None], after: Tensor
) -> bool:
    """Whether a step was that of the rule, to rounding; buffers: of the momentum, before and after."""
    h = rule.sign * gradient + rule.coupled * before
    first, last = buffers
    v = h if first is None or not rule.momentum else rule.momentum * first + (1 - rule.dampening) * h
    u = h + rule.momentum * v if rule.nesterov else v
    pairs = [(after, rule.shrink * before - rule.lr * u)] + ([(last, v)] if last is not None else [])
    return all(_near(found, wanted) for found, wanted in pairs)


def _near(found: Tensor, wanted: Tensor) -> bool:
    return bool((found - wanted).abs().max() <= 16 * torch.finfo(found.dtype).eps * found.abs().max())


def inner(optimizer: Any) -> Optimizer:
    """The optimiser that a trainer library has wrapped. Raises InputError for anything else."""
    found = optimizer
    while isinstance(getattr(found, "optimizer", None), Optimizer):
        found = found.optimizer
    if not isinstance(found, Optimizer):
        raise InputError.of("watch.optimizer", "must be a torch.optim.Optimizer", optimizer, "Give the one that steps.")
    return found


def groups_of(optimizer: Optimizer) -> dict[int, dict[str, Any]]:
    """The parameter group of every tensor, by its id."""
    return {id(p): group for group in optimizer.param_groups for p in group["params"]}


def settings_of(optimizer: Optimizer) -> dict[str, float]:
    """The numbers among the settings of its parameter groups, as attributes of a data set."""
    found: dict[str, float] = {}
    for i, group in enumerate(optimizer.param_groups):
        told = {k: v for k, v in group.items() if isinstance(v, (int, float))}
        found |= {f"group_{i}_{k}": int(v) if isinstance(v, bool) else v for k, v in told.items()}
    return found


def refuse_what_cannot_be_watched(parameters: Mapping[str, Tensor]) -> None:
    """Raise InputError for parameters whose steps or gradients no hook on the optimiser sees whole."""
    for name, p in parameters.items():
        kinds = {t.__name__ for t in type(p).__mro__}
        if found := kinds & set(SHARDED) or ({"a shard"} if hasattr(p, "_local_tensor") else set()):
            why = "holds a part of its tensor on each process, so that no process sees a charge whole"
            raise InputError(
                f"watch.model: {name} is sharded ({', '.join(sorted(found))}): it {why}. Watch it unsharded, on one."
            )
        if getattr(p, "_post_accumulate_grad_hooks", None):
            raise InputError(
                f"watch.model: {name} has a hook that runs when its gradient is accumulated, as an optimiser in the"
                " backward pass has: no step of the optimiser sees all tensors of a charge. Step after the pass."
            )
        if getattr(p, "_backward_hooks", None):
            raise InputError(
                f"watch.model: {name} has a hook that may change its gradient, as clipping per parameter does:"
                " what is left is no gradient of a symmetric loss. Clip by the global norm, or take the hook off."
            )
