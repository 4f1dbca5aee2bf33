"""Explainers that look inside the model: what its weights and single passes say of a feature."""
