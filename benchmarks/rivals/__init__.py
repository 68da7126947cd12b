"""The same problems by other means; each module imports its package where it is used."""
