"""One step of every scheme: compiled against its own text, and noise that is a constant against the scheme written out
by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy as sp

from sde.engine import ensemble
from sde.engine.plan import Plan
from sde.engine.program import import_text, load
from sde.kernels import drivers
from sde.kernels.loop import Clock
from symbolic import SDE
from symbolic.codegen.prepare import prepare
from symbolic.schemes import SCHEMES, fitting
from tests.naive.schemes import STEPS, Problem

X, Y, s = sp.symbols("X Y s", real=True)
NAMES = [name for name, scheme in SCHEMES.items() if scheme.calculus != "discrete"]
OWN_CLOCKS = {name for name in NAMES if SCHEMES[name].own_clock}
"""Their steps are taken as the loop takes them in `test_adaptive`; here, one by one."""


def problem(noise: str, calculus: str) -> tuple[SDE, Problem]:
    """Time-dependent, two states: formulas for us, the same by hand for the twin."""
    drift = [Y - X**3 + s, sp.sin(X) - 2 * Y + s**2]
    formulas: dict[str, Any] = {
        "general": [[X * Y, 1 + s], [sp.cos(Y), X**2]],
        "diagonal": [[(1 + s) * sp.cos(X), 0], [0, sp.sqrt(1 + Y**2)]],
        "additive": [[1 + s, s**2], [2, -1]],
    }
    hand: dict[str, Any] = {
        "general": lambda x, t: np.array([[x[0] * x[1], 1 + t], [np.cos(x[1]), x[0] ** 2]]),
        "diagonal": lambda x, t: np.array([[(1 + t) * np.cos(x[0]), 0], [0, np.sqrt(1 + x[1] ** 2)]]),
        "additive": lambda x, t: np.array([[1 + t, t**2], [2, -1]]),
    }
    if noise in ("pair", "single"):
        return rescaled(noise == "pair", calculus)
    if noise in KEPT:
        return kept(noise, calculus)
    twin = Problem(lambda x, t: np.array([x[1] - x[0] ** 3 + t, np.sin(x[0]) - 2 * x[1] + t**2]), hand[noise])
    return SDE([X, Y], drift, formulas[noise], calculus, s), twin


def rescaled(pair: bool, calculus: str) -> tuple[SDE, Problem]:
    """States that are only rescaled: as a pair, or one by one."""

    def rates(x: Any, t: Any, m: Any) -> tuple[list[Any], list[Any]]:
        """What multiplies (Y, X) and (X, Y), or X and Y: in the drift and in two noises. m: the library of
        functions."""
        v = x[0] * x[1]
        return [1 - v + t, v / 2 + t, m.tanh(3 * v) - 1], [-(1 + t) / 5, x[0] ** 2 / 4, t]

    def moves(x: Any, t: Any, m: Any) -> list[tuple[Any, Any]]:
        """Drift, then noises."""
        if pair:
            return [(q * x[1] + r * x[0], q * x[0] + r * x[1]) for q, r in zip(*rates(x, t, m), strict=True)]
        return [(q * x[0], r * x[1]) for q, r in zip(*rates(x, t, m), strict=True)]

    drift, *noises = moves((X, Y), s, sp)
    twin = Problem(lambda x, t: np.array(moves(x, t, np)[0]), lambda x, t: np.array(moves(x, t, np)[1:]).T, pair=pair)
    return SDE([X, Y], list(drift), [list(row) for row in zip(*noises, strict=True)], calculus, s), twin


KEPT = ("roots", "roots-alone", "growth")


def kept(noise: str, calculus: str) -> tuple[SDE, Problem]:
    """A square-root diffusion and what it drives, at or above 0 or not; or states that are rescaled."""

    def moves(x: Any, t: Any, m: Any) -> tuple[list[Any], list[list[Any]]]:
        if noise == "growth":
            rate = m.sin(x[1]) + t
            return [x[0] * (1 - x[0] + x[1] / 2), x[0] - x[1]], [[x[0] / 2, x[0] * rate], [t, x[0] / 3]]
        root = m.sqrt(x[0])
        drive = [x[1] * root * (1 + t) / 2, x[1] * t] if noise == "roots" else [root * (1 + x[1] / 2), t]
        return [1 - x[0] / 2, x[1] * (x[0] - t)], [[3 * root / 5, 4 * root / 5], drive]

    states = (X, Y) if noise == "roots" else (X,)
    drift, rows = moves((X, Y), s, sp)
    twin = Problem(
        lambda x, t: np.array(moves(x, t, np)[0]),
        lambda x, t: np.array(moves(x, t, np)[1]),
        kept=tuple(range(len(states))),
    )
    return SDE([X, Y], drift, rows, calculus, s, domain=dict.fromkeys(states, "nonnegative")), twin


def cases() -> list[tuple[str, str]]:
    """The problems that a scheme's noise class asks for; rescaled ones for a scheme that refuses those."""
    kinds = {"general": ("general", "diagonal", "additive"), "commutative": ("diagonal",), "diagonal": ("diagonal",)}
    out = []
    for name in NAMES:
        noises = kinds.get(SCHEMES[name].noise, ("additive",))
        fit = [noise for noise in noises if name in fitting(problem(noise, SCHEMES[name].calculus)[0])]
        if not fit:
            others = (
                ("pair", "single") if name == "orbit-splitting" else KEPT if SCHEMES[name].calculus == "ito" else ()
            )
            fit = [noise for noise in others if name in fitting(problem(noise, "ito")[0])]
        out += [(name, noise) for noise in fit]
    return out


