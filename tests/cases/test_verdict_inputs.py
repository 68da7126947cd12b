"""What a verification is made of: starts to both sides, runs that no other seed has, and words that are true."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp

from sde import SGD, InputError, verify
from sde.api.experiments import figures_of
from sde.api.verification_runs import Ensembles
from sde.reports.contents import sentence
from sde.verification.forecast import orbit_starts
from symbolic import Dataset, Loss, Normal, derive, library, parameters

u, w, x, y = sp.symbols("u w x y", real=True)
ROWS = Loss((u * w * x - y) ** 2, [u, w], Dataset({x: [1.0, -1.0, 2.0], y: [1.0, 0.5, 1.0]}))
START = {u: 1.2, w: 0.6}


def test_neighbouring_seeds_of_verifications_share_no_run() -> None:
    theory = derive(library.rescaling())
    runs = [Ensembles(theory.loss, SGD(0.1), theory, 10, seed, None) for seed in range(20)]
    numbers = [0, *range(1, 9), *range(1000, 1009), *range(5000, 5020), *range(6000, 6020)]
    seeds = [run.seeded(number, look) for run in runs for number in numbers for look in range(3)]
    assert len(set(seeds)) == len(seeds)
    assert runs[3].seeded(0) == 3


@pytest.mark.parametrize("name", ["rescaling", "matrix-factorization", "two-layer-relu"])
def test_starts_are_three_and_lie_to_both_sides(name: str) -> None:
    theory = derive(library.LIBRARY[name].build())
    first = np.linspace(0.4, 1.3, theory.loss.dimension)
    figures = figures_of(theory, SGD(0.01))
    starts = orbit_starts(figures, [first])
    assert len({s.tobytes() for s in starts}) == 3
    values = np.array([[c.value(s) for c in theory.charges if c.classification == "convergent"] for s in starts])
    assert ((values[1] - values[0]) * (values[2] - values[0]) < 0).any()
    further = orbit_starts(figures, [first], count=6)
    assert len({s.tobytes() for s in further}) == 6


def test_a_start_that_the_symmetry_leaves_alone_is_one() -> None:
    figures = figures_of(derive(library.rescaling()), SGD(0.1))
    assert len(orbit_starts(figures, [np.zeros(2)])) == 1
    report = verify(library.rescaling(), SGD(0.1), start={"u": 0.0, "w": 0.0}, time=1.0, paths=20)
    reasons = {v.reason for v in report.untested if v.group == "equilibrium"}
    assert reasons == {"no step moves the charge where SGD ends"}


def test_batches_without_noise_end_each_where_it_began() -> None:
    sgd = SGD(0.05, batch_size=3, replacement=False)
    report = verify(ROWS, sgd, start=START, time=0.5, paths=5)
    assert "moves u**2 - w**2 towards a value of each start's own" in sentence(report)


def test_minima_that_all_samples_share_are_no_place_to_turn() -> None:
    U, W, z = parameters(U=(2, 2), W=(2, 2), z=(2,))
    r = U @ W @ z - z
    loss = Loss(r.dot(r), {"U": U, "W": W}, {z: Normal(0, 1)})
    start = {"U": [[1.0, 0.2], [0, 0.8]], "W": [[0.7, 0], [0.3, 1.0]]}
    relative = derive(loss).equilibrium(start, SGD(0.02)).relative
    assert relative.converged and not relative.turns and not relative.rates.any() and relative.period == np.inf


def test_what_no_verification_can_have_is_refused() -> None:
    with pytest.raises(InputError, match=r"SGD.schedule: must let SGD move within the time 1; got 0"):
        verify(ROWS, SGD(0.05, schedule=0), start=START, time=1.0, paths=5)
    other = derive(Loss((u - y) ** 2, [u], {y: Normal(0, 1)}))
    with pytest.raises(InputError, match=r"verify.theory: must be of a loss of the parameters u, w; got"):
        verify(ROWS, SGD(0.05), start=START, time=1.0, paths=5, theory=other)
    for kind in (int, float):
        with pytest.raises(InputError, match=r"Dataset\[x\]: may have no missing entries"):
            Dataset({x: np.ma.array([1, 5, 2], mask=[0, 1, 0], dtype=kind)})
    assert Dataset({x: np.ma.array([1, 5, 2], mask=False)}).table.tolist() == [[1.0], [5.0], [2.0]]
