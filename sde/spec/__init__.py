"""Spec files: a TOML problem read into a loss, an optimiser and a run, everything wrong with it said at once."""
