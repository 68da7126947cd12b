"""What a loss sees of a model's outputs: the function whose every cotangent can occur."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from symbolic.errors import InputError

_ALL = {"mse", "l1", "huber", "bce"}
_SHIFTED = {"cross_entropy"}
_MODULES = {
    nn.MSELoss: "mse",
    nn.L1Loss: "l1",
    nn.HuberLoss: "huber",
    nn.SmoothL1Loss: "huber",
    nn.BCEWithLogitsLoss: "bce",
    nn.BCELoss: "bce",
    nn.NLLLoss: "mse",
    nn.CrossEntropyLoss: "cross_entropy",
}
_FUNCTIONS = {
    F.mse_loss: "mse",
    F.l1_loss: "l1",
    F.huber_loss: "huber",
    F.smooth_l1_loss: "huber",
    F.binary_cross_entropy_with_logits: "bce",
    F.binary_cross_entropy: "bce",
    F.nll_loss: "mse",
    F.cross_entropy: "cross_entropy",
}


def output_map(loss: Any) -> Callable[[Any], list[Tensor]]:
    """Outputs -> the tensors f through which every loss of this kind depends on them.

    Cross-entropy, with label smoothing or class weights too, does not see a shift of the logits: f is their
    log-softmax, over the last axis of (batch, classes) and (batch, sequence, classes), else over axis 1. Of all others
    named here any cotangent of the outputs can occur: f is the outputs. A function of the outputs is f itself.
    """
    word = loss
    if isinstance(loss, nn.Module):
        word = _MODULES.get(type(loss), loss)
    elif callable(loss):
        word = _FUNCTIONS.get(loss, loss)
    if word is None or (isinstance(word, str) and word in _ALL):
        return lambda outputs: list(tensors_in(outputs))
    if isinstance(word, str) and word in _SHIFTED:
        return lambda outputs: [_log_softmax(o) for o in tensors_in(outputs)]
    if callable(word):
        _refuse_targets(word)
        return lambda outputs: list(tensors_in(word(outputs)))
    raise InputError.of(
        "loss",
        f"must be one of {', '.join(sorted(_ALL | _SHIFTED))}, such a loss of torch, or a function of the outputs",
        loss,
        "Leave it out where the model returns its loss.",
    )


def _log_softmax(logits: Tensor) -> Tensor:
    return torch.log_softmax(logits, dim=1 if logits.ndim > 3 else -1)


def tensors_in(outputs: Any) -> Iterator[Tensor]:
    """Floating tensors of a nested structure, in order."""
    if isinstance(outputs, Tensor):
        if outputs.is_floating_point():
            yield outputs
    elif isinstance(outputs, Mapping):
        for value in outputs.values():
            yield from tensors_in(value)
    elif isinstance(outputs, (list, tuple)):
        for value in outputs:
            yield from tensors_in(value)
    elif hasattr(outputs, "__dict__"):
        yield from tensors_in(vars(outputs))


def _refuse_targets(loss: Callable[..., Any]) -> None:
    """Raise InputError for a function that needs more than the outputs."""
    try:
        inspect.signature(loss).bind(None)
    except TypeError:
        advice = "Give the word of such a loss, as 'mse', or None: whatever the targets are, they move no symmetry."
        raise InputError.of("loss", "a function must take the outputs alone", loss, advice) from None
    except ValueError:  # a builtin tells no signature
        return
