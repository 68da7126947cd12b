"""Exact moments of every law against quadrature and enumeration, and what laws refuse."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from symbolic import Bernoulli, Dataset, Laplace, Loss, Moments, Normal, Uniform, parameters
from symbolic.problem.base_distribution import Distribution, exact
from symbolic.problem.distributions import NAMED, bind

a, b, c, m, s, u, x, y = sp.symbols("a b c m s u x y", real=True)
numbers = st.integers(-40, 40).map(lambda k: k / 10)
widths = st.integers(1, 30).map(lambda k: k / 10)
HALF = sp.Rational(1, 2)
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(24)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def moment(law: Any, powers: tuple[int, ...], symbols: tuple[sp.Symbol, ...] = (x,)) -> sp.Expr:
    key = symbols[0] if len(symbols) == 1 else symbols
    (block,) = bind({key: law})
    return block.moment(dict(zip(symbols, powers, strict=True)))


def gauss(mean: np.ndarray, covariance: np.ndarray, powers: tuple[int, ...]) -> float:
    """E prod z_i^p_i by tensor Gauss-Hermite quadrature, exact for these degrees."""
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0))
    total = 0.0
    for index in product(range(len(NODES)), repeat=len(mean)):
        z = mean + root @ NODES[list(index)]
        total += float(np.prod(WEIGHTS[list(index)]) * np.prod(z ** np.array(powers)))
    return total


@settings(max_examples=40, deadline=None)
@given(mean=numbers, std=widths, power=st.integers(0, 8))
def test_normal_moments_against_quadrature(mean: float, std: float, power: int) -> None:
    expected = float(np.sum(WEIGHTS * (mean + std * NODES) ** power))
    scale = float(np.sum(WEIGHTS * np.abs(mean + std * NODES) ** power))
    assert abs(float(moment(Normal(mean, std), (power,))) - expected) <= 1e-11 * scale


def test_normal_moment_with_symbols_is_the_textbook_polynomial() -> None:
    assert sp.expand(moment(Normal(m, s), (4,)) - (m**4 + 6 * m**2 * s**2 + 3 * s**4)) == 0


@pytest.mark.parametrize("powers", [(1, 1, 0), (2, 2, 0), (1, 1, 1), (3, 1, 2), (0, 4, 2), (2, 1, 3)])
def test_joint_normal_moments_against_quadrature(powers: tuple[int, int, int]) -> None:
    mean, root = np.array([0.5, -1.0, 0.25]), np.array([[1.0, 0.0], [0.5, 1.5], [-0.75, 0.25]])
    covariance = root @ root.T
    law = Normal([sp.Rational(1, 2), -1, sp.Rational(1, 4)], covariance=covariance)
    value = moment(law, powers, (a, b, c))
    assert value.is_Rational
    assert float(value) == pytest.approx(gauss(mean, covariance, powers), rel=1e-10, abs=1e-10)


def test_isserlis_of_four_correlated_normals() -> None:
    names = sp.symbols("z0:4", real=True)

    def entry(i: int, j: int) -> sp.Symbol:
        return sp.Symbol(f"k{min(i, j)}{max(i, j)}", real=True)

    covariance = sp.Matrix(4, 4, entry)
    (block,) = bind({names: Normal([0, 0, 0, 0], covariance=covariance)})
    expected = entry(0, 1) * entry(2, 3) + entry(0, 2) * entry(1, 3) + entry(0, 3) * entry(1, 2)
    assert sp.expand(block.moment(dict.fromkeys(names, 1)) - expected) == 0
    assert block.moment({names[0]: 1, names[1]: 2}) == 0


@settings(max_examples=40, deadline=None)
@given(low=numbers, width=widths, power=st.integers(0, 8))
def test_uniform_moments_against_quadrature(low: float, width: float, power: int) -> None:
    nodes, weights = np.polynomial.legendre.leggauss(8)
    z = low + width * (nodes + 1) / 2
    scale = float(np.sum(weights / 2 * np.abs(z) ** power))
    found = float(moment(Uniform(low, round(low + width, 1)), (power,)))
    assert abs(found - float(np.sum(weights / 2 * z**power))) <= 1e-11 * scale


@settings(max_examples=40, deadline=None)
@given(mean=numbers, scale=widths, power=st.integers(0, 8))
def test_laplace_moments_against_quadrature(mean: float, scale: float, power: int) -> None:
    nodes, weights = np.polynomial.laguerre.laggauss(12)
    z = np.concatenate([mean - scale * nodes, mean + scale * nodes])
    weights = np.concatenate([weights, weights]) / 2
    expected, size = float(np.sum(weights * z**power)), float(np.sum(weights * np.abs(z) ** power))
    assert abs(float(moment(Laplace(mean, scale), (power,))) - expected) <= 1e-10 * size


def test_laplace_moment_with_symbols_is_the_textbook_polynomial() -> None:
    assert sp.expand(moment(Laplace(m, s), (4,)) - (m**4 + 12 * m**2 * s**2 + 24 * s**4)) == 0


EXAMPLES: dict[str, Distribution] = {
    "normal": Normal([1, -1, 0], covariance=[[2, 1, 0], [1, 1, HALF], [0, HALF, 3]]),
    "uniform": Uniform([-1, 0, 2], [3, 1, HALF + 2]),
    "bernoulli": Bernoulli([0.3, 0.5, 0.9]),
    "laplace": Laplace([0, 1, -2], [1, HALF, 2]),
    "dataset": Dataset({(a, b, c): np.random.default_rng(1).normal(size=(50, 3))}),
}
ALPHA = 1e-6
"""Chance that the test below fails although all is well, for all its comparisons together."""


def test_every_distribution_is_sampled_here_or_says_that_it_cannot_be() -> None:
    assert {name for name, kind in NAMED.items() if kind.sampled} == EXAMPLES.keys() - {"dataset"}
    assert Moments([0, 1]).unsampled == "only moments are given"


@pytest.mark.parametrize("name", EXAMPLES)
def test_exact_moments_are_those_of_samples(name: str) -> None:
    """E of every product of powers up to 4 in all, within the standard error's quantile at ALPHA (Bonferroni)."""
    (block,) = bind({(a, b, c): EXAMPLES[name]} if name != "dataset" else EXAMPLES[name])
    drawn = block.sample(200_000, np.random.default_rng(7), {})
    assert drawn is not None and drawn.shape == (3, 200_000)
    orders = [p for p in product(range(5), repeat=3) if 0 < sum(p) <= 4]
    bound = stats.norm.isf(ALPHA / 2 / len(orders) / len(EXAMPLES))
    for powers in orders:
        values = np.prod(drawn ** np.array(powers)[:, None], axis=0)
        error = abs(float(block.moment(dict(zip((a, b, c), powers, strict=True)))) - values.mean())
        assert error <= bound * values.std() / np.sqrt(len(values)) + 1e-12, powers


