"""A theory in plain words, as LaTeX and HTML, as the record that the command line writes, and at a point."""

from symbolic.display.facts import facts, facts_record
from symbolic.display.point import at_point, point_record
from symbolic.display.record import drift_text, operator_form, to_json
from symbolic.display.words import paragraph, summary, to_html, to_latex, verdict

__all__ = [
    "at_point",
    "drift_text",
    "facts",
    "facts_record",
    "operator_form",
    "paragraph",
    "point_record",
    "summary",
    "to_html",
    "to_json",
    "to_latex",
    "verdict",
]
