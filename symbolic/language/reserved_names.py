"""Names that results use for what is ours, in one place: nothing of a user's may have one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import product

from symbolic.errors import InputError

OURS = {
    "time": "the time of saves",
    "path": "the number of a path",
    "statistic": "which statistic",
    "exploded": "the count of lost paths",
    "explosion_time": "when a path was lost",
    "explosion_value": "with what value a path was lost",
    "covariance": "the covariance",
    "one": "the rows of the covariance",
    "other": "the columns of the covariance",
}
OF_EVENT = ("time", "count")
OF_HISTOGRAM = ("histogram", "left", "right", "bin")
UNDEFINED = "undefined"
"""The suffix of the count of paths on which a variable is not a finite number."""


def refuse(where: str, names: Iterable[str]) -> list[str]:
    """A refusal, in words, for each of `names` that is ours."""
    return [
        f"{where}[{name}]: a name must not be one that results use; got {name!r}, which is {OURS[name]}. Rename it,"
        f" e.g. {name}_."
        for name in names
        if name in OURS
    ]


def check(
    variables: Mapping[str, Sequence[int]],
    observables: Iterable[str] = (),
    events: Iterable[str] = (),
    histograms: Iterable[str] = (),
    swept: Iterable[str] = (),
) -> None:
    """Raise ValueError where a result would hold one name twice. variables: {parameter or state: shape}, and among them
    `observables`."""
    observed, taken, errors = set(observables), dict(OURS), list[str]()

    def where(name: str) -> str:
        return f"{'observables' if name in observed else 'parameters'}[{name}]"

    def use(name: str, user: str, meaning: str) -> None:
        if name in taken:
            errors.append(f"{user}: a name must be new text; got {name!r}, which is {taken[name]}. Rename it.")
        taken.setdefault(name, meaning)

    for name in variables:
        use(name, where(name), f"the {'observable' if name in observed else 'parameter or state'} {name}")
    for name in events:
        use(name, f"events[{name}]", f"the event {name}")
    for name in swept:
        use(name, f"parameters[{name}]", f"the axis of the swept parameter {name}")
    bracketed = any("[" in name for name in (*variables, *events, *swept))
    for name, shape in variables.items():
        for axis in range(len(shape)):
            use(f"{name}_{axis}", where(name), f"a dimension of {name}")
        for index in product(*map(range, shape)) if len(shape) and bracketed else ():
            use(f"{name}[{','.join(map(str, index))}]", where(name), f"an entry of {name}")
        use(f"{name}_{UNDEFINED}", where(name), f"the count of paths on which {name} is not a finite number")
    for name in events:
        for part in OF_EVENT:
            use(f"{name}_{part}", f"events[{name}]", f"the {part} of the event {name}")
    for name in histograms:
        for part in OF_HISTOGRAM:
            use(f"{name}_{part}", f"histogram[{name}]", f"a part of the histogram of {name}")
    if errors:
        raise InputError("\n".join(errors))
