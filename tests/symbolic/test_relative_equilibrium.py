"""Where SGD ends in a valley of minima: against a naive integration by the loss's own formulas, and SGD itself."""

from __future__ import annotations

import re
from functools import cache

import numpy as np
import pytest
import sympy as sp
from scipy.linalg import solve_continuous_lyapunov

from symbolic import SGD, Dataset, Loss, Normal
from symbolic.display.point import at_point, point_record
from symbolic.library import rescaling
from symbolic.predictions.valley import RelativeEquilibrium
from symbolic.problem.parameter import entries
from symbolic.theory import Theory, derive
from tests.naive.valley import Regression, random_start
from tests.symbolic.test_sharpness import net

SQUARE = np.array([[1.0, 0.2], [-0.1, 0.8]])
SHAPES = {"3x2x3": (3, 2, 3), "3x3x4": (3, 3, 4), "3x2x4": (3, 2, 4), "2x2x2": (2, 2, 2)}


@cache
def problem(shape: tuple[int, int, int], same: str = "") -> tuple[Theory, Regression, np.ndarray]:
    """A theory, its naive twin and a minimum; same: "labels" or "inputs" for isotropic ones."""
    dy, h, dx = shape
    x = np.full(dx, 0.8) if same == "inputs" else np.linspace(0.5, 1.4, dx)
    e = np.full(dy, 0.6) if same == "labels" else np.linspace(1.2, 0.3, dy)
    rng = np.random.default_rng(dy + 10 * h + 100 * dx)
    left, right = rng.standard_normal((dy, h)), rng.standard_normal((h, dx))
    target = SQUARE if shape == (2, 2, 2) else np.round(left, 1) @ np.round(right, 1)
    start = random_start(target, h, 1) if h <= min(dy, dx) else np.zeros(0)
    return derive(shaped(target, x, e, h)), Regression(np.diag(x**2), np.diag(e**2), h), start


def shaped(target: np.ndarray, x: np.ndarray, e: np.ndarray, h: int) -> Loss:
    """|U W x - target x - e|^2 with h hidden units."""
    dy, dx = target.shape
    u, w, z, n = entries("U", (dy, h)), entries("W", (h, dx)), entries("x", (dx,)), entries("e", (dy,))
    residual = u @ (w @ z) - target @ z - n
    data = {sp.ImmutableMatrix(z): Normal(0, x.tolist()), sp.ImmutableMatrix(n): Normal(0, e.tolist())}
    return Loss(sp.Add(*(r**2 for r in residual)), {"U": u, "W": w}, data)


@cache
def square() -> tuple[Theory, Regression]:
    """The 2x2x2 factorisation that docs/theory.md section 8 gives figures of."""
    inputs, outputs = np.array([1.5, 0.5]), np.array([0.5, 1.5])
    return derive(shaped(SQUARE, inputs, outputs, 2)), Regression(np.diag(inputs**2), np.diag(outputs**2), 2)


def end(theory: Theory, theta: np.ndarray, sgd: SGD) -> RelativeEquilibrium:
    found = theory.equilibrium(theory.loss.unpack(theta), sgd).relative
    assert found is not None
    return found


def eigenvalues(twin: Regression, theta: np.ndarray) -> np.ndarray:
    return np.linalg.eigvalsh(twin.charge(theta))


START = np.concatenate([np.eye(2).ravel(), SQUARE.ravel()])


def test_figures_of_the_square_factorisation() -> None:
    """docs/theory.md section 8: eigenvalues of U'U - WW' and angular velocity, without and with weight decay T.
    docs/theory.md eq. (5.7)."""
    theory, twin = square()
    for sgd, known, speed in (
        (SGD(0.01), [-2.136431, 2.617720], 0.125131),
        (SGD(0.04, batch_size=4, weight_decay=0.01), [-1.5260, 1.8901], 0.1034),
    ):
        found, temperature = end(theory, START, sgd), sgd.temperature
        assert eigenvalues(twin, found.theta) == pytest.approx(known, abs=1e-4)
        assert found.speed / temperature == pytest.approx(speed, rel=1e-3)
        assert (found.turns, found.converged, found.descended, found.reason) == (True, True, False, "")
        assert found.rotation == pytest.approx(-found.rotation.T, abs=1e-15)
        assert (found.rates > 0).all() and len(found.rates) == 3
    joint = theory.equilibrium(theory.loss.unpack(START), SGD(0.01)).joint
    assert joint is not None
    assert eigenvalues(twin, joint.theta) == pytest.approx([-2.11926, 2.64186], abs=1e-5)


