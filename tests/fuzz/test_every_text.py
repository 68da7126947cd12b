"""Hostile text in every place that takes text: no code runs, nothing is written elsewhere, every command ends as
documented.

A short form by default; `make fuzz`, or NOETHERFLOW_FUZZ=10000, is the long one.
"""

from __future__ import annotations

import contextlib
import html.parser
import json
import math
import os
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import sympy as sp
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from sde import SGD, simulate
from sde.cli.commands import app
from sde.storage import module_cache
from sde.storage.netcdf import write as write_netcdf
from symbolic import SDE, Loss, Normal, derive
from tests.fuzz.texts import BASE, TEXT, document, specs, tables
from tests.fuzz.watch import shown_safely, watched

TOTAL = int(os.environ.get("NOETHERFLOW_FUZZ", "130"))
ENDED: Counter[str] = Counter()


def share(part: float) -> Any:
    """Settings of a test that gets this part of all inputs."""
    return settings(
        max_examples=max(5, math.ceil(part * TOTAL)),
        deadline=None,
        database=None,
        derandomize=TOTAL <= 1000,
        suppress_health_check=list(HealthCheck),
    )


class Tags(html.parser.HTMLParser):
    """Refuses what a report has not."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "img", "iframe", "object", "embed", "link", "form", "base", "b"), tag
        for name, value in attrs:
            assert not name.startswith("on") and "javascript:" not in (value or "").lower(), (name, value)


def command(group: str, *arguments: str, allowed: tuple[int, ...] = (0, 1, 2, 3)) -> Result:
    """Run the command; its end is a documented one, its words are harmless."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = CliRunner().invoke(app, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code in allowed, (result.exit_code, result.stderr[-2000:])
    assert "Traceback" not in result.stderr
    assert result.exit_code != 2 or result.stderr.strip()
    assert max(map(len, result.stderr.split("\n"))) < 5000
    shown_safely(result.stderr)
    shown_safely(result.stdout)
    ENDED[f"{group} {result.exit_code}"] += 1
    for path in Path().rglob("*"):
        assert not path.name.endswith(".part"), path
    if Path("out.json").exists():
        json.loads(Path("out.json").read_text())
    if Path("out.html").exists():
        Tags().feed(Path("out.html").read_text())
    if Path("out.nc").exists():
        with xr.open_dataset("out.nc", engine="h5netcdf") as data:
            data.load()
    return result


