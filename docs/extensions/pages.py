"""Pages that are made at every build, in docs/generated: reference tables, public names, tests by equation, and the
notebooks as they are committed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from docs.extensions import api, choosing, reference
from docs.extensions.citations import ROOT, by_equation, stated
from examples.gallery.page import page as gallery_page

NOTEBOOKS = ROOT / "notebooks"
FOLDER = "generated"


def test_page() -> str:
    """Every equation with the tests that check it, as they stand in the suite."""
    out = ["# Tests by equation\n", "Each equation of [theory](../theory.md) with the tests that say they check it.\n"]
    formulas = stated()
    for number, tests in by_equation().items():
        formula = f"$$\n{formulas[number]}\n$$\n" if number in formulas else ""
        out.append(f"(tests-{number})=\n## ({number})\n\n{formula}\nIn theory: {{eq}}`{number}`.\n")
        for test in tests:
            words = test.name.removeprefix("test_").replace("_", " ")
            out.append(f"::::{{dropdown}} {words}\n`{test.path}`\n\n```python\n{test.source}\n```\n::::\n")
    return "\n".join(out)


def made() -> dict[str, str]:
    """{file name: text} of every page that is made."""
    return {
        **reference.pages(),
        **api.pages(),
        "tests.md": test_page(),
        "plain-sdes.md": gallery_page(),
        "choose-a-scheme.md": choosing.page(),
    }


def write(folder: Path) -> None:
    """Make all pages; those that stay as they are keep their age, and what is no page any more goes."""
    wanted = {name: text.encode() for name, text in made().items()}
    wanted |= {f"notebooks/{p.name}": p.read_bytes() for p in sorted(NOTEBOOKS.glob("*.ipynb"))}
    for path in [p for p in folder.rglob("*") if p.is_file() and str(p.relative_to(folder)) not in wanted]:
        path.unlink()
    for name, raw in wanted.items():
        path = folder / name
        if not path.exists() or path.read_bytes() != raw:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(raw)


def setup(app: Sphinx) -> dict[str, Any]:
    """Sphinx's entry point."""
    app.connect("builder-inited", lambda app: write(Path(app.srcdir) / FOLDER))
    return {"parallel_read_safe": True, "version": "1"}
