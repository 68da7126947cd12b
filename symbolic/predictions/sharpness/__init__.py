"""Tr Hess L under SGD's noise: its rate, where it ends, and which learning rates stay stable."""

from symbolic.predictions.sharpness.sharpening import Sharpness, sharpness

__all__ = ["Sharpness", "sharpness"]
