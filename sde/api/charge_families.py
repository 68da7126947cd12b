"""The families of a theory's charges for a report: as text, and typeset."""

from __future__ import annotations

from typing import Any

from sde.api.experiments import label
from symbolic.display import drift_text, fate
from symbolic.display.mathml import mathml
from symbolic.language.names import latex
from symbolic.predictions.charge import Charge
from symbolic.problem.optimizer import SGD
from symbolic.symmetry.matrix_forms import Family
from symbolic.theory import Theory


def families(theory: Theory, sgd: SGD) -> tuple[dict[str, Any], ...]:
    """What the charges are the entries of, for a report: as text, and typeset."""
    out = [_family(theory, sgd, f) for f in theory.families]
    for k in theory.families.left:
        charge = theory.charges[k]
        out.append(
            _one(charge, str(charge.expression), latex(charge.expression)) | {"why": fate.reason(charge.reason, sgd)}
        )
    return tuple(out)


def _family(theory: Theory, sgd: SGD, f: Family) -> dict[str, Any]:
    members = [theory.charges[k] for k in f.charges]
    kinds = list(dict.fromkeys(c.classification or "undecided" for c in members)) or ["undecided"]
    reasons = list(dict.fromkeys(fate.reason(c.reason, sgd) for c in members))
    if len(members) == 1 and not f.shape:
        return _one(members[0], f.text, f.latex) | {"why": reasons[0]}
    text, typeset = f.equation()
    shape = ("symmetric " if f.symmetric else "") + " x ".join(map(str, f.shape))
    return {
        "text": f.text,
        "text_math": mathml(f.latex, f.text),
        "number": f.number,
        "shape": shape,
        "class": " and ".join(kinds),
        "why": reasons[0] if len(reasons) == 1 else "",
        "drift": f.drift(),
        "drift_math": mathml(f.drift_latex(), f.drift()),
        "equation": text,
        "equation_math": mathml(typeset, text) if text else "",
        "labels": [label(c) for c in members],
    }


def _one(charge: Charge, text: str, typeset: str) -> dict[str, Any]:
    drift, formula = drift_text(charge), charge.drift()
    return {
        "text": text,
        "text_math": mathml(typeset, text),
        "number": 1,
        "class": charge.classification or "undecided",
        "drift": drift,
        "drift_math": mathml(latex(formula), drift) if drift == str(formula) else "",
        "labels": [label(charge)],
    }
