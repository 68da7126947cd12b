"""C6: what a checkpoint's header says of its run and of the engine is checked, value by value."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sde import resume
from sde.engine import checkpoint, engine_identity
from tests.cases.half_runs import Half, every_half
from tests.commands import GOOD, run


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Half]]:
    with every_half(tmp_path_factory) as found:
        yield found


HEADERS: list[tuple[str, Any]] = [
    *((key, value) for key in ("identity", "name", "seed", "versions", "kind") for value in (None, 3, [], {}, True)),
    *(("paths", value) for value in (None, "3", 1.5, True, [])),
    *(("engine", value) for value in (None, "x", {"numpy": 3}, [], {})),
    *(("call", value) for value in ("x", [], 3)),
]


@pytest.mark.parametrize(("key", "value"), HEADERS)
def test_case_c6_header_values_of_other_types(key: str, value: Any, halves: dict[str, Half]) -> None:
    half = halves["few"]
    checkpoint.write(half.path, {**half.header, key: value}, half.state)
    assert half.goes_on() is not None
    with pytest.raises((OSError, ValueError), match=r"^(checkpoint|resume): "):
        resume(half.path)
    if key in ("identity", "engine"):
        rest = {k: v for k, v in half.header.items() if k != key}
        checkpoint.write(half.path, rest, half.state)
        assert half.goes_on() is not None


def test_case_c6_the_engine_is_the_version_the_sources_the_packages_and_the_processor(
    halves: dict[str, Half], monkeypatch: pytest.MonkeyPatch
) -> None:
    half, engine = halves["few"], checkpoint.engine()
    assert engine.keys() == {
        "package", "sources", "kernels", "numpy", "scipy", "sympy", "numba", "llvmlite", "processor",
    }  # fmt: skip
    for part in engine:
        checkpoint.write(half.path, {**half.header, "engine": {**engine, part: "0.0.1"}}, half.state)
        assert f"of {part} 0.0.1 where this is {engine[part]}" in (half.goes_on() or "")
        rest = {k: v for k, v in engine.items() if k != part}
        checkpoint.write(half.path, {**half.header, "engine": rest}, half.state)
        assert f"of {part} unknown" in (half.goes_on() or "")
    checkpoint.write(half.path, {**half.header, "engine": {**engine, "torch": "2"}}, half.state)
    assert "of torch 2 where this is unknown" in (half.goes_on() or "")


@pytest.mark.parametrize(
    "changes",
    [
        {"symbolic/schemes/heun.py": False, "sde/cli/commands.py": True},
        pytest.param(
            {"sde/engine/accumulators/moments.py": False, "symbolic/problem/loss.py": False}, marks=pytest.mark.slow
        ),
    ],
    ids=["schemes", "others"],
)
def test_case_c6_every_source_that_decides_numbers_is_in_the_engine(changes: dict[str, bool], tmp_path: Path) -> None:
    import shutil

    root = Path(__file__).parents[2]
    for package in ("sde", "symbolic"):
        shutil.copytree(root / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    found = engine_identity.sources_hash()
    text = (
        "import sys; sys.path.insert(0, sys.argv[1]); from sde.engine.engine_identity import sources_hash, __file__ as"
        " f; print(f, sources_hash())"
    )

    def there() -> str:
        return subprocess.run(
            [sys.executable, "-c", text, str(tmp_path)], capture_output=True, text=True, check=True, cwd=tmp_path
        ).stdout.split()[1]

    assert there() == found
    for name, same in changes.items():
        with (tmp_path / name).open("a") as file:
            file.write("\n# another line\n")
        now = there()
        assert (now == found) is same, name
        found = now


@pytest.mark.usefixtures("folder")
def test_case_c6_the_calls_in_a_header_are_checked() -> None:
    assert run("simulate", "good.toml", "--paths", 600, "-o", "run.nc", "--checkpoint", "c").exit_code == 0
    header, state = checkpoint.read("c")
    plain = header["call"]
    wrong: list[tuple[str, Any]] = [
        *(("spec", value) for value in (None, 3, [])),
        *(("text", value) for value in (3, [], {}, "not toml =", "")),
        *(("full_batch", value) for value in (None, 1, "yes")),
        *(
            ("sgd", value)
            for value in (None, [], {"learning_rate": "x"}, {"schedule": "t"}, {"momentum": True}, {"a": None})
        ),
        *(
            ("run", value)
            for value in (None, [], {"paths": "x"}, {"paths": 1.5}, {"seed": True}, {"out": "x"}, {"time": []})
        ),
        *(
            ("run", value)
            for value in ({"paths": -1}, {"paths": 10**30}, {"time": 1e999}, {"keep": "x"}, {"scheme": "x"})
        ),
        *(("run", value) for value in ({"dtype": "object"}, {"seed": -1}, {"save_at": -3}, {"dt": 0.0}, {"steps": 3})),
    ]
    for key, value in wrong:
        body = json.loads(json.dumps({**header, "call": {**plain, key: value}}).replace("Infinity", "1e999"))
        try:
            checkpoint.write(Path("c"), body, state)
        except ValueError:
            continue
        done = run("resume", "c", "-o", "other.nc")
        assert done.exit_code == 2 and "Traceback" not in done.stderr and done.stderr.strip(), (key, value)
        assert not Path("other.nc").exists()
    for key in plain:
        checkpoint.write(Path("c"), {**header, "call": {k: v for k, v in plain.items() if k != key}}, state)
        assert run("resume", "c", "-o", "other.nc").exit_code == 2, key
    checkpoint.write(Path("c"), {**header, "call": {**plain, "text": None, "spec": "/etc/passwd"}}, state)
    assert "header's spec" in run("resume", "c", "-o", "other.nc").stderr
    checkpoint.write(Path("c"), header, state)
    assert GOOD and run("resume", "c", "-o", "other.nc").exit_code == 0
