"""Claims of one's own in a spec, and looks at growing data, from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import sympy as sp

from sde.spec.problem_file import SpecError, parse_spec
from sde.verification.runs import Evidence, Run
from tests.commands import GOOD, record, run

pytestmark = pytest.mark.usefixtures("folder")

OWN = """
[[claims]]
observable = "C"
equals = "1.08*exp(-t/40)"
margin = 0.05
[[claims]]
observable = "u*w"
equals = 1
margin = 0.3
at = [0.5, 1]
run = "sde"
name = "product"
[[claims]]
observable = "u"
equals = 0
margin = 0.1
run = "gd"
"""


def test_claims_of_a_spec_are_tested_and_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    """With --most-paths, broken off within a look and resumed to the same JSON."""
    Path("own.toml").write_text(GOOD + OWN)
    options = ("own.toml", "--paths", 10, "--most-paths", 640)
    result = run("verify", *options, "--json", "whole.json", "--report", "v.html")
    whole = json.loads(Path("whole.json").read_text())
    assert result.exit_code == 1 and whole["looks"][0] == 10 < whole["looks"][-1] <= 640
    own = {v["subject"]: v["verdict"] for v in whole["verdicts"] if v["group"] == "claimed mean"}
    assert own == {
        "SGD from start 1, C": "supported",
        "SDE from start 1, product": "supported",
        "GD from start 1, u at t = 1": "refuted",
    }
    assert "claimed mean: mean of an observable" in " ".join(result.stdout.split())
    page = Path("v.html").read_text()
    assert "SDE from start 1, product" in page and "1.08" in page
    inner = Evidence.extend

    def pressing(evidence: Evidence, run: Run, look: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Evidence, "extend", pressing)
    assert run("verify", *options, "--checkpoint", "c").exit_code == 130
    monkeypatch.setattr(Evidence, "extend", inner)
    assert run("resume", "c", "--json", "again.json").exit_code == 1
    assert json.loads(Path("again.json").read_text()) == whole
    assert "--most-paths 640" in run("show", "whole.json").stdout


def test_a_budget_may_stand_in_the_spec() -> None:
    Path("own.toml").write_text(GOOD.replace("paths = 8", "paths = 8\nmost_paths = 16") + OWN)
    assert record("verify", "own.toml")["looks"] in ([8], [8, 16])
    assert run("simulate", "own.toml", "-o", "run.nc").exit_code == 0


@pytest.mark.parametrize(
    ("old", "new", "messages"),
    [
        ('observable = "C"', "observable = 3", ["claims[0].observable"]),
        ('observable = "C"', 'observable = "u*x"', ["claims[0].observable: may use parameters only, here x"]),
        ('observable = "C"', 'observable = "v"', ["claims[0].observable: must be one number, not an array"]),
        ('observable = "C"', 'observable = "__import__(1)"', ["claims[0].observable"]),
        ('observable = "C"\n', "", ["claims[0].observable: every claim needs one; got nothing"]),
        ('"1.08*exp(-t/40)"', '"u"', ["claims[0].equals, column 1: unknown name"]),
        ('"1.08*exp(-t/40)"', "[1, 2]", ["claims[0].equals: must be a number or an expression in t"]),
        ("margin = 0.05", "margin = -1", ["claims[0].margin: must be finite and 0 or more"]),
        ("margin = 0.05", 'margin = "wide"', ["claims[0].margin: must be a number"]),
        ("margin = 0.05", "margins = 1", ["claims.margins: unknown key", "Did you mean 'margin'"]),
        ("at = [0.5, 1]", "at = [0.5, 2]", ["claims[1].at: times must lie within"]),
        ("at = [0.5, 1]", 'at = "end"', ["claims[1].at: must be a time or times"]),
        ('run = "sde"', 'run = "adam"', ["claims[1].run: must be 'sgd', 'sde' or 'gd'"]),
        ('name = "product"', "name = 3", ["claims[1].name: must be text"]),
        ('name = "product"', "start = 4", ["claims[1].start: must be one of the 1 starts"]),
        (OWN, "[claims]\nobservable = 3", ["claims: must be tables of claims"]),
    ],
)
def test_what_is_wrong_with_a_claim_is_said(old: str, new: str, messages: list[str]) -> None:
    assert old in GOOD + OWN
    Path("own.toml").write_text((GOOD + OWN).replace(old, new, 1))
    result = run("verify", "own.toml", "--paths", 2, "--time", 1)
    assert result.exit_code == 2
    assert all(message in result.stderr for message in messages), result.stderr
    assert "Traceback" not in result.stderr


def test_ready_observables_may_be_claimed() -> None:
    """By their own names, or by those that the spec gives to what holds them."""
    claims = "".join(
        f'[[claims]]\nobservable = "{text}"\nequals = 1\nmargin = 0.5\n' for text in ("loss", "L", "u + sharpness")
    )
    text = GOOD.replace("observables = {", 'observables = { L = "2*loss",') + claims
    spec = parse_spec(text, "own.toml")
    u, w = spec.loss.theta
    wanted = [spec.loss.mean, 2 * spec.loss.mean, u + 2 * u**2 + 2 * w**2]
    assert all(sp.expand(c["observable"] - e) == 0 for c, e in zip(spec.claims, wanted, strict=True))


def test_a_mean_that_is_not_known_is_no_claim() -> None:
    text = GOOD.replace('"(u*w*x - y)**2"', '"(u*tanh(w*x) - y)**2"')
    text += '[[claims]]\nobservable = "loss"\nequals = 1\nmargin = 0.5\n'
    with pytest.raises(SpecError, match=r"^claims\[0\].observable: needs the data's moments"):
        parse_spec(text, "own.toml")
