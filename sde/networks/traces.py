"""Tr[Sigma A] of every charge at the parameters as they are, and the mean gradient's share, on one batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from sde.networks.charge import Charge
from sde.networks.charges import Charges
from sde.networks.compiled_sums import sums_on
from sde.networks.layer_capture import LayerCapture
from sde.networks.layer_gradients import Gradient, ties_samples
from sde.networks.sample_products import BUDGET, Direction, add_products, dense_gradients, sample_count
from sde.networks.single_samples import dense, refuse_other_axis, single_gradients
from sde.networks.slice_products import SliceProducts, in_double, in_single, of_pairs
from sde.networks.untouched import untouched
from symbolic.errors import InputError
from symbolic.errors import check as must

METHODS = ("grams", "vmap")
Loss = Callable[..., Tensor]


@dataclass(frozen=True)
class Moments:
    """Products of gradients over samples, float64 (products,): `second` summed over them, `mean` of their mean."""

    samples: int
    second: np.ndarray
    mean: np.ndarray

    @property
    def covariance(self) -> np.ndarray:
        """Products of Sigma, the covariance of one sample's gradient, without bias."""
        return (self.second - self.samples * self.mean) / (self.samples - 1)


@dataclass(frozen=True)
class Traces:
    """What noise does to charges at one point, (charges,) each.

    Attributes
    ----------
    charges : Charges
        Whose.
    samples : int
        In the batch.
    value : array
        C.
    noise : array
        Tr[Sigma A], Sigma the covariance of one sample's gradient, estimated without bias.
    size : array
        Tr[Sigma |A|]: what the two signs of A would give together.
    squared : array
        Tr[Sigma A^2].
    mean : array
        g^T A g of the mean gradient, without bias.
    field : array
        |A theta|^2.
    moments : Moments
        The products that they come from.
    """

    charges: Charges
    samples: int
    value: np.ndarray
    noise: np.ndarray
    size: np.ndarray
    squared: np.ndarray
    mean: np.ndarray
    field: np.ndarray
    moments: Moments

    @property
    def names(self) -> tuple[str, ...]:
        """The charges', in order."""
        return tuple(c.name for c in self.charges)

    def drift(self, learning_rate: float, batch: int) -> np.ndarray:
        """Mean change of every charge in one step of SGD without momentum or weight decay.

        Parameters
        ----------
        learning_rate : float
        batch : int
            Samples in a step.

        Returns
        -------
        array (charges,)
            eta^2 (Tr[Sigma A]/S + g^T A g): docs/theory.md eq. (3.6).
        """
        return learning_rate**2 * (self.noise / batch + self.mean)


def covariance_traces(
    model: nn.Module,
    batch: Sequence[Any],
    loss: Loss,
    charges: Sequence[Charge],
    *,
    method: str = "grams",
    chunk: int = 256,
) -> Traces:
    """Measure Tr[Sigma A], Tr[Sigma |A|] and g^T A g of every charge at the model's parameters, from one batch.

    Per-sample gradients are not stored: each layer gives its part from what entered it and from the gradient of what
    left it. Parameters that no known layer holds go through ``torch.func.vmap(grad)`` in chunks, and where that does
    not take a layer, as a recurrent one, through a pass a sample.

    Parameters
    ----------
    model : torch.nn.Module
        In the mode in which it is to be judged; neither its parameters nor their ``.grad`` change.
    batch : (inputs, *targets)
        Tensors whose first axis is the samples'; a tuple of inputs is passed on as several arguments.
    loss : callable
        ``loss(output, *targets)``: the loss of every sample, (samples,), or their mean.
    charges : sequence of Charge
        Of `symmetries`.
    method : "grams" or "vmap"
        The latter takes every gradient by itself: the reference.
    chunk : int
        Samples of one pass.

    Returns
    -------
    Traces

    Raises
    ------
    InputError
        For a batch of fewer than two samples, a layer that ties samples, as BatchNorm does in training mode, or a first
        axis that counts time (batch_first=False).

    Examples
    --------
    >>> import torch
    >>> from sde.networks import Charge, covariance_traces
    >>> from sde.networks.charge import Term
    >>> model = torch.nn.Linear(3, 1, bias=False).double()
    >>> whole = Term("weight", "weight", (), (), (0,), (0,), (1.0,))
    >>> norm = Charge("|weight|^2", (whole,), (), "scale", "divergent", "exact", 0.0)
    >>> x, y = torch.eye(3).double(), torch.zeros(3, 1).double()
    >>> found = covariance_traces(model, (x, y), lambda out, y: ((out - y) ** 2).sum(1), [norm])
    >>> bool(found.noise[0] > 0)
    True
    """
    must.one_of("covariance_traces.method", method, advice="Pick one.", choices=METHODS)
    must.whole("covariance_traces.chunk", chunk, advice="Give a count.")
    parameters = dict(model.named_parameters())
    own = in_order(charges, parameters)
    products = SliceProducts(own, {n: tuple(parameters[n].shape) for n in own.parameters})
    refuse_other_axis(model, batch_of(batch)[0], "covariance_traces")
    with untouched(model):
        moments, _ = gradient_moments(model, batch, loss, products, method=method, chunk=chunk)
    return traces_of(own, products, parameters, moments)


