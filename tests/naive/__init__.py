"""Brute-force twins of the package, written from the mathematics alone: plain NumPy, slow, one idea each."""
