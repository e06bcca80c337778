"""Prepared runs as processes: their commands, stages, order and progress."""
