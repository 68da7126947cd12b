"""Case C2: nothing is loaded from the kernel cache that this user did not write, and damage mends itself."""

from __future__ import annotations

import json
import os
import pickle
import stat
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from ctypes import c_double
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy as sp

from sde import SGD, train
from sde.engine import program
from sde.kernels import machine_code, options
from sde.storage import module_cache
from sde.storage.module_cache import CacheWarning
from symbolic import Loss, Normal
from symbolic.codegen.prepare import prepare
from tests.commands import record

ROOT = os.geteuid() == 0
STRANGER = 12345
u, x = sp.symbols("u x", real=True)


class Canary:
    """A pickle that acts when it is read."""

    def __reduce__(self) -> Any:
        return (os.system, ("touch canary",))


@pytest.fixture(autouse=True)
def no_canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    module_cache._usable.cache_clear()
    module_cache._tell.cache_clear()
    yield
    assert not list(tmp_path.rglob("canary*"))
    module_cache._usable.cache_clear()


def compiled(empty: Path, shift: float = 1.5) -> tuple[float, int]:
    """(value, hits) of a small kernel compiled, or loaded, anew."""

    def moved(a):
        return a * 2.0 + shift

    kernel = machine_code.native(moved, (c_double, c_double))
    return float(kernel.ctypes(3.0)), int(kernel.cached)


def entry(folder: Path) -> Path:
    """The one file of machine code."""
    (found,) = folder.glob("*.nbc")
    return found


def test_case_c2_the_folder_is_private_and_a_second_load_compiles_nothing(empty_cache: Path) -> None:
    assert compiled(empty_cache) == (7.5, 0)
    assert compiled(empty_cache) == (7.5, 1)
    assert stat.S_IMODE(empty_cache.stat().st_mode) == 0o700
    assert {stat.S_IMODE(p.stat().st_mode) for p in empty_cache.iterdir()} == {0o600}
    assert sorted(p.suffix for p in empty_cache.iterdir()) == ["", ".nbc"]


def test_case_c2_another_constant_is_another_entry(empty_cache: Path) -> None:
    assert [compiled(empty_cache, s) for s in (1.5, 2.5, 1.5)] == [(7.5, 0), (8.5, 0), (7.5, 1)]


