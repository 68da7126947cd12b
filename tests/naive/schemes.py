"""Every scheme written out from its source with loops over indices, on numbers: x' = step(problem, x, t, h, dW, dZ, I,
signs).

dZ[j] = I_(j,0); I[j, k] = Ito's I_(j,k); signs[r, j] = V_(r,j)/h for Platen's scheme.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import erf
from typing import Any

import numpy as np

Array = np.ndarray


@dataclass(frozen=True)
class Problem:
    """Drift (x, t) -> (D,) and diffusion (x, t) -> (D, J), as NumPy functions; derivatives by complex steps.

    pair: whether two states are rescaled as a pair, in their sum and difference, or each by itself. kept: states at or
    above 0; of a quadratic-exponential step the first is a square-root diffusion. rates: what multiplies
    each state in its own drift. couplings: the numbers that multiply states in the drift, (D, D).
    """

    a: Callable[[Array, Any], Array]
    b: Callable[[Array, Any], Array]
    pair: bool = False
    kept: tuple[int, ...] = ()
    rates: tuple[float, ...] = (0.0, -2.0)
    couplings: tuple[tuple[float, ...], ...] = ((0.0, 1.0), (0.0, -2.0))

    def slope(self, x: Array, t: float, k: int) -> Array:
        """d b_k / d x, (D, D)."""
        out = np.empty((len(x), len(x)))
        for i in range(len(x)):
            shifted = x.astype(complex)
            shifted[i] += 1e-30j
            out[:, i] = np.imag(self.b(shifted, t)[:, k]) / 1e-30
        return out


def euler_maruyama(p: Problem, x: Array, t: float, h: float, dW: Array, **_: Any) -> Array:
    return x + p.a(x, t) * h + p.b(x, t) @ dW


def tamed_euler(p: Problem, x: Array, t: float, h: float, dW: Array, **_: Any) -> Array:
    a = p.a(x, t)
    return x + a * h / (1 + h * np.linalg.norm(a)) + p.b(x, t) @ dW


def implicit_euler(p: Problem, x: Array, t: float, h: float, dW: Array, **_: Any) -> Array:
    """By fixed-point iteration, which converges for h times the drift's slope below 1."""
    known = x + p.b(x, t) @ dW
    y = known
    for _k in range(200):
        y = known + h * p.a(y, t + h)
    return y


def milstein(p: Problem, x: Array, t: float, h: float, dW: Array, **_: Any) -> Array:
    return milstein_levy(p, x, t, h, dW, (np.outer(dW, dW) - h * np.eye(len(dW))) / 2)


def milstein_levy(p: Problem, x: Array, t: float, h: float, dW: Array, integrals: Array, **_: Any) -> Array:
    b = p.b(x, t)
    out = x + p.a(x, t) * h + b @ dW
    for j in range(len(dW)):
        for k in range(len(dW)):
            out = out + p.slope(x, t, k) @ b[:, j] * integrals[j, k]
    return out


def heun(p: Problem, x: Array, t: float, h: float, dW: Array, **_: Any) -> Array:
    y = x + p.a(x, t) * h + p.b(x, t) @ dW
    return x + (p.a(x, t) + p.a(y, t + h)) / 2 * h + (p.b(x, t) + p.b(y, t + h)) / 2 @ dW


def euler_heun(p: Problem, x: Array, t: float, h: float, dW: Array, **_: Any) -> Array:
    y = x + p.b(x, t) @ dW
    return x + p.a(x, t) * h + (p.b(x, t) + p.b(y, t + h)) / 2 @ dW


def sra1(p: Problem, x: Array, t: float, h: float, dW: Array, dZ: Array, **_: Any) -> Array:
    """Scheme SRA1: alpha = 1/3, 2/3; beta1 = 1, 0; beta2 = -1, 1; c0 = 0, 3/4; c1 = 1, 0; A0 = 3/4, B0 = 3/2."""
    H = [x, x + 3 / 4 * p.a(x, t) * h + 3 / 2 * p.b(x, t + h) @ dZ / h]
    out = x + h * (p.a(H[0], t) / 3 + 2 / 3 * p.a(H[1], t + 3 / 4 * h))
    for beta1, beta2, c in ((1, -1, 1), (0, 1, 0)):
        out = out + p.b(x, t + c * h) @ (beta1 * dW + beta2 * dZ / h)
    return out


