"""Sums over slices by one compiled pass against one charge at a time."""

import numpy as np
import pytest
import torch

from sde.networks import Charge, Charges
from sde.networks import square_sums as compiled
from sde.networks.charge import Term
from sde.networks.slice_products import SliceProducts

SHAPES = {
    "vector": (5,),
    "matrix": (6, 5),
    "rows": (9, 3),
    "filters": (3, 4, 2, 2),
    "stack": (2, 3, 4),
    "whole": (4, 2),
}
AXES = {
    "vector": [(0,), ()],
    "matrix": [(0,), (1,), ()],
    "rows": [(0,)],
    "filters": [(1,), (0,)],
    "stack": [(0, 1), (1,), (2,)],
    "whole": [()],
}


def charges_of(names):
    found = []
    for name in names:
        for axes in AXES[name]:
            for k in range(2 if axes else 1):
                term = Term(name, name, axes, axes, (k,), (k,), (1.5 - k,))
                found.append(Charge("C", (term,), (), "rescaling", "convergent", "exact", 0.0))
    return found


def tensors(dtype, seed):
    generator = torch.Generator().manual_seed(seed)
    return {n: torch.randn(s, generator=generator, dtype=torch.float64).to(dtype) for n, s in SHAPES.items()}


@pytest.mark.parametrize("odd", [(), ("matrix",)], ids=["in order", "one transposed"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_products_are_those_of_charges(dtype, odd):
    """Of float32 tensors too, to float64's rounding where compiled code reads them."""
    known = charges_of(SHAPES)
    one, two = tensors(dtype, 0), tensors(dtype, 1)
    products = SliceProducts(Charges.of(known, one), SHAPES)
    for name in odd:
        one[name] = one[name].T.contiguous().T
    exact = [{n: t.double() for n, t in each.items()} for each in (one, two)]
    tolerance = 1e-14 if dtype == torch.float64 or not odd else 1e-6
    for first, second in ((0, 0), (0, 1)):
        given = (one, two)[second] if second else None
        found = products.form @ products.take(one, given).double().numpy()
        wanted = [c.form(exact[first], exact[second]).item() for c in known]
        np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance)


def test_samples_are_summed():
    known = charges_of(SHAPES)
    each = {n: torch.randn(3, *s, dtype=torch.float64) for n, s in SHAPES.items()}
    products = SliceProducts(Charges.of(known, {n: t[0] for n, t in each.items()}), SHAPES)
    found = torch.zeros(products.size, dtype=torch.float64)
    products.add_samples(found, each)
    wanted = [sum(c.form(d, d).item() for i in range(3) if (d := {n: t[i] for n, t in each.items()})) for c in known]
    np.testing.assert_allclose(products.form @ found.numpy(), wanted, rtol=1e-13, atol=1e-13)


def test_nothing_compiled_is_needed(monkeypatch):
    known, one = charges_of(SHAPES), tensors(torch.float64, 0)
    products = SliceProducts(Charges.of(known, one), SHAPES)
    wanted = products.take(one)
    monkeypatch.setattr(compiled, "COMPILED", False)
    again = SliceProducts(Charges.of(known, one), SHAPES)
    assert again.square_sums.take(one, one) is None
    np.testing.assert_allclose(again.take(one), wanted, rtol=1e-14)