DAMAGE = {
    "one bit": lambda b: b[:-9] + bytes([b[-9] ^ 4]) + b[-8:],
    "one bit of the seal": lambda b: b[:40] + bytes([b[40] ^ 1]) + b[41:],
    "one bit of the first line": lambda b: bytes([b[0] ^ 1]) + b[1:],
    "cut": lambda b: b[: len(b) // 2],
    "cut to its head": lambda b: b[:50],
    "emptied": lambda b: b"",
    "longer": lambda b: b + b"\0",
    "a pickle": lambda b: pickle.dumps(Canary()),
    "a pickle behind the head": lambda b: b[:59] + pickle.dumps(Canary()),
    "Numba's own index": lambda b: pickle.dumps("0.68.1") + pickle.dumps(Canary()),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_case_c2_a_damaged_file_is_never_run_and_heals(empty_cache: Path, damage: str) -> None:
    compiled(empty_cache)
    path = entry(empty_cache)
    good = path.read_bytes()
    path.write_bytes(DAMAGE[damage](good))
    assert compiled(empty_cache) == (7.5, 0)
    assert compiled(empty_cache) == (7.5, 1)


def test_case_c2_every_bit_counts(empty_cache: Path) -> None:
    module_cache.save("a.nbc", b"some bytes")
    good = (empty_cache / "a.nbc").read_bytes()
    for place in range(len(good)):
        for bit in range(8):
            (empty_cache / "a.nbc").write_bytes(good[:place] + bytes([good[place] ^ 1 << bit]) + good[place + 1 :])
            assert module_cache.load("a.nbc") is None and not (empty_cache / "a.nbc").exists()
    (empty_cache / "a.nbc").write_bytes(good)
    assert module_cache.load("a.nbc") == b"some bytes"


def test_case_c2_a_file_under_another_name_is_refused(empty_cache: Path) -> None:
    """Whole files of ours, swapped: each is sealed with its name."""
    assert compiled(empty_cache, 1.5) == (7.5, 0)
    first = entry(empty_cache)
    kept = first.read_bytes()
    first.unlink()
    assert compiled(empty_cache, 2.5) == (8.5, 0)
    entry(empty_cache).write_bytes(kept)
    assert compiled(empty_cache, 2.5) == (8.5, 0)


def test_case_c2_a_link_is_not_followed(empty_cache: Path, tmp_path: Path) -> None:
    compiled(empty_cache)
    path, other = entry(empty_cache), tmp_path / "elsewhere"
    other.write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(other)
    before = other.read_bytes()
    assert compiled(empty_cache) == (7.5, 0) and not path.is_symlink()
    assert other.read_bytes() == before and compiled(empty_cache) == (7.5, 1)


@pytest.mark.parametrize("kind", ["hard link", "pipe", "folder", "mode"])
def test_case_c2_what_is_no_plain_file_of_ours_is_refused(empty_cache: Path, tmp_path: Path, kind: str) -> None:
    compiled(empty_cache)
    path = entry(empty_cache)
    if kind == "hard link":
        os.link(path, tmp_path / "second")
    elif kind == "mode":
        path.chmod(0o666)
    else:
        path.unlink()
        os.mkfifo(path) if kind == "pipe" else path.mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a folder in its place cannot be replaced, which is told
        assert compiled(empty_cache) == (7.5, 0)
        assert compiled(empty_cache) == (7.5, 0 if kind == "folder" else 1)


@pytest.mark.parametrize("key", [b"", b"short", b"x" * 32, b"x" * 33, None])
def test_case_c2_a_damaged_key_unseals_nothing_and_heals(empty_cache: Path, key: bytes | None) -> None:
    compiled(empty_cache)
    if key is None:
        (empty_cache / "key").unlink()
    else:
        (empty_cache / "key").write_bytes(key)
    assert compiled(empty_cache) == (7.5, 0)
    assert compiled(empty_cache) == (7.5, 1)


def test_case_c2_a_key_that_others_can_read_is_no_key(empty_cache: Path) -> None:
    compiled(empty_cache)
    old = (empty_cache / "key").read_bytes()
    (empty_cache / "key").chmod(0o644)
    assert compiled(empty_cache) == (7.5, 0)
    assert (empty_cache / "key").read_bytes() != old and compiled(empty_cache) == (7.5, 1)


@pytest.mark.skipif(not ROOT, reason="needs to give files to another user")
@pytest.mark.parametrize("which", ["entry", "key", "folder"])
def test_case_c2_what_belongs_to_another_user_is_refused(empty_cache: Path, which: str) -> None:
    """As root too: files that any other user owns are never read."""
    compiled(empty_cache)
    os.chown(
        {"entry": entry(empty_cache), "key": empty_cache / "key", "folder": empty_cache}[which], STRANGER, STRANGER
    )
    module_cache._usable.cache_clear()
    if which != "folder":
        assert compiled(empty_cache) == (7.5, 0) and compiled(empty_cache) == (7.5, 1)
        return
    before = {p: p.read_bytes() for p in empty_cache.iterdir()}
    with pytest.warns(CacheWarning, match=f"it belongs to user {STRANGER}, this is user 0"):
        assert compiled(empty_cache) == (7.5, 0)
    assert before == {p: p.read_bytes() for p in empty_cache.iterdir()}
    assert module_cache.folder() != empty_cache and compiled(empty_cache) == (7.5, 1)


def problem(k: int) -> Loss:
    return Loss((u * x - k) ** 2, [u], {x: Normal(1, 0)})


def last(k: int) -> float:
    program._machine_code.cache_clear()
    for name in [n for n in sys.modules if n.startswith("noetherflow_")]:
        del sys.modules[name]
    found = train(problem(k), SGD(0.25), start={u: 0.0}, steps=1, paths=1, save_at=2, keep="paths")
    return float(found.u.values[0, -1])


@pytest.mark.parametrize(
    "planted",
    [
        "import os\nos.system('touch canary')\n",
        "def step(x, n, h, t, p):\n    x[0] = 13.0\n",
        "",
        "\0",
    ],
)
def test_case_c2_an_edited_text_is_replaced_and_never_run(empty_cache: Path, planted: str) -> None:
    assert last(3) == 1.5
    (path,) = empty_cache.glob("*.py")
    text = path.read_text()
    for machine_code_too in (False, True):
        path.write_text(planted)
        if machine_code_too:
            for p in empty_cache.glob("*.nbc"):
                p.unlink()
        assert last(3) == 1.5 and path.read_text() == text


def test_case_c2_python_caches_beside_the_text_are_not_read(empty_cache: Path) -> None:
    """A planted .pyc with the right time and size, which Python would run in the text's place."""
    import importlib.util
    import marshal

    assert last(7) == 3.5
    (path,) = empty_cache.glob("*.py")
    found, code = path.stat(), compile("import os; os.system('touch canary')", str(path), "exec")
    pyc = Path(importlib.util.cache_from_source(str(path)))
    pyc.parent.mkdir()
    head = importlib.util.MAGIC_NUMBER + bytes(4) + int(found.st_mtime).to_bytes(4, "little")
    pyc.write_bytes(head + found.st_size.to_bytes(4, "little") + marshal.dumps(code))
    assert last(7) == 3.5


def test_case_c2_planted_indexes_of_numba_are_not_read(empty_cache: Path) -> None:
    """Every name under which Numba itself would look, beside the text and in its own folder."""
    assert last(9) == 4.5
    (path,) = empty_cache.glob("*.py")
    (empty_cache / "__pycache__").mkdir()
    for code in empty_cache.glob("*.nbc"):
        role = code.name.rpartition("-")[0]
        for folder in (empty_cache, empty_cache / "__pycache__"):
            for n in range(1, 40):
                tag = f"{path.stem}.{role}-{n}.py{sys.version_info[0]}{sys.version_info[1]}"
                (folder / f"{tag}.nbi").write_bytes(pickle.dumps(Canary()))
    assert last(9) == 4.5


SCRIPT = """
import sympy as sp
from sde import SGD, train
from symbolic import Loss, Normal
u, x = sp.symbols("u x", real=True)
loss = Loss((u * x - 5) ** 2, [u], {x: Normal(1, 0)})
found = train(loss, SGD(0.25), start={u: 0.0}, steps=1, paths=1, save_at=2, keep="paths")
print(float(found.u.values[0, -1]))
"""


@pytest.mark.slow
def test_case_c2_all_machine_code_is_in_the_one_folder(empty_cache: Path) -> None:
    """Loops and shared functions of our own too; a second process loads them; a third, all damaged, compiles again to
    the same number. Quick: tests/sde/test_program.py has the first two."""
    source = Path(options.__file__).parent
    before = set(source.rglob("*.nb?"))
    found = []
    for attempt in range(3):
        if attempt == 2:
            for p in empty_cache.glob("[!a]*.nbc"):  # all but the loop, which takes longest to compile
                p.write_bytes(p.read_bytes()[:-1] + b"\0\0")
        done = subprocess.run([sys.executable, "-W", "error", "-c", SCRIPT], capture_output=True, text=True, check=True)
        found.append((done.stdout, {p.name for p in empty_cache.iterdir()}))
    assert found[0] == found[1] == found[2] and found[0][0].strip() == "2.5"
    assert len([n for n in found[0][1] if n.startswith(("advance", "record", "combine"))]) == 3
    assert set(source.rglob("*.nb?")) == before


def test_case_c2_writers_at_once_leave_whole_files(empty_cache: Path) -> None:
    """Threads that write, read, damage and clear the same names."""
    ended, wrong = time.monotonic() + 1.5, []

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        while time.monotonic() < ended:
            k = int(rng.integers(4))
            name, data = f"f{k}.nbc", bytes([k]) * (5000 + k)
            what = rng.integers(10)
            if what < 4:
                module_cache.save(name, data)
            elif what < 9:
                got = module_cache.load(name)
                if got not in (None, data):
                    wrong.append(name)
            else:
                module_cache.clear()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    assert wrong == [] and not list(empty_cache.glob(".*.part"))
    module_cache.save("f0.nbc", b"last")
    assert module_cache.load("f0.nbc") == b"last"


def test_case_c2_beyond_the_limit_the_oldest_go(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module_cache, "LIMIT", 10_000)
    for k in range(8):
        module_cache.save(f"f{k}.nbc", bytes(2000))
        os.utime(empty_cache / f"f{k}.nbc", (k, 1e9 + k))
        if k == 2:
            assert module_cache.load("f0.nbc") == bytes(2000)  # used: now the newest
    kept = {p.name for p in empty_cache.iterdir()}
    assert sum(p.stat().st_size for p in empty_cache.iterdir()) <= 10_000
    assert kept == {"key", "f0.nbc", "f5.nbc", "f6.nbc", "f7.nbc"}


def test_case_c2_what_killed_writers_left_goes(empty_cache: Path) -> None:
    module_cache.save("a.nbc", b"1")
    for name, age in (("old", 2e4), ("new", 0.0)):
        (empty_cache / f".{name}.part").write_bytes(b"half")
        os.utime(empty_cache / f".{name}.part", (time.time() - age,) * 2)
    module_cache.save("b.nbc", b"2")
    assert {p.name for p in empty_cache.glob(".*")} == {".new.part"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a full device")
def test_case_c2_a_cache_without_room_costs_no_run(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module_cache, "_write", full)
    with pytest.warns(CacheWarning, match=r"its folder must be writable; got .*\(No space left on device\)") as told:
        assert last(11) == 5.5
    assert len(told) == 1


def test_case_c2_a_folder_removed_meanwhile_is_made_again(empty_cache: Path) -> None:
    module_cache.save("a.nbc", b"1")
    module_cache.clear()
    empty_cache.rmdir()
    assert module_cache.load("a.nbc") is None
    module_cache.save("a.nbc", b"1")
    assert module_cache.load("a.nbc") == b"1" and stat.S_IMODE(empty_cache.stat().st_mode) == 0o700


def test_case_c2_emitted_text_is_named_after_us() -> None:
    text = prepare(problem(1), "sgd").module.text
    assert program.import_text(text).__name__.startswith("noetherflow_")
    assert json.dumps(record("schemes"))
