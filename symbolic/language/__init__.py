"""The expression language of spec files, and the names that users may give."""
