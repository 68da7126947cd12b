"""Counts of conservation laws that no internal seed, prime or rare pattern may change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sympy as sp

from symbolic import Bernoulli, Dataset, Loss, Normal, derive
from symbolic.evaluation import field_mixtures
from symbolic.evaluation.field_mixtures import Mixtures
from symbolic.functions.activations import relu
from symbolic.library import LIBRARY
from symbolic.problem.parameter import entries
from symbolic.symmetry import law_count as counting
from symbolic.symmetry.law_count import law_count
from tests.symbolic.losses import u, w, x, y

a, b, v = sp.symbols("a b v", real=True)
GAUSS = {x: Normal(0, 1), y: Normal(0, 1)}
SEEDS = range(100, 150)


def block(array: np.ndarray) -> sp.ImmutableDenseNDimArray:
    return sp.ImmutableDenseNDimArray(array)


def normal(*arrays: np.ndarray) -> dict[Any, Any]:
    return {block(s): Normal(0, 1) for s in arrays} | {y: Normal(0, 1)}


def one_hot(*sizes: int, joint: bool = False) -> tuple[list[np.ndarray], dict[Any, Any]]:
    """One-hot groups of these sizes on all combinations of their values; joint: as slices of one array."""
    index = np.indices(sizes).reshape(len(sizes), -1)
    columns = [np.eye(n)[k] for n, k in zip(sizes, index, strict=True)]
    target = {y: np.random.default_rng(0).uniform(1, 9, index.shape[1])}
    if joint:
        array = entries("x", (sum(sizes),))
        return np.split(array, np.cumsum(sizes)[:-1]), {block(array): np.concatenate(columns, axis=1)} | target
    arrays = [entries(f"x{k}", (n,)) for k, n in enumerate(sizes)]
    return arrays, {block(s): c for s, c in zip(arrays, columns, strict=True)} | target


def cosine(p: np.ndarray, q: np.ndarray) -> sp.Expr:
    return (p @ q) / (sp.sqrt(p @ p) * sp.sqrt(q @ q))


def two_towers(rows: int, shared: bool = False) -> Loss:
    """(cos(W x, V z) - y)^2."""
    W, V = entries("W", (rows, 2)), entries("V", (rows, 2))
    X, Z = entries("x", (2,)), entries("z", (2,))
    parameters = {"W": W} if shared else {"W": W, "V": V}
    return Loss((cosine(W @ X, (W if shared else V) @ Z) - y) ** 2, parameters, normal(X, Z))


def rms_norm() -> Loss:
    """(c.(W x)/|W x| - y)^2."""
    W, c, X = entries("W", (2, 2)), entries("c", (2,)), entries("x", (2,))
    h = W @ X
    return Loss((c @ h / sp.sqrt(h @ h) - y) ** 2, {"W": W, "c": c}, normal(X))


def embedding(categories: int, width: int) -> Loss:
    """(c.(E x) - y)^2, x one-hot."""
    (X,), data = one_hot(categories)
    E, c = entries("E", (width, categories)), entries("c", (width,))
    return Loss((c @ (E @ X) - y) ** 2, {"E": E, "c": c}, Dataset(data))


def glove(words: int, width: int, joint: bool = False) -> Loss:
    """(w_i.c_j + b_i + d_j - log X_ij)^2."""
    (X, Z), data = one_hot(words, words, joint=joint)
    W, C = entries("W", (words, width)), entries("C", (words, width))
    p, q = entries("p", (words,)), entries("q", (words,))
    count = sp.Symbol("X", positive=True)
    data[count] = data.pop(y)
    model = (X @ W) @ (Z @ C) + X @ p + Z @ q
    return Loss((model - sp.log(count)) ** 2, {"W": W, "C": C, "p": p, "q": q}, Dataset(data))


def three_tables(sizes: tuple[int, int, int]) -> Loss:
    """(sum_h A_h(i) B_h(j) C_h(k) - y)^2 over three one-hot groups, width 1."""
    groups, data = one_hot(*sizes, joint=True)
    tables = {name: entries(name, (n,)) for name, n in zip("ABC", sizes, strict=True)}
    factors = [g @ t for g, t in zip(groups, tables.values(), strict=True)]
    return Loss((sp.Mul(*factors) - y) ** 2, tables, Dataset(data))


def attention(width: int, scale: sp.Expr) -> Loss:
    """One head on two tokens, scores divided by `scale`."""
    Q, K, V = (entries(name, (width, width)) for name in "QKV")
    X, Y = entries("x", (2, width)), entries("Y", (width,))
    scores = (X @ Q.T)[0] @ (X @ K.T).T / scale
    weights = [sp.exp(s) / sp.Add(*map(sp.exp, scores)) for s in scores]
    out = weights[0] * (X @ V.T)[0] + weights[1] * (X @ V.T)[1]
    squares = sp.Add(*((o - t) ** 2 for o, t in zip(out, Y, strict=True)))
    return Loss(squares, {"Q": Q, "K": K, "V": V}, {block(X): Normal(0, 1), block(Y): Normal(0, 1)})


def relus(*units: sp.Expr, parameters: list[sp.Symbol]) -> Loss:
    return Loss((sp.Add(*units) - y) ** 2, parameters, GAUSS)


CASES: dict[str, tuple[Callable[[], Loss], int]] = {
    "cosine": (lambda: two_towers(2), 2),
    "cosine of three rows": (lambda: two_towers(3), 2),
    "cosine of one matrix": (lambda: two_towers(2, shared=True), 1),
    "rms norm": (rms_norm, 1),
    "hyperbola": (lambda: Loss((w * sp.sqrt(1 + (u * x) ** 2) - y) ** 2, [u, w], GAUSS), 0),
    "40 categories": (lambda: embedding(40, 2), 3),
    "30 categories, width 3": (lambda: embedding(30, 3), 6),
    "two groups": (lambda: glove(6, 4), 11),
    "two groups in one array": (lambda: glove(6, 4, joint=True), 11),
    "two groups, width 1": (lambda: glove(5, 1), 2),
    "three groups": (lambda: three_tables((5, 4, 3)), 2),
    "doubled kink": (lambda: relus(a * relu(w * x), b * relu(2 * w * x), parameters=[a, b, w]), 2),
    "irrational multiple": (lambda: relus(a * relu(w * x), b * relu(sp.sqrt(3) * w * x), parameters=[a, b, w]), 2),
    "kink in a kink": (lambda: relus(a * relu(3 * relu(w * x) / 2), b * relu(w * x), parameters=[a, b, w]), 2),
    "always open": (lambda: relus(a * relu(w**2 + 1), b * w * x, parameters=[a, b, w]), 0),
    "attention over sqrt(3)": (lambda: attention(2, sp.sqrt(3)), 3),
    "attention over sqrt(5)": (lambda: attention(2, sp.sqrt(5)), 3),
    "golden attention": (lambda: attention(2, sp.GoldenRatio), 3),
    "attention over a cube root": (lambda: attention(2, sp.Integer(7) ** sp.Rational(1, 3)), 3),
}
"""Losses and their number of laws, argued in the tests below."""


def counted(name: str) -> int | None:
    return derive(CASES[name][0]()).conservation_laws


def float_laws(loss: Loss) -> int:
    """D less the rank of gradients and of their brackets [X, Y] = H_Y X - H_X Y at a real point, from SymPy's
    derivatives in floats: no prime, no jets; an upper bound on the laws."""
    rng, theta, n = np.random.default_rng(5), list(loss.theta), 3 * loss.dimension
    gradient = [sp.diff(loss.expression, s) for s in theta]
    hessian = [[sp.diff(g, s) for s in theta] for g in gradient]
    value = sp.lambdify([theta, list(loss.z)], [gradient, hessian], "numpy", cse=True)
    at, rows = rng.standard_normal(loss.dimension), []
    for _ in range(n):
        (g, h), (k, m) = (map(np.array, value(at, rng.standard_normal(len(loss.z)))) for _ in range(2))
        rows += [g, k, m @ g - h @ k]
    rows = np.array(rows) / np.linalg.norm(rows, axis=1, keepdims=True)
    return loss.dimension - int((np.linalg.svd(rows, compute_uv=False) > 1e-7).sum())


@pytest.mark.parametrize(
    "name",
    [
        "cosine",
        "cosine of three rows",
        pytest.param("cosine of one matrix", marks=pytest.mark.slow),
        "rms norm",
        "hyperbola",
    ],
)
def test_laws_count_with_square_roots_of_data(name: str) -> None:
    """cos(W x, V z) allows a scale of W and one of V, so that |W|^2 and |V|^2 are laws (one with a single matrix), and
    c.(W x)/|W x| one of W: the laws are at least these. The hyperbola's slopes in w and u are different functions of x:
    none. That there are no more is seen in floats, but for the largest."""
    loss, laws = CASES[name][0](), CASES[name][1]
    assert name == "cosine of three rows" or float_laws(loss) == laws
    assert derive(loss).conservation_laws == laws
    assert {law_count(loss, 0, seed) for seed in range(2)} == {laws}, "without the hint that charges give"


@pytest.mark.parametrize("name", ["40 categories", "30 categories, width 3", "two groups, width 1", "three groups"])
def test_laws_count_with_rare_patterns(name: str) -> None:
    """c.(E x) over one-hot x is the factorisation E^T c of rank `width`, all of whose rows occur: r(r + 1)/2 laws (r at
    most columns and rows). A product of three tables keeps |A|^2 - |B|^2 and |B|^2 - |C|^2; two of them and biases
    |w|^2 - |c|^2 and the sum of one bias less that of the other."""
    assert counted(name) == CASES[name][1]


def test_every_pattern_takes_part_in_a_combination() -> None:
    fields = Mixtures(embedding(40, 2))
    labels = fields.draw(1).rest[fields.labels]
    assert labels.sum(axis=0).tolist() == [1] * fields.width
    assert labels.any(axis=1).all()


@pytest.mark.parametrize("name", [n for n in CASES if "kink" in n or n in ("irrational multiple", "always open")])
def test_laws_count_with_patterns_that_cannot_occur(name: str) -> None:
    """relu(w x) and relu(c w x), c > 0, are open together, and relu(3/2 relu(w x)) with relu(w x): where they are, the
    loss sees (a + c b) w alone, one function of three parameters whose gradient's multiples are closed: 2 laws, those
    of the charges. relu(w^2 + 1) never shuts: there are the fields of a (w^2 + 1) and of b w, (w^2 + 1, 0, 2 a w) and
    (0, w, b), and their bracket (-2 b w, 2 a w, -2 a b) is none of their combinations: no law."""
    theory = derive(CASES[name][0]())
    assert theory.conservation_laws == theory.independent_charges == CASES[name][1]


def test_linearly_dependent_kinks_open_as_they_can() -> None:
    """Of relu(w x), relu(v x) and relu((w + v) x) the third is open where the first two are, and shut where both are
    shut."""
    c = sp.Symbol("c", real=True)
    loss = relus(a * relu(w * x), b * relu(v * x), c * relu((w + v) * x), parameters=[a, b, c, w, v])
    sides = Mixtures(loss).draw(50).gates
    assert sides is not None
    first, second, both = sides[[0, 2, 4]] if len(sides) == 6 else sides
    assert not ((first == 1) & (second == 1) & (both == 0)).any()
    assert not ((first == 0) & (second == 0) & (both == 1)).any()


def test_kinks_in_parameters_alone_do_not_hang_on_a_seed() -> None:
    """(relu(u) w x - y)^2 keeps u^2 - w^2 where u > 0, and moves nothing where u < 0: laws that hold everywhere, one.
    (c.relu(E x))^2 with one-hot x likewise has the laws of its open entries, c^2 less a row's squares."""
    (X,), data = one_hot(5)
    E, c = entries("E", (2, 5)), entries("c", (2,))
    rows = Loss((c @ np.array([relu(s) for s in E @ X]) - y) ** 2, {"E": E, "c": c}, Dataset(data))
    for loss, laws in ((Loss((relu(u) * w * x - y) ** 2, [u, w], GAUSS), 1), (rows, 3)):
        assert {law_count(loss, 0, seed) for seed in range(2)} == {laws}


