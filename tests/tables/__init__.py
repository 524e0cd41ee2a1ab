"""One entry for every bijector and every model, which the laws go through."""
