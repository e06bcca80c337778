"""NWB 2 files: units, every table of intervals, and time series by name."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lfads_tf2.data.linked_files import linked_files_problem
from lfads_tf2.recordings.recording import RecordingData, RecordingError, Series, Table


def read(path: Path, behavior: Sequence[str] = (), allow_outside: bool = False) -> RecordingData:
    """Units, intervals and the named time series of a file.

    Args:
        path: of the file.
        behavior: names of time series, with their folders where a name is there twice (``behavior/hand_vel``).
        allow_outside: links may lead to files outside the folder of this one.

    Raises:
        RecordingError: pynwb is missing, the file cannot be read, it has no units with spike times, or a time series
            is not there.
    """
    try:
        from pynwb import NWBHDF5IO
    except ModuleNotFoundError:
        raise RecordingError("reading NWB files needs pynwb: pip install 'lfads-tf2[nwb]'") from None
    # pynwb follows every link.
    problem = linked_files_problem(path, allow_outside)
    if problem:
        raise RecordingError(problem)
    try:
        with warnings.catch_warnings(), NWBHDF5IO(str(path), "r") as reader:
            # Of parts that are none of ours, and of schemas that are older than the library's.
            warnings.filterwarnings("ignore", category=UserWarning, module="hdmf|pynwb")
            return _recording(reader.read(), str(path), behavior)
    except RecordingError:
        raise
    except Exception as error:  # whatever pynwb, hdmf and HDF5 make of a damaged file
        said = " ".join(str(error).split())
        raise RecordingError(f"{path} is not a readable NWB file ({type(error).__name__}: {said:.300})") from error


def _recording(file: Any, name: str, behavior: Sequence[str]) -> RecordingData:
    units = file.units
    if units is None or not len(units) or "spike_times" not in units.colnames:
        lacks = "units" if units is None or not len(units) else "spike_times in its units table"
        raise RecordingError(f"{name} has no {lacks}; LFADS needs sorted units with their spikes")
    observed = None
    if "obs_intervals" in units.colnames:
        observed = [np.asarray(units["obs_intervals"][n], np.float64).reshape(-1, 2) for n in range(len(units))]
    start = getattr(file, "session_start_time", None)
    return RecordingData(
        Table(_columns(units, ("spike_times", "obs_intervals")), np.asarray(units.id[:])),
        spike_times=[np.asarray(units["spike_times"][n], np.float64) for n in range(len(units))],
        tables=_tables(file),
        series=_series(file, name, behavior),
        observed=observed,
        source_path=name,
        source_format="nwb",
        session_start_time="" if start is None else start.isoformat(),
    )


def _tables(file: Any) -> dict[str, Table]:
    tables = {name: getattr(file, name) for name in ("trials", "epochs", "invalid_times")}
    tables |= dict(file.intervals.items()) if file.intervals is not None else {}
    return {
        name: Table(_columns(table, ("timeseries",)), np.asarray(table.id[:]))
        for name, table in tables.items() if table is not None
    }  # fmt: skip


def _columns(table: Any, without: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Columns of one number or text a row; several texts, as tags are, as one."""
    found = {}
    for name in table.colnames:
        if name in without or name.startswith("electrode"):
            continue
        with contextlib.suppress(Exception):  # columns of objects that cannot be rows of an array are not for us
            column = table[name]
            value = _joined_texts(column, len(table)) if hasattr(column, "target") else np.asarray(column[:])
            if value.dtype.kind == "O":
                value = np.array([v.decode() if isinstance(v, bytes) else str(v) for v in value])
            if value.ndim == 1 and len(value) == len(table) and value.dtype.kind in "biufU":
                found[name] = value
    return found


def _joined_texts(column: Any, rows: int) -> np.ndarray:
    """Of a column with several texts a row."""
    lists = [np.ravel(column[n]).tolist() for n in range(rows)]
    texts = all(isinstance(part, str) for row in lists for part in row)
    return np.array([", ".join(row) for row in lists]) if texts else np.zeros(0)


def _series(file: Any, name: str, wanted: Sequence[str]) -> dict[str, Series]:
    if not wanted:
        return {}
    there: dict[str, Any] = {}
    for item in file.objects.values():
        if hasattr(item, "timestamps") and hasattr(item, "rate") and hasattr(item, "data"):
            parent = getattr(item.parent, "name", "")
            there[f"{parent}/{item.name}"] = item
    found = {}
    for one in wanted:
        fitting = [key for key in there if key == one or key.split("/")[-1] == one]
        if len(fitting) != 1:
            which = f"is there {len(fitting)} times ({', '.join(fitting)})" if fitting else "is not there"
            listed = ", ".join(sorted(there)) or "no time series"
            raise RecordingError(f"{name}: the time series {one!r} {which}; the file has {listed}")
        found[one] = _one_series(there[fitting[0]], one)
    return found


def _one_series(item: Any, name: str) -> Series:
    values = np.asarray(item.data[:], np.float64)
    values = values.reshape(len(values), -1) * float(item.conversion or 1.0) + float(item.offset or 0.0)
    if item.timestamps is not None:
        times = np.asarray(item.timestamps[:], np.float64)
    else:
        times = float(item.starting_time or 0.0) + np.arange(len(values)) / float(item.rate)
    names = [name] if values.shape[1] == 1 else [f"{name}_{n}" for n in range(values.shape[1])]
    return Series(times, values, names, str(item.unit or ""))
