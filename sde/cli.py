"""The command line: derive, simulate, train, resume, verify, library, schemes, cache.

Exit codes: 0 done / all supported, 1 something refuted, 2 bad input, 3 inconclusive, 130 interrupted.
"""

from __future__ import annotations

import json
import sys
import tomllib
import traceback
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from sde.files import check_writable, write_text
from sde.terminal import LONGEST, Commands, err, line, say, shown_for

app = typer.Typer(
    cls=Commands,
    rich_markup_mode=None,  # what stands in brackets is a section of a spec, not markup
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help=__doc__.splitlines()[0] if __doc__ else None,
)
SpecArgument = Annotated[str, typer.Argument(help="A TOML spec, or the name of a library loss.", metavar="SPEC")]
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
Keep = Annotated[str | None, typer.Option(help="Overrides [run] keep: statistics or paths.")]
Dtype = Annotated[str | None, typer.Option(help="Overrides [run] dtype: float64 or float32.")]
Scheme = Annotated[str | None, typer.Option(help="Overrides [run] scheme.")]
Save = Annotated[
    Path | None,
    typer.Option("--checkpoint", help="Save what is complete here every few seconds; continue from it if it is there."),
]
Threads = Annotated[int | None, typer.Option(help="Threads; all cores when left out. Results do not depend on it.")]


DEFECT = 70
"""Exit code of an error of ours, apart from all that mean something (EX_SOFTWARE of sysexits.h)."""


def _guarded(command: Callable[..., int]) -> Callable[..., None]:
    """Bad input ends as clear lines and exit code 2, an interruption as 130; anything else is a defect and shows itself."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        warnings.showwarning = lambda message, *rest: say(f"warning: {message}", longest=LONGEST)
        try:
            code = command(*args, **kwargs)
        except (ValueError, OSError) as error:
            say(error, longest=LONGEST)
            code = 2
        except MemoryError:
            say("run: must fit in memory; got more than there is. Take fewer paths, steps or saves.")
            code = 2
        except Exception:
            traceback.print_exc()
            code = DEFECT
        except KeyboardInterrupt:
            err.print("interrupted: nothing was complete yet, nothing was written")
            code = 130
        raise typer.Exit(code)

    return run


def _emit(target: str | None, record: dict[str, Any]) -> None:
    if target is None:
        return
    text = json.dumps(record, indent=1) + "\n"
    if target == "-":
        sys.stdout.write(text)
    else:
        write_text(target, text)


def _checked(spec: str | None, *targets: str | Path | None) -> None:
    """Every output can be written, is one of its own, and is not the spec."""
    seen = {Path(spec).resolve()} if spec is not None else set()
    for target in targets:
        if target is None:
            continue
        if str(target) == "-":
            if isinstance(target, Path):
                raise ValueError(
                    f"output: must be a file; got '-' ({type(target).__name__}). Only --json writes to standard output."
                )
            continue
        check_writable(target)
        if Path(target).resolve() in seen:
            raise ValueError(
                f"output: each must be a file of its own, not the spec; got {target} twice. Choose another name."
            )
        seen.add(Path(target).resolve())


@app.command(short_help="Symmetries, conserved charges, their drift and class.")
@_guarded
def derive(
    spec: SpecArgument,
    json_: Json = None,
    at: At = None,
    learning_rate: Rate = None,
    batch_size: Batch = None,
    weight_decay: Decay = None,
    momentum: Beta = None,
) -> int:
    """Symmetries, conserved charges, their drift under noise, and their class; with --at, their values at a point."""
    from symbolic.display import at_point, point_record
    from symbolic.spec import spec_for
    from symbolic.theory import derive as derive_theory

    _checked(spec, json_)
    read = spec_for(spec)
    sgd = {"learning_rate": learning_rate, "batch_size": batch_size, "weight_decay": weight_decay, "momentum": momentum}
    settings = replace(read.sgd, **{k: v for k, v in sgd.items() if v is not None})
    point = None if at is None else _point(at, read.run.get("start"))
    if point is not None:
        read.loss.pack(point)
    theory = derive_theory(read.loss)
    shown, record = shown_for(json_), theory.to_json()
    say(theory.summary(), shown)
    if point is not None:
        say("\n" + at_point(theory, point, settings), shown)
        record = {**record, "point": point_record(theory, point, settings)}
    _emit(json_, record)
    return 0


def _point(text: str, start: Any) -> dict[str, Any]:
    """The point that --at names: values as in a TOML inline table, or the spec's own start."""
    if text.strip() == "start":
        if not isinstance(start, dict):
            raise ValueError(
                f"--at: start needs one start in the spec; got {start!r} ({type(start).__name__}). Write the values."
            )
        return start
    try:
        read = tomllib.loads(f"at = {{{text}}}")
    except tomllib.TOMLDecodeError as error:
        raise ValueError(
            f"--at: must be values as in TOML; got {text!r} ({error}). Write u = 1.2, W = [[1.0, 0.5]], or start."
        ) from error
    if set(read) != {"at"}:
        raise ValueError(f"--at: must be values only; got {text!r} (str). Write u = 1.2, W = [[1.0, 0.5]], or start.")
    return read["at"]


