"""A theory in plain words, as LaTeX and as HTML."""

from __future__ import annotations

import html
from collections.abc import Sequence

import sympy as sp

from symbolic.display import fate
from symbolic.display.record import briefs, drift_text
from symbolic.language.names import latex
from symbolic.predictions.charge import Charge
from symbolic.predictions.derivation import Derivation
from symbolic.problem.optimizer import SGD
from symbolic.symmetry.matrix_forms import Family

SHOWN = 12
"""Charges written out in a summary before the rest is counted; also the terms that an entry of a family may have."""
FORMS = 4
"""Families and groups named in one sentence."""
CENTRED = "g_P: the gradient of one sample in P; E_c[f(g)] = E[f(g)] - f(E[g]), a centred mean over samples"


def plural(n: int, noun: str) -> str:
    """As in "1 charge", "3 charges"."""
    return f"{n} {noun}" + ("" if n == 1 else "s")


def listed(items: Sequence[str], noun: str, most: int = FORMS) -> str:
    """The first `most` of them, and how many more there are."""
    more = [f"{plural(len(items) - most, noun)} more"] if len(items) > most else []
    return "; ".join([*items[:most], *more])


def verdict(theory: Derivation) -> str:
    """One sentence on completeness."""
    laws, found = theory.conservation_laws, theory.independent_charges
    if laws is None:
        why = theory.undecided.get("conservation_laws", "not known")
        return f"Whether gradient flow has further conservation laws is {why}."
    if theory.complete is None:
        return f"Gradient flow has {plural(laws, 'conservation law')}; the others than these are not found."
    if theory.complete:
        return (
            "These are all the conservation laws of gradient flow."
            if laws
            else "Gradient flow has no conservation law for all data."
        )
    return f"Gradient flow has {plural(laws - found, 'further conservation law')} that these do not give."


def paragraph(theory: Derivation, sgd: SGD | None = None) -> str:
    """The theory in a few plain sentences: the algebra and its groups, the charges in matrix form, their fate (under
    `sgd`, where it is known), completeness, and what is not decided."""
    algebra, n = theory.algebra, len(theory.charges)
    first = f"{theory.loss.name}: {plural(theory.loss.dimension, 'parameter')}; "
    partial = theory.certificate.status == "partial"
    if not algebra.dimension and partial:
        return f"{first}no affine symmetry found ({theory.certificate}). {verdict(theory)}"
    if not algebra.dimension:
        found = "" if theory.certificate.status != "partial" else " found"
        return f"{first}no affine symmetry{found} ({theory.certificate}), so no quadratic charge. {verdict(theory)}"
    parts = [f"{algebra.symmetric} symmetric", f"{algebra.antisymmetric} antisymmetric"]
    neither = algebra.dimension - algebra.symmetric - algebra.antisymmetric
    parts += [f"{neither} neither"] if neither else []
    size = f"{'at least ' if partial else ''}{algebra.dimension}"
    first += f"a symmetry algebra of dimension {size} ({', '.join(parts)}; {theory.certificate})."
    found = theory.structure
    if found.groups:
        name = (
            f"It is {found.name}"
            if found.complete
            else f"It contains {listed([g.name for g in found.groups], 'group')}"
        )
        first += f" {name}: {listed([g.action for g in found.groups], 'group')}."
    counts = {k: sum(c.classification == k for c in theory.charges) for k in fate.LONG_TERM}
    fates = [f"{m} {fate.long_term(k, sgd)}" for k, m in counts.items() if m]
    left = n - sum(counts.values())
    fates += [f"{left} of undecided fate"] if left and fates else []
    charges = (
        f"{plural(n, 'charge')}, {theory.independent_charges} independent: {'; '.join(fates) or 'of undecided fate'}."
        if n
        else "No quadratic charge."
    )
    return " ".join(filter(None, [first, charges, _forms(theory), verdict(theory), _undecided(theory)]))


UNDECIDED = {"structure": "which groups it is made of", "families": "the charges' matrix forms"}


def _undecided(theory: Derivation) -> str:
    """One sentence on what was cut short and is told nowhere else; "" where there is nothing."""
    return " ".join(f"{UNDECIDED[k].capitalize()}: {why}." for k, why in theory.undecided.items() if k in UNDECIDED)


def _forms(theory: Derivation) -> str:
    """One sentence with the charges' matrix forms; "" where there is none."""
    forms = theory.families
    basic = [f.text for f in forms if f.kind != "product"]
    if not basic:
        return ""
    several = "They are the entries of" if any(f.shape for f in forms) else "They are"
    parts = [f"{'It reads' if len(theory.charges) == 1 else several} {listed(basic, 'form')}"]
    parts += ["products of these"] if len(basic) < len(forms) else []
    parts += [f"{len(forms.left)} more entry by entry"] if forms.left else []
    return ", and ".join(parts) + "."


def _long_term(members: Sequence[Charge], sgd: SGD | None) -> str:
    """Class and reason, when charges share it."""
    kinds, reasons = {c.classification for c in members}, {c.reason for c in members}
    if len(kinds) > 1:
        return "; ".join(
            f"{sum(c.classification == k for c in members)} {k or 'undecided'}" for k in sorted(kinds, key=str)
        )
    kind = next(iter(kinds)) or "undecided"
    if len(reasons) == 1:
        return f"{kind}: {fate.reason(next(iter(reasons)), sgd)}"
    return f"{kind}: {fate.long_term(kind, sgd) or 'no moments or samples to decide it'}"


def _members(theory: Derivation, family: Family) -> list[Charge]:
    """The charges that a family holds, or, where it holds combinations only, all."""
    return [theory.charges[k] for k in family.charges] or list(theory.charges)


