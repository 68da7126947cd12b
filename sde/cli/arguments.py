"""Arguments and options that several commands share, and what --at says."""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from sde.constraints import Setting
from sde.settings import SETTINGS, options
from symbolic.errors import InputError, check


def _losses(incomplete: str) -> list[str]:
    """Names of library losses, and the specs at hand."""
    from symbolic.library import LIBRARY

    path = Path(incomplete)
    folder = path if incomplete.endswith("/") else path.parent
    with suppress(OSError):
        here = [f"{p}/" if p.is_dir() else str(p) for p in folder.iterdir() if p.is_dir() or p.suffix == ".toml"]
        return [name for name in [*LIBRARY, *sorted(here)] if name.startswith(incomplete)]
    return [name for name in LIBRARY if name.startswith(incomplete)]


def _schemes(incomplete: str) -> list[str]:
    """Names of the schemes that integrate an SDE."""
    from symbolic.schemes import SCHEMES

    return [s.name for s in SCHEMES.values() if s.calculus != "discrete" and s.name.startswith(incomplete)]


def _among(*names: str) -> Callable[[str], list[str]]:
    return lambda incomplete: [name for name in names if name.startswith(incomplete)]


SpecArgument = Annotated[
    str,
    typer.Argument(help="A TOML spec, or the name of a library loss.", metavar="SPEC", autocompletion=_losses),
]
SpecArguments = Annotated[
    list[str] | None,
    typer.Argument(help="TOML specs, or names of library losses.", metavar="[SPEC]...", autocompletion=_losses),
]
CheckpointArgument = Annotated[
    Path, typer.Argument(help="The checkpoint of a simulate, train or verify that did not end.")
]
RESULT = "NetCDF file to write, or zarr folder where the name ends in .zarr."
ResultOf = Annotated[Path | None, typer.Option("-o", "--output", help=f"{RESULT[:-1]}, of simulate and train.")]
Json = Annotated[
    str | None, typer.Option("--json", help="Write the result as JSON to this file, or - for standard output.")
]
Output = Annotated[Path, typer.Option("-o", "--output", help=RESULT)]
At = Annotated[
    str | None,
    typer.Option(
        help="Also evaluate at a point: values as in TOML, u = 1.2, W = [[1.0, 0.5]], or start for the spec's."
    ),
]
Save = Annotated[
    Path | None,
    typer.Option("--checkpoint", help=SETTINGS["checkpoint"].help),
]
Report = Annotated[Path | None, typer.Option(help="Report to write: HTML, or Markdown where the name ends in .md.")]
SaveAll = Annotated[
    Path | None,
    typer.Option(
        "--checkpoint", help="Save what is complete in this folder as it is made; continue from it if it is there."
    ),
]
TimeLimit = Annotated[
    float,
    typer.Option(help="Seconds after which the derivation ends with what is known by then.", show_default=True),
]
Threads = Annotated[int | None, typer.Option(help=SETTINGS["threads"].help)]
FullBatch = Annotated[bool, typer.Option(help=SETTINGS["full_batch"].help)]
Given = dict[str, Any]
"""Options that lie over a section of the spec, by name; None for what was not given."""

OPTIMISER: dict[str, type] = {
    "learning_rate": float,
    "batch_size": int,
    "weight_decay": float,
    "momentum": float,
    "schedule": str,
}


def with_options(command: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """A command's parameters `sgd` and `run` become an option for every setting of the optimiser, and of the run that
    `command` takes; it is called with the two as dicts."""
    groups: dict[str, dict[str, Any]] = {
        "sgd": {name: _option(kind, f"Overrides [sgd] {name}.") for name, kind in OPTIMISER.items()},
        "run": {
            s.name: _option(s.option, f"Overrides [run] {s.name}: {s.help}", _completion(s)) for s in options(command)
        },
    }

    def wrap(function: Callable[..., int]) -> Callable[..., int]:
        parameters = list[inspect.Parameter]()
        for p in inspect.signature(function, eval_str=True).parameters.values():
            named = groups.get(p.name, {})
            parameters += [p.replace(name=n, default=None, annotation=kind) for n, kind in named.items()] or [p]

        @wraps(function)
        def called(**given: Any) -> int:
            values = {group: {n: given.pop(n) for n in names if n in given} for group, names in groups.items()}
            return function(**given, **{group: found for group, found in values.items() if found})

        called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        called.__annotations__ = {p.name: p.annotation for p in parameters}
        return called

    return wrap


Workers = Annotated[int | None, typer.Option(help="Make runs in so many processes of this machine.")]
DaskAddress = Annotated[
    str | None,
    typer.Option("--dask", help="Make runs on the workers of this Dask scheduler, e.g. tcp://10.0.0.1:8786."),
]
Portable = Annotated[bool, typer.Option("--portable", help=SETTINGS["portable"].help)]


def on_machines(function: Callable[..., int]) -> Callable[..., int]:
    """A command that makes runs gets options that say where."""
    parameters = list(inspect.signature(function, eval_str=True).parameters.values())
    kinds = {"workers": (Workers, None), "dask": (DaskAddress, None), "portable": (Portable, False)}
    parameters += [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in kinds.items()
    ]

    @wraps(function)
    def called(*, workers: int | None, dask: str | None, portable: bool, **given: Any) -> int:
        if workers is None and dask is None and not portable:
            return function(**given)
        from sde.api.placement import runs_on

        if workers is not None:
            check.whole("workers", workers, below=4097, advice="Leave it out for threads.")
        if workers is not None and dask is not None:
            raise InputError.of("dask", "stands for all workers", workers, "Give --workers or --dask.")
        if dask is not None and ":" not in dask:
            raise InputError.of("dask", "must be a scheduler's address", dask, "Give e.g. tcp://10.0.0.1:8786.")
        with runs_on("processes" if workers is not None else dask, workers, portable):
            return function(**given)

    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {p.name: p.annotation for p in parameters}
    return called


def _option(kind: type | None, help: str, completion: Callable[[str], list[str]] | None = None) -> Any:
    return Annotated[kind | None, typer.Option(help=help, autocompletion=completion)]  # type: ignore[operator]


def _completion(known: Setting) -> Callable[[str], list[str]] | None:
    """What completes a setting's value, where it is one of few."""
    if known.name == "scheme":
        return _schemes
    choices = known.constraint.bounds.get("choices") if known.constraint else None
    return _among(*choices) if choices else None


def point_of(text: str, start: Any) -> dict[str, Any]:
    """The point that --at names: values as in a TOML inline table, or the spec's own start."""
    if text.strip() == "start":
        if not isinstance(start, dict):
            raise InputError(
                f"--at: start needs one start in the spec; got {start!r} ({type(start).__name__}). Write the values."
            )
        return start
    try:
        read = tomllib.loads(f"at = {{{text}}}")
    except tomllib.TOMLDecodeError as error:
        raise InputError(
            f"--at: must be values as in TOML; got {text!r} ({error}). Write u = 1.2, W = [[1.0, 0.5]], or start."
        ) from error
    if set(read) != {"at"}:
        raise InputError(f"--at: must be values only; got {text!r} (str). Write u = 1.2, W = [[1.0, 0.5]], or start.")
    return read["at"]