def test_figures_at_a_finite_learning_rate() -> None:
    """docs/theory.md eq. (5.8): SGD at eta = 0.02, S = 64 gives -2.146(1), 2.450(2); its limit is the other one."""
    theory, twin = square()
    found = theory.equilibrium(theory.loss.unpack(START), SGD(0.02, batch_size=64)).finite_step
    assert found is not None
    assert eigenvalues(twin, found.theta) == pytest.approx([-2.153, 2.455], abs=1e-3)
    small = theory.equilibrium(theory.loss.unpack(START), SGD(1e-6)).finite_step
    assert small is not None
    assert eigenvalues(twin, small.theta) == pytest.approx([-2.136431, 2.617720], abs=1e-4)
    rough = theory.equilibrium(theory.loss.unpack(START), SGD(0.9)).finite_step
    assert rough is not None
    assert not rough.converged and "learning rate must be below" in rough.reason
    assert theory.equilibrium(theory.loss.unpack(START), SGD(0.01, momentum=0.5)).finite_step is None


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("decay", [0.0, 0.7])
def test_it_is_where_the_projected_drift_ends(shape: tuple[int, int, int], decay: float) -> None:
    """Against the naive integration: the flow along the valley at the given point, eigenvalues and angular velocities
    where it ends. docs/theory.md eq. (5.6)."""
    theory, twin, start = problem(shape)
    found = end(theory, start, SGD(0.01, weight_decay=0.01 * decay))
    assert found.converged and found.turns
    late = twin.end(start, time=12 / (found.rates[0] / 0.01), decay=decay)
    assert eigenvalues(twin, found.theta) == pytest.approx(eigenvalues(twin, late), abs=3e-4)
    assert twin.turning(found.theta, decay) == pytest.approx(twin.turning(late, decay), rel=5e-3, abs=1e-4)
    slow = twin.drift(found.theta, decay) * 0.01
    assert slow == pytest.approx(found.rotation @ found.theta, abs=1e-8)


def test_minima_of_more_hidden_units_than_inputs_and_outputs_are_one_orbit() -> None:
    """(2, 3, 2): the kernel of H is the orbit there, so that the formula holds."""
    theory, twin, _ = problem((2, 3, 2))
    away = np.random.default_rng(1).standard_normal(12)
    found = end(theory, away, SGD(0.01))
    assert found.converged and found.descended
    assert twin.drift(found.theta) * 0.01 == pytest.approx(found.rotation @ found.theta, abs=1e-8)


@pytest.mark.parametrize("shape", [(2, 2, 2), (3, 2, 4), (2, 2, 3), (3, 3, 4)])
def test_isotropic_labels_never_turn_it(shape: tuple[int, int, int]) -> None:
    """Whatever the inputs; SGD ends where all charges' drifts vanish. Isotropic inputs alone do turn it. docs/theory.md
    eq. (5.7)."""
    theory, twin, start = problem(shape, "labels")
    found = end(theory, start, SGD(0.01))
    joint = theory.equilibrium(theory.loss.unpack(start), SGD(0.01)).joint
    assert joint is not None
    assert (found.converged, found.turns, found.speed, found.period) == (True, False, 0.0, np.inf)
    assert not found.rotation.any()
    assert eigenvalues(twin, found.theta) == pytest.approx(eigenvalues(twin, joint.theta), abs=1e-7)
    rates = twin.rates(found.theta)
    assert found.rates / 0.01 == pytest.approx(rates[np.abs(rates) > 1e-3], rel=1e-4)
    theory, _, start = problem(shape, "inputs")
    assert end(theory, start, SGD(0.01)).turns


def test_one_hidden_unit_never_turns_it() -> None:
    theory, twin, start = problem((3, 1, 4))
    found, joint = end(theory, start, SGD(0.01)), theory.equilibrium(theory.loss.unpack(start), SGD(0.01)).joint
    assert joint is not None
    assert not found.turns and found.converged
    assert twin.charge(found.theta) == pytest.approx(twin.charge(joint.theta), rel=1e-7)


