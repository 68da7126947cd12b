"""A watched training as the report that verifications have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sde.networks.charges import Charges
from sde.networks.records import Records, kinds_of
from sde.networks.training_claims import claims_of
from sde.reports.report import Report
from sde.verification.result import Band, Curves
from sde.verification.verdicts import Claim, Untested, check_alpha, judge, not_tested

SHOWN = 4
"""Charges of each kind that are drawn, and named."""


def report_of(name: str, charges: Charges, records: Records, settings: Mapping[str, Any], *, alpha: float) -> Report:
    """Verdicts of all claims, curves of those charges that moved most."""
    check_alpha(alpha)
    kinds = [f.kind for f in charges.families for _ in range(len(f))]
    noises = [f.noise for f in charges.families for _ in range(len(f))]
    found = list(claims_of(records, kinds, noises, int(settings.get("probe_rows", 0))))
    verdicts = judge([c for c in found if isinstance(c, Claim)], alpha)
    left = not_tested([c for c in found if isinstance(c, Untested)], alpha)
    moved = np.abs(np.nansum(records.field("change", len(charges)), axis=0))
    drawn = {kind: at[np.argsort(-moved[at], kind="stable")[:SHOWN]] for kind, at in kinds_of(kinds)}
    families = [
        {
            "text": kind,
            "number": int((np.array(kinds) == kind).sum()),
            "class": ", ".join(dict.fromkeys(noises[i] for i in np.flatnonzero(np.array(kinds) == kind))),
            "labels": tuple(charges[int(i)].name for i in at),
        }
        for kind, at in drawn.items()
    ]
    told = {str(k).replace("group_0_", "").replace("_", " "): v for k, v in settings.items() if k != "notes"}
    if "lr" in told:
        told["learning rate"] = told.pop("lr")
    facts = {"charges": ", ".join(f"{f['number']} of kind {f['text']}" for f in families)}
    if settings.get("notes"):
        facts["notes"] = str(settings["notes"])
    return Report(
        name=name,
        verdicts=(*verdicts, *left),
        theory={"facts": facts},
        charges=tuple({"name": f["text"], "class": f["class"]} for f in families),
        curves=tuple(_curves(charges[int(i)].name, int(i), len(charges), records) for at in drawn.values() for i in at),
        entries=(),
        explosions=(),
        families=tuple(families),
        settings={**told, "alpha": alpha},
    )


def _curves(name: str, i: int, charges: int, records: Records) -> Curves:
    value = records.field("value", charges)[:, i]
    predicted = records.field("predicted", charges)[1:, i]
    known = np.isfinite(predicted).any()
    theory = value[0] + np.concatenate([[0.0], np.nancumsum(predicted)]) if known else None
    return Curves(name, "where training began", records.time, theory, (Band("SGD", value, value, value),))