@pytest.mark.parametrize("name", [n for n in CASES if "attention" in n])
def test_laws_count_with_roots_of_constants(name: str) -> None:
    """The scale goes into K: Q Q^T - K K^T, 3 laws of width 2, whatever it is; no prime has all of these roots."""
    assert counted(name) == CASES[name][1]


def test_bits_are_patterns_too() -> None:
    """(u x m + w x n - y)^2 with dropout bits m, n: both parameters move: none; u w under one bit: u^2 - w^2."""
    m, n = sp.symbols("m n", real=True)
    bits = {m: Bernoulli(sp.Rational(1, 10)), n: Bernoulli(sp.Rational(1, 2))} | GAUSS
    assert derive(Loss((u * x * m + w * x * n - y) ** 2, [u, w], bits)).conservation_laws == 0
    assert derive(Loss((u * w * x * m - n * y) ** 2, [u, w], bits)).conservation_laws == 1


@pytest.mark.parametrize("name", ["two groups", "two groups in one array"])
def test_two_one_hot_groups_are_proved_at_any_size(name: str) -> None:
    """gl(4) turns words and contexts (10 symmetric); the shift t = (1, -1) of the biases times any affine function, of
    which t and (t.theta) t are symmetric; and shears w -> w + s that the biases undo: 16 + 61 + 8 = 85."""
    theory = derive(CASES[name][0]())
    assert (theory.loss.dimension, theory.algebra.dimension, theory.algebra.symmetric) == (60, 85, 12)
    assert (theory.independent_charges, theory.conservation_laws, theory.certificate.status) == (11, 11, "proved")


