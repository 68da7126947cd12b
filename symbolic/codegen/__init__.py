"""From a problem to text: a step map as one self-contained, deterministic Python module."""
