"""Small modules of every kind of layer, and what their loss sees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Lambda(nn.Module):
    def __init__(self, forward: Callable, **parts: Any) -> None:
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
        self._act = forward

    def forward(self, *x: Tensor) -> Tensor:
        return self._act(self, *x)


def tensor(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(*shape))


@dataclass
class Case:
    """A model, its inputs, its loss; the number of independent charges, and why."""

    make: Callable[[], nn.Module]
    shapes: tuple[tuple[int, ...], ...]
    count: int
    why: str
    loss: str | None = None
    ids: int = 0
    twin: bool = True

    def inputs(self, rng: torch.Generator | None = None) -> tuple[Tensor, ...]:
        rng = rng or torch.Generator().manual_seed(0)
        if self.ids:
            return tuple(torch.randint(0, self.ids, s, generator=rng) for s in self.shapes)
        return tuple(torch.randn(*s, generator=rng, dtype=torch.float64) for s in self.shapes)


def mlp(act: nn.Module, bias: bool = True, hidden: int = 3, out: int = 2) -> nn.Module:
    return nn.Sequential(nn.Linear(2, hidden, bias), act, nn.Linear(hidden, out, bias))


def norm0(x: Tensor) -> Tensor:
    y = x - x.mean(-1, keepdim=True)
    return y / y.square().mean(-1, keepdim=True).sqrt()


def rms0(x: Tensor) -> Tensor:
    return x / x.square().mean(-1, keepdim=True).sqrt()


def attention(m: Any, x: Tensor) -> Tensor:
    q, k, v = x @ m.q.T, x @ m.k.T, x @ m.v.T
    return F.scaled_dot_product_attention(q, k, v) @ m.o.T


def grouped(m: Any, x: Tensor) -> Tensor:
    k, v = x @ m.k.T, x @ m.v.T
    heads = [F.scaled_dot_product_attention(x @ q.T, k, v) for q in (m.q1, m.q2)]
    return torch.cat(heads, -1) @ m.o.T


def rotary(m: Any, x: Tensor) -> Tensor:
    at = torch.arange(x.shape[1], dtype=x.dtype)[:, None] * 0.7
    q, k = x @ m.q.T, x @ m.k.T

    def turn(z: Tensor) -> Tensor:
        one, two = z[..., :1], z[..., 1:]
        return torch.cat([one * at.cos() - two * at.sin(), one * at.sin() + two * at.cos()], -1)

    return F.scaled_dot_product_attention(turn(q), turn(k), x)


def experts(m: Any, x: Tensor) -> Tensor:
    gate = torch.softmax(x @ m.gate.T, -1)
    h = torch.relu(torch.einsum("bi,ehi->beh", x, m.up))
    return torch.einsum("be,beh,eoh->bo", gate, h, m.down)


def linear(*sizes: int, bias: bool = True) -> nn.Module:
    """A deep linear network."""
    return nn.Sequential(*(nn.Linear(*ends, bias=bias) for ends in pairwise(sizes)))


CASES = {
    "linear": Case(lambda: nn.Linear(2, 2), ((4, 2),), 0, "every entry is seen"),
    "linear, cross-entropy": Case(lambda: nn.Linear(2, 3), ((4, 2),), 3, "shifts of the logits", "cross_entropy"),
    "two linear": Case(lambda: mlp(nn.Identity()), ((4, 2),), 6, "GL(3)"),
    "three linear, as wide": Case(lambda: linear(3, 2, 2, 3), ((6, 3),), 6, "GL(2) twice, in one square tensor"),
    "three linear, wider": Case(
        lambda: linear(5, 4, 4, 5, bias=False), ((8, 5),), 20, "GL(4) twice, in one square tensor", twin=False
    ),
    "four linear, as wide": Case(lambda: linear(3, 2, 2, 2, 3), ((6, 3),), 9, "GL(2) thrice"),
    "relu": Case(lambda: mlp(nn.ReLU()), ((4, 2),), 3, "one rescaling a unit"),
    "leaky relu": Case(lambda: mlp(nn.LeakyReLU(0.1)), ((4, 2),), 3, "one rescaling a unit"),
    "tanh": Case(lambda: mlp(nn.Tanh()), ((4, 2),), 0, "not homogeneous"),
    "gelu": Case(lambda: mlp(nn.GELU()), ((4, 2),), 0, "not homogeneous"),
    "silu": Case(lambda: mlp(nn.SiLU()), ((4, 2),), 0, "not homogeneous"),
    "prelu": Case(lambda: mlp(nn.PReLU(3)), ((4, 2),), 3, "homogeneous with any slope"),
    "relu squared": Case(
        lambda: Lambda(lambda m, x: m.b(torch.relu(m.a(x)) ** 2), a=nn.Linear(2, 3), b=nn.Linear(3, 2)),
        ((4, 2),),
        3,
        "powers: 1 in, 2 out",
    ),
    "abs": Case(
        lambda: Lambda(lambda m, x: m.b(m.a(x).abs()), a=nn.Linear(2, 3), b=nn.Linear(3, 2)),
        ((4, 2),),
        3,
        "homogeneous",
    ),
    "maxout": Case(
        lambda: Lambda(
            lambda m, x: m.b(torch.maximum(m.a(x), m.c(x))), a=nn.Linear(2, 2), c=nn.Linear(2, 2), b=nn.Linear(2, 2)
        ),
        ((4, 2),),
        2,
        "both pieces of a unit against its readers",
    ),
    "reglu": Case(
        lambda: Lambda(
            lambda m, x: m.b(torch.relu(m.a(x)) * m.c(x)),
            a=nn.Linear(2, 2, False),
            c=nn.Linear(2, 2, False),
            b=nn.Linear(2, 2, False),
        ),
        ((4, 2),),
        4,
        "gate and value each against the readers",
    ),
    "swiglu": Case(
        lambda: Lambda(
            lambda m, x: m.b(F.silu(m.a(x)) * m.c(x)),
            a=nn.Linear(2, 2, False),
            c=nn.Linear(2, 2, False),
            b=nn.Linear(2, 2, False),
        ),
        ((4, 2),),
        2,
        "only the value is homogeneous",
    ),
    "dropout": Case(lambda: mlp(nn.Sequential(nn.ReLU(), nn.Dropout(0.4))), ((4, 2),), 3, "as relu"),
    "residual": Case(
        lambda: Lambda(lambda m, x: x + m.b(torch.relu(m.a(x))), a=nn.Linear(2, 3), b=nn.Linear(3, 2)),
        ((4, 2),),
        3,
        "inside the branch",
    ),
    "sum of branches": Case(
        lambda: Lambda(lambda m, x: m.a(x) + m.b(x), a=nn.Linear(2, 2, False), b=nn.Linear(2, 2, False)),
        ((4, 2),),
        4,
        "only the sum is seen",
    ),
    "concatenation": Case(
        lambda: Lambda(
            lambda m, x: m.c(torch.cat([m.a(x), m.b(x)], -1)), a=nn.Linear(2, 1), b=nn.Linear(2, 2), c=nn.Linear(3, 2)
        ),
        ((4, 2),),
        6,
        "GL(3) over two tensors",
    ),
    "layer norm without epsilon": Case(
        lambda: Lambda(lambda m, x: m.b(norm0(m.a(x))), a=nn.Linear(2, 3), b=nn.Linear(3, 2, False)),
        ((4, 2),),
        6,
        "scale, 3 shifts of what enters; what leaves has mean 0: 2 sums of its readers",
    ),
    "rms norm with gains": Case(
        lambda: Lambda(lambda m, x: m.b(rms0(m.a(x)) * m.g), a=nn.Linear(2, 3), b=nn.Linear(3, 2), g=tensor(3)),
        ((4, 2),),
        4,
        "scale of what enters, gains against readers",
    ),
    "batch norm, training": Case(
        lambda: nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.ReLU(), nn.Linear(2, 1)),
        ((8, 2),),
        4,
        "biases unseen, gain and bias against readers; the rows' scale is broken by the epsilon",
    ),
    "batch norm without epsilon": Case(
        lambda: Lambda(lambda m, x: m.b(torch.relu(norm0(m.a(x).T).T)), a=nn.Linear(2, 2), b=nn.Linear(2, 1)),
        ((8, 2),),
        4,
        "the rows' scale, biases unseen",
    ),
    "batch norm, evaluation": Case(
        lambda: nn.Sequential(nn.Linear(2, 2), _trained(nn.BatchNorm1d(2)), nn.ReLU(), nn.Linear(2, 1)).eval(),
        ((8, 2),),
        4,
        "affine: row and bias less mean against gain; gain and bias against readers",
    ),
    "group norm": Case(
        lambda: nn.Sequential(
            nn.Linear(2, 6, False), nn.GroupNorm(2, 6, eps=0.0, affine=False), nn.ReLU(), nn.Linear(6, 1)
        ),
        ((8, 2),),
        6,
        "per group a scale and 2 shifts",
    ),
    "weight norm": Case(
        lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)), nn.ReLU(), nn.Linear(2, 1)),
        ((4, 2),),
        4,
        "|v| of each row; gain and bias against readers",
    ),
    "convolution": Case(
        lambda: nn.Sequential(nn.Conv1d(1, 2, 2), nn.ReLU(), nn.Conv1d(2, 1, 2)),
        ((3, 1, 6),),
        2,
        "one rescaling a channel",
    ),
    "grouped convolution": Case(
        lambda: nn.Sequential(nn.Conv1d(1, 4, 1, bias=False), nn.ReLU(), nn.Conv1d(4, 2, 2, groups=2, bias=False)),
        ((3, 1, 6),),
        4,
        "one rescaling a channel, by group",
    ),
    "transposed convolution": Case(
        lambda: nn.Sequential(nn.ConvTranspose1d(1, 2, 2, stride=2), nn.ReLU(), nn.Conv1d(2, 1, 2)),
        ((3, 1, 4),),
        2,
        "one rescaling a channel",
    ),
    "pooling and flatten": Case(
        lambda: nn.Sequential(nn.Conv2d(1, 2, 2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 1)),
        ((3, 1, 5, 5),),
        2,
        "a channel against its block of readers",
    ),
    "embedding": Case(lambda: nn.Sequential(nn.Embedding(4, 2), nn.Linear(2, 2, False)), ((6,),), 3, "GL(2)", ids=4),
    "attention": Case(
        lambda: Lambda(attention, q=tensor(2, 2), k=tensor(2, 2), v=tensor(2, 2), o=tensor(2, 2)),
        ((2, 4, 2),),
        6,
        "GL(2) of queries and keys, GL(2) of values and outputs",
    ),
    "grouped queries": Case(
        lambda: Lambda(grouped, q1=tensor(2, 2), q2=tensor(2, 2), k=tensor(2, 2), v=tensor(2, 2), o=tensor(2, 4)),
        ((2, 4, 2),),
        6,
        "shared keys and values: one GL(2) each",
    ),
    "rotary": Case(
        lambda: Lambda(rotary, q=tensor(2, 2), k=tensor(2, 2)), ((2, 4, 2),), 1, "one scale a plane of the rotation"
    ),
    "adapter": Case(
        lambda: Lambda(
            lambda m, x: x @ (m.w + m.b @ m.a).T,
            w=nn.Parameter(torch.randn(3, 2), requires_grad=False),
            a=tensor(2, 2),
            b=tensor(3, 2),
        ),
        ((4, 2),),
        3,
        "GL(2)",
    ),
    "tied": Case(
        lambda: Lambda(lambda m, i: m.e(i) @ m.e.weight.T, e=nn.Embedding(4, 2)),
        ((6,),),
        0,
        "rotations have no charge",
        ids=4,
    ),
    "lstm": Case(lambda: nn.LSTM(1, 1), ((3, 2, 1),), 4, "two biases of which the sum is seen", twin=False),
    "mixture of experts": Case(
        lambda: Lambda(experts, gate=tensor(2, 2), up=tensor(2, 2, 2), down=tensor(2, 1, 2)),
        ((4, 2),),
        6,
        "4 units of the experts, 2 shifts of the router",
    ),
    "multi-head attention": Case(
        lambda: Lambda(lambda m, x: m.a(x, x, x)[0], a=nn.MultiheadAttention(4, 2, bias=False, batch_first=True)),
        ((2, 3, 4),),
        12,
        "4 of GL(2)",
        twin=False,
    ),
}


def _trained(norm: nn.BatchNorm1d) -> nn.BatchNorm1d:
    norm.running_mean = torch.tensor([0.3, -0.6])
    norm.running_var = torch.tensor([0.7, 1.9])
    return norm
