"""Many runs of many recordings: datasets, parameters, alignment, folders, a queue, and results read back."""
