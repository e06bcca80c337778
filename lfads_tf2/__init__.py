"""LFADS and AutoLFADS on TensorFlow 2: single-trial firing rates from spike counts."""

__version__ = "0.1.0"
