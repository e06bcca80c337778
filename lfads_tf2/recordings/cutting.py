"""From a recording to trials of equal length in two halves, with an account of all that was left out."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from lfads_tf2.recordings import binning, windows
from lfads_tf2.recordings.expressions import chosen
from lfads_tf2.recordings.halves import NEITHER, TRAIN, VALID, halves, overlapping, sharing
from lfads_tf2.recordings.recording import RecordingData, RecordingError
from lfads_tf2.recordings.trial_tables import with_vectors
from lfads_tf2.recordings.trials import CutOptions, CutTrials, first_of, left_out
from lfads_tf2.recordings.unit_selection import Dropped, select_units
from lfads_tf2.recordings.windows import Windows
from lfads_tf2.recordings.writing import write

# Of all spikes; below, times are hardly in seconds on the clock of the table.
FEWEST_INSIDE = 0.01
# Spikes/s, on average over units and time; neurons do not fire as much.
HIGHEST_RATE = 500.0


class Cut(CutTrials):
    """Trials that were cut from a recording."""

    def write(self, folder: str | Path, name: str = "") -> Path:
        """Writes the session's file into a data folder; see ``writing.write``."""
        return write(self, Path(folder).expanduser(), name)


def cut(recording: RecordingData, options: CutOptions) -> Cut:
    """Cuts a recording into trials.

    Raises:
        RecordingError: an option does not fit the recording, or nothing is left.
    """
    options.check()
    recording = with_vectors(recording, options)
    bin_s, dropped = options.bin_ms / 1000.0, [Dropped("unit", unit, why) for unit, why in recording.left_out]
    wanted = chosen(options.units, recording.units, f"the units of {recording.name}")
    units, gone = select_units(recording, wanted, options.min_rate, options.min_presence, options.max_crosstalk)
    dropped += gone
    found, counts = _windows_and_counts(recording, options, units, bin_s)
    dropped += found.dropped
    counts = _not_observed(recording, options, found, counts, units, bin_s)
    counts, units, found, dropped = _choose(options, recording, found, counts, units, dropped)
    units, counts, encoded = _held_out_last(recording, units, counts)
    conditions = None
    if options.condition:
        if options.condition not in found.columns:
            _table_of(recording, options).column(options.condition, f"the table {options.table} of {recording.name}")
            raise RecordingError(
                f"--condition={options.condition}: windows over the whole recording have none; --where or --table cuts "
                "them within such intervals"
            )
        conditions = found.columns[options.condition]
    half = _halves(options, found, conditions, bin_s)
    dropped += [
        Dropped("window", str(found.ids[n]), "shares bins with the other half, or is of neither")
        for n in np.flatnonzero(half == NEITHER)
    ]
    behavior, names, measured = _behavior(recording, options, found, bin_s)
    notes = [*recording.notes, *found.notes, *doubts(recording, counts, found), *_shared_bins(found, half, bin_s)]
    return Cut(
        recording, options, found, counts, units, encoded, half, conditions, behavior, names, measured, dropped, notes
    )


def _table_of(recording: RecordingData, options: CutOptions):
    if options.table not in recording.tables:
        what = f"--condition={options.condition}" if options.condition else f"--table={options.table}"
        raise RecordingError(
            f"{what}: {recording.name} has no such table; it has {', '.join(recording.tables) or 'none'}"
        )
    return recording.tables[options.table]


def _windows_and_counts(recording: RecordingData, options: CutOptions, units: np.ndarray, bin_s: float):
    if not len(units):
        raise RecordingError(f"{recording.name}: no unit is left; loosen --units, --min-rate or --min-presence")
    if recording.trials is not None:
        return _ready_trials(recording, options, units, bin_s)
    if options.chop is not None and recording.trial_span is not None:
        raise RecordingError(f"{recording.name} holds trials, each with a clock of its own; give --window for --chop")
    if options.chop is not None:
        within = options.table if options.where or options.table != CutOptions.table else ""
        found = windows.chopped(recording, options.chop, options.overlap, bin_s, within, options.where)
    else:
        found = windows.aligned(
            recording, options.table, options.where, options.align, options.window, bin_s, options.lengths
        )
    return found, binning.window_counts(recording, found.start_s, found.bins, bin_s, units)


