"""The samples of a step that the user's own loop makes: their gradients' second moments, from its own backward pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sde.networks.layer_capture import LayerCapture
from sde.networks.layer_gradients import Gradient, ties_samples
from sde.networks.sample_products import Direction, add_products
from sde.networks.slice_products import SliceProducts, in_single
from sde.networks.traces import add_crossing, by_vmap


class StepSamples:
    """Gathers while open, over all passes of one step.

    second (products,), float64: products of what each unit gave to the gradient, summed over units: samples, or whole
    passes where a layer ties the samples of each. raw: of each tensor, |gradient|^2 before anything clips it. reason:
    why nothing is known; per tensor in `unknown`.
    """

    def __init__(self, model: nn.Module, parameters: Mapping[str, Tensor], products: SliceProducts) -> None:
        self.model, self.parameters, self.products = model, parameters, products
        self.capture = LayerCapture(model, products.names)
        self.tied = next((path for path, m in model.named_modules() if ties_samples(m)), "")
        self._handles: list[Any] = []
        self._crossing, self._whole_only = products.crossing(), set(self.capture.unread)
        place = {n: (products.tensors == i) for i, n in enumerate(products.names)}
        self._any = {n: torch.as_tensor(m.any(0)) for n, m in place.items()}
        self.is_open = False
        self.forget()

    def forget(self) -> None:
        """What was gathered."""
        self.second = torch.zeros(self.products.size, dtype=torch.float64)
        self.raw: dict[str, float] = {}
        self._squares: dict[str, Tensor] = {}
        self.unknown: set[str] = set()
        self.units = self.samples = self.passes = 0
        self._along: dict[str, tuple[Direction, Tensor, Tensor]] = {}
        self._passes: list[dict[str, Any]] = []
        self._waiting: dict[str, list[Gradient]] = {}

    def open(self) -> None:
        """Attach hooks for the next step."""
        self.forget()
        self.is_open = True
        self._handles.append(self.model.register_forward_hook(self._passed, with_kwargs=True))
        if self.tied:
            for name, p in self.parameters.items():
                self._handles.append(p.register_hook(lambda g, name=name: self._whole(name, g)))
        else:
            self.capture.open()
        for name, p in self.parameters.items():
            self._handles.append(p.register_post_accumulate_grad_hook(lambda p, name=name: self._arrived(name, p)))

    def close(self) -> None:
        """Take all hooks off."""
        self.capture.close()
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._waiting.clear()
        self.is_open = False

    @torch.no_grad()
    def finish(self) -> None:
        """All passes of the step are made, and the step is not: take what single layers could not tell from the whole
        model, and close."""
        self.close()
        done = [p for p in self._passes if "cotangent" in p]
        self.passes, self.samples = len(done), sum(p["samples"] for p in done)
        self.units = self.passes if self.tied else self.samples
        self._read()
        left = set() if self.tied else self._whole_only | self.unknown
        if self.tied:
            self.unknown |= self._crossing
        elif left & self._crossing:
            left |= self._crossing
        for name in left:
            self.second[self._any[name]] = 0
        if left and self._repeats():
            self.unknown.clear()
            with torch.random.fork_rng(devices=[]):
                for made in done:
                    inputs, targets = made["inputs"], (made["cotangent"],)
                    by_vmap(self.second, self.products, self.model, sorted(left), inputs, targets, _along)
        else:
            self.unknown |= left
        self._whole_only |= left
        self._passes.clear()

    def _read(self) -> None:
        """What was put off until here, in one transfer from the device."""
        put_off = [*self._squares.values(), *(t for _, *pair in self._along.values() for t in pair)]
        if not put_off:
            return
        numbers = torch.stack([t.to(put_off[0].dtype) for t in put_off]).tolist()
        self.raw = dict(zip(self._squares, numbers, strict=False))
        pairs = iter(numbers[len(self._squares) :])
        for name, (along, *_) in self._along.items():
            if not along.agree(next(pairs), next(pairs), self.raw[name]):
                self.unknown.add(name)

    @property
    def reason(self) -> str:
        """Why nothing is known; empty where something is."""
        if self.tied and self.units < 2:
            return f"{self.tied} ties the samples of a batch: its noise needs at least two micro-batches in a step"
        return "" if self.units >= 2 else "no backward pass of at least two samples was seen"

    def _repeats(self) -> bool:
        """Whether the model can be run again on what came in, sample by sample."""
        random = any(isinstance(m, nn.modules.dropout._DropoutNd) and m.training and m.p for m in self.model.modules())
        return not random and all("inputs" in p for p in self._passes if "cotangent" in p)

    def _passed(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        if not torch.is_grad_enabled():
            return
        tensors = [t for t in (*args, *kwargs.values()) if isinstance(t, Tensor) and t.ndim]
        made: dict[str, Any] = {"samples": tensors[0].shape[0] if tensors else 0}
        left = next((t for t in _tensors(out) if t.requires_grad), None)
        if left is None:
            return
        needs_inputs = bool(self._whole_only or self._crossing) and not self.tied
        if needs_inputs and not kwargs and len(tensors) == len(args) and isinstance(out, Tensor):
            made["inputs"] = tuple(t.detach() for t in args)
        self._passes.append(made)

        def keep(gradient: Tensor) -> None:
            made["cotangent"] = gradient.detach() if "inputs" in made else None

        left.register_hook(keep)

    def _whole(self, name: str, gradient: Tensor) -> None:
        with torch.no_grad():
            self.products.add_own(self.second, name, in_single(gradient)[None])

    def _arrived(self, name: str, p: Tensor) -> None:
        with torch.no_grad():
            if p.grad is None:
                return
            g = in_single(p.grad.to_dense() if p.grad.is_sparse else p.grad)
            along = Direction.of(g)
            self._squares[name], seen = along.square_and_whole(g)
            if self.tied or name in self._whole_only or name in self.unknown:
                return
            try:
                uses = self.capture.taken(name)
                found = add_products(self.second, self.products, name, tuple(p.shape), uses, along)
                if name in self._crossing:
                    self._cross(name, uses)
            except ValueError:
                self.unknown.add(name)
                return
            if name in self._along:
                found = found + self._along[name][1]
            self._along[name] = (along, found, seen)

    def _cross(self, name: str, uses: list[Gradient]) -> None:
        """Products with another tensor's slices, once both are there."""
        self._waiting[name] = uses
        if self._crossing <= self._waiting.keys():
            add_crossing(self.second, self.products, self._waiting, self.parameters)
            self._waiting.clear()


def _tensors(out: Any) -> list[Tensor]:
    if isinstance(out, Tensor):
        return [out]
    values = out.values() if isinstance(out, Mapping) else out if isinstance(out, (tuple, list)) else ()
    return [t for v in values for t in _tensors(v)]


def _along(out: Tensor, cotangent: Tensor) -> Tensor:
    return (out * cotangent).sum()
