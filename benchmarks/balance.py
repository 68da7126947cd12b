"""Whether `sde.networks.balance` helps: SGD from one function at several places of its orbit."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

ROOT = Path(__file__).parents[1]
SEEDS, STEPS, WARM = 12, 300, 60
LAST = range(STEPS - 50, STEPS, 10)
"""Steps after which the loss on all data is taken: their mean counts."""
RATES = tuple(2.0**k for k in range(-5, 3))
LEARNS = 0.9
"""Of the loss of a uniform guess, below which a run counts as one that learns."""
ARMS = ("as it is", "norms", "noise")
SPREAD = 1.5
"""Of the logarithm of what unbalanced starts are rescaled by."""


def balance(repeats: int) -> bool:
    """A table of each start's best learning rate, for each; whether balance changed no function."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    print(f"SGD, {STEPS} steps, {SEEDS} seeds; warmup: {WARM} steps; every row at its own best of {len(RATES)} rates;")
    print("difference: to the same start as it is, in pairs, with its 95 % interval; up to: largest rate at which all")
    print(f"seeds learn (a loss below {LEARNS} of a uniform guess's)")
    right = True
    for name, make, data, batch in (("MLP, digits", _mlp, _digits, 32), ("transformer, text", _transformer, _text, 8)):
        right = _task(name, make, *data(), batch) and right
    torch.set_num_threads(threads)
    return right


def _task(name: str, make: Callable[[int], Any], x: Any, y: Any, batch: int) -> bool:
    import torch

    from sde.networks import balance as balanced
    from sde.networks import symmetries

    torch.manual_seed(0)
    charges = symmetries(make(0), x[:4], loss="cross_entropy").exact
    starts: dict[str, list[Any]] = {f"{s}, {a}": [] for s in ("torch's", "unbalanced") for a in ARMS}
    worst = 0.0
    for seed in range(SEEDS):
        for start in ("torch's", "unbalanced"):
            for arm in ARMS:
                model = make(seed).double()
                if start == "unbalanced":
                    _unbalance(model, charges, seed)
                if arm != "as it is":
                    some = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))[:128]
                    done = balanced(model, _real(x[some]), y[some], charges=charges, loss=_each, to=arm)
                    worst = max(worst, done.changed)
                starts[f"{start}, {arm}"].append(model.float())
    models = [m for group in starts.values() for m in group]
    print(f"\n{name}: {sum(p.numel() for p in models[0].parameters())} parameters, {len(charges)} charges, largest")
    print(f"change of an output by balance {worst:.0e}\n")
    print(f"{'start':24}{'warmup':>8}{'rate':>9}{'loss':>8}{'difference':>28}{'up to':>9}")
    guess = LEARNS * math.log(float(y.max()) + 1)
    for warm in (0, WARM):
        losses = _trained(models, x, y, batch, warm).reshape(len(starts), SEEDS, len(RATES))
        best: dict[str, np.ndarray] = {}
        for k, start in enumerate(starts):
            mean = losses[k].mean(0)
            at = int(np.argmin(mean))
            best[start] = losses[k][:, at]
            first = best[f"{start.rsplit(', ', 1)[0]}, as it is"]
            learns = np.flatnonzero((losses[k] < guess).all(0))
            print(
                f"{start:24}{warm:>8}{RATES[at]:>9.4g}{mean[at]:>8.4f}{_difference(best[start], first):>28}"
                f"{RATES[learns[-1]] if len(learns) else 0:>9.4g}"
            )
    return worst < 1e-9


def _difference(one: np.ndarray, other: np.ndarray) -> str:
    gap = one - other
    if not gap.any():
        return ""
    half = float(stats.t.ppf(0.975, len(gap) - 1) * gap.std(ddof=1) / math.sqrt(len(gap)))
    return f"{gap.mean():+.4f} [{gap.mean() - half:+.4f}, {gap.mean() + half:+.4f}]"


