"""Words that know the spec's weight decay: a divergent charge goes to a finite value."""

from __future__ import annotations

from pathlib import Path

import pytest

from symbolic import SGD, derive, library
from symbolic.display import at_point, paragraph, point_record
from tests.commands import run

DECAY = SGD(0.01, weight_decay=0.1)
DIVERGENT = {
    "scale-invariant": library.scale_invariant,
    "net-a": library.net_a,
    "net-b": library.net_b,
    "product-of-norms": library.radial,
}


@pytest.mark.parametrize("name", ["scale-invariant", "net-a", "net-b"])
def test_case_b8_nothing_grows_without_end_under_decay(name: str) -> None:
    theory = derive(DIVERGENT[name]())
    assert any(c.classification == "divergent" for c in theory.charges)
    assert "without end" in theory.summary() and "without end" in paragraph(theory, SGD(0.01))
    for text in (theory.summary(DECAY), paragraph(theory, DECAY)):
        assert "without end" not in text
        assert "finite value" in text


@pytest.mark.parametrize("name", ["scale-invariant", "net-a", "net-b"])
def test_case_b8_at_a_point(name: str) -> None:
    loss = DIVERGENT[name]()
    theory, at = derive(loss), library.LIBRARY[name].start
    assert "without end" in at_point(theory, at, SGD(0.01))
    assert "without end" not in at_point(theory, at, DECAY)
    reasons = [c["reason"] for c in point_record(theory, at, DECAY)["charges"] if c["class"] == "divergent"]
    assert reasons and all(r.endswith("goes to a finite value, where weight decay holds it") for r in reasons)


def test_case_b8_the_command_reads_the_decay() -> None:
    assert "without end" in run("derive", "scale-invariant").stdout
    told = run("derive", "scale-invariant", "--weight-decay", "0.1").stdout
    assert "without end" not in told and "finite value" in told
    text = Path("examples/scale_invariant.toml").read_text()
    assert "weight_decay" in text or "without end" in run("derive", "examples/scale_invariant.toml").stdout
