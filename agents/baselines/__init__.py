"""Baselines: the ways of explaining that others use, for comparison on the same bench."""
