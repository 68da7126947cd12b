"""Steps that solve a matrix: text against SciPy's matrix functions, runs against the solution's distribution."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy as sp
from scipy.linalg import expm, solve_continuous_lyapunov

from sde import expectation, simulate
from sde.engine.program import import_text
from symbolic import SDE, Jump, Normal, table
from symbolic.algebra.eigenbasis import eigenbasis
from symbolic.codegen.prepare import prepare
from symbolic.errors import InputError
from symbolic.schemes import exact_in_distribution, fitting

NAME = "exponential-coupled"
x, v = sp.symbols("x v", real=True)
PULL, FRICTION = 4.0, 1.0


def langevin(friction: Any = 1) -> SDE:
    """Underdamped, in a quadratic potential."""
    return SDE([x, v], [v, -4 * x - friction * v], [[0], [1]], name="langevin")


def linear(A: Any, B: Any, constant: Any = None) -> SDE:
    n = len(A)
    states = sp.symbols(f"s0:{n}", real=True)
    drift = sp.Matrix(np.array(A).tolist()) * sp.Matrix(states) + sp.Matrix([0] * n if constant is None else constant)
    return SDE(list(states), list(drift), np.array(B).tolist())


def van_loan(A: np.ndarray, B: np.ndarray, h: float) -> tuple[np.ndarray, np.ndarray]:
    """e^(A h) and the covariance of the noise, by one exponential at a short step (Van Loan 1978) and by doubling."""
    n, halves = len(A), max(0, int(np.ceil(np.log2(np.abs(A).max() * h))) + 3)
    whole = expm(np.block([[-A, B @ B.T], [np.zeros((n, n)), A.T]]) * h / 2**halves)
    decay = whole[n:, n:].T
    covariance = decay @ whole[:n, n:]
    for _ in range(halves):
        decay, covariance = decay @ decay, covariance + decay @ covariance @ decay.T
    return decay, covariance


def steps(sde: SDE, h: float, dtype: str = "float64") -> Any:
    """The step of the text as Python: a function of a state and normals of variance 1."""
    module = prepare(sde, NAME, None, dtype).module
    text, lanes = import_text(module.text), int(str(module.manifest["lanes"]))
    inputs, numbers = int(str(module.manifest["inputs"])), module.numbers.astype(dtype)

    def step(state: np.ndarray, normals: np.ndarray) -> np.ndarray:
        """(D, M) and (J, M), M columns at once."""
        count = max(state.shape[1], normals.shape[1])
        at, noise = np.zeros((sde.dimension, lanes), dtype), np.zeros((inputs, lanes), dtype)
        at[:, :count], noise[:, :count] = state, np.sqrt(h) * normals
        flat = at.ravel()
        text.step(flat, noise.ravel(), np.dtype(dtype).type(h), 0.0, numbers)
        return flat.reshape(at.shape)[:, :count]

    return step, inputs


RNG = np.random.default_rng(5)
SYSTEMS: dict[str, tuple[Any, Any]] = {
    "underdamped": ([[0, 1], [-4, -1]], [[0], [1]]),
    "overdamped": ([[0, 1], [-1, -5]], [[0], [1]]),
    "free": ([[0, 1], [0, -2]], [[0], [1]]),
    "undamped": ([[0, 1], [-9, 0]], [[0], [2]]),
    "growing": ([[0.5, 1], [1, 0.25]], [[1, 0.5], [0, 1]]),
    "symmetric": ([[-3, 1], [1, -3]], [[1, 0], [0, 1]]),
    "third order": ([[0, 1, 0], [0, 0, 1], [-1, -2, -3]], [[0], [0], [1]]),
    "twice the same": (np.kron(np.eye(2), [[0, 1], [-4, -1]]), RNG.normal(size=(4, 1))),
    "units apart": ([[0, 1], [-1e8, -1e4]], [[0], [1e4]]),
    "full": (RNG.normal(size=(5, 5)) - 2 * np.eye(5), RNG.normal(size=(5, 3))),
    "drawn by fewer": (RNG.normal(size=(3, 3)), RNG.normal(size=(3, 5))),
}
QUICK = [("third order", 0.002), ("full", 0.002), ("undamped", 4.0)]
CASES = [
    pytest.param(name, h, marks=[] if h == 0.3 or (name, h) in QUICK else [pytest.mark.slow])
    for name in SYSTEMS
    for h in (0.002, 0.3, 4.0)
]


@pytest.mark.parametrize(("name", "h"), CASES)
def test_mean_and_covariance_of_a_step_are_the_solutions(name: str, h: float) -> None:
    """docs/theory.md eq. (6.15): the text's own, to rounding."""
    A, B = (np.array(m, dtype=float) for m in SYSTEMS[name])
    h = h / (1e4 if name == "units apart" else 1)
    sde, n = linear(A, B), len(A)
    assert exact_in_distribution(sde)
    step, inputs = steps(sde, h)
    decay, covariance = van_loan(A, B, h)
    found = step(np.eye(n), np.zeros((inputs, n)))
    noise = step(np.zeros((n, inputs)), np.eye(inputs))
    size = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
    assert found == pytest.approx(decay, rel=1e-10, abs=1e-11 * np.abs(decay).max())
    assert (np.abs(noise @ noise.T - covariance) <= 1e-9 * size + 1e-12 * h * np.abs(B @ B.T).max()).all()
    # What dW says of the noise is its best guess, so that paths converge.
    known = np.linalg.solve(A, decay - np.eye(n)) @ B / np.sqrt(h) if np.linalg.matrix_rank(A) == n else None
    if known is not None and inputs > B.shape[1]:
        assert noise[:, : B.shape[1]] == pytest.approx(known, rel=1e-9, abs=1e-9 * np.abs(known).max())


