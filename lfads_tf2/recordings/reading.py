"""Which reader a file needs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import h5py

from lfads_tf2.recordings import arrays, nwb, phy
from lfads_tf2.recordings.recording import RecordingData, RecordingError, sha256


def read(
    path: Path,
    key: str = "",
    axes: str = "",
    bin_ms: float | None = None,
    groups: Sequence[str] = (),
    behavior: Sequence[str] = (),
    time_unit: str = "s",
    allow_outside_files: bool = False,
) -> RecordingData:
    """A recording from a file of any kind; arguments as those of ``RecordingData.read``.

    Raises:
        RecordingError: there is no such file, it is of no known kind, or its reader refuses it.
    """
    if not path.exists():
        raise RecordingError(f"there is no file or folder {path}; check the path")
    kind = kind_of(path)
    if kind == "folder":
        recording = phy.read(path, groups)
    elif kind == "NWB file":
        recording = nwb.read(path, behavior, allow_outside_files)
    elif kind == "file of arrays":
        recording = arrays.read(path, key, axes, bin_ms, time_unit)
    else:
        raise RecordingError(
            f"{path} is of no known kind; give an NWB file, .npz, .npy, .mat, HDF5, or the folder of a spike sorter"
        )
    return dataclasses.replace(recording, source_path=str(path.resolve()), source_sha256=sha256(path))


def kind_of(path: Path) -> str:
    """``folder``, ``NWB file`` or ``file of arrays``, or nothing where it is none of these."""
    if path.is_dir():
        return "folder"
    if path.suffix.lower() == ".nwb":
        return "NWB file"
    of_arrays = path.suffix.lower() in (".npz", ".npy", ".mat") or (path.exists() and h5py.is_hdf5(path))
    return "file of arrays" if of_arrays else ""