def gradient_moments(
    model: nn.Module, batch: Any, loss: Loss, products: SliceProducts, *, method: str = "grams", chunk: int = 256
) -> tuple[Moments, dict[str, Tensor]]:
    """As `covariance_traces` measures them; and the mean gradient, by tensor."""
    inputs, targets = batch_of(batch)
    samples = inputs[0].shape[0]
    refuse_ties(model, "covariance_traces")
    whole = list(products.names) if method == "vmap" else []
    second = torch.zeros(products.size, dtype=torch.float64)
    total: dict[str, Tensor] = {}
    for first in range(0, samples, chunk):
        part = [tuple(t[first : first + chunk] for t in ts) for ts in (inputs, targets)]
        if method == "vmap":
            sums = sample_by_sample(second, products, model, whole, part[0], part[1], loss)
        else:
            sums = _by_layers(second, products, model, part[0], part[1], loss)
        for name, g in sums.items():
            total[name] = total[name] + g.double() if name in total else g.double()
    mean = {n: g / samples for n, g in total.items()}
    taken = products.take(mean).cpu().numpy() if mean else np.zeros(0)
    return Moments(samples, second.numpy(), taken), mean


def traces_of(charges: Charges, products: SliceProducts, parameters: Any, moments: Moments) -> Traces:
    """The charges' traces from the products of gradients."""
    here = in_double(parameters, products.names)
    theta = products.take(here).cpu().numpy() if charges else np.zeros(0)
    sums = products.take_sums(here).cpu().numpy() if charges else np.zeros(0)
    covariance = moments.covariance
    return Traces(
        charges=charges,
        samples=moments.samples,
        value=products.form @ theta + 2 * (products.linear @ sums),
        noise=products.form @ covariance,
        size=products.absolute @ covariance,
        squared=products.squared @ covariance,
        mean=products.form @ (moments.mean - covariance / moments.samples),
        field=products.squared @ theta,
        moments=moments,
    )


def in_order(charges: Sequence[Charge], parameters: Any) -> Charges:
    """Charges as they are computed with. Raises InputError for a tensor that the model has not."""
    own = charges if isinstance(charges, Charges) else Charges.of(charges, parameters)
    for name in own.parameters:
        if name not in parameters:
            raise InputError.of("charges", "must be those of this model", name, "Take them from symmetries(model, x).")
    return own


