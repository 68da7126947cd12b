"""What commands check before they begin, and write and say at their end."""

from __future__ import annotations

import json
import math
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.table import Table

from sde.cli.terminal import err, line, say
from sde.engine import interruption
from sde.storage.archive import MANIFEST, check_kind
from sde.storage.distinct_files import check_apart
from sde.storage.files import check_ending, check_writable, write_text
from sde.storage.formats import format_of, refuse_other_endings
from symbolic.errors import InputError

MARKDOWN = (".md", ".markdown")
begun: list[Path] = []
"""Outputs that a command has begun to write."""


def checked(
    inputs: Iterable[str | Path],
    *targets: str | Path | None,
    result: Path | None = None,
    checkpoint: Path | None = None,
    report: Path | None = None,
) -> None:
    """Every output can be written, is one of its own, and is no input. result, report: in a format by their endings;
    checkpoint: a file, which must be none of another kind, or the folder of a sweep."""
    every = [result, report, *targets, checkpoint]
    folder = checkpoint is not None and (checkpoint / MANIFEST).is_file()
    for target in every:
        if target is None or (target is checkpoint and folder):
            continue
        if str(target) == "-":
            if isinstance(target, Path):
                raise InputError(
                    f"output: must be a file; got '-' ({type(target).__name__}). Only --json writes to standard output."
                )
            continue
        format_of(target).check(target) if target is result else check_writable(target)
    check_apart(every, inputs)
    if report is not None:
        check_ending(report, "report", "HTML or Markdown", (".html", ".htm", *MARKDOWN))
    if result is not None:
        refuse_other_endings(result)
    if checkpoint is not None and not folder:
        check_kind(checkpoint)


def emit(target: str | None, record: dict[str, Any]) -> None:
    """Write JSON to a file, or to standard output for -."""
    if target is None:
        return
    text = json.dumps(record, indent=1) + "\n"
    if target == "-":
        sys.stdout.write(text)
    else:
        write_text(target, text)


NARROW = 12
"""Widest column, after the first, of a table that is never broken."""


def listing(rows: list[dict[str, str]], target: str | None, shown: Any) -> int:
    """Print rows as a table."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for k, name in enumerate(rows[0]):
        narrow = max(len(str(row[name])) for row in rows) <= NARROW
        table.add_column(name, overflow="fold", no_wrap=narrow or k == 0)
    for row in rows:
        table.add_row(*(str(v) for v in row.values()))
    shown.print(table)
    if target is not None:
        text = json.dumps(rows, indent=1) + "\n"
        sys.stdout.write(text) if target == "-" else write_text(target, text)
    return 0


def finish(data: Any, output: Path, target: str | None, checkpoint: Path | None, shown: Any) -> int:
    """Write a run's result; the exit code."""
    begun.append(output)
    format_of(output).write(output, data)
    attrs = {k: v.item() if hasattr(v, "item") else v for k, v in data.attrs.items()}
    rate = f"{attrs['wall_seconds']:.2f} s, {attrs['compile_seconds']:.2f} s to compile"
    say(
        f"{line(output)}: {attrs['paths']} paths of {attrs['name']} ({attrs['exploded_paths']} exploded), {rate}", shown
    )
    variables = {str(k): list(map(str, v.dims)) for k, v in data.items()}
    emit(target, {**attrs, "run": json.loads(attrs["run"]), "output": str(output), "variables": variables})
    if attrs["interrupted"]:
        again = f"; {_again(checkpoint)} goes on" if checkpoint else ""
        say(f"interrupted: the {attrs['paths']} paths that were complete are saved in {line(output)}{again}")
        return interruption.exit_code()
    if attrs["exploded_paths"] >= attrs["paths"]:
        say(f"every path was lost: {line(output)} holds no number but their count")
        return 1
    return 0


