"""C6: a checkpoint whose digest is right and whose contents are not is one line that names the file, in memory that its
size bounds."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sde import SGD, resume, simulate
from sde.engine import checkpoint, chunk, engine_identity
from sde.engine.checkpoint import Checkpoint
from sde.storage.archive import DIGEST, HEADER, MAGIC
from sde.storage.files import fingerprint
from sde.storage.row_file import beside
from symbolic.library import LIBRARY
from tests.commands import GOOD, run

RESCALING = LIBRARY["rescaling"].build()
u, w = RESCALING.theta
KINDS: dict[str, dict[str, Any]] = {
    "statistics": {
        "events": {"low": 0.3 - w},
        "covariance": ["u", "w"],
        "histogram": {"u": np.linspace(0, 2, 11)},
        "paths": 12_000,
    },
    "few": {"paths": 3000},
    "paths": {"keep": "paths", "paths": 3000, "events": {"low": 0.3 - w}, "bound": 1.21},
    "stream": {"keep": "paths", "paths": 3000, "events": {"low": 0.3 - w}, "bound": 1.21},
}


def call(kind: str, **changes: Any) -> xr.Dataset:
    given = {"start": {"u": 1.2, "w": 0.6}, "time": 0.5, "dt": 0.01, "seed": 3, "save_at": 3, "threads": 1}
    return simulate(RESCALING, SGD(0.05), **(given | KINDS[kind] | changes))


class Half:
    """A run's checkpoint with about half of its chunks, and the result of the undisturbed run."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind, self.path = kind, folder / kind
        self.out = {"out": folder / "out.nc"} if kind == "stream" else {}
        self.whole = call(kind, **self.out).load()
        begun, advance = list[int](), chunk.advance

        def stopping(*arguments: Any) -> Any:
            begun.append(0)
            if len(begun) == 7:
                raise RuntimeError("power cut")
            return advance(*arguments)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(chunk, "advance", stopping)
            patch.setattr(Checkpoint, "due", lambda _: True)
            with pytest.raises(RuntimeError, match="power cut"):
                call(kind, checkpoint=self.path, **self.out)
        self.data, rows = self.path.read_bytes(), beside(self.path)
        self.rows = rows.read_bytes() if self.out else None
        self.header, self.state = checkpoint.read(self.path)

    def goes_on(self) -> str | None:
        """What a run says that continues from the file; None where it came to the undisturbed result."""
        said = ""
        if self.rows is not None:
            beside(self.path).write_bytes(self.rows)
        try:
            found = call(self.kind, checkpoint=self.path, **self.out)
        except (OSError, ValueError) as error:
            said = str(error)
        if said:
            assert said.startswith("checkpoint: ") and str(self.path) in said and "\n" not in said
            return said
        assert fingerprint(found) == fingerprint(self.whole), "other numbers"
        return None


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Half]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sde.engine.plan.CHUNK_STEPS", 0)
        yield {kind: Half(kind, tmp_path_factory.mktemp("halves")) for kind in KINDS}


def sealed(body: bytes) -> bytes:
    return body + hashlib.sha256(body).hexdigest().encode()


def packed(entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A file whose digest is right, of entries as they are."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, value in entries.items():
            archive.writestr(name, value)
    return sealed(MAGIC + out.getvalue())


def entries_of(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data[len(MAGIC) : -DIGEST])) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize("kind", KINDS)
def test_case_c6_a_state_as_it_was_saved_goes_on(kind: str, halves: dict[str, Half]) -> None:
    half = halves[kind]
    half.path.write_bytes(half.data)
    assert half.goes_on() is None
    checkpoint.write(half.path, half.header, half.state)
    assert half.path.read_bytes() == half.data, "the same bytes for the same state"
    assert half.goes_on() is None


