"""Exact linear and polynomial algebra over the rationals, and affine vector fields."""