def compared(
    found: Any, output: Path | None, figure: Path | None, target: str | None, shown: Any, slopes: bool = False
) -> int:
    """Say and write a comparison; the exit code. slopes: whether that asks for every slope, beside the differences at
    the user's rate."""
    from sde.reports.comparison_figure import write_comparison

    for sentence in [*found.attrs.get("horizon", "").splitlines(), *found.attrs["sentence"].splitlines()]:
        say(sentence, shown)
    for left in found.attrs["left_out"].splitlines():
        say(f"left out: {left}", shown)
    if output is not None:
        begun.append(output)
        format_of(output).write(output, found)
    if figure is not None:
        begun.append(figure)
        write_comparison(figure, found)
    named = {str(k): v for k, v in found.variables.items()}
    record = {**found.attrs, "run": json.loads(found.attrs["run"])}
    record["variables"] = {k: {"dims": list(map(str, v.dims)), "values": _numbers(v.values)} for k, v in named.items()}
    emit(target, record)
    say(f"{found.attrs['path_steps']:.3g} path-steps, {found.attrs['wall_seconds']:.0f} s", shown)
    if found.attrs["interrupted"]:
        say("interrupted: the rounds of paths that were complete are the result")
        return interruption.exit_code()
    untold, vague = (int((found[name] == 0).sum()) for name in ("told", "decided"))
    if untold:
        say(
            f"{untold} of {found.told.size} differences at your learning rate are not told: a larger --budget may",
            shown,
        )
    if vague and slopes:
        say(f"{vague} of {found.decided.size} slopes are not within --width", shown)
    return 3 if untold or (vague and slopes) else 0


def _numbers(values: Any) -> Any:
    """Nested lists, with None where there is no finite number."""
    if values.ndim:
        return [_numbers(v) for v in values]
    one = values.item()
    return None if isinstance(one, float) and not math.isfinite(one) else one


def judged(found: Any, report: Path | None, target: str | None, checkpoint: Path | None, shown: Any) -> int:
    """Show and write a verification, its JSON first."""
    from sde.reports.verdict_table import verdict_table

    begun.append(Path(target or "-"))
    emit(target, found.to_dict())
    shown.print(verdict_table(found))
    if report is not None:
        (found.to_markdown if report.suffix.lower() in MARKDOWN else found.to_html)(report)
        say(f"report: {line(report)}", shown)
    if found.interrupted:
        again = f"; {_again(checkpoint)} goes on" if checkpoint else ""
        what = f"{len(found.tested)} claims were measured, {len(found.untested)} were not"
        say(f"interrupted: {what}{again}")
        return interruption.exit_code()
    code = {"supported": 0, "refuted": 1, "inconclusive": 3}[found.outcome]
    if found.untested:
        say(untested_words(found, code), shown if shown.quiet else err)
    return code


def untested_words(found: Any, code: int) -> str:
    """What an exit code leaves out: the claims that were not tested, and what they would take."""
    from sde.reports.contents import left_out

    left, total = len(found.untested), len(found.verdicts)
    needs = "; ".join(line(one.needs) for one in left_out(found))
    covers = "of the claims that were tested all are supported" if code == 0 else "it is of those that were tested"
    return f"{left} of {total} claims NOT TESTED (exit code {code}: {covers}). They need {needs}."


def calibrated(found: Any, target: str | None, checkpoint: Path | None, shown: Any) -> int:
    """Show and write a calibration, its JSON first; the exit code."""
    from sde.reports.calibration_table import calibration_record, calibration_table

    begun.append(Path(target or "-"))
    emit(target, calibration_record(found))
    shown.print(calibration_table(found))
    if found.attrs["interrupted"]:
        again = f"; the same command goes on from {line(checkpoint)}" if checkpoint else ""
        say(f"interrupted: the table is of the verifications that were complete{again}")
        return interruption.exit_code()
    return 0


def reproduced(found: Any, folder: Path, shown: Any) -> int:
    """Say what came of each result; the exit code."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for one in found:
        counts = ", ".join(f"{n} {word}" for word, n in one.tally.items())
        refused = sum(w.as_expected for w in one.wrong)
        others = f"{refused} of {len(one.wrong)} wrong theories refuted"
        table.add_row(_MARKS[one.outcome], one.name, counts, others, f"{one.seconds:.0f} s")
    shown.print(table)
    off = [j for one in found for j in (*one.rows, *one.wrong) if not j.as_expected]
    for one in off:
        say(f"{one.verdict.verdict}, not {one.row.expected}: {one.verdict.claim}", shown)
    say(f"{line(folder / 'index.html')}: {len(found)} results, pages and RESULTS.md", shown)
    outcomes = {one.outcome for one in found}
    return 1 if "otherwise" in outcomes else 3 if "inconclusive" in outcomes else 0


_MARKS = {"as expected": "✓", "otherwise": "✗", "inconclusive": "?"}


def _again(checkpoint: Path) -> str:
    return shlex.join(["noetherflow", "resume", str(checkpoint)])
