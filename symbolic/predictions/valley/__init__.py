"""The motion of SGD in a valley of minima, and where it ends: a point of rest, or a steady turning."""

from symbolic.predictions.valley.relative import RelativeEquilibrium, Valley

__all__ = ["RelativeEquilibrium", "Valley"]
