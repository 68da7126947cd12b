"""The page "choose a scheme": what schemes say of themselves, and what they and `scheme="auto"` answer when they are
asked about small equations."""

from __future__ import annotations

from collections.abc import Iterator

import sympy as sp

from docs.extensions.reference import cell, code, table
from sde import SDE
from sde.api import default_scheme
from sde.settings import RunSettings, SaveAt
from symbolic import states
from symbolic.dynamics.domain import NONNEGATIVE, WALLS
from symbolic.schemes import SCHEMES, Scheme, fitting

X, Y = sp.symbols("X Y", real=True)
BY_NOISE = (
    SDE([X], [-X], [[1]]),
    SDE([X], [-X], [[X / 2]]),
    SDE([X, Y], [-X, -Y], [[X / 2, 0], [0, Y / 2]]),
    SDE([X, Y], [-X, -Y], [[X / 2, -Y / 2], [Y / 2, X / 2]]),
    SDE([X, Y], [-X, -Y], [[1, Y], [X, 1]]),
)
"""One equation of each noise class, whose drift and start no scheme minds."""
STIFF = (
    SDE([X], [-1000 * X], [[1]]),
    SDE([X], [-200 * X**3], [[X / 2]]),
    SDE([X, Y], [-500 * X + Y, X - Y], [[1, 0], [0, 1]]),
    SDE([X, Y], [-500 * X + 400 * Y, 400 * X - 500 * Y], [[1, 0], [0, 1]]),
)
KEPT = (
    SDE([X], [X - X**2], [[X / 2]], domain={X: NONNEGATIVE}),
    SDE([X], [1 - X], [[sp.sqrt(X)]], domain={X: NONNEGATIVE}),
    SDE([X], [1 - X], [[X / 2]], domain={X: NONNEGATIVE}),
    *(SDE([X], [1], [[1]], domain={X: (kind, 0, 1)}) for kind in WALLS),
)
STEP, START = 0.02, 0.5


def integrators() -> dict[str, Scheme]:
    """The schemes that integrate an SDE, by name."""
    return {name: scheme for name, scheme in SCHEMES.items() if scheme.calculus != "discrete"}


def link(name: str) -> str:
    """A scheme's name that leads to what its file says of it."""
    return f"[{name}](schemes.md#{name.partition(':')[0]})"


def picked(sde: SDE, *, paths: bool = False) -> tuple[str, str]:
    """What a run with `scheme="auto"` takes at the step STEP, and why."""
    begin = dict.fromkeys(sde.states, START)
    keep = SaveAt(keep="paths" if paths else "statistics")
    settings = RunSettings(
        command="simulate", start=begin, time=1.0, dt=STEP, paths=20, scheme=default_scheme.AUTO, saves=keep
    )
    found = default_scheme.chosen(sde, settings)
    return found.scheme, found.why


def written(sde: SDE) -> str:
    """An equation in a cell of a table."""
    first, *others = repr(sde).removesuffix(")").splitlines()
    return "; ".join(code(line.strip()) for line in (others or [first.partition("; ")[2]]))


def answers() -> Iterator[list[str]]:
    """Rows of what `scheme="auto"` picks."""
    stratonovich = [sde.to("stratonovich") for sde in BY_NOISE[1:2]]
    for sde in (*BY_NOISE, *stratonovich, *STIFF, *KEPT):
        sense = "Stratonovich" if sde.interpretation == "stratonovich" else ""
        domain = ", ".join(f"{s}: {d}" for s, d in sde.domain.items())
        about = "; ".join(filter(None, (sde.noise_class, sense, domain)))
        by_asked = {asked: picked(sde, paths=asked == "paths") for asked in ("statistics", "paths")}
        same = len(set(by_asked.values())) == 1
        for asked, (name, why) in list(by_asked.items())[: 1 if same else 2]:
            yield [written(sde), cell(about), "either" if same else asked, link(name), cell(why)]


