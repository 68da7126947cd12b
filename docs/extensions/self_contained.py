"""The built site needs nothing from elsewhere: its links lead somewhere, and nothing is fetched to show a page."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)
FETCHED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}


class Page(HTMLParser):
    """What a page links to, what it fetches, and the places in it that links can lead to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links, self.fetched, self.places = list[str](), list[str](), set[str]()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        given = {k: v or "" for k, v in attrs}
        self.places |= {given[k] for k in ("id", "name") if k in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag in FETCHED and FETCHED[tag] in given and given.get("rel") not in ("canonical", "next", "prev"):
            self.fetched.append(given[FETCHED[tag]])


def problems(folder: Path) -> list[str]:
    """What is wrong with the pages of a built site."""
    paths = [path for path in sorted(folder.rglob("*.html")) if "_static" not in path.relative_to(folder).parts]
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in paths}
    found = list[str]()
    for path, page in pages.items():
        here = path.relative_to(folder)
        for link in page.links + page.fetched:
            parts = urlsplit(link)
            if parts.scheme == "data":
                continue
            if parts.scheme or parts.netloc:
                if link in page.fetched:
                    found.append(f"{here} fetches {link}")
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.exists():
                found.append(f"{here} leads to {link}, which is not there")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].places:
                found.append(f"{here} leads to {link}, a place that is not there")
    return found


def check(app: Sphinx, error: Exception | None) -> None:
    """Warn of every problem."""
    if error is None and app.builder.format == "html":
        for problem in problems(Path(app.outdir).resolve()):
            logger.warning(problem)


def setup(app: Sphinx) -> dict[str, object]:
    """Sphinx's entry point."""
    app.connect("build-finished", check, priority=900)  # after all is copied
    return {"parallel_read_safe": True, "version": "1"}
