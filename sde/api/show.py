"""What a result or a checkpoint says of the run that made it, and the command that makes it again. Files are only read;
nothing in them is evaluated."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sde.engine import checkpoint, checkpoint_folder
from sde.settings import SETTINGS, taken
from sde.storage.formats import NETCDF, ZARR, format_of

OPTIONS = (
    *("learning_rate", "batch_size", "weight_decay", "momentum"),
    *(s.name for s in SETTINGS.values() if s.option),
    "alpha",
)
"""Options of the command line that a call may hold."""


def read(path: str | Path) -> dict[str, Any]:
    """{"file", "kind": "result" | "checkpoint" | "checkpoint folder" | "report", "complete" or None, "run": the
    record}. Raises OSError for what is none of these or holds no record."""
    path = Path(path)
    try:
        if path.is_dir():
            if format_of(path) is ZARR:
                return _result(path)
            found = checkpoint_folder.manifest(path)
            return _described(path, "checkpoint folder", None, found.get("run"), found.get("call"))
        with path.open("rb") as stream:
            begin = stream.read(len(checkpoint.MAGIC))
    except OSError as error:
        if not error.errno:
            raise
        raise OSError(f"show: the file must be readable; got {path} ({error.strerror}). Check the path.") from error
    if begin.startswith(checkpoint.MAGIC):
        header, _ = checkpoint.read(path)
        return _described(path, "checkpoint", None, header.get("run"), header.get("call"))
    if begin.lstrip().startswith(b"{"):
        report = _parsed(path, path.read_text(encoding="utf-8", errors="replace"))
        return _described(path, "report", not report.get("interrupted"), report.get("run"), None)
    return _result(path)


def _result(path: Path) -> dict[str, Any]:
    kind = ZARR if path.is_dir() else NETCDF
    try:
        attrs = kind.attributes(path)
    except Exception as error:  # what HDF5 raises for a damaged file is of many kinds
        raise _refused(path, f"neither {kind.name} nor a checkpoint") from error
    if "run" not in attrs:
        raise _refused(path, f"{kind.name} without a record")
    return _described(path, "result", not int(attrs.get("interrupted", 0)), _parsed(path, str(attrs["run"])), None)


def _parsed(path: Path, text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise _refused(path, "a record that is not as it was written")
    return found


def _described(path: Path, kind: str, complete: bool | None, run: Any, call: Any) -> dict[str, Any]:
    if not isinstance(run, dict) or not isinstance(run.get("problem"), dict) or not isinstance(run.get("command"), str):
        raise _refused(path, "without a record of what was run")
    run = {**run, "call": run.get("call") or call}
    return {"file": str(path), "kind": kind, "complete": complete, "run": run}


def _refused(path: Path, kind: str) -> OSError:
    return OSError(
        f"show: must be a result, a report or a checkpoint of noetherflow; got {path} ({kind}). Name another file."
    )


def spec_text(run: Mapping[str, Any]) -> str | None:
    """The spec that was run, as it stood; None for a library loss or a Python call."""
    call = run.get("call")
    text = call.get("text") if isinstance(call, Mapping) else None
    return text if isinstance(text, str) else None


def command(run: Mapping[str, Any]) -> str | None:
    """The shell command that runs it again, quoted; None for a Python call."""
    call = run.get("call")
    if not isinstance(call, Mapping) or call.get("command") not in ("simulate", "train", "verify", "compare"):
        return None
    words = ["noetherflow", str(call["command"]), str(call.get("spec"))]
    words += ["--report", "report.html"] if call["command"] == "verify" else ["-o", "run.nc"]
    given = {**_mapping(call.get("sgd")), **_mapping(call.get("run"))}
    for name in OPTIONS:
        value, option = given.get(name), name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        elif value is not None:
            words += [f"--{option}", str(value)]
    for name in ("svag", "width", "budget"):
        words += [f"--{name}", str(call[name])] if call.get(name) is not None else []
    return shlex.join([*words, *["--full-batch"] * (call.get("full_batch") is True)])


def _mapping(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def python_call(run: Mapping[str, Any]) -> str:
    """The call of a Python run, its problem by name."""
    sgd = _mapping(run.get("sgd"))
    optimiser = [f"SGD({', '.join(f'{k}={v!r}' for k, v in sgd.items() if v is not None)})"] if sgd else []
    given = _mapping(run.get("settings"))
    names = [k for k in given if k in taken(run["command"])] if run["command"] in ("simulate", "train") else given
    settings = [f"{k}={given[k]!r}" for k in names if given[k] is not None]
    return f"{run['command']}({', '.join(['loss' if 'loss' in run['problem'] else 'sde', *optimiser, *settings])})"


def lines(found: Mapping[str, Any]) -> list[str]:
    """All of it for a reader: one line a thing, long texts indented below their name."""
    run, out = found["run"], list[str]()
    state = {True: ", complete", False: ", interrupted", None: ""}[found["complete"]]
    problem = _mapping(run["problem"])
    out.append(
        f"{found['file']}: {found['kind']} of {run['command']}, {problem.get('loss') or problem.get('sde')}{state}"
    )

    def say(name: str, value: Any) -> None:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        parts = text.rstrip("\n").split("\n")
        out.append(f"  {name:16} {parts[0]}" if len(parts) == 1 else f"  {name}")
        out.extend(f"      {part}" for part in parts if len(parts) > 1)

    for name, value in problem.items():
        if value not in (None, [], {}) and name not in ("loss", "sde"):
            say(name, value)
    for name, value in {**_mapping(run.get("sgd")), **_mapping(run.get("settings"))}.items():
        if value is not None:
            say(name.replace("_", " "), value)
    if run.get("data_file"):
        data = _mapping(run["data_file"])
        say("data file", f"{data.get('name')}, SHA-256 {data.get('sha256')}")
    say("versions", ", ".join(f"{k} {v}" for k, v in _mapping(run.get("versions")).items()))
    say("processor", str(run.get("processor")))
    say("kernels", str(run.get("kernels")))
    spec, again = spec_text(run), command(run)
    if spec is not None:
        say(f"spec ({_mapping(run['call']).get('spec')})", spec)
    out.append("to run it again:")
    if again is None:
        out.append(f"  in Python: {python_call(run)}")
        return [_printable(line) for line in out]
    out += [f"  {again}", *_changed(found, spec)]
    return [_printable(line) for line in out]


def _changed(found: Mapping[str, Any], spec: str | None) -> list[str]:
    """What has changed on this machine since the run, and what to do."""
    run, out = found["run"], list[str]()
    path, data = Path(str(run["call"].get("spec"))), _mapping(run.get("data_file"))
    if spec is not None and _read(path) != spec.encode():
        where = "has changed since" if path.exists() else "is gone"
        again = shlex.join(["noetherflow", "show", found["file"], "--spec"])
        out.append(f"  the spec {where}: {again} > {shlex.quote(path.name)} writes it")
    if data and hashlib.sha256(_read(Path(str(data.get("path")))) or b"").hexdigest() != data.get("sha256"):
        out.append(f"  the data file is not what it was: {data.get('path')}")
    return out


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes() if path.is_file() else None
    except OSError:
        return None


def _printable(text: str) -> str:
    """Without characters that would steer a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
