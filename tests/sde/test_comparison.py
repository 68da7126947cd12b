"""How far SGD is from its SDEs and SVAG: weak orders on three losses, exact numbers, honest intervals, and refusals."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import sympy as sp

from sde import SGD, InputError, compare, train
from sde.api import comparison
from sde.api.comparison_runs import EULER, SGD_ITSELF, Dynamics, PathEnds, paired
from sde.estimators.weak_error import Rung, Sample, fit, gap, weak_errors
from sde.reports.comparison_figure import write_comparison
from symbolic import Dataset, Loss, Normal, Uniform, library, parameters
from symbolic.problem.sampling import sampling_plan

LADDER = (8, 4, 2, 1)
RESCALING, CHAIN = {"u": 1.2, "w": 0.6}, {"u": [1.2, 0.8, 0.5]}


def factorisation() -> Loss:
    """2 x 2 x 2, inputs and label noise anisotropic, none of them aligned."""
    U, W, x, e = parameters(U=(2, 2), W=(2, 2), x=(2,), e=(2,))
    rest = U @ (W @ x) - sp.Matrix([[1, 0.2], [-0.1, 0.8]]) @ x - e
    data = {x: Normal(0, [1.2, 0.6]), e: Normal(0, [0.5, 1])}
    return Loss((rest.T @ rest)[0], {"U": U, "W": W}, data, name="two-by-two")


def tanh_unit() -> Loss:
    """a tanh(w x) on six rows: no polynomial in its data, and no charge."""
    a, w, x, y = sp.symbols("a w x y", real=True)
    inputs = np.linspace(-1.5, 2, 6)
    return Loss((a * sp.tanh(w * x) - y) ** 2, [a, w], Dataset({x: inputs, y: np.sin(inputs) + 0.3}), name="unit")


def sde(ends: PathEnds, order: int, steps: int, paths: int, stream: int = 0) -> Sample:
    """Of an SDE, from what it is beside its scheme."""
    beside = ends.sample(Dynamics("sde", order), steps, stream, 0, paths, None).sample
    return beside.plus(ends.sample(EULER, steps, stream + 1, 0, paths, None).sample)


@cache
def compared(name: str) -> Any:
    loss, sgd, start, time, budget = {
        "rescaling": (library.rescaling(), SGD(0.01, batch_size=16), RESCALING, 1.0, 1e7),
        "scalar-chain": (library.scalar_chain(), SGD(0.005, batch_size=16), CHAIN, 0.5, 1e7),
        "two-by-two": (
            factorisation(),
            SGD(0.005, batch_size=16),
            {"U": [[1.2, 0.3], [-0.2, 0.9]], "W": [[0.5, 0.1], [0.2, 0.4]]},
            0.5,
            4e7,
        ),
    }[name]
    return compare(loss, sgd, start, time, ladder=LADDER, budget=budget)


@pytest.mark.parametrize(
    "name, charge",
    [
        ("rescaling", "C_1"),
        pytest.param("scalar-chain", "C_2", marks=pytest.mark.slow),
        pytest.param("two-by-two", "C_1", marks=pytest.mark.slow),
    ],
)
def test_weak_orders_are_one_and_two(name: str, charge: str) -> None:
    """docs/theory.md eq. (3.5)."""
    found = compared(name).sel(observable=charge)
    for model, order, width in (("order-1", 1, 0.15), ("svag", 1, 0.15), ("order-2", 2, 0.3)):
        one = found.sel(model=model)
        low, high = float(one.slope_low), float(one.slope_high)
        assert order - 2 * width < low < order < high < order + 2 * width, (model, low, high)
        assert abs(float(one.slope) - order) < width
        assert high - low < 2 * width and bool(one.decided), (model, low, high)
    assert float(found.svag_slope_low) < 1 < float(found.svag_slope_high)
    assert found.factor.values.tolist() == [1, 2, 4]


def test_order_one_misses_the_mean_gradients_step() -> None:
    """Without noise to speak of, what it misses is all that gradient descent moves the charge by, eta sum gbar' A gbar
    (docs/theory.md eq. (3.4)), up to what the noise adds at order T."""
    sgd, (u, w) = SGD(0.01, batch_size=4096), library.rescaling().theta
    moved = train(
        library.rescaling(),
        sgd,
        start=RESCALING,
        steps=100,
        paths=1,
        full_batch=True,
        observables={"C": u**2 - w**2},
    )
    step = moved.C.sel(statistic="mean").values
    ends = PathEnds(
        library.rescaling(),
        sgd,
        {"C": u**2 - w**2},
        start=RESCALING,
        time=1.0,
        seed=0,
        substeps=1,
        threads=None,
    )
    order_one, order_two = (sde(ends, order, 100, 1024) for order in (1, 2))
    descent = float(step[-1] - step[0])
    missed = float(order_one.mean[0] - step[-1])
    assert abs(missed + descent) < 0.1 * abs(descent)
    assert abs(float(order_two.mean[0] - step[-1])) < 0.1 * abs(descent)


def test_halving_the_sdes_step_changes_nothing() -> None:
    """Of a charge the scheme itself would be off by dt gbar' A gbar (docs/theory.md eq. (3.6)), far above the noise."""
    sgd, (u, w) = SGD(0.02, batch_size=16), library.rescaling().theta
    runs = [
        PathEnds(
            library.rescaling(),
            sgd,
            {"C": u**2 - w**2},
            start=RESCALING,
            time=1.0,
            seed=0,
            substeps=n,
            threads=None,
        )
        for n in (1, 2)
    ]
    for order in (1, 2):
        one, two = (sde(ends, order, 50, 4000, 2 * n) for n, ends in enumerate(runs))
        difference, noise = gap(one, two)
        assert abs(difference[0]) < 3.3 * noise[0]