def name_in_full(name: str) -> str:
    return "milstein-levy:3" if name == "milstein-levy" else name


IN_FLOAT32 = ("sriw1", "implicit-euler", "platen-weak-2", "orbit-splitting", "quadratic-exponential", "full-truncation")
KERNELS = [
    (name, noise, dtype)
    for name, noise in cases()
    for dtype in ("float64", "float32")
    if (noise != "additive" or SCHEMES[name].noise == "additive") and (dtype == "float64" or name in IN_FLOAT32)
]


@pytest.mark.parametrize(("name", "noise", "dtype"), KERNELS)
def test_the_kernel_agrees_with_its_text(name: str, noise: str, dtype: str) -> None:
    """One step on a block of random states and inputs: 1e-13 relative to the states' size in float64, 1e-5 in
    float32."""
    sde, _ = problem(noise, SCHEMES[name].calculus)
    module = prepare(sde, name_in_full(name), None, dtype).module
    program, text = load(module.text, module.manifest), import_text(module.text)
    lanes, inputs = program.lanes, program.native.inputs
    rng, h, t = np.random.default_rng(1), 0.05, 0.3
    x = rng.normal(size=2 * lanes).astype(dtype)
    x = np.abs(x) if sde.domain else x
    n = (np.sqrt(h) * rng.normal(size=inputs * lanes)).astype(dtype)
    expected, real = x.copy(), np.dtype(dtype).type
    numbers = np.append(module.numbers, 1.0)
    rows = [np.full(lanes, value, dtype) for value in (h, t)]
    times: list[Any] = rows if name in OWN_CLOCKS else [real(h), real(t)]
    text.step(expected, n, *times, numbers)
    step = program.compiled["step"].ctypes
    before = x.copy()
    given = [x, n, *times, numbers.astype(dtype)]
    step(*(a.ctypes.data_as(kind) if np.ndim(a) else kind(a) for a, kind in zip(given, step.argtypes, strict=True)))
    assert np.isfinite(x).all() and not np.array_equal(x, before)
    scale = 1 + np.abs(expected)
    assert (np.abs(x - expected) <= (1e-13 if dtype == "float64" else 2e-5) * scale).all()


