"""What results read off linear networks is what the theory's families say."""

from __future__ import annotations

import numpy as np
import pytest

from sde.results.linear_network import charge_matrix, linear_network, noise_sides
from symbolic.theory import derive


def test_numbers_of_many_points_are_those_of_the_families() -> None:
    """U'U - WW' and the two noises, at random points of a 3 x 2 x 4 network."""
    rng = np.random.default_rng(0)
    theory = derive(linear_network(rng.standard_normal((3, 4)).round(1), np.linspace(0.5, 1.4, 4), np.ones(3)))
    (family,) = theory.families
    thetas = rng.standard_normal((2, 3, theory.loss.dimension))
    values, (left, right) = charge_matrix(theory.loss, thetas), noise_sides(theory, thetas)
    assert values.shape == left.shape == right.shape == (2, 3, 2, 2)
    for index in np.ndindex(2, 3):
        sides = family.sides(thetas[index])
        assert values[index] == pytest.approx(family.at(thetas[index]))
        assert (left[index], right[index]) == (pytest.approx(sides.left), pytest.approx(sides.right))
