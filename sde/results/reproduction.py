"""All results or some, one after the other: what is complete is kept at once and not made again."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from sde.api import provenance
from sde.engine.progress import Phases
from sde.reports.figures import inline, style
from sde.results.gallery import write_gallery
from sde.results.judgement import Judgement, judged
from sde.results.result import Effort, Result
from sde.storage.files import check_writable, failing_as, write_text

FORMAT = 1
PARTS = 1000
"""Of a second, that progress is counted in."""


def reproduce(
    results: Sequence[Result], folder: Path, phases: Phases, *, quick: bool, threads: int | None
) -> list[Judgement]:
    """Judge every result and write pages, gallery and RESULTS.md to folder. What folder holds of a former call with the
    same code and effort is taken from there. What is raised goes on once the pages of what is complete are written."""
    found: list[Judgement] = []
    try:
        for result in results:
            found.append(_one(result, folder, phases, quick=quick, threads=threads))
    finally:
        write_gallery(folder, results, found, quick=quick)
    return found


def prepare(folder: Path) -> None:
    """Make the folder, and try that it can be written to. Raises OSError where it cannot."""
    with failing_as(folder, "output"):
        (folder / "data").mkdir(parents=True, exist_ok=True)
    check_writable(folder / "RESULTS.md")


def planned(results: Sequence[Result], *, quick: bool) -> list[tuple[str, float]]:
    """Phases with the work that each is thought to take."""
    return [(result.name, PARTS * result.seconds[0 if quick else 1]) for result in results]


def run(result: Result, effort: Effort) -> Judgement:
    """One result, measured and judged."""
    begun = time.monotonic()
    with style():
        finding = result.measure(effort)
        figures = [
            (caption, inline(figure, f"{result.name}-{k}"))
            for k, (caption, figure) in enumerate(finding.figures.items())
        ]
    rows, wrong = judged(finding, result.source)
    return Judgement(
        name=result.name,
        rows=rows,
        wrong=wrong,
        notes=finding.notes,
        figures=tuple(figures),
        theories=tuple((name, str(theory)) for name, theory in result.theories().items()),
        seconds=time.monotonic() - begun,
    )


def _one(result: Result, folder: Path, phases: Phases, *, quick: bool, threads: int | None) -> Judgement:
    path, identity = folder / "data" / f"{result.name}.json", _identity(result, quick)
    kept = _kept(path, identity)
    total = PARTS * result.seconds[0 if quick else 1]
    tick = phases.enter(result.name)
    if kept is not None:
        tick(int(total), held=True)
        return kept
    judgement = run(result, Effort(quick, threads, _shares(tick, total)))
    write_text(path, json.dumps({"format": FORMAT, "identity": identity, **judgement.to_dict()}, indent=1) + "\n")
    return judgement


def _shares(tick: Callable[[int], None], total: float) -> Callable[[float], None]:
    """A listener to the share done so far, from one to what was done since."""
    done = [0]

    def listen(share: float) -> None:
        now = int(total * min(share, 1.0))
        tick(max(now - done[0], 0))
        done[0] = max(now, done[0])

    return listen


def _kept(path: Path, identity: str) -> Judgement | None:
    """What a file holds; None where it is none of this code and effort, or not whole."""
    try:
        record: Any = json.loads(path.read_text(encoding="utf-8"))
        same = record["format"] == FORMAT and record["identity"] == identity
        return Judgement.of_dict(record) if same else None
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None


def _identity(result: Result, quick: bool) -> str:
    """Of all that decides a result's numbers: code, libraries, processor, seed and effort."""
    told = {"code": _code(), "machine": provenance.machine(), "name": result.name, "seed": result.seed, "quick": quick}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


@cache
def _code() -> str:
    """SHA-256 of the packages' sources."""
    import sde
    import symbolic

    digest = hashlib.sha256()
    for package in (sde, symbolic):
        root = Path(package.__path__[0])
        for file in sorted(root.rglob("*.py")):
            digest.update(str(file.relative_to(root)).encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()