@pytest.fixture(scope="module", autouse=True)
def libraries_loaded(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What libraries do when first used (fonts, compilers) is done before the watch begins; and a plain problem goes
    well."""
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("plain"))
    Path("spec.toml").write_text(document(BASE))
    for which in ("derive", "simulate", "train"):
        assert command("plain", which, "spec.toml", *OUT[which]).exit_code == 0
    command("plain", "verify", "spec.toml", "--paths", "8", "--report", "out.html")
    os.chdir(before)


OUT = {
    "derive": ("--json", "out.json"),
    "simulate": ("-o", "out.nc", "--json", "out.json"),
    "train": ("-o", "out.nc", "--json", "out.json"),
}


@share(0.55)
@given(spec=specs(), which=st.sampled_from(["derive", "simulate", "simulate", "train", "train"]))
def test_fuzz_specs(spec: str, which: str) -> None:
    with watched(module_cache.folder()) as folder:
        (folder / "spec.toml").write_bytes(spec.encode("utf-8", "surrogatepass"))
        command(which, which, "spec.toml", *OUT[which])


@share(0.02)
@given(name=TEXT, observable=TEXT)
def test_fuzz_verify_and_report(name: str, observable: str) -> None:
    table = {**BASE, "name": name, "run": {**BASE["run"], "observables": {observable: "u"}}}
    with watched(module_cache.folder()) as folder:
        (folder / "spec.toml").write_bytes(document(table).encode("utf-8", "surrogatepass"))
        command("verify", "verify", "spec.toml", "--paths", "8", "--report", "out.html", "--json", "out.json")


@share(0.13)
@given(table=tables(), which=st.sampled_from(["derive", "train"]))
def test_fuzz_data_files(table: tuple[str, str], which: str) -> None:
    with watched(module_cache.folder()) as folder:
        (folder / "spec.toml").write_bytes(table[0].encode("utf-8", "surrogatepass"))
        (folder / "train.csv").write_bytes(table[1].encode("utf-8", "surrogatepass"))
        command(f"data {which}", which, "spec.toml", *OUT[which])


@share(0.1)
@given(text=TEXT, raw=st.booleans())
def test_fuzz_whole_files(text: str, raw: bool) -> None:
    """Any bytes as a spec, alone or after one that is whole."""
    with watched(module_cache.folder()) as folder:
        whole = "" if raw else document(BASE)
        (folder / "spec.toml").write_bytes((whole + text).encode("utf-8", "surrogatepass"))
        command("file", "derive", "spec.toml", *OUT["derive"])


OPTIONS = ("--at", "--scheme", "--keep", "--dtype", "--paths", "--seed", "--time", "--learning-rate")


@share(0.1)
@given(
    text=TEXT, place=st.sampled_from([*OPTIONS, *OPTIONS, "-o", "--json", "--checkpoint", "spec", "command", "library"])
)
def test_fuzz_arguments(text: str, place: str) -> None:
    if place in ("-o", "--json", "--checkpoint") and text.startswith("/"):
        text = text.lstrip("/")  # an output goes where it is told
    with watched(module_cache.folder()) as folder:
        (folder / "spec.toml").write_text(document(BASE))
        spec = "spec.toml"
        if place in ("spec", "library"):
            spec = text + ".toml" if place == "spec" else text
            with contextlib.suppress(OSError, ValueError):
                if place == "spec" and "/" not in text:
                    (folder / spec).write_text(document(BASE))
        arguments = {
            "spec": ["derive", spec],
            "library": ["derive", spec],
            "command": [text, spec],
            "--at": ["derive", spec, "--at", text],
        }.get(place, ["simulate", spec, "-o", "out.nc", place, text])
        command(f"argument {place}", *arguments)


@share(0.1)
@given(texts=st.lists(TEXT, min_size=7, max_size=7), hostile=st.integers(0, 7))
def test_fuzz_python_names(texts: list[str], hostile: int) -> None:
    """Names of everything in Python: taken, and shown and written without harm, or refused by a ValueError."""
    plain = ["loss", "u", "w", "x", "o", "hit", "s"]
    label = [t if hostile in (k, 7) else p for k, (t, p) in enumerate(zip(texts, plain, strict=True))]
    with watched(module_cache.folder()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            u, w, x, s = (sp.Symbol(label[k], real=True) for k in (1, 2, 3, 6))
            loss = Loss((u * w * x - 1) ** 2, [u, w], {x: Normal(0, 1)}, name=label[0])
            theory = derive(loss)
            for text in (str(theory), repr(loss), theory.summary(), str(theory.charges[0].expression)):
                shown_safely(text)
            Tags().feed(theory._repr_html_())
            assert "\\href" not in theory.to_latex() and "\\input" not in theory.to_latex()
            json.dumps(theory.to_json())
            arguments: dict[str, Any] = {"paths": 2, "time": 0.02, "save_at": 2, "events": {label[5]: -1}}
            data = simulate(loss, SGD(0.01), start={u: 1.0, w: 0.5}, observables={label[4]: u}, **arguments)
            sde = SDE([u], [s - u], [[1]], name=label[0], parameters=[s])
            both = simulate(sde, start={u: 1.0}, parameters={s: [0.1, 0.2]}, observables={label[4]: u}, **arguments)
            for result in (data, both):
                write_netcdf("out.nc", result)
                with xr.open_dataset("out.nc", engine="h5netcdf") as again:
                    assert set(again.variables) == set(result.variables) and again.attrs["name"] == label[0]
            ENDED["python taken"] += 1
        except ValueError as error:
            shown_safely(str(error))
            ENDED["python refused"] += 1


def test_fuzz_reached_both_ends() -> None:
    """What went through is no empty exercise: runs that went well, and refusals, of every kind."""
    if not ENDED:
        pytest.skip("no fuzz test ran before")
    print(
        "\n" + "\n".join(f"{n:6d}  {end}" for end, n in sorted(ENDED.items())) + f"\n{sum(ENDED.values()):6d}  inputs"
    )
    if not {"derive 0", "verify 0", "file 2", "python taken"} <= ENDED.keys():
        pytest.skip("some of the fuzz tests did not run before")
    for kind in ("derive", "simulate", "train"):
        assert ENDED[f"{kind} 0"] and ENDED[f"{kind} 2"], kind
    assert ENDED["python taken"] and ENDED["python refused"]
