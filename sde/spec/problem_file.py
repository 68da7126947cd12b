"""Problem specs: a TOML file, or the name of a library loss, becomes a `Spec`; everything wrong with it is said at
once.

    name = "..."                                   # default: the file's name
    [parameters]  u = []  a = [4]  W = [3, 2]      # a shape per parameter
    [data]        e = { law = "normal", mean = 0, std = 0.5, shape = [3] }
Laws: normal (mean = 0, std = 1, or covariance = matrix), uniform (low = 0, high = 1), laplace (mean = 0, scale = 1),
bernoulli (p), moments (moments = [m1, m2, ...]). Values are numbers, arrays, or constant expressions such as "1/3";
shape defaults to that of the values. Rows of a file are drawn with equal chance, and may stand beside laws (label
noise):
    file = "train.csv"  inputs = ["c1", "c2"]  targets = ["c3"]     # and more: see sde.spec.data_files.FILE_KEYS
    [loss]          where = { h = "W@x" }  expression = "sum((h - y)**2)"     # symbolic.language.parser; where goes
                    top down
    [sgd]           learning_rate (default 0.01), batch_size, weight_decay, momentum, replacement, nesterov,
                    schedule = "warmup(5)" or "min(t/5, 1)"     # t = eta*k
    [run]           start, time or steps, dt, paths, seed, ...: see sde.spec.run_section
    [[claims]]      observable, equals, margin: see sde.spec.claims_section
A plain SDE has [sde] in the place of parameters, data, loss, sgd and claims: see sde.spec.sde_section.
"""

from __future__ import annotations

import math
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import sympy as sp

from sde.spec import claims_section, observed, run_section
from sde.spec.data_files import FILE_KEYS, not_utf8, read_dataset
from sde.spec.distribution_tables import read_distribution
from sde.spec.error_list import bounded, is_number
from sde.spec.reader import Reader, SpecError
from sde.spec.sde_section import SDEReader
from symbolic.dynamics.equation import SDE
from symbolic.errors import InputError, near, nearest
from symbolic.problem.base_distribution import Distribution
from symbolic.problem.loss import Loss
from symbolic.problem.optimizer import SGD
from symbolic.problem.parameter import entries
from symbolic.problem.schedule import read_schedule

SECTIONS = ("name", "parameters", "data", "loss", "sgd", "run", "observables", "claims")
SGD_KEYS = ("learning_rate", "batch_size", "weight_decay", "momentum", "replacement", "schedule", "nesterov")
LOSS_KEYS = ("where", "expression")
TABLES = {"": SECTIONS, "data": tuple(FILE_KEYS), "loss": LOSS_KEYS, "sgd": SGD_KEYS, "run": run_section.OF_LOSS}
TABLES["claims"] = claims_section.KEYS
DECLARE = "A parameter goes under [parameters]; a data variable needs a law under [data]."


@dataclass(frozen=True)
class Spec:
    """A problem ready to derive, simulate and verify, or, of an SDE, to simulate; that has no optimiser.

    run holds what the file's [run] gives, checked, under the names of `sde.simulate`'s arguments: start (a dict {name:
    float array or Law}, or a list of such dicts), time (= eta*k), steps, dt, paths, seed, save_at, scheme, dtype, keep,
    observables ({name: expression}). inputs: the files that it was read from, the spec's and its data's, which no
    output may overwrite. claims: arguments of `sde.Claim`, for each.
    """

    name: str
    problem: Loss | SDE
    optimiser: SGD | None
    run: dict[str, Any] = field(default_factory=dict)
    path: Path | None = None
    inputs: tuple[Path, ...] = ()
    claims: tuple[dict[str, Any], ...] = ()

    @property
    def loss(self) -> Loss:
        """The loss. Raises InputError where it is an SDE."""
        if isinstance(self.problem, SDE):
            raise self._no_loss()
        return self.problem

    @property
    def sgd(self) -> SGD:
        """The loss's optimiser. Raises InputError where it is an SDE."""
        if self.optimiser is None:
            raise self._no_loss()
        return self.optimiser

    def _no_loss(self) -> InputError:
        rule = "this needs a loss and its SGD; got {}, an SDE by itself ([sde]). simulate runs it."
        return InputError(f"spec: {rule.format(self.path or self.name)}")


