"""Training: optimiser, schedules, checkpoints, fit log and the loop that ties them together."""
