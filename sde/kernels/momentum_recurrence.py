"""What steps of SGD with momentum make of quadratic forms of parameters and momentum: docs/theory.md eqs. (11.1) to
(11.4), step by step."""

from functools import cache
from typing import Any

import numpy as np

from .machine_code import kernel

LR, MOMENTUM, DAMPENING, DECAY, SHRINK, SIGN, LOOSE, AHEAD = range(8)
"""Columns of settings: DECAY of the coupled kind; SHRINK: theta' = SHRINK theta - LR u; LOOSE: vv is of the gradient,
no momentum is kept; AHEAD: Nesterov."""


def _advance(settings, block, vv, gg, gv, x, y, state):
    for p in range(len(block)):
        square, momentum, line, line_momentum = state[0, p], state[1, p], state[2, p], state[3, p]
        for k in range(len(settings)):
            s = settings[k, block[p]]
            lr, beta, damping, lam, rho = s[LR], s[MOMENTUM], s[DAMPENING], s[DECAY], s[SHRINK]
            a, b = x[k, p] + lam * square, y[k, p] + lam * line
            m, n = beta * momentum + (1 - damping) * a, beta * line_momentum + (1 - damping) * b
            along, along_line, outer, inner = m, n, vv[k, p], vv[k, p]
            if s[LOOSE] != 0:
                outer = inner = vv[k, p] + 2 * lam * x[k, p] + lam**2 * square
            if s[AHEAD] != 0:
                hh, hv = gg[k, p] + 2 * lam * x[k, p] + lam**2 * square, s[SIGN] * gv[k, p] + lam * m
                along, along_line = a + beta * m, b + beta * n
                outer, inner = hh + 2 * beta * hv + beta**2 * vv[k, p], hv + beta * vv[k, p]
            square = rho**2 * square - 2 * lr * rho * along + lr**2 * outer
            momentum = rho * m - lr * inner
            line = rho * line - lr * along_line
            line_momentum = n
        state[0, p], state[1, p], state[2, p], state[3, p] = square, momentum, line, line_momentum


@cache
def _compiled() -> Any:
    two = np.empty((0, 0))
    return kernel(_advance, np.empty((0, 0, 0)), np.empty(0, np.int64), two, two, two, two, two, two)


def advance(
    settings: np.ndarray,
    block: np.ndarray,
    products: tuple[np.ndarray, ...],
    linear: tuple[np.ndarray, ...],
    state: Any,
) -> None:
    """Take steps in place. settings (steps, blocks, 8); block (parts,) int64, of each part; products: vv, gg, gv,
    linear: theta^T A g and b^T g, (steps, parts) each; state (4, parts): theta^T A theta, theta^T A v, b^T theta, b^T
    v."""
    _compiled()(settings, block, *products, *linear, state)
