"""A run's settings, each in one place.

`simulate` and `train`, sweeps, the [run] section of a spec, the options of the command line, headers of checkpoints and
records of what was run read the fields below. A new setting is a field here and an argument of the function that takes
it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sde.constraints import (
    Checked,
    Constraint,
    Setting,
    file,
    first_or_names,
    names,
    real,
    runner,
    saved_times,
    setting,
    settings_of,
    shown_by,
    times,
)
from symbolic.errors import InputError
from symbolic.errors import check as must

SDE_ONLY, SGD_ONLY, SAVED = ("simulate",), ("train",), ("simulate", "train", "verify")
ALL = (*SAVED, "compare")
LENGTHS = ("time", "steps")
"""Two ways to say how long a run is."""

TIME = Constraint(must.positive, "Give one number, the length of the run.")
BEGIN = Constraint(real, "Give one number, e.g. 0.")
STEPS = Constraint(must.whole, "Give the number of SGD steps.")
STEP = Constraint(must.positive, "Give a step.")
TOLERANCE = Constraint(must.positive, "Give e.g. 1e-3, or leave it out.")
PATHS = Constraint(must.whole, "Give a count.", below=2**48)
SEED = Constraint(
    must.whole,
    "Give e.g. 0; the same seed gives the same run.",
    least=0,
    below=2**64,
    rule="must be a whole number in [0, 2**64)",
)
NOISE = Constraint(must.one_of, "Pick one.", choices=("path", "exact-law"))
SCHEME = Constraint(must.text, "See `noetherflow schemes`.", rule="must be the name of a scheme")
NUMBERS = Constraint(must.one_of, "Pick one.", choices=("float32", "float64"))
JUMPS = Constraint(times, "Give a list of times, e.g. [0.5, 0.501].")
REFINE = Constraint(
    must.whole, "Leave it out.", rule="must be a whole number of at least 1, and finer steps fewer than 2**32"
)
FLAG = Constraint(must.flag, "Give one of the two, or leave it out.")
BOUND = Constraint(must.positive, "Leave it out, or give the |state| at which a path is lost.", endless=True)
SHARE = Constraint(must.share, "Give e.g. 0.001.")
THREADS = Constraint(must.whole, "Leave it out for all cores.")
EXECUTOR = Constraint(runner, "Leave it out for threads.")
FILE = Constraint(file, "Give a file's name, or leave it out.")
PROGRESS = Constraint(shown_by, "Give True or False, or a function of path-steps.")
SAVES = Constraint(saved_times, "Give a count, or sorted times inside the run.")
KEEP = Constraint(must.one_of, "Pick one.", choices=("statistics", "paths"))
VALUES = Constraint(must.mapping, "Write {name: number}.")
EXPRESSIONS = Constraint(must.mapping, "Write {name: expression}.", rule="must be a mapping {name: expression}")
CONDITIONS = Constraint(
    must.mapping, "Write {name: expression}.", rule="must be a mapping {name: expression or relation}"
)
NAMES = Constraint(names, "Give e.g. ['u', 'w'], or leave it out.")
STOP = Constraint(first_or_names, 'Write "first", or a list of events, or leave it out.')
CROSSINGS = Constraint(must.one_of, "Pick one, or leave it out.", choices=("bridge", "steps"))
EDGES = Constraint(must.mapping, "Write {name: edges}.", rule="must be a mapping {name: edges}")


@dataclass(frozen=True, kw_only=True)
class SaveAt(Checked):
    """When a run is saved, what of it, and where to."""

    save_at: Any = field(
        default=101, metadata=setting("How many times are saved, both ends included.", SAVES, spec=True, option=int)
    )
    keep: str = field(default="statistics", metadata=setting("statistics or paths.", KEEP, spec=True, option=str))
    out: str | Path | None = field(
        default=None, metadata=setting("NetCDF file or .zarr folder that paths are streamed to.", FILE, decides=False)
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.out is not None and self.keep != "paths":
            raise InputError(
                f"out: streams paths; got {str(self.out)!r} with keep={self.keep!r}. Use keep='paths', or leave it out."
            )


@dataclass(frozen=True, kw_only=True)
class Gather(Checked):
    """What is gathered beside the states."""

    observables: Mapping[str, Any] | None = field(
        default=None,
        metadata=setting(
            "Expressions that are saved, by name.", EXPRESSIONS, ("simulate", "train", "compare"), spec=True
        ),
    )
    events: Mapping[str, Any] | None = field(
        default=None,
        metadata=setting("Expressions or relations, dated where they become true, by name.", CONDITIONS, spec=True),
    )
    stop: str | Sequence[str] | None = field(
        default=None,
        metadata=setting("first, or names of events at which a path is done.", STOP, spec=True, option=str),
    )
    crossings: str | None = field(
        default=None,
        metadata=setting(
            "bridge or steps: whether events are seen between steps, or after each.",
            CROSSINGS,
            SDE_ONLY,
            spec=True,
            option=str,
        ),
    )
    covariance: Sequence[str] | None = field(
        default=None, metadata=setting("Names of variables whose covariance is taken.", NAMES, spec=True)
    )
    histogram: Mapping[str, Any] | None = field(
        default=None, metadata=setting("Increasing edges of bins, by variable.", EDGES, spec=True)
    )


@dataclass(frozen=True, kw_only=True)
class RunSettings(Checked):
    """All that is asked of a run of `command`, simulate or train, but its problem and optimiser."""

    command: str
    start: Mapping[Any, Any] = field(
        metadata=setting("Where paths begin, by parameter.", None, ALL, required=True, spec=True)
    )
    time: float | None = field(
        default=None,
        metadata=setting(
            "Length, in t = eta*k.", TIME, ("simulate", "verify", "compare"), required=True, spec=True, option=float
        ),
    )
    start_time: float = field(
        default=0.0, metadata=setting("When the run begins, in t.", BEGIN, SDE_ONLY, spec=True, option=float)
    )
    dt: float | None = field(
        default=None, metadata=setting("Step of the SDE, in t.", STEP, SDE_ONLY, spec=True, option=float)
    )
    steps: int | None = field(
        default=None,
        metadata=setting("SGD steps (and time).", STEPS, SGD_ONLY, required=True, spec=True, option=int),
    )
    paths: int = field(default=1000, metadata=setting("Size of the ensemble.", PATHS, ALL, spec=True, option=int))
    most_paths: int | None = field(
        default=None,
        metadata=setting(
            "Double the paths, up to so many from each start, until every claim is decided.",
            PATHS,
            ("verify",),
            spec=True,
            option=int,
        ),
    )
    seed: int = field(default=0, metadata=setting("The same one gives the same run.", SEED, ALL, spec=True, option=int))
    dtype: str = field(default="float64", metadata=setting("float64 or float32.", NUMBERS, spec=True, option=str))
    scheme: str | None = field(
        default=None,
        metadata=setting("See `noetherflow schemes`.", SCHEME, SDE_ONLY, spec=True, option=str),
    )
    tolerance: float | None = field(
        default=None,
        metadata=setting(
            "Error of a step, as a share of the states' size, that adaptive-milstein accepts.",
            TOLERANCE,
            SDE_ONLY,
            spec=True,
            option=float,
        ),
    )
    noise: str = field(
        default="path",
        metadata=setting(
            "path, or exact-law: one normal a step, where a loss's noise lies along one vector.",
            NOISE,
            SDE_ONLY,
            spec=True,
            option=str,
        ),
    )
    parameters: Mapping[Any, Any] | None = field(
        default=None,
        metadata=setting("Numbers of an SDE's parameters, by name.", VALUES, SDE_ONLY, spec=True, option=str),
    )
    zipped: bool = field(
        default=False,
        metadata=setting(
            "Take parameters of several values together, not in all combinations.", FLAG, SDE_ONLY, spec=True
        ),
    )
    steps_at: Sequence[float] | None = field(
        default=None, metadata=setting("Times that no step straddles.", JUMPS, SDE_ONLY, spec=True)
    )
    refine: int = field(default=1, metadata=setting("Finer steps that a step's noise is taken from.", REFINE, SDE_ONLY))
    check: bool = field(
        default=True,
        metadata=setting(
            "Try the step against half of it on a few paths, and warn.",
            FLAG,
            SDE_ONLY,
            spec=True,
            option=bool,
            decides=False,
        ),
    )
    full_batch: bool = field(default=False, metadata=setting("Gradient descent: no noise.", FLAG, SGD_ONLY))
    bound: float | None = field(default=None, metadata=setting("|state| beyond which a path has exploded.", BOUND))
    warn_share: float = field(
        default=0.0, metadata=setting("Share of exploded paths that is told of.", SHARE, spec=True, decides=False)
    )
    threads: int | None = field(
        default=None,
        metadata=setting(
            "Threads, or processes; all cores when left out. Results do not depend on it.",
            THREADS,
            ALL,
            decides=False,
        ),
    )
    executor: Any = field(
        default=None,
        metadata=setting(
            "Who runs chunks of paths: threads, processes, dask, a Dask scheduler's address, or anything with submit.",
            EXECUTOR,
            ALL,
            decides=False,
        ),
    )
    portable: bool = field(
        default=False,
        metadata=setting(
            "Compile for a named baseline, so that unlike machines give the same bits.", FLAG, ALL, decides=False
        ),
    )
    checkpoint: Any = field(
        default=None,
        metadata=setting(
            "Save what is complete here every few seconds; continue from it if it is there.", FILE, SAVED, decides=False
        ),
    )
    progress: bool | Callable[[int], None] = field(
        default=False, metadata=setting("Show a bar, or tell a function.", PROGRESS, ALL, decides=False)
    )
    saves: SaveAt = field(default_factory=SaveAt)
    gather: Gather = field(default_factory=Gather)

    def takes(self, known: Setting) -> bool:
        """Whether the command takes it."""
        return self.command in known.commands

    def deciding(self) -> dict[str, Any]:
        """Those that numbers of the result depend on, {name: value}."""
        values = {**vars(self), **vars(self.saves), **vars(self.gather)}
        return {name: values[name] for name in taken(self.command) if SETTINGS[name].decides}


SETTINGS: Mapping[str, Setting] = {**settings_of(RunSettings), **settings_of(SaveAt), **settings_of(Gather)}
"""All settings, by name."""


def taken(command: str) -> tuple[str, ...]:
    """Names of the settings that a function takes."""
    return tuple(s.name for s in SETTINGS.values() if command in s.commands)


def options(command: str) -> list[Setting]:
    """Those that a command of the command line has as options; where steps are counted, a length in either way."""
    either = () if command == "simulate" else LENGTHS
    return [s for s in SETTINGS.values() if s.option and (command in s.commands or s.name in either)]
