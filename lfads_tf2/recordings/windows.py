"""Which stretches of a recording become trials: around events, whole intervals, or a grid over all of it."""

from __future__ import annotations

import dataclasses

import numpy as np

from lfads_tf2.data.continuous import window_offsets
from lfads_tf2.recordings.expressions import chosen
from lfads_tf2.recordings.recording import RecordingData, RecordingError, Table
from lfads_tf2.recordings.unit_selection import Dropped

# More windows than that are not a recording's.
WINDOWS_A_SPIKE = 100
# Trials whose ends are not told end so much after the last spike at most.
GUESSED_END_S = 0.05
# Of a bin. Times that differ by less are one.
SLACK = 1e-3
# Of whole intervals that differ in length; shorter ones are left out where that is wanted.
MOST_STAY = 0.9


@dataclasses.dataclass
class Windows:
    """Windows of equal length, in order of time, and what was left out."""

    start_s: np.ndarray  # N, left edge of the first bin
    bins: int
    index: np.ndarray  # N, row of the table or number of the window
    ids: np.ndarray  # N, by which the table knows its rows (for messages), or number of the window
    align_s: np.ndarray  # N, NaN where there is nothing to align to
    columns: dict[str, np.ndarray]  # of the table, N each
    window_ms: tuple[float, float]
    mode: str  # aligned, trials or chopped
    dropped: list[Dropped]
    notes: list[str]
    lengths: np.ndarray | None = None  # N, bins of each window that belong to its trial; None: all

    @property
    def own_bins(self) -> np.ndarray:
        """N, bins of each window that belong to its trial."""
        return np.full(len(self.start_s), self.bins) if self.lengths is None else self.lengths

    @property
    def inside(self) -> np.ndarray:
        """Whether each bin belongs to its window's trial, N x T."""
        return np.arange(self.bins) < self.own_bins[:, None]

    def stop_s(self, bin_s: float) -> np.ndarray:
        """N, where the last bin of each window that belongs to its trial ends, less what rounded times may differ."""
        return self.start_s + (self.own_bins - SLACK) * bin_s


def chopped(
    recording: RecordingData, length_ms: float, overlap_ms: float, bin_s: float, table_name: str = "", where: str = ""
) -> Windows:
    """Windows over the whole recording, or over intervals of a table; the last one of each ends where it ends.

    Args:
        recording: with spike times or counts.
        length_ms, overlap_ms: of the windows.
        bin_s: bin width.
        table_name, where: rows of which table; empty: the whole recording.

    Raises:
        RecordingError: lengths that make no sense, or nothing that is as long as a window.
    """
    bins, overlap = _whole(length_ms, bin_s, "--chop"), round(overlap_ms / bin_s / 1000.0)
    if not 0 <= overlap < bins:
        raise RecordingError(f"--overlap must be from 0 to less than --chop, got {overlap_ms:g} and {length_ms:g} ms")
    start, stop = recording.extent
    intervals, rows, columns, dropped = np.array([[start, stop]]), None, {}, []
    if table_name:
        intervals, rows, dropped = _intervals(recording, table_name, where, bins * bin_s)
        columns = table_of(recording, table_name).columns
    elif stop - start < bins * bin_s * (1 - 1e-6):
        raise RecordingError(f"{recording.name} lasts {stop - start:.3g} s, less than a window of {length_ms:g} ms")
    starts, of_row, rest = [], [], 0.0
    for number, (first, last) in enumerate(intervals):
        total = int((last - first) / bin_s + 1e-6)
        windows = total / (bins - overlap)
        if recording.spike_times is not None and windows > WINDOWS_A_SPIKE * sum(map(len, recording.spike_times)):
            lasts = f"{last - first:.3g} s"
            raise RecordingError(
                f"{recording.name}: nearly all windows of {lasts} would be empty; are all times in seconds?"
            )
        firsts = window_offsets(total, bins, overlap)
        starts.append(first + firsts * bin_s)
        of_row.append(np.full(len(firsts), number))
        rest = max(rest, last - first - total * bin_s)
    starts, of_row = np.concatenate(starts), np.concatenate(of_row)
    order = np.argsort(starts, kind="stable")
    starts, of_row = starts[order], of_row[order]
    what = "each interval" if table_name else "the recording"
    note = f"the end of {what}, shorter than a bin ({rest * 1000:.3g} ms at most), is left out"
    index, nothing = np.arange(len(starts)), np.full(len(starts), np.nan)
    columns = {name: values[rows[of_row]] for name, values in columns.items()}
    return Windows(
        starts, bins, index, index, nothing, columns, (0.0, bins * bin_s * 1000.0), "chopped", dropped,
        [note] if rest > bin_s * SLACK else [],
    )  # fmt: skip


