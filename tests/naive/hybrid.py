"""One path of an SDE under Euler-Maruyama that stops, jumps and is reset, as a loop over steps and turns: the twin of
`sde.kernels.hybrid`, with the same random numbers. Its state is a number, or a vector with a noise for each entry."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sde.kernels.random.draws import normals, step_normals
from sde.kernels.random.philox import STREAM_CROSSING, STREAM_MARK, STREAM_RESTART, STREAM_WAIT, draw

Map = Callable[[Any, Sequence[float]], Any]


@dataclass
class Level:
    """excess(x) = sign * (x - place); at it a path stops, or is changed by change number `reset`."""

    place: float
    sign: float = 1.0
    ends: bool = False
    reset: int = 0

    def excess(self, x: Any) -> float:
        return self.sign * (x - self.place)

    def variance(self, x: Any, sigma: Any) -> float:
        """Of the excess, per unit time."""
        return sigma**2

    def onto(self, z: Any, sigma: Any) -> Any:
        """The state on the level, from a place near it."""
        return self.place


class Top(Level):
    """excess(x) = max(x) - place, of a vector under a noise that is the same at all states."""

    def excess(self, x: Any) -> float:
        return x.max() - self.place

    def variance(self, x: Any, sigma: Any) -> float:
        return sigma[x.argmax()] ** 2

    def onto(self, z: Any, sigma: Any) -> Any:
        z = z.copy()
        for _ in range(2):
            z[z.argmax()] = self.place
        return z


class Total(Level):
    """excess(x) = sign * (sum(x) - place), likewise."""

    def excess(self, x: Any) -> float:
        return self.sign * (x.sum() - self.place)

    def variance(self, x: Any, sigma: Any) -> float:
        return (sigma**2).sum()

    def onto(self, z: Any, sigma: Any) -> Any:
        return z - sigma**2 * (z.sum() - self.place) / (sigma**2).sum()


@dataclass
class Path:
    """What it did: the state after each step, when it was lost or stopped, and when each level was first met."""

    states: list[Any] = field(default_factory=list)
    lost: float = math.nan
    stop: float = math.nan
    met: dict[int, float] = field(default_factory=dict)
    counts: list[int] = field(default_factory=list)


def words(seed: int, path: int, step: int, stream: int, block: int) -> tuple[int, ...]:
    return tuple(int(w) for w in draw(*(np.uint64(v) for v in (seed, path, step, stream, block))))


def unit(word: int) -> float:
    return (word + 0.5) * 2.0**-32


def wide(high: int, low: int) -> float:
    return (((high << 20) | (low >> 12)) + 0.5) * 2.0**-52


def passage(a: float, b: float, four: Sequence[int]) -> float:
    """docs/theory.md eq. (6.7), by Michael, Schucany and Haas as they write it, for b != 0: s of mean a/|b| and
    shape a^2, then s/(1 + s)."""
    z = math.sqrt(-2 * math.log(unit(four[0]))) * math.cos(2 * math.pi * unit(four[1]))
    mean, shape, y = a / abs(b), a * a, z * z
    s = mean + mean**2 * y / (2 * shape) - mean / (2 * shape) * math.sqrt(4 * mean * shape * y + (mean * y) ** 2)
    s = s if unit(four[2]) <= mean / (mean + s) else mean**2 / s
    return s / (1 + s)


def follow(
    path: int,
    seed: int,
    x: Any,
    times: Sequence[float],
    drift: Callable[[Any], Any],
    sigma: Callable[[Any], Any],
    levels: Sequence[Level] = (),
    rates: Sequence[tuple[Callable[[Any], float], int]] = (),
    changes: Sequence[tuple[Map, Sequence[float]]] = (),
    impulses: Mapping[int, int] | None = None,
    bridge: bool = True,
) -> Path:
    """rates: of Poisson clocks, and the number of the change that each makes; changes: maps of the state and their
    sizes, with the kinds of these; impulses: {state number: change}."""
    out, counts, L, width = Path(), [0] * len(changes), len(levels), np.size(x)
    left = [-math.log(wide(*words(seed, path, 0, STREAM_WAIT, c)[:2])) for c in range(len(rates))]

    def changed(x: Any, number: int) -> Any:
        make, kinds = changes[number - 1]
        first, sizes = sum(len(k) for _, k in changes[: number - 1]), []
        for r, kind in enumerate(kinds):
            w = words(seed, path, counts[number - 1], STREAM_MARK, first + r)
            u = wide(w[0], w[1])
            normal = math.sqrt(-2 * math.log(u)) * math.cos(2 * math.pi * wide(w[2], w[3]))
            sizes.append({-3: normal, -2: -math.log(u), -1: u}.get(int(kind), float(u < kind)))
        counts[number - 1] += 1
        return make(x, sizes)

    def turns(x: Any, k: int, now: float, rest: float, before: list[float], look: bool, turn: int) -> tuple:
        """To the end of the step: state, excesses, whether it stopped, the number of the next turn."""
        span = rest
        while rest > 0 or look:
            d, due = (0.0 if look else rest), 0
            for c, (rate, _) in enumerate(rates):
                if d > 0 and not rate(x) < math.inf:
                    out.lost = now
                    return x, before, True, turn
                if d > 0 and rate(x) * d > left[c]:
                    d, due = left[c] / rate(x), c + 1
            y, speed, spread = x, [rate(x) for rate, _ in rates], [level.variance(x, sigma(x)) for level in levels]
            if d > 0:
                if turn == 0:
                    xi = step_normals(width, 1, seed, path, k)[:, 0]
                else:
                    xi = normals(width, 1, seed, path, k, STREAM_RESTART, turn * -(-width // 2))[:, 0]
                xi = xi if np.ndim(x) else xi[0]
                xi = math.sqrt(span) * xi * (1.0 if d == span else math.sqrt(d / span))
                x = y + drift(y) * d + sigma(y) * xi
            after, meets = [level.excess(x) for level in levels], {}
            for n in range(L):
                a, b, v = -before[n], -after[n], spread[n] * d
                on_it = bridge and k < 0 and turn == 0 and b == 0 and levels[n].variance(x, sigma(x)) > 0
                if (not a < 0 and b < 0) or on_it:
                    crossed = True
                else:
                    least = a > 0 or (a == 0 and not levels[n].reset)
                    near = bridge and least and b >= 0 and v > 0 and 2 * a * b / v < 22
                    place = (seed, path, max(k, 0), STREAM_CROSSING, turn * -(-L // 4) + n // 4)
                    crossed = near and unit(words(*place)[n % 4]) < math.exp(-2 * a * b / v)
                if crossed and bridge and d > 0 and a > 0:
                    if v > 0:
                        four = words(seed, path, k, STREAM_CROSSING, 0x80000000 + turn * L + n)
                        meets[n] = d * passage(a / math.sqrt(v), b / math.sqrt(v), four)
                    else:
                        meets[n] = d * a / (a - b)
                elif crossed:
                    meets[n] = 0.0 if bridge and a <= 0 else d
            acting = [n for n in meets if levels[n].ends or levels[n].reset]
            act = min(acting, key=lambda n: meets[n]) if acting else None
            gone = d if act is None else meets[act]
            for n, met in meets.items():
                if met <= gone and (not levels[n].ends or n == act):
                    out.met.setdefault(n, now + met)
            if act is not None and gone < d:
                x = levels[act].onto(y + (x - y) * (gone / d), sigma(y))
            for c in range(len(rates)):
                left[c] = max(left[c] - speed[c] * gone, 0.0)
            now, rest, look = now + gone, 0.0 if gone >= rest else rest - gone, False
            if act is not None and levels[act].ends:
                out.stop = now
                return x, before, True, turn
            if act is not None:
                x, look = changed(x, levels[act].reset), True
                before = [1.0 if n == act else g for n, g in enumerate(before)]
            elif due:
                before, look = after, True
                x = changed(x, rates[due - 1][1])
                left[due - 1] = -math.log(
                    wide(*words(seed, path, counts[rates[due - 1][1] - 1], STREAM_WAIT, due - 1)[:2])
                )
            else:
                before = after
            turn += 1
        return x, before, False, turn

    x, before, done, turn = turns(x, -1, times[0], 0.0, [-1.0] * L, True, 0)
    for k in range(-1, len(times) - 1):
        if k >= 0 and not done:
            x, before, done, turn = turns(x, k, times[k], times[k + 1] - times[k], before, False, 0)
        if not done and impulses and k + 1 in impulses:
            x = changed(x, impulses[k + 1])
            x, before, done, turn = turns(x, k, times[k + 1], 0.0, before, True, turn)
        out.states.append(x)
    out.counts = counts
    return out
