"""The [sde] section of a spec: an SDE by itself, its keys the arguments of `symbolic.SDE`, its texts expressions in
states, parameters, named expressions and time t.

states = ["S", "v"]                         their names; or shapes by name, { X = [], Y = [4] }
parameters = ["kappa"]                      names of what [run] parameters gives numbers to
where = { pull = "theta - v" }              named expressions, top down
drift = { S = "r*S", v = "kappa*pull" }     of each state, of its shape
diffusion = { S = "0.2*S" }                 of the state's shape: a noise of its own for each entry; with an axis more,
                                            S = ["S*sqrt(v)", 0], the strengths of J noises that all states share;
                                            states that are left out have none
correlation = [[1, -0.7], [-0.7, 1]]        of the noises
interpretation = "ito"                      or "stratonovich"
domain = { v = "nonnegative" }              or ["reflect", 0, 1], "periodic" or "absorb" likewise; an end may be inf
[[sde.jumps]]                               a change of state at once, each time
changes = { S = "S*exp(Z)" }                what states become
rate = "2 + v"                              jumps per unit time; or one of the next two
at = [1.0, 2.0]                             times of impulses
when = "S > 3"                              made as it becomes true
sizes = { Z = { law = "normal", std = 0.1 } }   drawn anew at each jump
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import sympy as sp

from sde.spec import observed, run_section
from sde.spec.distribution_tables import read_distribution
from sde.spec.error_list import is_number
from sde.spec.observed import Known
from sde.spec.reader import Reader, SpecError
from symbolic.dynamics.equation import SDE
from symbolic.dynamics.jump import Jump
from symbolic.dynamics.path_functionals import integral, running
from symbolic.errors import InputError, nearest
from symbolic.language.parser import ExpressionError
from symbolic.language.vocabulary import Fault, stack
from symbolic.problem.optimizer import t
from symbolic.problem.parameter import Parameter, entries

SECTIONS = ("name", "sde", "run", "observables")
KEYS = ("states", "parameters", "where", "drift", "diffusion", "correlation", "interpretation", "domain", "jumps")
JUMP_KEYS = ("changes", "rate", "at", "when", "sizes")
TABLES = {"": SECTIONS, "sde": KEYS, "sde.jumps": JUMP_KEYS, "run": run_section.OF_SDE}
PATH_FUNCTIONS = {
    "running": lambda of, f: np.frompyfunc(lambda e: running(of, e), 1, 1)(f),
    "integral": lambda f: np.frompyfunc(integral, 1, 1)(f),
}


class SDEReader(Reader):
    """Reads the spec of an SDE."""

    kinds, declaring = "states, parameters and where", "States and parameters are listed under [sde]."

    def __init__(self, raw: dict[str, Any], path: Path) -> None:
        super().__init__(raw, path, TABLES)
        self.states: dict[str, np.ndarray] = {}
        self.parameters: dict[str, np.ndarray] = {}
        self.run: dict[str, Any] = {}

    def read(self) -> tuple[str, SDE]:
        """Its name and equation; `run` then holds its run. Raises SpecError."""
        for key, value in self.raw.items():
            if key in ("loss", "data", "sgd", "claims", "parameters"):
                do = "List its names under [sde]." if key == "parameters" else "Leave out one of the two."
                self.errors.add(key, "is of a loss, and [sde] stands by itself", value, do)
            elif key not in SECTIONS:
                self.errors.unknown("", key, value, "unknown section or key")
        name, section = self.name(), self.section("sde", needed=True)
        for key, value in section.items():
            if key not in KEYS:
                self.errors.unknown("sde", key, value)
        self.read_names(section)
        given = self.coefficients(section) | {"jumps": self.jumps(section.get("jumps", []))}
        sde = None if self.errors.found else self.made(name, section, given)
        self.run = run_section.read(
            self.section("run"), self.section("observables"), self.known(sde), None, self.errors
        )
        if self.errors.found or sde is None:
            raise SpecError(self.errors.found)
        return name, sde

    def known(self, sde: SDE | None = None) -> Known:
        """What expressions may name, beside the spec's own names: in coefficients t, in the run of an SDE also W, the
        noises' Brownian motions, and functionals of paths."""
        names = {"t": t, **({} if sde is None else {"W": np.array(sde.W, dtype=object)}), **self.names}
        symbols = frozenset(s for value in names.values() for e in np.ravel(value) for s in e.free_symbols)
        return Known(self.states, names, symbols, {} if sde is None else PATH_FUNCTIONS, self.parameters)

    def read_names(self, section: Mapping[str, Any]) -> None:
        states = section.get("states")
        if isinstance(states, list) and states and all(isinstance(name, str) for name in states):
            states = [(name, []) for name in states]
        elif isinstance(states, dict) and states:
            states = list(states.items())
        else:
            do = 'Write states = ["X"], or { X = [4] } for arrays.'
            self.errors.add("sde.states", "must list names, or give shapes by name", states, do)
            states = []
        for name, value in states:
            shape = self.shape(f"sde.states.{name}", value)
            array = None if shape is None else entries(name, shape)
            if self.declare(name, f"sde.states.{name}", array) and array is not None:
                self.states[name] = array
        parameters = section.get("parameters", [])
        if not isinstance(parameters, list) or not all(isinstance(name, str) for name in parameters):
            do = 'Write parameters = ["k"]; their numbers go under [run], parameters = { k = 2.0 }.'
            self.errors.add("sde.parameters", "must list names", parameters, do)
            parameters = []
        for name in parameters:
            if self.declare(name, f"sde.parameters.{name}", entries(name)):
                self.parameters[name] = self.names[name]
        self.names["t"] = np.array(t, dtype=object)
        self.read_where("sde", section.get("where", {}))
        del self.names["t"]

    def value(self, where: str, given: Any, known: Known) -> np.ndarray | None:
        """An array of expressions: from a text, a number, or nested lists of them."""
        if isinstance(given, list) and given:
            parts = [self.value(f"{where}[{i}]", part, known) for i, part in enumerate(given)]
            if any(part is None for part in parts):
                return None
            try:
                return stack([part for part in parts if part is not None])
            except Fault as fault:
                self.errors.add(where, fault.rule, given, fault.do)
                return None
        try:
            return known.parse(repr(given) if is_number(given) else given, where)
        except ExpressionError as error:
            self.errors.expression(error, self.declaring)
            return None

    def table(self, where: str, given: Any, needed: bool) -> dict[str, Any]:
        """{state: what is given for it}."""
        if not isinstance(given, dict):
            self.errors.add(where, "must be a table with an entry per state", given, 'Write { X = "-X" }.')
            return {}
        for name in given:
            if name not in self.states and name not in self.errors.failed:
                self.errors.add(f"{where}.{name}", "must name a state", name, nearest(name, list(self.states)))
        for name in self.states:
            if needed and name not in given:
                self.errors.add(f"{where}.{name}", "every state needs one", None, "Write 0 for none.")
        return {name: value for name, value in given.items() if name in self.states}

    def coefficients(self, section: Mapping[str, Any]) -> dict[str, Any]:
        """`SDE`'s drift and diffusion."""
        known, before = self.known(), len(self.errors.found)
        drift, rows = dict[str, np.ndarray](), dict[str, np.ndarray]()
        for name, given in self.table("sde.drift", section.get("drift"), needed=True).items():
            value = self.value(f"sde.drift.{name}", given, known)
            if value is not None:
                drift[name] = self.fitted(f"sde.drift.{name}", value, self.states[name].shape, given)
        for name, given in self.table("sde.diffusion", section.get("diffusion", {}), needed=False).items():
            value, shape = self.value(f"sde.diffusion.{name}", given, known), self.states[name].shape
            if value is None or (not value.shape and value.item() == 0):
                continue
            shared = value.ndim == len(shape) + 1
            rows[name] = self.fitted(
                f"sde.diffusion.{name}", value, (*shape, *value.shape[-1:]) if shared else shape, given
            )
        kinds = {name: row.shape[self.states[name].ndim :] for name, row in rows.items()}
        if len(set(kinds.values())) > 1:
            shown = {name: f"{kind[0]} shared" if kind else "its own" for name, kind in kinds.items()}
            rule = "states have noises of their own (a text each), or all share J noises (lists of J texts)"
            self.errors.add("sde.diffusion", rule, shown, "Write lists of one length.")
        if len(self.errors.found) > before or drift.keys() != self.states.keys() or not self.states:
            return {}
        if set(kinds.values()) - {()}:
            width = next(iter(kinds.values()))[0]
            zero = np.full(width, sp.S.Zero)
            parts = [np.broadcast_to(rows.get(name, zero), (*a.shape, width)) for name, a in self.states.items()]
            matrix = np.concatenate([part.reshape(-1, width) for part in parts])
        else:
            own = [rows.get(name, np.full(a.shape, sp.S.Zero)).ravel() for name, a in self.states.items()]
            strengths = np.concatenate(own)
            driven = [k for k, b in enumerate(strengths) if b != 0]
            matrix = np.full((len(strengths), max(1, len(driven))), sp.S.Zero)
            matrix[driven, np.arange(len(driven))] = strengths[driven]
        return {"drift": [e for name in self.states for e in drift[name].flat], "diffusion": matrix.tolist()}

    def fitted(self, where: str, value: np.ndarray, shape: tuple[int, ...], given: Any) -> np.ndarray:
        try:
            return np.broadcast_to(value, shape)
        except ValueError:
            do = "A diffusion may have an axis more, one entry for each of the noises." * ("diffusion" in where)
            rule = f"must have the state's shape {list(shape)}, here {list(value.shape)}"
            self.errors.add(where, rule, given, do or "Reshape it.")
            return np.full(shape, sp.nan, dtype=object)

    def jumps(self, tables: Any) -> list[Jump]:
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            do = 'Write [[sde.jumps]], then changes = { X = "0" } and when = "X > 1".'
            self.errors.add("sde.jumps", "must be tables of jumps", tables, do)
            return []
        read = [self.jump(f"sde.jumps[{i}]", table, self.known()) for i, table in enumerate(tables)]
        return [jump for jump in read if jump]

    def jump(self, where: str, table: Mapping[str, Any], known: Known) -> Jump | None:
        before, sizes = len(self.errors.found), dict[sp.Symbol, Any]()
        for key, value in table.items():
            if key not in JUMP_KEYS:
                self.errors.unknown("sde.jumps", key, value)
        given = table.get("sizes", {})
        if not isinstance(given, dict) or not all(isinstance(law, dict) for law in given.values()):
            self.errors.add(f"{where}.sizes", "must be a table of laws", given, 'Write { Z = { law = "normal" } }.')
            given = {}
        for name, law in given.items():
            drawn, _ = read_distribution(f"{where}.sizes.{name}", law, (), self.errors)
            if self.declare(name, f"{where}.sizes.{name}", entries(name)):
                sizes[self.names.pop(name).item()] = drawn
        drawn_too = Known(known.moving, {**known.names, **{str(s): s for s in sizes}}, known.symbols)
        changes: dict[sp.Symbol, sp.Expr] = {}
        for name, text in self.table(f"{where}.changes", table.get("changes", {}), needed=False).items():
            value = self.value(f"{where}.changes.{name}", text, drawn_too)
            if value is not None:
                fitted = self.fitted(f"{where}.changes.{name}", value, self.states[name].shape, text)
                changes |= dict(zip(self.states[name].flat, fitted.flat, strict=True))
        trigger: dict[str, Any] = {key: table[key] for key in ("at",) if key in table}
        for key in [key for key in ("rate", "when") if key in table]:
            try:
                text = repr(table[key]) if is_number(table[key]) else table[key]
                trigger[key] = observed.excess(text, known, f"{where}.{key}").item()
            except ExpressionError as error:
                self.errors.expression(error, self.declaring)
            except ValueError:
                self.errors.add(f"{where}.{key}", "must be one expression, not an array", table[key], "Sum it.")
        if len(self.errors.found) > before:
            return None
        try:
            return Jump(changes, sizes=sizes, **trigger)
        except InputError as error:
            self.errors.found += [line.replace("Jump", where, 1) for line in str(error).splitlines()]
            return None

    def made(self, name: str, section: Mapping[str, Any], given: Mapping[str, Any]) -> SDE | None:
        domain = self.table("sde.domain", section.get("domain", {}), needed=False)
        domains = {s: value for n, value in domain.items() for s in self.states[n].flat}
        try:
            sde = SDE(
                [s for array in self.states.values() for s in array.flat],
                given["drift"],
                given["diffusion"],
                section.get("interpretation", "ito"),
                t,
                name,
                [array.item() for array in self.parameters.values()],
                given["jumps"],
                domains or None,
                correlation=section.get("correlation"),
            )
        except InputError as error:
            self.errors.found += [line.replace("SDE", "sde", 1) for line in str(error).splitlines()]
            return None
        sde.parts = tuple(Parameter(n, a.shape, tuple(a.flat)) for n, a in self.states.items())
        return sde
