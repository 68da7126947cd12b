"""Two-layer linear network 4 x 4 x 4: loss |U W x - V x - e|^2, 32 states, 26 noises.

x ~ N(0, I), e ~ N(0, I/4), V = diag(1, 1/2, 1/2, 1/4). One step in matmul form: G = 2 ((U W - V) Q - R) with
Q = dt I + sqrt(eta dt) N (N symmetric: variance 2 on the diagonal, 1 off it) and R = sqrt(eta dt)/2 of 16
normals; U -= G W', W -= U' G. The charge (U'U - W W')_00 is watched.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import sympy as sp

from benchmarks.problem import Problem, Race, Rival
from symbolic import SGD, Loss, Normal, parameters

SIZE, ETA = 4, 0.01
TARGET = np.diag([1.0, 0.5, 0.5, 0.25])
SKEW = np.array([[0.05 * (i - j) for j in range(SIZE)] for i in range(SIZE)])


def symmetric_basis(size: int) -> np.ndarray:
    """(size (size + 1)/2, size, size): independent normals times these sum to a symmetric matrix whose entries
    have variance 2 on the diagonal and 1 off it, the covariance of x x'.
    """
    rows, columns = np.triu_indices(size)
    basis = np.zeros((len(rows), size, size))
    for k, (i, j) in enumerate(zip(rows, columns, strict=True)):
        basis[k, i, j] = basis[k, j, i] = np.sqrt(2.0) if i == j else 1.0
    return basis


BASIS = symmetric_basis(SIZE)
SYMMETRIC, WIDE = len(BASIS), SIZE * SIZE


class Factorization(Problem):
    """Paths last, (4, 4, n), products written as sums over the inner index: how it runs fastest of what was tried in
    JAX.
    """

    name = "factorization 4x4x4"
    begin = (1.1 * np.eye(SIZE) + SKEW, 0.7 * np.eye(SIZE) + SKEW)
    noises = draws = SYMMETRIC + WIDE
    dt = 0.01
    paths = 4_096
    constants = {
        "mix": ETA**0.5 * BASIS.reshape(SYMMETRIC, WIDE).T,
        "target": TARGET,
        "unit": np.eye(SIZE),
    }
    mix: Any
    target: Any
    unit: Any

    def product(self, a: Any, b: Any) -> Any:
        """a @ b over the first two axes."""
        terms = [a[:, j, None] * b[None, j] for j in range(SIZE)]
        return sum(terms[1:], terms[0])

    def moved(self, U: Any, W: Any, Q: Any, R: Any) -> tuple[Any, Any]:
        """-G W', -U' G for G = 2 (U W - V) Q - R."""
        target = self.target.reshape(SIZE, SIZE, *(1,) * (U.ndim - 2))
        G = R - 2 * self.product(self.product(U, W) - target, Q)
        return self.product(G, W.swapaxes(0, 1)), self.product(U.swapaxes(0, 1), G)

    def inputs(self, xi: Any, scale: float) -> tuple[Any, Any]:
        """The noise in Q and R."""
        shape = (SIZE, SIZE, *xi.shape[1:])
        Q = (scale * self.mix) @ xi[:SYMMETRIC]
        return Q.reshape(shape), (scale * ETA**0.5) * xi[SYMMETRIC:].reshape(shape)

    def _one(self, U: Any) -> Any:
        return self.unit.reshape(SIZE, SIZE, *(1,) * (U.ndim - 2))

    def _joined(self, U: Any, W: Any) -> Any:
        return self.xp.concatenate([U.reshape(WIDE, *U.shape[2:]), W.reshape(WIDE, *W.shape[2:])])

    def drift(self, flat: Any) -> Any:
        U, W = self.split(flat)
        return self._joined(*self.moved(U, W, self._one(U), 0))

    def diffuse(self, flat: Any, xi: Any) -> Any:
        return self._joined(*self.moved(*self.split(flat), *self.inputs(xi, 1.0)))

    def charge(self, U: Any, W: Any) -> Any:
        return (U[:, 0] ** 2).sum(0) - (W[0] ** 2).sum(0)

    def step(self, parts: tuple[Any, ...], xi: Any) -> tuple[Any, ...]:
        U, W = parts
        Q, R = self.inputs(xi, self.dt**0.5)
        du, dw = self.moved(U, W, Q + self.dt * self._one(U), R)
        return U + du, W + dw

    def ours(self) -> dict[str, Any]:
        p = parameters(U=(SIZE, SIZE), W=(SIZE, SIZE))
        U, W = p
        x, e = (sp.Matrix(sp.symbols(f"{s}:{SIZE}", real=True)) for s in "xe")
        miss = U * (W * x) - sp.Matrix(SIZE, SIZE, lambda i, j: sp.Rational(TARGET[i, j])) * x - e
        law = {s: Normal(0, 1) for s in x} | {s: Normal(0, sp.Rational(1, 2)) for s in e}
        loss = Loss(sp.Add(*(r**2 for r in miss)), parameters={"U": U, "W": W}, data=law, name="factorization")
        start = dict(zip(("U", "W"), self.begin, strict=True))
        charge = (U.T * U - W * W.T)[0, 0]
        return {"problem": loss, "sgd": SGD(learning_rate=ETA), "start": start, "charge": charge}


class Matmul(Factorization):
    """Paths first, (n, 4, 4), batched `@`: how one writes it."""

    paths_last = False

    def step(self, parts: tuple[Any, ...], xi: Any) -> tuple[Any, ...]:
        U, W = parts
        size = (ETA * self.dt) ** 0.5
        Q = (xi[:, :SYMMETRIC] @ (self.dt**0.5 * self.mix.T)).reshape(-1, SIZE, SIZE) + self.dt * self.unit
        G = 2 * ((U @ W - self.target) @ Q) - size * xi[:, SYMMETRIC:].reshape(-1, SIZE, SIZE)
        return U - G @ W.swapaxes(1, 2), W - U.swapaxes(1, 2) @ G


RACE = Race(
    Factorization(),
    (
        Rival("jax.lax.scan, matmul", "scan", "plain", 256, {"float32": 20, "float64": 20}, Matmul()),
        Rival("jax.lax.scan, paths last, a device per core", "scan", "sharded", 2_048),
        Rival("NumPy over paths, matmul", "arrays", "euler", 512, problem=Matmul()),
        Rival("NumPy over paths, paths last", "arrays", "euler", 512),
        Rival("diffrax Euler, UnsafeBrownianPath", "diffrax_euler", "euler", 256),
        Rival("torchsde euler", "torchsde_euler", "euler", 256),
        Rival("sdeint itoEuler", "sdeint_euler", "euler", 2),
    ),
)
