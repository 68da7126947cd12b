"""The samples of a step that the user's own loop makes: their gradients' second moments, from its own backward pass."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Variable

from sde.networks.compiled_sums import MatrixTable, OuterTable, sums_on
from sde.networks.layer_capture import LayerCapture
from sde.networks.layer_gradients import Gradient, ties_samples
from sde.networks.own_pass import Accumulated, Caller, Hook, own_tensors, tensors_in, transformed
from sde.networks.sample_products import Direction, add_products
from sde.networks.slice_products import SliceProducts, in_single
from sde.networks.traces import add_crossing, by_vmap


class StepSamples:
    """Gathers while open, over all passes of one step.

    second (products,), float64: products of what each unit gave to the gradient, summed over units: samples, or whole
    passes where a layer ties the samples of each. raw: of each tensor, |gradient|^2 before anything clips it. reason:
    why nothing is known; per tensor in `unknown`. finished: the passes of a step are all made.
    """

    def __init__(self, model: nn.Module, parameters: Mapping[str, Tensor], products: SliceProducts) -> None:
        self.model, self.products = model, products
        self.parameters = {n: parameters[n] for n in products.names}
        self._caller = Caller()
        self.capture = LayerCapture(model, products.names, self._gather, own=self._caller.is_here, failed=self._failed)
        self.tied = next((path for path, m in model.named_modules() if ties_samples(m)), "")
        self._handles: list[Any] = []
        self._crossing, self._whole_only = products.crossing(), set(self.capture.unread)
        place = {n: (products.tensors == i) for i, n in enumerate(products.names)}
        self._any = {n: torch.as_tensor(m.any(0)) for n, m in place.items()}
        self.second = torch.zeros(products.size, dtype=torch.float64)
        self._checks = sums_on(next(iter(parameters.values())).device, len(parameters), 3)
        self._places = {n: (c[0], c[1:]) for n, c in zip(parameters, self._checks, strict=True)}
        self._alongs: dict[str, Direction] = {}
        self._outer, self._matrices = OuterTable(), MatrixTable()
        self.is_open = False
        self._begun: tuple[Accumulated, tuple[Tensor, Tensor, set[str]]]
        self._last: Accumulated | None = None
        self.forget()

    def forget(self) -> None:
        """What was gathered."""
        self._last, self.finished = None, False
        self.second.zero_()
        self._checks.zero_()
        self.raw = [0.0] * len(self.parameters)
        self.unknown: set[str] = set()
        self.units = self.samples = self.passes = 0
        self._failure, self._twice = "", False
        self.capture.elsewhere = ""
        self._under_way: list[dict[str, Any]] = []
        self._passes: list[dict[str, Any]] = []
        self._waiting: dict[str, list[Gradient]] = {}

    def open(self) -> None:
        """Attach hooks for the next step."""
        self.close()
        self.forget()
        self._alongs = {n: Direction.of(p) for n, p in self.parameters.items()}
        self.is_open = True
        self._handles.append(self.model.register_forward_hook(Hook(self._passed, self._failed), with_kwargs=True))
        if self.tied:
            for name, p in self.parameters.items():
                self._handles.append(p.register_hook(Hook(partial(self._whole, name), self._failed)))
        else:
            self.capture.open()

    def close(self) -> None:
        """Take all hooks off."""
        self.finished = False
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
        self._caller.steps()
        self.finished = True
        try:
            if not self.capture.elsewhere:
                self._finish()
        except Exception as error:  # a user's step goes on without what is measured of it
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        """Nothing is known of this step."""
        self._failure = f"noise could not be measured: {type(error).__name__}: {error}".splitlines()[0]
        self._outer, self._matrices = OuterTable(), MatrixTable()

    def _finish(self) -> None:
        done = self._passes
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
        if left and self._repeats() and not self._twice:
            self.unknown.clear()
            with torch.random.fork_rng(devices=[]):
                for made in done:
                    inputs, targets = made["inputs"], (made["cotangent"],)
                    by_vmap(self.second, self.products, self.model, sorted(left), inputs, targets, _dot)
        else:
            self.unknown |= left
        self._whole_only |= left
        self._passes.clear()

    def _read(self) -> None:
        """What was put off until here, in one transfer from the device."""
        checks = self._checks.tolist()
        self.raw = [square for _, square, _ in checks]
        if not all(math.isfinite(square) for square in self.raw):
            self._failure = "the gradients of a step that noise was to be measured on were not finite"
        for (name, along), (found, square, wanted) in zip(self._alongs.items(), checks, strict=True):
            short = name in self.capture.short
            elsewhere = self.tied or name in self._whole_only or not self.parameters[name].requires_grad
            if not (elsewhere or along.agree(found, wanted, square, short=short)):
                self.unknown.add(name)

    @property
    def reason(self) -> str:
        """Why nothing is known; empty where something is."""
        if told := self.capture.elsewhere or self._failure:
            return told
        if self.tied and self.units < 2:
            return f"{self.tied} ties the samples of a batch: its noise needs at least two micro-batches in a step"
        return "" if self.units >= 2 else "no backward pass of at least two samples was seen to come from this module"

    def _repeats(self) -> bool:
        """Whether the model can be run again on what came in, sample by sample."""
        random = any(isinstance(m, nn.modules.dropout._DropoutNd) and m.training and m.p for m in self.model.modules())
        return not random and all("inputs" in p for p in self._passes)

    def _passed(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        if not torch.is_grad_enabled() or transformed():
            return
        if not (self._caller.is_here() and own_tensors(self.capture.holders)):
            return
        tensors = [t for t in (*args, *kwargs.values()) if isinstance(t, Tensor) and t.ndim]
        made: dict[str, Any] = {"samples": tensors[0].shape[0] if tensors else 0}
        left = next((t for t in tensors_in(out) if t.requires_grad), None)
        if left is None:
            return
        needs_inputs = bool(self._whole_only or self._crossing) and not self.tied
        if needs_inputs and not kwargs and len(tensors) == len(args) and isinstance(out, Tensor):
            made["inputs"] = tuple(t.detach() for t in args)
        if self._under_way:  # of a backward pass that failed
            self._under_way.clear()
            self.capture.forget()

        def keep(gradient: Tensor) -> None:
            made["cotangent"] = gradient.detach() if "inputs" in made else None
            self._twice |= torch.is_grad_enabled()
            self._under_way.append(made)
            if len(self._under_way) == 1:
                if self._last is not None and self._last.cleared():
                    self._discard()
                sums = (self.second.clone(), self._checks.clone(), set(self.unknown))
                self._begun = Accumulated(list(self.parameters.values())), sums
                Variable._execution_engine.queue_callback(Hook(self._passed_back, self._failed))

        left.register_hook(Hook(keep, self._failed))

    def _discard(self) -> None:
        """The gradients of the passes until now were cleared: the step takes none of them."""
        self._last = None
        self.second.zero_()
        self._checks.zero_()
        self.unknown.clear()
        self._passes.clear()

    def _whole(self, name: str, gradient: Tensor) -> None:
        with torch.no_grad():
            self.products.add_own(self.second, name, in_single(gradient)[None])

    @torch.no_grad()
    def _gather(self, *, over: bool = False) -> None:
        """Products of those tensors whose every use was met; over: of all, where a backward pass is."""
        for name in self.capture.met(complete=not over):
            if name in self._whole_only or name in self.unknown:
                self.capture.taken(name)
                continue
            shape, along, seen = self.parameters[name].shape, self._alongs[name], self._places[name][0]
            try:
                uses = self.capture.taken(name)
                add_products(self.second, self.products, name, shape, uses, along, seen, table=self._outer)
                if name in self._crossing:
                    self._cross(name, uses)
            except ValueError:
                self.unknown.add(name)
        self._outer.run()

    @torch.no_grad()
    def _passed_back(self) -> None:
        """A backward pass is over, and nothing has changed its gradients yet."""
        passes, self._under_way = self._under_way, []
        accumulated, sums = self._begun
        if not accumulated:  # it gave gradients to its caller, and none to the step
            self.second.copy_(sums[0])
            self._checks.copy_(sums[1])
            self.unknown = sums[2]
            self._waiting.clear()
            self.capture.forget()
            return
        self._passes += passes
        self._last = Accumulated(list(self.parameters.values()))
        if not self.is_open:
            return
        self._gather(over=True)
        kept = []
        for name, p in self.parameters.items():
            if p.grad is None:
                continue
            g, along = in_single(p.grad.to_dense() if p.grad.is_sparse else p.grad), self._alongs[name]
            checks = self._places[name][1]
            kept.append(g)
            if not self._matrices.add(g, along, checks):
                checks.copy_(torch.stack([g.square().sum(), along.of_whole(g)]))
        self._matrices.run()

    def _cross(self, name: str, uses: list[Gradient]) -> None:
        """Products with another tensor's slices, once both are there."""
        self._waiting[name] = uses
        if self._crossing <= self._waiting.keys():
            add_crossing(self.second, self.products, self._waiting, self.parameters)
            self._waiting.clear()


def _dot(out: Tensor, cotangent: Tensor) -> Tensor:
    return (out * cotangent).sum()
