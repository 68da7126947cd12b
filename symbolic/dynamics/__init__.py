"""Equations of motion: SDEs, SGD's own among them, discrete step maps, and the calculus on both."""
