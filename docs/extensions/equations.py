"""Numbered equations: each is known by its own number, is linked wherever a page cites it, and links its tests."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

from docs.extensions.citations import NUMBER, Check, by_equation

UNLINKED = (nodes.literal, nodes.literal_block, nodes.math, nodes.math_block, nodes.reference, nodes.title)


class Numbers(SphinxTransform):
    """Equations keep their own numbers, and say which tests check them."""

    default_priority = 400

    def apply(self, **kwargs: Any) -> None:
        """Number and follow every equation of the page."""
        equations = self.env.domains.math_domain.equations
        tests = by_equation()
        for block in list(self.document.findall(nodes.math_block)):
            label = block.get("label", "")
            if re.fullmatch(r"\d+\.\d+", label):
                block["number"] = label
                equations[label] = (self.env.docname, label)  # type: ignore[assignment]
                block.parent.insert(block.parent.index(block) + 1, self.followed(label, tests[label]))
        for block in list(self.document.findall(nodes.literal_block)):
            for label in reversed(re.findall(r"(?m)^\((\d+\.\d+)\) ", block.astext())):
                equations[label] = (self.env.docname, label)  # type: ignore[assignment]
                block.parent.insert(block.parent.index(block) + 1, self.followed(label, tests[label]))
                block.parent.insert(block.parent.index(block), nodes.target(ids=[nodes.make_id(f"equation-{label}")]))

    @staticmethod
    def followed(number: str, tests: Sequence[Check]) -> nodes.paragraph:
        """The line below an equation."""
        link = addnodes.pending_xref(
            refdomain="std", reftype="ref", reftarget=f"tests-{number}", refexplicit=True, refwarn=True
        )
        link += nodes.inline(text=f"checked by {len(tests)} test{'s' * (len(tests) != 1)}")
        return nodes.paragraph("", "", link, classes=["checked-by"])


class Citations(SphinxTransform):
    """Every "(3.2)" of a page's text that is the number of an equation leads to it."""

    default_priority = 410

    def apply(self, **kwargs: Any) -> None:
        """Link what the page cites."""
        known = by_equation()
        for text in list(self.document.findall(nodes.Text)):
            parts = NUMBER.split(text.astext())
            if len(parts) == 1 or _within(text, UNLINKED):
                continue
            fresh: list[nodes.Node] = []
            for i, part in enumerate(parts):
                if i % 2 == 0:
                    fresh += [nodes.Text(part)] if part else []
                elif part in known:
                    link = addnodes.pending_xref(refdomain="math", reftype="eq", reftarget=part, refwarn=True)
                    link += nodes.inline(text=f"({part})")
                    fresh.append(link)
                else:
                    fresh.append(nodes.Text(f"({part})"))
            text.parent.replace(text, fresh)


def _within(node: nodes.Node, kinds: tuple[type[nodes.Node], ...]) -> bool:
    while node.parent is not None:
        node = node.parent
        if isinstance(node, kinds) or "checked-by" in getattr(node, "get", lambda *_: ())("classes", ()):
            return True
    return False


def setup(app: Sphinx) -> dict[str, Any]:
    """Sphinx's entry point."""
    app.add_transform(Numbers)
    app.add_transform(Citations)
    return {"parallel_read_safe": True, "version": "1"}
