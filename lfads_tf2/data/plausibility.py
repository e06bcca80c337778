"""Units that contradict each other, and trials that are there twice: usable, but hardly what was meant."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lfads_tf2.data import storage
from lfads_tf2.types import Session

# Spikes/s that no channel reaches on average.
FASTEST = 1000.0
# True rates are within this factor of the mean count, or in another unit.
TRUTH_FACTOR = 5.0


def bin_width_problems(sessions: Sequence[Session]) -> list[str]:
    """One model has one bin width."""
    widths = {session.path: session.bin_width_ms for session in sessions if session.bin_width_ms is not None}
    if len(set(widths.values())) < 2:
        return []
    (first, width), (other, another) = next((a, b) for a in widths.items() for b in widths.items() if a[1] != b[1])
    return [
        f"sessions differ in their bin width: {first} has {width:g} ms and {other} {another:g} ms (bin_width_ms); bin "
        "them alike, or correct the attribute"
    ]


def unit_warnings(session: Session) -> list[str]:
    """Spike counts that contradict the bin width or the true rates, one sentence each."""
    found, counts = [], mean(session.train.target)
    width = session.bin_width_ms
    if width is not None and counts / width * 1000.0 > FASTEST:
        found.append(
            f"{session.path}: {counts:.3g} spikes a bin and channel in bins of {width:g} ms would be "
            f"{counts / width * 1000.0:.3g} spikes/s; is bin_width_ms in seconds?"
        )
    truth = session.train.truth
    ratio = 1.0 if truth is None or not counts else mean(truth) / counts
    if not 1.0 / TRUTH_FACTOR <= ratio <= TRUTH_FACTOR:
        found.append(
            f"{session.path}: the true rates are on average {ratio:.3g} times the counts; they must be in spikes/bin "
            f"(conversion_factor={1.0 / ratio:.3g} in the file would make them so)"
            if ratio > 0
            else f"{session.path}: the true rates are 0 or negative on average; they must be in spikes/bin"
        )
    return found


def mean(array: np.ndarray) -> float:
    """Over all entries that are not NaN, block by block."""
    total = count = 0.0
    for part in storage.blocks(array):
        seen = array[part]
        total, count = total + float(np.nansum(seen, dtype=np.float64)), count + seen.size
        count -= float(np.isnan(seen).sum()) if seen.dtype.kind == "f" else 0.0
    return total / count if count else 0.0


def twins(sessions: Sequence[Session]) -> list[str]:
    """Sessions that hold the same training trials."""
    found: list[str] = []
    for n, session in enumerate(sessions):
        for other in sessions[:n]:
            if session.train.data.shape == other.train.data.shape and _equal(session.train.data, other.train.data):
                found.append(
                    f"{session.path} holds the same training trials as {other.path}: a copy? Each counts as a session "
                    "of its own; move one out of the data folder"
                )
                break
    return found


def _equal(first: np.ndarray, second: np.ndarray) -> bool:
    """Stops at the first block that differs."""
    return all(np.array_equal(first[part], second[part]) for part in storage.blocks(first))
