"""Elementary functions: what is known of each, and expressions of them on numbers."""