def test_a_constant_pull_is_solved() -> None:
    A, c, h = np.array([[0, 1], [-4, -1.0]]), np.array([1.0, 3.0]), 0.7
    step, inputs = steps(linear(A, [[0], [1]], c), h)
    found = step(np.zeros((2, 1)), np.zeros((inputs, 1)))[:, 0]
    assert found == pytest.approx(np.linalg.solve(A, (expm(A * h) - np.eye(2)) @ c), rel=1e-12)


@pytest.mark.parametrize("dtype", ["float64", pytest.param("float32", marks=pytest.mark.slow)])
def test_underdamped_langevin_at_steps_of_any_length(dtype: str) -> None:
    """The stationary covariance solves Lyapunov's equation; steps may end where they like."""
    A, B = np.array([[0, 1], [-4, -1.0]]), np.array([[0], [1.0]])
    stationary = solve_continuous_lyapunov(A, -B @ B.T)
    run = simulate(
        langevin(),
        start={x: 1, v: 0},
        time=12.5,
        dt=2.5,
        paths=40_000,
        steps_at=[0.3, 1.7],
        covariance=["x", "v"],
        save_at=2,
        scheme=NAME,
        dtype=dtype,
        check=False,
    )
    decay, covariance = van_loan(A, B, 12.5)
    assert covariance == pytest.approx(stationary, abs=1e-4)
    found = run.covariance.values[-1]
    error = np.sqrt((np.outer(np.diag(covariance), np.diag(covariance)) + covariance**2) / 40_000)
    assert (np.abs(found - covariance) < 5 * error).all()
    for name, k in (("x", 0), ("v", 1)):
        mean, sem = (float(run[name].sel(statistic=s)[-1]) for s in ("mean", "sem"))
        assert abs(mean - decay[k, 0]) < 5 * sem


def test_bits_do_not_depend_on_threads_paths_or_a_cut(tmp_path: Any) -> None:
    settings: dict[str, Any] = {"start": {x: 1, v: 0}, "time": 2, "dt": 0.3, "save_at": 3, "keep": "paths"}
    settings |= {"scheme": NAME, "check": False, "seed": 3}
    one = simulate(langevin(), **settings, paths=20_000, threads=1)
    two = simulate(langevin(), **settings, paths=20_000, threads=2, checkpoint=tmp_path / "run.ckpt")
    again = simulate(langevin(), **settings, paths=20_000, checkpoint=tmp_path / "run.ckpt")
    assert one.attrs["result_hash"] == two.attrs["result_hash"] == again.attrs["result_hash"]
    few = simulate(langevin(), **settings, paths=37, threads=1)
    assert np.array_equal(few.x.values, one.x.values[:37])


