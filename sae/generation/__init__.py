"""Text that the subject model writes while a feature is steered, with gates and controls beside it."""
