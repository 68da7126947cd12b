"""Simulate an SDE, a loss's or one of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sde.api import (
    default_scheme,
    extreme_bridges,
    gathered,
    passages,
    per_path,
    provenance,
    step_inputs,
    sweep,
    time_jumps,
    time_steps,
    timed,
)
from sde.api.placement import placed
from sde.api.prepared_run import run_prepared
from sde.api.run_arguments import check_exact_law, check_files, check_refine, error_of_steps
from sde.api.step_inputs import constants
from sde.api.survey import Survey
from sde.api.time_steps import Steps
from sde.engine import time_grid
from sde.engine.checkpoint import CheckpointTarget
from sde.settings import Gather, RunSettings, SaveAt
from symbolic.codegen.prepare import prepare
from symbolic.dynamics.equation import SDE
from symbolic.dynamics.gradient import LossDynamics
from symbolic.dynamics.one_vector import OneVector
from symbolic.errors import InputError, instance
from symbolic.language.calls import OF_RUNS, OF_SGD, called
from symbolic.problem import observed_text
from symbolic.problem.loss import Loss
from symbolic.problem.optimizer import SGD, require_sgd
from symbolic.schemes import find, for_step, require_scheme

if TYPE_CHECKING:
    import xarray as xr

STEPS = "Give time=, steps times the learning rate; train takes steps=."
OF_TIME = {"steps": "Give dt=, the length of a step.", "T": "Give time=.", "t": "Give time=."}


@called(lambda problem: {**OF_RUNS, **OF_TIME, **({} if isinstance(problem, SDE) else {**OF_SGD, "steps": STEPS})})
@placed
def simulate(
    problem: Loss | SDE,
    sgd: SGD | None = None,
    *,
    start: Mapping[Any, Any],
    time: float,
    start_time: float = 0.0,
    dt: float | None = None,
    paths: int = 1000,
    seed: int = 0,
    scheme: str | None = None,
    tolerance: float | None = None,
    noise: str = "path",
    parameters: Mapping[Any, Any] | None = None,
    zipped: bool = False,
    observables: Mapping[str, Any] | None = None,
    save_at: Any = 101,
    steps_at: Sequence[float] | None = None,
    keep: str = "statistics",
    dtype: str = "float64",
    refine: int = 1,
    check: bool = True,
    threads: int | None = None,
    executor: Any = None,
    portable: bool = False,
    bound: float | None = None,
    events: Mapping[str, Any] | None = None,
    stop: str | Sequence[str] | None = None,
    crossings: str | None = None,
    covariance: Sequence[str] | None = None,
    histogram: Mapping[str, Any] | None = None,
    warn_share: float = 0.0,
    checkpoint: str | Path | CheckpointTarget | None = None,
    out: str | Path | None = None,
    progress: bool | Callable[[int], None] = False,
) -> xr.Dataset:
    """Integrate SGD's order-1 SDE of a loss, or any SDE, over an ensemble of paths.

    For a loss, d theta = -s (grad L + weight_decay theta) dt + s sqrt(T) Sigma^(1/2) dW with T = f eta/S: s is the
    schedule's factor, times 1/(1 - momentum) (its first-order limit); f = (N - S)/(N - 1) without replacement from N
    rows, else 1. All numbers are in the problem's own units, a loss's time in t = eta*k.

    Parameters
    ----------
    problem : Loss or SDE
        What moves. A loss under any scheme but euler-maruyama runs as the SDE that it makes (`SDE.from_loss`).
    sgd : SGD, optional
        The optimiser's settings: of a loss, and only of one.
    start : mapping
        {parameter: number, array of its shape, array (paths, *shape), or distribution}.
    time : float
        Length of the run.
    start_time : float
        When the run begins; it ends at start_time + time, where its last save is. Times of the result, of saves,
        events and `steps_at`, and the t of coefficients and schedules count as the equation's do, from 0.
    dt : float, optional
        Longest step. Left out: a quarter of the learning rate; for an SDE a thousandth of the time, or as short as the
        rates ask that a few pilot paths see (drift's Jacobian, noise, input that changes in time), less those of a
        linear part that a scheme solves which "auto" takes. attrs["dt"] tells.
    paths : int
        Paths of the ensemble.
    seed : int
        In [0, 2**64). The same seed gives the same bits, whatever threads, chunks and resumptions.
    scheme : str, optional
        A name that `noetherflow schemes` lists. Left out: euler-maruyama, or what keeps the domains of an SDE's states;
        "auto" goes by stiffness at the start, noise class and `keep`. attrs["scheme_reason"] says why it is chosen.
    tolerance : float, optional
        Under "adaptive-milstein": the error of a step that is accepted, as a share of the states' size; 1e-3 when left
        out. `dt` is the longest step then, and is not checked by halving; attrs["own_steps"] and
        attrs["rejected_steps"] count steps.
    noise : {"path", "exact-law"}
        Of a loss under euler-maruyama. "exact-law": where the noise lies along one vector, as of a product of scalars,
        one normal a step in the place of one a feature of the data. Every step has the same law, so every statistic of
        the run has, at less cost; the paths of a seed are others, and belong to no run of another noise or `refine`.
    parameters : mapping, optional
        {symbol or name: number, or several} of an SDE; one given several gets a dimension of its name, all its values
        under the same noise. Of each path its own: {"path": array (paths,)}, or a distribution, drawn by seed, path and
        parameter; results of paths have such as coordinates.
    zipped : bool
        Parameters given several values take them together, along a dimension "sweep", not in all combinations.
    observables : mapping, optional
        {name: expression, or array of them, of the states and time}: saved beside the states. Of a loss also text, as
        in specs, where "loss" is E l and "sharpness" is Tr Hess E l.
    save_at : int or array (K,)
        A count of equally spaced times, both ends included (every step, where there are fewer), or increasing times.
    steps_at : array, optional
        Times at which coefficients jump, beside those that Piecewise, Heaviside and sign of time show by themselves: no
        step straddles one.
    keep : {"statistics", "paths"}
        What the result holds.
    dtype : {"float64", "float32"}
        Numbers of the states.
    refine : int
        Take the noise of each step from this many steps of a finer grid: the same Brownian path as a run of dt/refine
        with the same seed, where dt divides what lies between saves.
    check : bool
        Halve the step on a few paths, on the same noise, after the run (about 1 % of its path-steps, six steps at
        least, so in its first part where paths are few).
    threads : int, optional
        How many threads, or processes of this machine; all cores when left out. Results do not depend on it.
    executor : object, optional
        Who runs chunks of paths: anything with ``submit(fn, *args) -> concurrent.futures.Future`` (of the standard
        library, loky, mpi4py, a Dask client), "processes" of this machine, "dask" for this process's client, or a Dask
        scheduler's address. Results do not depend on it.
    portable : bool
        Compile for a named baseline of this kind of machine (x86-64-v3), so that unlike machines give the same bits;
        asked for before anything is compiled, it holds for the whole process.
    bound : float, optional
        |state| beyond which a path has exploded; inf for none but what is no number.
    events : mapping, optional
        {name: expression or relation of the states and time}. An event is the first time at which the expression is
        positive, or the relation holds.
    stop : "first" or sequence of str, optional
        Events at which a path is done, all or those named: it costs nothing more, and keeps its stop's state and time.
    crossings : {"bridge", "steps"}, optional
        "bridge": events between the ends of a step are seen by the Brownian bridge, off by order dt. "steps": an event
        is the end of the first step after which it holds, late by order sqrt(dt). Left out: the bridge for an SDE, but
        steps for losses under euler-maruyama, adaptive schemes, and, event by event, products over an array's axis and
        what asks for several noisy states at once, as And, min(...) > c or max(...) < c: `attrs["crossings"]` tells.
    covariance : sequence of str, optional
        Names of variables whose covariance is taken.
    histogram : mapping, optional
        {variable: increasing edges}: half-open bins, the outermost ones infinite.
    warn_share : float
        Share of exploded paths, in [0, 1], beyond which a warning is given.
    checkpoint : path, optional
        File of the complete chunks, written every few seconds. A call with the same arguments continues from it to the
        same bits; other arguments are refused.
    out : path, optional
        With keep="paths": NetCDF file, or zarr folder where the name ends in .zarr, that paths are streamed to, chunk
        by chunk, instead of memory; processes that see the folder write their own. With a checkpoint they lie in a file
        beside that, named as it is with ".rows" after it, until there are all.
    progress : bool or callable
        Show a bar, or a function that is told of every n path-steps.

    Returns
    -------
    xarray.Dataset
        Variables with dims (statistic, time, ...) - mean, std, sem, min, max, q05, q25, q50, q75, q95 - or (path, time,
        ...), swept parameters ahead; `exploded` (time) counts the paths gone by then. Asked for, also `name_count`
        (time), paths that had an event by then, and `name_time`, when; with `stop` also `stop_count`, `stop_time` and
        `running` (time), paths that have neither stopped nor exploded; `covariance` (time, one, other);
        `name_histogram` (time, ..., name_bin) between `name_left` and `name_right`. attrs hold scheme, dt, seed,
        versions, seconds, what was run, and `explosions`: the first paths lost, with the reason. Quantiles are exact up
        to 4096 paths; beyond, they come from counts in bins and differ from the exact ones by at most the variable's
        attribute `quantile_error`. A path on which a variable is no finite number is left out of that variable's
        statistics alone; `name_undefined` (time, ...) counts such paths.

    Raises
    ------
    InputError
        Before any compilation, for arguments that no run can have.
    OSError
        Naming the file: one that cannot be written, or a checkpoint that is not whole.

    Warns
    -----
    StepWarning
        Mean or standard deviation of anything saved are off, at this step, by more than 5 % of its spread and change;
        or steps are not those that were asked for.
    ExplosionWarning
        More than warn_share of the paths exploded: which function left its domain, where, and what to write instead.
    UndefinedWarning
        A variable was no finite number on a living path.
    BrokenPoolWarning
        A pool of processes lost one and takes no more work: the run went on in others.
    LostChunksWarning
        Chunks failed three times, or their executor takes no more work: the others are the result.
    InterruptedWarning
        Ctrl-C: the chunks of paths that were complete are the result (attrs["interrupted"]).

    References
    ----------
    Li, Tai, E, Stochastic modified equations, JMLR 20 (2019) 40; Ziyin et al., arXiv 2402.07193.

    Examples
    --------
    >>> import sympy as sp
    >>> from sde import SDE, simulate
    >>> X = sp.Symbol("X", real=True)
    >>> run = simulate(SDE([X], [-X], [[1]]), start={X: 2.0}, time=1.0, dt=0.01, paths=4000)
    >>> run.X.sel(statistic="mean").values[[0, -1]].round(1).tolist()
    [2.0, 0.7]
    """
    instance("simulate", problem, (Loss, SDE), "needs a Loss or an SDE", "Build one with symbolic.Loss or sde.SDE.")
    if isinstance(problem, Loss):
        require_sgd("simulate", sgd)
    elif sgd is not None:
        raise InputError.of("simulate.sgd", "an SDE stands by itself", sgd, "Leave it out.")
    sweep.check_start(problem, start)
    settings = RunSettings(
        command="simulate",
        start=start,
        time=time,
        start_time=start_time,
        dt=dt,
        paths=paths,
        seed=seed,
        scheme=scheme,
        tolerance=tolerance,
        noise=noise,
        parameters=parameters,
        zipped=zipped,
        dtype=dtype,
        steps_at=steps_at,
        refine=refine,
        check=check,
        bound=bound,
        warn_share=warn_share,
        threads=threads,
        checkpoint=checkpoint,
        progress=progress,
        saves=SaveAt(save_at=save_at, keep=keep, out=out),
        gather=Gather(
            observables=observed_text.read("observables", observables, problem),
            events=events,
            stop=stop,
            crossings=crossings,
            covariance=covariance,
            histogram=histogram,
        ),
    )
    swept = sweep.axes(problem, parameters)
    own = per_path.read(problem, parameters, settings.paths, settings.seed).names
    gathered.check_names(problem, settings.gather, [*swept, *own, *([sweep.SWEEP] if zipped else [])])
    given = provenance.Given(problem, sgd, settings)
    return sweep.over(swept, given, _integrate) if swept else _integrate(given)


def _integrate(given: provenance.Given) -> xr.Dataset:
    """A run of one number per parameter."""
    problem, sgd, settings = given.problem, given.sgd, given.settings
    dt, start, time = settings.dt, settings.start, settings.time
    assert time is not None
    choice = default_scheme.chosen(problem, settings)
    scheme, why = choice.scheme, choice.why
    began = settings.start_time
    save_at, refine = settings.saves.save_at, settings.refine
    check_files(problem, settings.checkpoint, settings.saves.out)
    even = time_grid.continuous(time, dt if dt is not None else time, save_at, begin=began)
    step = even.longest if dt is not None else (sgd.learning_rate / 4 if sgd else None)
    jumps = time_steps.places(settings.steps_at, time, began) + time_jumps.of_schedule(sgd, time, began)
    of_law = settings.noise == "exact-law"
    if of_law:
        check_exact_law(problem, require_scheme(scheme), refine)
    if isinstance(problem, Loss) and sgd is not None and require_scheme(scheme) != "euler-maruyama":
        problem, sgd = SDE.from_loss(problem, sgd), None
    chosen, looked = find(require_scheme(scheme))[0], timed.of_problem(problem, settings.gather)
    survey, own = None, per_path.read(problem, settings.parameters, settings.paths, settings.seed)
    if isinstance(problem, SDE):
        numbers = sweep.numbers(problem, settings.parameters)
        survey = Survey(problem, numbers, start, settings.paths, settings.seed, time, began, own, looked)
    jumps += time_jumps.of_problem(problem, looked, time, began, survey.numbers() if survey else {})
    step = step or choice.step or (survey.step(jumps) if survey else None)
    assert step is not None
    nodes = passages.impulse_times(problem, time, began)
    grid = even
    if dt is None or len(jumps) or len(nodes):
        grid = time_grid.continuous(time, min(dt or step, time), save_at, jumps, nodes, began)
    time_grid.check_begin("start_time", began, time, grid.longest)
    scheme = for_step(problem, scheme, grid.longest)
    check_refine(refine, grid.steps, chosen)
    tolerance = error_of_steps(settings.tolerance, chosen, settings.dtype)
    time_steps.unevenness(grid, refine, grid.longest)
    watch = passages.passages(problem, sgd, settings.gather, chosen)
    observed = gathered.together(settings.gather) if watch is None else settings.gather.observables
    moved, watched = OneVector if of_law else LossDynamics, watch.watched if watch else None
    shared = isinstance(problem, Loss)
    prepared = prepare(
        problem,
        scheme,
        observed,
        settings.dtype,
        moved,
        shared_rows=shared,
        watched=watched,
        own=tuple(own.blocks),
        begin=began,
    )
    record: dict[str, Any] = {"kind": "sde", "scheme": scheme, "refine": refine}
    if survey is not None:
        survey.refuse_singular_end(scheme, grid)
        values = constants(survey.sde, prepared, settings.parameters, lambda: survey.pilot.size)
        record |= {"size": float(values[-1])} if len(values) > len(survey.parameters) - len(own.blocks) else {}
        moving = step_inputs.of_sde(survey.sde, prepared, chosen, settings.dtype, values, tolerance)
        order = None if chosen.estimates else float(chosen.order("weak", survey.sde.noise_class))
        quarter = (
            time_grid.continuous(time, grid.longest / 4, save_at, jumps, nodes, began) if chosen.estimates else grid
        )
        unseen = survey.unseen(quarter) if settings.check else None
    else:
        assert sgd is not None
        moving, order, unseen = step_inputs.of_loss(prepared, sgd, settings.dtype), 1.0, None
    if settings.check and dt is not None:
        time_steps.warn_of_short_steps(grid, dt, time)
    if unseen:
        time_steps.warn_of_unseen(unseen, grid.longest)
    pull = survey.pull() if survey is not None and settings.check and settings.dtype == "float32" else ()
    stepped = Steps(grid, refine, order if settings.check else None, pull)
    record |= {"tolerance": tolerance} if tolerance is not None else {}
    record |= {"crossings": watch.crossings} if watch else {}
    record |= {"extremes": extremes} if (extremes := extreme_bridges.description(problem, settings.gather)) else {}
    record |= {"scheme_reason": why} if why else {}
    return run_prepared(problem, prepared, moving, stepped, record, given, watch.hybrid if watch else None, own)
