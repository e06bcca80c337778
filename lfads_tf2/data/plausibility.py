"""Units that contradict each other, and trials that are there twice: usable, but hardly what was meant."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lfads_tf2.data import storage
from lfads_tf2.data.errors import listing
from lfads_tf2.types import Session

# Spikes/s that no channel reaches on average.
FASTEST = 1000.0
# True rates are within this factor of the mean count, or in another unit.
TRUTH_FACTOR = 5.0
# Trials that are looked at for their layout, and fewer where they hold more entries: several copies are made of these.
LOOKED_AT, LOOKED_AT_ENTRIES = 256, 2**21
# Channels that are more alike than bins by so much in correlation, where there are so many trials, bins and channels.
SWAPPED, FEWEST_TO_TELL = 0.2, 8
# Spikes a bin and channel that are hardly counts, on average.
MOST_COUNTS = 30.0
# Fewer equal spikes may be chance.
FEWEST_SPIKES = 10


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


def layout_warnings(session: Session) -> list[str]:
    """Training counts whose layout or kind is hardly what was meant, one sentence each; from the first trials."""
    trials = min(LOOKED_AT, max(FEWEST_TO_TELL, LOOKED_AT_ENTRIES // max(1, session.train.data[0].size)))
    data, found = np.asarray(session.train.data[:trials], np.float64), []
    if data.size and np.ptp(data) == 0:
        return found
    along_bins, along_channels = _neighbours(data, 1), _neighbours(data, 2)
    if min(data.shape) >= FEWEST_TO_TELL and along_channels > max(SWAPPED, along_bins + SWAPPED):
        found.append(
            f"{session.path}: neighbouring channels are more alike than neighbouring bins (correlation "
            f"{along_channels:.2f} against {along_bins:.2f}); the order must be trials x bins x channels, are bins and "
            "channels swapped?"
        )
    rising = data.shape[1] > 2 and np.all(np.diff(data, axis=1) >= 0) and data.max() > data.shape[1]
    if rising:
        found.append(
            f"{session.path}: values only rise along each trial; are they spike times? They must be counts a bin"
        )
    elif session.bin_width_ms is None and data.mean() > MOST_COUNTS:
        found.append(
            f"{session.path}: {data.mean():.3g} spikes a bin and channel are very many; are they rates in spikes/s? "
            "They must be counts a bin"
        )
    same = _identical(data)
    if same:
        found.append(
            f"{session.path}: channels with identical counts (counted from 0): "
            f"{listing(' = '.join(map(str, group)) for group in same)}; a unit that is there twice counts twice"
        )
    return found


def _neighbours(data: np.ndarray, axis: int) -> float:
    """Correlation of neighbouring entries along an axis; 0 where there is none."""
    end = data.shape[axis]
    first, second = np.take(data, range(end - 1), axis).ravel(), np.take(data, range(1, end), axis).ravel()
    if not first.size or np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def _identical(data: np.ndarray) -> list[list[int]]:
    """Channels that hold the same counts, and enough of them for that to be no chance."""
    groups: dict[bytes, list[int]] = {}
    for channel in np.flatnonzero(data.sum(axis=(0, 1)) >= FEWEST_SPIKES):
        groups.setdefault(data[..., channel].tobytes(), []).append(int(channel))
    return [group for group in groups.values() if len(group) > 1]


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
