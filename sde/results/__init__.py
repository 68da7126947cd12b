"""Results of the field, each a module: what is claimed, the prediction, the measurement, the verdict."""
