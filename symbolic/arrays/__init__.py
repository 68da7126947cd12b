"""Expressions of whole arrays: they stay arrays in formulas, derivatives and emitted text, whatever their size."""

from symbolic.arrays import functions as functions  # gives arrays their operators and NumPy's functions
