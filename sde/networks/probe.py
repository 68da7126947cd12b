"""A model as a function of its parameters: a copy in float64 at fresh parameters, inputs, masks and statistics."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from sde.networks.family import Family
from sde.networks.orbits import carry, scales
from sde.networks.outputs import output_map
from symbolic.errors import InputError

LARGEST_BATCH = 2**25
"""Numbers of a batch of gradients: 256 MiB."""
_LOW = (torch.float32, torch.float16, torch.bfloat16)


class Probe:
    """Gradients of random functions of a model's outputs; the user's model is never touched.

    Rows of gradients are <cotangent, f>, f the outputs (with cross-entropy the log-probabilities), for random
    cotangents: what is orthogonal to all of them is a symmetry of every loss of f.
    """

    def __init__(self, model: nn.Module, inputs: tuple[Any, ...], loss: Any = None) -> None:
        if not isinstance(model, nn.Module):
            raise InputError.of("model", "must be a torch.nn.Module", model, "Give the model that is trained.")
        kinds = [p.dtype for p in model.parameters() if p.is_floating_point()]
        self._kind = kinds[0] if kinds else torch.get_default_dtype()
        self.module = _copied(model).to(device="cpu", dtype=torch.float64)
        self.inputs = tuple(_doubled(_mapped(x, lambda t: t.detach().cpu().clone())) for x in inputs)
        self.of = output_map(loss)
        self.parameters = {n: p for n, p in self.module.named_parameters() if p.requires_grad}
        if not self.parameters:
            raise InputError.of("model", "must have parameters that are trained", model, "Set requires_grad.")
        if any(p.is_complex() for p in self.parameters.values()):
            raise InputError.of("model", "must have real parameters", "complex ones", "Split real and imaginary parts.")
        self.own = {n: p.detach().clone() for n, p in self.parameters.items()}
        self.shapes = {n: tuple(p.shape) for n, p in self.parameters.items()}
        self.size = sum(p.numel() for p in self.parameters.values())
        self.running = self._running()
        self.buffers = {n: b.detach().clone() for n, b in self.module.named_buffers()}
        self.met: dict[str, Tensor] = {}
        self._held: dict[str, Tensor] = {}
        self._order: dict[int, Tensor] = {}
        self.vocabulary = self._vocabulary()
        self.rank = self._must_repeat()

    def tied(self) -> dict[str, list[str]]:
        """{name: further names of the same tensor}."""
        names: dict[int, list[str]] = {}
        for n, p in self.module.named_parameters(remove_duplicate=False):
            names.setdefault(id(p), []).append(n)
        return {found[0]: found[1:] for found in names.values() if len(found) > 1}

    def fresh(self, seed: int, scale: float = 1.0) -> dict[str, Tensor]:
        """Set fresh parameters, times `scale`, and running statistics; the parameters."""
        rng = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, p in self.parameters.items():
                p.copy_(_parameter(self.own[name], rng) * scale)
            for name, b in self.module.named_buffers():
                b.copy_(_statistic(self.buffers[name], rng) if name in self.running else self.buffers[name])
        self._keep_held()
        return self.theta()

    def hold(self, entries: Mapping[str, np.ndarray], seed: int) -> None:
        """Entries that no gradient moves, {parameter: which}, and that outputs depend on, stay the model's own wherever
        parameters are set: constants, as the row of an embedding for padding is, and what is detached."""
        self._held = {}
        masks = {n: torch.as_tensor(mask) for n, mask in entries.items()}
        held = {n: mask & self._met_entries(n) if n in self.met else mask for n, mask in masks.items()}
        self._held = {n: mask for n, mask in held.items() if n in self.met or self._sees(n, mask, seed)}

    def still(self) -> dict[str, np.ndarray]:
        """Entries that are held at 0, by parameter."""
        found = {n: (mask & (self.own[n] == 0)).numpy() for n, mask in self._held.items()}
        return {n: mask for n, mask in found.items() if mask.any()}

    def _met_entries(self, name: str) -> Tensor:
        return self.met[name].reshape(-1, *[1] * (len(self.shapes[name]) - 1))

    def _sees(self, name: str, mask: Tensor, seed: int) -> bool:
        """Whether outputs depend on some entries of a parameter."""
        self.fresh(seed)
        inputs, own = self.drawn(torch.Generator().manual_seed(seed)), self.parameters[name].detach()
        first = [o.detach().clone() for o in self._outputs(inputs, seed)]
        self.fresh(seed)
        own[mask] += 1.0
        second = self._outputs(inputs, seed)
        return any(not torch.allclose(a, b, rtol=1e-9, atol=1e-9) for a, b in zip(first, second, strict=True))

    def _keep_held(self) -> None:
        with torch.no_grad():
            for n, mask in self._held.items():
                self.parameters[n][mask] = self.own[n][mask]

    def carry(self, families: Sequence[Family], seed: int, farthest: float) -> dict[str, Tensor]:
        """Move the parameters along the orbits of families that scale, each charge by a random l up to `farthest`."""
        rng = np.random.default_rng(seed)
        for f in families:
            if scales(f):
                carry(self.theta(), f, rng.uniform(-farthest, farthest, len(f)))
        self._keep_held()
        return self.theta()

    def nudge(self, seed: int, share: float = 1e-9) -> None:
        """Change every entry by a random share of itself: what rounding makes is then another number."""
        rng = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for p in self.parameters.values():
                p.mul_(1 + share * torch.randn(p.shape, generator=rng, dtype=p.dtype))

    def statistics(self) -> dict[str, Tensor]:
        """A copy of what passes change, for `restore`."""
        return {n: b.clone() for n, b in self.module.named_buffers() if n in self.running}

    def restore(self, statistics: Mapping[str, Tensor]) -> None:
        """Set them back."""
        for n, b in self.module.named_buffers():
            if n in statistics:
                b.copy_(statistics[n])

    def at_home(self) -> dict[str, Tensor]:
        """Set the model's own parameters and buffers."""
        with torch.no_grad():
            for name, p in self.parameters.items():
                p.copy_(self.own[name])
            for name, b in self.module.named_buffers():
                b.copy_(self.buffers[name])
        return self.theta()

    def theta(self) -> dict[str, Tensor]:
        """The parameters as they are set."""
        return {n: p.detach() for n, p in self.parameters.items()}

    def drawn(self, rng: torch.Generator, scale: float = 1.0) -> tuple[Any, ...]:
        """Fresh inputs, floating ones times `scale`."""
        found = tuple(self._input(k, x, rng) for k, x in enumerate(self.inputs))
        return found if scale == 1.0 else _mapped(found, lambda t: t * scale if t.is_floating_point() else t)

    def gradients(self, seed: int, count: int, *, inputs: tuple[Any, ...] | None = None) -> Iterator[dict[str, Tensor]]:
        """Batches of gradients of `count` random functions of the outputs at `inputs`, or at fresh ones, {name: (batch,
        *shape)}."""
        rng = torch.Generator().manual_seed(seed)
        inputs = self.drawn(rng) if inputs is None else inputs
        outputs = [o for o in self._outputs(inputs, seed) if o.requires_grad]
        if not outputs:
            advice = "Return what the loss is computed from, with its graph."
            raise InputError.of("model", "its outputs must depend on its parameters", "none that does", advice)
        for start in range(0, count, most := max(1, LARGEST_BATCH // self.size)):
            batch = min(most, count - start)
            cotangents = [torch.randn(batch, *o.shape, generator=rng, dtype=o.dtype) for o in outputs]
            yield self._pulled(outputs, cotangents, batch)

    def _pulled(self, outputs: list[Tensor], cotangents: list[Tensor], batch: int) -> dict[str, Tensor]:
        tensors = list(self.parameters.values())
        settings: dict[str, Any] = {"allow_unused": True, "retain_graph": True}
        try:
            if batch == 1:
                raise RuntimeError
            found = torch.autograd.grad(outputs, tensors, cotangents, is_grads_batched=True, **settings)
        except (RuntimeError, NotImplementedError):
            each = [torch.autograd.grad(outputs, tensors, [c[k] for c in cotangents], **settings) for k in range(batch)]
            found = [
                None if g[0] is None else torch.stack([v.to_dense() if v.is_sparse else v for v in g if v is not None])
                for g in zip(*each, strict=True)
            ]
        return {
            n: p.new_zeros(batch, *p.shape) if g is None else (g.to_dense() if g.is_sparse else g).detach()
            for (n, p), g in zip(self.parameters.items(), found, strict=True)
        }

    def _outputs(self, inputs: tuple[Any, ...], seed: int) -> list[Tensor]:
        with _exact(self._kind), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            found = self.of(self.module(*inputs))
        if not all(bool(torch.isfinite(o).all()) for o in found):
            advice = "Check the model at random parameters of order one."
            raise InputError.of("model", "its outputs must be finite", "infinite or NaN ones", advice)
        return found

    def _must_repeat(self) -> int:
        """Random functions of the outputs that are independent at one point, with room to spare."""
        self.at_home()
        first = [o.detach().clone() for o in self._outputs(self.inputs, 7)]
        self.at_home()
        second = self._outputs(self.inputs, 7)
        moved = [n for n, p in self.parameters.items() if not torch.equal(p, self.own[n])]
        if moved:
            advice = "Take max_norm, or what else changes them, out."
            raise InputError.of("model", "a pass must not change its parameters", moved[:4], advice)
        if any(a.shape != b.shape or not torch.equal(a, b) for a, b in zip(first, second, strict=True)):
            advice = "Draw random numbers from torch's default generator, and keep no state between passes."
            raise InputError.of("model", "a pass must repeat under one seed", "two different outputs", advice)
        return max(1, min(64, sum(o.numel() for o in second) // 2))

    def _running(self) -> dict[str, bool]:
        """Buffers that a training pass changes, and those of normalisation layers."""
        named = {n for n, b in self.module.named_buffers() if n.rsplit(".", 1)[-1] in ("running_mean", "running_var")}
        before = {n: b.detach().clone() for n, b in self.module.named_buffers()}
        trial = _copied(self.module).train()
        with torch.no_grad(), _exact(self._kind), torch.random.fork_rng(devices=[]):
            try:
                trial(*self.inputs)
            except (RuntimeError, ValueError, TypeError) as error:
                if self.module.training:
                    raise InputError.of(
                        "inputs", f"the model must take them: {error}", "others", "Try model(x)."
                    ) from None
        changed = {n for n, b in trial.named_buffers() if b.is_floating_point() and not torch.equal(b, before[n])}
        return {n: True for n in sorted(named | changed) if before[n].is_floating_point()}

    def _vocabulary(self) -> dict[int, int]:
        """{position of an input: rows of the table that it indexes}."""
        ids = {k: x for k, x in enumerate(self.inputs) if isinstance(x, Tensor) and not _continuous(x)}
        if not ids:
            return {}
        spy = _Lookups(ids)
        with torch.no_grad(), _exact(self._kind), torch.random.fork_rng(devices=[]), spy:
            self.module(*self.inputs)
        self.at_home()
        places = {p.data_ptr(): n for n, p in self.parameters.items()}
        for table in spy.tables:
            if table.data_ptr() in places:
                self.met[places[table.data_ptr()]] = torch.zeros(table.shape[0], dtype=torch.bool)
        return spy.found

    def _input(self, place: int, x: Any, rng: torch.Generator) -> Any:
        if place not in self.vocabulary:
            return _mapped(x, lambda t: _fresh_input(t, rng))
        order = self._order.get(place, torch.zeros(0, dtype=torch.long))
        while len(order) < x.numel():
            order = torch.cat([order, torch.randperm(self.vocabulary[place], generator=rng)])
        drawn, self._order[place] = order[: x.numel()], order[x.numel() :]
        for seen in self.met.values():
            seen[drawn[drawn < len(seen)]] = True
        return drawn.reshape(x.shape).to(x.dtype)


class _Lookups(TorchDispatchMode):
    """Which inputs index the rows of which tables."""

    def __init__(self, ids: dict[int, Tensor]) -> None:
        super().__init__()
        self.ids = ids
        self.found: dict[int, int] = {}
        self.tables: list[Tensor] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.embedding.default:
            for k, x in self.ids.items():
                if x.numel() == args[1].numel() and torch.equal(x.reshape(-1), args[1].reshape(-1)):
                    self.tables.append(args[0])
                    self.found[k] = min(args[0].shape[0], self.found.get(k, args[0].shape[0]))
        return func(*args, **(kwargs or {}))


class _Float64(TorchFunctionMode):
    """Casts to a lower precision inside a model become casts to float64; kind: of the model's own numbers."""

    def __init__(self, kind: torch.dtype) -> None:
        super().__init__()
        self._eps = torch.finfo(kind).eps

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (F.rms_norm, torch.rms_norm):
            args, kwargs = _with_epsilon(args, kwargs or {}, self._eps)
        if func in (torch.Tensor.float, torch.Tensor.half, torch.Tensor.bfloat16):
            return args[0].double()
        args = tuple(torch.float64 if isinstance(a, torch.dtype) and a in _LOW else a for a in args)
        kwargs = {
            k: torch.float64 if isinstance(v, torch.dtype) and v in _LOW else v for k, v in (kwargs or {}).items()
        }
        return func(*args, **kwargs)


def _with_epsilon(args: Any, kwargs: dict[str, Any], eps: float) -> tuple[Any, dict[str, Any]]:
    """Arguments of a RMS norm; without an epsilon it takes that of its numbers' precision."""
    if len(args) > 3:
        return (*args[:3], eps if args[3] is None else args[3]), kwargs
    return args, {**kwargs, "eps": eps if kwargs.get("eps") is None else kwargs["eps"]}


def _copied(model: nn.Module) -> nn.Module:
    """A copy; of tensors that a module computes and keeps, as the old weight_norm does, their values."""
    kept = [t for m in model.modules() for t in vars(m).values() if isinstance(t, Tensor) and not t.is_leaf]
    return copy.deepcopy(model, {id(t): t.detach().clone() for t in kept})


@contextmanager
def _exact(kind: torch.dtype) -> Iterator[None]:
    """float64 throughout, attention by its formula."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with sdpa_kernel(SDPBackend.MATH), _Float64(kind):
            yield
    finally:
        torch.set_default_dtype(default)


@contextmanager
def one_thread(when: bool) -> Iterator[None]:
    """Small tensors are quicker on one thread."""
    threads = torch.get_num_threads()
    if when:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _mapped(x: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(x, Tensor):
        return change(x)
    if isinstance(x, Mapping):
        return {k: _mapped(v, change) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return type(x)(_mapped(v, change) for v in x)
    return x


def _doubled(x: Any) -> Any:
    return _mapped(x, lambda t: t.double() if t.is_floating_point() else t)


def _continuous(x: Tensor) -> bool:
    return x.is_floating_point() or x.dtype == torch.bool


def _fresh_input(x: Tensor, rng: torch.Generator) -> Tensor:
    """Numbers about as large as the given ones, without their pattern; whole numbers in their range; masks as given."""
    if x.is_floating_point():
        finite = x.double()[torch.isfinite(x)]
        centre, spread = (float(finite.mean()), float(finite.std(correction=0))) if finite.numel() else (0.0, 1.0)
        size = max(spread, 0.3 * abs(centre)) or 1.0
        new = centre + size * torch.randn(x.shape, generator=rng, dtype=torch.float64)
        return new.abs() if finite.numel() and float(finite.min()) >= 0 else new
    if x.dtype == torch.bool or x.numel() == 0:
        return x
    return torch.randint(int(x.min()), int(x.max()) + 1, x.shape, generator=rng, dtype=x.dtype)


def _parameter(own: Tensor, rng: torch.Generator) -> Tensor:
    """Variance 1/fan-in for matrices; vectors about their mean where it lies in [0, 1], so that no unit is dead."""
    if own.ndim >= 2:
        seed = int(torch.randint(2**62, (), generator=rng))
        drawn = np.random.Generator(np.random.SFC64(seed)).random(tuple(own.shape))  # thrice as fast as torch's
        return torch.from_numpy(drawn).sub_(0.5).mul_(math.sqrt(12 / max(1, own[0].numel())))
    centre = min(1.0, max(0.0, float(own.mean()))) if own.numel() else 0.0
    return centre + 0.5 * torch.randn(own.shape, generator=rng, dtype=torch.float64)


def _statistic(own: Tensor, rng: torch.Generator) -> Tensor:
    """A running mean or variance: positive where the given one is."""
    if bool((own > 0).all()):
        return 0.5 + torch.rand(own.shape, generator=rng, dtype=torch.float64)
    return torch.randn(own.shape, generator=rng, dtype=torch.float64)
