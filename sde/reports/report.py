"""What `verify` returns: a verification's result that shows and writes itself."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path

from sde.reports.page import render
from sde.storage.distinct_files import check_apart
from sde.storage.files import write_text
from sde.verification.result import VerificationResult


class Report(VerificationResult):
    """A verification's verdicts, and the curves and tables behind them, as text, HTML or JSON."""

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"

    def to_json(self, path: str | Path) -> Path:
        """Write the JSON beside the report, whole or not at all."""
        check_apart([path], self.files)
        return write_text(path, json.dumps(self.to_dict(), indent=1) + "\n")

    def to_html(self, path: str | Path) -> Path:
        """Write one self-contained HTML page with figures, whole or not at all."""
        check_apart([path], self.files)
        return write_text(path, render(self))
