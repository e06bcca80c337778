"""Counts or spike times in .npy, .npz, .mat of any version and HDF5."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lfads_tf2.recordings.python_objects import continuous, cut_already, is_trials, spikes_by_unit
from lfads_tf2.recordings.recording import RecordingData, RecordingError
from lfads_tf2.recordings.variables import load_file

# Names under which counts, flat spike times and their units usually stand.
COUNTS = ("counts", "spikes", "spike_counts", "binned", "data", "Y", "y")
TIMES = ("spike_times", "spikeTimes", "times", "ts")
UNITS = ("spike_clusters", "spike_units", "units", "unit_ids", "clusters", "unit")
BIN_WIDTHS = ("bin_width_ms", "bin_size_ms", "bin_ms", "binMs")


def read(path: Path, key: str, axes: str, bin_ms: float | None) -> RecordingData:
    """The activity in a file of arrays.

    Args:
        path: of the file.
        key: name of the array; empty: the usual names are tried.
        axes: of counts, such as "time,units" or "trials,time,units".
        bin_ms: width of the stored bins.

    Raises:
        RecordingError: no such array, or one that holds no counts and no spike times.
    """
    content, kind = _content(path)
    if not content:
        raise RecordingError(f"{path} holds nothing")
    if bin_ms is None:
        bin_ms = next((float(np.ravel(content[n])[0]) for n in BIN_WIDTHS if n in content), None)
    if not key:
        times = next((name for name in TIMES if name in content), None)
        units = next((name for name in UNITS if name in content), None)
        if times is not None:
            recording = spikes_by_unit(content[times], content.get(units), str(path))
            return _of_kind(recording, kind)
        key = next((name for name in COUNTS if name in content), "")
        if not key:
            if len(content) != 1:
                raise RecordingError(
                    f"{path} holds {', '.join(content)}; say which are the spikes, such as --key {next(iter(content))}"
                )
            key = next(iter(content))
    if key not in content:
        raise RecordingError(f"{path} has no {key!r}; it holds {', '.join(content)}")
    value = _structs(content[key])
    if is_trials(value):
        return _of_kind(cut_already(value, axes or "time,units", bin_ms, str(path)), kind)
    if isinstance(value, dict):
        return _of_kind(spikes_by_unit(value, None, str(path)), kind)
    value = np.asarray(value)
    if value.ndim == 3:
        return _of_kind(cut_already(value, axes, bin_ms, str(path)), kind)
    if value.ndim == 1 and value.dtype.kind in "fiu" and not axes:
        raise RecordingError(f"{path}: {key} is one row of {len(value)} numbers; counts of several units are needed")
    return _of_kind(continuous(value, axes, bin_ms, str(path)), kind)


def _structs(value: Any) -> Any:
    """A struct array, which version 7.3 of MATLAB stores field by field, as a list of structs."""
    if not isinstance(value, dict) or not value or not all(isinstance(part, list) for part in value.values()):
        return value
    number = len(next(iter(value.values())))
    if any(len(part) != number for part in value.values()):
        return value
    structs = [{name: part[n] for name, part in value.items()} for n in range(number)]
    return structs if is_trials(structs) else value


def _of_kind(recording: RecordingData, kind: str) -> RecordingData:
    recording.source_format = kind
    return recording


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
