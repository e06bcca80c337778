"""Reading recordings: .npz, .mat of any version, HDF5 and NWB, through one function.

Large arrays of HDF5-based files (.mat version 7.3 included) are not read but handed out as :class:`Lazy`, from which
trials are read in blocks.
"""

from __future__ import annotations

import collections
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from lfads_tf2.errors import LFADSError
from lfads_tf2.recordings.binning import TOLERANCE, window_counts
from lfads_tf2.recordings.cutting import doubts
from lfads_tf2.recordings.nwb import read as read_nwb
from lfads_tf2.recordings.recording import RecordingError, Table
from lfads_tf2.recordings.windows import aligned

log = logging.getLogger("lfads_tf2")

# Larger arrays stay in the file until trials are asked for.
LAZY_BYTES = 64 * 2**20


class LoadError(LFADSError, ValueError):
    """A recording that cannot be read; the message says why and what to do."""


class Lazy:
    """An array in an HDF5 file, of which slices of the first axis are read when they are asked for.

    Args:
        path: the file. key: the dataset in it.
        reversed_axes: MATLAB's file, in which all axes are in reverse order.
    """

    def __init__(self, path: Path, key: str, reversed_axes: bool = False):
        self.path, self.key, self.reversed_axes = Path(path), key, reversed_axes
        with h5py.File(path, "r") as file:
            dataset = file[key]
            self.shape = tuple(dataset.shape[::-1] if reversed_axes else dataset.shape)
            self.dtype = dataset.dtype
            chunks = dataset.chunks
        self.ndim = len(self.shape)
        # Blocks of whole chunks are read once and not many times.
        self.rows_of_chunk = 1 if chunks is None else int(chunks[-1] if reversed_axes else chunks[0])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> np.ndarray:
        with h5py.File(self.path, "r") as file:
            dataset = file[self.key]
            return dataset[..., rows].transpose() if self.reversed_axes else dataset[rows]

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.asarray(self[:], dtype=dtype)


def load_file(path: Path) -> dict[str, Any]:
    """The variables of a .npz, .mat (versions 4 to 7.3) or HDF5 file by name, in the order of axes that wrote them.

    MATLAB's vectors come as 1-D arrays, its scalars as numbers, its strings as text, its structs as dicts, and cells
    of strings as lists.

    Raises:
        LoadError: there is no such file, or it is of none of these kinds.
    """
    path = Path(path)
    if not path.is_file():
        raise LoadError(f"there is no file {path}; check the dataset's rel_path and the collection's path")
    if path.suffix == ".npz":
        try:
            # Arrays of Python objects could run code; they are refused.
            with np.load(path, allow_pickle=False) as content:
                return {name: content[name] for name in content.files}
        except (ValueError, OSError) as error:
            raise LoadError(f"{path} cannot be read: {error}; store plain arrays with np.savez") from None
    if h5py.is_hdf5(path):
        return _load_hdf5(path)
    if path.suffix == ".mat":
        return _load_mat5(path)
    raise LoadError(f"{path} is neither .npz nor .mat nor HDF5; load it in Dataset.load_data of your own subclass")


def _load_mat5(path: Path) -> dict[str, Any]:
    try:
        from scipy.io import loadmat
        from scipy.io.matlab import MatReadError
    except ModuleNotFoundError:
        raise LoadError(f"reading {path} needs scipy: pip install scipy, or save it from MATLAB with -v7.3") from None
    try:
        content = loadmat(path, chars_as_strings=True, simplify_cells=True)
    except (MatReadError, ValueError, TypeError, OSError, EOFError) as error:
        raise LoadError(f"{path} is not a readable .mat file: {error}") from None
    return {name: _texts(value) for name, value in content.items() if not name.startswith("__")}


def _texts(value: Any) -> Any:
    """A cell of strings as an array of text; empty strings come as empty arrays."""
    if not isinstance(value, np.ndarray) or value.dtype != object or not any(isinstance(v, str) for v in value.flat):
        return value
    parts = ["" if np.size(v) == 0 else v for v in value.flat]
    return np.array(parts) if all(isinstance(part, str) for part in parts) else value


def _load_hdf5(path: Path) -> dict[str, Any]:
    try:
        with h5py.File(path, "r") as file:
            # MATLAB leaves its class on everything that it writes.
            matlab = any("MATLAB_class" in item.attrs for item in file.values())
            return {name: _item(path, item, matlab) for name, item in file.items() if not name.startswith("#")}
    except OSError as error:
        raise LoadError(f"{path} cannot be read ({error}); the file is damaged, write or copy it again") from None


def _item(path: Path, item: h5py.Group | h5py.Dataset, matlab: bool) -> Any:
    if isinstance(item, h5py.Group):
        return {name: _item(path, part, matlab) for name, part in item.items()}
    if not matlab:
        if item.ndim > 1 and item.nbytes > LAZY_BYTES:
            return Lazy(path, item.name)
        value = item.asstr()[()] if h5py.check_string_dtype(item.dtype) else item[()]
        return value if np.ndim(value) else np.asarray(value).item()
    return _matlab_item(path, item)