def _trained(models: list[Any], x: Any, y: Any, batch: int, warm: int) -> np.ndarray:
    """Loss on all data (models, rates) after training all at once, on the same batches for all rates and places of a
    seed; infinite where it ran off."""
    import torch
    from torch.func import functional_call, grad, stack_module_state, vmap

    base, starts = models[0], range(0, len(x), 64)
    state, _ = stack_module_state(models)
    theta = {k: p.detach().repeat_interleave(len(RATES), 0) for k, p in state.items()}
    rate = torch.tensor(RATES).repeat(len(models))

    def loss(p: Any, x: Any, y: Any) -> Any:
        return _each(functional_call(base, p, (x,)), y).mean()

    pull = vmap(grad(loss))
    draws = [torch.Generator().manual_seed(100 + s) for s in range(SEEDS)]
    which = torch.arange(len(models)).remainder(SEEDS).repeat_interleave(len(RATES))
    sizes = torch.tensor([float(min(64, len(x) - a)) for a in starts])
    found = torch.zeros(len(rate))
    for k in range(STEPS):
        rows = torch.stack([torch.randint(0, len(x), (batch,), generator=g) for g in draws])[which]
        g = pull(theta, x[rows], y[rows])
        now = rate * min(1.0, (k + 1) / warm) if warm else rate
        theta = {name: p - now.reshape(-1, *[1] * (p.ndim - 1)) * g[name] for name, p in theta.items()}
        if k in LAST:
            parts = [vmap(loss, in_dims=(0, None, None))(theta, *(t[a : a + 64] for t in (x, y))) for a in starts]
            found += (torch.stack(parts) * sizes[:, None]).sum(0) / len(x) / len(LAST)
    return torch.where(torch.isfinite(found), found, math.inf).detach().double().numpy()


def _each(out: Any, y: Any) -> Any:
    """Cross-entropy of every sample."""
    import torch.nn.functional as F

    found = F.cross_entropy(out.flatten(0, -2), y.flatten(), reduction="none")
    return found.reshape(len(y), -1).mean(1)


def _unbalance(model: Any, charges: Any, seed: int) -> None:
    """Rescale every family of units by a factor of its own: the function stays."""
    import torch

    from sde.networks.orbits import carry, scales

    rng = np.random.default_rng(seed)
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for f in charges.families:
            if scales(f):
                carry(parameters, f, np.full(len(f), SPREAD * rng.choice([-1.0, 1.0])))


def _real(x: Any) -> Any:
    return x.double() if x.is_floating_point() else x


def _mlp(seed: int) -> Any:
    import torch
    from torch import nn

    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 10))


def _digits() -> tuple[Any, Any]:
    import torch

    with (ROOT / "examples" / "data" / "digits.csv").open(encoding="utf-8") as file:
        rows = torch.tensor([[float(v) for v in row] for row in list(csv.reader(file))[1:]])
    return rows[:, :64] / 16, rows[:, 64].long()


def _transformer(seed: int) -> Any:
    import torch

    torch.manual_seed(seed)
    return _transformers()()


@cache
def _transformers() -> Callable[[], Any]:
    """A class of two-layer transformers."""
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self, d: int) -> None:
            super().__init__()
            self.first, self.second = nn.LayerNorm(d), nn.LayerNorm(d)
            self.q, self.k, self.v, self.o = (nn.Linear(d, d, bias=False) for _ in range(4))
            self.up, self.down = nn.Linear(d, 2 * d), nn.Linear(2 * d, d)

        def forward(self, x: Any) -> Any:
            h, t, d = self.first(x), x.shape[-2], x.shape[-1]
            scores = self.q(h) @ self.k(h).transpose(-1, -2) / math.sqrt(d)
            hidden = torch.full((t, t), -math.inf, dtype=x.dtype).triu(1)
            x = x + self.o(torch.softmax(scores + hidden, -1) @ self.v(h))
            return x + self.down(torch.relu(self.up(self.second(x))))

    class Model(nn.Module):
        def __init__(self, d: int = 8, vocabulary: int = 32, length: int = 16) -> None:
            super().__init__()
            self.token, self.place = nn.Embedding(vocabulary, d), nn.Parameter(0.1 * torch.randn(length, d))
            self.blocks = nn.Sequential(Block(d), Block(d))
            self.last, self.head = nn.LayerNorm(d), nn.Linear(d, vocabulary, bias=False)

        def forward(self, i: Any) -> Any:
            return self.head(self.last(self.blocks(self.token(i) + self.place)))

    return Model


def _text() -> tuple[Any, Any]:
    """Windows of a page of the documentation in its 31 most frequent letters."""
    import torch

    text = (ROOT / "docs" / "theory.md").read_text(encoding="utf-8").lower()
    letters = sorted(set(text), key=lambda c: (-text.count(c), c))[:31]
    code = torch.tensor([letters.index(c) if c in letters else 31 for c in text])
    windows = code[: 17 * (len(code) // 17)].reshape(-1, 17)[:512]
    return windows[:, :-1], windows[:, 1:]