def sriw1(p: Problem, x: Array, t: float, h: float, dW: Array, dZ: Array, **_: Any) -> Array:
    """Scheme SRIW1: its arrays as printed, the general formula with all loops."""
    A0, A1, B0, B1 = (np.zeros((4, 4)) for _ in range(4))
    A0[1, 0], A1[1, 0], A1[2, 0], A1[3, 2], B0[1, 0] = 3 / 4, 1 / 4, 1, 1 / 4, 3 / 2
    B1[1, 0], B1[2, 0], B1[3, :3] = 1 / 2, -1, (-5, 3, 1 / 2)
    alpha = (1 / 3, 2 / 3, 0, 0)
    betas = ((-1, 4 / 3, 2 / 3, 0), (-1, 4 / 3, -1 / 3, 0), (2, -4 / 3, -2 / 3, 0), (-2, 5 / 3, -2 / 3, 1))
    c0, c1 = A0.sum(axis=1), (0, 1 / 4, 1, 1 / 4)
    noises = range(len(dW))
    drift, noise = [x] * 4, [[x] * 4 for _ in noises]
    for i in range(4):
        H = x.copy()
        for j in range(i):
            H = H + A0[i, j] * p.a(drift[j], t + c0[j] * h) * h
            for k in noises:
                H = H + B0[i, j] * p.b(noise[k][j], t + c1[j] * h)[:, k] * dZ[k] / h
        drift[i] = H
        for k in noises:
            H = x.copy()
            for j in range(i):
                H = H + A1[i, j] * p.a(drift[j], t + c0[j] * h) * h
                H = H + B1[i, j] * p.b(noise[k][j], t + c1[j] * h)[:, k] * np.sqrt(h)
            noise[k][i] = H
    out = x.copy()
    for i in range(4):
        out = out + alpha[i] * p.a(drift[i], t + c0[i] * h) * h
        for k in noises:
            I1, I11, I10, I111 = dW[k], (dW[k] ** 2 - h) / 2, dZ[k], (dW[k] ** 3 - 3 * h * dW[k]) / 6
            weight = betas[0][i] * I1 + betas[1][i] * I11 / np.sqrt(h) + betas[2][i] * I10 / h + betas[3][i] * I111 / h
            out = out + weight * p.b(noise[k][i], t + c1[i] * h)[:, k]
    return out


def platen_weak_2(p: Problem, x: Array, t: float, h: float, dW: Array, signs: Array, **_: Any) -> Array:
    """Equation (15.1.3), time being one more state."""
    a, b, root = p.a(x, t), p.b(x, t), np.sqrt(h)
    out = x + (p.a(x + a * h + b @ dW, t + h) + a) * h / 2
    for j in range(len(dW)):
        up, down = x + a * h + b[:, j] * root, x + a * h - b[:, j] * root
        plus, minus = p.b(up, t + h)[:, j], p.b(down, t + h)[:, j]
        total, second = (plus + minus + 2 * b[:, j]) * dW[j], (plus - minus) * (dW[j] ** 2 - h)
        for r in range(len(dW)):
            if r != j:
                plus, minus = p.b(x + b[:, r] * root, t)[:, j], p.b(x - b[:, r] * root, t)[:, j]
                total = total + (plus + minus - 2 * b[:, j]) * dW[j]
                second = second + (plus - minus) * (dW[j] * dW[r] + signs[r, j] * h)
        out = out + (total + second / root) / 4
    return out


def orbit_splitting(p: Problem, x: Array, t: float, h: float, dW: Array, **_: Any) -> Array:
    """Rates by solving (f, g) = q (w, u) + r (u, w) on numbers, or dividing by the state; each block's held in check by
    itself."""

    def blocks(z: Array) -> list[Array]:
        """For a block, the rates that drift and noises have in it, (1 or 2, J + 1)."""
        f = np.column_stack([p.a(z, t), p.b(z, t)])
        if p.pair:
            return [np.linalg.solve(np.array([[z[1], z[0]], [z[0], z[1]]]), f)]
        return [f[i : i + 1] / z[i] for i in range(len(z))]

    scales = [h, *[np.sqrt(h)] * len(dW)]
    moves = [p.a(x, t), *p.b(x, t).T]
    out = []
    for k, rates in enumerate(blocks(x)):
        change = 0.0
        for move, scale in zip(moves, scales, strict=True):
            slope = np.imag(blocks(x + 1e-30j * move)[k]) / 1e-30
            for row in slope:
                change += sum((scale * e * s) ** 2 for e, s in zip(row, scales, strict=True))
        held = rates / (1 + change) ** 0.25

        def factor(rate: Array) -> Any:
            return np.exp(rate[0] * h - (rate[1:] ** 2).sum() / 2 * h + rate[1:] @ dW)

        if not p.pair:
            out.append(x[k] * factor(held[0]))
            continue
        plus, minus = (x[0] + x[1]) * factor(held[1] + held[0]), (x[0] - x[1]) * factor(held[1] - held[0])
        out += [(plus + minus) / 2, (plus - minus) / 2]
    return np.array(out)