def test_steps_that_jumps_cut_are_of_each_paths_own_length() -> None:
    """Kicks of size 1 at rate 2: means and variances of the linear equation that they leave, in steps of 1."""
    z = sp.Symbol("z", real=True)
    kicked = SDE([x, v], [v, -4 * x - v], [[0], [1]], jumps=[Jump({v: v + z}, rate=2, sizes={z: Normal(1, 1)})])
    run = simulate(kicked, start={x: 0, v: 0}, time=4, dt=1, paths=40_000, scheme=NAME, save_at=2, check=False)
    A, B = np.array([[0, 1], [-4, -1.0]]), np.array([[0], [np.sqrt(1 + 2 * 2)]])
    decay, covariance = van_loan(A, B, 4.0)
    mean = np.linalg.solve(A, (decay - np.eye(2)) @ [0, 2])
    assert run.attrs["exploded_paths"] == 0
    for k, name in enumerate(("x", "v")):
        found = {s: float(run[name].sel(statistic=s)[-1]) for s in ("mean", "sem", "std")}
        assert abs(found["mean"] - mean[k]) < 5 * found["sem"]
        assert found["std"] ** 2 == pytest.approx(covariance[k, k], rel=0.05)


def test_levels_of_an_expectation_are_given_the_matrices() -> None:
    """And tables: E x^2 of the linear equation, E X at the table's integral."""
    _, covariance = van_loan(np.array([[0, 1], [-4, -1.0]]), np.array([[0], [1.0]]), 2.0)
    found = expectation(langevin(), x**2, start={x: 0, v: 0}, time=2, tolerance=0.004, scheme=NAME)
    assert abs(found.value - covariance[0, 0]) < 0.012
    t = sp.Symbol("t", real=True)
    rising = SDE([x], [table(t, [0, 1], [1, 3])], [[1]], time=t)
    assert abs(expectation(rising, x, start={x: 0}, time=1, tolerance=0.02).value - 2) < 0.06


@pytest.mark.parametrize(
    ("sde", "message"),
    [
        (langevin(4), "eigenvectors are well apart.*critically"),
        (SDE([x, v], [v, 0], [[0], [1]]), "eigenvectors are well apart"),
        (SDE([x, v], [-x, -v], [[1, 0], [0, 1]]), "terms c y of other states"),
        (SDE([x, v], [-x, -v + sp.sin(x)], [[1, 0], [0, 1]]), "terms c y of other states"),
        (linear(np.eye(129, k=1), np.eye(129)), "at most 128 states"),
    ],
)
def test_what_is_refused(sde: SDE, message: str) -> None:
    assert NAME not in fitting(sde)
    with pytest.raises(InputError, match=f"scheme: {NAME} .*{message}"):
        prepare(sde, NAME)


@pytest.mark.parametrize("n", [2, 7, 30])
def test_a_matrix_is_what_its_basis_says(n: int) -> None:
    A = np.random.default_rng(n).normal(size=(n, n)) * np.logspace(-3, 3, n)
    found = eigenbasis(tuple(map(tuple, A.tolist())))
    blocks, k = np.zeros((n, n)), 0
    while k < n:
        rate = found.rates[k]
        if rate.imag:
            blocks[k : k + 2, k : k + 2] = [[rate.real, rate.imag], [-rate.imag, rate.real]]
        else:
            blocks[k, k] = rate.real
        k += 2 if rate.imag else 1
    basis, inverse = np.array(found.basis), np.array(found.inverse)
    assert basis @ blocks @ inverse == pytest.approx(A, abs=1e-11 * np.abs(A).max())
    assert basis @ inverse == pytest.approx(np.eye(n), abs=1e-9)
    assert sorted(found.rates, key=str) == pytest.approx(sorted(np.linalg.eigvals(A), key=str), rel=1e-8) or n > 2


def test_noise_of_constants_that_is_not_exact_says_so() -> None:
    """More noise than a factor is made for, and what is not of constants."""
    wide = -2 * np.eye(70) + np.eye(70, k=1) / 2 + np.eye(70, k=-1) / 3
    assert not exact_in_distribution(linear(wide, np.eye(70)))
    assert not exact_in_distribution(SDE([x, v], [v, -4 * x - v], [[0], [1 + x**2]]))
    assert not exact_in_distribution(SDE([x, v], [v, -4 * sp.sin(x) - v], [[0], [1]]))
