"""What the SAE architectures do on planted data, where the right answer is known.

    python -m benchmarks.architectures [NAME…] [--seeds N] [--json]

A module here is a family of architectures, or of rivals of one. It has `figures(seed)`, which
trains them and returns what was measured, by name: `tests/sae/architectures` asserts on that, and
the command prints it. `planted` is what they share.
"""
