"""Estimates from samples: multilevel Monte Carlo, and orders of convergence. Numbers only."""
