"""The model's mathematics: no files, no flags, no logging and no randomness of its own."""
