"""Hyperparameters from flags, YAML, presets and run folders; the parts of a user's own that they name."""
