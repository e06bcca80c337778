"""What runs left behind, read back, compared and exported."""
