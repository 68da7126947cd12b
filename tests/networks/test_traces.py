"""Covariance traces from layers' factors against every sample's own gradient: docs/theory.md eq. (11.5)."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sde.networks import Charge, covariance_traces
from sde.networks.charge import Term
from sde.networks.single_samples import dense
from symbolic.errors import InputError

SAMPLES = 11


def charge(*terms):
    return Charge("C", terms, (), "rescaling", "convergent", "exact", 0.0)


def of_slices(name, axes, rows, columns, weights, other=None):
    return Term(name, other or name, axes, axes, rows, columns, weights)


def every_kind(model):
    """The whole, slices along each axis and pairs of them, single filters, of every tensor; across equal tensors."""
    out, shapes = [], {}
    for name, p in model.named_parameters():
        out.append(charge(of_slices(name, (), (0,), (0,), (1.0,))))
        for a in range(p.ndim):
            n = p.shape[a]
            out += [charge(of_slices(name, (a,), (i,), (i,), (1.0,))) for i in range(min(n, 2))]
            out += [charge(of_slices(name, (a,), (0, 1), (1, 1), (0.7, -2.0)))] if n > 1 else []
        if p.ndim > 1:
            out.append(charge(of_slices(name, (0, 1), (1,), (1,), (1.0,))))
            out.append(charge(of_slices(name, (1, 0), (1,), (1,), (1.0,))))
        if p.shape in shapes:
            out.append(charge(of_slices(shapes[p.shape], (0,), (0,), (0,), (1.0,), other=name)))
        shapes[p.shape] = name
    return out


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.norm, self.first = nn.Embedding(7, 6, padding_idx=0), nn.LayerNorm(6), nn.Linear(6, 6)
        self.rms, self.out = nn.RMSNorm(6), nn.Linear(6, 7)

    def forward(self, x):
        return self.out(self.rms(torch.tanh(self.first(self.norm(self.embed(x))))))


class Flattened(Words):
    """Its layers see tokens, not samples, along their first axis."""

    def forward(self, x):
        h = self.norm(self.embed(x))
        return self.out(self.rms(self.first(h.flatten(0, 1)))).unflatten(0, x.shape)


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.b(self.a(torch.tanh(self.a(x))))


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.out, self.mid = nn.Embedding(7, 6), nn.Linear(6, 7, bias=False), nn.Linear(6, 6)
        self.out.weight = self.embed.weight

    def forward(self, x):
        return self.out(self.mid(self.embed(x)))


class Functional(nn.Module):
    """Half of what the embedding's gradient is made of passes no layer."""

    def __init__(self):
        super().__init__()
        self.embed, self.free, self.mid = nn.Embedding(7, 6), nn.Parameter(torch.randn(6, 6)), nn.Linear(6, 6)

    def forward(self, x):
        return F.linear(self.mid(self.embed(x)) @ self.free, self.embed.weight)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attend, self.out = nn.MultiheadAttention(6, 2, batch_first=True), nn.Linear(6, 3)

    def forward(self, x):
        return self.out(self.attend(x, x, x, need_weights=False)[0])


def squares(out, y):
    return ((out - y) ** 2).flatten(1).sum(1)


def words(out, y):
    return F.cross_entropy(out.transpose(1, 2), y, reduction="none").mean(1)


def tokens():
    return torch.randint(0, 7, (SAMPLES, 5)), torch.randint(0, 7, (SAMPLES, 5))


def normal(x, y):
    return lambda: (torch.randn(SAMPLES, *x), torch.randn(SAMPLES, *y))


def stack(*layers):
    return lambda: nn.Sequential(*(layer() for layer in layers))


