"""Exact counts of independent charges, layer by layer, against a dense search over all quadratic charges."""

from __future__ import annotations

import copy

import pytest
import torch

from sde.networks import symmetries
from tests.networks import naive_charges
from tests.networks.zoo import CASES


@pytest.mark.parametrize("name", CASES)
def test_the_count_is_that_of_the_sheet(name: str) -> None:
    case = CASES[name]
    torch.manual_seed(0)
    theory = symmetries(case.make(), *case.inputs(), loss=case.loss)
    assert theory.independent_charges == case.count, theory.summary()
    assert max((c.size for c in theory.exact), default=0.0) <= 1e-12


SMALL = [n for n, c in CASES.items() if c.twin]


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_the_count_is_that_of_a_dense_search(name: str) -> None:
    case = CASES[name]
    torch.manual_seed(0)
    last = (lambda f: torch.log_softmax(f, -1)) if case.loss == "cross_entropy" else (lambda f: f)
    assert naive_charges.count(copy.deepcopy(case.make()), case.inputs, last) == case.count
