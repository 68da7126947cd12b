"""Results worked through as Jupyter notebooks, committed with their outputs."""
