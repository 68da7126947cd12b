"""How many independent quadratic charges a small module has: every symmetric A and every b, one dense SVD."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn


def count(model: nn.Module, draw: Callable[[torch.Generator], tuple], last: Callable = lambda f: f) -> int:
    """Rank, at a random point, of all fields A theta + b that are orthogonal to every gradient of the outputs.

    All D (D + 1)/2 entries of A and D of b are unknown; a row for every gradient of one random function of the outputs
    at random parameters and inputs. Running statistics are the model's own, a mask is drawn for every row.
    """
    model = model.double()
    parameters = [p for p in model.parameters() if p.requires_grad]
    D = sum(p.numel() for p in parameters)
    i, j = np.triu_indices(D)
    n = len(i) + D
    rng = torch.Generator().manual_seed(5)
    buffers = {k: b.clone() for k, b in model.named_buffers()}
    rows = np.empty((n + 60, n))
    for row in rows:
        with torch.no_grad():
            for p in parameters:
                p.copy_(torch.randn(p.shape, generator=rng, dtype=torch.float64) * 0.7 + (p.ndim == 1) * 0.3)
            for k, b in model.named_buffers():
                b.copy_(buffers[k])
        f = last(model(*draw(rng)))
        value = (f * torch.randn(f.shape, generator=rng, dtype=torch.float64)).sum()
        found = torch.autograd.grad(value, parameters, allow_unused=True)
        pairs = zip(found, parameters, strict=True)
        g = torch.cat([(torch.zeros_like(p) if x is None else x).reshape(-1) for x, p in pairs]).numpy()
        theta = torch.cat([p.detach().reshape(-1) for p in parameters]).numpy()
        row[: len(i)] = g[i] * theta[j] + (i != j) * g[j] * theta[i]
        row[len(i) :] = g
        row /= np.linalg.norm(row) or 1.0
    scale = np.maximum(np.linalg.norm(rows, axis=0), 1e-3)
    _, values, turn = np.linalg.svd(rows / scale, full_matrices=False)
    null = turn[values < 1e-9 * values[0]] / scale
    theta = np.random.default_rng(1).normal(size=D)
    fields = []
    for v in null:
        A = np.zeros((D, D))
        A[i, j] = A[j, i] = v[: len(i)]
        field = A @ theta + v[len(i) :]
        fields.append(field / np.abs(v).max())
    return int(np.linalg.matrix_rank(np.array(fields), tol=1e-7)) if fields else 0
