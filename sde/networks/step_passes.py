"""The passes whose gradients a step takes: how many samples, in what precision, and whether their gradients reach the
optimiser as they were made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Variable

from sde.networks.own_pass import Accumulated, Hook, tensors_in, transformed
from sde.networks.slice_products import SHORT

SCALED = (
    "gradients were changed between their backward pass and the step, as clipping does: a probe's forecast is of those"
    " that are not, and none is made where they were"
)
SAME = 1e-4
"""Relative difference of two sizes of a gradient that is rounding."""
MOST = 256
"""Steps whose ratios may wait."""


class StepPasses:
    """While open, follows the passes through a model up to each step.

    eps: of the least precise numbers that a pass was seen to compute with (autocast); 0 where none was. samples: of the
    passes that went back into the parameters' .grad since these were last cleared, where `counted`.
    """

    def __init__(self, model: nn.Module, parameters: Mapping[str, Tensor], *, counted: bool) -> None:
        self.counted, self._parameters = counted, list(parameters.values())
        self.eps, self.samples = 0.0, 0
        self._under_way: list[int] = []
        self._begun: Accumulated | None = None
        self._last: Accumulated | None = None
        self._made: Tensor | None = None
        self._ratios: list[Tensor] = []
        self._changed = False
        self._handle = model.register_forward_hook(Hook(self._passed, self._failed), with_kwargs=True)

    def remove(self) -> None:
        """Take the hook off."""
        self._handle.remove()

    def begin(self) -> None:
        """A new window."""
        self.eps, self._changed = 0.0, False
        self._ratios.clear()

    def ready(self) -> None:
        """The gradients of a step are there, and it is not taken."""
        if self._made is not None:
            self._ratios.append(torch.where(self._made > 0, self._sizes() / self._made, torch.nan))
        if len(self._ratios) == MOST:
            self._compare()

    @property
    def changed(self) -> bool:
        """Whether gradients came to a step otherwise than their passes had left them, but for a loss scale; since
        `begin`."""
        self._compare()
        return self._changed

    def _compare(self) -> None:
        """In one transfer from the device."""
        for row in torch.stack(self._ratios).tolist() if self._ratios else ():
            ratios = [r for r in row if r == r]
            self._changed |= bool(ratios) and not (_equal(ratios) and _power_of_two(ratios[0]))
        self._ratios.clear()

    def taken(self) -> int:
        """The samples of a step that was taken; the next begins."""
        samples, self.samples = self.samples, 0
        self._made, self._last = None, None
        return samples

    def _failed(self, error: Exception) -> None:
        """Nothing is known of this step's passes."""
        self.samples, self._made = 0, None

    def _passed(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        if not torch.is_grad_enabled() or transformed():
            return
        left = [t for t in tensors_in(out) if t.requires_grad]
        self.eps = max([self.eps, *_precisions(left)])
        if not self.counted or not left:
            return
        entered = [t for t in (*tensors_in(args), *tensors_in(kwargs)) if t.ndim]
        samples, met = entered[0].shape[0] if entered else 0, []

        def back(_: Tensor) -> None:
            if not met:
                met.append(samples)
                self._goes_back(samples)

        for tensor in left:
            tensor.register_hook(Hook(back, self._failed))

    def _goes_back(self, samples: int) -> None:
        self._under_way.append(samples)
        if len(self._under_way) == 1:
            self._begun = Accumulated(self._parameters)
            if self._last is not None and self._last.cleared():
                self.samples = 0
            Variable._execution_engine.queue_callback(Hook(self._went_back, self._failed))

    def _went_back(self) -> None:
        passes, self._under_way = self._under_way, []
        if self._begun:
            self.samples += sum(passes)
            self._last, self._made = Accumulated(self._parameters), self._sizes()

    @torch.no_grad()
    def _sizes(self) -> Tensor:
        """Norms of the gradients, one tensor after another; of those that have none, 0."""
        found = [
            torch.zeros((), device=p.device) if p.grad is None else p.grad.float().norm() for p in self._parameters
        ]
        return torch.stack(found).double()


def _precisions(left: Sequence[Tensor]) -> Iterator[float]:
    for tensor in left:
        kind = tensor.device.type
        if torch.is_autocast_enabled(kind):
            yield torch.finfo(torch.get_autocast_dtype(kind)).eps
        if tensor.dtype in SHORT:
            yield torch.finfo(tensor.dtype).eps


def _equal(ratios: Sequence[float]) -> bool:
    return max(ratios) - min(ratios) <= SAME * max(ratios)


def _power_of_two(ratio: float) -> bool:
    """As loss scales are."""
    mantissa = torch.frexp(torch.tensor(ratio, dtype=torch.float64))[0].item()
    return min(abs(mantissa - 0.5), abs(mantissa - 1.0)) <= SAME