def test_svag_of_factor_one_is_sgd() -> None:
    """docs/theory.md eq. (3.7)."""
    ends = PathEnds(
        library.rescaling(),
        SGD(0.05, batch_size=2),
        {"C": library.rescaling().theta[0] ** 2},
        start=RESCALING,
        time=0.5,
        seed=3,
        substeps=1,
        threads=None,
    )
    one = ends.sample(Dynamics("svag", 1), 10, 0, 0, 40_000, None).plain
    sgd = ends.sample(SGD_ITSELF, 10, 1, 0, 40_000, None).plain
    difference, noise = gap(one, sgd)
    assert abs(difference[0]) < 4 * noise[0]
    assert abs(np.log(one.sem[0] / sgd.sem[0])) < 0.1


def test_pairs_are_independent_draws_of_one_law() -> None:
    u, x, y, z = sp.symbols("u x y z", real=True)
    loss = Loss((u * x - y + z) ** 2, [u], {x: Normal(1, 2), y: Uniform(0, 1), z: Normal(0, 1)})
    plan = sampling_plan(loss.blocks, loss.z)
    both = paired(plan)
    count = len(loss.z)
    assert both.normals == 2 * plan.normals and both.chance.tolist() == [-1, -1]
    assert sorted(both.drawn_rows.tolist()) == list(range(2 * count))
    covariance = both.mixing @ both.mixing.T
    rows = len(plan.drawn_rows)
    single = plan.mixing @ plan.mixing.T
    assert np.array_equal(covariance, np.block([[single, 0 * single], [0 * single, single]])), rows
    a, b = sp.symbols("a b", real=True)
    rows_loss = Loss((u * a - b) ** 2, [u], Dataset({a: [1.0, 2, 3], b: [4.0, 5, 6]}))
    table = paired(sampling_plan(rows_loss.blocks, rows_loss.z)).table
    assert table is not None
    assert {tuple(row) for row in table.tolist()} == {
        (i, i + 3, j, j + 3) for i in (1.0, 2.0, 3.0) for j in (1.0, 2.0, 3.0)
    }


def test_rows_of_a_data_set_without_polynomials() -> None:
    """The noise in the weights of rows is that of a minibatch: both SDEs near SGD, the second nearer. docs/theory.md
    eq. (6.2)."""
    a, w = tanh_unit().theta
    norm = {"n": a**2 + w**2}
    found = compare(
        tanh_unit(), SGD(0.1, batch_size=32), {"a": 1.5, "w": 0.5}, 1.0, norm, ladder=(2, 1, 0.5), paths=8000
    )
    largest = found.isel(learning_rate=0).squeeze("observable")
    first, second = (abs(float(largest.difference.sel(model=m))) for m in ("order-1", "order-2"))
    assert first > 10 * float(largest.error.sel(model="order-1"))
    assert second < first / 2
    left = compare(
        tanh_unit(),
        SGD(0.05, batch_size=2, replacement=False),
        {"a": 1.5, "w": 0.5},
        1.0,
        norm,
        ladder=(4, 2, 1),
        paths=64,
    )
    assert left.model.values.tolist() == ["order-1", "order-2"] and "svag_difference" not in left
    assert "without replacement" in left.attrs["left_out"]


def test_the_result_says_what_is_not_decided() -> None:
    found = compare(library.rescaling(), SGD(0.01), RESCALING, 0.5, ladder=LADDER, paths=64)
    second = found.sel(observable="C_1", model="order-2")
    assert not bool(second.decided) and np.isfinite(float(second.paths_needed)) and float(second.paths_needed) > 64
    lines = found.attrs["sentence"].splitlines()
    assert len(lines) == 6 and found.observable.values.tolist() == ["C_1", "loss"]
    assert "At learning rate 0.01 the order-1 SDE's mean C_1 is off by" in lines[0]
    assert "less than" in lines[1] and "cannot be told from 0" in lines[1]
    assert "not decided" in lines[1] and "it takes about" in lines[1] and "budget" in lines[1]
    assert all(v.attrs["long_name"] and v.attrs["units"] == "1" for v in found.data_vars.values())


