"""From recordings to the input files of a run: trials, halves, alignment."""
