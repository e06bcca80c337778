"""HDF5 files that are written where the disk may become full.

HDF5 cannot close a file that it cannot write to: it leaves objects behind that end in tracebacks, or crash it, when
Python ends. So it is not told: what the disk does not take is dropped, and the error is raised once HDF5 is done.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import h5py

# What HDF5 writes in smaller pieces is its own book-keeping, which it may read again before it closes the file.
_LARGEST_KEPT = 2**16


class Disk(io.RawIOBase):
    """A file as h5py wants it, which seems to take everything.

    Args:
        file: opened for reading and writing, without a buffer.
    """

    def __init__(self, file: BinaryIO):
        self._file, self._kept = file, {}
        self.error: OSError | None = None  # the first one

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer) -> int:
        start, number = self._file.tell(), self._file.readinto(buffer)
        if self.error is None:
            return number
        view = memoryview(buffer).cast("B")
        view[number:] = bytes(len(view) - number)
        for offset, piece in self._kept.items():
            first, last = max(offset, start), min(offset + len(piece), start + len(view))
            if first < last:
                view[first - start : last - start] = piece[first - offset : last - offset]
        self._file.seek(start + len(view))
        return len(view)

    def write(self, data) -> int:
        data, start = memoryview(data).cast("B"), self._file.tell()
        if self.error is None:
            try:
                written = 0
                while written < len(data):
                    written += self._file.write(data[written:])
                return written
            except OSError as error:
                self.error = error
        if len(data) <= _LARGEST_KEPT:
            self._kept.pop(start, None)  # the newest piece comes last
            self._kept[start] = bytes(data)
        self._file.seek(start + len(data))
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        size = self._file.tell() if size is None else size
        if self.error is None:
            try:
                return self._file.truncate(size)
            except OSError as error:
                self.error = error
        return size

    def flush(self) -> None:
        """Nothing is buffered."""


class WritableHDF5(h5py.File):
    """What ``writing`` opens."""

    def __init__(self, disk: Disk, mode: str, **options):
        super().__init__(disk, mode, **options)
        self._disk = disk

    def check(self) -> None:
        """Raises OSError when the disk has not taken something, so that long work ends early."""
        if self._disk.error is not None:
            raise self._disk.error


@contextlib.contextmanager
def writing(path: str | os.PathLike, mode: str = "w", **options) -> Iterator[WritableHDF5]:
    """An HDF5 file for the length of the block.

    Args:
        path: of the file, which is no result before the block has ended well: see ``files.atomic_path``.
        mode: ``w``, a new file, or ``r+``, one that is there.
        options: more arguments of ``h5py.File``.

    Raises:
        OSError: the file cannot be opened, or the disk did not take all of it.
    """
    with Path(path).open("w+b" if mode == "w" else "r+b", buffering=0) as file:
        disk = Disk(file)
        try:
            with WritableHDF5(disk, mode, **options) as f:
                yield f
        except Exception:
            if disk.error is None:
                raise
        if disk.error is not None:
            # Whatever else went wrong follows from this.
            raise disk.error from None
