"""Arguments and options that several commands share, and what --at says."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from symbolic.errors import InputError


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
CheckpointArgument = Annotated[
    Path, typer.Argument(help="The checkpoint of a simulate, train or verify that did not end.")
]
ResultOf = Annotated[Path | None, typer.Option("-o", "--output", help="NetCDF file to write, of simulate and train.")]
Json = Annotated[
    str | None, typer.Option("--json", help="Write the result as JSON to this file, or - for standard output.")
]
Output = Annotated[Path, typer.Option("-o", "--output", help="NetCDF file to write.")]
At = Annotated[
    str | None,
    typer.Option(
        help="Also evaluate at a point: values as in TOML, u = 1.2, W = [[1.0, 0.5]], or start for the spec's."
    ),
]
Rate = Annotated[float | None, typer.Option(help="Overrides [sgd] learning_rate.")]
Batch = Annotated[int | None, typer.Option(help="Overrides [sgd] batch_size.")]
Decay = Annotated[float | None, typer.Option(help="Overrides [sgd] weight_decay.")]
Beta = Annotated[float | None, typer.Option(help="Overrides [sgd] momentum.")]
Time = Annotated[float | None, typer.Option(help="Overrides [run] time, in t = eta*k.")]
Steps = Annotated[int | None, typer.Option(help="Overrides [run] steps (and time).")]
Dt = Annotated[float | None, typer.Option(help="Overrides [run] dt.")]
Paths = Annotated[int | None, typer.Option(help="Overrides [run] paths.")]
Seed = Annotated[int | None, typer.Option(help="Overrides [run] seed.")]
SaveAt = Annotated[int | None, typer.Option(help="Overrides [run] save_at: how many times are saved.")]
Keep = Annotated[
    str | None,
    typer.Option(help="Overrides [run] keep: statistics or paths.", autocompletion=_among("statistics", "paths")),
]
Dtype = Annotated[
    str | None,
    typer.Option(help="Overrides [run] dtype: float64 or float32.", autocompletion=_among("float64", "float32")),
]
Scheme = Annotated[str | None, typer.Option(help="Overrides [run] scheme.", autocompletion=_schemes)]
Check = Annotated[
    bool | None, typer.Option("--check/--no-check", help="Try the step against half of it on a few paths, and warn.")
]
Save = Annotated[
    Path | None,
    typer.Option("--checkpoint", help="Save what is complete here every few seconds; continue from it if it is there."),
]
Report = Annotated[Path | None, typer.Option(help="HTML report to write.")]
SaveAll = Annotated[
    Path | None,
    typer.Option(
        "--checkpoint", help="Save what is complete in this folder as it is made; continue from it if it is there."
    ),
]
Threads = Annotated[int | None, typer.Option(help="Threads; all cores when left out. Results do not depend on it.")]


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
