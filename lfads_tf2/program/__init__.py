"""What a command runs: the kinds, devices, model files, result files and the screen."""
