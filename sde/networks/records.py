"""What a monitor has seen, row by row, as numbers, as a data set, and for a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

FIELDS: Mapping[str, str] = {
    "value": "the charge after the step",
    "scale": "theta^T |A| theta + 2 |b|^T |theta|",
    "reach": "2 |A theta + b| |step|, the most that a step of that length can change the charge by",
    "blur": "what rounding of gradients changes the charge by in a step: a share of reach",
    "residual": "measured less what the identity gives from the row before, over scale + reach",
    "rounding": "what rounding of parameters and gradients adds to the residual in a step",
    "change": "of the charge since the row before",
    "first_order": "2 theta^T A delta since the row before: of optimisers that no identity is known for",
    "second_order": "delta^T A delta since the row before",
    "noise": "Tr[Sigma A] of one sample's gradient, at the first step after the row before",
    "noise_size": "Tr[Sigma |A|], there",
    "mean": "g^T A g of the mean gradient, there, without bias",
    "predicted": "change since the row before, from noise, mean, momentum and decay",
    "known": "of the predicted change, what gradients make that were seen: by momentum, and that noise was measured on",
    "measured": "change since the row before, where there is a prediction",
    "equilibrium": "where along the charge's orbit noise and decay balance; 0: here; infinite: nowhere",
    "relaxation": "time to that equilibrium, in learning-rate time, at the noise that is now",
}
"""Variables of a data set, each (step, charge)."""
_MEASURED = {"value", "scale", "reach", "blur", "rounding", "change", "first_order", "second_order"}
OF_THEORY = {*FIELDS, "gradient", "net"} - _MEASURED
"""Those that say something only where the charge is one."""


class Records:
    """Rows of (charges,) numbers, by step."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.rows: list[dict[str, np.ndarray]] = []

    def add(self, step: int, row: Mapping[str, np.ndarray]) -> None:
        """One more row."""
        self.steps.append(step)
        self.rows.append(dict(row))

    def field(self, name: str, charges: int) -> np.ndarray:
        """(rows, charges); NaN where a row has none."""
        none = np.full(charges, np.nan)
        return np.array([row.get(name, none) for row in self.rows]).reshape(len(self.rows), charges)

    @property
    def time(self) -> np.ndarray:
        """(rows,): sums of learning rates."""
        return np.array([float(row["time"]) for row in self.rows])

    def summary(self, kinds: Sequence[tuple[str, np.ndarray]]) -> dict[str, float]:
        """Of the last row, a few numbers for each kind of charge; kinds: with the places of its charges."""
        row, out = self.rows[-1], dict[str, float]()
        for kind, at in kinds:
            here = {name: row[name][at] for name in FIELDS if name in row}
            with np.errstate(invalid="ignore", divide="ignore"):
                out[f"charges/{kind}/imbalance"] = _mean(np.abs(here["value"]) / here["scale"])
                out[f"charges/{kind}/residual"] = float(np.max(np.abs(here["residual"]), initial=0.0))
                out[f"charges/{kind}/change"] = _mean(here["change"])
                if "noise" in here:
                    out[f"charges/{kind}/noise_imbalance"] = _mean(np.abs(here["noise"]) / here["noise_size"])
                if "predicted" in here:
                    out[f"charges/{kind}/predicted"] = _mean(here["predicted"])
        return out

    def to_xarray(self, names: Sequence[str], kinds: Sequence[str], attributes: Mapping[str, Any]) -> xr.Dataset:
        """dims (step, charge)."""
        import xarray as xr

        data = {
            name: (("step", "charge"), self.field(name, len(names)), {"long_name": told})
            for name, told in FIELDS.items()
        }
        coordinates = {
            "step": np.array(self.steps, dtype=np.int64),
            "time": ("step", self.time),
            "charge": list(names),
            "kind": ("charge", list(kinds)),
        }
        return xr.Dataset(data, coordinates, dict(attributes))

    def state(self) -> dict[str, Any]:
        """Lists of numbers alone."""
        return {"steps": list(self.steps), "rows": [{k: v.tolist() for k, v in row.items()} for row in self.rows]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """As `state` gave them."""
        self.steps = [int(s) for s in state["steps"]]
        self.rows = [{str(k): np.array(v, dtype=float) for k, v in row.items()} for row in state["rows"]]


def _mean(values: np.ndarray) -> float:
    """Of those that are finite."""
    kept = values[np.isfinite(values)]
    return float(kept.mean()) if len(kept) else float("nan")


def kinds_of(kinds: Sequence[str]) -> list[tuple[str, np.ndarray]]:
    """(kind, places) of charges, in order of appearance."""
    found = np.array(kinds, dtype=object)
    return [(kind, np.flatnonzero(found == kind)) for kind in dict.fromkeys(kinds)]
