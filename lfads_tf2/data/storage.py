"""Where arrays of trials lie: in memory, or, when they are large, in a temporary file that is mapped.

The temporary file (in the system's folder for such files, see TMPDIR) has no name: it vanishes with the process,
however that ends. It holds the trials uncompressed and in their small type, so that picking random trials costs the
same whatever the layout and compression of the HDF5 file.
"""

from __future__ import annotations

import mmap
import os
import shutil
import tempfile
from collections.abc import Iterator

import numpy as np

from lfads_tf2.errors import LFADSError


class NoRoom(LFADSError, MemoryError):
    """An array that neither memory nor the folder for temporary files can hold."""


# Arrays up to this size stay in memory.
RESIDENT_BYTES = 2**29


def empty(shape: tuple[int, ...], dtype) -> np.ndarray:
    """An array to be filled; a mapped one when it is larger than RESIDENT_BYTES. Raises NoRoom."""
    size = int(np.prod(shape, dtype=object)) * np.dtype(dtype).itemsize
    if size <= RESIDENT_BYTES:
        return np.empty(shape, dtype)
    with tempfile.TemporaryFile(prefix="lfads_") as file:
        _reserve(file, size)
        return np.memmap(file, dtype, "r+", shape=shape)


def _reserve(file, size: int) -> None:
    """Takes the room on the disk now: writing to a mapped file that has none ends the process (SIGBUS)."""
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.truncate(size)
    except OSError as error:
        folder = tempfile.gettempdir()
        raise NoRoom(
            f"{size / 1e9:.1f} GB are needed in {folder}, the folder for temporary files, which has "
            f"{shutil.disk_usage(folder).free / 1e9:.1f} GB free ({error.strerror}); set the environment variable "
            "TMPDIR to a folder with more room"
        ) from error


def is_mapped(array: np.ndarray) -> bool:
    """Whether an array lies in a file; its slices do too."""
    return isinstance(array, np.memmap)


def release(array: np.ndarray) -> None:
    """Gives the memory of the pages of a mapped array that were used back to the system; nothing is lost."""
    mapping = getattr(array, "_mmap", None)
    if mapping is not None and hasattr(mapping, "madvise"):
        mapping.madvise(mmap.MADV_DONTNEED)


def blocks(array: np.ndarray) -> Iterator[slice]:
    """Slices of trials, small enough for memory, after each of which a mapped array's pages are given back."""
    rows = max(1, RESIDENT_BYTES // 8 // max(1, array[:1].nbytes))
    for start in range(0, len(array), rows):
        yield slice(start, start + rows)
        release(array)


def any_entry(array: np.ndarray) -> bool:
    """Whether any entry is not zero; reads no further than the first block that has one."""
    return any(bool(array[part].any()) for part in blocks(array))


def any_by_channel(array: np.ndarray) -> np.ndarray:
    """Whether each channel of trials x bins x channels has any entry that is not zero."""
    found = np.zeros(array.shape[2], bool)
    for part in blocks(array):
        found |= array[part].any(axis=(0, 1))
    return found


def as_type(array: np.ndarray, dtype) -> np.ndarray:
    """A copy in another type, in memory or mapped as its size asks for."""
    copy = empty(array.shape, dtype)
    for part in blocks(array):
        copy[part] = array[part]
        release(copy)
    return copy
