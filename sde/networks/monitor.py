"""Watch a model's charges while the user's own loop trains it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from sde.networks.charges import Charges
from sde.networks.equilibrium import rates_of_scales
from sde.networks.optimiser_rules import settings_of
from sde.networks.outer_step import OuterStep
from sde.networks.own_pass import Hook, transformed
from sde.networks.probed_noise import ProbedNoise
from sde.networks.records import OF_THEORY, Records, kinds_of
from sde.networks.rounding import Reading, residuals, touching
from sde.networks.sinks import Tellers
from sde.networks.slice_products import SliceProducts
from sde.networks.step_noise import StepNoise
from sde.networks.step_passes import SCALED, StepPasses
from sde.networks.step_samples import StepSamples
from sde.networks.steps import Steps
from sde.networks.traces import batch_of
from sde.networks.training_report import report_of
from sde.reports.report import Report
from symbolic.errors import InputError
from symbolic.errors import check as must

if TYPE_CHECKING:
    import xarray as xr


class Monitor:
    """What `watch` returns: a context that watches until it is closed.

    Attributes
    ----------
    charges : Charges
        Those that are watched.
    left_out : dict
        {tensors of charges: why} of those that are not.
    notes : tuple of str
        What a reader should know, such as why no noise could be measured.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        find: Callable[..., tuple[Charges, dict[str, str]]],
        inputs: Sequence[Any] | None,
        *,
        every: int,
        per_sample: str | None,
        loss: Callable[..., Any] | None,
        probe: Any,
        redrawn: bool,
        tellers: Tellers,
    ) -> None:
        self.model, self.optimizer, self.every, self._redrawn = model, optimizer, every, redrawn
        self._find, self._per_sample, self._loss, self._probe, self._tellers = find, per_sample, loss, probe, tellers
        self.charges, self.left_out = Charges(()), dict[str, str]()
        self._records, self._notes = Records(), dict[str, None]()
        self._samples: StepSamples | None = None
        self._noise: StepNoise | None = None
        self._probing: ProbedNoise | None = None
        self._probed: Callable[[int], StepNoise] | None = None
        self._along: np.ndarray | None = None
        self._outer: OuterStep | None = None
        self._passes: StepPasses
        self._handles: list[Any] = []
        self.is_open = True
        if inputs is None:
            self._handles.append(model.register_forward_pre_hook(Hook(self._first), with_kwargs=True))
        else:
            self._start(*inputs)

    def _first(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """The first pass of training shows what a batch is. Raises InputError where it goes in by name."""
        if torch.is_grad_enabled() and not transformed():
            self._handles.pop().remove()
            if kwargs:
                advice = "Give charges=symmetries(model, x)."
                rule = "cannot be found from inputs that are given by name"
                raise InputError.of("watch.charges", rule, sorted(kwargs), advice)
            with torch.random.fork_rng(devices=[]):
                self._start(*args)
            if self._samples is not None:
                self._samples.capture.count(module, args, {})

    def _start(self, *inputs: Any) -> None:
        """Watch the charges that are found with these inputs."""
        model, optimizer, probe, per_sample = self.model, self.optimizer, self._probe, self._per_sample
        self.charges, self.left_out = charges, _ = self._find(*inputs)
        parameters = dict(model.named_parameters())
        self._parameters = {n: parameters[n] for n in charges.parameters}
        self._products = SliceProducts(charges, {n: tuple(p.shape) for n, p in self._parameters.items()})
        self._steps = Steps(optimizer, self._parameters, self._products)
        self._words = np.full(len(charges), "unknown", dtype=object)
        self._kinds = kinds_of(_kinds(charges))
        self._handles.append(passes := StepPasses(model, self._parameters, counted=probe is not None))
        self._passes = passes
        if probe is not None and self._loss is not None:
            self._probing = ProbedNoise(model, probe, self._loss, self._products, redrawn=self._redrawn)
        elif per_sample is not None and hasattr(model, "_orig_mod"):
            self._note("the layers of a compiled model have no hooks: no noise is measured. Give probe=")
        elif per_sample is not None:
            self._samples = StepSamples(model, self._parameters, self._products)
        try:
            self._row()
        except InputError:
            self._let_go()
            raise
        ready, taken, lost = (partial(self._safely, act) for act in (self._ready, self._taken, self._lost))
        self._handles.append(outer := OuterStep(optimizer, ready=ready, taken=taken, lost=lost))
        self._outer = outer

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def steps(self) -> int:
        """Steps of the optimiser that were seen."""
        return self._steps.count if len(self.charges) else 0

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know."""
        gaps = self._steps.gaps if len(self.charges) else 0
        return (*self._notes, *([f"{gaps} steps could not be followed by the identity"] if gaps else []))

    def close(self) -> None:
        """Take every hook off, after a last row of what was seen since the one before."""
        if not self.is_open:
            return
        if self._outer is not None:
            self._outer.settle()
        self._let_go()
        if not len(self.charges):
            return
        if self.steps > self._records.steps[-1]:
            self._row()

    def states(self) -> dict[str, str]:
        """What every charge was doing, by its name, when noise was last measured.

        Returns
        -------
        dict
            "balanced", "on its way" (to its noise equilibrium), "frozen" (no noise moves it), "diverging" (it has
            none), or "unknown".
        """
        return {c.name: str(w) for c, w in zip(self.charges, self._words, strict=True)}

    def effective_rates(self) -> dict[str, dict[str, float]]:
        """Of the tensors whose scale the loss does not see, by the charge's name, when noise was last measured.

        Returns
        -------
        dict
            rate: the learning rate over |w|^2, with momentum's factor; angle: that a step turns w by; angle_at_rest:
            where growth by noise and weight decay balance.
        """
        row = next((r for r in reversed(self._records.rows) if "gradient" in r), None)
        return {} if row is None else rates_of_scales(self.charges, row, self._steps.last_rules)

    def to_xarray(self) -> xr.Dataset:
        """All rows.

        Returns
        -------
        xarray.Dataset
            dims (step, charge): value, residual, predicted, noise, measured and others, see each one's long_name;
            coordinates: the charges' names and kinds; attrs: the optimiser's settings.
        """
        attributes: dict[str, Any] = {
            "optimizer": type(self.optimizer).__name__,
            "followed_as": self._steps.kind,
            "steps": self.steps,
            "every": self.every,
            "notes": "; ".join(self.notes),
        }
        if self._probe is not None and not self._redrawn:
            attributes["probe_rows"] = batch_of(self._probe)[0][0].shape[0]
        attributes |= settings_of(self.optimizer)
        return self._records.to_xarray([c.name for c in self.charges], _kinds(self.charges), attributes)

    def verify(self, *, alpha: float = 0.01) -> Report:
        """Judge what was seen: the identity, the measured against the predicted drift, the noise's class, and whether
        charges approach their equilibrium.

        Parameters
        ----------
        alpha : float
            The chance of any wrong verdict.

        Returns
        -------
        Report
            Verdicts and curves.
        """
        settings = self.to_xarray().attrs
        return report_of(type(self.model).__name__, self.charges, self._records, settings, alpha=alpha)

    def report(self, path: str | Path, *, alpha: float = 0.01) -> Path:
        """Write the verdicts and the charges' curves as one HTML page.

        Parameters
        ----------
        path : path
            File.
        alpha : float
            As for `verify`.

        Returns
        -------
        Path
        """
        return self.verify(alpha=alpha).to_html(path)

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint: plain numbers, lists and strings.

        Returns
        -------
        dict
        """
        kept = {"charges": [c.name for c in self.charges], "records": self._records.state()}
        return {**kept, **self._steps.state(), "states": [str(w) for w in self._words], "notes": list(self._notes)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where a checkpoint ends, after the model and the optimiser were loaded.

        Parameters
        ----------
        state : mapping
            Of `state_dict`.

        Raises
        ------
        InputError
            For the state of a monitor of other charges.
        """
        must.mapping("load_state_dict.state", state, advice="Give what state_dict() returned.")
        if state.get("charges") != [c.name for c in self.charges]:
            advice = "Watch the same model with the same charges."
            raise InputError.of("load_state_dict.state", "must be of these charges", state.get("charges"), advice)
        self._records.restore(state["records"])
        self._steps.restore(state)
        self._words, self._notes = np.array(state["states"], dtype=object), dict.fromkeys(state["notes"])
        if self.steps > self._records.steps[-1]:
            self._row()
        else:
            self._begin(self._steps.read())

    def _note(self, told: str) -> None:
        self._notes.setdefault(told)

    def _let_go(self) -> None:
        """Take every hook off."""
        self.is_open = False
        for handle in self._handles:
            handle.remove()
        if self._samples is not None:
            self._samples.close()

    def _safely(self, act: Callable[..., object], *args: Any) -> None:
        """No hook raises into a user's step: the watch ends there, with a note that says why."""
        if not self.is_open:
            return
        try:
            act(*args)
        except Exception as error:
            told = f"{type(error).__name__}: {error}".splitlines()[0]
            self._note(f"the watch ended at step {self._steps.count}: {told}")
            self._let_go()

    def _ready(self) -> None:
        """The gradients of a step are there, and it is not taken."""
        self._passes.ready()
        if self._samples is not None and self._samples.is_open:
            self._samples.finish()
            self._along = self._steps.along()
        self._steps.before()

    def _taken(self, followed: bool) -> None:
        """A step was taken; followed: its gradients were made once."""
        batch = self._passes.taken()
        if not followed:
            self._steps.skip()
            self._unknown()
        elif not self._steps.after():
            if self._samples is not None and self._samples.finished:  # of a step that was none
                self._samples.open()
            return
        if self._samples is not None and self._samples.finished:
            self._noise = self._step_noise(self._samples)
            self._samples.forget()
        elif self._noise is None and self._probed is not None and batch:
            self._noise = self._probed(batch)
        if self._steps.count % self.every == 0:
            self._row()

    def _lost(self) -> None:
        """A step failed half way: its window has no forecast."""
        self._passes.taken()
        self._steps.lose()
        self._unknown()

    def _unknown(self) -> None:
        """A window has no noise, and no forecast."""
        self._noise = self._probed = None
        if self._samples is not None:
            self._samples.close()

    @torch.no_grad()
    def _step_noise(self, samples: StepSamples) -> StepNoise | None:
        if samples.reason:
            self._note(samples.reason)
            return None
        assert self._per_sample is not None and self._along is not None
        return StepNoise.of_samples(samples, self._parameters, self._products, self._per_sample, self._along)

    @torch.no_grad()
    def _row(self) -> None:
        """Write down what happened since the row before, and begin the next."""
        read, rows = self._steps.read(), self._records.rows
        row = {"value": read.value}
        if rows:
            row["change"] = read.value - rows[-1]["value"]
            eps = max(torch.finfo(p.dtype).eps for p in self._parameters.values())
            row |= residuals(read, eps, self._passes.eps)
            if self._steps.kind != "sgd":
                row["second_order"] = self._steps.second_order.copy()
                row["first_order"] = row["change"] - row["second_order"]
            if self._noise is not None:
                row |= self._judged(self._noise, row["change"])
            self._leave_out_frozen(row)
        row["time"] = np.array(self._steps.time)
        self._records.add(self.steps, row)
        if len(rows) > 1 and self._tellers:
            for told in self._tellers.tell(self._records.summary(self._kinds), self.steps):
                self._note(told)
        self._begin(read)

    def _leave_out_frozen(self, row: dict[str, np.ndarray]) -> None:
        """Of a charge of a tensor that is not trained, the part that moves alone is no charge."""
        if not (frozen := self._steps.frozen):
            return
        for name in sorted(frozen):
            self._note(f"{name} was frozen while it was watched: its charges are not followed where it is")
        left = touching(self._products, frozen)
        row |= {key: np.where(left, np.nan, row[key]) for key in OF_THEORY if key in row}
        self._words = np.where(left, "unknown", self._words)

    def _judged(self, noise: StepNoise, change: np.ndarray) -> dict[str, np.ndarray]:
        for told in noise.notes:
            self._note(told)
        identity, rules = self._steps.window()
        if self._passes.changed:
            self._note(SCALED)
            identity = None
        row = noise.row(self.charges, self._products, self._at.start, identity, rules)
        self._words = row.pop("state", self._words)
        if "predicted" in row:
            row["measured"] = np.where(np.isfinite(row["predicted"]), change, np.nan)
        return row

    def _begin(self, read: Reading) -> None:
        """Measure noise where the next window begins, or let its first step tell."""
        self._steps.begin()
        self._passes.begin()
        self._noise, self._at, self._probed = None, read, None
        if not self.is_open:
            return
        if self._probing is not None:
            try:
                self._probed = self._probing.here(self._steps)
            except InputError as error:
                if self._outer is None:
                    raise
                self._note(f"no noise was measured after step {self.steps}: {error}")
        elif self._samples is not None:
            self._samples.open()


def _kinds(charges: Charges) -> list[str]:
    return [f.kind for f in charges.families for _ in range(len(f))]
