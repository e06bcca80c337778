"""Three-dimensional arrays of a session's file: their shape, and their checked entries."""

from __future__ import annotations

import h5py
import numpy as np

from lfads_tf2.data.entries import CHANNELS, Check
from lfads_tf2.data.errors import by
from lfads_tf2.data.keys import SessionFile, name_of


def has_shape(file: SessionFile, dataset: h5py.Dataset, axes: str = CHANNELS) -> bool:
    """Whether the dataset has three axes, none of them empty; if not, that is noted as a problem."""
    key, shape = name_of(dataset), dataset.shape
    if len(shape) != 3:
        hint = "; cut a continuous recording into trials first" if len(shape) == 2 else ""
        file.complain(key, f"has shape {by(shape)}; needs three axes, {axes}{hint}")
        return False
    for size, what in zip(shape, axes.split(" x "), strict=True):
        if size == 0:
            what = {"time": "bins"}.get(what, what)
            file.complain(key, f"has no {what} (shape {by(shape)}); store at least one, {axes}, or remove the key")
            return False
    return True


def read_entries(file: SessionFile, dataset: h5py.Dataset, check: Check) -> np.ndarray | None:
    """A dataset's entries in their storage type; what ``check`` finds wrong with them is a problem of the key."""
    values, problems = check(dataset)
    for problem in problems:
        file.complain(name_of(dataset), problem)
    return values
