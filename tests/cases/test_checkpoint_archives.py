"""C6: a checkpoint made to harm is one line that names the file, in memory that its size bounds."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sde import resume
from sde.engine import checkpoint
from sde.storage.archive import DIGEST, HEADER, MAGIC
from tests.cases.half_runs import KINDS, Half, call, entries_of, every_half, packed, sealed


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Half]]:
    with every_half(tmp_path_factory) as found:
        yield found


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
    "lzma": lambda e: packed({**e, "a.npy": bytes(2**25)}, zipfile.ZIP_LZMA),
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
    """100 MiB take 100 MiB to read, once, and almost nothing to read the header of."""
    checkpoint.write(tmp_path / "c", {"identity": "", "engine": {}}, {f"a{i}": np.ones(2**20) for i in range(13)})
    done = subprocess.run(
        [sys.executable, "-c", READ, str(tmp_path / "c"), what],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert int(done.stdout) * 1024 < share * (tmp_path / "c").stat().st_size


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
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