@app.command(short_help="Integrate SGD's SDE over an ensemble.")
@_guarded
def simulate(
    spec: SpecArgument,
    output: Output,
    json_: Json = None,
    learning_rate: Rate = None,
    batch_size: Batch = None,
    weight_decay: Decay = None,
    momentum: Beta = None,
    time: Time = None,
    dt: Dt = None,
    paths: Paths = None,
    seed: Seed = None,
    save_at: SaveAt = None,
    keep: Keep = None,
    dtype: Dtype = None,
    scheme: Scheme = None,
    checkpoint: Save = None,
    threads: Threads = None,
) -> int:
    """Integrate SGD's stochastic differential equation over an ensemble and write the result."""
    from sde.study.specs import run_spec

    _checked(spec, output, json_, checkpoint)
    sgd = {"learning_rate": learning_rate, "batch_size": batch_size, "weight_decay": weight_decay, "momentum": momentum}
    run = {
        "time": time,
        "dt": dt,
        "paths": paths,
        "seed": seed,
        "save_at": save_at,
        "keep": keep,
        "dtype": dtype,
        "scheme": scheme,
    }
    data = run_spec("simulate", spec, sgd, run, threads=threads, progress=sys.stderr.isatty(), save=checkpoint)
    return _finish(data, output, json_, checkpoint)


@app.command()
@_guarded
def train(
    spec: SpecArgument,
    output: Output,
    json_: Json = None,
    learning_rate: Rate = None,
    batch_size: Batch = None,
    weight_decay: Decay = None,
    momentum: Beta = None,
    time: Time = None,
    steps: Steps = None,
    paths: Paths = None,
    seed: Seed = None,
    save_at: SaveAt = None,
    keep: Keep = None,
    dtype: Dtype = None,
    full_batch: Annotated[bool, typer.Option(help="Gradient descent: no noise.")] = False,
    checkpoint: Save = None,
    threads: Threads = None,
) -> int:
    """Run discrete SGD over an ensemble and write the result."""
    from sde.study.specs import run_spec

    _checked(spec, output, json_, checkpoint)
    sgd = {"learning_rate": learning_rate, "batch_size": batch_size, "weight_decay": weight_decay, "momentum": momentum}
    run = {"time": time, "steps": steps, "paths": paths, "seed": seed, "save_at": save_at, "keep": keep, "dtype": dtype}
    shown = sys.stderr.isatty()
    data = run_spec("train", spec, sgd, run, full_batch=full_batch, threads=threads, progress=shown, save=checkpoint)
    return _finish(data, output, json_, checkpoint)


@app.command(short_help="Continue a run from its checkpoint, bit for bit.")
@_guarded
def resume(
    checkpoint: Annotated[Path, typer.Argument(help="The checkpoint of a simulate or train that did not end.")],
    output: Output,
    json_: Json = None,
    threads: Threads = None,
) -> int:
    """Continue a run from its checkpoint, to the result of an undisturbed run, bit for bit."""
    from sde.study.specs import resume as continue_run

    _checked(str(checkpoint), output, json_)
    return _finish(continue_run(checkpoint, threads=threads, progress=sys.stderr.isatty()), output, json_, checkpoint)


