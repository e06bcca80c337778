"""Recordings for datasets: files of arrays, NWB files, spike times. The readers are those of ``lfads import``."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lfads_tf2.recordings import nwb, windows
from lfads_tf2.recordings.binning import TOLERANCE, counts_of_times, observed_bins, window_counts
from lfads_tf2.recordings.cutting import doubts
from lfads_tf2.recordings.recording import RecordingData, RecordingError
from lfads_tf2.recordings.trials import left_out
from lfads_tf2.recordings.unit_selection import Dropped
from lfads_tf2.recordings.variables import Lazy, LoadError, load_file

__all__ = ["Lazy", "LoadError", "counts_from_spike_times", "load_file", "load_nwb"]

log = logging.getLogger("lfads_tf2")


def counts_from_spike_times(
    spike_times: Sequence[np.ndarray], starts: np.ndarray, bins: int, bin_ms: float, offset_ms: float = 0.0
) -> np.ndarray:
    """Spike counts of trials of equal length, **trials x channels x bins** as SessionData takes them.

    Bins are [left, right), with a tolerance far below a bin for times that were rounded.

    Args:
        spike_times: of each channel, in seconds, in any order.
        starts: of each trial, in seconds.
        bins: of a trial. bin_ms: bin width.
        offset_ms: added to the starts, for a window that begins before (negative) or after them.

    Raises:
        LoadError: times that are not finite, no bin, or a bin width that is not above 0.
    """
    starts = np.asarray(starts, np.float64).reshape(-1) + offset_ms / 1000.0
    times = [np.sort(np.asarray(of_channel, np.float64).reshape(-1)) for of_channel in spike_times]
    if bins < 1 or not 0 < bin_ms < np.inf:
        raise LoadError(f"trials need at least one bin, of a width above 0 ms; got bins={bins} and bin_ms={bin_ms}")
    for name, values in [("starts", starts), *((f"spike_times[{n}]", one) for n, one in enumerate(times))]:
        if not np.isfinite(values).all():
            raise LoadError(f"{name} holds NaN or infinity; leave such out, all must be seconds")
    counts = np.zeros((len(starts), len(times), bins), np.uint16)
    for channel, one in enumerate(times):
        found = counts_of_times(one, starts, bins, bin_ms / 1000.0)
        if found.max(initial=0) > np.iinfo(counts.dtype).max:
            counts = counts.astype(np.uint32)
        counts[:, channel] = found
    return counts


def load_nwb(
    path: str | Path,
    bin_ms: float = 1.0,
    length_ms: float | None = None,
    align_to: str = "start_time",
    offset_ms: float = 0.0,
    condition_column: str | None = None,
    table: str = "trials",
    allow_outside_files: bool = False,
) -> dict[str, Any]:
    """Spike counts of an NWB file's units in its trials, as the arguments of a session.

    Whatever is left out, cut short or looks like a mistake is a warning of the logger ``lfads_tf2``.

    Args:
        path: the file. bin_ms: bin width.
        length_ms: of every window; without it, windows end with the shortest trial.
        align_to: column of the table, in seconds, at which windows start; trials that have NaN there are left out.
        offset_ms: added to it.
        condition_column: column of the table that holds conditions.
        table: of intervals.
        allow_outside_files: links of the file may lead out of its folder.

    Returns:
        ``counts``: **trials x bins x channels**, as Estimator takes them, in the table's order; NaN where a unit was
        not observed (``obs_intervals``). ``axes``: says so to SessionData. ``time_vec_ms``: of the bins' left edges.
        ``trial_index``, ``trial_ids``: row and id of each trial in the table. ``start_s``: of its first bin, on the
        session's clock. ``unit_ids``: of the channels.
        With a column, ``condition_id``.

    Raises:
        LoadError: pynwb is missing, the file cannot be read or lacks units, the table or a column, or no trial is left.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise LoadError(f"there is no file {path}; check the dataset's rel_path and the collection's path")
    if not 0 < bin_ms < np.inf:
        raise LoadError(f"bin_ms must be above 0, got {bin_ms}")
    try:
        recording = nwb.read(path, allow_outside=allow_outside_files)
        window_ms, gone = _window(recording, table, align_to, offset_ms, length_ms, bin_ms)
        return _session(recording, table, align_to, window_ms, bin_ms, gone, condition_column)
    except LoadError:
        raise
    except RecordingError as error:
        raise LoadError(str(error)) from error


