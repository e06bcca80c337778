"""Where arrays of trials lie: in memory, or, when they are large, in a temporary file that is mapped.

The temporary file (in the system's folder for such files, see TMPDIR) has no name: it vanishes with the process,
however that ends. It holds the trials uncompressed and in their small type, so that picking random trials costs the
same whatever the layout and compression of the HDF5 file.
"""

from __future__ import annotations

import mmap
import tempfile

import numpy as np

# Arrays up to this size stay in memory.
RESIDENT_BYTES = 2**29


def empty(shape: tuple[int, ...], dtype) -> np.ndarray:
    """An array to be filled; a mapped one when it is larger than RESIDENT_BYTES."""
    if int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize <= RESIDENT_BYTES:
        return np.empty(shape, dtype)
    with tempfile.TemporaryFile(prefix="lfads_") as file:
        return np.memmap(file, dtype, "w+", shape=shape)


def is_mapped(array: np.ndarray) -> bool:
    """Whether an array lies in a file; its slices do too."""
    return isinstance(array, np.memmap)


def release(array: np.ndarray) -> None:
    """Gives the memory of the pages of a mapped array that were used back to the system; nothing is lost."""
    mapping = getattr(array, "_mmap", None)
    if mapping is not None and hasattr(mapping, "madvise"):
        mapping.madvise(mmap.MADV_DONTNEED)


def as_type(array: np.ndarray, dtype) -> np.ndarray:
    """A copy in another type, in memory or mapped as its size asks for."""
    copy = empty(array.shape, dtype)
    rows = max(1, RESIDENT_BYTES // 8 // max(1, copy[:1].nbytes))
    for start in range(0, len(array), rows):
        copy[start : start + rows] = array[start : start + rows]
        release(array), release(copy)
    return copy