def spec_for(name_or_path: str | Path) -> Spec:
    """The spec of a library loss given by name ("matrix-factorization"), else of the file at that path. Raises
    SpecError."""
    from symbolic.library import LIBRARY

    key = str(name_or_path).replace("_", "-")
    if key in LIBRARY:
        entry = LIBRARY[key]
        run = {"start": dict(entry.start), "time": entry.time, "paths": 2000, "seed": 0}
        return Spec(key, entry.build(), entry.sgd, run)
    path = Path(name_or_path)
    if not path.suffix and not os.path.exists(path):
        raise SpecError(
            [
                f"spec: must be a file or a library loss; got {str(name_or_path)!r} (not found)."
                f" {nearest(key, list(LIBRARY))}"
            ]
        )
    return read_spec(path)


def read_spec(path: str | Path) -> Spec:
    """The spec in a TOML file (format: this module's docstring). Raises SpecError with every problem found."""
    path = Path(path)
    try:
        raw = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "no file name"
        raise SpecError([f"spec: the file must be readable; got {str(path)!r} ({reason}). Check the path."]) from None
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SpecError([not_utf8("spec", path, raw, error)]) from None
    if "\0" in text:
        raise SpecError([not_utf8("spec", path, raw)])
    return parse_spec(text, path)


def _written(text: str, where: Mapping[str, Any]) -> set[str]:
    """The names in an expression, and in the named expressions that it uses."""
    found, waiting = set[str](), [text]
    while waiting:
        new = set(re.findall(r"[^\W\d]\w*", waiting.pop())) - found
        found |= new
        waiting += [part for name in new if isinstance(part := where.get(name), str)]
    return found


def parse_spec(text: str, path: str | Path = "spec.toml") -> Spec:
    """Like `read_spec` for the TOML text itself; `path` names it and anchors relative file names."""
    path = Path(path)
    try:
        raw = bounded(tomllib.loads(text.removeprefix("\ufeff")))
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise SpecError(
            [f"{path.name}: must be valid TOML; got {str(error) or 'too deep nesting'} (syntax). Fix that line."]
        ) from None
    if "sde" in raw:
        read = SDEReader(raw, path)
        return Spec(*read.read(), None, read.run, path, (path,))
    return _LossReader(raw, path).spec()


