"""Emitted modules on disk: written once, compiled once, whoever comes next."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import sympy as sp

from sde import SGD, simulate, train
from sde.engine.program import import_text, load
from sde.storage import module_cache
from symbolic import SDE, Dataset, Loss, Normal
from symbolic.codegen.prepare import prepare

a, u, x, y = sp.symbols("a u x y", real=True)

SCRIPT = """
import sympy as sp
from sde import SGD, simulate, train
from sde.kernels import compiled_program
from symbolic import Loss, Normal
made, compile_emitted = [], compiled_program.compile_emitted
compiled_program.compile_emitted = lambda *a: made.append(compile_emitted(*a)) or made[-1]
u, w, x, e = sp.symbols("u w x e", real=True)
loss = Loss((u*w*x - x - e)**2 + (u - w)**4/1000, [u, w], {x: Normal(0, 1), e: Normal(0, 1)})
run = simulate(loss, SGD(0.01), start={"u": 1.0, "w": 0.5}, time=0.1, dt=0.01, paths=10, save_at=2)
train(loss, SGD(0.01, momentum=0.5), start={"u": 1.0, "w": 0.5}, steps=10, paths=10, save_at=2)
print([int(f.cached) for f in made], float(run.u.values[0, -1]).hex())
"""


def test_a_second_process_compiles_nothing(empty_cache: Path) -> None:
    """Other string hashes, same files: every function comes from the cache and nothing is written."""
    lines, files = [], []
    for seed in ("1", "77"):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        lines.append(done.stdout.split("]"))
        files.append(
            {
                p.relative_to(empty_cache): p.stat().st_mtime_ns
                for p in empty_cache.rglob("*")
                if p.is_file() and p.suffix != ".pyc"
            }
        )
    assert set(lines[0][0]) & {"1"} == set() and len(lines[0][0].split(",")) == 5
    assert set(lines[1][0]) & {"0"} == set()
    assert lines[0][1] == lines[1][1]
    assert files[0] == files[1]
    assert sum(p.suffix == ".py" for p in files[0]) == 2
    assert (
        sum(bool(re.match(r"(step|observe|accumulate|sweep)_.*\.nbc", p.name)) for p in files[0]) == 5
    )  # no sweep for simulate
    assert not [p for p in files[0] if p.name.endswith(".part")]


def test_the_cache_folder_follows_the_environment(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert module_cache.chosen() == module_cache.folder() == empty_cache
    monkeypatch.delenv("NOETHERFLOW_CACHE")
    found = module_cache.chosen()
    assert found is not None and found.parts[-2:] == ("noetherflow", "kernels")


def test_the_text_on_disk_is_the_text(empty_cache: Path) -> None:
    text = prepare(Loss((u * x - 3) ** 2, [u], {x: Normal(0, 1)}), "sgd").module.text + "# on disk\n"
    module = import_text(text)
    (path,) = empty_cache.glob("*.py")
    assert path.read_text(encoding="utf-8") == text and module.__name__ == path.stem
    assert import_text(text) is module
    assert import_text(text + "# other\n") is not module and len(list(empty_cache.glob("*.py"))) == 2


def test_sizes_come_from_the_manifest() -> None:
    module = prepare(
        Loss((u * x - y) ** 2, [u], {x: Normal(0, 1), y: Normal(0, 1)}), "sgd-momentum", {"o": u**2, "q": 2 * u}
    ).module
    program = load(module.text, module.manifest)
    n = program.native
    assert (n.states, n.inputs, n.data, n.observables, program.lanes) == (2, 2, 2, 3, 256)
    assert all((n.step, n.accumulate, n.observe)) and program.dtype == np.float64


def test_two_problems_in_one_process_do_not_meet() -> None:
    """Same functions' names in two modules, run alternately."""
    ends = []
    for k in (1, 2, 1, 2):
        loss = Loss((u * x - k) ** 2, [u], {x: Normal(1, 0)})
        ends.append(
            float(train(loss, SGD(0.25), start={u: 0.0}, steps=1, paths=1, save_at=2, keep="paths").u.values[0, -1])
        )
    assert ends == [0.5, 1.0, 0.5, 1.0]


CLASHES = {
    "polynomial": ["t", "h", "weight_decay", "momentum", "m_0", "v_a", "phi_0", "d_phi_0", "x0", "lambda"],
    "tanh": ["t", "weight_decay", "g_0", "v_a", "s_0", "d_s_0", "math"],
    "sde": ["t", "h", "dW_0", "n"],
}


def run_named(kind: str, label: str) -> float:
    """The last value of a parameter of this name in a short run."""
    p = sp.Symbol(label, real=True)
    start, rows = {"a": 0.3, label: 0.5}, Dataset({x: [1.0, 2.0, -1.0], y: [0.5, 1.0, 0.3]})
    if kind == "sde":
        problem = SDE([a, p], [p - a, a * p], [[p, 1], [a, 0]])
        out = simulate(problem, start=start, time=0.3, dt=0.1, paths=1, seed=3, save_at=2, keep="paths")
    else:
        fit = ((p + a) ** 2 * x - y) ** 2 if kind == "polynomial" else (sp.tanh(p * x) * sp.tanh(p * x + a) - y) ** 2
        settings = SGD(0.005, momentum=0.5, weight_decay=0.1)
        loss = Loss(fit + (p + a) ** 4, [a, p], rows)
        out = train(loss, settings, start=start, steps=3, paths=1, full_batch=True, save_at=2, keep="paths")
    return float(out[label].values[0, -1])


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in CLASHES.items() for name in names])
def test_any_name_gives_the_same_numbers(kind: str, name: str) -> None:
    """The program's own names (time, step, inputs, velocities, parts) must not meet a user's: same run, or one clear
    refusal."""
    refused, found = "", np.nan
    try:
        found = run_named(kind, name)
    except ValueError as error:
        refused = str(error)
    assert re.search(rf"\b{name}\b", refused) or found == pytest.approx(run_named(kind, "plain"), rel=1e-14)


@pytest.mark.parametrize("name", ["t", "m_0", "g_0", "w", "n"])
def test_data_may_bear_any_name_too(name: str) -> None:
    found = []
    for label in (name, "plain"):
        z = sp.Symbol(label, real=True)
        loss = Loss((sp.tanh(a * z) - y) ** 2 + a**2 * z, [a], Dataset({z: [1.0, 2.0, -1.0], y: [0.5, 1.0, 0.3]}))
        out = train(loss, SGD(0.1), start={a: 0.4}, steps=3, paths=1, full_batch=True, save_at=2, keep="paths")
        found.append(float(out.a.values[0, -1]))
    assert found[0] == pytest.approx(found[1], rel=1e-14)
