"""What `verify` returns: a verification's result that shows and writes itself."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from typing import Any

from sde.reports import contents, markdown
from sde.reports.page import render
from sde.storage.distinct_files import check_apart
from sde.storage.files import write_text
from sde.verification.result import VerificationResult


class Report(VerificationResult):
    """A verification's verdicts, and the curves and tables behind them, as text, HTML or JSON.

    Attributes
    ----------
    name
        The loss's.
    verdicts
        `Verdict` each, of every claim: those not tested too, with why and what they would take (`.tested`,
        `.untested` part them, `.counts` counts them).
    theory
        What was derived: its `facts` in words (`.summary`: a line a fact), the algebra, certificate, groups and counts.
    charges
        Its charges as text.
    families
        What they are the entries of, typeset too.
    curves, entries, explosions
        What figures and tables show.
    settings
        What was asked, for readers.
    files
        That the loss was read from.
    looks
        Paths from each start at each look at the data.
    interrupted
        Whether Ctrl-C cut it short.
    run
        What was run, whole, for machines.
    """

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"

    @property
    def sentence(self) -> str:
        """What was run, what the theory says of it and what was found, to quote."""
        return contents.sentence(self)

    def to_dict(self) -> dict[str, Any]:
        """What `to_json` writes: name, sentence, supported, outcome, counts, groups (each with its line), theory,
        verdicts, families, explosions, settings, run.

        Returns
        -------
        dict
            Plain lists, numbers and strings.
        """
        found = super().to_dict()
        groups = [
            {"group": g.name, "statement": g.statement, "outcome": g.outcome, "line": g.line}
            for g in contents.groups(self)
        ]
        return {
            "name": found.pop("name"),
            "sentence": self.sentence,
            **found,
            "groups": groups,
            "forecast": contents.forecast_label(self.curves),
        }

    def to_json(self, path: str | Path) -> Path:
        """Write the JSON beside the report, whole or not at all.

        Parameters
        ----------
        path
            File; refused if it is one that the loss was read from.

        Returns
        -------
        Path
        """
        check_apart([path], self.files)
        return write_text(path, json.dumps(self.to_dict(), indent=1) + "\n")

    def to_html(self, path: str | Path) -> Path:
        """Write one self-contained HTML page with figures, whole or not at all.

        Parameters
        ----------
        path
            File; refused if it is one that the loss was read from.

        Returns
        -------
        Path
        """
        check_apart([path], self.files)
        return write_text(path, render(self))

    def to_markdown(self, path: str | Path) -> Path:
        """Write what the page says as Markdown, whole or not at all.

        Parameters
        ----------
        path
            File; refused if it is one that the loss was read from.

        Returns
        -------
        Path
        """
        check_apart([path], self.files)
        return write_text(path, markdown.render(self))
