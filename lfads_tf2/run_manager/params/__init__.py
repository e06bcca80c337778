"""Parameters of runs, their hashes and their command lines."""
