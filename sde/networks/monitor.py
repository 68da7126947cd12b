"""Watch a model's charges while the user's own loop trains it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sde.networks.charges import Charges
from sde.networks.equilibrium import effective_rates
from sde.networks.own_pass import Hook, transformed
from sde.networks.records import Records, kinds_of
from sde.networks.slice_products import SliceProducts
from sde.networks.step_noise import StepNoise
from sde.networks.step_samples import StepSamples
from sde.networks.steps import Reading, Steps
from sde.networks.traces import gradient_moments
from sde.networks.training_report import report_of
from sde.reports.report import Report
from symbolic.errors import InputError
from symbolic.errors import check as must

if TYPE_CHECKING:
    import xarray as xr

Tell = Callable[[Mapping[str, float], int], object]


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
        tellers: Sequence[Tell],
    ) -> None:
        self.model, self.optimizer, self.every = model, optimizer, every
        self._find, self._per_sample, self._loss, self._probe, self._tellers = find, per_sample, loss, probe, tellers
        self._redrawn = redrawn
        self.charges, self.left_out = Charges(()), dict[str, str]()
        self._records, self._notes = Records(), dict[str, None]()
        self._samples: StepSamples | None = None
        self._noise: StepNoise | None = None
        self._probed: Callable[[int], StepNoise] | None = None
        self._along: np.ndarray | None = None
        self._batch = self._depth = self._closed = 0
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
            self._count(module, args, {})
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
        self._handles += [
            optimizer.register_step_pre_hook(self._before),
            optimizer.register_step_post_hook(self._after),
        ]
        if probe is not None:
            self._handles.append(model.register_forward_pre_hook(Hook(self._count), with_kwargs=True))
        elif per_sample is not None and hasattr(model, "_orig_mod"):
            self._note("the layers of a compiled model have no hooks: no noise is measured. Give probe=")
        elif per_sample is not None:
            self._samples = StepSamples(model, self._parameters, self._products)
        self._row()

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
        self.is_open = False
        for handle in self._handles:
            handle.remove()
        if not len(self.charges):
            return
        if self._samples is not None:
            self._samples.close()
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
        found: dict[str, dict[str, float]] = {}
        row = next((r for r in reversed(self._records.rows) if "gradient" in r), None)
        for k, c in enumerate(self.charges):
            if c.kind == "scale" and row is not None and self._steps.last_rules:
                weight = max(abs(w) for t in c.terms for w in t.weights)
                rule = self._steps.last_rules[c.parameters[0]]
                norm, gradient = (np.array([row[key][k] / weight]) for key in ("value", "gradient"))
                found[c.name] = {key: float(v[0]) for key, v in effective_rates(norm, gradient, rule).items()}
        return found

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
        for i, group in enumerate(self.optimizer.param_groups):
            told = {k: v for k, v in group.items() if isinstance(v, (int, float))}
            attributes |= {f"group_{i}_{k}": int(v) if isinstance(v, bool) else v for k, v in told.items()}
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
        precision = max(torch.finfo(p.dtype).eps for p in self._parameters.values()) if self._parameters else 0.0
        name = type(self.model).__name__
        return report_of(name, self.charges, self._records, settings, precision, alpha=alpha)

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

    def _count(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        tensors = [t for t in (*args, *kwargs.values()) if isinstance(t, Tensor) and t.ndim]
        if tensors and torch.is_grad_enabled() and not transformed():
            self._batch += tensors[0].shape[0]

    def _before(self, optimizer: Optimizer, args: Any, kwargs: Any) -> tuple[Any, Any] | None:
        """A step that calls its base class's calls hooks within hooks: the outermost count. Where a closure makes the
        gradients, the step begins once it has."""
        self._depth += 1
        if self._depth > 1:
            return None
        if (closure := _closure(args, kwargs)) is None:
            self._ready()
            return None
        self._closed = 0

        def made() -> Any:
            loss = closure()
            self._closed += 1
            if self._closed == 1:
                self._ready()
            return loss

        return ((args[0], made, *args[2:]), kwargs) if len(args) > 1 else (args, {**kwargs, "closure": made})

    def _ready(self) -> None:
        """The gradients of a step are there, and it is not taken."""
        if self._samples is not None and self._samples.is_open:
            self._samples.finish()
            self._along = self._steps.along()
        self._steps.before()

    def _after(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        self._depth = max(self._depth - 1, 0)
        if self._depth:
            return
        if _closure(args, kwargs) is not None and self._closed != 1:
            self._steps.skip()
        elif not self._steps.after():
            self._again()
            return
        if self._samples is not None and self._samples.units:
            self._noise = self._step_noise(self._samples)
            self._samples.forget()
        elif self._noise is None and self._probed is not None and self._batch:
            self._noise = self._probed(self._batch)
        self._batch = 0
        if self._steps.count % self.every == 0:
            self._row()

    def _again(self) -> None:
        """The step was none: its samples are forgotten, and the next one's are taken."""
        if self._samples is not None and self._samples.units:
            self._samples.forget()
            self._samples.open()

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
            with np.errstate(invalid="ignore", divide="ignore"):
                row["residual"] = (read.value - read.expected) / np.where(read.size > 0, read.size, 1.0)
            row["scale"] = read.size
            if self._steps.kind != "sgd":
                row["second_order"] = self._steps.second_order.copy()
                row["first_order"] = row["change"] - row["second_order"]
            if self._noise is not None:
                row |= self._judged(self._noise, row["change"])
        row["time"] = np.array(self._steps.time)
        self._records.add(self.steps, row)
        if len(rows) > 1 and self._tellers:
            numbers = self._records.summary(self._kinds)
            for tell in self._tellers:
                tell(numbers, self.steps)
        self._begin(read)

    def _judged(self, noise: StepNoise, change: np.ndarray) -> dict[str, np.ndarray]:
        for told in noise.notes:
            self._note(told)
        steps = self._steps
        row = noise.row(self.charges, self._products, self._at.start, steps.identity, steps.rules)
        self._words = row.pop("state", self._words)
        if "predicted" in row:
            row["measured"] = np.where(np.isfinite(row["predicted"]), change, np.nan)
        return row

    def _begin(self, read: Reading) -> None:
        """Measure noise where the next window begins, or let its first step tell."""
        self._steps.begin()
        self._noise, self._at, self._batch, self._probed = None, read, 0, None
        if not self.is_open:
            return
        if self._probe is not None and self._loss is not None:
            with torch.enable_grad(), torch.random.fork_rng(devices=[]):
                moments, mean = gradient_moments(self.model, self._probe, self._loss, self._products)
            self._probed = partial(StepNoise.of_probe, moments, along=self._steps.along(mean), redrawn=self._redrawn)
            self._batch = 0
        elif self._samples is not None:
            self._samples.open()


def _closure(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Callable[[], Any] | None:
    """What a step is given to make its gradients with; args: the optimiser first."""
    return args[1] if len(args) > 1 else kwargs.get("closure")


def _kinds(charges: Charges) -> list[str]:
    return [f.kind for f in charges.families for _ in range(len(f))]