def test_results_depend_on_seed_alone() -> None:
    def run(**other: Any) -> Any:
        return compare(library.rescaling(), SGD(0.02), RESCALING, 0.5, ladder=(4, 2, 1), paths=300, **other)

    one, other = run(threads=1), run(threads=2)
    assert one.attrs["result_hash"] == other.attrs["result_hash"]
    assert run(seed=1).attrs["result_hash"] != one.attrs["result_hash"]


def test_rounds_add_to_the_paths_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths of a round follow on those before it: in rounds or at once, the numbers are the same but for rounding."""
    monkeypatch.setattr(comparison, "FIRST_PATHS", 100)
    asked = (library.rescaling(), SGD(0.02, batch_size=4), RESCALING, 0.5)
    rounds = compare(*asked, ladder=(4, 2, 1), width=1e-6, budget=1e6)
    assert int(rounds.paths[-1]) > 150
    once = compare(*asked, ladder=(4, 2, 1), paths=int(rounds.paths[-1]))
    assert (
        np.abs(once.paths - rounds.paths).max() <= 1
        and once.attrs["path_steps"] == rounds.attrs["path_steps"] < 1.001e6
    )
    assert np.allclose(rounds.difference, once.difference, rtol=1e-9, atol=1e-12)
    assert np.allclose(rounds.error, once.error, rtol=1e-9)


def test_rates_at_which_paths_are_lost_are_left_out() -> None:
    found = compare(library.rescaling(), SGD(0.01), RESCALING, 5.0, ladder=(200, 40, 2, 1, 0.5), paths=100)
    few, lost = found.attrs["left_out"].splitlines()
    assert few == "200 times the rate: 2 steps are too few." and lost.startswith("learning rate 0.4") and "lost" in lost
    assert found.learning_rate.values.tolist() == pytest.approx([0.02, 0.01, 0.005])
    with pytest.raises(InputError, match="no path may be lost"):
        compare(library.rescaling(), SGD(2.0), RESCALING, 40.0, ladder=(2, 1, 0.5), paths=100)


def test_what_has_no_noise_has_no_difference() -> None:
    """A charge that no gradient moves: exactly SGD's own under every model."""
    u, w, x = sp.symbols("u w x", real=True)
    loss = Loss((u - w - x) ** 2, [u, w], {x: Normal(0, 1)}, name="shift")
    found = compare(loss, SGD(0.05), {"u": 0.5, "w": 2.0}, 1.0, {"centre": u + w}, ladder=(4, 2, 1), paths=64)
    assert not found.difference.any() and bool(found.decided.all())
    assert "is SGD's own" in found.attrs["sentence"]


@pytest.mark.parametrize(
    "order, bend",
    [pytest.param(1, 3.0, marks=pytest.mark.slow), pytest.param(2, -3.0, marks=pytest.mark.slow), (2, 8.0)],
)
def test_a_slopes_interval_holds_its_order(order: int, bend: float) -> None:
    """120 tries: of nominal 95 % intervals at least 107 hold the order (a binomial falls short of that with chance
    1 %), and few hold another."""
    random = np.random.default_rng(order)
    rates = 0.08 / 2.0 ** np.arange(5)
    error = 0.5 * rates**order * (1 + bend * rates)
    sem = 0.02 * error[0] * np.array([1, 0.5, 0.25, 0.125, 0.0625]) ** order
    held = other = 0
    for _ in range(120):
        low, high = fit(rates, error + sem * random.standard_normal(5), sem).slope.interval
        held += low <= order <= high
        other += low <= 1.6 <= high
    assert held >= 107
    assert other <= 12


def test_a_slope_needs_three_clear_errors_of_one_sign() -> None:
    rates = np.array([0.08, 0.04, 0.02, 0.01])
    assert np.isnan(fit(rates, np.array([8.0, 4, 0.1, 0.1]), np.ones(4)).slope.value)
    assert np.isnan(fit(rates, np.array([8.0, -4, 2, -1]), np.full(4, 0.01)).slope.value)
    turned = fit(rates, np.array([-1.0, 4, 2, 1]), np.full(4, 0.01))
    assert turned.used.tolist() == [False, True, True, True] and abs(turned.slope.value - 1) < 0.1
    nothing = Sample(10, np.ones(1), np.zeros(1))
    study = weak_errors([Rung(r, 10, {"sgd": nothing, "a": nothing}) for r in rates], 3, {"a": 1}, {}, 0.15, 10)
    assert study.decided.all() and not study.difference.any()


