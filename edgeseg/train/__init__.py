"""Training: recipe, loop, losses, averaging, checkpoints. Needs the extra `train`."""