def _ready_trials(recording: RecordingData, options: CutOptions, units: np.ndarray, bin_s: float):
    """Trials that were cut already: chosen, re-binned, and made equally long as the user chooses."""
    if options.align or options.window or options.chop is not None:
        raise RecordingError(
            f"{recording.name} holds counts that were cut into trials already; leave --align, --window and --chop out"
        )
    factor = binning.whole_factor(bin_s, recording.bin_s, recording.name)
    table = _table_of(recording, options)
    wanted = chosen(options.where, table, f"the trials of {recording.name}")
    dropped = [Dropped("trial", str(table.ids[n]), f"not {options.where}") for n in np.flatnonzero(~wanted)]
    if not wanted.any():
        raise RecordingError(f"{recording.name}: no trial is {options.where}; loosen --where")
    lasting = np.array([len(trial) * recording.bin_s for trial in recording.trials])
    bins, own = windows.whole_intervals(lasting, wanted, bin_s, options.lengths, recording.name)
    kept = own >= (1 if options.lengths == "pad" else bins)
    short = np.flatnonzero(wanted & ~kept)
    dropped += [Dropped("trial", str(table.ids[n]), f"shorter than {bins} bins") for n in short]
    rows = np.flatnonzero(wanted & kept)
    if not len(rows):
        raise RecordingError(f"{recording.name}: no trial has {bins} bins; loosen --lengths")
    whole = np.zeros((len(rows), bins, len(units)), np.int64)
    for n, row in enumerate(rows):
        take = min(bins, own[row])
        trial = recording.trials[row][: take * factor, units].astype(np.int64)
        whole[n, :take] = trial.reshape(take, factor, len(units)).sum(axis=1)
    nothing = np.full(len(rows), np.nan)
    stored = np.array([len(recording.trials[row]) for row in rows])
    rest = int((stored - np.minimum(own[rows], bins) * factor).sum())
    cut_off = f"{rest} stored bins at the ends of trials are left out: they fill no bin, or lie beyond the shortest"
    notes = [cut_off] if rest else []
    lengths = None if (own[rows] >= bins).all() else np.minimum(own[rows], bins)
    columns = {name: values[rows] for name, values in table.columns.items()}
    window = (0.0, bins * options.bin_ms)
    ids = np.asarray(table.ids)[rows]
    found = Windows(nothing, bins, rows, ids, nothing, columns, window, "trials", dropped, notes, lengths)
    return found, whole.astype(np.min_scalar_type(int(whole.max(initial=0))))


def _not_observed(recording, options: CutOptions, found: Windows, counts, units, bin_s: float) -> np.ndarray:
    """Counts with NaN in the bins that were not observed, or that a padded trial does not have."""
    seen = None
    if recording.trials is None:
        seen = binning.observed_bins(recording, found.start_s, found.bins, bin_s, units)
    if found.lengths is not None:
        seen = np.broadcast_to(found.inside[:, :, None], counts.shape) & (True if seen is None else seen)
    return counts if seen is None else np.where(seen, counts, np.float32(np.nan)).astype(np.float32)


def _choose(options: CutOptions, recording: RecordingData, found: Windows, counts, units, before: list[Dropped]):
    """Leaves out units, or windows, that were not observed throughout, where that is wanted, and silent units."""
    dropped = list(before)
    keep_units, keep_windows = np.ones(len(units), bool), np.ones(len(counts), bool)
    if counts.dtype.kind == "f":
        # A window without a single observed entry says nothing.
        keep_windows = np.isfinite(counts).any(axis=(1, 2))
        missing = np.isnan(counts) & found.inside[:, :, None]
        dropped += [Dropped("trial", str(found.ids[n]), "not observed") for n in np.flatnonzero(~keep_windows)]
        if options.unobserved == "drop-unit":
            keep_units = ~missing[keep_windows].any(axis=(0, 1))
            why = "not observed in every window"
            dropped += [Dropped("unit", str(recording.units.ids[n]), why) for n in units[~keep_units]]
        elif options.unobserved == "drop-trial":
            gone = keep_windows & missing.any(axis=(1, 2))
            dropped += [
                Dropped("trial", str(found.ids[n]), "a unit was not observed in it") for n in np.flatnonzero(gone)
            ]
            keep_windows &= ~gone
    silent = ~np.nan_to_num(counts[keep_windows]).any(axis=(0, 1)) & keep_units
    dropped += [Dropped("unit", str(recording.units.ids[n]), "silent in every window") for n in units[silent]]
    keep_units &= ~silent
    if not keep_windows.any() or not keep_units.any():
        why = _nothing_left(options, recording, found, int(keep_windows.sum()), int(silent.sum()), units)
        raise RecordingError("\n".join([f"{recording.name}: {why}", *left_out(dropped)]))
    counts = counts[keep_windows][:, :, keep_units]
    if counts.dtype.kind == "f" and not np.isnan(counts).any():
        counts = counts.astype(np.min_scalar_type(int(counts.max())))
    found = dataclasses.replace(
        found, start_s=found.start_s[keep_windows], index=found.index[keep_windows],
        ids=found.ids[keep_windows], align_s=found.align_s[keep_windows],
        columns={name: values[keep_windows] for name, values in found.columns.items()},
        lengths=None if found.lengths is None else found.lengths[keep_windows],
    )  # fmt: skip
    return counts, units[keep_units], found, dropped