def _label(family: Family) -> str:
    """Shape and charges of a family: "symmetric 2 x 2; C_1 ... C_3"."""
    size = ("symmetric " if family.symmetric else "") + (
        " x ".join(map(str, family.shape)) if family.shape else "one number"
    )
    numbers = [k + 1 for k in family.charges]
    if len(numbers) > 2 and numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f"{size}; C_{numbers[0]} ... C_{numbers[-1]}"
    names = ", ".join(f"C_{k}" for k in numbers[:SHOWN]) + (" ..." if len(numbers) > SHOWN else "")
    return f"{size}; {names or plural(family.number, 'charge')}"


def _written(theory: Derivation) -> list[int]:
    """Positions of the charges that are written out one by one: those without an array form, and short entries of the
    arrays."""
    forms = theory.families
    alone = {*forms.left, *forms.single}
    return [k for k, c in enumerate(theory.charges) if k in alone or _terms(c) <= SHOWN][:SHOWN]


def _terms(charge: Charge) -> int:
    """How many terms its expression has."""
    return sum(i <= j for i, j in charge.field.A) + len(charge.field.b)


def summary(theory: Derivation, sgd: SGD | None = None) -> str:
    """Plain words, then a block per family in matrix form, then charge by charge; of what is long or many only the
    count. sgd: for whose fate under it."""
    lines, forms, short = [paragraph(theory, sgd)], theory.families, briefs(theory.charges)
    for family in forms.arrays[:SHOWN]:
        lines += [
            f"  {family.text}   [{_label(family)}]",
            f"      {_long_term(_members(theory, family), sgd)}",
            f"      dC/dt = {family.drift()}",
        ]
    written = _written(theory)
    for k in written:
        charge, family, brief = theory.charges[k], forms.single.get(k), short[k]
        lines.append(f"  {charge.name} = {charge.expression if family is None or brief else family.text}")
        if k in forms.left or family:
            lines.append(f"      {charge.kind}, {_long_term([charge], sgd)}")
            lines.append(
                f"      dC/dt = {family.drift(charge.name) if family and not brief else drift_text(charge, brief)}"
            )
        elif brief:
            lines.append(f"      dC/dt = {drift_text(charge, brief)}")
    hidden = len(theory.charges) - len(written)
    if hidden:
        lines.append(f"  ... and {hidden} more" if written else f"  ({hidden} entries, not written out)")
    lines += [f"  also conserved: {law}" for law in theory.further_laws[:SHOWN]]
    if "further_laws" in theory.undecided:
        lines.append(f"  which further laws there are: {theory.undecided['further_laws']}")
    if any("E_c[" in line for line in lines):
        lines.append(f"  ({CENTRED})")
    return "\n".join(lines)


def _drift_latex(charge: Charge, brief: bool) -> str:
    if brief and len(str(charge.drift())) <= 300:
        return latex(charge.drift(), _names(charge))
    if charge.field.is_translation:
        return r"-2\lambda_{\mathrm{wd}}\, b^{\mathsf T}\theta"
    decay = charge.name if charge.field.is_linear else r"(A\theta+b)^{\mathsf T}\theta"
    return rf"-2\lambda_{{\mathrm{{wd}}}}\, {decay} + T\,\mathrm{{Tr}}[\Sigma A]"


def _names(charge: Charge) -> dict[sp.Symbol, str]:
    """Entries of matrices with their indices as subscripts: W[0,1] as W_{01}."""
    out = {}
    for p in charge.loss.parameters:
        wide, heads = any(n > 10 for n in p.shape), {}
        for s in p.symbols:
            head, bracket, index = s.name.partition("[")
            if bracket:
                if head not in heads:
                    name = latex(sp.Symbol(head))
                    heads[head] = f"{{{name}}}" if "_" in name else name
                out[s] = f"{heads[head]}_{{{index.rstrip(']').replace(',', ',' if wide else '')}}}"
    return out


def to_latex(theory: Derivation) -> str:
    """An aligned display: a row per family with its drift and class, then a row per charge."""
    if not theory.charges:
        return r"$\text{no quadratic charge}$"
    forms, short, rows = theory.families, briefs(theory.charges), []
    for n, family in enumerate(forms.arrays[:SHOWN], start=1):
        name = "C" if len(forms.arrays) == 1 else f"C^{{({n})}}"
        kinds = {c.classification or "undecided" for c in _members(theory, family)}
        rows.append(_row(name, family.latex, family.drift_latex(name), ", ".join(sorted(kinds))))
    written = _written(theory)
    for k in written:
        charge, family, brief = theory.charges[k], forms.single.get(k), short[k]
        name = f"C_{{{k + 1}}}" if k > 8 else charge.name
        if family and not brief:
            row = _row(name, family.latex, family.drift_latex(name), charge.classification)
        else:
            drift = _drift_latex(charge, brief) if brief or k in forms.left else ""
            row = _row(name, latex(charge.expression, _names(charge)), drift, charge.classification)
        rows.append(row)
    hidden = len(theory.charges) - len(written)
    if hidden:
        rows.append(
            rf"&\ldots\ \text{{and {hidden} more}}" if written else rf"&\text{{({hidden} entries, not written out)}}"
        )
    return "$$\\begin{aligned}\n" + " \\\\\n".join(rows) + "\n\\end{aligned}$$"


def _row(name: str, formula: str, drift: str, kind: str | None) -> str:
    tail = rf", & \dot{{{name}}} &= {drift} && \text{{{kind or 'undecided'}}}" if drift else ""
    return f"{name} &= {formula}{tail}"


def to_html(theory: Derivation) -> str:
    """For a notebook: the paragraph in plain words, and the typeset charges below it."""
    return f"<p>{html.escape(paragraph(theory))}</p>\n{html.escape(to_latex(theory), quote=False)}"
