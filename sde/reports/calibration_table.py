"""A calibration for the terminal, and as JSON: false alarms, and which mutations were caught, loss by loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sde.verification.calibration import binomial_interval
from sde.verification.mutations import MUTATIONS

if TYPE_CHECKING:
    import xarray as xr


def calibration_record(found: xr.Dataset) -> dict[str, Any]:
    """JSON-able: settings, totals of false alarms, and a record a loss with one a mutation."""
    losses = [_loss(found.isel(loss=i)) for i in range(found.sizes["loss"])]
    plain = {k: v.item() if hasattr(v, "item") else v for k, v in found.attrs.items()}
    return {**plain, "seconds": float(found.seconds.sum()), "false_alarms": _alarms(found), "losses": losses}


def _loss(one: xr.Dataset) -> dict[str, Any]:
    mutations = [_mutation(one.isel(mutation=j)) for j in range(one.sizes["mutation"])]
    counts = {k: int(one[k]) for k in ("supported", "hasty")}
    return {
        "loss": str(one.loss.item()),
        "seeds": int(one.seeds[0]),
        "seconds": float(one.seconds),
        **counts,
        "false_alarms": {str(d): int(n) for d, n in zip(one.drift_margin.values, one.false_alarms.values, strict=True)},
        "mutations": mutations,
    }


def _mutation(one: xr.Dataset) -> dict[str, Any]:
    distance = float(one.distance)
    return {
        "mutation": str(one.mutation.item()),
        "applicable": bool(one.applicable),
        "distance": distance if distance == distance else None,
        "caught": int(one.caught),
        "low": float(one.low),
        "high": float(one.high),
        "caught_by": {str(c): int(n) for c, n in zip(one.claim.values, one.caught_by.values, strict=True) if n},
    }


def _alarms(found: xr.Dataset) -> list[dict[str, Any]]:
    """Over all losses, at every margin of the drift."""
    of = int(found.seeds.isel(mutation=0).sum())
    out: list[dict[str, Any]] = []
    for margin in found.drift_margin.values:
        count = int(found.false_alarms.sel(drift_margin=margin).sum())
        low, high = binomial_interval(count, of)
        out.append({"drift_margin": str(margin), "count": count, "of": of, "low": low, "high": high})
    return out


def calibration_table(found: xr.Dataset) -> RenderableType:
    """A row a mutation and a column a loss: how many of the seeds caught it, or a dash where it does not apply."""
    record = calibration_record(found)
    losses = record["losses"]
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("wrong theory", no_wrap=True)
    for one in losses:
        table.add_column(Text(one["loss"]), justify="right")
    for j, name in enumerate(found.mutation.values):
        table.add_row(Text(str(name)), *(_cell(one["mutations"][j], one["seeds"]) for one in losses))
    table.add_section()
    table.add_row("false alarms", *(Text(f"{_first(one['false_alarms'])}/{one['seeds']}") for one in losses))
    table.add_row("seconds", *(Text(f"{one['seconds']:.0f}") for one in losses))
    statements = {m.name: m.statement for m in MUTATIONS}
    words = [Text(f"  {name}: {statements[name]}", style="dim") for name in found.mutation.values if name in statements]
    return Group(table, Text(), *_totals(record), *words)


def _first(counts: dict[str, int]) -> int:
    return next(iter(counts.values()))


def _cell(one: dict[str, Any], seeds: int) -> Text:
    if not one["applicable"]:
        return Text("-", style="dim")
    return Text.assemble(f"{one['caught']}/{seeds}", (f"\n{one['low']:.1%}..{one['high']:.0%}", "dim"))


def _totals(record: dict[str, Any]) -> list[Text]:
    lines: list[Text] = []
    for a in record["false_alarms"]:
        at = "" if a is record["false_alarms"][0] else f", drifts held to {a['drift_margin']}"
        share = a["count"] / max(a["of"], 1)
        lines.append(
            Text(f"false alarms{at}: {a['count']} of {a['of']} verifications, {share:.1%}, at most {a['high']:.1%}")
        )
    hasty, supported = (sum(one[k] for one in record["losses"]) for k in ("hasty", "supported"))
    lines.append(Text(f"supported on fewer paths than the margin needs: {hasty} of {supported} claims"))
    lines.append(Text("- does not apply: the predictions differ by less than 1.75 margins; bounds hold at 99 % each"))
    return lines
