"""Counts of windows: bins are [left, right), with a tolerance far below a bin for times that were rounded."""

from __future__ import annotations

import numpy as np

from lfads_tf2.recordings.recording import RecordingData, RecordingError, Series

# Of a bin. Times on the bin grid are stored with rounding errors of about 1e-10 of a bin.
TOLERANCE = 1e-6
# Of a series' median steps. Irregular sampling leaves a few times the median now and then, also where nothing is lost.
GAP_STEPS = 10


def window_counts(
    recording: RecordingData, starts: np.ndarray, bins: int, bin_s: float, units: np.ndarray
) -> np.ndarray:
    """Counts of windows, N x T x D, in the smallest unsigned type.

    Args:
        recording: with spike times or counts.
        starts: N left edges, seconds.
        bins, bin_s: T, and their width in seconds.
        units: numbers of the D units.

    Raises:
        RecordingError: counts are stored in bins that do not fit into these.
    """
    if recording.counts is not None:
        return _of_counts(recording, starts, bins, bin_s, units)
    counts = np.zeros((len(starts), bins, len(units)), np.uint8)
    for channel, unit in enumerate(units):
        found = counts_of_times(recording.spike_times[unit], starts, bins, bin_s)
        counts = _wide_enough(counts, found)
        counts[:, :, channel] = found
    return counts


def counts_of_times(times: np.ndarray, starts: np.ndarray, bins: int, bin_s: float) -> np.ndarray:
    """Counts of one unit in N windows, N x T; its spike times in rising order."""
    edges = starts[:, None] + (np.arange(bins + 1) - TOLERANCE) * bin_s
    return np.diff(np.searchsorted(times, edges), axis=1)


def _wide_enough(counts: np.ndarray, found: np.ndarray) -> np.ndarray:
    needed = np.min_scalar_type(int(found.max(initial=0)))
    return counts if needed.itemsize <= counts.dtype.itemsize else counts.astype(needed)


def _of_counts(recording: RecordingData, starts, bins: int, bin_s: float, units) -> np.ndarray:
    factor = whole_factor(bin_s, recording.bin_s, recording.name)
    first = np.round((starts - recording.start_s) / recording.bin_s).astype(int)
    # Padded trials may reach beyond the recording with bins that are not theirs.
    rows = np.minimum(first[:, None] + np.arange(bins * factor), len(recording.counts) - 1)
    whole = recording.counts[:, units]
    found = whole[rows].reshape(len(starts), bins, factor, len(units)).sum(axis=2)
    return found.astype(np.min_scalar_type(int(found.max(initial=0))))


def whole_factor(bin_s: float, stored_s: float, name: str) -> int:
    """Stored bins a bin. Raises RecordingError when that is no whole number."""
    factor = bin_s / stored_s
    if round(factor) < 1 or abs(factor - round(factor)) > TOLERANCE * factor:
        raise RecordingError(
            f"{name}: counts are stored in bins of {stored_s * 1000:g} ms, and {bin_s * 1000:g} ms are no multiple of "
            f"these; choose one, such as --bin-ms {stored_s * 1000 * max(1, round(factor)):g}"
        )
    return round(factor)


def observed_bins(
    recording: RecordingData, starts: np.ndarray, bins: int, bin_s: float, units: np.ndarray
) -> np.ndarray | None:
    """Whether each bin of each window lies within what was recorded of each unit, N x T x D; None: all do."""
    if recording.observed is None:
        return None
    left = starts[:, None] + np.arange(bins) * bin_s
    slack, right = TOLERANCE * bin_s, left + bin_s
    seen = np.zeros((len(starts), bins, len(units)), bool)
    for channel, unit in enumerate(units):
        intervals = recording.observed[unit]
        if not len(intervals):
            continue
        intervals = joined(intervals, slack)
        row = np.clip(np.searchsorted(intervals[:, 0], left + slack, side="right") - 1, 0, None)
        seen[:, :, channel] = (left >= intervals[row, 0] - slack) & (right <= intervals[row, 1] + slack)
    return None if seen.all() else seen


def joined(intervals: np.ndarray, slack: float = 0.0) -> np.ndarray:
    """Intervals in order of time, and those that touch or overlap as one."""
    intervals = intervals[np.argsort(intervals[:, 0])]
    found = [list(intervals[0])]
    for start, stop in intervals[1:]:
        if start <= found[-1][1] + slack:
            found[-1][1] = max(found[-1][1], stop)
        else:
            found.append([start, stop])
    return np.array(found)


def window_series(series: Series, starts: np.ndarray, bins: int, bin_s: float, lag_s: float, how: str) -> np.ndarray:
    """A time series in the bins of windows, N x T x dimensions float32; NaN where it was not measured.

    Args:
        series: over time; samples whose time or value is not finite were not measured. Of samples at one time the last
            is interpolated from, and all are averaged.
        starts, bins, bin_s: of the windows.
        lag_s: the value of a bin is that of so many seconds later.
        how: ``interpolate`` at the bins' centres, but not between samples further apart than a bin and ``GAP_STEPS``
            times their median distance; or ``mean`` of the samples in each bin.
    """
    edges = starts[:, None] + np.arange(bins + 1) * bin_s + lag_s
    found = np.full((len(starts), bins, series.values.shape[1]), np.nan, np.float32)
    for n, values in enumerate(series.values.T):
        good = np.isfinite(series.times) & np.isfinite(values)
        if not good.any():
            continue
        if how == "mean":
            found[:, :, n] = _means(series.times[good], values[good], edges - TOLERANCE * bin_s)
        else:
            centres = (edges[:, :-1] + edges[:, 1:]) / 2
            found[:, :, n] = _interpolated(series.times[good], values[good], centres, bin_s)
    return found


def _means(times: np.ndarray, values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    sums = np.concatenate([[0.0], np.cumsum(values)])
    places = np.searchsorted(times, edges)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.diff(sums[places], axis=1) / np.diff(places, axis=1)


def _interpolated(times: np.ndarray, values: np.ndarray, centres: np.ndarray, bin_s: float) -> np.ndarray:
    found = np.interp(centres, times, values, left=np.nan, right=np.nan)
    steps = np.diff(times)
    if steps.any():
        after = np.clip(np.searchsorted(times, centres), 1, len(times) - 1)
        between = (times[after - 1] < centres) & (centres < times[after])
        longest = max(bin_s, GAP_STEPS * np.median(steps[steps > 0]))
        found[between & (steps[after - 1] > longest)] = np.nan
    return found