def test_turning_without_any_charge() -> None:
    """Two vectors whose lengths and product are measured: rotations are all symmetries; each measurement has a noise of
    its own."""
    a, b, e = sp.symbols("a:2", real=True), sp.symbols("b:2", real=True), sp.symbols("e:3", real=True)
    lengths = sum(s**2 for s in a) - 1 - e[0], sum(s**2 for s in b) - 2 - e[1]
    product = sum(p * q for p, q in zip(a, b, strict=True)) - sp.Rational(1, 2) - e[2]
    noise = dict(zip(e, (Normal(0, 1), Normal(0, sp.Rational(1, 5)), Normal(0, sp.Rational(2, 5))), strict=True))
    theory = derive(Loss(lengths[0] ** 2 + lengths[1] ** 2 + product**2, [*a, *b], noise))
    assert (theory.charges, theory.algebra.dimension) == ((), 1)
    found = end(theory, np.array([1.0, 0.0, 0.5, np.sqrt(1.75)]), SGD(0.01))
    assert found.converged and found.turns and len(found.rates) == 0
    assert "it turns, once in" in str(
        theory.equilibrium(dict.fromkeys((a[0], b[1]), 1.0) | {a[1]: 0, b[0]: 0}, SGD(0.01))
    )
    assert "it turns, once in" in at_point(theory, {a[0]: 1, a[1]: 0, b[0]: 0.5, b[1]: 1.3}, SGD(0.01))
    # the same from the third derivative of L, by differences: the motion of the angle of both vectors
    third = _third(theory, found.theta)
    assert found.rotation @ found.theta == pytest.approx(-0.005 * third, abs=1e-7)


def _third(theory: Theory, theta: np.ndarray) -> np.ndarray:
    """P_ker grad^3 L[X], by differences of mean gradients."""

    def bent(direction: np.ndarray, size: float = 1e-3) -> np.ndarray:
        g = [theory.mean_gradient(theta + s * size * direction) for s in (-1, 0, 1)]
        return (g[0] - 2 * g[1] + g[2]) / size**2

    h = np.array([theory.mean_gradient(theta + 1e-6 * d) - theory.mean_gradient(theta - 1e-6 * d) for d in np.eye(4)])
    values, vectors = np.linalg.eigh((h + h.T) / 4e-6)
    steep, flat = vectors[:, 1:], vectors[:, :1]
    inner = solve_continuous_lyapunov(np.diag(values[1:]), steep.T @ theory.sigma(theta) @ steep)
    weights, axes = np.linalg.eigh(inner)
    return flat @ flat.T @ sum(w * bent(steep @ d) for w, d in zip(weights, axes.T, strict=True))


def test_rotations_about_another_point() -> None:
    """Both vectors turn about (1, -2) and (0.5, 1): the matrix is the same, the centre another."""
    a, b, e = sp.symbols("a:2", real=True), sp.symbols("b:2", real=True), sp.symbols("e:3", real=True)
    p, q = (a[0] - 1, a[1] + 2), (b[0] - sp.Rational(1, 2), b[1] - 1)
    terms = p[0] ** 2 + p[1] ** 2 - 1 - e[0], q[0] ** 2 + q[1] ** 2 - 2 - e[1]
    product = p[0] * q[0] + p[1] * q[1] - sp.Rational(1, 2) - e[2]
    noise = dict(zip(e, (Normal(0, 1), Normal(0, sp.Rational(1, 5)), Normal(0, sp.Rational(2, 5))), strict=True))
    theory = derive(Loss(terms[0] ** 2 + terms[1] ** 2 + product**2, [*a, *b], noise))
    centre = np.array([1.0, -2.0, 0.5, 1.0])
    found = end(theory, centre + [1.0, 0.0, 0.5, np.sqrt(1.75)], SGD(0.01))
    assert found.turns
    third = _third(theory, found.theta)
    assert found.rotation @ (found.theta - centre) == pytest.approx(-0.005 * third, abs=1e-7)


