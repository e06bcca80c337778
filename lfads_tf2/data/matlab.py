"""Arrays that MATLAB's ``save -v7.3`` wrote: HDF5 holds their axes in reverse, and says so only by their class."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np


class Reversed:
    """A dataset with its axes as MATLAB shows them, of which slices of the first axis are read.

    Args:
        dataset: as HDF5 holds it.
    """

    def __init__(self, dataset: h5py.Dataset):
        self.dataset = dataset
        self.name, self.file, self.dtype, self.size = dataset.name, dataset.file, dataset.dtype, dataset.size
        self.shape = dataset.shape[::-1]
        self.chunks = None if dataset.chunks is None else dataset.chunks[::-1]

    def __getitem__(self, rows: slice | tuple) -> np.ndarray:
        found = self.dataset[()] if rows == () else self.dataset[..., rows]
        return found.transpose()


def as_shown(dataset: h5py.Dataset) -> Any:
    """The dataset, or a view with its axes reversed where MATLAB wrote it."""
    return Reversed(dataset) if len(dataset.shape) > 1 and "MATLAB_class" in dataset.attrs else dataset
