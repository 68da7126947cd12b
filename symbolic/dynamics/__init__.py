"""Beyond the SDE of an exact symmetry: the heavy ball's laws, broken symmetry, and the noise of labels alone."""

from symbolic.dynamics.breaking import Breaking, breaking
from symbolic.dynamics.horizon import BreakingSizes
from symbolic.dynamics.labelnoise import LabelNoise, label_noise
from symbolic.dynamics.momentum import MomentumLaw, heavy_ball, momentum_laws

__all__ = [
    "Breaking",
    "BreakingSizes",
    "LabelNoise",
    "MomentumLaw",
    "breaking",
    "heavy_ball",
    "label_noise",
    "momentum_laws",
]
