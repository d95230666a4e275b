"""Public checkpoints in: each layout read strictly, by name, into our own modules."""
