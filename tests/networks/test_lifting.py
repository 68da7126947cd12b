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
    "mlp": (mlp, 16, (8, 5), 48),
    "convolutions": (convolutions, 8, (4, 1, 6, 6), 44),
    "attention": (attention, 16, (2, 4, 3), 160),
}


@pytest.mark.parametrize("name", KINDS)
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
