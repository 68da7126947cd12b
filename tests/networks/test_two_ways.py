"""One model written twice, as an expression and as a torch module: the same charges, classes and drifts."""

import numpy as np
import pytest
import sympy as sp
import torch
from torch import nn
from torch.nn import functional as F

from sde.networks import covariance_traces, symmetries
from symbolic import SGD, Dataset, Loss, derive
from symbolic.functions.activations import relu
from symbolic.problem.parameter import entries

ROWS = 30
POINTS = np.random.default_rng(0).normal(size=(ROWS, 3))


def array(symbols):
    return sp.ImmutableDenseNDimArray(symbols)


def units(shape, x, bias=True):
    """W x + b and the parameters {W, b}; torch's names are made of them."""
    W, b = entries("W", shape), entries("b", shape[:1])
    return (W @ x + b, {"W": W, "b": b}) if bias else (W @ x, {"W": W})


def relu_network():
    x, y = entries("x", (3,)), entries("y", (1,))
    h, own = units((2, 3), x)
    V, c = entries("V", (1, 2)), entries("c", (1,))
    out = V @ np.array([relu(s) for s in h]) + c
    model = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1))
    names = {"W": "0.weight", "b": "0.bias", "V": "2.weight", "c": "2.bias"}
    return ((out - y) ** 2).sum(), {**own, "V": V, "c": c}, {"x": x, "y": y}, model, names, "mse"


def factorisation():
    x, y = entries("x", (3,)), entries("y", (2,))
    h, own = units((2, 3), x, bias=False)
    V = entries("V", (2, 2))
    model = nn.Sequential(nn.Linear(3, 2, bias=False), nn.Linear(2, 2, bias=False))
    names = {"W": "0.weight", "V": "1.weight"}
    return ((V @ h - y) ** 2).sum(), {**own, "V": V}, {"x": x, "y": y}, model, names, "mse"


class Normalised(nn.Module):
    """c . W x / |W|, W as a whole."""

    def __init__(self):
        super().__init__()
        self.W, self.c = nn.Parameter(torch.randn(2, 3)), nn.Parameter(torch.randn(1, 2))

    def forward(self, x):
        return x @ (self.W / self.W.norm()).T @ self.c.T


def normalised():
    x, y = entries("x", (3,)), entries("y", (1,))
    h, own = units((2, 3), x, bias=False)
    c = entries("c", (1, 2))
    out = c @ h / sp.sqrt(sum(v**2 for v in own["W"].ravel()))
    return ((out - y) ** 2).sum(), {**own, "c": c}, {"x": x, "y": y}, Normalised(), {"W": "W", "c": "c"}, "mse"


def classifier():
    x, y = entries("x", (3,)), entries("y", (3,))
    z, own = units((3, 3), x)
    value = sp.log(sp.Add(*(sp.exp(s) for s in z))) - y @ z
    return value, own, {"x": x, "y": y}, nn.Linear(3, 3), {"W": "weight", "b": "bias"}, "cross_entropy"


MODELS = {"relu": relu_network, "factorisation": factorisation, "norm": normalised, "classes": classifier}


def each(kind):
    if kind == "mse":
        return lambda out, y: ((out - y) ** 2).sum(1)
    return lambda out, y: F.cross_entropy(out, y, reduction="none")


@pytest.mark.parametrize("name", MODELS)
def test_both_ways_give_the_same(name):
    """The same span of fields; drifts 1e-9 equal at a random point; the same class where a charge is one of ours."""
    torch.manual_seed(1)
    value, own, data, model, names, kind = MODELS[name]()
    model = model.double()
    rng, size = np.random.default_rng(2), len(data["y"])
    labels = rng.integers(0, size, ROWS)
    target = np.eye(size)[labels] if kind == "cross_entropy" else rng.normal(size=(ROWS, size))
    theory = derive(Loss(value, own, Dataset({array(data["x"]): POINTS, array(data["y"]): target})))
    x, y = torch.tensor(POINTS), torch.tensor(labels if kind == "cross_entropy" else target)
    found = symmetries(model, x[:8], loss=kind)

    def fields(points):
        """Every charge's A theta + b at all points in one row: derived ones, found ones."""
        ours, theirs = [], []
        for point in points:
            ours.append([np.array(c.field.apply(point.tolist()), dtype=float) for c in theory.charges])
            at = {names[k]: torch.tensor(v) for k, v in theory.loss.unpack(point).items()}
            moved = [c.field(at) for c in found.exact]
            zero = {k: torch.zeros_like(v) for k, v in at.items()}
            theirs.append([theory.loss.pack({k: (zero | m)[n].numpy() for k, n in names.items()}) for m in moved])
        return np.hstack(ours), np.hstack(theirs)

    ours, theirs = fields(rng.normal(size=(6, theory.loss.dimension)))
    mix = np.linalg.lstsq(ours.T, theirs.T, rcond=None)[0].T
    np.testing.assert_allclose(mix @ ours, theirs, atol=1e-9)
    sums = all(c.noise == "frozen" for c in found.exact)  # whose products `derive` lists too
    assert np.linalg.matrix_rank(mix, tol=1e-9) == (theory.independent_charges if sums else len(theory.charges))
    assert found.independent_charges == theory.independent_charges

    point = np.concatenate([dict(model.named_parameters())[n].detach().numpy().ravel() for n in names.values()])
    drifts = np.array([c.drift_at(point, SGD(1.0)) for c in theory.charges])
    traces = covariance_traces(model, (x, y), each(kind), found.exact)
    np.testing.assert_allclose(np.asarray(traces.noise) * (1 - 1 / ROWS), mix @ drifts, rtol=1e-9, atol=1e-12)

    single = [(i, k) for i, row in enumerate(mix) if len(k := np.flatnonzero(abs(row) > 1e-9)) == 1]
    assert single
    for i, k in single:
        assert found.exact[i].noise == theory.charges[k[0]].classification
