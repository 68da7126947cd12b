"""The README's example and its figure: `python -m examples.figure` prints the one and writes the other."""

from __future__ import annotations

from pathlib import Path

import sympy as sp

from sde import SGD, plot, simulate, train, verify
from symbolic import Loss, Normal, derive


def main() -> None:
    """Rescaling: what gradient flow keeps and gradient noise takes away."""
    u, w, x, e = sp.symbols("u w x e", real=True)
    loss = Loss((u * w * x - (x + e)) ** 2, parameters=[u, w], data={x: Normal(0, 1), e: Normal(0, sp.Rational(1, 2))})
    theory, sgd, start = derive(loss), SGD(learning_rate=0.02), {u: 1.2, w: 0.6}
    print(theory.charges[0].expression, "|", theory.charges[0].classification, "|", theory.charges[0].drift(sgd))
    print(theory.equilibrium(at=start, sgd=sgd))
    C = {"C": u**2 - w**2}
    run = train(loss, sgd, start=start, steps=10_000, paths=2000, observables=C)
    flow = simulate(loss, sgd, start=start, time=200.0, paths=2000, observables=C)
    for name, data in (("SGD", run), ("SDE", flow)):
        print(name, data.C.sel(statistic="mean").values[[0, 50, 100]].round(4), int(data.exploded[-1]), "exploded")
    report = verify(loss, sgd, start=start, time=260.0, paths=500)
    print(report.outcome, len(report.verdicts), "claims")

    descent = train(loss, sgd, start=start, steps=10_000, paths=1, observables=C, full_batch=True)
    figure = plot([run, flow, descent], "C", theory=theory)
    figure.axes[0].set_ylabel("charge u² − w²")
    figure.savefig(Path(__file__).parent.parent / "docs" / "charge.png", metadata={"Software": None})


if __name__ == "__main__":
    main()
