"""The kernels as plain Python: `make nojit`."""
