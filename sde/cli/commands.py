"""The command line: derive, simulate, train, resume, verify, compare, calibrate, reproduce, show, plot, library,
schemes, cache, warm.

Exit codes: 0 done / all supported, 1 something refuted or every path lost, 2 bad input, 3 inconclusive, 130 interrupted
by Ctrl-C, 143 by SIGTERM (what was complete is saved either way; a second Ctrl-C or SIGTERM ends at once), 70 an error
of ours, with its traceback. Only InputError, and OSError that is about a file, mean bad input.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from sde.cli import cache_commands
from sde.cli.arguments import (
    RESULT,
    At,
    CheckpointArgument,
    FullBatch,
    Given,
    Json,
    Output,
    Report,
    ResultOf,
    Save,
    SaveAll,
    SpecArgument,
    SpecArguments,
    Threads,
    TimeLimit,
    on_machines,
    point_of,
    with_options,
)
from sde.cli.guard import guarded, words
from sde.cli.outputs import calibrated, checked, compared, emit, finish, judged, listing, reproduced
from sde.cli.terminal import Commands, line, say, shown_for, steps_shown, take_streams
from sde.settings import SETTINGS
from sde.storage.distinct_files import check_apart
from symbolic.errors import InputError

app = typer.Typer(
    cls=Commands,
    rich_markup_mode=None,  # what stands in brackets is a section of a spec, not markup
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    help=__doc__.splitlines()[0] if __doc__ else None,
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"noetherflow {version('noetherflow')}")
        raise typer.Exit


@app.callback()
def settle(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", is_eager=True, callback=_version)
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress and no words but errors and warnings.")
    ] = False,
) -> None:
    """Options of all commands."""
    words.quiet = quiet


def _watched() -> bool:
    return sys.stderr.isatty() and not words.quiet


def _shown(target: str | None) -> Any:
    """Where words for people go: aside when JSON takes standard output."""
    return shown_for(target, quiet=words.quiet)


@app.command(short_help="Symmetries, conserved charges, their drift and class.")
@guarded
@with_options("derive")
def derive(
    spec: SpecArgument,
    json_: Json = None,
    at: At = None,
    time_limit: TimeLimit = 60.0,
    *,
    sgd: Given,
) -> int:
    """Symmetries, conserved charges, their drift under noise, and their class; with --at, their values at a point."""
    from sde.spec.problem_file import spec_for
    from symbolic.display import at_point, point_record
    from symbolic.theory import derive as derive_theory

    read = spec_for(spec)
    checked(read.inputs, json_)
    settings = replace(read.sgd, **{k: v for k, v in sgd.items() if v is not None})
    point = None if at is None else point_of(at, read.run.get("start"))
    if point is not None:
        read.loss.check_point(point, "--at")
    shown = _shown(json_)
    with steps_shown(_watched()) as step:
        theory = derive_theory(read.loss, time_limit=time_limit, progress=step)
        words, record = theory.summary(settings), None if json_ is None else theory.to_json()
    say(words, shown)
    if point is not None:
        say("\n" + at_point(theory, point, settings), shown)
        record = None if record is None else {**record, "point": point_record(theory, point, settings)}
    if record is not None:
        emit(json_, record)
    return 0


@app.command(short_help="Integrate SGD's SDE, or an [sde], over an ensemble.")
@guarded
@with_options("simulate")
@on_machines
def simulate(
    spec: SpecArgument,
    output: Output,
    json_: Json = None,
    *,
    sgd: Given,
    run: Given,
    checkpoint: Save = None,
    threads: Threads = None,
) -> int:
    """Integrate a loss's stochastic differential equation under SGD, or that of an [sde] spec, and write the result."""
    from sde.api.spec_runs import run_spec
    from sde.spec.problem_file import spec_for

    read = spec_for(spec)
    checked(read.inputs, json_, result=output, checkpoint=checkpoint)
    data = run_spec("simulate", read, sgd, run, threads=threads, progress=_watched(), save=checkpoint)
    return finish(data, output, json_, checkpoint, _shown(json_))


