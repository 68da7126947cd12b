"""The site: every equation has its tests, every table that it is made from is whole, and builds are alike."""

from __future__ import annotations

import runpy
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from docs.extensions import api, choosing, citations, reference
from sde import SDE, simulate
from sde.api import default_scheme
from sde.spec import claims_section, problem_file
from symbolic.problem.distributions import NAMED
from symbolic.problem.optimizer import SGD
from symbolic.schemes import SCHEMES

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
THEORY = (DOCS / "theory.md").read_text(encoding="utf-8")
NUMBERS = citations.numbered(THEORY)


def test_equations_have_numbers_of_their_own() -> None:
    assert len(NUMBERS) >= 42
    assert len(set(NUMBERS)) == len(NUMBERS)


@pytest.mark.parametrize("number", NUMBERS)
def test_every_equation_has_a_test(number: str) -> None:
    assert citations.by_equation()[number], f'no test says "eq. ({number})" in its docstring'


def test_tests_check_equations_that_exist() -> None:
    cited = {n: c.name for c in citations.checks() for n in c.equations}
    assert {n: name for n, name in cited.items() if n not in NUMBERS} == {}


def test_citations_are_read() -> None:
    assert citations.CITED.findall("see eq. (1.1), (2.3) and (4.5); (6.7) is none") == ["(1.1), (2.3) and (4.5)"]
    assert citations.numbered("$$\na\n$$ (1.1)\n\n    (1.2)  b = c (1.1)\n") == ["1.1", "1.2"]


def test_the_spec_reference_knows_every_key() -> None:
    assert set(reference.TOP) == set(problem_file.SECTIONS)
    assert set(reference.LOSS) == set(problem_file.LOSS_KEYS)
    assert set(reference.claim_keys()) == set(claims_section.KEYS)
    assert set(reference.described(SGD)) == set(problem_file.SGD_KEYS)
    assert all(set(reference.described(law)) == set(law.keys()) for law in NAMED.values())
    page = reference.spec_page()
    assert all(f"| `{key}` |" in page for keys in problem_file.TABLES.values() for key in keys)


def test_every_public_name_has_a_page_and_stands_in_the_list() -> None:
    listed = [name for names in api.groups().values() for name in names]
    assert sorted(listed) == sorted(api.public())
    assert "More" not in api.groups()
    assert {f"api/{name}.rst" for name in listed} <= set(api.pages())


def test_names_that_need_torch_have_pages_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "find_spec", lambda name: None)
    assert list(api.network_pages()) == ["networks.md"] and "without it" in api.network_pages()["networks.md"]
    monkeypatch.undo()
    pytest.importorskip("torch")
    from sde import networks

    assert {f"networks/{n}.rst" for n in networks.__all__} | {"networks.md"} == set(api.network_pages())


def test_schemes_have_their_sections_and_say_what_they_are_for() -> None:
    assert all(f"## {name}" in reference.schemes_page() for name in SCHEMES)
    integrators = {name: s for name, s in SCHEMES.items() if s.calculus != "discrete"}
    assert all(s.suits for s in integrators.values())
    rows = [line for line in choosing.page().partition("## By noise")[0].splitlines() if line.startswith("| [")]
    assert len(rows) == len(integrators)
    for line, scheme in zip(rows, integrators.values(), strict=True):
        told = (scheme.name, reference.cell(scheme.suits), str(scheme.strong), str(scheme.weak), *scheme.keeps)
        assert all(word in line for word in told)


def test_the_choice_of_a_scheme_is_what_the_code_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Change a table of the code's, or a scheme's row, and the page is another one."""
    assert {sde.noise_class for sde in choosing.BY_NOISE} == {
        "additive",
        "scalar",
        "diagonal",
        "commutative",
        "general",
    }
    page, gbm = choosing.page(), choosing.BY_NOISE[1]
    assert "| paths | [sriw1](schemes.md#sriw1) | scalar noise, paths asked for, not stiff |" in page
    assert choosing.fitting_row(gbm)[2].startswith("[sriw1](schemes.md#sriw1) (3/2, 3/2), [milstein]")
    monkeypatch.setitem(default_scheme.STRONG, "scalar", "milstein")
    assert choosing.picked(gbm, paths=True)[0] == "milstein" and choosing.page() != page
    monkeypatch.undo()
    monkeypatch.setattr(default_scheme, "STIFF", -1e6)
    assert choosing.picked(choosing.STIFF[0])[0] == "sra1" and "below -1e+06 per step" in choosing.page()
    monkeypatch.undo()
    monkeypatch.setitem(SCHEMES, "sriw1", replace(SCHEMES["sriw1"], noise="additive", suits="nothing else"))
    other = choosing.page()
    assert "| nothing else |" in other and choosing.fitting_row(gbm)[2].startswith("[milstein](")
    monkeypatch.undo()
    assert choosing.page() == page


@pytest.mark.parametrize(
    "sde", [choosing.BY_NOISE[4], choosing.STIFF[2], choosing.KEPT[1]], ids=lambda sde: sde.noise_class
)
def test_a_run_takes_what_the_page_says(sde: SDE) -> None:
    name, why = choosing.picked(sde)
    start = dict.fromkeys(sde.states, choosing.START)
    run = simulate(sde, start=start, time=1.0, dt=choosing.STEP, paths=20, scheme="auto", save_at=2, check=False)
    assert (run.attrs["scheme"], run.attrs["scheme_reason"]) == (name, why)


def test_what_it_is_built_with_is_in_the_extra() -> None:
    conf = runpy.run_path(str(DOCS / "conf.py"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extra = {line.partition(">=")[0] for line in project["optional-dependencies"]["docs"]}
    used = {name for name in (*conf["extensions"], conf["html_theme"]) if not name.startswith(("sphinx.", "docs."))}
    assert extra == {name.replace("_", "-") for name in used} | {"sphinx"}
    own = [name for name in conf["extensions"] if name.startswith("docs.")]
    assert all((ROOT / f"{name.replace('.', '/')}.py").exists() for name in own)


def test_text_in_tables_is_no_markup() -> None:
    assert reference.cell("|a|*b*<c> `d|e`") == "\\|a\\|\\*b\\*\\<c\\> `d|e`"


def test_dead_links_and_fetches_are_found(tmp_path: Path) -> None:
    pytest.importorskip("sphinx")
    from docs.extensions.self_contained import problems

    (tmp_path / "a.html").write_text('<h1 id="top"></h1><a href="b.html#here">x</a><img src="data:image/png;base64,">')
    (tmp_path / "b.html").write_text('<p id="here"></p><a href="a.html#top">x</a><a href="https://x.org/">y</a>')
    assert problems(tmp_path) == []
    (tmp_path / "c.html").write_text(
        '<a href="a.html#none">x</a><a href="no.html">y</a><script src="https://x.org/m.js"></script>'
    )
    assert len(problems(tmp_path)) == 3


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_the_same_each_time(tmp_path: Path) -> None:
    pytest.importorskip("sphinx")
    pytest.importorskip("myst_nb")
    built = [tmp_path / "one", tmp_path / "two"]
    for folder in built:
        command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-d", str(tmp_path / f"{folder.name}.d")]
        done = subprocess.run([*command, str(DOCS), str(folder)], capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0, done.stderr[-3000:]
    files = [{str(p.relative_to(b)): p.read_bytes() for p in b.rglob("*") if p.is_file()} for b in built]
    assert files[0].keys() == files[1].keys()
    assert [name for name in files[0] if files[0][name] != files[1][name]] == []
