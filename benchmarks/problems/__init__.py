"""The problems of the races, a file each."""

from __future__ import annotations

from benchmarks.problem import Race
from benchmarks.problems import brownian, diabetes, factorization, kuramoto, lorenz, rescaling

RACES: tuple[Race, ...] = (
    rescaling.RACE,
    rescaling.LAW,
    factorization.RACE,
    brownian.RACE,
    lorenz.RACE,
    diabetes.RACE,
    kuramoto.RACE,
)