def fitting_row(sde: SDE) -> list[str]:
    """A noise class, an equation of it, and the schemes that take it, those of the highest strong order first."""
    noise = sde.noise_class
    names = sorted(fitting(sde), key=lambda n: -SCHEMES[n].order("strong", noise))
    orders = (f"{link(n)} ({SCHEMES[n].order('strong', noise)}, {SCHEMES[n].order('weak', noise)})" for n in names)
    return [noise, written(sde), ", ".join(orders)]


def arrays_rows() -> Iterator[list[str]]:
    """Of arrays: the schemes that take each noise class."""
    A = states("A", (3,))
    for sde in (SDE(A, -A, [1.0, 1.0, 1.0]), SDE(A, -A, A / 2), SDE(A, -A, A[::-1] / 2)):
        yield [sde.noise_class, ", ".join(map(link, fitting(sde)))]


def domain_row(kind: str) -> list[str]:
    """The schemes that keep a kind of domain."""
    return [code(kind), ", ".join(link(name) for name, scheme in integrators().items() if kind in scheme.keeps)]


def row(name: str, scheme: Scheme) -> list[str]:
    """What a scheme says of itself."""
    kept = ", ".join(scheme.keeps)
    orders = [cell(scheme.strong), cell(scheme.weak)]
    return [link(name), cell(scheme.suits), scheme.calculus, scheme.noise, *orders, kept, scheme.arrays or ""]


def page() -> str:
    """In Markdown."""
    stratonovich = [sde.to("stratonovich") for sde in BY_NOISE]
    return "\n".join([
        "# Choose a scheme\n",
        "This page is made from the schemes themselves, and from what `simulate` answers when it is asked. In doubt"
        " write `scheme=\"auto\"`: a result says in `attrs[\"scheme\"]` and `attrs[\"scheme_reason\"]` what was taken"
        " and why. With no scheme named a run takes `euler-maruyama`, or what keeps the domains of its states.\n",
        "## By what it is for\n",
        "`noise` and `arrays` are the widest noise class that a scheme may be used on, `arrays` where states are whole"
        " arrays (empty: not at all); orders are strong and weak orders of convergence; `keeps` names the"
        " [domains](../how-to/domains.md) that it holds states in.\n",
        table(["scheme", "for", "calculus", "noise", "strong", "weak", "keeps", "arrays"],
              [row(name, scheme) for name, scheme in integrators().items()]),
        "## By noise\n",
        "The schemes that fit an equation, with strong and weak order there. One that does not is refused, with the"
        " reason.\n",
        table(["noise", "such as", "schemes (strong, weak)"], map(fitting_row, BY_NOISE)),
        "In Stratonovich's sense:\n",
        table(["noise", "such as", "schemes (strong, weak)"], map(fitting_row, stratonovich)),
        "Of arrays:\n",
        table(["noise", "schemes"], arrays_rows()),
        "## By domain\n",
        table(["domain", "schemes that keep it"], map(domain_row, (NONNEGATIVE, *WALLS))),
        "## What `auto` picks\n",
        f"Asked for statistics or for paths (`keep`), at dt = {STEP}. Domains come first; then stiffness at the start,"
        f" of up to {default_scheme.MOST_STATES} states: an eigenvalue of the drift's Jacobian below"
        f" {default_scheme.STIFF:g} per step, or one that turns by more than a radian; then the noise. Without a dt,"
        " where a linear part of the drift is what is fast, noise is of constants and time in no coefficient, a run"
        " that only looks at its saves takes steps that follow the rest. A scheme that would meet a coefficient's"
        " singularity at the end of a run is passed over.\n",
        table(["equation", "", "asked for", "scheme", "why"], answers()),
        "Then look at two numbers of the result: `run.exploded`, and the step's own check, whose warning says by how"
        " much half the step would change what was saved. `noetherflow schemes` prints the schemes in a terminal.\n",
    ])  # fmt: skip
