"""The main job on two losses: derive, simulate, verify, report. Run by `make demo`."""

from __future__ import annotations

import sys
from pathlib import Path
from time import perf_counter

from rich.console import Console

from sde import verify
from sde.reports.verdict_table import verdict_table
from sde.spec.problem_file import read_spec
from symbolic.theory import derive

HERE = Path(__file__).parent
SPECS = ("matrix_factorization.toml", "diabetes_relu.toml")


def main() -> int:
    """Verify the specs, print their verdicts and where the reports are. 0 when every claim is supported."""
    console, out, failed = Console(highlight=False), Path("out"), 0
    out.mkdir(exist_ok=True)
    for name in SPECS:
        began, spec = perf_counter(), read_spec(HERE / name)
        theory = derive(spec.loss)
        console.print(theory.summary(), markup=False)
        with console.status(f"running {name}"):
            report = verify(
                spec.loss,
                spec.sgd,
                start=spec.run["start"],
                time=spec.run["time"],
                paths=spec.run["paths"],
                seed=spec.run["seed"],
                theory=theory,
            )
        page = report.to_html(out / f"{Path(name).stem}.html")
        report.to_json(out / f"{Path(name).stem}.json")
        console.print(verdict_table(report))
        console.print(f"report: {page.resolve()} ({perf_counter() - began:.0f} s)\n", markup=False, soft_wrap=True)
        failed += not report.supported
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
