"""Claims about a theory, measured on plain arrays, and their verdicts."""
