"""The ensemble engine: a plan of chunks of paths, run on compiled kernels. Knows programs and numbers, no SymPy."""
