"""What the run manager remembers of a dataset beside the program's input: which trial went where, times, conditions.

Ours is HDF5 and counts trials from 0; the MATLAB run manager's .mat files are read too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from lfads_tf2.files import hdf5
from lfads_tf2.run_manager.loading import LoadError, load_file


class InputInfo(NamedTuple):
    """Facts about one prepared dataset; N trials."""

    train_inds: np.ndarray  # position of each training trial among all N, from 0
    valid_inds: np.ndarray
    data_hash: str
    times: np.ndarray  # ms, of the recording's own bins
    bin_ms: float  # of the recording
    conditions: np.ndarray | None  # N
    counts: Any  # N x channels x time in the recording's own bins, perhaps not in memory; None where not stored


@contextlib.contextmanager
def writing_input_info(path: Path, info: InputInfo) -> Iterator[h5py.File]:
    """Writes everything but counts to a new file, and leaves it open for them to follow in blocks."""
    with hdf5.writing(path) as file:
        for name, values in (("trainInds", info.train_inds), ("validInds", info.valid_inds)):
            file[name] = np.asarray(values, np.int64)
            file[name].attrs["first_trial_is"] = 0
        file["paramInputDataHash"] = info.data_hash
        file["seq_timeVector"] = np.asarray(info.times, np.float64)
        file["seq_timeVector"].attrs["unit"] = "ms"
        file["seq_binSizeMs"] = float(info.bin_ms)
        if info.conditions is not None:
            text = info.conditions.dtype.kind in "OSU"
            file.create_dataset("conditionId", data=info.conditions.astype(object) if text else info.conditions)
        yield file


def read_input_info(path: Path) -> InputInfo:
    """Reads an inputInfo file, ours or MATLAB's.

    Raises:
        LoadError: not there, not readable, or without the trials' positions.
    """
    content = load_file(path)
    try:
        train, valid = (np.atleast_1d(content[name]).astype(np.int64).ravel() for name in ("trainInds", "validInds"))
    except KeyError as error:
        raise LoadError(f"{path} has no {error.args[0]}; it is no inputInfo file of a run manager") from None
    # MATLAB counts from 1, and the first trial is always one of validation.
    ours = path.suffix == ".h5"
    first = 0 if ours else 1
    conditions = content.get("conditionId")
    if conditions is not None:
        conditions = np.atleast_1d(conditions)
        conditions = conditions.astype(str) if conditions.dtype.kind in "OSU" else conditions
        conditions = conditions if len(conditions) else None
    counts = content.get("counts")
    if counts is not None and not ours and np.ndim(counts) == 3:
        # channels x time x trials there
        counts = np.asarray(counts).transpose(2, 0, 1)
    times = np.atleast_1d(np.asarray(content.get("seq_timeVector", []), float)).ravel()
    width = float(content.get("seq_binSizeMs", np.nan))
    return InputInfo(
        train - first, valid - first, str(content.get("paramInputDataHash", "")), times, width, conditions, counts
    )
