"""Reports of a verification: one HTML page, and a table for the terminal."""
