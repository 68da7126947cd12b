"""The steps of an optimiser, each once, whatever calls whatever and whatever fails."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

from torch.optim import Optimizer


class OuterStep:
    """Two hooks on an optimiser.

    ready: called where the gradients of a step are there and it is not taken; taken: after it, told whether its
    gradients were made once. lost: called where a step has failed after `ready`, at the next one or at `settle`. A step
    that calls its base class's is one step: the hooks within it are those of frames that its own frame calls.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        ready: Callable[[], object],
        taken: Callable[[bool], object],
        lost: Callable[[], object],
    ) -> None:
        self._ready, self._taken, self._lost = ready, taken, lost
        self._frame: FrameType | None = None
        self._begun, self._closed = False, 0
        self._handles = [
            optimizer.register_step_pre_hook(self._before),
            optimizer.register_step_post_hook(self._after),
        ]

    def remove(self) -> None:
        """Take the hooks off."""
        for handle in self._handles:
            handle.remove()
        self._frame = None

    def settle(self) -> None:
        """Tell of a step that began and never ended: an error went through it."""
        failed, self._frame = self._frame is not None and self._begun, None
        if failed:
            self._lost()

    def _before(self, optimizer: Optimizer, args: Any, kwargs: Any) -> tuple[Any, Any] | None:
        """Where a closure makes the gradients, the step begins once it has."""
        caller = _caller()
        if self._frame is not None and _within(self._frame, caller):
            return None
        self.settle()
        self._frame, self._begun, self._closed = caller, False, 0
        if (closure := _closure(args, kwargs)) is None:
            self._begin()
            return None

        def made() -> Any:
            loss = closure()
            self._closed += 1
            if self._closed == 1:
                self._begin()
            return loss

        return ((args[0], made, *args[2:]), kwargs) if len(args) > 1 else (args, {**kwargs, "closure": made})

    def _begin(self) -> None:
        self._begun = True
        self._ready()

    def _after(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if self._frame is None or _caller() is not self._frame:
            return
        self._frame = None
        self._taken(_closure(args, kwargs) is None or self._closed == 1)


def _caller() -> FrameType | None:
    """The frame that called the caller of this."""
    here = inspect.currentframe()
    return here.f_back.f_back if here is not None and here.f_back is not None else None


def _within(frame: FrameType, inner: FrameType | None) -> bool:
    """Whether a frame is one of those that `inner` was called from."""
    while inner is not None:
        if inner is frame:
            return True
        inner = inner.f_back
    return False


def _closure(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Callable[[], Any] | None:
    """What a step is given to make its gradients with; args: the optimiser first."""
    return args[1] if len(args) > 1 else kwargs.get("closure")
