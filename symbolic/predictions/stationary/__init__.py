"""Stationary laws of scalar chains under SGD's noise: `stationary_law(loss, sgd)`, and `critical_temperature(loss)` in
symbols."""

from symbolic.predictions.stationary.distribution import StationaryLaw
from symbolic.predictions.stationary.scalar_chains import Chain, NotAChain, chain, critical_temperature
from symbolic.predictions.stationary.solve import stationary_law

__all__ = ["Chain", "NotAChain", "StationaryLaw", "chain", "critical_temperature", "stationary_law"]