@settings(max_examples=25, deadline=None)
@given(chances=st.lists(st.integers(0, 10).map(lambda k: k / 10), min_size=2, max_size=3), data=st.data())
def test_bernoulli_moments_by_enumeration(chances: list[float], data: st.DataObject) -> None:
    powers = tuple(data.draw(st.integers(0, 3)) for _ in chances)
    expected = sum(
        np.prod([q if bit else 1 - q for bit, q in zip(bits, chances, strict=True)])
        * np.prod(np.array(bits) ** np.array(powers))
        for bits in product((0, 1), repeat=len(chances))
    )
    assert float(moment(Bernoulli(chances), powers, (a, b, c)[: len(chances)])) == pytest.approx(expected, abs=1e-14)


def test_moments_law_gives_its_moments_and_names_what_is_missing() -> None:
    assert moment(Moments([m, m**2 + s]), (2,)) == m**2 + s
    with pytest.raises(
        ValueError, match=r"Moments: the loss needs E x\*\*3; got 2 moments\. Give raw moments up to order 3"
    ):
        moment(Moments([0, 1]), (3,))


def test_dataset_moments_are_averages_of_rows_with_correlation() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=30), rng.normal(size=30)
    (block,) = bind(Dataset({x: first, y: first + second}))
    assert block.size == 30
    assert float(block.moment({x: 2, y: 1})) == pytest.approx(np.mean(first**2 * (first + second)), rel=1e-14)


