"""Derivations under a clock: an answer in time, or what is known with what is not decided; records of many parameters
are small."""

from __future__ import annotations

import json
import time
import tracemalloc
from typing import Any

import numpy as np
import pytest
import sympy as sp

from symbolic import Loss, Normal, clock, derive, library
from symbolic.clock import Clock, OutOfTime, check
from symbolic.errors import InputError
from symbolic.evaluation import random_points as probing
from symbolic.symmetry import matrix_terms
from symbolic.symmetry.generators import find_algebra
from symbolic.symmetry.known_actions import known_actions
from symbolic.symmetry.matrix_forms import find_families
from symbolic.theory import Theory
from tests.commands import record, run
from tests.symbolic.large_losses import HARD, attention, contrastive, relu_network, softmax_regression

LATE = 10.0
"""Seconds beyond its limit that a derivation may take."""


def _shown(theory: Theory) -> dict[str, Any]:
    str(theory), theory.to_latex(), theory._repr_html_()
    return json.loads(json.dumps(theory.to_json()))


@pytest.mark.slow
@pytest.mark.parametrize("name", HARD)
def test_case_b12_a_derivation_ends_by_its_limit(name: str) -> None:
    loss = HARD[name]()
    began = time.monotonic()
    theory = derive(loss, time_limit=60)
    found = _shown(theory)
    assert time.monotonic() - began < 60 + LATE
    assert theory.certificate.status != "partial" or theory.complete is not False
    assert ("conservation_laws" in found["undecided"]) == (found["conservation_laws"] is None)
    assert probing.residual(loss, theory.algebra.fields[:3], np.random.default_rng(1), points=3) < 1e-25


@pytest.mark.parametrize("make", [contrastive, lambda: attention(5), lambda: library.single_head_attention(6, 4, 4, 3)])
def test_case_b12_a_cut_derivation_says_what_it_does_not_know(make: Any) -> None:
    loss = make()
    theory = derive(loss, time_limit=1)
    found = _shown(theory)
    assert theory.certificate.status != "proved"
    assert theory.complete is not False
    if theory.certificate.status == "partial":
        assert "not decided" in str(theory) and "not decided" in found["certificate"]
        assert "complete" not in found["structure"]["name"]
    for why in theory.undecided.values():
        assert why in ("not decided within 1 s", "not known")


def test_case_b12_lazy_parts_are_cut_as_well() -> None:
    """Each part that is asked for later runs under the same clock; a spent clock leaves it undecided, kept so."""
    theory = derive(library.matrix_factorization())
    theory.clock._spent = theory.clock.limit
    assert theory.structure.groups == () and not theory.structure.complete
    assert len(theory.families) == 0 and theory.families.left == (0, 1, 2)
    assert set(theory.undecided) == {"structure", "families"}
    assert "not decided within 60 s" in str(theory)
    assert theory.to_json()["undecided"] == dict.fromkeys(("structure", "families"), "not decided within 60 s")
    with pytest.raises(InputError, match=r"polynomial_laws: must end within the time limit"):
        theory.polynomial_laws(4)


@pytest.mark.parametrize(
    ("loss", "charges"),
    [
        (lambda: library.matrix_factorization(3, 2, 4), 3),
        (lambda: library.single_head_attention(3, 2, 2, 2), 6),
        (lambda: relu_network(5, 4), 4),
        (lambda: softmax_regression(3, 4, 40), 4),
        (library.net_b, 2),
        (library.two_layer_gelu, 0),
    ],
)
def test_case_b12_known_actions_find_the_charges_of_the_whole_search(loss: Any, charges: int) -> None:
    """Products of translations follow from these and are left out."""
    built: Loss = loss()
    fields = known_actions(built)
    assert sum({(j, i): c for (i, j), c in x.A.items()} == x.A for x in _symmetric(built, fields)) == charges
    assert not fields or probing.residual(built, fields, np.random.default_rng(3)) < 1e-25


