"""Write the notebooks of the results: `python -m notebooks.write [NAME ...]`. Each calls its result's module; the run
that gives them their outputs is `python -m notebooks.run`."""

from __future__ import annotations

import sys

import nbformat
from nbformat import v4

from notebooks.run import FOLDER, execute
from sde.results.catalogue import named
from sde.results.result import Result
from sde.storage.files import write_text

LOAD = """%matplotlib inline
from IPython.display import Markdown, display

from sde.results.catalogue import results
from sde.results.gallery import claims_table, wrong_table
from sde.results.judgement import judged
from sde.results.result import Effort

result = results()["{name}"]
for theory in result.theories().values():
    print(theory)"""
MEASURE = """finding = result.measure(Effort(quick=True))
for caption, figure in finding.figures.items():
    print(caption)
    display(figure)"""
JUDGE = """rows, wrong = judged(finding, result.source)
display(Markdown(claims_table(rows)))
for note in finding.notes:
    print(note)"""
REFUTE = "display(Markdown(wrong_table(wrong)))"


def cells(result: Result) -> list[nbformat.NotebookNode]:
    """Claim, derivation, simulation with figure, verdicts, what a wrong theory gets, what is new."""
    markdown, code = v4.new_markdown_cell, v4.new_code_cell
    return [
        markdown(f"# {result.title}\n\n{result.claim}\n\n*{result.source}*"),
        markdown("Derived:"),
        code(LOAD.format(name=result.name)),
        markdown("Simulated (fewer paths than `noetherflow reproduce` takes without `--quick`):"),
        code(MEASURE),
        markdown("Judged, within margins stated beforehand:"),
        code(JUDGE),
        markdown("The same measurements against a wrong theory:"),
        code(REFUTE),
        markdown(f"**Beyond the source.** {result.beyond}"),
    ]


def main(names: list[str]) -> int:
    """Write these, all where none is named, and execute them."""
    for result in named(tuple(names)):
        path = FOLDER / f"{result.name.replace('-', '_')}.ipynb"
        write_text(path, nbformat.writes(v4.new_notebook(cells=cells(result))) + "\n")
        write_text(path, nbformat.writes(execute(path)) + "\n")
        print(path.name)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