def changes(state: dict[str, np.ndarray]) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """What may be wrong with a state, array by array."""
    yield "all of it missing", {}
    yield "one more", {**state, "more": np.zeros(3)}
    yield "one more part", {**state, **{k.replace("total", "part31"): v for k, v in state.items() if "total" in k}}
    for name, array in state.items():
        rest = {k: v for k, v in state.items() if k != name}
        yield f"{name} missing", rest
        yield f"{name} renamed", {**rest, f"{name}x": array}
        yield f"{name} with an axis more", {**state, name: array[None]}
        yield f"{name} of text", {**state, name: np.array(["text"])}
        yield (
            f"{name} longer",
            {**state, name: np.zeros((*array.shape[:-1], array.shape[-1] + 1) if array.ndim else 2, array.dtype)},
        )
        other = np.float32 if array.dtype.kind == "f" else np.float64
        yield f"{name} of {other.__name__}", {**state, name: array.astype(other)}
        yield f"{name} of other integers", {**state, name: np.zeros(array.shape, np.int16)}
        if array.ndim > 1 and array.shape[0] != array.shape[-1] and array.size:
            yield f"{name} turned", {**state, name: np.ascontiguousarray(array.T)}
        if array.dtype.kind in "iu" and array.size:
            for value in (np.iinfo(array.dtype).max, np.iinfo(array.dtype).min):
                touched = array.copy()
                touched.flat[-1] = value
                if (touched != array).any() and not (name.endswith("own_steps") and value > 0):
                    yield f"{name} with {value}", {**state, name: touched}


@pytest.mark.parametrize("kind", KINDS)
def test_case_c6_every_array_of_a_state_is_checked(kind: str, halves: dict[str, Half]) -> None:
    half = halves[kind]
    tried = 0
    for what, state in changes(half.state):
        try:
            checkpoint.write(half.path, half.header, state)
        except ValueError:
            continue
        said = half.goes_on()
        assert said is not None and "as it was written" in said, what
        tried += 1
    assert tried > 100


