"""Beyond the SDE of an exact symmetry: the heavy ball's laws, broken symmetry, and the noise of labels alone."""

from symbolic.predictions.broken_symmetry import Breaking, breaking
from symbolic.predictions.horizon import BreakingSizes
from symbolic.predictions.label_noise import LabelNoise, label_noise
from symbolic.predictions.momentum import MomentumLaw, heavy_ball, momentum_laws

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