def test_groups_of_labels_are_proved_in_one_array_and_with_gaps() -> None:
    """Three tables A_i B_j C_k from one array of 12 columns, and the same where i = j never occurs: A_i B_j C_k still
    rescales. Where only the pairs (0, 0) and (1, 1) occur, each has a scale of its own: A_i -> s_i A_i, B_i -> B_i/s_i.
    """
    theory = derive(three_tables((5, 4, 3)))
    assert (theory.algebra.dimension, theory.certificate.status) == (2, "proved")
    table = entries("x", (4,))
    A, B = entries("A", (2,)), entries("B", (2,))
    rows = np.array([[1, 0, 1, 0], [0, 1, 0, 1]])
    paired = Loss(
        ((table[:2] @ A) * (table[2:] @ B) - y) ** 2, {"A": A, "B": B}, Dataset({block(table): rows, y: [1, 2]})
    )
    theory = derive(paired)
    assert (theory.algebra.dimension, theory.algebra.symmetric, theory.certificate.status) == (2, 2, "proved")


def test_a_count_below_the_charges_is_a_defect() -> None:
    with pytest.raises(RuntimeError, match="defect"):
        counting.law_count(LIBRARY["rescaling"].build(), 2)


@pytest.mark.parametrize("name", ["cosine", "two groups, width 1", "doubled kink", "attention over sqrt(3)"])
def test_laws_do_not_hang_on_a_seed(name: str) -> None:
    """docs/theory.md eq. (2.5)."""
    loss = CASES[name][0]()
    assert {law_count(loss, 0, seed) for seed in SEEDS[:4]} == {CASES[name][1]}