def _window(
    recording: RecordingData, table: str, align_to: str, offset_ms: float, length_ms: float | None, bin_ms: float
) -> tuple[tuple[float, float], np.ndarray]:
    """Where windows begin and end, in ms from the alignment, and the rows whose end is not known though needed."""
    rows = windows.table_of(recording, table)
    what = f"the table {table} of {recording.name}"
    times = np.asarray(rows.column(align_to, what), np.float64)
    if length_ms is not None:
        bins, gone = int(length_ms / bin_ms + TOLERANCE), np.zeros(0, int)
        if bins < 1:
            raise LoadError(f"length_ms must be at least one bin of {bin_ms:g} ms, got {length_ms:g}")
        return (offset_ms, offset_ms + bins * bin_ms), gone
    if not np.isfinite(times).any():
        raise LoadError(f"{what}: {align_to} is NaN in every row; align to another column")
    with np.errstate(invalid="ignore"):
        left = (np.asarray(rows.column("stop_time", what), np.float64) - times) * 1000.0 - offset_ms
    gone = np.flatnonzero(np.isfinite(times) & ~(left + offset_ms > 0))
    usable = np.flatnonzero(left + offset_ms > 0)
    if not len(usable):
        raise LoadError(f"{what}: every trial has length 0, or ends at NaN or before {align_to}; give length_ms")
    shortest = usable[np.argmin(left[usable])]
    bins = int(left[shortest] / bin_ms + TOLERANCE)
    if bins < 1:
        raise LoadError(
            f"{what}: trial {rows.ids[shortest]} has no bin of {bin_ms:g} ms {offset_ms:g} ms after {align_to}; "
            "give length_ms, or another offset_ms"
        )
    if np.median(left[usable]) - left[shortest] >= bin_ms:
        log.warning(
            "%s: all %d trials are cut to the %g ms of trial %s (half of them last %.4g ms or longer); length_ms takes "
            "windows of one length", what, len(usable), bins * bin_ms, rows.ids[shortest], np.median(left[usable]),
        )  # fmt: skip
    return (offset_ms, offset_ms + bins * bin_ms), gone


def _session(
    recording: RecordingData, table: str, align_to: str, window_ms: tuple[float, float], bin_ms: float,
    gone: np.ndarray, condition_column: str | None,
) -> dict[str, Any]:  # fmt: skip
    found = windows.aligned(recording, table, "", align_to, window_ms, bin_ms / 1000.0, "")
    rows = windows.table_of(recording, table)
    if condition_column is not None:
        rows.column(condition_column, f"the table {table} of {recording.name}")
    kept = np.argsort(found.index)
    kept = kept[~np.isin(found.index[kept], gone)]
    if not len(kept):
        raise LoadError(f"{recording.name}: no trial is left ({'; '.join(left_out(found.dropped))})")
    dropped = [
        *found.dropped,
        *(Dropped("trial", str(rows.ids[n]), "its end is not known or not after it") for n in gone),
    ]
    starts, units = found.start_s[kept], np.arange(len(recording.units))
    counts = window_counts(recording, starts, found.bins, bin_ms / 1000.0, units)
    counts = counts.astype(np.promote_types(counts.dtype, np.uint16))
    for line in (*left_out(dropped), *found.notes, *doubts(recording, counts, found)):
        log.warning("%s: %s", recording.name, line)
    seen = observed_bins(recording, starts, found.bins, bin_ms / 1000.0, units)
    if seen is not None:
        log.warning(
            "%s: %.1f %% of the entries were not observed (obs_intervals) and are NaN, for selective_backprop",
            recording.name, 100.0 * (1.0 - seen.mean()),
        )  # fmt: skip
        counts = np.where(seen, counts, np.nan).astype(np.float32)
    session = {
        "counts": counts, "axes": "trials,time,channels", "time_vec_ms": window_ms[0] + np.arange(found.bins) * bin_ms,
        "trial_index": found.index[kept], "trial_ids": rows.ids[found.index[kept]], "start_s": starts,
        "unit_ids": recording.units.ids,
    }  # fmt: skip
    if condition_column is not None:
        session["condition_id"] = found.columns[condition_column][kept]
    return session
