"""What "Parameter Symmetry and Noise Equilibrium of SGD" (arXiv 2402.07193) states, one result a file with a
`RESULT`."""
