"""The README's example and its figure: `python -m examples.figure` prints the one and writes the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import sympy as sp
from matplotlib.figure import Figure

from sde import SGD, simulate, train, verify
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
    figure = Figure(figsize=(6.4, 3.4), dpi=110, layout="constrained")
    axes = figure.subplots()
    for label, data, colour in (("SGD", run, "#0072b2"), ("SDE", flow, "#d55e00")):
        low, mean, high = (data.C.sel(statistic=s) for s in ("q05", "mean", "q95"))
        axes.fill_between(data.time, low, high, color=colour, alpha=0.15, lw=0)
        axes.plot(data.time, mean, color=colour, lw=1.6, label=f"{label}, mean and 5-95 %")
    rate = 0.02  # 4 T C_2 at the minimum: T = 0.02, C_2 = 1/4
    axes.plot(run.time, 1.08 * np.exp(-rate * run.time), color="black", lw=1.2, ls="--", label="theory, leading order")
    axes.plot(descent.time, descent.C.sel(statistic="mean"), color="#777777", lw=1.2, ls=":", label="gradient descent")
    axes.set_xlabel("time t = ηk")
    axes.set_ylabel("charge u² − w²")
    axes.legend(frameon=False)
    figure.savefig(Path(__file__).parent.parent / "docs" / "charge.png", metadata={"Software": None})


if __name__ == "__main__":
    main()
