"""Synthetic spikes with known rates."""