CASES = {
    "linear": (stack(lambda: nn.Linear(4, 5), nn.ReLU, lambda: nn.Linear(5, 3)), normal((4,), (3,)), squares),
    "linear, few places": (
        stack(lambda: nn.Linear(4, 5), nn.ReLU, lambda: nn.Linear(5, 3)),
        normal((2, 4), (2, 3)),
        squares,
    ),
    "linear, many places": (
        stack(lambda: nn.Linear(4, 5), nn.ReLU, lambda: nn.Linear(5, 3)),
        normal((9, 4), (9, 3)),
        squares,
    ),
    "conv 1": (
        stack(
            lambda: nn.Conv1d(2, 4, 3, padding=1, stride=2), nn.ReLU, lambda: nn.Conv1d(4, 6, 3, groups=2, dilation=2)
        ),
        normal((2, 11), (6, 2)),
        squares,
    ),
    "conv 2, group norm": (
        stack(
            lambda: nn.Conv2d(2, 4, 3, padding="same", padding_mode="circular"),
            lambda: nn.GroupNorm(2, 4),
            nn.ReLU,
            lambda: nn.Conv2d(4, 3, 2, stride=2),
        ),
        normal((2, 6, 6), (3, 3, 3)),
        squares,
    ),
    "conv 3, prelu": (
        stack(lambda: nn.Conv3d(1, 2, 2), lambda: nn.PReLU(2), lambda: nn.Conv3d(2, 2, 2)),
        normal((1, 4, 4, 4), (2, 2, 2, 2)),
        squares,
    ),
    "wide conv 1, dilated": (
        stack(lambda: nn.Conv1d(9, 8, 3, padding=2, dilation=2), nn.ReLU, lambda: nn.Conv1d(8, 9, 2)),
        normal((9, 7), (9, 6)),
        squares,
    ),
    "wide conv 2, any padding": (
        stack(
            lambda: nn.Conv2d(8, 9, (3, 2), padding="same", padding_mode="circular"),
            nn.ReLU,
            lambda: nn.Conv2d(9, 8, 3, padding=(1, 0), dilation=(1, 2)),
        ),
        normal((8, 5, 6), (8, 5, 2)),
        squares,
    ),
    "wide conv 3": (stack(lambda: nn.Conv3d(8, 8, (2, 1, 2))), normal((8, 3, 2, 3), (8, 2, 2, 2)), squares),
    "transposed": (
        stack(
            lambda: nn.ConvTranspose2d(2, 4, 3, stride=2, padding=1, output_padding=1, groups=2),
            nn.ReLU,
            lambda: nn.Flatten(2),
            lambda: nn.ConvTranspose1d(4, 2, 3),
        ),
        normal((2, 3, 3), (2, 38)),
        squares,
    ),
    "batch norm, eval": (
        lambda: stack(lambda: nn.Conv2d(2, 4, 3), lambda: nn.BatchNorm2d(4), nn.PReLU)().eval(),
        normal((2, 6, 6), (4, 4, 4)),
        squares,
    ),
    "instance norm": (
        stack(lambda: nn.Conv2d(2, 4, 3, bias=False), lambda: nn.InstanceNorm2d(4, affine=True), nn.PReLU),
        normal((2, 6, 6), (4, 4, 4)),
        squares,
    ),
    "embedding, layer and rms norm": (Words, tokens, words),
    "tokens along the first axis": (Flattened, tokens, words),
    "a layer twice": (Twice, normal((4,), (2,)), squares),
    "tied weights": (Tied, tokens, words),
    "beside its layer": (Functional, tokens, words),
    "multi-head attention": (Attention, normal((4, 6), (4, 3)), squares),
    "weight norm": (
        stack(lambda: nn.utils.parametrizations.weight_norm(nn.Linear(4, 5)), nn.ReLU, lambda: nn.Linear(5, 3)),
        normal((4,), (3,)),
        squares,
    ),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("name", CASES)
def test_layers_give_what_single_gradients_give(name, dtype, tolerance):
    """By docs/theory.md eq. (11.5)."""
    torch.manual_seed(1)
    make, data, loss = CASES[name]
    model = make().to(dtype)
    batch = tuple(t.to(dtype) if t.is_floating_point() else t for t in data())
    charges = every_kind(model)
    found = covariance_traces(model, batch, loss, charges, chunk=7)
    wanted = covariance_traces(model, batch, loss, charges, method="vmap")
    counts = wanted.size > 1e-8 * wanted.size.max()
    assert counts.sum() > 0.8 * len(charges)
    for field in ("noise", "size", "squared", "mean"):
        each = np.abs(getattr(found, field) - getattr(wanted, field))[counts] / wanted.size[counts]
        assert each.max() < tolerance, field
    assert all(p.grad is None for p in model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_channels_of_wide_convolutions(dtype, tolerance):
    """With no slices along a kernel, of which nothing is then put in order."""
    torch.manual_seed(3)
    model = nn.Sequential(nn.Conv2d(8, 9, 3, padding=1), nn.ReLU(), nn.Conv2d(9, 8, (2, 3), padding="same")).to(dtype)
    batch = torch.randn(SAMPLES, 8, 6, 5, dtype=dtype), torch.randn(SAMPLES, 8, 6, 5, dtype=dtype)
    units = [
        charge(
            of_slices("0.weight", (0,), (i,), (i,), (1.0,)),
            of_slices("0.bias", (0,), (i,), (i,), (1.0,)),
            of_slices("2.weight", (1,), (i,), (i,), (-1.0,)),
        )
        for i in range(9)
    ]
    found = covariance_traces(model, batch, squares, units)
    wanted = covariance_traces(model, batch, squares, units, method="vmap")
    for field in ("noise", "size", "mean"):
        each = np.abs(getattr(found, field) - getattr(wanted, field)) / wanted.size
        assert each.max() < tolerance, field


def test_drift_is_the_mean_over_all_batches():
    """Of docs/theory.md eqs. (3.6) and (11.8), over every batch of 2 of 5 rows."""
    torch.manual_seed(4)
    model = nn.Linear(3, 2, bias=False).double()
    x, y = torch.randn(5, 3).double(), torch.randn(5, 2).double()
    balance = charge(of_slices("weight", (0,), (0, 1), (0, 1), (1.0, -2.0)))
    found = covariance_traces(model, (x, y), squares, [balance])
    g = 2 * torch.einsum("si,sj->sij", model(x).detach() - y, x)

    def mean(batches):
        return np.mean(
            [balance.form({"weight": b}, {"weight": b}).item() for b in (g[list(i)].mean(0) for i in batches)]
        )

    apart, free = mean(itertools.combinations(range(5), 2)), mean(itertools.product(range(5), repeat=2))
    assert found.drift(0.1, 2)[0] == pytest.approx(0.01 * apart, rel=1e-12)
    assert found.drift(0.1, 2)[0] + 0.01 * found.noise[0] / 5 * (1 - 1 / 2) == pytest.approx(0.01 * free, rel=1e-12)


def test_traces_are_those_of_the_covariance_of_gradients():
    torch.manual_seed(2)
    model = nn.Linear(3, 2, bias=False).double()
    x, y = torch.randn(SAMPLES, 3).double(), torch.randn(SAMPLES, 2).double()
    balance = charge(of_slices("weight", (0,), (0, 1), (0, 1), (1.0, -2.0)))
    found = covariance_traces(model, (x, y), squares, [balance])
    g = 2 * torch.einsum("si,sj->sij", model(x).detach() - y, x).flatten(1)
    sigma = np.cov(g.numpy(), rowvar=False)
    a = np.diag([1.0] * 3 + [-2.0] * 3)
    mean = g.mean(0).numpy()
    assert found.noise[0] == pytest.approx(np.trace(sigma @ a), rel=1e-12)
    assert found.size[0] == pytest.approx(np.trace(sigma @ abs(a)), rel=1e-12)
    assert found.squared[0] == pytest.approx(np.trace(sigma @ a @ a), rel=1e-12)
    assert found.mean[0] == pytest.approx(mean @ a @ mean - np.trace(sigma @ a) / SAMPLES, rel=1e-12)
    assert found.drift(0.1, 4)[0] == pytest.approx(0.01 * (found.noise[0] / 4 + found.mean[0]))


class Last(nn.Module):
    """What a recurrent layer says at the end of a sequence."""

    def __init__(self, layer, first=True):
        super().__init__()
        self.layer, self.out, self.first = layer, nn.Linear(3, 2), first

    def forward(self, x):
        return self.out(self.layer(x if self.first else x.transpose(0, 1))[0].select(1 if self.first else 0, -1))


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.w, self.out = nn.Parameter(torch.randn(4, 3)), nn.Linear(3, 2)

    def forward(self, x):
        return self.out(torch.relu(x @ self.w) if x.mean() > -100 else x @ self.w).mean(1)


class Sparse(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.out = nn.Embedding(7, 3, sparse=True), nn.Linear(3, 2)

    def forward(self, x):
        return self.out(self.table(x)).mean(1)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "make",
    [
        lambda: Last(nn.LSTM(4, 3, batch_first=True)),
        lambda: Last(nn.RNN(4, 3, nonlinearity="relu"), first=False),
        lambda: Last(nn.GRU(4, 3, batch_first=True, num_layers=2, dropout=0.5).eval()),
        Branching,
        Sparse,
    ],
)
def test_what_vmap_does_not_take_goes_sample_by_sample(make):
    torch.manual_seed(1)
    model = make().double()
    ids = torch.randint(0, 7, (SAMPLES, 5))
    x = ids if isinstance(model, Sparse) else torch.randn(SAMPLES, 5, 4).double()
    y, charges = torch.randn(SAMPLES, 2).double(), every_kind(model)
    single = []
    for k in range(SAMPLES):
        model.zero_grad()
        squares(model(x[k : k + 1]), y[k : k + 1]).sum().backward()
        single.append({n: dense(p.grad, p) for n, p in model.named_parameters()})
    mean = {n: sum(g[n] for g in single) / SAMPLES for n in single[0]}
    apart = [{n: g[n] - mean[n] for n in g} for g in single]
    model.zero_grad()
    for method in ("grams", "vmap"):
        found = covariance_traces(model, (x, y), squares, charges, method=method, chunk=7)
        wanted = [sum(float(c.form(g, g)) for g in apart) / (SAMPLES - 1) for c in charges]
        np.testing.assert_allclose(found.noise, wanted, rtol=1e-9, atol=1e-12 * max(map(abs, wanted)))
    assert all(p.grad is None for p in model.parameters())


class First(nn.Module):
    def forward(self, found):
        return found[0]


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM])
def test_sequences_first_are_refused(kind):
    """Where the first axis counts time; a model that transposes by itself is taken, above."""
    model = nn.Sequential(kind(4, 3), First())
    whole = [charge(of_slices("0.weight_ih_l0", (), (0,), (0,), (1.0,)))]
    with pytest.raises(InputError, match="batch_first"):
        covariance_traces(model, (torch.randn(5, SAMPLES, 4), torch.randn(5, SAMPLES, 3)), squares, whole)


def test_bad_input_is_refused():
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    whole = [charge(of_slices("0.weight", (), (0,), (0,), (1.0,)))]
    batch = (torch.randn(4, 3), torch.randn(4, 2))
    with pytest.raises(InputError, match="BatchNorm1d"):
        covariance_traces(model, batch, squares, whole)
    model.eval()
    with pytest.raises(InputError, match="at least 2 samples"):
        covariance_traces(model, (batch[0][:1], batch[1][:1]), squares, whole)
    with pytest.raises(InputError, match="one first axis"):
        covariance_traces(model, (batch[0], batch[1][:2]), squares, whole)
    with pytest.raises(InputError, match="method"):
        covariance_traces(model, batch, squares, whole, method="guess")
    with pytest.raises(InputError, match="of this model"):
        covariance_traces(nn.Linear(3, 2), batch, squares, whole)
