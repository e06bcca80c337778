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
    kind = (
        "folder" if path.is_dir()
        else "NWB file" if path.suffix.lower() == ".nwb"
        else "file of arrays" if path.suffix.lower() in (".npz", ".npy", ".mat") or h5py.is_hdf5(path)
        else ""
    )  # fmt: skip
    of_arrays = {"--key": key, "--axes": axes, "--stored-bin-ms": bin_ms, "--time-unit": time_unit != "s"}
    of_nwb = {"--behavior": behavior, "--allow-outside-files": allow_outside_files}
    for wanted, options in (("file of arrays", of_arrays), ("folder", {"--groups": groups}), ("NWB file", of_nwb)):
        for flag, given in options.items():
            if given and kind not in (wanted, ""):  # nothing that is given is ignored
                of = "a sorter's folder" if wanted == "folder" else wanted
                raise RecordingError(f"{path} is no {of}, which alone has {flag}; leave it out")
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
