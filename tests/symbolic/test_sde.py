"""Any SDE: noise classes found symbolically, both calculi, parameters, traced functions, a loss's own SDE, and what is
refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import sympy as sp

from symbolic import SDE, SGD, Dataset, Loss, Normal, derive
from symbolic.errors import InputError
from symbolic.library import LIBRARY
from symbolic.problem.optimizer import warmup
from symbolic.schemes import SCHEMES, find, fitting, for_step, step_map

X, Y, s, mu, sigma = sp.symbols("X Y s mu sigma", real=True)


@pytest.mark.parametrize(
    ("diffusion", "kind"),
    [
        ([[1, 0], [2, s]], "additive"),
        ([[mu], [s]], "additive"),
        ([[X], [Y]], "scalar"),
        ([[X, 0], [0, Y**2]], "diagonal"),
        ([[sp.sin(X) * mu, 0], [0, sp.exp(Y)]], "diagonal"),
        ([[X, -Y], [Y, X]], "commutative"),
        ([[X, 2 * X], [3 * Y, Y]], "commutative"),
        ([[X * sp.sin(Y), X * (1 - 2 * sp.sin(Y / 2) ** 2)], [0, 0]], "commutative"),
        ([[Y, 0], [0, X]], "general"),
        ([[X, Y], [0, 1]], "general"),
        ([[1, 0], [0, X]], "general"),
    ],
)
def test_noise_class(diffusion: Any, kind: str) -> None:
    assert SDE([X, Y], [0, 0], diffusion, time=s, parameters=[mu]).noise_class == kind


def test_a_scheme_takes_narrower_noise_too() -> None:
    classes = {
        "additive": SDE([X, Y], [0, 0], [[1, 2], [0, 1]]),
        "scalar": SDE([X, Y], [0, 0], [[X], [Y]]),
        "diagonal": SDE([X, Y], [0, 0], [[X, 0], [0, Y]]),
        "commutative": SDE([X, Y], [0, 0], [[X, -Y], [Y, X]]),
        "general": SDE([X, Y], [0, 0], [[Y, 0], [0, X]]),
    }
    found = {
        name: {k for k in ("milstein", "sra1", "sriw1", "milstein-levy") if k in fitting(sde)}
        for name, sde in classes.items()
    }
    assert found == {
        "additive": {"milstein", "sra1", "milstein-levy"},
        "scalar": {"milstein", "sriw1", "milstein-levy"},
        "diagonal": {"milstein", "sriw1", "milstein-levy"},
        "commutative": {"milstein", "milstein-levy"},
        "general": {"milstein-levy"},
    }


def test_conversion_between_the_calculi() -> None:
    """Kloeden and Platen 1992, eq. 4.9.11, by hand for two states and two noises; there and back is the identity."""
    sde = SDE([X, Y], [X, s], [[X * Y, Y], [s * Y, X**2]], time=s)
    other = sde.to("stratonovich")
    correction = [(Y * X * Y + X * s * Y + 0 + X**2) / 2, (s * s * Y + 2 * X * Y) / 2]
    expected = [X - correction[0], s - correction[1]]
    shown = [e.xreplace({t: s}) for e, t in ((e, next(iter(e.free_symbols - {X, Y}))) for e in other.drift_vector)]
    assert all(sp.expand(a - b) == 0 for a, b in zip(shown, expected, strict=True))
    assert other.interpretation == "stratonovich" and other.diffusion_matrix == sde.diffusion_matrix
    back = other.to("ito")
    assert all(sp.expand(a - b) == 0 for a, b in zip(back.drift_vector, sde.drift_vector, strict=True))
    assert sde.to("ito") is sde
    with pytest.raises(ValueError, match="must be 'ito' or 'stratonovich'"):
        sde.to("backward")


def test_functions_are_traced() -> None:
    A = np.array([[0, 1], [-2, 0]])
    traced = SDE(["X", "Y"], lambda x, t: A @ x + sp.cos(t), lambda x, t: np.diag(x) * t)
    written = SDE([X, Y], [Y + sp.cos(s), -2 * X + sp.cos(s)], [[X * s, 0], [0, Y * s]], time=s)
    assert traced.drift_vector == written.drift_vector and traced.diffusion_matrix == written.diffusion_matrix
    assert str(traced.time) == "t" and traced.noise_class == "diagonal"
    assert SDE(["t"], lambda x, _: [-x[0]], [[1]]).time is None


def test_parameters_stay_symbols_in_the_step() -> None:
    sde = SDE([X], [mu * X], [[sigma]], parameters=[mu, sigma])
    assert step_map(sde, "euler-maruyama").parameters == (mu, sigma)


@pytest.mark.parametrize("name", ["rescaling", "matrix-factorization"])
def test_a_losss_own_sde_has_the_gradient_and_its_covariance(name: str) -> None:
    loss = LIBRARY[name].build()
    theta = loss.pack(dict(LIBRARY[name].start))
    sgd, theory = SGD(0.05, 4, weight_decay=0.1, momentum=0.5), derive(loss)
    sde = SDE.from_loss(loss, sgd)
    at = dict(zip(loss.theta, map(sp.Float, theta), strict=True))
    drift = np.array(sde.drift_vector.xreplace(at).tolist(), dtype=float)[:, 0]
    b = np.array(sde.diffusion_matrix.xreplace(at).tolist(), dtype=float)
    assert drift == pytest.approx(-2 * (theory.mean_gradient(theta) + 0.1 * theta), rel=1e-12, abs=1e-12)
    assert b @ b.T == pytest.approx(4 * 0.05 / 4 * theory.sigma(theta), rel=1e-10, abs=1e-12)
    assert sde.parts == loss.parameters


def test_a_losss_schedule_and_rows() -> None:
    x, y = sp.symbols("x y", real=True)
    loss = Loss((X * x - y) ** 2, [X], Dataset({x: [1.0, 2.0, 4.0], y: [0.0, 1.0, 1.0]}))
    with_, without = (SDE.from_loss(loss, SGD(0.1, 2, replacement=r, schedule=warmup(2.0))) for r in (True, False))
    ratio = sp.simplify(without.diffusion_matrix[0] ** 2 + without.diffusion_matrix[1] ** 2) / sp.simplify(
        with_.diffusion_matrix[0] ** 2 + with_.diffusion_matrix[1] ** 2
    )
    assert float(ratio.xreplace({s: sp.Rational(1, 2) for s in ratio.free_symbols})) == pytest.approx(0.5)
    assert with_.drift_vector.has(sp.Min)


def test_levy_terms_follow_the_step() -> None:
    general, commuting = SDE([X, Y], [0, 0], [[Y, 0], [0, X]]), SDE([X], [0], [[X]])
    assert [for_step(general, "milstein-levy", dt) for dt in (0.5, 0.125, 1 / 64)] == [
        "milstein-levy:1",
        "milstein-levy:2",
        "milstein-levy:16",
    ]
    assert for_step(general, "milstein-levy:7", 0.1) == "milstein-levy:7"
    assert for_step(commuting, "milstein-levy", 1e-6) == "milstein-levy:1"
    assert for_step(general, "heun", 1e-6) == "heun"
    with pytest.raises(InputError, match="at most 64; got dt = 0.001.*'milstein-levy:64'"):
        for_step(general, "milstein-levy", 0.001)
    for wrong in ("milstein-levy:0", "milstein-levy:x", "milstein-levy:1001"):
        with pytest.raises(ValueError, match="takes 1 to 1000 terms"):
            find(wrong)
    with pytest.raises(ValueError, match="scheme: must be one of"):
        find("heun:3")


def test_levy_areas_have_their_variance() -> None:
    """E A_12^2 = dt^2/4 less what is left out, dt^2/(4 (2n + 1)); and A_12 = -A_21."""
    noise = SCHEMES["milstein-levy"].noise_inputs(2, 5)
    integrals = noise.integrals
    area = sp.expand(integrals[0, 1] - (integrals[0, 1] + integrals[1, 0]) / 2)
    variance = sum(c**2 for c in sp.Poly(area, *noise.inputs).coeffs())
    assert variance == sp.Rational(1, 4) - sp.Rational(1, 4 * 11)
    assert sp.expand(integrals[0, 1] + integrals[1, 0] - noise.inputs[0] * noise.inputs[1]) == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SDE([X, sp.Symbol("X")], [0, 0], [[1], [1]]), "a name may stand for one thing only; got 'X' twice"),
        (lambda: SDE([X], [0], [[1]], parameters=[sp.Symbol("X")]), "got 'X' twice"),
        (lambda: SDE([X], [0], [[1]], time=X), "got 'X' twice"),
        (lambda: SDE(["X", "X"], [0, 0], [[1], [1]]), "states: must be distinct"),
        (lambda: SDE([X], [0], [[1]], parameters=["mu"]), "SDE.parameters: must be symbols"),  # type: ignore[list-item]
        (lambda: SDE([X], [mu * X], [[1]]), r"got \['mu'\] besides.*parameters="),
        (lambda: SDE([X], [sp.nan], [[1]]), "SDE.drift: entries must be real and finite; got nan"),
        (lambda: SDE([X], [X / sp.Integer(0)], [[1]]), "SDE.drift: entries must be real and finite"),
        (lambda: SDE([X], [0], [[sp.I]]), "SDE.diffusion: entries must be real"),
        (lambda: SDE([X], ["-X"], [[1]]), "SDE.drift: entries must be SymPy expressions or numbers; got '-X'"),
        (lambda: SDE([X], X, [[1]]), "SDE.drift: must be a list with one entry per state"),  # type: ignore[arg-type]
        (lambda: SDE([X], lambda x, t: [math.sin(x[0])], [[1]]), "called as f.x, t.*not math.sin"),
        (lambda: SDE([X], lambda x, t: np.sin(x), [[1]]), "SDE.drift: a function is called"),
        (lambda: SDE([X], lambda x, t: [x[0] if x[0] > 0 else 0], [[1]]), "sympy.Piecewise"),
        (lambda: SDE([X], lambda x: [x[0]], [[1]]), "called as f.x, t."),  # type: ignore[misc]
        (
            lambda: SDE([X, Y], [0, 0], lambda x, t: x),
            r"must be rows, one per state.*Write \[\[X\], \[Y\]\] for one noise",
        ),
        (lambda: SDE([X], lambda x, t: [x[0], 1], [[1]]), r"SDE.drift: must have one entry per state \(1\); got 2"),
        (
            lambda: SDE.from_loss(Loss((sp.tanh(X * s) - 1) ** 2, [X], {s: Normal(0, 1)}), SGD(0.1)),
            "SDE.from_loss: needs the diffusion as a formula",
        ),
    ],
)
def test_what_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("sde", "scheme", "message"),
    [
        (
            SDE([X, Y], [0, 0], [[Y, 0], [0, X]]),
            "milstein",
            "milstein needs noises that commute.*got general noise.*milstein-levy",
        ),
        (
            SDE([X, Y], [0, 0], [[X, -Y], [Y, X]]),
            "sriw1",
            "sriw1 needs one noise, or a noise of its own for each state; got commutative",
        ),
        (SDE([X], [0], [[X]]), "sra1", "sra1 needs a diffusion that does not depend on the state; got scalar noise"),
        (SDE([X], [0], [[X]]), "heun", r"heun integrates stratonovich equations.*sde.to\('stratonovich'\)"),
        (
            SDE(sp.symbols("a:30", real=True), [-sp.sinh(sum(sp.symbols("a:30", real=True)))] * 30, [[1]] * 30),
            "implicit-euler",
            "may change 4000 entries of the drift's Jacobian.*for 30 states. Use one of euler-maruyama",
        ),
    ],
)
def test_wrong_pairings_are_refused_with_the_reason(sde: SDE, scheme: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        step_map(sde, scheme)


def test_notebooks_typeset_equations() -> None:
    t = sp.Symbol("t", real=True)
    x, y = sp.symbols("x_1 y", real=True)
    made = SDE([x, y], [-x / 2, sp.sin(t)], [[1, 0], [0, y**2]], "stratonovich", time=t)
    assert made._repr_latex_() == (
        r"$\displaystyle \begin{aligned} dx_{1} &= \left(- \frac{x_{1}}{2}\right) dt + \circ dW_{0} \\ "
        r"dy &= \left(\sin{\left(t \right)}\right) dt + \left(y^{2}\right) \circ dW_{1} \end{aligned}$"
    )
    many = sp.symbols("a:9", real=True)
    assert SDE(many, [0] * 9, [[1]] * 9)._repr_latex_().count("&=") == 6
    assert SDE([x], [0], [[0]])._repr_latex_().count("&= 0") == 1
