"""Where noise and weight decay balance along a charge's orbit, how fast it gets there, and what it is doing now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from sde.networks.charges import Charges
from sde.networks.optimiser_rules import Rule
from sde.networks.slice_products import SliceProducts

BALANCED = 0.1
"""Share of the noise on both signs of A that their difference may be, of a charge that is called balanced."""
WORDS = ("balanced", "on its way", "frozen", "diverging")
REACH, HALVINGS = 40.0, 80


class Spectrum(NamedTuple):
    """Of n charges alike: the eigenvalues (k,) of A, and a form's trace (n, k) on the eigenspace of each."""

    charges: slice
    eigenvalues: np.ndarray
    traces: np.ndarray


def spectra(charges: Charges, products: SliceProducts, form: np.ndarray) -> Iterator[Spectrum]:
    """Family by family; form: (products,), those of a covariance or of the parameters.

    A pair of coupled slices has the eigenvalues w and -w, on their sum and on their difference; blocks of one charge
    are taken not to overlap.
    """
    for k, f in enumerate(charges.families):
        values: list[np.ndarray] = []
        traces: list[np.ndarray] = []
        for j, s in enumerate(f.slots):
            rows = form[s.rows + products.squares[s.left, s.left_axes].start]
            if s.diagonal:
                values.append(s.weights)
                traces.append(rows)
            else:
                half = (rows + form[s.columns + products.squares[s.right, s.right_axes].start]) / 2
                across = form[products.pair_places[k, j]]
                values += [s.weights, -s.weights]
                traces += [half + across, half - across]
        if values:
            yield Spectrum(charges.slice_of(k), np.concatenate(values), np.concatenate(traces, axis=1))


def equilibria(
    charges: Charges, products: SliceProducts, noise: np.ndarray, place: np.ndarray | float = 0.0
) -> np.ndarray:
    """lambda* (charges,) of every charge by itself: the zero of Tr[N e^{-lA} A e^{-lA}] - 2 Tr[P e^{lA} A e^{lA}],
    which is that of the charge's drift at e^{lA} theta; infinite where there is none, NaN where nothing moves it.
    docs/theory.md eqs. (4.1) and (4.2).

    noise: products (products,) of N = T Sigma; place: of P = weight decay times theta theta^T.
    """
    out = np.full(len(charges), np.nan)
    held = np.zeros(products.size) + place
    alike: dict[bytes, list[tuple[Spectrum, np.ndarray]]] = {}
    for n, p in zip(spectra(charges, products, noise), spectra(charges, products, held), strict=True):
        alike.setdefault(n.eigenvalues.tobytes(), []).append((n, p.traces))
    for group in alike.values():
        a = group[0][0].eigenvalues
        s = np.maximum(np.concatenate([n.traces for n, _ in group]), 0.0)
        c = np.maximum(np.concatenate([p for _, p in group]), 0.0)
        moved = (s @ np.abs(a) > 0) | (c @ np.abs(a) > 0)
        where = np.concatenate([np.arange(n.charges.start, n.charges.stop) for n, _ in group])
        out[where] = np.where(moved, _zeros(a, s, c), np.nan)
    return out


def _zeros(a: np.ndarray, s: np.ndarray, c: np.ndarray) -> np.ndarray:
    """(n,) by halving, of what decreases along the orbit."""

    def pull(at: np.ndarray) -> np.ndarray:
        grown = np.exp(np.clip(2 * at[:, None] * a, -700.0, 700.0))
        return (s / grown) @ a - 2 * (c * grown) @ a

    reach = REACH / np.abs(a).max()
    low, high = np.full(len(s), -reach), np.full(len(s), reach)
    above, below = pull(high) >= 0, pull(low) <= 0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        up = pull(middle) > 0
        low, high = np.where(up, middle, low), np.where(up, high, middle)
    return np.where(above, np.inf, np.where(below, -np.inf, (low + high) / 2))


def relaxation_times(pull: np.ndarray, field: np.ndarray) -> np.ndarray:
    """Time (charges,) to the equilibrium, were it here; pull: Tr[A^2 N] + 2 Tr[A^2 P], field: |A theta|^2."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((pull > 0) & (field > 0), field / pull, np.inf)


def states(net: np.ndarray, size: np.ndarray, equilibrium: np.ndarray, *, held: bool = False) -> np.ndarray:
    """One of `WORDS` for every charge (charges,); net: its drift, size: Tr[N |A|]; held: by weight decay."""
    still = size <= 1e-12 * np.max(size, initial=0.0)
    return np.select(
        [still & (not held), np.abs(net) <= BALANCED * size, ~np.isfinite(equilibrium)],
        ["frozen", "balanced", "diverging"],
        "on its way",
    )


def effective_rates(norm: np.ndarray, gradient: np.ndarray, rule: Rule) -> dict[str, np.ndarray]:
    """Of directions whose length the loss does not see: rate, lr/|w|^2 with what momentum multiplies; angle, that a
    step turns w by, from uncorrelated gradients; angle_at_rest, where growth and decay balance. docs/theory.md eq.
    (11.7).

    norm: |w|^2; gradient: E|g|^2 of a step.
    """
    b, lr = rule.momentum, rule.lr
    turning = 2 * lr * rule.decay / (1 + b) * (1 - b if rule.decoupled else 1.0)
    return {
        "rate": lr / (1 - b) / norm,
        "angle": lr * np.sqrt(gradient / (norm * (1 - b * b))),
        "angle_at_rest": np.full(len(norm), np.sqrt(turning)),
    }


def rates_of_scales(
    charges: Charges, row: Mapping[str, np.ndarray], rules: Mapping[str, Rule]
) -> dict[str, dict[str, float]]:
    """{name: effective rates} of the charges that are scales; row: of a monitor; rules: of the tensors."""
    found: dict[str, dict[str, float]] = {}
    for k, c in enumerate(charges):
        if c.kind == "scale" and rules:
            weight = max(abs(w) for t in c.terms for w in t.weights)
            norm, gradient = (np.array([row[key][k] / weight]) for key in ("value", "gradient"))
            rates = effective_rates(norm, gradient, rules[c.parameters[0]])
            found[c.name] = {key: float(v[0]) for key, v in rates.items()}
    return found
