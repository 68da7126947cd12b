"""Noise that is measured where a window begins, on samples that are kept for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from sde.networks.slice_products import SliceProducts
from sde.networks.step_noise import StepNoise
from sde.networks.steps import Steps
from sde.networks.traces import gradient_moments
from symbolic.errors import InputError


class ProbedNoise:
    """Of `probe`, (inputs, *targets), under `loss`, of every sample; redrawn: as for `watch`."""

    def __init__(
        self,
        model: nn.Module,
        probe: Sequence[Any],
        loss: Callable[..., Any],
        products: SliceProducts,
        *,
        redrawn: bool,
    ) -> None:
        self._model, self._probe, self._loss, self._products = model, probe, loss, products
        self._redrawn = redrawn

    def here(self, steps: Steps) -> Callable[[int], StepNoise]:
        """At the parameters as they are: the noise of steps of so many samples. Raises InputError where the model or
        the loss does not take the probe."""
        try:
            with torch.enable_grad(), torch.random.fork_rng(devices=[]):
                moments, mean = gradient_moments(self._model, self._probe, self._loss, self._products)
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            if isinstance(error, InputError):
                raise
            shapes = [tuple(t.shape) if isinstance(t, torch.Tensor) else type(t).__name__ for t in self._probe]
            told = f"{type(error).__name__}: {error}".splitlines()[0]
            advice = "Give (inputs, *targets) of which loss(model(inputs), *targets) is every sample's loss."
            raise InputError.of(
                "watch.probe", f"must be samples of this model and loss ({told})", shapes, advice
            ) from None
        return partial(StepNoise.of_probe, moments, along=steps.along(mean), redrawn=self._redrawn)
