"""A theory in a few named lines, and as the short record of them: what a report tells of it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from symbolic.display import fate
from symbolic.display.record import counts
from symbolic.display.words import listed
from symbolic.predictions.derivation import Derivation
from symbolic.problem.optimizer import SGD


def facts(theory: Derivation, sgd: SGD | None = None) -> dict[str, str]:
    """{"symmetries", "groups", "charges", "conservation laws": text}, without what there is nothing to say of; sgd: for
    whose fate under it."""
    found = {
        "symmetries": _symmetries(theory),
        "groups": _groups(theory),
        "charges": _charges(theory, sgd),
        "conservation laws": _laws(theory),
    }
    return {name: text for name, text in found.items() if text}


def facts_record(theory: Derivation, sgd: SGD | None = None) -> dict[str, Any]:
    """Plain lists, numbers and strings: `facts`, the counts of `to_json`, "classes": {class: how many charges},
    structure and what is undecided."""
    said, structure = facts(theory, sgd), theory.structure.to_json()
    classes = Counter(c.classification or "undecided" for c in theory.charges)
    found = {"facts": said, **counts(theory), "classes": dict(classes), "structure": structure}
    return {**found, "undecided": dict(theory.undecided)}


def _symmetries(theory: Derivation) -> str:
    algebra, certificate = theory.algebra, theory.certificate
    partial = certificate.status == "partial"
    sure = str(certificate) + (f", {certificate.reason}" if certificate.reason and not partial else "")
    if not algebra.dimension:
        return f"none that is affine{' was found' if partial else ''} ({sure})"
    neither = algebra.dimension - algebra.symmetric - algebra.antisymmetric
    kinds = {"symmetric": algebra.symmetric, "antisymmetric": algebra.antisymmetric, "neither": neither}
    parts = ", ".join(f"{n} {kind}" for kind, n in kinds.items() if n)
    size = f"{'at least ' if partial else ''}{algebra.dimension}"
    return f"affine, an algebra of dimension {size}: {parts} ({sure})"


def _groups(theory: Derivation) -> str:
    structure = theory.structure
    if not structure.groups:
        return theory.undecided.get("structure", "")
    names = listed([g.name for g in structure.groups], "group")
    actions = listed([g.action for g in structure.groups], "group")
    return f"{structure.name if structure.complete else f'among others {names}'}: {actions}"


def _charges(theory: Derivation, sgd: SGD | None) -> str:
    n, forms = len(theory.charges), theory.families
    if not n:
        return "none that is quadratic"
    basic = [f.text for f in forms if f.kind != "product"] + [str(theory.charges[k].expression) for k in forms.left]
    kinds = Counter(c.classification for c in theory.charges)
    fates = [(m, f"{kind}: {fate.long_term(kind, sgd)}") for kind in fate.LONG_TERM if (m := kinds.pop(kind, 0))]
    fates += [(sum(kinds.values()), "of undecided class")] * bool(kinds)
    told = fates[0][1] if len(fates) == 1 else "; ".join(f"{m} {text}" for m, text in fates)
    if n == 1:
        return f"{basic[0]}, {told}"
    forms_of = "entries of " if any(f.shape for f in forms) else ""
    written = forms_of + listed(basic, "form") + " and products" * any(f.kind == "product" for f in forms)
    return f"{n}, {theory.independent_charges} independent, {written}; {told}"


def _laws(theory: Derivation) -> str:
    """Of gradient flow, how many, and how many of them the charges give."""
    laws, given = theory.conservation_laws, theory.independent_charges
    if laws is None:
        return f"how many gradient flow has is {theory.undecided.get('conservation_laws', 'not known')}"
    if not laws:
        return "gradient flow has none for all data"
    if theory.complete is None:
        return f"gradient flow has {laws}; not all of them are found"
    which = "all" if theory.complete else given or "none"
    return f"gradient flow has {laws}, {which} of them given by the charges"