def _symmetric(loss: Loss, fields: Any) -> Any:
    from symbolic.symmetry.solve import symmetric_part

    return symmetric_part(fields) if fields else []


def test_case_b12_the_clock_counts_only_what_runs() -> None:
    clock = Clock(0.05)
    with clock.part("one"):
        check()
    time.sleep(0.1)
    with clock.part("two"):
        check()
    with pytest.raises(OutOfTime):
        _endless(clock)
    assert clock.left == 0
    check()


def _endless(clock: Clock) -> None:
    with clock.part("three"):
        while True:
            check()


@pytest.mark.parametrize("limit", [0, -1, float("nan"), float("inf"), "60", True])
def test_case_b12_a_limit_is_a_positive_number(limit: Any) -> None:
    with pytest.raises(InputError, match=r"derive\.time_limit: must be a positive number of seconds; got"):
        derive(library.rescaling(), time_limit=limit)


def test_case_b12_progress_names_the_parts(capsys: pytest.CaptureFixture[str]) -> None:
    parts: list[str] = []
    theory = derive(library.rescaling(), progress=parts.append)
    assert parts == ["gradient", "algebra", "noise", "charges", "classes", "conservation laws"]
    str(theory)
    assert parts[6:] == ["structure", "families"]
    derive(library.rescaling(), progress=True)
    assert "derive: algebra\n" in capsys.readouterr().err


def test_case_b12_the_command_takes_a_limit() -> None:
    assert record("derive", "rescaling", "--time-limit", "30")["undecided"] == {}
    result = run("derive", "rescaling", "--time-limit", "0")
    assert result.exit_code == 2 and "time_limit" in result.stderr


@pytest.mark.parametrize(("inputs", "hidden"), [(10, 16), (6, 24)])
def test_case_b13_a_record_is_sparse_and_whole(inputs: int, hidden: int) -> None:
    theory = derive(relu_network(inputs, hidden))
    tracemalloc.start()
    text = json.dumps(theory.to_json(), indent=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    found = json.loads(text)
    assert len(text) < 2000 * hidden * inputs and peak < 50e6
    assert len(found["charges"]) == hidden == found["conservation_laws"] and found["complete"]
    assert found["families"][0]["expression"] == "sum(W**2, axis=1) + b**2 - a**2"
    assert found["structure"]["name"] == f"R^{hidden} (rescalings)"
    assert found["further_laws"] == [] and found["undecided"] == {}
    for charge in found["charges"]:
        assert charge["generator"]["size"] == theory.loss.dimension and len(charge["generator"]["A"]) == inputs + 2
        assert charge["reason"].startswith("noise on eigenspaces of both signs")


@pytest.mark.slow
def test_case_b13_a_wide_network() -> None:
    text = json.dumps(derive(relu_network(10, 64)).to_json(), indent=1)
    assert len(text) < 5e6
    assert json.loads(text)["complete"] is True


def test_no_pairs_of_parameters_are_written_where_no_charge_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network given entry by entry has hundreds of thousands of pairs."""
    a, b, x = sp.symbols("a b x", real=True)
    loss = Loss((sp.tanh(a * x) + b * x**2) ** 2, [a, b], {x: Normal(0, 1)})
    monkeypatch.setattr(matrix_terms, "whole", lambda *_: pytest.fail("a pair was written"))
    assert not find_families(loss, []).families


def test_the_clock_is_looked_at_between_decompositions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the equations at random points: they take seconds each at D = 45."""
    a, b, x = sp.symbols("a b x", real=True)
    loss = Loss((sp.tanh(a * x) + b * x**2) ** 2, [a, b], {x: Normal(0, 1)})

    def slow(rows: np.ndarray, unknowns: int) -> int:
        clock._deadline.set(0.0)
        return unknowns

    monkeypatch.setattr(probing, "nullity", slow)
    monkeypatch.setattr(probing, "null_vectors", lambda *_: pytest.fail("went on"))
    with pytest.raises(OutOfTime), Clock(60.0).part("algebra"):
        find_algebra(loss, None)
