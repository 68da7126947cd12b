"""`watch`: hooks on a model and its optimiser, and nothing else."""

from __future__ import annotations

import inspect
import warnings
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from sde.networks.charge import Charge
from sde.networks.charges import Charges
from sde.networks.monitor import Monitor
from sde.networks.optimiser_rules import groups_of, inner, refuse_what_cannot_be_watched
from sde.networks.sinks import Tellers, teller
from sde.networks.symmetries import symmetries
from sde.networks.theory import Symmetries
from sde.networks.traces import batch_of, in_order, refuse_ties
from symbolic.errors import InputError, instance
from symbolic.errors import check as must

_WATCHED: weakref.WeakKeyDictionary[nn.Module, weakref.ref[Monitor]] = weakref.WeakKeyDictionary()


def watch(
    model: nn.Module,
    optimizer: Optimizer,
    *,
    charges: Sequence[Charge] | Symmetries | None = None,
    every: int = 50,
    per_sample: Any = "mean",
    loss: Any = None,
    probe: Sequence[Any] | None = None,
    redrawn: bool = False,
    sinks: Sequence[Any] = (),
) -> Monitor:
    """Watch the charges of a model while it is trained by the user's own loop.

    At every step the optimiser's own gradients and momentum give the charges' exact change (SGD with momentum,
    Nesterov, either weight decay); what they are then is measured every `every` steps. At the first step of each such
    window the loop's own backward pass gives the noise, and with it the predicted change. Model, optimiser and their
    states stay the same objects with the same numbers; `close` (or the end of ``with``) takes every hook off. A model
    has one monitor: an earlier one, as of a cell that is run again, is closed, with a warning. Passes that are not the
    training's own (of torch.func, of torch.autograd.grad, of copies of the model, of other threads) are left alone.

    Parameters
    ----------
    model : torch.nn.Module
        With its parameters whole on this process.
    optimizer : torch.optim.Optimizer
        That steps them; of others than SGD, steps are split into what is first and second order in them.
    charges : sequence of Charge, or Symmetries
        Of `symmetries`, or what it returned; None: it is asked, with the inputs of the first pass.
    every : int
        Steps between two rows.
    per_sample : "mean", "sum", a loss or None
        How the loss that is differentiated is made of its samples', or the loss itself, which says so by its
        ``reduction``; None: no noise is measured.
    loss
        With a probe: ``loss(output, *targets)``, of every sample. Without charges: as for `symmetries`.
    probe : (inputs, *targets)
        Samples that noise is measured on, in place of those of the loop: many give a sharp forecast.
    redrawn : bool
        Every step draws its batch anew from the probe's own rows. Matters to momentum: docs/theory.md eq. (11.8).
    sinks : sequence
        Told a few numbers at every row: runs with ``log(numbers, step=)``, writers with ``add_scalar``, names of files
        (CSV, or JSON lines under ``.jsonl``), functions (numbers, step).

    Returns
    -------
    Monitor
        A context, with to_xarray(), verify(), report(path), states(), effective_rates(), state_dict().

    Raises
    ------
    InputError
        For what cannot be watched, with the reason: sharded parameters, an optimiser in the backward pass, hooks that
        change gradients parameter by parameter.

    Examples
    --------
    >>> import torch
    >>> from sde.networks import Charge, watch
    >>> from sde.networks.charge import Term
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 1, bias=False), torch.nn.Linear(1, 2, bias=False)).double()
    >>> whole = [Term(f"{i}.weight", f"{i}.weight", (), (), (0,), (0,), (1.0 - 2 * i,)) for i in (0, 1)]
    >>> balance = Charge("|0.weight|^2 - |1.weight|^2", tuple(whole), (), "rescaling", "convergent", "exact", 0.0)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    >>> with watch(model, optimizer, charges=[balance], every=10) as monitor:
    ...     for _ in range(20):
    ...         optimizer.zero_grad()
    ...         x = torch.randn(8, 2).double()
    ...         ((model(x) - x) ** 2).sum(1).mean().backward()
    ...         optimizer.step()
    >>> run = monitor.to_xarray()
    >>> run.value.shape, bool(abs(run.residual).max() < 1e-13)
    ((3, 1), True)
    """
    instance("watch.model", model, nn.Module, "needs a torch.nn.Module", "Give the model that is trained.")
    steps = inner(optimizer)
    must.whole("watch.every", every, advice="Give a count of steps.")
    _close_earlier(model)
    refuse_what_cannot_be_watched({n: p for n, p in model.named_parameters() if p.requires_grad})
    if probe is not None:
        batch_of(probe)
        refuse_ties(model, "watch")
        if not callable(loss):
            raise InputError.of("watch.loss", "is needed with a probe", loss, "Give loss(output, *targets).")
    given = _charges(charges)
    listed = [sinks] if isinstance(sinks, (str, Path)) else sinks
    instance("watch.sinks", listed, (list, tuple), "must be a list of sinks", "Write [sink], or the name of one file.")

    def find(*inputs: Any) -> tuple[Charges, dict[str, str]]:
        known = symmetries(model, *inputs, loss=loss).charges if given is None else given
        parameters = dict(model.named_parameters())
        return watchable(in_order(known, parameters), parameters, steps)

    monitor = Monitor(
        model,
        steps,
        find,
        None if given is None else (),
        every=every,
        per_sample=reduction(per_sample),
        loss=loss,
        probe=probe,
        redrawn=redrawn,
        tellers=Tellers([teller(s) for s in listed]),
    )
    _WATCHED[model] = weakref.ref(monitor)
    return monitor


