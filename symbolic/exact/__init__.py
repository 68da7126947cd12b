"""Exact arithmetic under the derivation: polynomials over Q, sparse null spaces, a loss as polynomials in atoms, and its evaluation at points."""