def _intervals(recording: RecordingData, table_name: str, where: str, least_s: float):
    """Start and stop of the chosen rows of a table, in order of time, their numbers, and those left out."""
    table, what = table_of(recording, table_name), f"the table {table_name} of {recording.name}"
    kept = chosen(where, table, what)
    dropped = [Dropped("interval", str(table.ids[n]), f"not {where}") for n in np.flatnonzero(~kept)]
    ends = np.stack([table.times(name, what) for name in ("start_time", "stop_time")], axis=1)
    ends = np.clip(ends, *recording.extent)
    short = kept & ~(ends[:, 1] - ends[:, 0] >= least_s * (1 - 1e-6))
    dropped += [Dropped("interval", str(table.ids[n]), "shorter than a window") for n in np.flatnonzero(short)]
    rows = np.flatnonzero(kept & ~short)
    if not len(rows):
        raise RecordingError(f"{what}: no interval is left ({_reasons(dropped)})")
    rows = rows[np.argsort(ends[rows, 0], kind="stable")]
    return ends[rows], rows, dropped


def aligned(
    recording: RecordingData, table_name: str, where: str, align: str, window_ms: tuple[float, float] | None,
    bin_s: float, lengths: str,
) -> Windows:  # fmt: skip
    """Windows around events of a table of intervals, or its whole intervals.

    Args:
        recording: with the table.
        table_name, where: rows of which table, and a condition on them.
        align: column of times; empty: ``start_time``.
        window_ms: from and to, relative to that time; None: whole intervals.
        bin_s: bin width.
        lengths: of whole intervals that differ: ``pad`` (NaN), ``cut`` to the shortest, or ``leave`` shorter ones out.

    Raises:
        RecordingError: no such table or column, or no window is left.
    """
    table = table_of(recording, table_name)
    what = f"the table {table_name} of {recording.name}"
    kept = chosen(where, table, what)
    dropped = [Dropped("trial", str(table.ids[n]), f"not {where}") for n in np.flatnonzero(~kept)]
    times = table.times(align or "start_time", what)
    # These two are on the made-up clock of trials already.
    if recording.trial_span is not None and align not in ("", "start_time", "stop_time"):
        times = table.columns["start_time"] + times * recording.trial_unit_s
    stops = table.times("stop_time", what) if "stop_time" in table.columns else np.full(len(table), np.nan)

    def leave_out(which: np.ndarray, why: str) -> None:
        gone = np.flatnonzero(kept & which)
        dropped.extend(Dropped("trial", str(table.ids[n]), why) for n in gone)
        kept[gone] = False

    leave_out(~np.isfinite(times), f"{align or 'start_time'} is not known (NaN)")
    if not kept.any():
        raise RecordingError(f"{what}: no row is left ({_reasons(dropped)})")
    notes, own = [], None
    if window_ms is None:
        if "stop_time" not in table.columns:
            raise RecordingError(f"{what} does not say when intervals end; give --window FROM TO, in ms")
        leave_out(~(stops > times), "stop_time is not known or not after the start")
        if not kept.any():
            raise RecordingError(f"{what}: no interval has a length above 0")
        bins, own = whole_intervals(stops - times, kept, bin_s, lengths, what)
        leave_out(own < 1 if lengths == "pad" else own < bins, f"shorter than {bins} bins")
        window_ms, mode = (0.0, bins * bin_s * 1000.0), "trials"
    else:
        bins, mode = _whole(window_ms[1] - window_ms[0], bin_s, "--window"), "aligned"
    if recording.trial_span is not None:
        mode = "trials"
        notes += _beyond_all_spikes(recording, what, times - table.columns["start_time"], window_ms, leave_out)
    starts = times + window_ms[0] / 1000.0
    start, stop = recording.extent
    slack = bin_s * SLACK
    ends = starts + (bins if own is None else np.minimum(own, bins)) * bin_s
    leave_out((starts < start - slack) | (ends > stop + slack), f"beyond the recording ({start:.6g} to {stop:.6g} s)")
    if not kept.any():
        raise RecordingError(f"{what}: no window is left ({_reasons(dropped)}); are its times in seconds?")
    if mode == "aligned":
        notes += _beyond_their_trial(table, starts, bins * bin_s, kept)
    rows = np.flatnonzero(kept)[np.argsort(starts[kept], kind="stable")]
    columns = {name: values[rows] for name, values in table.columns.items()}
    lengths_now = None if own is None or (own[rows] >= bins).all() else np.minimum(own[rows], bins)
    ids = np.asarray(table.ids)[rows]
    return Windows(starts[rows], bins, rows, ids, times[rows], columns, window_ms, mode, dropped, notes, lengths_now)


