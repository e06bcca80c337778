"""Spike times of trials, each on its own clock: cells trials x units, or structs of trials that hold a cell of units.

The trials are laid one after the other on a made-up clock, so that windows, conditions and choices of units are those
of any recording; ``RecordingData.trial_span`` says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lfads_tf2.recordings.recording import RecordingData, RecordingError, Table, unit_table

# Longer trials are hardly in seconds.
LONGEST_TRIAL_S = 600.0
NAMES = ("spike_times", "spikeTimes", "spikes", "times", "ts")
# Start of each trial on the made-up clock, in spans of a trial: windows may reach beyond all spikes by one span.
SPANS = 3


def is_cell(value: Any) -> bool:
    """Whether a value holds a row of numbers (or one, or none) in each of its places, as spike times of units."""
    if isinstance(value, np.ndarray):
        return value.dtype == object and value.size > 0 and all(_is_row(part) for part in value.flat)
    if not isinstance(value, list | tuple) or not value or not all(_is_row(part) for part in value):
        return False
    # Rows of whole numbers that are equally long are counts.
    rows = [np.asarray(part) for part in value]
    return len({row.shape for row in rows}) > 1 or any(row.ndim and (row != np.floor(row)).any() for row in rows)


def is_trials_of_times(value: Any) -> bool:
    """Whether a value holds spike times of trials: a cell of two axes, a list of cells, or of structs with one."""
    if isinstance(value, np.ndarray) and value.ndim == 2:
        return is_cell(value)
    if not isinstance(value, list | tuple | np.ndarray) or (isinstance(value, np.ndarray) and value.dtype != object):
        return False
    cells = [_cell_of(trial) for trial in value]
    # A cell whose units have one spike each comes as one row of numbers, or is told from counts by others alone.
    return any(map(is_cell, cells)) and all(np.iterable(cell) and all(map(_is_row, cell)) for cell in cells)


def spikes_of_trials(value: Any, axes: str, columns: Mapping[str, Any], name: str, unit_s: float) -> RecordingData:
    """A recording whose table ``trials`` has a row for each trial.

    Args:
        value: see ``is_trials_of_times``.
        axes: of a cell of two axes, ``trials,units`` or ``units,trials``.
        columns: of the trials, beside those that structs have.
        name: for messages.
        unit_s: what the times are counted in, in seconds.

    Raises:
        RecordingError: axes are not named, or trials do not fit each other.
    """
    if isinstance(value, np.ndarray) and value.ndim == 2:
        if sorted(axes.split(",")) != ["trials", "units"]:
            raise RecordingError(
                f"{name}: a cell of {value.shape[0]} x {value.shape[1]} rows of spike times; say which axis is which "
                f"with --axes trials,units or units,trials, got {axes or 'none'}"
            )
        value = list(value if axes.startswith("trials") else value.T)
    columns = trial_columns(value) | dict(columns)
    cells = [_cell_of(trial) for trial in value]
    units = {len(cell) for cell in cells}
    if len(units) > 1:
        raise RecordingError(f"{name}: trials have spike times of {sorted(units)} units; all need the same units")
    times = [[np.asarray(row, np.float64).ravel() * unit_s for row in cell] for cell in cells]
    everything = np.concatenate([row for trial in times for row in trial] or [np.zeros(0)])
    if not len(everything) or not np.isfinite(everything).all():
        raise RecordingError(f"{name}: {'spike times hold NaN or infinity' if len(everything) else 'no unit spikes'}")
    low, high = min(0.0, float(everything.min())), max(0.0, float(everything.max()))
    if high - low > LONGEST_TRIAL_S:
        raise RecordingError(
            f"{name}: spike times within a trial from {low:g} to {high:g} s, longer than a trial lasts; if they are in "
            "ms, say --time-unit ms"
        )
    span = high - low or 1.0
    zeros = (SPANS * np.arange(len(times)) + 1) * span - low
    # By unit, over all trials.
    trains = [
        np.concatenate([zero + row for zero, row in zip(zeros, rows, strict=True)]) for rows in zip(*times, strict=True)
    ]
    return RecordingData(
        unit_table(min(units)), trains, tables={"trials": _table(zeros, columns, unit_s)}, source_path=name,
        trial_span=(low, high), trial_unit_s=unit_s,
    )  # fmt: skip


def trial_columns(value: Any) -> dict[str, np.ndarray]:
    """Fields of structs of trials that hold one number or one text in each."""
    if not isinstance(value, Sequence) or not all(isinstance(trial, Mapping) for trial in value):
        return {}
    shared = set.intersection(*(set(trial) for trial in value))
    return columns_of({name: [trial[name] for trial in value] for name in value[0] if name in shared}, len(value))


def columns_of(variables: Mapping[str, Any], trials: int) -> dict[str, np.ndarray]:
    """Those of the variables that hold one number or one text a trial."""
    found = {name: _column(values, trials) for name, values in variables.items()}
    return {name: column for name, column in found.items() if column is not None}


def _column(values: Any, trials: int) -> np.ndarray | None:
    """One number or text a trial as a column; None for anything else."""
    if not isinstance(values, list | np.ndarray) or not np.iterable(values) or len(values) != trials:
        return None
    # MATLAB's empty fields are numbers that are not known.
    values = [np.nan if np.iterable(one) and not isinstance(one, str) and not len(one) else one for one in values]
    if any(np.iterable(one) and not isinstance(one, str) for one in values):
        return None
    column = np.asarray(values)
    return column if column.dtype.kind in "biufU" else None


def _table(zeros: np.ndarray, columns: dict[str, np.ndarray], unit_s: float) -> Table:
    """The trials' table: all times in it but ``start_time`` and ``stop_time`` stay as they are."""
    stop = columns.get("duration")
    if "stop_time" in columns:
        stop = columns["stop_time"] - columns.get("start_time", 0.0)
    own = {name: values for name, values in columns.items() if name not in ("start_time", "stop_time")}
    own["start_time"] = zeros
    return Table(own | ({} if stop is None else {"stop_time": zeros + stop * unit_s}), np.arange(len(zeros)))


def _is_row(value: Any) -> bool:
    """One number, a row of them, or nothing."""
    if isinstance(value, str | bytes | Mapping):
        return False
    try:
        array = np.asarray(value)
    except ValueError:  # lists of unequal length
        return False
    return array.size == 0 or (array.dtype.kind in "fiu" and array.ndim <= 2 and array.size == max(array.shape or (1,)))


def _cell_of(trial: Any) -> Any:
    """A trial's cell, where it is a struct with more than that."""
    if not isinstance(trial, Mapping):
        return trial
    cells = {name: part for name, part in trial.items() if is_cell(part)}
    named = [cells[name] for name in NAMES if name in cells] + [trial[name] for name in NAMES if name in trial]
    return named[0] if named else next(iter(cells.values()), None)
