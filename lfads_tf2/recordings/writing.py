"""The session's file: trials as the program reads them, and the group ``recording``, which is the way back."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import h5py
import numpy as np

from lfads_tf2.files import atomic_path, hdf5
from lfads_tf2.recordings.halves import TRAIN, VALID
from lfads_tf2.recordings.recording import RecordingError
from lfads_tf2.recordings.trials import CutTrials

FORMAT_VERSION = 1
HALVES = {"train": TRAIN, "valid": VALID}


def write(cut: CutTrials, folder: Path, name: str = "") -> Path:
    """Writes ``<name>.h5`` into a data folder, whole or not at all.

    Args:
        cut: trials.
        folder: of the data; made where it is not there.
        name: of the session; empty: that of the source.

    Raises:
        RecordingError: the name is no file's name, or that of a file with another recording.
        OSError: the file cannot be written.
    """
    name = name or re.sub(r"[^\w.+-]+", "_", Path(cut.recording.source_path or "session").stem) or "session"
    if "/" in name or name.startswith("."):
        raise RecordingError(f"--name must be a file's name without folders, got {name!r}")
    path = folder / f"{name.removesuffix('.h5')}.h5"
    _refuse_another(path, cut)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary, hdf5.writing(temporary) as file:
        file.attrs["bin_width_ms"] = cut.options.bin_ms
        for half, number in HALVES.items():
            _half(file, cut, half, np.flatnonzero(cut.half == number))
        _recording(file.create_group("recording"), cut)
    return path


def _refuse_another(path: Path, cut: CutTrials) -> None:
    """Raises RecordingError where a file holds another recording than this one, by its place and by its content."""
    own = cut.recording
    try:
        with h5py.File(path, "r") as file:
            there = dict(file["recording"].attrs) if "recording" in file else None
    except OSError:  # no such file, or a damaged one
        return
    if there is None:
        held = "holds trials that were not imported"
    elif own.source_path != there.get("source_path") and own.source_sha256 != there.get("source_sha256"):
        held = f"was imported from {there.get('source_path') or 'arrays'}"
    else:
        return
    raise RecordingError(
        f"{path} {held}, and would be replaced by {own.name}; give this session a name of its own (--name tuesday, or "
        "write(folder, name='tuesday')), or remove that file first"
    )


def _store(group: h5py.Group, key: str, value: np.ndarray) -> h5py.Dataset:
    value = np.asarray(value)
    if value.dtype.kind in "UO":
        return group.create_dataset(key, data=[str(v) for v in value], dtype=h5py.string_dtype())
    options = {"compression": "gzip", "compression_opts": 1, "shuffle": True, "fletcher32": True}
    return group.create_dataset(key, data=value, **(options if value.size > 1000 else {}))


def _half(file: h5py.File, cut: CutTrials, half: str, rows: np.ndarray) -> None:
    counts = cut.counts[rows]
    if cut.num_encoded < counts.shape[2]:
        _store(file, f"{half}_encod_data", counts[:, :, : cut.num_encoded])
        _store(file, f"{half}_recon_data", counts)
    else:
        _store(file, f"{half}_data", counts)
    _store(file, f"{half}_inds", rows)
    if cut.conditions is not None:
        _store(file, f"{half}_conditions", cut.conditions[rows])


def _recording(group: h5py.Group, cut: CutTrials) -> None:
    recording, options, found = cut.recording, cut.options, cut.windows
    group.attrs.update({
        "format_version": FORMAT_VERSION, "source_path": recording.source_path,
        "source_sha256": recording.source_sha256, "source_format": recording.source_format,
        "bin_width_ms": options.bin_ms, "window_ms": np.array(found.window_ms, np.float64),
        "align": options.align or ("start_time" if found.mode == "aligned" else ""), "mode": found.mode,
        "session_start_time": recording.session_start_time,
        "command": json.dumps(dataclasses.asdict(options)),
    })  # fmt: skip
    if found.mode == "chopped":
        group.attrs["overlap_ms"] = options.overlap
    _store(group, "unit_ids", recording.units.ids[cut.units])
    _store(group, "unit_index", cut.units)
    # In a group of their own: a lab may call a column anything, index and ids too.
    columns = group.create_group("unit_columns")
    for name, values in recording.units.columns.items():
        _store(columns, name, values[cut.units])
    for half, number in HALVES.items():
        rows = np.flatnonzero(cut.half == number)
        _store(group, f"{half}_trial_index", found.index[rows])
        if found.lengths is not None:
            _store(group, f"{half}_bins", found.lengths[rows])
        # Trials that were cut elsewhere have lost their place on the clock.
        if recording.trial_span is None and np.isfinite(found.start_s).all():
            _store(group, f"{half}_start_s", found.start_s[rows])
            _store(group, f"{half}_align_s", found.align_s[rows])
        if cut.conditions is not None:
            _store(group, f"{half}_condition", cut.conditions[rows])
        if cut.behavior is not None:
            behavior = _store(group, f"{half}_behavior", cut.behavior[rows])
            behavior.attrs["names"], behavior.attrs["units"] = cut.behavior_names, cut.behavior_units
    for field in ("what", "id", "why"):
        values = np.array([getattr(one, field) for one in cut.dropped], object)
        _store(group, f"dropped_{field}", values)