def batch_of(batch: Any) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Inputs and targets. Raises InputError."""
    if not isinstance(batch, (tuple, list)) or not batch:
        raise InputError.of("batch", "must be (inputs, *targets)", batch, "Give e.g. (x, y).")
    first, *rest = batch
    inputs = tuple(first) if isinstance(first, (tuple, list)) else (first,)
    tensors = (*inputs, *rest)
    if not all(isinstance(t, Tensor) and t.ndim for t in tensors) or len({t.shape[0] for t in tensors}) != 1:
        shapes = [tuple(t.shape) if isinstance(t, Tensor) else type(t).__name__ for t in tensors]
        raise InputError.of("batch", "must be tensors with one first axis, the samples'", shapes, "Give e.g. (x, y).")
    if tensors[0].shape[0] < 2:
        raise InputError.of("batch", "needs at least 2 samples", tensors[0].shape[0], "Give more.")
    return inputs, tuple(rest)


def refuse_ties(model: nn.Module, where: str) -> None:
    """Raise InputError where samples of a batch act on each other."""
    for path, module in model.named_modules():
        if ties_samples(module):
            raise InputError(
                f"{where}.model: {path} ({type(module).__name__}) ties the samples of a batch in training mode, so that"
                " no sample has a gradient of its own. Call model.eval(), or let watch take micro-batches."
            )


def sample_losses(found: Tensor, samples: int) -> Tensor:
    """The sum over samples of their losses, from the losses or their mean."""
    if found.ndim == 0:
        return found * samples
    return found.reshape(samples, -1).mean(1).sum() if found.shape[0] == samples else found.sum()


def _by_layers(
    out: Tensor, products: SliceProducts, model: nn.Module, inputs: Any, targets: Any, loss: Loss
) -> dict[str, Tensor]:
    """Add second moments to `out`; sums over samples of the gradients, by name."""
    capture = LayerCapture(model, products.names)
    capture.open()
    try:
        with torch.enable_grad():
            value = sample_losses(loss(model(*inputs), *targets), len(inputs[0]))
            own = dict(model.named_parameters())
            trained = [n for n in products.names if own[n].requires_grad]
            found = torch.autograd.grad(value, [own[n] for n in trained], allow_unused=True) if trained else ()
        if capture.elsewhere:
            raise InputError(f"covariance_traces.model: {capture.elsewhere}.")
        given = dict(zip(trained, found, strict=True))
        sums = {n: in_single(dense(given.get(n), own[n])) for n in products.names}
        frozen = set(products.names) - set(trained)
        left: set[str] = set(capture.unread) | frozen
        uses: dict[str, list[Gradient]] = {}
        for name in products.names:
            if name in left:
                continue
            along, own = Direction.of(sums[name]), torch.zeros_like(out)
            whole = sums_on(sums[name].device)
            try:
                uses[name] = capture.taken(name)
                add_products(own, products, name, tuple(sums[name].shape), uses[name], along, whole)
            except ValueError:
                left.add(name)
                continue
            wanted, square = float(along.of_whole(sums[name])), float(sums[name].square().sum())
            if along.agree(float(whole), wanted, square, short=name in capture.short):
                out += own
            else:
                left.add(name)
    finally:
        capture.close()
    crossing = products.crossing()
    if crossing & left:
        for name in crossing - left:
            along, whole = Direction.of(sums[name]), sums_on(sums[name].device)
            add_products(out, products, name, tuple(sums[name].shape), uses[name], along, whole, sign=-1.0)
        left |= crossing
    add_crossing(out, products, {n: uses[n] for n in crossing - left if uses.get(n)}, sums)
    if left:
        found = sample_by_sample(out, products, model, sorted(left), inputs, targets, loss)
        sums |= {n: in_single(found[n]) for n in frozen}
    return sums


def sample_by_sample(
    out: Tensor, products: SliceProducts, model: nn.Module, names: Sequence[str], inputs: Any, targets: Any, loss: Loss
) -> dict[str, Tensor]:
    """As `by_vmap`, one sample after another where that cannot be: with recurrent layers, or branches on data."""
    before = out.clone()
    try:
        return by_vmap(out, products, model, names, inputs, targets, loss)
    except (RuntimeError, NotImplementedError):
        out.copy_(before)
    own = dict(model.named_parameters())
    chunk = max(1, 4 * BUDGET // max(sum(own[n].numel() for n in names), 1))
    sums = {n: torch.zeros_like(own[n], requires_grad=False) for n in names}
    for first in range(0, len(inputs[0]), chunk):
        xs, ys = (tuple(t[first : first + chunk] for t in ts) for ts in (inputs, targets))

        def loss_of(k: int, xs: Any = xs, ys: Any = ys) -> Tensor:
            return sample_losses(loss(model(*(x[k : k + 1] for x in xs)), *(y[k : k + 1] for y in ys)), 1)

        each = {n: in_single(g) for n, g in single_gradients(model, names, len(xs[0]), loss_of).items()}
        products.add_samples(out, each)
        for n, g in each.items():
            sums[n] += g.sum(0)
    return sums


def add_crossing(out: Tensor, products: SliceProducts, uses: dict[str, list[Gradient]], like: Any) -> None:
    """Add the products of slices of two tensors to `out`."""
    for p in products.pairs:
        if p.names[0] != p.names[1] and set(p.names) <= uses.keys():
            one, two = (tuple(like[n].shape) for n in p.names)
            samples = sample_count(uses[p.names[0]])
            chunk = max(1, BUDGET // (torch.Size(one).numel() + torch.Size(two).numel()))
            for first in range(0, samples, chunk):
                last = min(first + chunk, samples)
                each = {n: dense_gradients(uses[n], tuple(like[n].shape), first, last) for n in p.names}
                out[p.start : p.start + p.size] += of_pairs(p, *(each[n] for n in p.names)).to(out)


def by_vmap(
    out: Tensor,
    products: SliceProducts,
    model: nn.Module,
    names: Sequence[str],
    inputs: Any,
    targets: Any,
    loss: Loss,
) -> dict[str, Tensor]:
    """As `_by_layers`, of the tensors `names`, every gradient by itself."""
    every = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    moved = {n: every[n].detach() for n in names}
    rest = {n: t.detach() for n, t in every.items() if n not in moved}

    def of_one(parameters: Any, xs: Any, ys: Any) -> Tensor:
        one = functional_call(model, {**rest, **parameters}, tuple(x[None] for x in xs), tie_weights=True)
        return sample_losses(loss(one, *(y[None] for y in ys)), 1)

    each = vmap(grad(of_one), in_dims=(None, 0, 0), randomness="different")
    chunk = max(1, 4 * BUDGET // max(sum(t.numel() for t in moved.values()), 1))
    sums = {n: torch.zeros_like(t) for n, t in moved.items()}
    for first in range(0, len(inputs[0]), chunk):
        part = [tuple(t[first : first + chunk] for t in ts) for ts in (inputs, targets)]
        gradients = each(moved, part[0], part[1])
        products.add_samples(out, gradients)
        for n, g in gradients.items():
            sums[n] += g.sum(0)
    return sums
