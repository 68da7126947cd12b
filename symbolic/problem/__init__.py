"""A problem: a loss, the distribution of its data, and the optimiser's settings."""