def full_truncation(p: Problem, x: Array, t: float, h: float, dW: Array, **_: Any) -> Array:
    seen = np.array([max(e, 0.0) if i in p.kept else e for i, e in enumerate(x)])
    return x + p.a(seen, t) * h + p.b(seen, t) @ dW


def log_euler(p: Problem, x: Array, t: float, h: float, dW: Array, **_: Any) -> Array:
    out = x + p.a(x, t) * h + p.b(x, t) @ dW
    for i in p.kept:
        r, q = p.a(x, t)[i] / x[i], p.b(x, t)[i] / x[i]
        out[i] = np.exp(np.log(x[i]) + (r - q @ q / 2) * h + q @ dW)
    return out


def quadratic_exponential(p: Problem, x: Array, t: float, h: float, dW: Array, **_: Any) -> Array:
    """Andersen's section 3.2, state 0 being dv = (a - k v) dt + sqrt(v) c dW and state 1 whatever it drives."""
    v, y = x
    a = p.a(np.array([0.0, y]), t)[0]
    k, c = a - p.a(np.array([1.0, y]), t)[0], p.b(np.array([1.0, y]), t)[0]
    size, E = c @ c, np.exp(-k * h)
    m = a / k + (v - a / k) * E
    s2 = v * size * E / k * (1 - E) + a / k * size / (2 * k) * (1 - E) ** 2
    psi, Z = s2 / m**2, c @ dW / np.sqrt(size * h)
    if psi <= 1.5:
        b2 = 2 / psi - 1 + np.sqrt(2 / psi) * np.sqrt(2 / psi - 1)
        after = m / (1 + b2) * (np.sqrt(b2) + Z) ** 2
    else:
        u, zero = (1 + erf(Z / np.sqrt(2))) / 2, (psi - 1) / (psi + 1)
        after = 0.0 if u <= zero else np.log((1 - zero) / (1 - u)) * m / (1 - zero)
    middle = (v + after) / 2
    gain = after - v - a * h + k * middle * h

    def weight(at: float) -> Any:
        return p.b(np.array([at, y]), t)[1] @ c / size

    row, base = p.b(np.array([middle, y]), t)[1], weight(0.0)
    noise = (weight(middle) - base) / np.sqrt(middle) * gain + base * c @ dW + (row - weight(middle) * c) @ dW
    move = p.a(np.array([middle, y]), t)[1] * h
    if 1 in p.kept:
        return np.array([after, y * np.exp((move - row @ row / y / 2 * h + noise) / y)])
    return np.array([after, y + move + noise])


def exponential_euler(p: Problem, x: Array, t: float, h: float, dW: Array, **_: Any) -> Array:
    """The rates given by hand."""
    f, noise, out = p.a(x, t), p.b(x, t) @ dW, x.copy()
    for i, rate in enumerate(p.rates):
        if rate == 0:
            out[i] = x[i] + f[i] * h + noise[i]
            continue
        weight = (np.exp(2 * rate * h) - 1) / (2 * rate * h)
        out[i] = np.exp(rate * h) * x[i] + np.expm1(rate * h) / rate * (f[i] - rate * x[i]) + np.sqrt(weight) * noise[i]
    return out


def exponential_coupled(p: Problem, x: Array, t: float, h: float, dW: Array, **_: Any) -> Array:
    """Functions of the matrix given by hand, by its complex eigenvectors."""
    A = np.array(p.couplings)
    values, vectors = np.linalg.eig(A)

    def function(f: Callable[[complex], complex]) -> Array:
        return np.real(vectors @ np.diag([f(complex(z)) for z in values]) @ np.linalg.inv(vectors))

    decay = function(lambda z: np.exp(z * h))
    span = function(lambda z: (np.exp(z * h) - 1) / z if z else h)
    spread = function(lambda z: np.sqrt(np.expm1(2 * z.real * h) / (2 * z.real * h)) if z.real else 1.0)
    return decay @ x + span @ (p.a(x, t) - A @ x) + spread @ p.b(x, t) @ dW


STEPS: dict[str, Callable[..., Array]] = {
    f.__name__.replace("_", "-"): f
    for f in (
        euler_maruyama,
        tamed_euler,
        implicit_euler,
        milstein,
        milstein_levy,
        heun,
        euler_heun,
        sra1,
        sriw1,
        platen_weak_2,
        orbit_splitting,
        full_truncation,
        log_euler,
        quadratic_exponential,
        exponential_euler,
        exponential_coupled,
    )
}
