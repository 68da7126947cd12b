"""Stationary laws of scalar chains under SGD's noise: `stationary_law(loss, sgd)`, and `critical_temperature(loss)` in symbols."""

from symbolic.stationary.chains import Chain, NotAChain, chain, critical_temperature
from symbolic.stationary.law import StationaryLaw
from symbolic.stationary.solve import stationary_law

__all__ = ["Chain", "NotAChain", "StationaryLaw", "chain", "critical_temperature", "stationary_law"]
