"""Continuous recordings, bins x channels, as overlapping windows."""

from __future__ import annotations

import numpy as np

from lfads_tf2.data.errors import DataError

# Validation takes every so many pieces of a recording, of which there are this many if they hold enough windows.
PIECES_A_VALIDATION_PIECE, PIECES, WINDOWS_A_PIECE = 5, 25, 5


def window_offsets(length: int, window: int, overlap: int) -> np.ndarray:
    """First bin of each window; the last window is moved back to end with the recording.

    Args:
        length: bins of the recording.
        window: bins of each window.
        overlap: bins that neighbours share, below ``window``.

    Raises:
        DataError: the recording is shorter than a window, or the overlap no shorter than it.
    """
    if not 0 <= overlap < window:
        raise DataError([f"overlap must be at least 0 and below window={window} bins, got {overlap}"])
    if length < window:
        raise DataError([f"the recording has {length} bins and window={window}; it needs at least one window"])
    offsets = np.arange(0, length - window + 1, window - overlap)
    return offsets if offsets[-1] == length - window else np.append(offsets, length - window)


def windows_of(recording: np.ndarray, offsets: np.ndarray, window: int) -> np.ndarray:
    """windows x bins x channels of a recording, bins x channels."""
    return recording[offsets[:, None] + np.arange(window)]


def validation_windows(offsets: np.ndarray, window: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Which windows train and which validate: every fifth piece of the recording validates.

    Neighbouring windows share bins, so windows that reach into the other half's pieces are in neither. A recording too
    short for pieces that hold a window has no validation windows.

    Args:
        offsets: first bin of each window. window: bins of each. length: bins of the recording.

    Returns:
        Booleans of each window: it trains, it validates.
    """
    fifth = -(-length // PIECES_A_VALIDATION_PIECE)
    piece = max(-(-length // PIECES), min(WINDOWS_A_PIECE * window, fifth))
    in_validation = (np.arange(length) // piece) % PIECES_A_VALIDATION_PIECE == PIECES_A_VALIDATION_PIECE - 1
    counts = np.concatenate([[0], np.cumsum(in_validation)])
    held = counts[offsets + window] - counts[offsets]
    validates = held == window
    return (held == 0, validates) if validates.any() else (np.ones(len(offsets), bool), validates)
