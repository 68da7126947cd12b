"""Errors of the work-precision diagrams are strong errors, and a solver of something else is found out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import precision as part
from benchmarks.precision import GBM, OURS, PROBLEMS, WAVE, Point, Scalar, Solver, holds, measure, slope
from benchmarks.rivals.final_states import numpy_euler

PATHS, STEPS = 2000, (8, 64)
SRIW1 = Solver("ours", "sriw1", 1.5, 0, PATHS, OURS[2].build)
NUMPY = Solver("numpy", "euler", 0.5, 0, PATHS, numpy_euler)


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: p.name)
def test_the_closed_form_solves_the_equation(problem: Scalar) -> None:
    """X(1) = F(W(1)) with F' = diffusion(F); that the drift is right too, the orders below show."""
    w, h = np.linspace(-2, 2, 9), 1e-5
    along = (problem.exact(w + h) - problem.exact(w - h)) / (2 * h)
    np.testing.assert_allclose(along, problem.diffusion(problem.exact(w)), rtol=1e-8)


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: p.name)
def test_errors_fall_by_the_order_stated(problem: Scalar) -> None:
    ours, theirs = measure(problem, [SRIW1, NUMPY], STEPS, repeats=1)
    assert holds(ours) and holds(theirs)
    assert slope(ours) > slope(theirs) + 0.6
    assert all(0 < seconds < 1e-2 for point in ours + theirs for seconds in point.seconds)
    assert [point.paths for point in ours] == [[PATHS, PATHS]] * 2


def test_ours_and_numpys_euler_make_the_same_error() -> None:
    """Within five standard errors; no other scheme does."""
    euler = Solver("ours", "euler-maruyama", 0.5, 0, PATHS, OURS[0].build)
    (a,), (b,), (c,) = measure(WAVE, [euler, NUMPY, SRIW1], [16], repeats=1)
    noise = float(np.hypot(a.error[1], b.error[1]))
    assert abs(a.error[0] - b.error[0]) < 5 * noise < a.error[0] - c.error[0]


def test_solvers_of_something_else_are_found_out() -> None:
    def spoilt(name: str, change: Callable[[np.ndarray, np.ndarray, int], np.ndarray], order: float = 0.5) -> Solver:
        def build(problem: Scalar) -> Callable[[int, int, int], tuple[Any, ...]]:
            run = numpy_euler(problem)

            def changed(steps: int, paths: int, seed: int) -> tuple[Any, ...]:
                x, w = run(steps, paths, seed)
                return change(x, w, steps), w

            return changed

        return Solver(name, "euler", order, 0, PATHS, build)

    whole = measure(
        WAVE,
        [
            spoilt("right", lambda x, w, steps: x),
            spoilt("other noise", lambda x, w, steps: x[::-1]),
            spoilt("other drift", lambda x, w, steps: x + 0.1),
            spoilt("solution itself", lambda x, w, steps: WAVE.exact(w)),
            spoilt("a path lost", lambda x, w, steps: np.where(np.arange(x.size) == 7, np.nan, x)),
            spoilt("too much stated", lambda x, w, steps: x, order=1.0),
        ],
        STEPS,
        repeats=1,
    )
    assert {points[0].solver.name for points in whole if holds(points)} == {"right"}


def test_the_standard_error_is_that_of_the_root_mean_square() -> None:
    rng, found = np.random.default_rng(1), []
    for _ in range(400):
        point = Point("none", NUMPY, 8)
        point.add(rng.standard_normal(300), None)
        point.add(rng.standard_normal(100), 1.0)
        found.append(point.error)
    errors = np.array(found)
    assert errors[:, 0].mean() == pytest.approx(1.0, abs=0.01)
    assert errors[:, 1].mean() == pytest.approx(errors[:, 0].std(), rel=0.15)
    assert point.paths == [300, 100] and point.seconds == [0.01]


def test_table_figure_and_verdict(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def absent(problem: Scalar) -> Any:
        raise ImportError("none", name="absent")

    def broken(problem: Scalar) -> Any:
        raise RuntimeError("no compiler")

    others = [Solver("rival", "absent", 1.0, 0, 1, absent), Solver("rival", "broken", 1.0, 0, 1, broken)]
    monkeypatch.setattr(part, "SOLVERS", (NUMPY, *others))
    monkeypatch.setattr(part, "STEPS", STEPS)
    monkeypatch.setattr(part, "FIGURE", tmp_path / "out" / "precision.png")
    assert part.precision(1)
    told = capsys.readouterr()
    assert "rival absent: not installed (absent)" in told.out and "rival broken failed" in told.err
    assert told.out.count("1/64") == len(PROBLEMS) and "NOT WHAT" not in told.out
    assert (tmp_path / "out" / "precision.png").stat().st_size > 10_000
    monkeypatch.setattr(part, "SOLVERS", (Solver("numpy", "euler", 1.0, 0, PATHS, numpy_euler),))
    assert not part.precision(1)
    with pytest.raises(RuntimeError):
        measure(GBM, [Solver("ours", "broken", 1.0, 0, 1, broken)], STEPS, 1)
