"""Running extremes and time integrals in expressions of arrays: each is carried as one more array of the step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from symbolic.arrays.adjoint import spread_of
from symbolic.arrays.building import array, elementwise, mapped
from symbolic.arrays.derivative import along, entrywise
from symbolic.arrays.expression import Array, Noise, Past, State, walk
from symbolic.arrays.extremes import led
from symbolic.dynamics.array_bridge import STEP, bent, furthest_values
from symbolic.dynamics.array_equation import CLOCK, ArraySDE
from symbolic.errors import InputError

HUGE = 1.79e308
"""What finite numbers are below: of float32 it is infinite, and above each."""
LATER = elementwise("add", CLOCK, STEP)
"""Time at a step's end."""


@dataclass(frozen=True)
class CarriedArray:
    """A functional of f as an array of states, 0 at first; noise: two inputs an entry, where it is an extreme; begin:
    the time at which paths begin."""

    node: Array
    state: Array
    noise: tuple[Array, ...]
    begin: float

    @property
    def f(self) -> Array:
        """What it is of."""
        return self.node.args[0]

    @property
    def value(self) -> Array:
        """Its value, of the states: at first an extreme is f itself."""
        begun = elementwise("less_equal", CLOCK, self.begin)
        return elementwise("where", begun, self.f, self.state) if self.noise else self.state

    def after(self, before: Mapping[Array, Array], then: Mapping[Array, Array], bridge: Array | None = None) -> Array:
        """Its value after a step from states `before` to states `then`; bridge: of an extreme, the variance of f over
        the step times an exponential variable of mean 2 (docs/theory.md eq. (6.10))."""
        first, own = mapped([self.f, self.value], before.get)
        (last,) = mapped([self.f], {**then, CLOCK: LATER}.get)
        if not self.noise:
            return own + STEP * (first + last) / 2
        if bridge is None:
            return elementwise("Max", own, last)
        width = elementwise("sqrt", (last - first) ** 2 + bridge)
        return elementwise("Max", own, (first + last + width) / 2)


def carried_of(nodes: Iterable[Array], begin: float, inputs: int) -> tuple[CarriedArray, ...]:
    """The functionals that nodes name, each once; inputs: how many a step has without them."""
    out = list[CarriedArray]()
    for node in walk(list(nodes)):
        if not isinstance(node, Past):
            continue
        noise = list[Array]()
        for _ in range(2 if node.data == ("running_max",) else 0):
            noise.append(Noise.of(node.shape, (), (inputs,)))
            inputs += node.size
        out.append(CarriedArray(node, State.of(node.shape, (), (f":path_{len(out)}",)), tuple(noise), begin))
    return tuple(out)


def moved(
    problem: ArraySDE, strengths: Sequence[Array], carried: Sequence[CarriedArray], updates: Sequence[Array]
) -> list[Array]:
    """What a step makes of the functionals; strengths: the diffusion as it is seen; updates: what the step makes of the
    states. Raises InputError."""
    then, out = dict(zip(problem.states, updates, strict=True)), list[Array]()
    for c in carried:
        if not c.noise:
            out.append(c.after({}, then))
            continue
        first, second = c.noise
        seen = led(c.f, problem.noisy, {**then, CLOCK: LATER})
        square, variance = seen * (first * first + second * second), _variance(problem, strengths, c.f)
        if not bent(problem, c.f):
            out.append(c.after({}, then, variance * square))
            continue
        value = c.after({}, then)
        for found in furthest_values(problem, strengths, c.f, then, square):
            finite = elementwise("less", found, HUGE)
            value = elementwise("Max", value, elementwise("where", finite, found, value))
        out.append(value)
    return out


def _variance(problem: ArraySDE, strengths: Sequence[Array], f: Array) -> Array:
    """Of each entry of f, per unit time. Raises InputError where it is neither one number nor made entry by entry."""
    if not f.shape:
        return spread_of(f, problem.states, strengths, bool(problem.shared))[1]
    for s, b in zip(problem.states, strengths, strict=True):
        if f.shape == s.shape and entrywise(f, s):
            (slope,) = along([f], {s: array(np.ones(s.shape))})
            total = np.sum(b * b, axis=-1) if problem.shared else b * b
            return slope * slope * total
    if not any(s in f.reads for s in problem.states):
        return array(np.zeros(f.shape))
    advice = "Take running(...) of each, as of f[0], or of f.max()."
    raise InputError.of("running", "of an array is of what is made entry by entry of one state", f, advice)
