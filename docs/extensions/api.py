"""A page for every public name, and the lists of them."""

from __future__ import annotations

import inspect
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import sde
import symbolic

GROUPS = {
    "Problems": ("Loss", "parameters", "Parameter", "SGD", "warmup", "cosine", "SDE", "Jump",
        "running", "integral", "states", "table",
    ),
    "Data": ("Normal", "Uniform", "Laplace", "Bernoulli", "Moments", "Dataset", "Distribution"),
    "Theory": ("derive", "Theory", "Charge", "Algebra", "Certificate", "Structure"),
    "Predictions": (
        "Equilibrium", "ChargeEquilibrium", "JointEquilibrium", "RelativeEquilibrium", "Sharpness", "Breaking",
        "BreakingSizes", "LabelNoise", "MomentumLaw", "StationaryLaw",
    ),
    "Runs": ("simulate", "train", "resume", "plot"),
    "Measurements": (
        "verify", "calibrate", "compare", "Claim", "Margins", "Report", "Verdict", "expectation", "Expectation",
        "Level", "sensitivities", "Sensitivity", "convergence", "Convergence",
    ),
}  # fmt: skip
"""Of the list; a name that stands in none comes under "Errors and warnings" or "More"."""


LOSSES = """## Named losses and symbols

[symbolic.library](api/library.rst) makes the losses of the [table](library.md). The symbols `symbolic.T`,
`symbolic.eta` and `symbolic.lambda_wd` stand for temperature, learning rate and weight decay in expressions.

```{toctree}
:hidden:

api/library
```
"""


def public() -> dict[str, tuple[ModuleType, Any]]:
    """{name: the package that it is imported from, what it is}, of classes and functions."""
    found = {n: (p, getattr(p, n)) for p in (sde, symbolic) for n in p.__all__}
    return {n: (p, v) for n, (p, v) in found.items() if inspect.isclass(v) or inspect.isfunction(v)}


def groups() -> dict[str, list[str]]:
    """Every public name, by title."""
    left = dict(public())
    out = {title: [n for n in names if left.pop(n, None)] for title, names in GROUPS.items()}
    out["Errors and warnings"] = [n for n, (_, v) in left.items() if inspect.isclass(v) and issubclass(v, Exception)]
    out["More"] = [n for n in left if n not in out["Errors and warnings"]]
    return {title: names for title, names in out.items() if names}


def summary(value: Any) -> str:
    """The first sentence of a docstring."""
    text = " ".join((inspect.getdoc(value) or "").split("\n\n")[0].split())
    return text.split(". ")[0].rstrip(".").replace("|", "\\|")


def page(name: str, package: ModuleType, value: Any) -> str:
    """What one name's page says, from its docstring."""
    kind = "class" if inspect.isclass(value) else "function"
    full = f"{package.__name__}.{name}"
    options = ["   :members:"] if kind == "class" and not issubclass(value, Exception) else []
    return "\n".join([full, "=" * len(full), "", f".. auto{kind}:: {full}", *options, ""])


def library_page() -> str:
    """The functions that make the named losses."""
    module = symbolic.library
    names = [n for n in module.__all__ if inspect.isfunction(getattr(module, n)) and n != "rows"]
    lines = ["symbolic.library", "================", "", ".. automodule:: symbolic.library", "   :no-members:", ""]
    for name in names:
        lines += [f".. autofunction:: symbolic.library.{name}", ""]
    return "\n".join(lines)


def network_pages() -> dict[str, str]:
    """Those of `sde.networks`, whose names need an extra."""
    head = "# Names of sde.networks\n\nThey need the extra `noetherflow[torch]`. [How to](../how-to/torch-model.md).\n"
    if find_spec("torch") is None:
        return {"networks.md": f"{head}\nThis site was built without it.\n"}
    package = import_module("sde.networks")
    known = {n: getattr(package, n) for n in package.__all__}
    rows = [f"| [sde.networks.{n}](networks/{n}.rst) | {summary(v)} |" for n, v in known.items()]
    tree = ["", "```{toctree}", ":hidden:", "", *(f"{n} <networks/{n}>" for n in known), "```", ""]
    text = "\n".join([head, "| | |", "|---|---|", *rows, *tree])
    return {f"networks/{n}.rst": page(n, package, v) for n, v in known.items()} | {"networks.md": text}


def pages() -> dict[str, str]:
    """{file name: text}."""
    known = public()
    out = {f"api/{n}.rst": page(n, *known[n]) for n in known} | {"api/library.rst": library_page()}
    lines = ["# Public names\n", "Names of `symbolic` are exact, those of `sde` are numbers; `help` says the same.\n"]
    for title, names in groups().items():
        lines += [f"## {title}\n", "| | |", "|---|---|"]
        lines += [f"| [{known[n][0].__name__}.{n}](api/{n}.rst) | {summary(known[n][1])} |" for n in names]
        lines += ["", "```{toctree}", ":hidden:", "", *(f"{n} <api/{n}>" for n in names), "```", ""]
    return out | network_pages() | {"api.md": "\n".join([*lines, LOSSES])}
