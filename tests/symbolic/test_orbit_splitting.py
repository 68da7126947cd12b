"""Which equations only rescale their states or pairs of them, with what rates, and what one step of the splitting
keeps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy as sp

from symbolic import SDE, SGD, Dataset, Loss, Normal
from symbolic.dynamics.step_map import h, t
from symbolic.library import LIBRARY
from symbolic.problem.optimizer import warmup
from symbolic.schemes import SCHEMES, fitting, step_map
from symbolic.schemes.orbit_splitting import refuse
from symbolic.schemes.rescaling_blocks import Block, blocks

u, w, a, b, x, y, e = sp.symbols("u w a b x y e", real=True)
RESCALING = LIBRARY["rescaling"].build()


def found(sde: SDE) -> tuple[Block, ...]:
    out = blocks(sde.states, sde.drift_vector, sde.diffusion_matrix)
    assert isinstance(out, tuple)
    return out


def rebuilt(sde: SDE) -> sp.Matrix:
    """Drift and diffusion from the rates, (D, J + 1)."""
    s = sde.states
    out = sp.zeros(len(s), sde.noises + 1)
    for block in found(sde):
        other = block.members[::-1]
        for i, k in zip(block.members, other, strict=True):
            for j in range(out.cols):
                out[i, j] = block.r[j] * s[i] + block.q[j] * s[k]
    return out


def rows(count: int) -> Dataset:
    return Dataset({x: np.random.default_rng(0).normal(size=count), y: np.random.default_rng(1).normal(size=count)})


@pytest.mark.parametrize(
    ("loss", "sgd", "pairs"),
    [
        (RESCALING, SGD(0.1), [(0, 1)]),
        (RESCALING, SGD(0.07, batch_size=3, weight_decay=0.013, momentum=0.9), [(0, 1)]),
        (RESCALING, SGD(0.1, weight_decay=0.01, schedule=warmup(10.0)), [(0, 1)]),
        (Loss((u * w * x - y) ** 2 + (u * w) ** 2 * x, [u, w], rows(37)), SGD(0.1, weight_decay=0.3), [(0, 1)]),
        (Loss((sp.tanh(u * w) * x - y) ** 2, [u, w], rows(5)), SGD(0.1), [(0, 1)]),
        (
            Loss((u * w * x + a * b * y - e) ** 2, [u, a, w, b], {x: Normal(0, 1), y: Normal(1, 1), e: Normal(0, 1)}),
            SGD(0.05, weight_decay=0.1),
            [(0, 2), (1, 3)],
        ),
        (Loss((u * w + a * b - e) ** 2, [u, w, a, b], {e: Normal(0, 1)}), SGD(0.05), [(0, 1), (2, 3)]),
        (LIBRARY["diagonal-network"].build(), SGD(0.01, weight_decay=0.1), [(k,) for k in range(6)]),
        (LIBRARY["product-of-norms"].build(), SGD(0.01), [(k,) for k in range(5)]),
        (Loss((u * w * x) ** 2 + e * (u * w), [u, w], {x: Normal(0, 1), e: Normal(0, 1)}), SGD(0.1), [(0, 1)]),
    ],
)
def test_losses_are_taken_apart_exactly(loss: Loss, sgd: SGD, pairs: list[tuple[int, ...]]) -> None:
    """The rates make up drift and diffusion again, and hold no division that these do not."""
    sde = SDE.from_loss(loss, sgd)
    assert [block.members for block in found(sde)] == pairs and "orbit-splitting" in fitting(sde)
    given = sp.Matrix.hstack(sde.drift_vector, sde.diffusion_matrix)
    point = {s: sp.Rational(7 + 3 * k, 11) for k, s in enumerate(sde.states)} | {t: sp.Rational(5, 2)}
    got, expected = (np.array(m.xreplace(point).evalf(25), dtype=float) for m in (rebuilt(sde), given))
    assert got == pytest.approx(expected, rel=1e-13, abs=1e-15)
    zero = dict.fromkeys(sde.states, sp.S.Zero)
    if loss.name == "rescaling":
        assert all(r.xreplace(zero).is_finite for block in found(sde) for r in (*block.q, *block.r) if not r.has(t))


@pytest.mark.parametrize(
    ("drift", "diffusion", "left"),
    [
        ([-u, -w], [[1, 0], [0, 1]], "u"),
        ([u, 1 - w], [[u], [0]], "w"),
        ([w, -u], [[w], [-u]], "u"),
        ([w, u], [[u * w], [w]], "u"),
        ([w * u, u**2 + sp.Rational(1, 10**9)], [[w], [u]], "u"),
        ([w / u, 1], [[0], [0]], "u"),
        ([sp.sqrt(u), 0], [[u], [w]], "u"),
    ],
)
def test_other_equations_are_refused_with_the_reason(drift: Any, diffusion: Any, left: str) -> None:
    sde = SDE([u, w], drift, diffusion)
    with pytest.raises(
        ValueError,
        match=rf"scheme: orbit-splitting needs .* \(w, u\) .*; got {left}, moved in no such way. Use one of euler",
    ):
        step_map(sde, "orbit-splitting")
    assert "orbit-splitting" not in fitting(sde)


def test_the_other_calculus_and_deeper_chains_are_refused() -> None:
    with pytest.raises(ValueError, match="orbit-splitting integrates ito equations"):
        step_map(SDE([u], [u], [[u]], "stratonovich"), "orbit-splitting")
    assert refuse(SDE.from_loss(LIBRARY["scalar-chain"].build(), SGD(0.1))) is not None
    assert refuse(SDE.from_loss(LIBRARY["matrix-factorization"].build(), SGD(0.1))) is not None


def stepped(sde: SDE, start: dict[sp.Symbol, Any], dt: float, noise: list[float]) -> list[sp.Expr]:
    """One step in 40 digits."""
    made = step_map(sde, "orbit-splitting")
    values: dict[Any, Any] = {h: sp.Rational(dt), t: sp.S.Zero, **start}
    values |= {n: sp.Rational(v) for n, v in zip(made.inputs, noise, strict=True)}
    for name, value in made.statements:
        values[name] = value.xreplace(values).evalf(40)
    return [e.xreplace(values).evalf(40) for e in made.updates]


@pytest.mark.parametrize("decay", [0.0, 0.25])
def test_the_charge_only_decays_and_no_sign_changes(decay: float) -> None:
    """p m loses a factor that does not depend on the noise; near the start exp(-(2 weight decay + 4 T C_2(v)) dt), also
    for wild noise."""
    sde = SDE.from_loss(RESCALING, SGD(0.1, weight_decay=decay))
    start = {u: sp.Rational(6, 5), w: -sp.Rational(3, 5)}
    before = start[u] ** 2 - start[w] ** 2
    v = start[u] * start[w]
    for dt in (0.5, 1e-4):
        left = []
        for noise in ([0.0, 0.0], [5.0, -2.0], [-3.0, 4.0]):
            p, m = _ends(sde, start, dt, noise)
            assert p > 0 and m > 0
            left.append(p * m / before)
        assert left[1] == pytest.approx(left[0], rel=1e-20) and left[2] == pytest.approx(left[0], rel=1e-20)
    rate = 2 * decay + 4 * 0.1 * float(2 * v**2 - 4 * v + sp.Rational(9, 4))
    assert float(-sp.log(left[0])) / 1e-4 == pytest.approx(rate, rel=1e-5)


def _ends(sde: SDE, start: dict[sp.Symbol, Any], dt: float, noise: list[float]) -> tuple[Any, Any]:
    first, second = stepped(sde, start, dt, noise)
    return first + second, first - second


def test_constant_rates_are_solved_exactly() -> None:
    q, r, s = sp.Rational(2, 5), sp.Rational(1, 3), -sp.Rational(1, 5)
    sde = SDE([u, w], [q * w + s * u, q * u + s * w], [[q * w, r * u], [q * u, r * w]])
    start, noise, dt = {u: sp.Integer(1), w: sp.Rational(1, 4)}, [0.5, -0.25], 0.5
    p, m = _ends(sde, start, dt, noise)
    for got, y0, sign in ((p, sp.Rational(5, 4), 1), (m, sp.Rational(3, 4), -1)):
        exponent = (s + sign * q - (q**2 + r**2) / 2) / 2 + sign * q / 2 - r / 4
        assert abs((got / (y0 * sp.exp(exponent))).evalf(40) - 1) < 1e-30


def test_the_limit_on_held_rates_is_of_second_order() -> None:
    """1 - limit ~ dt^2/4 sum_jk (L^j b_k)^2: dX = X^2 dW has b = X, L b = X^2. Where rates are constant there is
    none."""
    (root, inside), (_, limit) = step_map(SDE([u], [0], [[u**2]]), "orbit-splitting").statements[:2]
    assert sp.expand(inside**2 - 1 - h**2 * u**4) == 0 and limit == 1 / sp.sqrt(root)
    assert not any(
        value.has(h) and value.has(sp.sqrt) for _, value in step_map(SDE([u], [u], [[u]]), "orbit-splitting").statements
    )


def test_the_table_says_what_it_is() -> None:
    row = SCHEMES["orbit-splitting"]
    assert (row.calculus, row.noise, str(row.strong), str(row.weak)) == ("ito", "general", "1/2; additive 1", "1")
    assert row.order("strong", "commutative") == sp.Rational(1, 2)
