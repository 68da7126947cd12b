"""Hooks that keep what entered a model's layers, and meet it with the gradient of what left them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from sde.networks.layer_gradients import Gradient, Reader, reader_of
from sde.networks.own_pass import Hook, own_tensors, tensors_in, transformed
from sde.networks.slice_products import SHORT, in_single

Met = Callable[[], dict[str, Gradient]]
HELD = 2**17
"""Numbers that may wait for the end of a backward pass."""


class LayerCapture:
    """While open, gathers per-sample gradients of the tensors `names` of a model, pass by pass.

    unread: {name: why} of the tensors that no layer of a known kind holds. samples: of the pass that came last. full:
    called where more than `HELD` numbers wait. short: tensors whose gradients were computed in 16 bits. elsewhere: the
    layer that has the samples on another axis than the model's first; empty where none was seen. own: whether a pass is
    one to look at; failed: told of errors, which then go no further.
    """

    def __init__(
        self,
        model: nn.Module,
        names: Iterable[str],
        full: Callable[[], object] | None = None,
        *,
        own: Callable[[], bool] = lambda: True,
        failed: Callable[[Exception], object] | None = None,
    ) -> None:
        self.model, self._own, self._failed = model, own, failed
        wanted = {id(p): n for n, p in model.named_parameters() if n in set(names)}
        self._readers: list[tuple[nn.Module, Reader, dict[str, str]]] = []
        self.unread: dict[str, str] = {}
        for path, module in model.named_modules():
            read = {k: wanted[id(p)] for k, p in module._parameters.items() if p is not None and id(p) in wanted}
            if not read:
                continue
            reader = reader_of(module)
            if reader is None:
                self.unread |= dict.fromkeys(read.values(), f"{path or 'the model'} ({type(module).__name__})")
            else:
                self._readers.append((module, reader, read))
        self._held_by: dict[int, list[tuple[nn.Module, str, Tensor]]] = {
            id(m): [(m, k, p) for k in read if (p := m._parameters[k]) is not None] for m, _, read in self._readers
        }
        self._met: dict[str, list[Met]] = {}
        self._due: dict[str, int] = {}
        self._held, self._full = 0, full
        self.short: set[str] = set()
        self._handles: list[Any] = []
        self._sequence_first = [(path, m) for path, m in model.named_modules() if sequence_first(m)]
        self.samples, self.elsewhere = 0, ""

    @property
    def holders(self) -> list[tuple[nn.Module, str, Tensor]]:
        """Modules, with the tensors that they are known to hold."""
        return [held for found in self._held_by.values() for held in found]

    def _holders(self, module: nn.Module) -> list[tuple[nn.Module, str, Tensor]]:
        return self._held_by.get(id(module), [])

    def open(self) -> None:
        """Attach the hooks."""
        self._handles.append(self.model.register_forward_pre_hook(Hook(self.count), with_kwargs=True))
        for path, module in self._sequence_first:
            check = Hook(partial(self._check_axis, path), self._failed)
            self._handles.append(module.register_forward_pre_hook(check, with_kwargs=True))
        for module, reader, own in self._readers:
            self._handles.append(module.register_forward_hook(Hook(self._keeper(reader, own), self._failed)))

    def close(self) -> None:
        """Take them off, and forget what no gradient came for."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self.forget()

    def forget(self) -> None:
        """What was not taken."""
        self._met.clear()
        self._due.clear()
        self._held = 0

    def met(self, *, complete: bool = False) -> list[str]:
        """Tensors whose gradients wait to be taken; complete: those whose every use was met."""
        self._held = 0
        return [n for n in self._met if not complete or self._due[n] == 0]

    def taken(self, name: str) -> list[Gradient]:
        """Per-sample gradients of a tensor, one of each use in the pass, and forget them. Raises ValueError where a
        layer's batch is not the model's."""
        uses: list[Gradient] = []
        for met in self._met.pop(name, []):
            found = met()
            if name in found:
                uses.append(found[name])
        return uses

    def count(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """The samples of a pass, by the first tensor that goes in."""
        tensors = [t for t in (*args, *kwargs.values()) if isinstance(t, Tensor) and t.ndim]
        if tensors and torch.is_grad_enabled() and not transformed() and self._own():
            self.samples = tensors[0].shape[0]

    def _check_axis(self, path: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A layer that has its samples second has as many of them as the model."""
        entered = next((t for t in tensors_in((*args, *kwargs.values())) if t.ndim == 3), None)
        if entered is not None and entered.shape[1] != self.samples and torch.is_grad_enabled() and not transformed():
            self.elsewhere = (
                f"{path or 'the model'} ({type(module).__name__}, batch_first=False) has {entered.shape[1]} samples on"
                f" its second axis, where the model's inputs have {self.samples} on their first: no gradient is known"
                " by sample. Give the model batches first, and transpose within it"
            )

    def _keeper(self, reader: Reader, own: dict[str, str]) -> Callable[..., None]:
        met_of, due = self._met, self._due

        def keep(module: nn.Module, args: tuple[Any, ...], out: Any) -> None:
            if not (isinstance(out, Tensor) and out.requires_grad and args and isinstance(args[0], Tensor)):
                return
            if transformed() or not own_tensors(self._holders(module)) or not self._own():
                return
            entered, samples = args[0].detach(), self.samples
            for name in own.values():
                due[name] = due.get(name, 0) + 1

            def meet(gradient: Tensor) -> None:
                kept: dict[str, Gradient] = {}

                def met() -> dict[str, Gradient]:
                    if not kept:
                        g = in_single(gradient.detach() if gradient.requires_grad else gradient)
                        x = entered.to(g.dtype) if entered.is_floating_point() else entered
                        kept.update({own[k]: v for k, v in reader(module, x, g, samples).items() if k in own})
                    return kept

                for name in own.values():
                    met_of.setdefault(name, []).append(met)
                    due[name] = due.get(name, 0) - 1
                if gradient.dtype in SHORT:
                    self.short.update(own.values())
                self._held += entered.numel() + gradient.numel()
                if self._full is not None and self._held > HELD:
                    self._full()

            out.register_hook(Hook(meet, self._failed))

        return keep


def sequence_first(module: nn.Module) -> bool:
    """Whether a layer has its samples on the second axis of what goes in."""
    return isinstance(module, (nn.RNNBase, nn.MultiheadAttention)) and not module.batch_first