class _LossReader(Reader):
    """Reads the spec of a loss."""

    kinds, declaring = "parameters, data and where", DECLARE

    def __init__(self, raw: dict[str, Any], path: Path) -> None:
        super().__init__(raw, path, TABLES)
        self.parameters: dict[str, np.ndarray] = {}
        self.data: dict[str, np.ndarray] = {}
        self.laws: list[Any] = []
        self.cancelling: list[str] = []
        self.size: int | None = None
        self.files: tuple[Path, ...] = ()

    def spec(self) -> Spec:
        for key in self.raw:
            if key not in SECTIONS:
                self.errors.unknown("", key, self.raw[key], "unknown section or key")
        name = self.name()
        self.read_parameters()
        self.read_data()
        expression = self.read_loss()
        sgd = self.read_sgd()
        known = observed.of_loss(self.parameters, self.names)
        run = run_section.read(self.section("run"), self.section("observables"), known, sgd, self.errors)
        claims = claims_section.read(
            self.raw.get("claims", []), run.get("observables", {}), self.parameters, self.names, self.errors
        )
        if self.errors.found or expression is None or sgd is None:
            raise SpecError(self.errors.found)
        try:
            loss = Loss(expression, self.parameters, self.laws, name=name, cancelling=self.cancelling)
        except ValueError as error:
            raise SpecError(str(error).splitlines()) from None
        loss.files = (self.path, *self.files)
        observed.fill(run, loss, self.errors)
        claims_section.fill(claims, loss, self.errors)
        if self.errors.found:
            raise SpecError(self.errors.found)
        return Spec(name, loss, sgd, run, self.path, loss.files, claims)

    def shape_advice(self, value: Any) -> str:
        if isinstance(value, dict):
            return "A variable with a law goes under [data]; here write [] or [4] or [3, 2]."
        if is_number(value) or (isinstance(value, list) and not all(type(n) is int for n in value)):
            return "Write [] or [4] or [3, 2]; values go under [run], start = { ... }."
        return super().shape_advice(value)

    def read_parameters(self) -> None:
        for name, value in self.section("parameters", needed=True).items():
            shape = self.shape(f"parameters.{name}", value)
            array = None if shape is None else entries(name, shape)
            if self.declare(name, f"parameters.{name}", array) and array is not None:
                self.parameters[name] = array

    def read_data(self) -> None:
        section = self.section("data", needed=True)
        if any(key in section and not isinstance(section[key], dict) for key in FILE_KEYS):
            self.read_file({key: section[key] for key in FILE_KEYS if key in section})
        bound: dict[Any, Distribution] = {}
        for name, value in section.items():
            where = f"data.{name}"
            if name in FILE_KEYS:
                if isinstance(value, dict):
                    self.errors.add(where, "this name is a key of [data] for files", value, "Rename the variable.")
                continue
            if not isinstance(value, dict):
                self.errors.add(
                    where,
                    "must be a law or a key for files",
                    value,
                    'A shape goes under [parameters]; here write { law = "normal", shape = [2] }.'
                    if isinstance(value, list) and all(type(n) is int for n in value) and not near(name, TABLES["data"])
                    else f'Write {{ law = "normal", std = 1 }}. {nearest(name, TABLES["data"])}',
                )
                self.declare(name, where, None)
                continue
            requested = self.shape(f"{where}.shape", value["shape"]) if "shape" in value else None
            distribution, shape = read_distribution(
                where, {k: v for k, v in value.items() if k != "shape"}, requested, self.errors
            )
            array = None if distribution is None and requested is None else entries(name, shape)
            if self.declare(name, where, array) and array is not None:
                self.data[name] = array
                if distribution is not None:
                    bound[sp.ImmutableDenseNDimArray(array) if shape else array.item()] = distribution
        if bound:
            self.laws.append(bound)

    def read_file(self, keys: dict[str, Any]) -> None:
        arrays, dataset = read_dataset(keys, self.path.parent, self.errors)
        for name, array in arrays.items():
            if self.declare(name, "data.file", array) and array is not None:
                self.data[name] = array
        if dataset is not None:
            self.laws.append(dataset)
            self.files = (self.path.parent / str(keys["file"]),)
            self.size = len(next(iter(dataset.columns.values())))

    def read_loss(self) -> sp.Expr | None:
        section = self.section("loss", needed=True)
        for key, value in section.items():
            if key not in LOSS_KEYS:
                self.errors.unknown("loss", key, value)
        where = self.read_where("loss", section.get("where", {}))
        if not section:
            return None
        value = self.expression("loss.expression", section.get("expression"))
        if value is None:
            return None
        if value.shape:
            text = section["expression"]
            self.errors.add(
                "loss.expression",
                f"must be a scalar, here shape {value.shape}",
                text,
                "Sum it or take a norm: sum((...)**2).",
            )
            return None
        result: sp.Expr = value.item()
        written = _written(section["expression"], where)
        for kind, table in (("parameters", self.parameters), ("data", self.data)):
            for name, array in table.items():
                if result.free_symbols & set(array.flat):
                    continue
                if name in written:
                    self.cancelling.append(name)
                else:
                    self.errors.add(
                        f"{kind}.{name}",
                        "must occur in the loss",
                        name,
                        "Use it in loss.expression or remove it.",
                    )
        return result

    def read_sgd(self) -> SGD | None:
        section = dict(self.section("sgd"))
        before = len(self.errors.found)
        for key, value in section.items():
            where = f"sgd.{key}"
            if key not in SGD_KEYS:
                self.errors.unknown("sgd", key, value)
            elif key in ("replacement", "nesterov") and not isinstance(value, bool):
                self.errors.add(where, "must be true or false", value, f"Write {key} = true.")
            elif key == "schedule" and isinstance(value, str):
                try:
                    section[key] = read_schedule(where, value)
                except InputError as error:
                    self.errors.found.append(str(error))
            elif key in SGD_KEYS[:4] and not is_number(value):
                self.errors.add(where, "must be a number", value, "Write it without quotes.")
            elif key == "batch_size" and not math.isfinite(value):
                self.errors.add(where, "must be a whole number of at least 1", value, "Give the samples per step.")
            elif key not in ("replacement", "nesterov"):
                try:
                    SGD(**{"learning_rate": 1.0, key: value})
                except ValueError as error:
                    self.errors.found.append(str(error).replace("SGD.", "sgd.", 1))
        if len(self.errors.found) > before:
            return None
        try:
            sgd = SGD(**{"learning_rate": 0.01, **section})
        except InputError as error:
            self.errors.found.append(str(error).replace("SGD.", "sgd.", 1))
            return None
        if self.size is not None and not sgd.replacement and sgd.batch_size > self.size:
            rule = f"without replacement a batch cannot exceed the {self.size} rows of the data set"
            self.errors.add("sgd.batch_size", rule, sgd.batch_size, "Take a smaller batch or replacement = true.")
        return sgd
