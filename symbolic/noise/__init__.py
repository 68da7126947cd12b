"""Gradient noise: its covariance, what it does to a charge on average, and the class of a charge under it."""