@app.command()
@guarded
@with_options("train")
@on_machines
def train(
    spec: SpecArgument,
    output: Output,
    json_: Json = None,
    *,
    sgd: Given,
    run: Given,
    full_batch: FullBatch = False,
    checkpoint: Save = None,
    threads: Threads = None,
) -> int:
    """Run discrete SGD over an ensemble and write the result."""
    from sde.api.spec_runs import run_spec
    from sde.spec.problem_file import spec_for

    read = spec_for(spec)
    checked(read.inputs, json_, result=output, checkpoint=checkpoint)
    shown = _watched()
    data = run_spec("train", read, sgd, run, full_batch=full_batch, threads=threads, progress=shown, save=checkpoint)
    return finish(data, output, json_, checkpoint, _shown(json_))


@app.command(short_help="Continue a run from its checkpoint, bit for bit.")
@guarded
@on_machines
def resume(
    checkpoint: CheckpointArgument,
    output: ResultOf = None,
    report: Report = None,
    json_: Json = None,
    threads: Threads = None,
) -> int:
    """Continue a run from its checkpoint, to the result of an undisturbed run, bit for bit."""
    from sde.api.spec_runs import is_of_verification, resume_verification
    from sde.api.spec_runs import resume as continue_run

    checked([checkpoint], json_, result=output, report=report)
    if is_of_verification(checkpoint):
        if output is not None:
            raise InputError(
                f"resume: a verification writes a report, not a result; got -o {output}. Give --report or --json."
            )
        found = resume_verification(checkpoint, threads=threads, progress=not words.quiet, outputs=(report, json_))
        return judged(found, report, json_, checkpoint, _shown(json_))
    if output is None or report is not None:
        raise InputError(
            f"resume: {checkpoint} is of a run that writes a result; got no file for it. Give -o run.nc alone."
        )
    data = continue_run(checkpoint, threads=threads, progress=_watched(), outputs=(output, json_))
    return finish(data, output, json_, checkpoint, _shown(json_))


@app.command(short_help="Hold theory against discrete SGD, its SDE and GD.")
@guarded
@with_options("verify")
@on_machines
def verify(
    spec: SpecArgument,
    report: Report = None,
    json_: Json = None,
    *,
    sgd: Given,
    run: Given,
    alpha: Annotated[float, typer.Option(help="Chance of any wrong verdict.")] = 0.01,
    checkpoint: SaveAll = None,
    threads: Threads = None,
) -> int:
    """Hold the derived theory against discrete SGD, its SDE and gradient descent."""
    from sde.api.spec_runs import verify_spec
    from sde.spec.problem_file import spec_for

    read = spec_for(spec)
    checked(read.inputs, json_, report=report)
    check_apart([report, json_, checkpoint], read.inputs)
    found = verify_spec(read, sgd, run, alpha=alpha, threads=threads, progress=not words.quiet, save=checkpoint)
    return judged(found, report, json_, checkpoint, _shown(json_))


@app.command(short_help="How often verify is wrong: false alarms and power.")
@guarded
@on_machines
def calibrate(
    specs: SpecArguments = None,
    json_: Json = None,
    seeds: Annotated[int, typer.Option(help="Verifications of each loss.")] = 200,
    seed: Annotated[int, typer.Option(help=SETTINGS["seed"].help)] = 0,
    alpha: Annotated[float, typer.Option(help="As of verify.")] = 0.01,
    checkpoint: Save = None,
    threads: Threads = None,
) -> int:
    """False alarms of verify under true theories, and its power against wrong ones; on five small losses, or specs."""
    from sde.api.calibration import calibrate as measure
    from sde.api.spec_runs import setup_of
    from sde.spec.problem_file import spec_for

    read = [spec_for(spec) for spec in specs or ()]
    inputs = [path for spec in read for path in spec.inputs]
    checked(inputs, json_)
    check_apart([json_, checkpoint], inputs)
    losses = [setup_of(spec) for spec in read] or None
    found = measure(
        losses, seeds=seeds, seed=seed, alpha=alpha, threads=threads, checkpoint=checkpoint, progress=not words.quiet
    )
    return calibrated(found, json_, checkpoint, _shown(json_))