def test_samples_merge_as_one() -> None:
    values = np.random.default_rng(0).normal(size=(2, 50)) + 1e3
    whole, parts = Sample.of(values), Sample.none(2).merge(Sample.of(values[:, :7])).merge(Sample.of(values[:, 7:]))
    assert np.allclose(whole.mean, parts.mean, rtol=1e-14) and np.allclose(whole.m2, parts.m2, rtol=1e-9)
    assert np.allclose(whole.sem, values.std(axis=1, ddof=1) / 50**0.5)


def test_the_figure_is_written(tmp_path: Any) -> None:
    found = compare(library.rescaling(), SGD(0.02, batch_size=16), RESCALING, 0.5, ladder=(4, 2, 1), paths=256)
    text = write_comparison(tmp_path / "f.svg", found).read_text(encoding="utf-8")
    assert "slope 1" in text and "slope 2" in text and "learning rate" in text


@pytest.mark.parametrize(
    "change, match",
    [
        ({"sgd": SGD(0.01, momentum=0.9)}, "without momentum"),
        ({"sgd": SGD(0.01, schedule=sp.Float(0.5))}, "one learning rate"),
        ({"sgd": 0.01}, "needs the optimiser's settings"),
        ({"loss": "rescaling"}, "needs a Loss"),
        ({"time": 0.02}, "at least 4 steps"),
        ({"time": -1}, "compare.time"),
        ({"start": {"u": 1.0}}, "start"),
        ({"start": {"u": [1.0, 2.0], "w": 1.0}}, "own start"),
        ({"start": [1.0]}, "start"),
        ({"ladder": (4, 2)}, "ladder"),
        ({"ladder": "abc"}, "ladder"),
        ({"ladder": (4, 2, 0.5)}, "1 among them"),
        ({"svag": 1}, "compare.svag"),
        ({"svag": 2.5}, "compare.svag"),
        ({"paths": 0}, "paths"),
        ({"budget": -1}, "budget"),
        ({"width": None}, "width"),
        ({"substeps": 0}, "substeps"),
        ({"seed": -1}, "seed"),
        ({"theory": 3}, "theory"),
        ({"observables": [1]}, "observables"),
        ({"observables": {"u": 1}}, "observables"),
    ],
)
def test_refusals(change: dict[str, Any], match: str) -> None:
    asked = {"loss": library.rescaling(), "sgd": SGD(0.01), "start": RESCALING, "time": 1.0, "paths": 16, **change}
    with pytest.raises(InputError, match=match):
        compare(**asked)


def test_losses_without_a_closed_form_are_refused() -> None:
    u, x = sp.symbols("u x", real=True)
    with pytest.raises(InputError, match="closed form"):
        compare(Loss(sp.tanh(u * x), [u], {x: Normal(0, 1)}), SGD(0.1), {"u": 1.0}, 1.0, {"n": u**2})
    with pytest.raises(InputError, match="no charge and no mean"):
        comparison.default_observables(Loss(sp.tanh(u * x), [u], {x: Normal(0, 1)}))


def test_the_mean_loss_stands_beside_the_charges() -> None:
    """Of rows too; not where a parameter has that name."""
    assert list(comparison.default_observables(factorisation())) == ["C_1", "C_2", "C_3", "loss"]
    found = compare(tanh_unit(), SGD(0.1), {"a": 1.0, "w": 1.0}, 1.0, ladder=(2, 1, 0.5), paths=200)
    assert found.observable.values.tolist() == ["loss"]
    loss, x = sp.symbols("loss x", real=True)
    assert not comparison.mean_loss(Loss((loss - x) ** 2, [loss], {x: Normal(0, 1)}))


def rows_of(count: int) -> Loss:
    """A loss that is no polynomial in its rows."""
    u, w, x = sp.symbols("u w x", real=True)
    return Loss((u * sp.tanh(w * x) - x) ** 2, [u, w], Dataset({x: np.linspace(-1, 1, count)}))


@pytest.mark.parametrize(("count", "most"), [(3000, r"\d+"), (60, r"\d\d")])
def test_too_many_rows_are_named_with_how_many_fit(monkeypatch: pytest.MonkeyPatch, count: int, most: str) -> None:
    """At once where no text could be short enough, else by the text's length."""
    if count == 60:
        monkeypatch.setattr("symbolic.codegen.sharing.MOST_TEXT", 15_000)
        monkeypatch.setattr("sde.api.comparison_runs.MOST_TEXT", 15_000)
    with pytest.raises(
        InputError, match=rf"spells out every row .* at most about {most} rows here; got '{count} rows'"
    ):
        compare(rows_of(count), SGD(0.02), {"u": 1.2, "w": 0.6}, 0.2, budget=1e4)
