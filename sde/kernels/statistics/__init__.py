"""What is gathered of saved rows inside a chunk: moments, pairs of rows, counts between edges, and in bins for
quantiles."""
