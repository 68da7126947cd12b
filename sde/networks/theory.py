"""What was found of a network: its charges, how they were sought, as a table, JSON and a notebook's display."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor

from sde.networks.charge import Charge, Tensors
from sde.networks.charges import Charges
from sde.networks.family import Family

NOISE = {"convergent": "noise stops", "divergent": "noise grows it", "frozen": "no noise"}
LARGEST = 10_000
"""Charges that JSON writes out one by one."""


@dataclass(frozen=True, eq=False)
class Symmetries:
    """The symmetries of a network and their charges.

    Attributes
    ----------
    exact : Charges
        Charges that passed every test.
    broken : Charges
        Patterns that nearly hold, each with the size of what breaks it at the model's own parameters.
    independent_charges : int or None
        Rank of the exact charges' fields at a generic point; None where it is not decided.
    unknowns : int
        Unknowns of the ansatz that was solved.
    windows : int
        Into how many overlapping runs of layers the search was split; 1: none.
    width : int or None
        Width of the narrow copy that was searched; None: the model itself.
    tied : dict
        {name: further names of the same tensor}.
    parameters : int
        Trained parameters of the model.
    seconds : float
        What it took.
    """

    exact: Charges
    broken: Charges
    independent_charges: int | None
    unknowns: int
    windows: int
    width: int | None
    tied: dict[str, list[str]]
    parameters: int
    seconds: float

    @cached_property
    def charges(self) -> Charges:
        """All of them, the exact ones first."""
        return Charges([*self.exact.families, *self.broken.families])

    @property
    def generators(self) -> Sequence[Callable[[Tensors], dict[str, Tensor]]]:
        """The exact charges' fields: functions {name: tensor} -> {name: A theta + b}."""
        return _Generators(self.exact)

    @property
    def ansatz(self) -> str:
        """What was sought, and so what the table is complete within; charges carried over from a narrow copy may be
        fewer than the model has."""
        known = "Complete within" if self.width is None else "All of these hold, others may be missing; sought within"
        where = (
            "at full width"
            if self.width is None
            else f"on a copy of width {self.width}, lifted and tested at full width"
        )
        how = (
            ""
            if self.windows == 1
            else f", in {self.windows} overlapping runs of neighbouring layers, broken ones not sought"
        )
        return (
            f"{known} the ansatz: symmetric actions and shifts along the axes of every tensor, affine mixes of "
            f"them, and mixings of units that can be rescaled; {self.unknowns:,} unknowns {where}{how}."
        )

    def summary(self) -> str:
        """A table: number of charges, kind, what noise does, the largest residual, and the first of each family."""
        count = "not decided" if self.independent_charges is None else f"{self.independent_charges:,}"
        size = f"{self.parameters:,} parameters, {self.seconds:.1f} s"
        lines = [f"{len(self.exact):,} exact charges, independent: {count} ({size})"]
        rows = [("number", "kind", "noise", "status", "charge"), *self._rows()]
        widths = [max(len(r[k]) for r in rows) for k in range(4)]
        lines += ["  ".join([*(w.ljust(n) for w, n in zip(r, widths, strict=False)), r[4]]).rstrip() for r in rows]
        lines += [f"{name} is one tensor with {', '.join(also)}" for name, also in self.tied.items()]
        return "\n".join([*lines, self.ansatz])

    def __str__(self) -> str:
        return self.summary()

    def _rows(self) -> Iterator[tuple[str, str, str, str, str]]:
        for f in self.charges.families:
            name = f.charge(0).name if len(f) == 1 else f"{f.charge(0).name}  ..  {f.charge(len(f) - 1).name}"
            size = float(np.max(f.size))
            status = "exact" if f.status == "exact" else f"broken, {size:.1e}"
            yield f"{len(f):,}", f.kind, NOISE[f.noise], status, name

    def to_json(self) -> dict[str, Any]:
        """The table as plain lists, numbers and strings.

        Returns
        -------
        dict
            Families with their tensors, slices and weights; up to 10,000 charges one by one as well.
        """
        listed = len(self.charges) <= LARGEST
        return {
            "exact": len(self.exact),
            "broken": len(self.broken),
            "independent": self.independent_charges,
            "parameters": self.parameters,
            "unknowns": self.unknowns,
            "windows": self.windows,
            "width": self.width,
            "tied": self.tied,
            "ansatz": self.ansatz,
            "seconds": self.seconds,
            "families": [_record(f) for f in self.charges.families],
            "charges": [c.record() for c in self.charges] if listed else None,
        }

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{h}</th>" for h in ("number", "kind", "noise", "status", "charge"))
        rows = "".join(f"<tr>{''.join(f'<td>{html.escape(c)}</td>' for c in row)}</tr>" for row in self._rows())
        first, *rest = self.summary().split("\n")
        notes = "".join(f"<p>{html.escape(line)}</p>" for line in rest[len(self.charges.families) + 1 :])
        return f"<p>{html.escape(first)}</p><table><tr>{head}</tr>{rows}</table>{notes}"


@dataclass(frozen=True)
class _Generators(Sequence[Callable[[Tensors], dict[str, Tensor]]]):
    charges: Charges

    def __len__(self) -> int:
        return len(self.charges)

    def __getitem__(self, k: Any) -> Any:
        found = self.charges[k]
        return found.field if isinstance(found, Charge) else [c.field for c in found]


def _record(family: Family) -> dict[str, Any]:
    return {
        "kind": family.kind,
        "noise": family.noise,
        "status": family.status,
        "number": len(family),
        "size": float(np.max(family.size)),
        "tensors": list(family.parameters),
        "first": family.charge(0).name,
        "last": family.charge(len(family) - 1).name,
    }