@app.command(short_help="How far discrete SGD is from its SDEs and from SVAG.")
@guarded
@with_options("compare")
@on_machines
def compare(
    spec: SpecArgument,
    output: Annotated[Path | None, typer.Option("-o", "--output", help=RESULT)] = None,
    figure: Annotated[Path | None, typer.Option(help="Figure to write; its ending says the format.")] = None,
    json_: Json = None,
    *,
    sgd: Given,
    run: Given,
    svag: Annotated[int | None, typer.Option(help="SVAG's factor.")] = None,
    width: Annotated[
        float | None, typer.Option(help="Half-width of a slope's interval that is asked for, over its order.")
    ] = None,
    budget: Annotated[float | None, typer.Option(help="Most path-steps.")] = None,
    threads: Threads = None,
) -> int:
    """How far discrete SGD is from its SDEs of order 1 and 2, and from SVAG, at your learning rate; and how that falls
    with it."""
    from sde.api.spec_runs import compare_spec
    from sde.spec.problem_file import spec_for

    read = spec_for(spec)
    checked(read.inputs, figure, json_, result=output)
    shown = not words.quiet
    own = {"svag": svag, "width": width, "budget": budget}
    found = compare_spec(read, sgd, run, threads=threads, progress=shown, **own)
    return compared(found, output, figure, json_, _shown(json_), slopes=width is not None)


@app.command(short_help="The field's results, each measured and judged.")
@guarded
@on_machines
def reproduce(
    names: Annotated[list[str] | None, typer.Argument(help="Results; all where none is named.")] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for pages and RESULTS.md.")] = Path("results"),
    quick: Annotated[bool, typer.Option("--quick", help="Fewer paths: all within minutes.")] = False,
    threads: Threads = None,
) -> int:
    """Derive, simulate and judge what is known of SGD under symmetry: a page each, a gallery and RESULTS.md. The same
    call goes on where one was broken off."""
    from sde.engine.progress import phases
    from sde.results.catalogue import named
    from sde.results.reproduction import planned, prepare, reproduce

    chosen = named(tuple(names or ()))
    threads = SETTINGS["threads"].read(threads)
    prepare(output)
    with phases("reproduce", planned(chosen, quick=quick), not words.quiet) as shown:
        found = reproduce(chosen, output, shown, quick=quick, threads=threads)
    return reproduced(found, output, _shown(None))


@app.command()
@guarded
def show(
    path: Annotated[
        Path, typer.Argument(help="A result (NetCDF or zarr), a verification's JSON, or a checkpoint.", metavar="FILE")
    ],
    json_: Json = None,
    spec: Annotated[bool, typer.Option("--spec", help="Print only the spec that was run, as it stood.")] = False,
) -> int:
    """What made a result, and the command that makes it again. Reads only."""
    from sde.api import show

    checked([path], json_)
    found = show.read(path)
    if spec:
        text = show.spec_text(found["run"])
        if text is None:
            raise InputError(f"show: {path} was not run from a spec file; got --spec. Leave it out.")
        sys.stdout.write(text)
        return 0
    for row in show.lines(found):
        say(row, _shown(json_))
    emit(json_, {**found, "again": show.command(found["run"]) or show.python_call(found["run"])})
    return 0


@app.command(short_help="Draw a variable of results over time.")
@guarded
def plot(
    runs: Annotated[
        list[Path], typer.Argument(help="Results (NetCDF or zarr) of simulate and train.", metavar="FILE...")
    ],
    of: Annotated[str, typer.Option("--of", help="The variable: a state, parameter or observable.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Figure to write; its ending says the format.")],
) -> int:
    """Mean and 5-95 % of paths of a variable over time, of one result or several, by their files' names."""
    from sde.api.plotting import opened
    from sde.api.plotting import plot as draw
    from sde.storage.files import write_figure

    checked(runs, output)
    write_figure(output, draw(opened(runs), of))
    say(f"{line(output)}: {of} of {', '.join(line(run) for run in runs)}", _shown(None))
    return 0


@app.command()
@guarded
def library(json_: Json = None) -> int:
    """The named losses; a name serves in place of SPEC."""
    from symbolic.library import rows

    return _listed(rows(), json_)


@app.command(short_help="One-step maps: calculus, noise, orders, reference.")
@guarded
def schemes(json_: Json = None) -> int:
    """The one-step maps: calculus, noise class, strong and weak order, reference."""
    from symbolic.schemes import SCHEMES

    fields = ("name", "calculus", "noise", "strong", "weak", "reference")
    return _listed([{f: str(getattr(s, f)) for f in fields} for s in SCHEMES.values()], json_)


def _listed(rows: list[dict[str, str]], target: str | None) -> int:
    checked((), target)
    return listing(rows, target, _shown(target))


cache_commands.add_to(app)


def main() -> None:
    """Entry point of the `noetherflow` command."""
    take_streams()
    app()


if __name__ == "__main__":
    main()