def _matlab_item(path: Path, dataset: h5py.Dataset) -> Any:
    kind = dataset.attrs.get("MATLAB_class", b"double")
    kind = kind.decode() if isinstance(kind, bytes) else str(kind)
    if dataset.attrs.get("MATLAB_empty", 0):
        return "" if kind == "char" else np.zeros(0)
    if h5py.check_ref_dtype(dataset.dtype) is not None:
        parts = [_item(path, dataset.file[ref], True) for ref in dataset[()].T.ravel()]
        texts = all(isinstance(part, str) for part in parts)
        numbers = all(isinstance(part, int | float) for part in parts)
        return np.array(parts) if texts or numbers else parts
    if kind == "char":
        return "".join(chr(code) for code in dataset[()].T.ravel())
    if dataset.ndim > 1 and dataset.nbytes > LAZY_BYTES:
        return Lazy(path, dataset.name, reversed_axes=True)
    value = dataset[()].transpose()
    if kind == "logical":
        value = value.astype(bool)
    if value.size == 1:
        return value.reshape(-1)[0].item()
    return value.reshape(-1) if value.ndim == 2 and 1 in value.shape else value


def counts_from_spike_times(
    spike_times: Sequence[np.ndarray], starts: np.ndarray, bins: int, bin_ms: float, offset_ms: float = 0.0
) -> np.ndarray:
    """Spike counts of trials of equal length, trials x channels x bins.

    Args:
        spike_times: of each channel, in seconds.
        starts: of each trial, in seconds.
        bins: of a trial. bin_ms: bin width.
        offset_ms: added to the starts, for a window that begins before (negative) or after them.
    """
    width = bin_ms / 1000.0
    counts = np.zeros((len(starts), len(spike_times), bins), np.uint16)
    # One sorted search of all edges a trial; edges are made in one go so that bins of neighbours cannot overlap.
    edges = (np.asarray(starts, float) + offset_ms / 1000.0)[:, None] + (np.arange(bins + 1) - TOLERANCE) * width
    for channel, times in enumerate(spike_times):
        places = np.searchsorted(np.sort(np.asarray(times, float)), edges)
        counts[:, channel] = np.diff(places, axis=1)
    return counts


def load_nwb(
    path: Path,
    bin_ms: float = 1.0,
    length_ms: float | None = None,
    align_to: str = "start_time",
    offset_ms: float = 0.0,
    condition_column: str | None = None,
) -> dict[str, Any]:
    """Spike counts of an NWB file's units in its trials, as the arguments of a session of the run manager.

    ``lfads_tf2.Recording`` does more, and writes the program's own files.

    Args:
        path: the file. bin_ms: bin width.
        length_ms: of every trial; without it, of the shortest.
        align_to: column of the trials table, in seconds, at which trials start.
        offset_ms: added to it.
        condition_column: column of the trials table that holds conditions.

    Returns:
        ``counts`` (trials x channels x bins: the run manager's order, not that of Estimator), ``time_vec_ms``,
        ``trial_ids`` (of the trials table), ``start_s`` (of each trial on the session's clock) and, with a
        column, ``condition_id``. What was left out, and what looks like a mistake, goes to the logger ``lfads_tf2``.

    Raises:
        LoadError: pynwb is missing, the file cannot be read or lacks units, trials or a column, or no trial is left.
    """
    try:
        recording = read_nwb(Path(path))
        if "trials" not in recording.tables:
            raise LoadError(f"{path} needs a units table and a trials table; it lacks trials")
        table, width = recording.tables["trials"], bin_ms / 1000.0
        if length_ms is None:
            table, length_ms = _of_known_length(path, table, align_to, offset_ms)
            recording.tables["trials"] = table
        bins = int(length_ms / bin_ms + 1e-6)
        if bins < 1:
            raise LoadError(f"{path}: trials of {length_ms:g} ms from {offset_ms:g} ms on have no bin of {bin_ms:g} ms")
        if condition_column is not None:
            table.column(condition_column, f"the table trials of {path}")
        window = (offset_ms, offset_ms + bins * bin_ms)
        found = aligned(recording, "trials", "", align_to, window, width, "")
        counts = window_counts(recording, found.start_s, bins, width, np.arange(len(recording.units)))
    except RecordingError as error:
        raise LoadError(str(error)) from error
    reasons = collections.Counter(one.why for one in found.dropped)
    for note in (*(f"{number} trials left out: {why}" for why, number in reasons.items()), *found.notes,
                 *doubts(recording, counts, found)):  # fmt: skip
        log.warning("%s: %s", path, note)
    content = {
        "counts": counts.transpose(0, 2, 1),
        "time_vec_ms": offset_ms + np.arange(bins) * bin_ms,
        "trial_ids": table.ids[found.index],
        "start_s": found.start_s,
    }
    return content if condition_column is None else content | {"condition_id": found.columns[condition_column]}


def _of_known_length(path: Path, table: Table, align_to: str, offset_ms: float) -> tuple[Table, float]:
    """The trials that have a length, and that of the shortest; a short one among long ones is said."""
    what = f"the table trials of {path}"
    lengths = (table.column("stop_time", what) - table.column(align_to, what)) * 1000.0 - offset_ms
    known = np.isfinite(lengths) & (lengths > 0)
    if not known.any():
        raise LoadError(
            f"{path}: no trial has a length above 0 from {align_to} {offset_ms:+g} ms on; look at the times"
        )
    shortest, usual = float(lengths[known].min()), float(np.median(lengths[known]))
    if shortest < 0.9 * usual:
        row = table.ids[known][np.argmin(lengths[known])]
        log.warning(
            "%s: all %d trials were cut to %g ms because of trial %s (half of them last %g ms); give length_ms, or "
            "leave short trials out", path, int(known.sum()), shortest, row, usual,
        )  # fmt: skip
    if not known.all():
        log.warning("%s: %d trials left out: %s or stop_time is not known", path, int((~known).sum()), align_to)
    return Table({name: values[known] for name, values in table.columns.items()}, table.ids[known]), shortest
