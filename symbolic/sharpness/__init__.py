"""Tr Hess L under SGD's noise: its rate, where it ends, and which learning rates stay stable."""

from symbolic.sharpness.verdict import Sharpness, sharpness

__all__ = ["Sharpness", "sharpness"]
