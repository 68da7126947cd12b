"""Symmetries, charges and their forecasts for a `torch.nn.Module`. Needs the extra ``noetherflow[torch]``."""

try:
    import torch as torch
except ImportError as error:
    raise ImportError("sde.networks needs torch: pip install 'noetherflow[torch]'") from error

from sde.networks.balance import Balanced, balance
from sde.networks.charge import Charge
from sde.networks.charges import Charges
from sde.networks.monitor import Monitor
from sde.networks.symmetries import symmetries
from sde.networks.theory import Symmetries
from sde.networks.traces import Traces, covariance_traces
from sde.networks.trainer_hooks import trainer_callback
from sde.networks.watching import watch

__all__ = [
    "Balanced",
    "Charge",
    "Charges",
    "Monitor",
    "Symmetries",
    "Traces",
    "balance",
    "covariance_traces",
    "symmetries",
    "trainer_callback",
    "watch",
]
