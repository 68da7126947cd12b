"""Where the noise takes charges in the long run, in words: with weight decay, nothing grows without end."""

from __future__ import annotations

from symbolic.problem.optimizer import SGD

LONG_TERM = {
    "convergent": "driven by noise to a finite equilibrium",
    "divergent": "driven by noise without end",
    "frozen": "untouched by noise on average",
}
HELD = {
    "convergent": LONG_TERM["convergent"],
    "divergent": "driven by noise to where weight decay holds it, a finite value",
    "frozen": "untouched by noise on average, so that weight decay alone moves it",
}
_UNDER_DECAY = {
    "the charge grows without end": "the charge goes to a finite value, where weight decay holds it",
    "the charge falls without end": "the charge goes to a finite value, where weight decay holds it",
    "the charge stays": "weight decay alone moves the charge",
}


def long_term(kind: str | None, sgd: SGD | None) -> str:
    """The fate of charges of one class; "" where the class is undecided."""
    return (HELD if sgd is not None and sgd.weight_decay else LONG_TERM).get(kind or "", "")


def reason(text: str, sgd: SGD | None) -> str:
    """Why a charge is of its class, its fate told for this optimiser."""
    if sgd is not None and sgd.weight_decay:
        for without, under in _UNDER_DECAY.items():
            text = text.replace(without, under)
    return text
