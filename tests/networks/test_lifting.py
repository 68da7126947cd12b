"""A model searched through narrow copies has the charges that it has when searched at its own width."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sde.networks import symmetries
from symbolic.errors import InputError
from tests.networks.zoo import Lambda


def mlp(width: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(5, width), nn.ReLU(), nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, 3)
    )


def convolutions(width: int) -> nn.Module:
    first, second = nn.Conv2d(1, width, 3, bias=False), nn.Conv2d(width, width, 3)
    return nn.Sequential(first, nn.BatchNorm2d(width), nn.ReLU(), second, nn.Flatten(), nn.Linear(4 * width, 2))


def attention(width: int) -> nn.Module:
    def forward(m: Any, x: Tensor) -> Tensor:
        q, k, v = m.qkv(x).view(*x.shape[:2], 3, 2, width // 2).permute(2, 0, 3, 1, 4)
        return m.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(*x.shape[:2], width))

    return Lambda(forward, qkv=nn.Linear(3, 3 * width), out=nn.Linear(width, 3))


KINDS = {
    "mlp": (mlp, 8, (8, 5), 24),
    "convolutions": (convolutions, 8, (4, 1, 6, 6), 44),
    "attention": (attention, 16, (2, 4, 3), 160),
}


@pytest.mark.parametrize("name", ["mlp", pytest.param("convolutions", marks=pytest.mark.slow), "attention"])
def test_the_charges_are_those_found_at_full_width(name: str) -> None:
    make, width, shape, count = KINDS[name]
    torch.manual_seed(0)
    model, x = make(width), torch.randn(*shape)
    narrow = symmetries(model, x, make=make)
    full = symmetries(model, x)
    assert narrow.width is not None and narrow.width < width
    assert "others may be missing" in narrow.ansatz and "Complete" not in narrow.ansatz
    assert {c.name for c in narrow.exact} == {c.name for c in full.exact}
    assert narrow.independent_charges == full.independent_charges
    assert {c.name for c in narrow.broken} == {c.name for c in full.broken}
    assert len(full.exact) == count


def test_tables_are_plain_and_escaped() -> None:
    theory = symmetries(mlp(4), torch.randn(8, 5))
    record = json.loads(json.dumps(theory.to_json()))
    assert record["exact"] == 12 and len(record["charges"]) == 12 and sum(f["number"] for f in record["families"]) == 12
    assert "Complete within the ansatz" in theory.summary() and "12 exact charges, independent: 12" in str(theory)
    assert "<table>" in theory._repr_html_() and "<0.weight" not in theory._repr_html_()
    parameters = dict(mlp(4).named_parameters())
    field = theory.generators[0](parameters)
    assert set(field) == set(theory.exact[0].parameters)


def test_a_factory_of_another_model_is_refused() -> None:
    with pytest.raises(InputError, match="make: its models must have the tensors"):
        symmetries(mlp(16), torch.randn(8, 5), make=lambda w: nn.Sequential(nn.Linear(5, w)))
    with pytest.raises(InputError, match="make: must build a narrow copy"):
        symmetries(mlp(7), torch.randn(8, 5), make=mlp)


def test_many_charges_are_counted_family_by_family(monkeypatch: pytest.MonkeyPatch) -> None:
    from sde.networks import independence

    torch.manual_seed(0)
    counts = []
    for most in (1500, 12):
        monkeypatch.setattr(independence, "MOST", most)
        counts.append(symmetries(mlp(4), torch.randn(8, 5), loss="cross_entropy").independent_charges)
    assert counts == [21, 21]


def stacked(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(5, width), nn.Linear(width, 3))


@pytest.mark.parametrize("make, shape", [(attention, (2, 4, 3)), (stacked, (8, 5))])
def test_mixed_units_are_counted_without_a_matrix_of_all_fields(
    make: Any, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rescalings and pairs act on the same slices: they are entries of one symmetric matrix."""
    from sde.networks import independence
    from sde.networks.probe import Probe

    torch.manual_seed(0)
    model, x = make(4), torch.randn(*shape)
    theory = symmetries(model, x)
    fields = theory.exact.jacobian({n: p.detach().double() for n, p in model.named_parameters()})
    assert any(f.kind == "GL pair" for f in theory.exact.families)
    monkeypatch.setattr(independence, "MOST", 0)
    counted = independence.independent(Probe(model, (x,)), theory.exact.families, 1)
    assert counted == theory.independent_charges == int(torch.linalg.matrix_rank(fields, rtol=1e-9))


def test_windows_behind_few_channels_have_rows_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that a point's gradients say of the first layers passes one channel of two samples: two independent rows."""
    from sde.networks import search, unknowns
    from sde.networks.patterns import families
    from sde.networks.probe import Probe
    from sde.networks.proof import TOLERANCE, residuals

    monkeypatch.setattr(search, "WHOLE", 100)
    monkeypatch.setattr(search, "WINDOW", 100)
    monkeypatch.setattr(unknowns.blocks_of, "__defaults__", (0,))
    torch.manual_seed(0)
    widths = (4, 8, 8, 1, 8, 40)
    layers = [part for a, b in itertools.pairwise(widths) for part in (nn.Linear(a, b, bias=False), nn.LeakyReLU(0.3))]
    probe = Probe(nn.Sequential(*layers[:-1]), (torch.randn(2, 4),))
    found = search.candidates(probe, 0)
    assert found.windows > 2
    proposed = families(found.exact, probe.shapes, {})
    assert sum(len(f) for f in proposed) >= 8 + 8 + 1 + 8
    assert residuals(probe, proposed, 1).max() <= TOLERANCE


def test_places_that_a_basis_leaves_out_are_carried_over() -> None:
    """Of the sums of rows and of columns of a table one is made by the others: which one is an accident, and lifting
    what is left would lose all that lies at its place."""
    from sde.networks.lifting import lifted
    from sde.networks.patterns import PatternEntry

    narrow, full = {"tok": (10, 4), "pos": (6, 4)}, {"tok": (10, 16), "pos": (6, 16)}
    group = [
        (PatternEntry("tok", (1,), "b", (j,), (1.0,)), PatternEntry("pos", (1,), "b", (j,), (-1.0,))) for j in (0, 2, 3)
    ]
    family = next(lifted(group, narrow, full, {}))
    assert len(family) == 16 and family.charge(5).name == "sum tok[:,5] - sum pos[:,5]"
    rows = [(PatternEntry("tok", (0,), "b", (j,), (1.0,)),) for j in range(9)]
    assert len(next(lifted(rows, narrow, full, {}))) == 9


def test_fields_count_without_entries_that_have_no_gradient() -> None:
    """Sums of rows and of columns of two tables, a scale, and entries of rows that no input reaches."""

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tok, self.pos, self.head = nn.Embedding(5, 4), nn.Embedding(6, 4), nn.Linear(4, 3, bias=False)

        def forward(self, i: Tensor) -> Tensor:
            x = self.tok(i) + self.pos(torch.arange(i.shape[1]))
            return self.head((x - x.mean(-1, keepdim=True)) ** 2)

    torch.manual_seed(0)
    theory = symmetries(Two(), torch.randint(0, 5, (6, 4)))
    fields = theory.exact.jacobian({n: p.detach().double() for n, p in Two().named_parameters()})
    assert sum(c.kind == "no gradient" for c in theory.exact) == 8
    assert theory.independent_charges == int(torch.linalg.matrix_rank(fields, rtol=1e-9)) == 5 + 4 + 4 - 1 + 1 + 8
