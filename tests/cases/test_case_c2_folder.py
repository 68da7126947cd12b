"""Case C2: which folder is used for the kernel cache, and what is said of one that is not."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from ctypes import c_double
from pathlib import Path

import pytest

from sde.kernels import machine_code
from sde.storage import module_cache
from sde.storage.module_cache import CacheWarning
from tests.commands import record, run


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    module_cache._usable.cache_clear()
    yield
    module_cache._usable.cache_clear()


def compiled() -> tuple[float, int]:
    """(value, hits) of a small kernel compiled, or loaded, anew."""

    def moved(a):
        return a * 2.0 + 1.5

    kernel = machine_code.native(moved, (c_double, c_double))
    return float(kernel.ctypes(3.0)), int(kernel.cached)


def made(path: Path, kind: str) -> str:
    """A folder that may not be used, and why."""
    if kind == "writable by all":
        path.mkdir()
        path.chmod(0o777)
        return "others can write to it"
    if kind == "writable by a group":
        path.mkdir()
        path.chmod(0o770)
        return "others can write to it"
    if kind == "link":
        (path.parent / "real").mkdir(mode=0o700)
        path.symlink_to(path.parent / "real")
        return "a link, or no folder"
    if kind == "dangling link":
        path.symlink_to(path.parent / "nowhere")
        return "a link, or no folder|No such file"
    if kind == "file":
        path.write_text("")
        return "a link, or no folder"
    if kind == "below a file":
        path.parent.joinpath("file").write_text("")
        return "Not a directory|File exists"
    path.mkdir()
    (path / "letters.txt").write_text("mine")
    path.chmod(0o755)
    return "it holds other files"


KINDS = ["writable by all", "writable by a group", "link", "dangling link", "file", "below a file", "holds other files"]


@pytest.mark.parametrize("kind", KINDS)
def test_case_c2_a_folder_that_is_not_private_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    path = tmp_path / "file" / "cache" if kind == "below a file" else tmp_path / "cache"
    why = made(tmp_path / "cache", kind)
    mode = path.lstat().st_mode if os.path.lexists(path) else None
    monkeypatch.setenv("NOETHERFLOW_CACHE", str(path))
    with pytest.warns(CacheWarning, match=f"(?s)kernel cache: needs a folder of your own.*got .*({why})") as told:
        found = [compiled() for _ in range(2)]
    assert found == [(7.5, 0), (7.5, 1)] and len(told) == 1
    used = module_cache.folder()
    assert used != path and stat.S_IMODE(used.stat().st_mode) == 0o700
    assert mode == (path.lstat().st_mode if os.path.lexists(path) else None)
    if path.is_dir():
        assert [p.name for p in path.iterdir()] in ([], ["letters.txt"])


def test_case_c2_an_open_folder_of_ours_alone_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cache"
    path.mkdir()
    path.chmod(0o755)
    (path / "noetherflow_00ff.py").write_text("raise SystemExit")
    monkeypatch.setenv("NOETHERFLOW_CACHE", str(path))
    assert module_cache.folder() == path and stat.S_IMODE(path.stat().st_mode) == 0o700


@pytest.mark.parametrize("home", ["", "/dev/null", "/proc", "~", "."])
def test_case_c2_without_a_home_a_temporary_folder_is_told(tmp_path: Path, home: str) -> None:
    """A user without a home, as in a container, whose XDG folders and HOME lead nowhere."""
    script = (
        "import pwd; pwd.getpwuid = lambda uid: (_ for _ in ()).throw(KeyError(uid))\n"
        + "from sde.storage import module_cache; print(module_cache.folder()); module_cache.save('a.nbc', b'1');"
        " print(module_cache.load('a.nbc'))"
    )
    clean = {k: v for k, v in os.environ.items() if k not in ("HOME", "NOETHERFLOW_CACHE", "XDG_CACHE_HOME")}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**clean, "PYTHONPATH": str(Path(module_cache.__file__).parents[1]), **({"HOME": home} if home else {})},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    where, kept = done.stdout.split("\n")[:2]
    assert "noetherflow-" in where and kept == "b'1'" and not Path(where).exists()
    assert done.stderr.count("kernel cache: needs a folder of your own") == 1
    assert not (tmp_path / "~").exists()


def test_case_c2_the_command_shows_and_clears(empty_cache: Path) -> None:
    assert record("cache")["files"] == 0 and not empty_cache.exists()
    module_cache.save("a.nbc", bytes(1000))
    (empty_cache / "letters.txt").write_text("mine")
    (empty_cache / "link.nbc").symlink_to("letters.txt")
    found = record("cache")
    assert found["folder"] == str(empty_cache) and found["files"] == 3 and found["cleared"] is False
    assert found["limit"] == 2**30 and 1000 < found["bytes"] < 1200
    assert record("cache", "--clear")["cleared"] is True
    assert [p.name for p in empty_cache.iterdir()] == ["letters.txt"] and record("cache")["files"] == 0
    shown = run("cache")
    assert shown.exit_code == 0 and "0 files, 0.0 MiB of at most 1024 MiB" in shown.stdout


@pytest.mark.parametrize("options", [(), ("--clear",)])
def test_case_c2_the_command_touches_no_folder_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    path = tmp_path / "cache"
    path.mkdir()
    (path / "a.nbc").write_text("theirs")
    path.chmod(0o777)
    monkeypatch.setenv("NOETHERFLOW_CACHE", str(path))
    done = run("cache", *options, "--json", "out.json")
    assert done.exit_code == 2 and "others can write to it" in done.stderr and done.stderr.count("\n") == 1
    assert (path / "a.nbc").read_text() == "theirs"
