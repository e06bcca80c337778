"""Counts or spike times, of a session or of trials, in .npy, .npz, .mat of any version and HDF5."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lfads_tf2.errors import one_of
from lfads_tf2.recordings.pynapple_files import read_pynapple
from lfads_tf2.recordings.python_objects import continuous, cut_already, is_trials, spikes_by_unit
from lfads_tf2.recordings.recording import RecordingData, RecordingError
from lfads_tf2.recordings.spike_trials import (
    columns_of,
    is_cell,
    is_trials_of_times,
    spikes_of_trials,
    trial_columns,
)
from lfads_tf2.recordings.trial_tables import turned_axes, vectors_in
from lfads_tf2.recordings.variables import load_file

# Names under which counts, flat spike times and their units usually stand.
COUNTS = ("counts", "spikes", "spike_counts", "binned", "data", "Y", "y")
TIMES = ("spike_times", "spikeTimes", "times", "ts")
UNITS = ("spike_clusters", "spike_units", "units", "unit_ids", "clusters", "unit")
BIN_WIDTHS = ("bin_width_ms", "bin_size_ms", "bin_ms", "binMs")
TIME_UNITS = {"s": 1.0, "ms": 0.001}


def read(path: Path, key: str, axes: str, bin_ms: float | None, time_unit: str = "s") -> RecordingData:
    """The activity in a file of arrays.

    Args:
        path: of the file.
        key: name of the array, ``struct.field`` in a struct; empty: the usual names are tried.
        axes: of counts, such as "time,units" or "trials,time,units"; of a cell of spike times, "trials,units".
        bin_ms: width of the stored bins.
        time_unit: of spike times, s or ms.

    Raises:
        RecordingError: no such array, or one that holds no counts and no spike times.
    """
    if time_unit not in TIME_UNITS:
        raise RecordingError(f"--time-unit must be {one_of(TIME_UNITS, time_unit)}")
    recording = read_pynapple(path, bin_ms) if path.suffix.lower() == ".npz" and not key else None
    if recording is not None:
        recording.source_format = "npz"
        return recording
    content, kind = _content(path)
    if not content:
        raise RecordingError(f"{path} holds nothing")
    recording = _activity(content, str(path), key, axes, bin_ms, TIME_UNITS[time_unit])
    recording.source_format = kind
    return recording


def _activity(
    content: dict[str, Any], path: str, key: str, axes: str, bin_ms: float | None, unit_s: float
) -> RecordingData:
    if bin_ms is None:
        bin_ms = next((float(np.ravel(content[n])[0]) for n in BIN_WIDTHS if n in content), None)
    times = next((name for name in TIMES if name in content), "")
    units = next((name for name in UNITS if name in content), "")
    if (not key or key == times) and times and units:
        recording = spikes_by_unit(np.asarray(content[times]) * unit_s, content[units], path)
        recording.vectors = vectors_in(content, [content[times], content[units]])
        recording.trial_unit_s = unit_s
        return recording
    key = key or times or next((name for name in COUNTS if name in content), "")
    if not key and len(content) != 1:
        raise RecordingError(
            f"{path} holds {', '.join(content)}; say which are the spikes, such as --key {next(iter(content))}"
        )
    key = key or next(iter(content))
    around, name = _around(content, key, path)
    recording = _of_array(around, name, key, path, axes, bin_ms, unit_s)
    if not recording.tables:
        recording.vectors = vectors_in(content, [around[name]]) | vectors_in(around, [around[name]])
        recording.trial_unit_s = unit_s
    return recording


def _of_array(
    around: dict[str, Any], name: str, key: str, path: str, axes: str, bin_ms: float | None, unit_s: float
) -> RecordingData:
    """The activity in one variable, and what the others around it say of its trials."""
    value = _structs(around[name])
    beside = {other: values for other, values in around.items() if other != name}
    if is_trials_of_times(value):
        number = len(value) if axes != "units,trials" else value.shape[1]
        recording = spikes_of_trials(value, axes, columns_of(beside, number), path, unit_s)
        if isinstance(value, np.ndarray) and value.ndim == 2:
            recording.notes = turned_axes(beside, number, len(recording.units))
        return recording
    if is_cell(value) or isinstance(value, dict):
        rows = value if isinstance(value, dict) else dict(enumerate(value))
        return spikes_by_unit(
            {unit: _row(row, f"{path}: {key}, {unit}") * unit_s for unit, row in rows.items()}, None, path
        )
    if isinstance(value, np.ndarray) and value.ndim == 2 and value.dtype == object:
        value = list(value.ravel())
    # A .npy file has one array, without a name.
    what = path if path.endswith(".npy") else f"{path}: {key}"
    if is_trials(value):
        return cut_already(value, axes or "time,units", bin_ms, what, beside)
    if isinstance(value, list) or np.asarray(value).dtype.kind == "O":
        raise RecordingError(f"{what} is a cell of neither spike times nor counts of trials; give another --key")
    value = np.asarray(value)
    if value.ndim == 3:
        return cut_already(value, axes, bin_ms, what, beside)
    if value.ndim == 1 and value.dtype.kind in "fiu" and not axes:
        raise RecordingError(f"{what} is one row of {len(value)} numbers; counts of several units are needed")
    return continuous(value, axes, bin_ms, what)


def _around(content: dict[str, Any], key: str, path: str) -> tuple[dict[str, Any], str]:
    """The variables beside the one that is asked for, and its name among them; HDF5's ``/`` is as good as ``.``."""
    if key in content:
        return content, key
    outer, _, rest = key.strip("/").replace("/", ".").partition(".")
    inner = _structs(content.get(outer))
    if isinstance(inner, dict) and rest:
        return _around(inner, rest, f"{path}: {outer}")
    if isinstance(inner, list) and all(isinstance(trial, dict) and rest in trial for trial in inner):
        return trial_columns(inner) | {rest: [trial[rest] for trial in inner]}, rest
    raise RecordingError(f"{path} has no {key!r}; it holds {', '.join(content)}")


def _row(value: Any, what: str) -> np.ndarray:
    try:
        row = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        row = np.zeros((2, 2))
    if sum(size > 1 for size in row.shape) > 1:
        raise RecordingError(f"{what}: holds no spike times; name the field with --key STRUCT.FIELD")
    return row.ravel()


def _structs(value: Any) -> Any:
    """A struct array, which version 7.3 of MATLAB stores field by field, as a list of structs."""
    rows = isinstance(value, dict) and [isinstance(part, list) or np.ndim(part) == 1 for part in value.values()]
    if not rows or not all(rows) or len({len(part) for part in value.values()}) > 1:
        return value
    structs = [{name: part[n] for name, part in value.items()} for n in range(len(next(iter(value.values()))))]
    return structs if is_trials(structs) or is_trials_of_times(structs) else value


def _content(path: Path) -> tuple[dict[str, Any], str]:
    """Variables by name, and the kind of file."""
    if path.suffix.lower() == ".npy":
        try:
            return {"array": np.load(path, allow_pickle=False)}, "npy"
        except Exception as error:  # whatever NumPy makes of a damaged file
            raise RecordingError(f"{path} cannot be read ({error!s:.200}); store a plain array with np.save") from None
    content = load_file(path)
    kind = {".npz": "npz", ".mat": "mat"}.get(path.suffix.lower(), "hdf5")
    return content, kind
