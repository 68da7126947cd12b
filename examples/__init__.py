"""Specs, data and the demonstration that `make demo` runs."""