def _nothing_left(
    options: CutOptions, recording: RecordingData, found: Windows, kept: int, silent: int, units: np.ndarray
) -> str:
    """Why no window, or no unit, is left; ``kept``: windows that are; ``silent``: of ``units``, without a spike."""
    if silent < len(units) or not kept:
        what = f"{len(units)} units" if kept else f"{len(found.ids)} windows"
        instead = "" if options.unobserved == "nan" else "use --unobserved nan, or "
        return f"none of the {what} is left; {instead}look at when units were observed, and at the windows' times"
    why = f"all {len(units)} units are silent in every window"
    if recording.spike_times is None:
        return f"{why}: their counts are 0; look at where the counts are stored (--key, --axes), and at the windows"
    own = [recording.spike_times[unit] for unit in units]
    total, last = sum(map(len, own)), max((one[-1] for one in own if len(one)), default=np.nan)
    return (
        f"{why}; 0 of {total} spikes lie in the windows, which begin from {found.start_s.min():.6g} to "
        f"{found.start_s.max():.6g} s, and the last spike is at {last:.6g} s; are all times in seconds, of one clock?"
    )


def _held_out_last(recording: RecordingData, units: np.ndarray, counts: np.ndarray):
    """Units that the column ``heldout`` marks come last; returns how many the encoders read."""
    marks = recording.units.columns.get("heldout")
    if marks is None or marks.dtype.kind not in "biu":
        return units, counts, len(units)
    held = marks[units].astype(bool)
    if held.all() or not held.any():
        return units, counts, len(units)
    order = np.argsort(held, kind="stable")
    return units[order], counts[:, :, order], int((~held).sum())


def _halves(options: CutOptions, found: Windows, conditions, bin_s: float) -> np.ndarray:
    kind, column = options.halves, found.columns.get(options.halves_column)
    stops = found.stop_s(bin_s)
    if kind == "auto":
        kind = (
            "column" if column is not None and column.dtype.kind == "U"
            else "blocks" if overlapping(found.start_s, stops)
            else "stratified" if conditions is not None
            else "every"
        )  # fmt: skip
    elif kind == "column" and column is None:
        there = ", ".join(found.columns) or "none"
        raise RecordingError(f"--halves column: the table has no column {options.halves_column!r}; it has {there}")
    return halves(kind, found.start_s, stops, options.valid_share, options.seed, conditions, column)


def _shared_bins(found: Windows, half: np.ndarray, bin_s: float) -> list[str]:
    """Windows for validation that share bins with one for training, which makes their score too good."""
    valid = half == VALID
    number = len(sharing(found.start_s, found.stop_s(bin_s), valid, half == TRAIN))
    text = f"{number} of {int(valid.sum())} validation windows share bins with training windows"
    return [f"{text}; --halves blocks keeps them apart"] if number else []


def _behavior(recording: RecordingData, options: CutOptions, found: Windows, bin_s: float):
    parts, names, measured = [], [], []
    for name in options.behavior:
        if name not in recording.series:
            raise RecordingError(f"{recording.name}: the time series {name!r} was not read")
        series = recording.series[name]
        times = series.times[np.isfinite(series.times)]
        falls = np.flatnonzero(np.diff(times) < 0)
        if len(falls):
            before, after = times[falls[0] : falls[0] + 2]
            raise RecordingError(
                f"{recording.name}: the timestamps of the time series {name!r} must not fall, and {after:.6f} s comes "
                f"after {before:.6f} s ({len(falls)} such places); sort its samples by time, or correct its clock"
            )
        part = binning.window_series(
            series, found.start_s, found.bins, bin_s, options.lag / 1000.0, options.behavior_how
        )
        parts.append(np.where(found.inside[:, :, None], part, np.float32(np.nan)))
        names += series.names
        measured += [series.unit] * len(series.names)
    return (np.concatenate(parts, axis=-1) if parts else None), names, measured


def doubts(recording: RecordingData, counts: np.ndarray, found: Windows) -> list[str]:
    """What looks like a mistake in units or clocks, of counts N x T x D (NaN: not observed)."""
    notes = []
    if recording.spike_times is not None:
        inside, total = float(np.nansum(counts)), sum(map(len, recording.spike_times))
        if found.mode != "chopped" and inside < FEWEST_INSIDE * total:
            notes.append(
                f"only {inside:.0f} of {total} spikes lie in the windows; are all times in seconds, of one clock?"
            )
        last = max(times[-1] for times in recording.spike_times if len(times))
        after = found.ids[found.start_s >= last]
        if len(after):
            notes.append(f"{len(after)} trials begin after the last spike ({last:.6g} s): {first_of(after)}")
        active = int((np.nansum(counts, axis=(1, 2)) > 0).sum())
        if active < 0.5 * len(counts):
            why = "counted in ms (--time-unit ms)" if found.mode == "chopped" else "relative to their trial"
            notes.append(f"only {active} of {len(counts)} trials have spikes; are spike times {why}?")
    rate = float(np.nanmean(counts))
    if rate < 0.01:
        notes.append(f"{rate:.2g} spikes a bin and unit on average: wider bins (--bin-ms) would be easier to fit")
    per_s = 1000.0 * rate * found.bins / (found.window_ms[1] - found.window_ms[0])
    if per_s > HIGHEST_RATE:
        notes.append(
            f"{per_s:.3g} spikes/s a unit on average, more than neurons fire: are these counts, neither rates nor "
            "scaled, and are the stored bins as wide as is said, in ms (--stored-bin-ms)?"
        )
    return notes