@app.command(short_help="Hold theory against discrete SGD, its SDE and GD.")
@_guarded
def verify(
    spec: SpecArgument,
    report: Annotated[Path | None, typer.Option(help="HTML report to write.")] = None,
    json_: Json = None,
    learning_rate: Rate = None,
    batch_size: Batch = None,
    weight_decay: Decay = None,
    momentum: Beta = None,
    time: Time = None,
    steps: Steps = None,
    paths: Paths = None,
    seed: Seed = None,
    alpha: Annotated[float, typer.Option(help="Chance of any wrong verdict.")] = 0.01,
    threads: Threads = None,
) -> int:
    """Hold the derived theory against discrete SGD, its SDE and gradient descent."""
    from sde.report.table import verdict_table
    from sde.study import verify as run_verification
    from sde.study.specs import options as with_options
    from symbolic.spec import spec_for

    _checked(spec, report, json_)
    sgd = {"learning_rate": learning_rate, "batch_size": batch_size, "weight_decay": weight_decay, "momentum": momentum}
    read = with_options(spec_for(spec), sgd, {"time": time, "steps": steps, "paths": paths, "seed": seed}, spec)
    options = {k: v for k, v in read.run.items() if k in ("paths", "seed")}
    with err.status(Text(f"verifying {read.name}")):
        found = run_verification(
            read.loss, read.sgd, start=read.run["start"], time=read.run["time"], alpha=alpha, threads=threads, **options
        )
    shown = shown_for(json_)
    shown.print(verdict_table(found))
    if report is not None:
        found.to_html(report)
        say(f"report: {line(report)}", shown)
    _emit(json_, found.to_dict())
    return {"supported": 0, "refuted": 1, "inconclusive": 3}[found.outcome]


@app.command()
@_guarded
def library(json_: Json = None) -> int:
    """The named losses; a name serves in place of SPEC."""
    from symbolic.library import rows

    return _listing(rows(), json_)


@app.command(short_help="One-step maps: calculus, noise, orders, reference.")
@_guarded
def schemes(json_: Json = None) -> int:
    """The one-step maps: calculus, noise class, strong and weak order, reference."""
    from symbolic.schemes import SCHEMES

    fields = ("name", "calculus", "noise", "strong", "weak", "reference")
    return _listing([{f: str(getattr(s, f)) for f in fields} for s in SCHEMES.values()], json_)


@app.command()
@_guarded
def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Remove what it holds; runs then compile anew.")] = False,
    json_: Json = None,
) -> int:
    """The kernel cache: its folder ($NOETHERFLOW_CACHE), files and size."""
    from sde import module_cache

    _checked(None, json_)
    found = module_cache.clear() if clear else module_cache.usage()
    told = {"folder": str(found.folder), "files": found.files, "bytes": found.bytes}
    told |= {"limit": module_cache.LIMIT, "cleared": clear}
    words = "removed" if clear else f"of at most {module_cache.LIMIT / 2**20:.0f} MiB"
    say(f"{line(found.folder)}: {found.files} files, {found.bytes / 2**20:.1f} MiB {words}", shown_for(json_))
    _emit(json_, told)
    return 0


NARROW = 12
"""Widest column, after the first, of a table that is never broken."""


def _listing(rows: list[dict[str, str]], target: str | None) -> int:
    _checked(None, target)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for k, name in enumerate(rows[0]):
        narrow = max(len(str(row[name])) for row in rows) <= NARROW
        table.add_column(name, overflow="fold", no_wrap=narrow or k == 0)
    for row in rows:
        table.add_row(*(str(v) for v in row.values()))
    shown_for(target).print(table)
    if target is not None:
        text = json.dumps(rows, indent=1) + "\n"
        sys.stdout.write(text) if target == "-" else write_text(target, text)
    return 0


def _finish(data: Any, output: Path, target: str | None, checkpoint: Path | None) -> int:
    from sde.files import write_netcdf

    write_netcdf(output, data)
    attrs = {k: v.item() if hasattr(v, "item") else v for k, v in data.attrs.items()}
    rate = f"{attrs['wall_seconds']:.2f} s, {attrs['compile_seconds']:.2f} s to compile"
    say(
        f"{line(output)}: {attrs['paths']} paths of {attrs['name']} ({attrs['exploded_paths']} exploded), {rate}",
        shown_for(target),
    )
    _emit(
        target, {**attrs, "output": str(output), "variables": {str(k): list(map(str, v.dims)) for k, v in data.items()}}
    )
    if attrs["interrupted"]:
        say(
            f"interrupted: the {attrs['paths']} paths that were complete are saved in {output}"
            + (f"; noetherflow resume {checkpoint} goes on" if checkpoint else "")
        )
        return 130
    return 0


def main() -> None:
    """Entry point of the `noetherflow` command."""
    app()


if __name__ == "__main__":
    main()
