"""Plain SDEs with values that are known by other means, each run and judged: `python -m examples.gallery`."""