@pytest.mark.parametrize(("name", "noise"), [pair for pair in cases() if pair[0] in STEPS])
def test_constant_noise_is_the_scheme_by_hand(name: str, noise: str) -> None:
    """Inputs held at constants turn a run into a deterministic map, which the written-out scheme repeats to
    rounding."""
    sde, twin = problem(noise, SCHEMES[name].calculus)
    prepared = prepare(sde, name_in_full(name))
    h, steps, inputs = 0.02, 25, prepared.module.manifest["inputs"]
    values = np.array([0.7, -0.4, 0.3, 0.55, -0.2, 0.15, 0.6, -0.35])[: int(str(inputs))] * np.sqrt(h)
    dW, rest = values[:2], values[2:]
    dZ = h / 2 * (dW - rest[:2] / np.sqrt(3)) if name in ("sra1", "sriw1") else None
    integrals, signs = None, None
    if name == "milstein-levy":
        m = values.reshape(4, 2)
        area = (
            sum((m[i, 0] * m[i + 1, 1] - m[i + 1, 0] * m[i, 1]) / np.sqrt(4 * (i + 1) ** 2 - 1) for i in range(3)) / 2
        )
        integrals = (np.outer(dW, dW) - h * np.eye(2)) / 2 + np.array([[0, area], [-area, 0]])
    if name == "platen-weak-2":
        signs = np.array([[0, -1.0], [1.0, 0]]) * np.sign(rest[0])
    program = load(prepared.module.text, prepared.module.manifest)
    grid = h * np.arange(steps + 1)
    clock = Clock(grid, np.full(steps, h), np.ones(steps), np.array([steps]))
    driver = drivers.mean(values, np.dtype("float64"))
    start = np.array([0.5, 0.3 if sde.domain else -0.3])
    plan = Plan(
        program=program,
        driver=driver,
        clock=clock,
        parameters=np.append(prepared.module.numbers, 1.0),
        start=lambda first, n: np.broadcast_to(start, (n, 2)),
        paths=2,
        seed=0,
        bound=1e9,
        keep=True,
    )
    x = start
    for k in range(steps):
        x = STEPS[name](twin, x, grid[k], h, dW=dW, dZ=dZ, integrals=integrals, signs=signs)
    found = ensemble.run(plan).kept[0, :, 0]
    assert np.isfinite(x).all() and found == pytest.approx(x, rel=1e-11 if name == "implicit-euler" else 1e-12)


@pytest.mark.parametrize(
    ("name", "corrected"),
    [("euler-maruyama", 0), ("heun", 0), ("euler-heun", 0), ("milstein", 1), ("sriw1", 1), ("platen-weak-2", 1)],
)
def test_smooth_noise_solves_the_matching_ode(name: str, corrected: int) -> None:
    """dW = c h (and the iterated integrals that go with it) solves x' = a + c b, less half b b' where the scheme holds
    Ito's correction: the error falls with h at the ODE scheme's order."""
    c, errors = 0.8, []
    sde = SDE([X], [-X], [[1 + X**2 / 4]], SCHEMES[name].calculus)
    for h in (0.005, 0.0025):
        prepared = prepare(sde, name)
        steps = round(1 / h)
        values = np.zeros(int(str(prepared.module.manifest["inputs"])))
        values[0] = c * h
        program = load(prepared.module.text, prepared.module.manifest)
        clock = Clock(h * np.arange(steps + 1), np.full(steps, h), np.ones(steps), np.array([steps]))
        plan = Plan(
            program=program,
            driver=drivers.mean(values, np.dtype("float64")),
            clock=clock,
            parameters=np.empty(0),
            start=lambda _, n: np.full((n, 1), 0.3),
            paths=1,
            seed=0,
            bound=1e9,
            keep=True,
        )
        found = ensemble.run(plan).kept[0, 0, 0]
        x, fine = 0.3, 20_000

        def slope(y: float) -> float:
            return -y + (1 + y * y / 4) * c - corrected * (1 + y * y / 4) * y / 4

        for _ in range(fine):
            middle = x + slope(x) / fine / 2
            x += slope(middle) / fine
        errors.append(abs(found - x))
    order = np.log2(errors[0] / errors[1])
    assert errors[1] < 0.003 and abs(order - (2 if name == "heun" else 1)) < 0.15


def test_every_scheme_is_tested_here() -> None:
    """Every one against its own text; what is written out by hand is there, and does not choose its steps."""
    assert {name for name, _, _ in KERNELS} == set(NAMES) and set(STEPS) <= set(NAMES) - OWN_CLOCKS
    assert {
        name
        for noise in ("general", "diagonal", "additive", "pair", "single", *KEPT)
        for c in ("ito", "stratonovich")[: 1 if noise in KEPT else 2]
        for name in fitting(problem(noise, c)[0])
    } == set(NAMES)
