"""A theory and an optimiser as the numbers that a verification and a forecast are made of."""

from __future__ import annotations

from typing import Any

from sde.verification import theory_numbers
from sde.verification.setting import Setting
from symbolic.display import drift_text
from symbolic.display.mathml import mathml
from symbolic.functions.registry import KINKED
from symbolic.language.names import latex
from symbolic.predictions.charge import Charge
from symbolic.problem.optimizer import SGD
from symbolic.symmetry.matrix_forms import Family
from symbolic.theory import Theory

LONGEST = 40
"""Characters of an expression up to which it is a charge's label."""


def of_theory(theory: Theory, sgd: SGD) -> theory_numbers.Theory:
    """Its charges and its noise."""
    charges = tuple(theory_numbers.Charge(label(c), c.A, c.b, c.classification or "") for c in theory.charges)
    smooth = not theory.loss.expression.has(*KINKED)
    return theory_numbers.Theory(charges, theory.noise.factors, sgd.weight_decay, smooth)


def setting(theory: Theory, sgd: SGD) -> Setting:
    """The optimiser on the theory's loss."""
    r = sgd.rates(theory.loss)
    return Setting(
        learning_rate=r.learning_rate,
        temperature=r.temperature,
        variance=r.variance,
        weight_decay=r.weight_decay,
        speed=1 / r.inertia,
        plain=sgd.momentum == 0,
        closed=theory.noise.source in ("features", "dataset"),
        factor=sgd.factor,
    )


def label(charge: Charge) -> str:
    """Its expression where that is short, else its name."""
    text = str(charge.expression)
    return text if len(text) <= LONGEST else charge.name


def families(theory: Theory) -> tuple[dict[str, Any], ...]:
    """What the charges are the entries of, for a report: as text, and typeset."""
    out = [_family(theory, f) for f in theory.families]
    for k in theory.families.left:
        charge = theory.charges[k]
        out.append(_one(charge, str(charge.expression), latex(charge.expression)) | {"why": charge.reason})
    return tuple(out)


def _family(theory: Theory, f: Family) -> dict[str, Any]:
    members = [theory.charges[k] for k in f.charges]
    kinds = list(dict.fromkeys(c.classification or "undecided" for c in members)) or ["undecided"]
    reasons = list(dict.fromkeys(c.reason for c in members))
    if len(members) == 1 and not f.shape:
        return _one(members[0], f.text, f.latex) | {"why": members[0].reason}
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
