"""Whoever runs the chunks of a run with clocks of its paths' own, or that solves a matrix, the result has the same
bits, and is the same where it goes on elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import sympy as sp

from sde import SDE, Jump, simulate
from sde.engine.interruption import InterruptedWarning
from symbolic import Normal, integral, running
from tests.sde.places import PLACES, WAYS, X
from tests.sde.test_executors import stopping

Y, Z, s = sp.symbols("Y Z s", real=True)
HALF = sp.Rational(1, 2)
PAIR = SDE([X, Y], [Y - X**3, -Y * X**2 + s], [[X / 2, 0], [0, 1 + s * Y]], time=s, name="pair")
SWINGING = SDE([X, Y], [Y, -4 * X - Y], [[0], [1]], name="swinging")
DRIFTING = SDE([X], [1], [[1]], time=s, name="drifting")
KICKED = SDE(
    [X],
    [-X],
    [[HALF]],
    jumps=[
        Jump({X: X + Z}, rate=1 + X**2, sizes={Z: Normal(0, 1)}),
        Jump({X: X / 2}, when=X > 2),
        Jump({X: X + 1}, at=[0.5]),
    ],
    name="kicked",
)
EXIT: dict[str, Any] = {"events": {"up": X > 1, "down": -1 - X}}
KINDS: dict[str, tuple[SDE, dict[str, Any]]] = {
    "exponential-coupled": (SWINGING, {"scheme": "exponential-coupled", "dt": 0.3, "observables": {"E": X**2 + Y**2}}),
    "adaptive-milstein": (PAIR, {"scheme": "adaptive-milstein", "tolerance": 0.01, "dt": 0.2}),
    "stops": (DRIFTING, EXIT | {"stop": "first", "observables": {"clock": s}}),
    "crossings": (DRIFTING, EXIT | {"observables": {"high": running(max, X), "area": integral(X)}}),
    "jumps": (KICKED, {"events": {"low": X < -1}, "stop": ["low"]}),
    "walls": (SDE([X], [-X], [[1]], domain={X: ("absorb", -1, sp.oo)}, name="walled"), {}),
}
BEGUN = {"loky", "dask", "pool"}
"""Places that take long to begin."""


def run(kind: str, **changes: Any) -> Any:
    """In chunks of a block or a few, in pieces of 5."""
    sde, options = KINDS[kind]
    given: dict[str, Any] = {"start": dict.fromkeys(sde.states, 0.0), "time": 1.0, "dt": 0.05, "paths": 6000, "seed": 3}
    with patch("sde.engine.plan.CHUNK_STEPS", 0), patch("sde.engine.plan.MOST_PIECES", 5):
        return simulate(sde, save_at=5, check=False, **given | options | changes)


@pytest.fixture(scope="module")
def expected() -> dict[tuple[str, str], str]:
    """Of one thread."""
    return {(k, keep): run(k, keep=keep, threads=1).attrs["result_hash"] for k in KINDS for keep in WAYS}


@pytest.mark.parametrize(
    "place",
    [pytest.param(p, marks=pytest.mark.slow if p in {*BEGUN, "processes"} else ()) for p in PLACES],
)
def test_one_hash_wherever_chunks_run(place: str, expected: dict[tuple[str, str], str]) -> None:
    with PLACES[place]() as executor:
        found = {
            (k, keep): run(k, keep=keep, executor=executor, threads=3).attrs["result_hash"] for k, keep in expected
        }
    assert found == expected and len(set(expected.values())) == len(expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("first", "then"),
    [
        ("backwards", "threads"),
        *(pytest.param(*b, marks=pytest.mark.slow) for b in [("processes", "here"), ("pool", "backwards")]),
    ],
)
def test_a_run_goes_on_elsewhere(
    first: str,
    then: str,
    kind: str,
    expected: dict[tuple[str, str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sde.engine.checkpoint.Checkpoint.due", lambda self: True)
    for keep in WAYS:
        settings: dict[str, Any] = {"keep": keep, "checkpoint": tmp_path / keep}
        with PLACES[first]() as executor, pytest.warns(InterruptedWarning):
            part = run(kind, executor=executor, threads=2, progress=stopping(6000), **settings)
        assert 0 < part.attrs["paths"] < 6000
        with PLACES[then]() as executor:
            whole = run(kind, executor=executor, **settings)
        assert whole.attrs["result_hash"] == expected[kind, keep] and not whole.attrs["interrupted"]


def test_all_of_what_is_run_happens() -> None:
    """Steps are rejected, paths stop, jump and are absorbed."""
    assert run("adaptive-milstein").attrs["rejected_steps"] > 1000
    for kind in ("stops", "jumps"):
        assert 500 < run(kind).stop_count.values[-1] < 5500
    assert (run("walls", keep="paths").X.values[:, -1] == -1).mean() > 0.1
