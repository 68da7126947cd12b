"""What a scheme is: a formula, and the row of a table that says where it may be used and how well it does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from inspect import signature
from typing import Any

from symbolic.dynamics.step_map import h
from symbolic.schemes.noise_inputs import Noise

WITHIN_COMMUTATIVE = ("scalar", "diagonal", "additive")


@dataclass(frozen=True)
class Order:
    """An order of convergence, None where a scheme has none: on general noise, and where it differs by noise class."""

    general: Fraction | None
    special: Mapping[str, Fraction] = field(default_factory=dict[str, Fraction])

    def on(self, noise_class: str) -> Fraction:
        """On an SDE of this noise class; what is said of commutative noise holds for all that commutes. Raises
        ValueError where there is none."""
        for name in (noise_class, *(("commutative",) if noise_class in WITHIN_COMMUTATIVE else ())):
            if name in self.special:
                return self.special[name]
        if self.general is None:
            raise ValueError("a scheme without an order was asked for it")
        return self.general

    def __str__(self) -> str:
        general = "-" if self.general is None else str(self.general)
        return "; ".join([general, *(f"{name} {value}" for name, value in self.special.items())])


def order(general: str, **special: str) -> Order:
    """Order of convergence, as text: order("1/2", additive="1")."""
    return Order(Fraction(general), {name: Fraction(value) for name, value in special.items()})


NO_ORDER = Order(None)
"""Of a discrete optimiser, which is not held against a limit."""


@dataclass(frozen=True, kw_only=True)
class Scheme:
    """A one-step map as a formula, and its row in the table.

    calculus: "ito", "stratonovich" or "discrete"; noise: the widest noise class it may be used on; reference: where it
    is from; suits: what it is the one to take for; position: in lists. step: the formula, which names what it takes,
    of: sde, x, t, dt, dW, dZ (int W ds), integrals (Ito's I_(j,k)), auxiliary (further normals), size (of the states in
    a run) and let (gives intermediate values a name); a discrete one, of: loss, x, v (velocities, which it then returns
    too), beta, t, eta and minibatch.

    pace(sde, x, t, dt, size): where each path chooses its steps, how long they may be. estimates: within that, steps
    are accepted or halved by an error estimate. refuse(sde): why an SDE cannot be stepped, None where it can.
    auxiliary(sde): how many further normals a step takes. terms(dt): of the Levy
    areas' series at a step, for "name:n". arrays: the widest noise class on which its formula takes states that are
    whole arrays, None where it takes none. steps_losses: its formula uses drift and noise by `increment` alone, which a
    loss has too. keeps: kinds of domain of states that it keeps (`symbolic.dynamics.domain`). seen(sde): {state: what
    is saved and watched in its place}.
    """

    name: str
    calculus: str
    noise: str
    strong: Order
    weak: Order
    reference: str
    step: Callable[..., Any]
    pace: Callable[..., Any] | None = None
    estimates: bool = False
    refuse: Callable[[Any], str | None] = lambda sde: None
    auxiliary: Callable[[Any], int] = lambda sde: 0
    terms: Callable[[float], int] | None = None
    arrays: str | None = None
    steps_losses: bool = False
    keeps: tuple[str, ...] = ()
    seen: Callable[[Any], Mapping[Any, Any]] = lambda sde: {}
    suits: str = ""
    position: int = 1000

    @property
    def own_clock(self) -> bool:
        """Whether each path chooses its steps."""
        return self.pace is not None

    @property
    def inputs(self) -> tuple[str, ...]:
        """What its formula takes, by name."""
        return tuple(signature(self.step).parameters)

    def order(self, kind: str, noise_class: str) -> Fraction:
        """Strong or weak order on an SDE of this noise class; kind is "strong" or "weak"."""
        return (self.strong if kind == "strong" else self.weak).on(noise_class)

    def noise_inputs(self, noises: int, terms: int | None = None, more: int = 0) -> Noise:
        """The random inputs of one step for J noises; terms: of the Levy area's series; more: normals beside those
        of the Brownian path."""
        names = self.inputs
        modes = 1 + max(1 if "dZ" in names else 0, (terms or 1) if "integrals" in names and noises > 1 else 0)
        return Noise(noises, modes, more, h)