def _beyond_all_spikes(recording: RecordingData, what: str, events: np.ndarray, window_ms, leave_out) -> list[str]:
    """Of trials on clocks of their own: leaves out windows far from all spikes, and notes those that reach beyond."""
    low, high = recording.trial_span
    first, last = events + window_ms[0] / 1000.0, events + window_ms[1] / 1000.0
    spikes = f"the spikes of all trials ({low * 1000:g} to {high * 1000:g} ms)"
    with np.errstate(invalid="ignore"):
        leave_out((first < 2 * low - high) | (last > 2 * high - low), f"beyond {spikes}")
        number = int(((first < low - GUESSED_END_S) | (last > high + GUESSED_END_S)).sum())
    return [f"{number} windows reach beyond {spikes}"] if number else []


def table_of(recording: RecordingData, name: str) -> Table:
    """A table of intervals by name. Raises RecordingError when it is not there."""
    if name not in recording.tables:
        there = ", ".join(recording.tables) or "none"
        other = f"--table {next(iter(recording.tables))}, or " if recording.tables else ""
        raise RecordingError(
            f"{recording.name} has no table of intervals {name!r}; it has {there}. Use {other}--chop LENGTH to cut the "
            "whole recording into windows"
        )
    return recording.tables[name]


def _whole(length_ms: float, bin_s: float, flag: str) -> int:
    bins = length_ms / 1000.0 / bin_s
    if not bins >= 1 or abs(bins - round(bins)) > 1e-3:
        raise RecordingError(
            f"{flag}: {length_ms:g} ms must be a whole number of bins of {bin_s * 1000:g} ms, at least one"
        )
    return round(bins)


def whole_intervals(durations: np.ndarray, kept: np.ndarray, bin_s: float, lengths: str, what: str):
    """Bins of the windows, and of each interval."""
    own = np.where(kept, np.floor(np.nan_to_num(durations) / bin_s + 1e-6), 0).astype(int)
    least, most = int(own[kept].min()), int(own[kept].max())
    if most < 1:
        raise RecordingError(
            f"{what}: trials last {durations[kept].max() * 1000:.3g} ms at most, and a bin is {bin_s * 1000:g} ms; "
            "choose smaller bins, and look at the units of time (intervals are in seconds, widths of bins in ms)"
        )
    if least == most or lengths == "pad":
        return most, own
    if lengths == "cut":
        if least < 1:
            raise RecordingError(
                f"{what}: the shortest interval is shorter than a bin; use --lengths leave, or --window"
            )
        return least, own
    if lengths == "leave":
        values, times = np.unique(own[kept], return_counts=True)
        reach = np.cumsum(times[::-1])[::-1] / times.sum()
        return max(1, int(values[reach >= MOST_STAY].max())), own
    raise RecordingError(
        f"{what}: intervals last from {least * bin_s * 1000:g} to {most * bin_s * 1000:g} ms; give --window FROM TO, "
        "or --lengths pad (NaN, for selective_backprop), cut (to the shortest) or leave (shorter ones out)"
    )


def _beyond_their_trial(table: Table, starts: np.ndarray, length: float, kept: np.ndarray) -> list[str]:
    begin, stop = (table.columns.get(name) for name in ("start_time", "stop_time"))
    if begin is None or stop is None:
        return []
    with np.errstate(invalid="ignore"):
        outside = kept & ((starts < begin - 1e-9) | (starts + length > stop + 1e-9))
    number = int(outside.sum())
    return [f"{number} of {int(kept.sum())} windows reach beyond their own trial"] if number else []


def _reasons(dropped: list[Dropped]) -> str:
    reasons: dict[str, int] = {}
    for one in dropped:
        reasons[one.why] = reasons.get(one.why, 0) + 1
    return "; ".join(f"{number} {why}" for why, number in reasons.items()) or "the table is empty"
