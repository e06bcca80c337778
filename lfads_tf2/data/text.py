"""Text of varying length, read by a process of its own: damaged, it can keep HDF5 busy for ever or end the process."""

from __future__ import annotations

import json

import h5py

from lfads_tf2.data import apart

_READ = """
import json, sys, h5py
with h5py.File(sys.argv[1], "r") as file:
    print(json.dumps(file[sys.argv[2]].asstr(errors="replace")[()].reshape(-1).tolist()))
"""


def is_varying(dataset: h5py.Dataset) -> bool:
    """Whether a dataset of text has entries of varying length."""
    kind = h5py.check_string_dtype(dataset.dtype)
    return kind is not None and kind.length is None


def read_varying(path: str, name: str) -> list[str]:
    """All entries of a dataset of text, in one row.

    Raises:
        OSError: it cannot be read.
    """
    try:
        found = apart.answer(_READ, path, name)
    except apart.Unreadable as error:
        raise OSError(f"its text is damaged: {error}") from error
    if found is None:
        raise OSError("its text is damaged")
    return json.loads(found)