@pytest.mark.parametrize(
    ("shape", "target", "words"),
    [
        ((2, 3, 4), "full", "flat in one more direction than"),
        ((3, 2, 3), "rank 1", "flat in one more direction than"),
        ((2, 2, 2), "rank 1", "singular set"),
        ((3, 3, 3), "rank 1", "singular set|flat in"),
    ],
)
def test_it_says_where_the_formula_stops(shape: tuple[int, int, int], target: str, words: str) -> None:
    """Minima that are more than the orbit, and targets of a rank below the layers'."""
    dy, h, dx = shape
    rng = np.random.default_rng(5)
    goal = rng.standard_normal((dy, dx))
    if target == "rank 1":
        goal = np.outer(goal[:, 0], goal[0])
    theory = derive(shaped(goal, np.linspace(0.5, 1.4, dx), np.linspace(1.2, 0.3, dy), h))
    found = theory.equilibrium(theory.loss.unpack(rng.standard_normal(h * (dy + dx))), SGD(0.01))
    assert found.relative is not None
    assert not found.relative.converged and not found.relative.turns
    assert re.search(words, found.relative.reason)
    assert f"not known ({found.relative.reason})" in str(found)


def test_the_start_is_led_to_the_valley_first() -> None:
    """By gradient flow, which keeps the charges; said in words."""
    theory, twin = square()
    start = np.array([0.9, 0.1, -0.2, 1.1, 0.6, 0.1, 0.2, 0.7])
    found = theory.equilibrium(theory.loss.unpack(start), SGD(0.01))
    assert found.relative is not None and found.relative.descended
    assert eigenvalues(twin, found.relative.theta) == pytest.approx([-2.136431, 2.617720], abs=1e-4)
    assert "gradient flow leads to the valley of minima first; SGD does not rest here: it turns, once in" in str(found)


def test_the_direction_follows_from_the_start() -> None:
    """The two halves of the orbit, det > 0 and det < 0, turn in opposite directions."""
    theory, _ = square()
    mirror = np.diag([1.0, -1.0])
    other = np.concatenate([mirror.ravel(), (mirror @ SQUARE).ravel()])
    here, there = (end(theory, at, SGD(0.01)).rotation for at in (START, other))
    assert here == pytest.approx(-there, abs=1e-9)


def test_a_data_set_and_momentum() -> None:
    """Rows of data in place of laws; momentum 0.9 is ten times the speed in t and a hundred times its noise's."""
    rng = np.random.default_rng(2)
    x = rng.standard_normal((60, 2)) * [1.5, 0.5]
    y = x @ SQUARE.T + rng.standard_normal((60, 2)) * [0.5, 1.5]
    u, w = entries("U", (2, 2)), entries("W", (2, 2))
    columns = sp.symbols("x0 x1 y0 y1", real=True)
    residual = u @ (w @ np.array(columns[:2])) - np.array(columns[2:])
    loss = Loss(residual @ residual, {"U": u, "W": w}, Dataset(dict(zip(columns, np.hstack([x, y]).T, strict=True))))
    theory = derive(loss)
    slow, quick = (end(theory, START, SGD(0.01, momentum=m)) for m in (0.0, 0.9))
    assert slow.turns and slow.descended
    assert quick.speed == pytest.approx(100 * slow.speed, rel=1e-6)
    assert quick.rates == pytest.approx(100 * slow.rates, rel=1e-4)


def test_records_carry_it() -> None:
    theory, _ = square()
    record = point_record(theory, theory.loss.unpack(START), SGD(0.01))["relative"]
    assert (record["turns"], record["converged"], record["reason"]) == (True, True, "")
    assert record["period"] == pytest.approx(2 * np.pi / 0.125131e-2, rel=1e-3)
    u, w = np.array(record["theta"]["U"]), np.array(record["theta"]["W"])
    assert np.linalg.eigvalsh(u.T @ u - w @ w.T) == pytest.approx([-2.136431, 2.617720], abs=1e-4)
    assert record["words"] in at_point(theory, theory.loss.unpack(START), SGD(0.01))
    still = derive(net([0.5, 0.5], [1, 1], SQUARE))
    assert "SGD rests here, slowest rate" in at_point(still, still.loss.unpack(START), SGD(0.01))


def test_a_start_at_the_equilibrium_itself_is_where_it_ends() -> None:
    """Also where the flow is exactly 0 there: (uw x - y)^2 at u = w = 1."""
    theory = derive(rescaling())
    found = end(theory, np.array([1.0, 1.0]), SGD(0.02))
    assert (found.converged, found.turns, found.theta.tolist()) == (True, False, [1.0, 1.0])
    assert found.rates == pytest.approx([4 * 0.02 * 0.25])
