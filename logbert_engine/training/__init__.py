"""The plan of stages, the loop, checkpoints and the detached worker."""