def counted(state: dict[str, np.ndarray]) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Counts that are right one by one and do not fit together: each of these gave other numbers."""
    done = np.unpackbits(state["done"])
    for bit in range(len(done)):
        turned = done.copy()
        turned[bit] ^= 1
        yield f"chunk {bit}", {**state, "done": np.packbits(turned)}
    for by in (-1, 1, 5):
        yield f"next by {by}", {**state, "next": state["next"] + by}
    for name in state:
        if name.endswith(".size"):
            yield f"{name} paths", {**state, name: state[name] + np.array([256, 0])}
            yield f"{name} lost", {**state, name: state[name] + np.array([0, 1])}
        if name.endswith(".table"):
            table = state[name].copy()
            table[0, 0] += 1
            yield name, {**state, name: table}
            yield f"{name} below", {**state, name: -state[name]}
        if name.endswith((".moments", ".event_moments")) and state[name].size:
            for column, value in ((0, 0.5), (0, -1), (0, np.nan), (0, 1e9), (2, -1.0), (3, np.inf)):
                cells = state[name].copy()
                if cells[0, 0, 0] > 0 or column == 0:
                    cells[0, 0, column] = value
                    yield f"{name} {column} {value}", {**state, name: cells}


@pytest.mark.parametrize("kind", KINDS)
def test_case_c6_counts_agree_with_one_another(kind: str, halves: dict[str, Half]) -> None:
    half = halves[kind]
    for what, state in counted(half.state):
        checkpoint.write(half.path, half.header, state)
        said = half.goes_on()
        assert said is not None and "as it was written" in said, what


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


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"3",
        b"[]",
        b"{",
        b'{"a": NaN}',
        b'{"a": 1, "a": 2}',
        b"\xff\xfe",
        b"[" * 200_000,
        b'{"a":' * 100_000,
        b"9" * 9999,
    ],
)
def test_case_c6_headers_that_are_no_table(text: bytes, halves: dict[str, Half]) -> None:
    half = halves["few"]
    entries = entries_of(half.data)
    out = io.BytesIO()
    np.lib.format.write_array(out, np.frombuffer(text, np.uint8))
    half.path.write_bytes(packed({**entries, f"{HEADER}.npy": out.getvalue()}))
    assert "as it was written" in (half.goes_on() or "")


def npy(descr: str, shape: str, data: bytes = b"", order: str = "False", version: bytes = b"\1\0") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text.encode() + data


BOMBS: dict[str, Callable[[dict[str, bytes]], bytes]] = {
    "compressed": lambda e: packed({**e, "a.npy": npy("'<f8'", "(100000000,)", bytes(2**27))}, zipfile.ZIP_DEFLATED),
    "lzma": lambda e: packed({**e, "a.npy": bytes(2**26)}, zipfile.ZIP_LZMA),
    "a shape beyond its bytes": lambda e: packed({**e, "a.npy": npy("'<f8'", "(1000000000,)", bytes(100))}),
    "a shape beyond any memory": lambda e: packed(
        {**e, "a.npy": npy("'<f8'", "(999999999999999999, 999999999999999999)")}
    ),
    "no elements of huge shape": lambda e: packed({**e, "a.npy": npy("'<f8'", "(0, 999999999999999999, 99999999)")}),
    "a negative shape": lambda e: packed({**e, "a.npy": npy("'<f8'", "(-1, -8)", bytes(64))}),
    "sixty axes": lambda e: packed({**e, "a.npy": npy("'<f8'", "(" + "1, " * 20 + ")", bytes(8))}),
    "objects": lambda e: packed({**e, "a.npy": npy("'|O'", "(1,)", b"cos\nsystem\n(S'touch pwned'\ntR.")}),
    "records": lambda e: packed({**e, "a.npy": npy("[('a', '<f8')]", "(1,)", bytes(8))}),
    "text": lambda e: packed({**e, "a.npy": npy("'<U2'", "(1,)", bytes(8))}),
    "an expression": lambda e: packed({**e, "a.npy": npy("'<f8'", "(1,)*10**9", bytes(8))}),
    "by columns": lambda e: packed({**e, "a.npy": npy("'<f8'", "(1, 1)", bytes(8), order="True")}),
    "another version": lambda e: packed({**e, "a.npy": npy("'<f8'", "(1,)", bytes(8), version=b"\2\0")}),
    "neither true nor false": lambda e: packed({**e, "a.npy": npy("'|b1'", "(1,)", b"\2")}),
    "no array": lambda e: packed({**e, "a.npy": b"\x93NUM"}),
    "an empty entry": lambda e: packed({**e, "a.npy": b""}),
    "another name": lambda e: packed({**e, "../../a.npy": npy("'<f8'", "(1,)", bytes(8))}),
    "no ending": lambda e: packed({**e, "a": npy("'<f8'", "(1,)", bytes(8))}),
    "no header": lambda e: packed({k: v for k, v in e.items() if not k.startswith(HEADER)}),
    "no archive": lambda e: sealed(MAGIC + b"x" * 1000),
    "nothing": lambda e: sealed(MAGIC),
    "less than nothing": lambda e: MAGIC + b"x" * 30,
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_case_c6_archives_made_to_harm(bomb: str, halves: dict[str, Half], tmp_path: Path) -> None:
    half = halves["few"]
    half.path.write_bytes(BOMBS[bomb](entries_of(half.data)))
    call("few", checkpoint=tmp_path / "warm")
    tracemalloc.start()
    assert "as it was written" in (half.goes_on() or "")
    with pytest.raises(OSError, match="as it was written"):
        checkpoint.read(half.path)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 20 * 2**20 + 4 * half.path.stat().st_size, most


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_case_c6_entries_twice_or_over_one_another(halves: dict[str, Half]) -> None:
    """The same name twice; and a thousand entries that all share one megabyte."""
    half, out = halves["few"], io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, value in [*entries_of(half.data).items(), ("done.npy", entries_of(half.data)["done.npy"])]:
            archive.writestr(name, value)
    half.path.write_bytes(sealed(MAGIC + out.getvalue()))
    assert "double" in (half.goes_on() or "")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a0000.npy", npy("'|u1'", f"({2**20},)", bytes(2**20)))
        first = archive.infolist()[0]
        for k in range(1, 1000):
            archive.filelist.append(again := zipfile.ZipInfo(f"a{k:04}.npy"))
            for name in ("CRC", "compress_size", "file_size", "header_offset", "external_attr"):
                setattr(again, name, getattr(first, name))
    half.path.write_bytes(sealed(MAGIC + out.getvalue()))
    assert half.path.stat().st_size < 1.5 * 2**20
    assert "beyond the file's" in (half.goes_on() or "")


READ = """
import resource, sys
from sde.engine import checkpoint
base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    checkpoint.read(sys.argv[1], arrays=sys.argv[2] == "all")
except OSError:
    pass
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base)
"""


@pytest.mark.parametrize(("what", "share"), [("all", 1.15), ("header", 0.1)])
def test_case_c6_memory_is_that_of_the_file(what: str, share: float, tmp_path: Path) -> None:
    """200 MiB take 200 MiB to read, once, and almost nothing to read the header of."""
    checkpoint.write(tmp_path / "c", {"identity": "", "engine": {}}, {f"a{i}": np.ones(2**20) for i in range(25)})
    done = subprocess.run(
        [sys.executable, "-c", READ, str(tmp_path / "c"), what],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert int(done.stdout) * 1024 < share * (tmp_path / "c").stat().st_size


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_case_c6_bits_turned_under_a_right_digest(data: st.DataObject, halves: dict[str, Half]) -> None:
    half = halves[data.draw(st.sampled_from(list(KINDS)))]
    body = bytearray(half.data[:-DIGEST])
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    if data.draw(st.booleans()):
        del body[data.draw(st.integers(0, len(body))) : data.draw(st.integers(0, len(body)))]
    half.path.write_bytes(sealed(bytes(body)))
    half.goes_on()


ARRAYS = st.sampled_from(["<f8", "<f4", "<i8", "|u1", "|b1", "<i2"]).flatmap(
    lambda kind: st.lists(st.integers(0, 4), max_size=4).map(lambda shape: np.zeros(shape, kind))
)
COUNTS = ("hits", "exploded", "histogram0", "table", "own_steps", "dead", "hit", "row")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_case_c6_states_and_headers_of_any_kind(data: st.DataObject, halves: dict[str, Half]) -> None:
    half = halves[data.draw(st.sampled_from(list(KINDS)))]
    state, header = dict(half.state), dict(half.header)
    for _ in range(data.draw(st.integers(0, 3))):
        name = data.draw(st.sampled_from(sorted(state)))
        how = data.draw(st.integers(0, 4))
        array = state.pop(name)
        if how == 0:
            state[data.draw(st.sampled_from(sorted(state)))] = array
        elif how == 1:
            state[name] = data.draw(ARRAYS)
        elif how == 2:
            state[name] = array.reshape(-1)
        elif how == 3 and array.size:
            state[name] = array.copy()
            state[name].flat[data.draw(st.integers(0, array.size - 1))] = data.draw(st.sampled_from([0, 1, 255]))
            if array.dtype.kind == "f" or name.endswith(
                COUNTS
            ):  # another number of the same kind is another state, which no check can tell
                del state[name]
    for _ in range(data.draw(st.integers(0, 2))):
        header[data.draw(st.sampled_from(sorted(header)))] = data.draw(JSON)
    checkpoint.write(half.path, header, state)
    untouched = state.keys() == half.state.keys() and all(
        state[k].dtype == v.dtype and np.array_equal(state[k], v, equal_nan=v.dtype.kind == "f")
        for k, v in half.state.items()
    )
    said = half.goes_on() if untouched or data.draw(st.booleans()) else None
    if untouched and header == half.header:
        assert said is None
    with pytest.raises((OSError, ValueError), match=r"^[^\n]*$"):
        resume(half.path)


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


def test_case_c6_every_source_that_decides_numbers_is_in_the_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    changes = {
        "sde/engine/accumulators/moments.py": False,
        "symbolic/schemes/heun.py": False,
        "symbolic/problem/loss.py": False,
        "sde/cli/commands.py": True,
    }
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


@pytest.mark.parametrize("what", ["pipe", "folder", "device"])
def test_case_c6_only_files_are_read(what: str, tmp_path: Path) -> None:
    place = tmp_path / "c"
    if what == "pipe":
        os.mkfifo(place)
    elif what == "folder":
        place.mkdir()
    else:
        place.symlink_to("/dev/zero")
    for reading in (lambda: call("few", checkpoint=place), lambda: resume(place), lambda: checkpoint.read(place)):
        with pytest.raises(OSError, match=r"^checkpoint: "):
            reading()