@pytest.mark.slow
@pytest.mark.parametrize("name", [*CASES, *LIBRARY])
def test_laws_are_the_same_for_fifty_seeds(name: str) -> None:
    """docs/theory.md eq. (2.5)."""
    loss = CASES[name][0]() if name in CASES else LIBRARY[name].build()
    theory = derive(loss)
    laws = theory.conservation_laws
    assert name not in CASES or laws == CASES[name][1]
    assert {law_count(loss, theory.independent_charges, seed) for seed in SEEDS} == {laws}


def test_brackets_are_taken_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """All steps of a tape are held at once, so the points of a call are bounded: they grew with D, to 337 MiB."""
    monkeypatch.setattr(field_mixtures, "HELD", 64)
    W, c, X = entries("W", (6, 3)), entries("c", (6,)), entries("x", (3,))
    hidden = np.array([relu(h) for h in W @ X])
    mixtures = Mixtures(Loss((c @ hidden - y) ** 2, {"W": W, "c": c}, normal(X)))
    points, gradient = [], mixtures.fields.gradient

    def seen(rest: np.ndarray, theta: Any, gates: Any) -> Any:
        points.append(theta[0].data.size)
        return gradient(rest, theta, gates)

    monkeypatch.setattr(mixtures.fields, "gradient", seen)
    assert mixtures.brackets(2, 30).shape == (30, 24)
    assert max(points) <= 64
