"""Execute the notebooks: `python -m notebooks.run` saves their outputs in place, `--check` executes in memory and keeps
nothing."""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

FOLDER = Path(__file__).parent
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
SECONDS_PER_CELL = 300
EXTRAS = ("torch",)
ADDRESS = re.compile(r" at 0x[0-9a-f]+")
"""Where an object lay in memory: differs from run to run."""


def paths() -> list[Path]:
    """Every notebook of this folder, by name."""
    return sorted(FOLDER.glob("*.ipynb"))


def missing(path: Path) -> str:
    """The extra that the notebook imports and that is not there; empty: none."""
    source = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "code")
    needed = [extra for extra in EXTRAS if re.search(rf"^(?:import|from) {extra}\b", source, re.MULTILINE)]
    return next((extra for extra in needed if find_spec(extra) is None), "")


def read(path: Path) -> NotebookNode:
    """The notebook as it lies on disk."""
    return nbformat.read(path, as_version=4)


def merged(outputs: Sequence[NotebookNode]) -> list[NotebookNode]:
    """The outputs with neighbouring pieces of one stream joined: a busy kernel flushes what a cell prints in pieces."""
    whole: list[NotebookNode] = []
    for output in outputs:
        if whole and output.output_type == whole[-1].output_type == "stream" and output.name == whole[-1].name:
            whole[-1].text += output.text
        else:
            whole.append(output)
    return whole


def execute(path: Path) -> NotebookNode:
    """The notebook with fresh outputs, without what differs from run to run, from a new kernel of this very
    interpreter. Raises CellExecutionError."""
    notebook = read(path)
    for cell in notebook.cells:
        cell.metadata.clear()
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    native = KernelSpecManager(kernel_dirs=[])  # knows "python3" only: sys.executable, whatever is installed beside it
    kernel = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=native)
    with tempfile.TemporaryDirectory() as profile:
        search = os.pathsep.join(p for p in (str(FOLDER.parent), os.environ.get("PYTHONPATH", "")) if p)
        environment = {**os.environ, "PYTHONPATH": search, "IPYTHONDIR": profile, "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
        client = NotebookClient(
            notebook,
            km=kernel,
            timeout=SECONDS_PER_CELL,
            record_timing=False,
            extra_arguments=["--IPKernelApp.log_level=ERROR"],
            resources={"metadata": {"path": FOLDER}},
        )
        client.execute(env=environment, cleanup_kc=True)  # a kernel that it is handed would go on running
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": {"name": "python"}})
    for number, cell in enumerate(notebook.cells, start=1):
        cell.id = f"cell-{number:02d}"
        if cell.cell_type == "code":
            cell.outputs = merged(cell.outputs)
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "text/plain" in data:
                data["text/plain"] = ADDRESS.sub("", data["text/plain"])
    return notebook


def main(arguments: Sequence[str] | None = None) -> int:
    """0, or 1 when a cell of any notebook raised."""
    parser = argparse.ArgumentParser(prog="python -m notebooks.run", description=__doc__)
    parser.add_argument("--check", action="store_true", help="execute in memory only, and fail on any error")
    check = parser.parse_args(arguments).check
    failed = 0
    for path in paths():
        if extra := missing(path):
            print(f"{path.name}: left out, as {extra} is not there")
            continue
        try:
            notebook = execute(path)
        except CellExecutionError as error:
            failed += 1
            print(f"{path.name}: failed\n{error}", file=sys.stderr)
            continue
        if not check:
            partial = path.with_suffix(".partial")
            nbformat.write(notebook, partial)
            partial.replace(path)
        print(f"{path.name}: {'runs' if check else 'saved'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