def _charges(charges: Any) -> Sequence[Charge] | None:
    """Those given: of a theory, one, or several. Raises InputError."""
    found = [charges] if isinstance(charges, Charge) else charges
    given = found.charges if isinstance(found, Symmetries) else found
    several = isinstance(given, (Charges, list, tuple)) and (
        isinstance(given, Charges) or all(isinstance(c, Charge) for c in given)
    )
    if given is not None and not several:
        advice = "Give symmetries(model, x), some of its charges, or None."
        raise InputError.of("watch.charges", "must be charges", charges, advice)
    return given


def _close_earlier(model: nn.Module) -> None:
    """Close the monitor that a model has."""
    earlier = _WATCHED.pop(model, lambda: None)()
    if earlier is not None and earlier.is_open:
        earlier.close()
        told = (
            "watch: this model was watched by an earlier monitor, which is closed now. Close it first, or use `with`."
        )
        warnings.warn(told, stacklevel=3)


def reduction(per_sample: Any) -> str | None:
    """How a loss is made of its samples': "mean", "sum" or None. Raises InputError."""
    found = per_sample
    if not (found is None or isinstance(found, str)):
        found = getattr(per_sample, "reduction", None)
        if found is None and callable(per_sample):
            known = inspect.signature(per_sample).parameters.get("reduction")
            found = None if known is None else known.default
        if found is None:
            found = per_sample
    if found is not None and (not isinstance(found, str) or found not in ("mean", "sum")):
        advice = (
            "Say whether the loss that is differentiated is the samples' mean or their sum; None measures no noise."
        )
        raise InputError.of("watch.per_sample", "must be 'mean', 'sum', or a loss with such a reduction", found, advice)
    return found


def watchable(
    charges: Charges, parameters: Mapping[str, Tensor], optimizer: Optimizer
) -> tuple[Charges, dict[str, str]]:
    """The charges whose tensors are all trained, and {tensors: why} of the others. Raises InputError where none is
    left."""
    groups = groups_of(optimizer)
    still = {
        n: "is not trained" if not parameters[n].requires_grad else "is not in this optimiser"
        for n in charges.parameters
        if not parameters[n].requires_grad or id(parameters[n]) not in groups
    }
    left_out: dict[str, str] = {}
    kept = []
    for f in charges.families:
        reasons = [f"{n} {still[n]}" for n in f.parameters if n in still]
        if not reasons and f.status == "exact":
            kept.append(f)
        else:
            left_out[", ".join(f.parameters)] = "; ".join(reasons) or "its symmetry is broken"
    if not kept:
        why = "; ".join(dict.fromkeys(left_out.values())) or "there are none"
        raise InputError(f"watch.charges: none can be watched: {why}. Take them from symmetries(model, x).")
    devices = {parameters[n].device for f in kept for n in f.parameters}
    if len(devices) > 1:
        raise InputError.of(
            "watch.model", "must have its tensors on one device", sorted(map(str, devices)), "Move it to one."
        )
    return (charges if len(kept) == len(charges.families) else Charges(kept)), left_out
