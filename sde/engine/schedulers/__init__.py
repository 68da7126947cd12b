"""Who runs the chunks of a plan: one way a file."""