def test_moment_of_nothing_is_one_for_every_law() -> None:
    for law in (Normal(1, 2), Uniform(0, 1), Bernoulli(0.3), Laplace(1, 2), Moments([1, 2])):
        assert moment(law, (0,)) == 1


def test_parameters_broadcast_over_entries() -> None:
    X = parameters(X=(2, 3))
    (block,) = bind({X: Normal([1, 2, 3], 1)})
    assert [block.moment({s: 1}) for s in block.symbols] == [1, 2, 3, 1, 2, 3]
    with pytest.raises(
        ValueError, match=r"Normal: parameters must broadcast to the variable's shape \(2, 3\); got shape \(2,\)"
    ):
        bind({X: Normal([1, 2], 1)})


def test_decimals_become_exact() -> None:
    assert exact(0.1) == sp.Rational(1, 10)
    assert exact(sp.Float(0.25)) == sp.Rational(1, 4)
    assert moment(Normal(0, 0.1), (4,)) == sp.Rational(3, 10000)
    assert moment(Normal([0, 0], covariance=sp.Matrix([[0.5, 0.25], [0.25, 1]])), (1, 1), (a, b)).is_Rational


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Normal(0, -1), "Normal: std must not be negative"),
        (lambda: Normal(0, [1, -0.5]), "Normal: std must not be negative"),
        (lambda: Normal(0), "Normal: needs either std or covariance"),
        (lambda: Normal(0, 1, covariance=[[1]]), "Normal: needs either std or covariance"),
        (lambda: Normal(0, covariance=[[1, 2], [0, 1]]), "symmetric"),
        (lambda: Normal(0, covariance=[[1, 2], [2, 1]]), "positive semi-definite"),
        (lambda: Normal(float("nan"), 1), "must be finite"),
        (lambda: Normal("0", 1), "must be a number"),
        (lambda: Normal(True, 1), "must be a number"),
        (lambda: Uniform(1, 1), "Uniform: low must be below high"),
        (lambda: Uniform([0, 1], [1, 2, 3]), "^Uniform: "),
        (lambda: Laplace(0, 0), "Laplace: scale must be positive; got 0"),
        (lambda: Laplace(0, [1, -1]), "Laplace: scale must be positive"),
        (lambda: bind({x: Dataset({x: [1.0]})}), r"data\[x\]: needs a law"),
        (lambda: Bernoulli(1.5), r"Bernoulli: p must lie in \[0, 1\]"),
        (lambda: Bernoulli(-0.1), r"Bernoulli: p must lie in \[0, 1\]"),
        (lambda: Moments([2, 1]), "variance m2 - m1"),
        (lambda: Moments([0, 1, 0, 0.5]), "must be those of some law"),
        (lambda: Moments([1, 2, 3, 4]), "must be those of some law"),
        (lambda: Moments([0, 1, 0, 3, 0, 8]), "must be those of some law"),
        (lambda: Dataset({x: [1.0, 2.0], y: [1.0]}), "same number of rows"),
        (lambda: Dataset({x: [1.0, np.nan]}), "finite"),
        (lambda: Dataset({x: []}), "Dataset: "),
        (lambda: Dataset({x: np.ones((3, 2))}), r"must be \(N, "),
        (lambda: Dataset({parameters(X=(4, 2)): np.ones((5, 2, 4))}), r"must be \(N, "),
        (lambda: bind({x: 3}), r"data\[x\]: needs a law"),
        (lambda: bind({"x": Normal(0, 1)}), "key must be a symbol"),
        (lambda: bind(3), "data: must be a mapping"),
    ],
)
def test_refusals_name_the_law_and_the_rule(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_covariance_must_fit_the_variable() -> None:
    with pytest.raises(ValueError, match="covariance must be 3 x 3"):
        Loss(u * a * b * c, [u], {(a, b, c): Normal(0, covariance=[[1, 0], [0, 1]])})
