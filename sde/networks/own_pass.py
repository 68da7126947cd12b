"""Which passes through a watched model are its training's own: all others are left alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Hook:
    """A hook of the model that it was put on: copies and pickles of the model carry one that does nothing. failed: told
    what went wrong, as no hook may raise into the user's pass."""

    def __init__(self, call: Callable[..., object], failed: Callable[[Exception], object] | None = None) -> None:
        self._call, self._failed = call, failed

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        try:
            self._call(*args, **kwargs)
        except Exception as error:
            if self._failed is None:
                raise
            self._failed(error)

    def __reduce__(self) -> tuple[type[Hook], tuple[Callable[..., object]]]:
        return Hook, (_nothing,)


def _nothing(*_: Any, **__: Any) -> None:
    """What a copy's hook does."""


def transformed() -> bool:
    """Whether torch.func (vmap, grad, jvp) runs the model: its tensors have no numbers of their own."""
    level = getattr(getattr(torch._C, "_functorch", None), "maybe_current_level", None)
    return level is not None and level() is not None


def own_tensors(holders: Iterable[tuple[nn.Module, str, Tensor]]) -> bool:
    """Whether modules hold the tensors (by name) that they are known to: functional_call and copies put in others."""
    return all(module._parameters.get(name) is tensor for module, name, tensor in holders)


def tensors_in(found: Any) -> list[Tensor]:
    """Those of nested tuples, lists and mappings."""
    if isinstance(found, Tensor):
        return [found]
    values = found.values() if isinstance(found, Mapping) else found if isinstance(found, (tuple, list)) else ()
    return [t for v in values for t in tensors_in(v)]


class Accumulated:
    """Whether a backward pass adds to .grad, as a training's own does and torch.autograd.grad does not."""

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self._before = [(p, p.grad, self._version(p)) for p in parameters]

    @staticmethod
    def _version(p: Tensor) -> int:
        return -1 if p.grad is None else p.grad._version

    def __bool__(self) -> bool:
        return any(p.grad is not grad or self._version(p) != version for p, grad, version in self._before)

    def cleared(self) -> bool:
        """Whether the gradients that were there are gone, or zero: no step takes what they were made of."""
        there = [(p, grad, version) for p, grad, version in self._before if grad is not None]
        return bool(there) and all(
            p.grad is None or ((self._version(p) != version or p.grad is not grad) and not bool(p.grad.any()))
            for p, grad, version in there
        )


class Caller:
    """The thread that trains: known from its first step on."""

    def __init__(self) -> None:
        self._thread: int | None = None

    def steps(self) -> None:
        """Note that a step is taken by the thread that calls."""
        self._thread = threading.get_ident()

    def is_here(self) -> bool:
        """Whether this thread may be the one."""
        return self._thread in (None, threading.get_ident())
