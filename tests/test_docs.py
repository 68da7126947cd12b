"""README and docs: every Python snippet and command runs and prints what stands below it; what is named exists."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import subprocess
import warnings
from pathlib import Path

import pytest

from tests.commands import run

ROOT = Path(__file__).resolve().parents[1]
DOCS = [p for p in sorted((ROOT / "docs").rglob("*.md")) if "generated" not in p.parts]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS]
MADE = re.compile(r"(?:docs/|\.\./|^)generated/")
"""Links to pages that are made when the site is built, which has them checked."""
SLOW = {"README.md", "array-equations.md"}
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```\n(?:\n((?: {4}[^\n]*\n)+))?", re.MULTILINE | re.DOTALL)
"""A fenced block: its language, its text, and the indented text below it, what it prints."""
FILES = "THEORY DESIGN HOUSE CASES NETWORKS"


def blocks(page: Path) -> list[tuple[str, str, str]]:
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [(kind, text, re.sub("^ {4}", "", printed, flags=re.MULTILINE).strip()) for kind, text, printed in found]


def rounded(text: str) -> str:
    """What is 0 but for rounding, and what a search took, as one word."""
    return re.sub(r"(?<=parameters, )\d+\.\d(?= s\))", "#", re.sub(r"\b\d\.\de-1\d\b", "0", text))


def marked(page: Path) -> object:
    return pytest.param(page, id=page.name, marks=[pytest.mark.slow] if page.name in SLOW else [])


@pytest.mark.parametrize("page", [marked(p) for p in PAGES if blocks(p)])
def test_snippets_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if page.name.startswith("torch-"):
        pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    space: dict[str, object] = {}
    for kind, text, printed in blocks(page):
        if kind == "toml":
            name = re.search(r'^name = "(\w+)"$', text, re.MULTILINE)
            assert name is not None
            Path(f"{name[1]}.toml").write_text(text, encoding="utf-8")
        elif kind == "sh":
            for line in text.splitlines():
                program, *arguments = shlex.split(line)
                assert program == "noetherflow" and run(*arguments).exit_code == 0, line
        else:
            assert kind == "python"
            out = io.StringIO()
            with contextlib.redirect_stdout(out), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                exec(compile(text, page.name, "exec"), space)
            assert rounded(out.getvalue().strip()) == rounded(printed)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_and_paths_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    links = [link for link in links if not MADE.search(link)]
    assert all((page.parent / link).exists() for link in links if link), links
    paths = re.findall(r"`((?:sde|symbolic|tests|docs|examples|notebooks|benchmarks)/[\w./]*)`", text)
    assert all((ROOT / path).exists() for path in paths), paths


def test_the_readme_is_one_screen() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 60


def test_every_page_is_reached_from_the_readme() -> None:
    """By name, or by the contents of pages that are."""
    reached, waiting = set[Path](), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or not page.exists():
            continue
        reached.add(page)
        text = page.read_text(encoding="utf-8")
        waiting += [(page.parent / link).resolve() for link in re.findall(r"\]\(([^)#\s]+\.md)\)", text)]
        for listed in re.findall(r"^```\{toctree\}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            waiting += [(page.parent / f"{name}.md").resolve() for name in listed.split()]
    assert set(PAGES) <= reached


def sources() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], capture_output=True, check=True, cwd=ROOT).stdout.decode()
    return [
        ROOT / name for name in listed.split("\0") if name.endswith((".py", ".pyi", ".md", ".toml", ".ipynb", ".cff"))
    ]


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs the list of files that git keeps")
def test_no_file_speaks_of_sheets_that_are_not_here() -> None:
    """Formulas are cited as docs/theory.md numbers them, and the numbers are there."""
    sheets = re.compile(rf"\b(?:{FILES.replace(' ', '|')})(?:\.md|'s?\b| section|,? §)")
    numbered = set(re.findall(r"\((\d+\.\d+)\)", (ROOT / "docs" / "theory.md").read_text(encoding="utf-8")))
    for path in sources():
        text = path.read_text(encoding="utf-8")
        assert path == Path(__file__).resolve() or not sheets.search(text), path
        cited = re.findall(r"docs/theory\.md,? eq\.\s+\((\d+\.\d+)\)", text)
        assert set(cited) <= numbered, path
