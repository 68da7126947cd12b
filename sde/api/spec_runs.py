"""A spec file's run: read with options laid over it, run, and resumed from its checkpoint."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sde.api import provenance
from sde.api.placement import placed
from sde.api.simulation import simulate
from sde.api.training import train
from sde.engine import checkpoint, checkpoint_folder
from sde.engine.time_grid import MOST_STEPS
from sde.settings import SETTINGS, taken
from sde.spec import run_section
from sde.spec.problem_file import Spec, parse_spec, spec_for
from sde.storage.archive import broken
from sde.storage.distinct_files import check_apart
from symbolic.dynamics.equation import SDE
from symbolic.errors import InputError, instance
from symbolic.language.calls import called
from symbolic.library import LIBRARY

if TYPE_CHECKING:
    import xarray as xr

    from sde.reports.report import Report

FORMAT = 1


def options(spec: Spec, sgd: Mapping[str, Any], run: Mapping[str, Any], named: str) -> Spec:
    """The spec with the options that were given laid over it. named: what messages call it. Raises ValueError."""
    overlaid = {k: v for k, v in sgd.items() if v is not None}
    if spec.optimiser is None and overlaid:
        rule = f"an SDE stands by itself; got {', '.join(overlaid)} for {named}. Leave it out."
        raise InputError(f"options: {rule}")
    spec = replace(spec, optimiser=spec.optimiser and replace(spec.optimiser, **overlaid))
    given = {k: v for k, v in run.items() if v is not None}
    if "parameters" in given:
        if not isinstance(spec.problem, SDE):
            raise InputError.of(
                "--parameters", f"are an SDE's, and {named} is of a loss", given["parameters"], "Leave it out."
            )
        own = run_section.parameters_in(given["parameters"], spec.problem)
        given["parameters"] = {**spec.run.get("parameters", {}), **own}
    merged = {**spec.run, **given}
    if "time" in given and "steps" in given:
        raise InputError(
            f"run.steps: give time or steps, not both; got {given['steps']} (int) beside time {given['time']}. Drop"
            " one."
        )
    if "steps" in given:
        SETTINGS["steps"].read(given["steps"])
    if "steps" in given or ("steps" in merged and "time" not in merged):
        merged["time"] = merged["steps"] * spec.sgd.learning_rate
    elif "time" not in merged:
        raise InputError(
            f"run.time: a length is needed to run; got neither time nor steps in {named}. Add time, or give --time."
        )
    SETTINGS["time"].read(merged["time"], "run.time")
    merged.pop("steps", None)
    if "start" not in merged:
        raise InputError(
            f"run.start: a start is needed to run; got none in {named}. Add start = {{ ... }} under [run]."
        )
    return replace(spec, run=merged)


def run_spec(
    command: str,
    spec: Spec,
    sgd: Mapping[str, Any],
    run: Mapping[str, Any],
    *,
    full_batch: bool = False,
    threads: int | None = None,
    progress: bool = False,
    save: Path | None = None,
) -> xr.Dataset:
    """`command` ("simulate" or "train") on a spec, with options laid over it. save: a checkpoint to begin or
    continue, which then holds all that `resume` needs."""
    call = {**_call(command, spec, sgd, run), "full_batch": full_batch}
    return _launch(command, options(spec, sgd, run, _named(spec)), full_batch, threads, progress, save, call)


def _named(spec: Spec) -> str:
    """What messages call it."""
    return spec.name if spec.path is None else str(spec.path)


def _call(command: str, spec: Spec, sgd: Mapping[str, Any], run: Mapping[str, Any]) -> dict[str, Any]:
    """All that makes the same run again."""
    text = None if spec.path is None else spec.path.read_bytes().decode("utf-8")
    where = spec.name if spec.path is None else str(spec.path.resolve())
    return {"format": FORMAT, "command": command, "spec": where, "text": text, "sgd": dict(sgd), "run": dict(run)}


def verify_spec(
    spec: Spec,
    sgd: Mapping[str, Any],
    run: Mapping[str, Any],
    *,
    alpha: float = 0.01,
    threads: int | None = None,
    progress: bool = False,
    save: Path | None = None,
) -> Report:
    """`verify` on a spec, with options laid over it. save: a checkpoint folder to begin or continue."""
    call = {**_call("verify", spec, sgd, run), "alpha": alpha}
    return _verify(options(spec, sgd, run, _named(spec)), alpha, threads, progress, save, call)


def setup_of(spec: Spec) -> dict[str, Any]:
    """Arguments of `verify` that `calibrate` takes, of a spec."""
    read = options(spec, {}, {}, _named(spec))
    chosen = {k: v for k, v in read.run.items() if k in ("start", "time", "paths")}
    return {"loss": read.loss, "sgd": read.sgd, **chosen}


def compare_spec(
    spec: Spec, sgd: Mapping[str, Any], run: Mapping[str, Any], *, threads: int | None, progress: bool, **more: Any
) -> xr.Dataset:
    """`compare` on a spec, with options laid over it. Of [run], how many paths simulate and train take is not asked:
    rounds find it, where no option says it; and where gradient descent rests long before [run] time, the comparison is
    made there. more: its own settings, None for what was not given."""
    from sde.api.comparison import compare, mean_loss
    from sde.api.comparison_horizon import LEFT, rest_time

    call = {**_call("compare", spec, sgd, run), **more}
    spec = options(spec, sgd, run, _named(spec))
    chosen: dict[str, Any] = {k: v for k, v in spec.run.items() if k in taken("compare")} | {"paths": run.get("paths")}
    chosen["start"] = _one_start(spec)
    if chosen.get("observables"):
        chosen["observables"] = chosen["observables"] | mean_loss(spec.loss, chosen["observables"])
    asked = chosen["time"]
    rest = None if run.get("time") is not None else rest_time(spec.loss, spec.sgd, chosen["start"], asked)
    with provenance.called(call):
        given = {k: v for k, v in more.items() if v is not None}
        found = compare(
            spec.loss, spec.sgd, **chosen | {"time": rest or asked}, threads=threads, progress=progress, **given
        )
    if rest is not None:
        found.attrs["horizon"] = (
            f"Compared at t = {rest:.3g}, not at the spec's {asked:g}: by then gradient descent has lost"
            f" {1 - LEFT:.0%} of the loss that it loses, and orders are to be seen; --time {asked:g} compares there."
        )
    return found


def _one_start(spec: Spec) -> Any:
    """The first of several."""
    return spec.run["start"][0] if isinstance(spec.run["start"], list) else spec.run["start"]


def is_of_verification(path: Path) -> bool:
    """Whether a checkpoint is the folder of a verification. Raises as `resume` does."""
    return path.is_dir() and _kept(path).get("command") == "verify"


def _kept(path: Path) -> dict[str, Any]:
    """What a checkpoint, of a run or a folder of several, says of the command line that made it. Raises OSError for one
    that is not whole, InputError for that of a Python call."""
    call = (checkpoint_folder.manifest(path) if path.is_dir() else checkpoint.read(path, arrays=False)[0]).get("call")
    if not isinstance(call, dict) or call.get("format") != FORMAT:
        raise _of_python(path)
    return call


def _of_python(path: Path) -> InputError:
    return InputError(
        f"resume: needs the checkpoint of a command line; got {path}, of a Python call. Make that call again with"
        f" checkpoint={str(path)!r}."
    )


def resume_verification(
    path: str | Path, *, threads: int | None = None, progress: bool = False, outputs: Sequence[str | Path | None] = ()
) -> Report:
    """Continue the verification of a checkpoint folder that `noetherflow verify` made, to the report of an undisturbed
    one. The spec is the one in the folder. Raises OSError for a folder that is not whole, ValueError."""
    instance("resume", path, (str, os.PathLike), "must be the path of a checkpoint", "Give a text or a pathlib.Path.")
    path = Path(path)
    call = _kept(path)
    if call.get("command") != "verify":
        raise _of_python(path)
    spec = spec_for(call["spec"]) if call["text"] is None else parse_spec(call["text"], call["spec"])
    check_apart(outputs, [path, *spec.inputs])
    spec = options(spec, call["sgd"], call["run"], call["spec"])
    return _verify(spec, float(call["alpha"]), threads, progress, path, call)


def _verify(
    spec: Spec, alpha: float, threads: int | None, progress: bool, save: Path | None, call: Mapping[str, Any]
) -> Report:
    from sde.api.verifying import verify

    chosen = {k: v for k, v in spec.run.items() if k in taken("verify")}
    chosen["claims"] = [own_claim(i, given) for i, given in enumerate(spec.claims)]
    target = None if save is None else checkpoint.CheckpointTarget(save, call)
    with provenance.called(call):
        return verify(spec.loss, spec.sgd, alpha=alpha, threads=threads, progress=progress, checkpoint=target, **chosen)


def own_claim(place: int, given: Mapping[str, Any]) -> Any:
    """A claim of a spec. Raises InputError that names its place there."""
    from sde.api.claims import Claim

    try:
        return Claim(given["observable"], **{k: v for k, v in given.items() if k != "observable"})
    except InputError as error:
        raise InputError(str(error).replace("Claim.", f"claims[{place}].", 1)) from None


@called()
@placed
def resume(
    path: str | Path,
    *,
    threads: int | None = None,
    executor: Any = None,
    portable: bool = False,
    progress: bool = False,
    outputs: Sequence[str | Path | None] = (),
) -> xr.Dataset:
    """Continue the run, or the sweep, of a checkpoint that `noetherflow simulate` or `train` wrote, to the bits of an
    undisturbed one.

    The spec is the one in the checkpoint, parsed as any spec is; a data file beside it is read again, and the run
    refused if it is not the one it was. Checkpoints of Python calls hold no problem: call `simulate` or `train` again
    with the same arguments instead.

    Parameters
    ----------
    path
        The checkpoint: a file, or of a sweep a folder.
    threads
        As many as there are cores when left out; no number depends on it.
    executor, portable
        As for `simulate`.
    progress
        Show a bar.
    outputs
        Where the result will be written, refused if that is the checkpoint, the spec or its data.

    Returns
    -------
    Dataset
        As of `simulate` or `train`.

    Raises
    ------
    InputError
        For a checkpoint of a Python call, or other data.
    OSError
        For a file that is not whole.
    """
    instance("resume", path, (str, os.PathLike), "must be the path of a checkpoint", "Give a text or a pathlib.Path.")
    path = Path(path)
    call = _kept(path)
    if call.get("command") not in ("simulate", "train"):
        raise _of_python(path)
    wrong = _wrong(call)
    if wrong:
        raise broken(path, f"its header's {wrong} is not there or of another type")
    spec = spec_for(call["spec"]) if call["text"] is None else parse_spec(call["text"], call["spec"])
    check_apart(outputs, [path, *spec.inputs])
    spec = options(spec, call["sgd"], call["run"], call["spec"])
    return _launch(call["command"], spec, bool(call["full_batch"]), threads, progress, path, call)


OPTIONS: dict[str, dict[str, Any]] = {
    "sgd": {
        "learning_rate": float,
        "batch_size": (int, float),
        "weight_decay": float,
        "momentum": float,
        "schedule": str,
    },
    "run": {s.name: s.option for s in SETTINGS.values() if s.option},
}
"""What a checkpoint may say of the options that its run was given."""


def _wrong(call: Mapping[str, Any]) -> str | None:
    """The first entry of a checkpoint's `call` that `run_spec` cannot have written."""
    library = call.get("text") is None and "text" in call
    if not isinstance(call.get("spec"), str) or (library and call["spec"].replace("_", "-") not in LIBRARY):
        return "spec"
    if not library and not isinstance(call.get("text"), str):
        return "text"
    if not isinstance(call.get("full_batch"), bool):
        return "full_batch"
    for group, types in OPTIONS.items():
        given = call.get(group)
        if not isinstance(given, dict):
            return group
        for key, value in given.items():
            kind = types.get(key)
            flag = isinstance(value, bool) and kind is not bool
            if kind is None or flag or not (value is None or isinstance(value, kind)):
                return f"{group}.{key}"[:40]
    return None


def _launch(
    command: str,
    spec: Spec,
    full_batch: bool,
    threads: int | None,
    progress: bool,
    save: Path | None,
    call: Mapping[str, Any],
) -> xr.Dataset:
    chosen = {k: v for k, v in spec.run.items() if k in taken(command)} | {"threads": threads, "progress": progress}
    chosen["start"] = _one_start(spec)
    chosen["checkpoint"] = None if save is None else checkpoint.CheckpointTarget(save, call)
    if command == "simulate":
        with provenance.called(call):
            return simulate(spec.problem, spec.optimiser, **chosen)
    count = spec.run["time"] / spec.sgd.learning_rate
    if not count < MOST_STEPS:
        raise InputError(
            f"run.time: a run has at most {MOST_STEPS} steps; got {count:g}. Take a larger learning rate or a shorter"
            " run."
        )
    with provenance.called(call):
        return train(spec.loss, spec.sgd, steps=max(1, round(count)), full_batch=full_batch, **chosen)
