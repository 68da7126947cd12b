"""A report made up to hold every awkward value, and a reader of its page."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser

import numpy as np

from sde.reports.report import Report
from sde.verification.result import Band, Curves, Entry, Explosions
from sde.verification.verdicts import Verdict

HOSTILE = 'W·Wᵀ[0,1] <script>alert("x")</script> $\\alpha$ & {{ 7*7 }}'
STARTS = ("u = 1.2, w = 0.6", "u = 0.5, w = 1.4", "u = 2, w = 0.1")
FORMULA = '<math aria-label="u**2 - w**2"><mrow><mi>u</mi><mo>−</mo><mi>w</mi></mrow></math>'
INF, NAN = math.inf, math.nan


def verdict(
    claim: str,
    word: str,
    statistic: float,
    interval,
    margin=(0.95, 1.05),
    expected=1.0,
    group="mean drift of SGD",
    note="",
):
    return Verdict(
        claim=claim,
        verdict=word,
        statistic=statistic,
        interval=interval,
        margin=margin,
        expected=expected,
        alpha=0.01,
        paths=2000,
        group=group,
        note=note,
    )


def curves(charge: str, start: str, first: float, rate: float, rng: np.random.Generator) -> Curves:
    time = np.linspace(0, 50, 101)
    theory = first * np.exp(-rate * time)
    spread = 0.12 * abs(first) * (1 - np.exp(-rate * time)) + 0.01
    bands = tuple(
        Band(
            label,
            theory * (1 + tilt * time / 50) + 0.004 * rng.standard_normal(101),
            theory - k * spread,
            theory + 1.3 * k * spread,
        )
        for label, k, tilt in (("SGD", 1.0, -0.02), ("SDE", 1.15, 0.01))
    )
    return Curves(charge, start, time, theory, bands, gd=first * (1 + 0.002 * time), equilibrium=0.0)


@cache
def made_up() -> Report:
    """Every verdict, values that are awkward, and names that are hostile."""
    rng = np.random.default_rng(0)
    charges = ("u**2 - w**2", HOSTILE)
    pathwise, end = "pathwise identity", "equilibrium"
    long_claim = (
        "The mean drift of u**2 - w**2 under discrete SGD from u = 1.2, w = 0.6, averaged over time 0 to 50, "
        "divided by the drift that the theory derives, T·Tr[ΣA] + η·ḡᵀAḡ, is 1 to within 5 %"
    )
    verdicts = (
        verdict(
            "Every SGD step changes u**2 - w**2 by η²·ĝᵀAĝ, to rounding",
            "supported",
            3.1e-16,
            (3.1e-16, 3.1e-16),
            (0.0, 1e-12),
            0.0,
            pathwise,
        ),
        verdict(
            f"Every SGD step changes {HOSTILE}",
            "refuted",
            4.2e-3,
            (4.2e-3, 4.2e-3),
            (0.0, 1e-12),
            0.0,
            pathwise,
            "first at step 17",
        ),
        verdict(long_claim, "supported", 1.0031, (0.9874, 1.0188)),
        verdict("Drift ratio from u = 0.5, w = 1.4", "refuted", 1.1042, (1.0907, 1.1177)),
        verdict(
            "Drift ratio from u = 2, w = 0.1",
            "inconclusive",
            1.031,
            (0.962, 1.100),
            note="margin's edge within the interval",
        ),
        verdict(
            "Drift ratio from u = w",
            "inconclusive",
            NAN,
            (-INF, INF),
            note="the predicted drift is 0 there, no ratio to measure",
        ),
        verdict(
            "Divergence exponent of |θ| is 1/4",
            "supported",
            0.2502,
            (0.2471, 0.2533),
            (0.24, 0.26),
            0.25,
            "divergence exponent",
        ),
        verdict(
            "Share of exploded paths stays small",
            "supported",
            2e-4,
            (0.0, 1.1e-3),
            (-INF, 0.01),
            0.0,
            "divergence exponent",
        ),
        verdict(
            "Charge falls, one side open",
            "inconclusive",
            -1.4,
            (-INF, 0.2),
            (-INF, 0.0),
            -1.5,
            "divergence exponent",
        ),
        verdict(
            "Entry of the equilibrium equation from start 1",
            "supported",
            -0.004,
            (-0.021, 0.013),
            (-0.05, 0.05),
            0.0,
            end,
        ),
        verdict(
            "Entry of the equilibrium equation from start 2",
            "inconclusive",
            INF,
            (NAN, NAN),
            (-0.05, 0.05),
            0.0,
            end,
            "every path exploded",
        ),
        verdict(
            "GD keeps the charge up to its O(η) law",
            "supported",
            1.62e5,
            (1.61e5, 1.63e5),
            (1.6e5, 1.64e5),
            1.62e5,
            "gradient descent",
        ),
    )
    entries = tuple(
        Entry(c, s, a, e, i, g)
        for c, s, a, e, i, g in (
            (charges[0], STARTS[0], 0.62, -0.004, (-0.021, 0.013), 0.612),
            (charges[0], STARTS[1], -0.78, 0.011, (-0.012, 0.034), -0.77),
            (charges[0], STARTS[2], 0.99, 0.083, (0.048, 0.118), 0.985),
            (charges[1], STARTS[0], -0.31, NAN, (-INF, INF), NAN),
        )
    )
    runs = (
        Explosions("SGD from u = 1.2, w = 0.6", 0, 2000, None),
        Explosions("SDE from u = 1.2, w = 0.6", 37, 2000, 12.25),
        Explosions("SDE from u = 2, w = 0.1", 2000, 2000, 0.4),
    )
    firsts = (1.08, -1.71, 3.99)
    lines = tuple(
        curves(c, s, f, r, rng)
        for c, r in zip(charges, (0.06, 0.9), strict=True)
        for s, f in zip(STARTS, firsts, strict=True)
    )
    wild = replace(
        lines[1].bands[1],
        high=np.where(lines[1].time > 40, 1e30, lines[1].bands[1].high),
        mean=np.full(101, NAN),
    )
    lines = (lines[0], replace(lines[1], bands=(lines[1].bands[0], wild)), *lines[2:])
    facts = (
        {
            "expression": charges[0],
            "kind": "rescaling",
            "class": "convergent",
            "drift": "-T*(4*u**2*w**2*α₁ - …)*(u**2 - w**2)",
            "equilibrium": "u**2 = w**2",
        },
        {
            "expression": HOSTILE,
            "kind": "matrix factorisation",
            "class": "convergent",
            "drift": " + ".join(f"T*(3*U[{i},0]*U[{i},1] - W[0,{i}]*W[1,{i}]/4)" for i in range(6)),
            "equilibrium": "UᵀΓ_U U = W Γ_W Wᵀ",
        },
    )
    settings = {
        "seed": 0,
        "alpha": 0.01,
        "learning_rate": 0.01,
        "paths": 2000,
        "time": 50.0,
        "margins": {"drift": 0.05, "entry": 0.05},
        "versions": {"noetherflow": "0.1.0", "numpy": "2.3.1", "numba": "0.67.0"},
        "starts": list(STARTS),
        "wall_seconds": 41.237,
    }
    theory = {
        "facts": {"symmetries": "affine, an algebra of dimension 2", "groups": f"R: {HOSTILE} -> c", "charges": "2"},
        "independent_charges": 2,
    }
    families = (
        {"text": charges[0], "number": 1, "class": "convergent", "labels": [charges[0]], "text_math": FORMULA},
        {"text": HOSTILE, "number": 3, "shape": "symmetric 2 x 2", "class": "divergent", "labels": [HOSTILE]},
    )
    return Report(
        f"rescaling {HOSTILE}", verdicts, theory, facts, lines, entries, runs, families=families, settings=settings
    )


class Checker(HTMLParser):
    """Collects tags, attributes and text, and fails on tags that do not nest."""

    VOID = frozenset({"meta", "col", "br", "img", "link", "input", "hr"})

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.ids += [v or "" for k, v in attrs if k == "id"]
        self.links += [v or "" for k, v in attrs if k in ("href", "src", "xlink:href", "srcset", "data", "action")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> at {self.getpos()} closes nothing that is open"

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def parsed(page: str) -> Checker:
    checker = Checker()
    checker.feed(page)
    checker.close()
    assert not checker.open
    return checker


def readable(page: str) -> str:
    """The page with its formulas as they are read aloud."""
    return re.sub(r'<math aria-label="(.*?)">.*?</math>', r"\1", page)
