"""Watching from a callback of a trainer library: hooks under the names by which PyTorch Lightning and Hugging Face's
Trainer call them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from sde.networks.monitor import Monitor
from sde.networks.watching import watch
from symbolic.errors import InputError, instance

BASE = "Give lightning.pytorch.Callback or transformers.TrainerCallback."


class TrainerHooks:
    """Begins to watch where a training begins, and closes the monitor where it ends. monitor: None before."""

    monitor: Monitor | None = None
    _options: Mapping[str, Any] = {}
    _module = ""
    _state: Mapping[str, Any] | None = None

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Lightning's: before the first batch, after a checkpoint was read."""
        optimizers = getattr(trainer, "optimizers", None)
        if not isinstance(optimizers, Sequence) or len(optimizers) != 1:
            advice = "Call watch(model, optimizer) for each, in configure_optimizers."
            raise InputError.of("trainer_callback.optimizers", "must be one optimiser's", optimizers, advice)
        self._begin(pl_module, optimizers[0])

    def on_train_begin(
        self, args: Any, state: Any, control: Any, model: Any = None, optimizer: Any = None, **_: Any
    ) -> None:
        """Hugging Face's, with the model and the optimiser by name."""
        self._begin(model, optimizer)

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """Of either."""
        if self.monitor is not None:
            self.monitor.close()

    def on_exception(self, *_: Any, **__: Any) -> None:
        """Lightning's: a training that fails leaves no hook behind."""
        self.on_train_end()

    def state_dict(self) -> dict[str, Any]:
        """What Lightning puts into a checkpoint."""
        return {} if self.monitor is None else self.monitor.state_dict()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """What it read from one, before a training begins. Raises InputError where the charges are not known then."""
        if self._options.get("charges") is None:
            advice = "Give charges=symmetries(model, x)."
            raise InputError.of("trainer_callback.charges", "are needed to go on from a checkpoint", None, advice)
        self._state = state_dict

    def _begin(self, model: Any, optimizer: Any) -> None:
        self.on_train_end()
        instance("trainer_callback.model", model, nn.Module, "needs a torch.nn.Module", "Let a trainer call the hooks.")
        if self._module not in dict(model.named_modules()):
            advice = "Give the path of a submodule, as in model.named_modules()."
            raise InputError.of("trainer_callback.module", "must be a module of the model", self._module, advice)
        self.monitor = watch(model.get_submodule(self._module), optimizer, **self._options)
        if self._state is not None:
            self.monitor.load_state_dict(self._state)
            self._state = None


def trainer_callback(base: type, *, module: str = "", **options: Any) -> Any:
    """A callback of PyTorch Lightning or Hugging Face's Trainer that watches what the trainer trains.

    Parameters
    ----------
    base : type
        The library's class of callbacks: ``lightning.pytorch.Callback`` or ``transformers.TrainerCallback``.
    module : str
        The submodule that is watched, such as ``"network"`` where a LightningModule's ``training_step`` calls
        ``self.network(x)``; "": the module itself, where it calls ``self(x)``.
    **options
        Of `watch`: charges, every, per_sample, loss, probe, sinks.

    Returns
    -------
    callback
        Of the class `base`; its ``monitor`` is what `watch` returned, from the beginning of training on.

    Raises
    ------
    InputError
        For a base that is no class.

    Examples
    --------
    >>> import torch
    >>> from sde.networks import symmetries, trainer_callback
    >>> class Callback:  # lightning.pytorch.Callback in its place
    ...     pass
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1))
    >>> theory = symmetries(model, torch.randn(4, 2))
    >>> callback = trainer_callback(Callback, charges=theory, every=10)
    >>> isinstance(callback, Callback), callback.monitor
    (True, None)
    """
    if not isinstance(base, type):
        raise InputError.of("trainer_callback.base", "must be a class of callbacks", base, BASE)
    found = type("WatchCallback", (TrainerHooks, base), {})()
    found._options, found._module = options, module
    return found
