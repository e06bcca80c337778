"""HDF5 files that tell when they were damaged: every array has a checksum, and so has the file as a whole.

Damage to the structure of an HDF5 file can crash the library or make it loop. A file is therefore given to it only when
the checksum after its end matches. One without, as whoever changes such a file leaves it, is first read in a process
of its own.
"""

from __future__ import annotations

import contextlib
import logging
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from lfads_tf2.errors import LFADSError
from lfads_tf2.files import hdf5

log = logging.getLogger("lfads_tf2")

# From HDF5 1.8 of 2008 on, headers and attributes have checksums too.
LIBVER = ("v108", "v108")
CHECKSUM = "crc32"
# HDF5 passes over what follows its end of file.
_SEAL = b"\nLFADS CRC-32 "
_SEAL_BYTES = len(_SEAL) + 9
_SECONDS = 60
_BLOCK = 2**24
# Of arrays that are written while they are computed: a few whole rows.
_CHUNK_BYTES = 2**20


class DamagedFile(LFADSError, OSError):
    """A result or parameter file that cannot be read; the message says what to do."""


@contextlib.contextmanager
def writing(path: Path) -> Iterator[hdf5.WritableHDF5]:
    """A new file, sealed at the end of the block."""
    with hdf5.writing(path, libver=LIBVER) as f:
        yield f
    checksum = _checksum_of_file(path, path.stat().st_size)
    with path.open("ab") as file:
        file.write(_SEAL + b"%08x\n" % checksum)


def store(f: h5py.File, key: str, value: np.ndarray, compressed: bool = False) -> h5py.Dataset:
    """Writes one array with its checksums."""
    dataset = f.create_dataset(key, data=value, **_filters(value.shape, compressed))
    dataset.attrs[CHECKSUM] = _checksum(value)
    return dataset


def _filters(shape: tuple[int, ...], compressed: bool) -> dict[str, object]:
    filters = {"compression": "gzip", "compression_opts": 1, "shuffle": True} if compressed else {}
    # Every reader checks Fletcher-32, but it takes zeros for anything, and single values can have none.
    return filters | ({"fletcher32": True} if shape and 0 not in shape else {})


class Rows:
    """An array that is written while it is computed, its checksums those of ``store``.

    Args:
        f: the file.
        key: of the array.
        shape: of the whole, at least one axis.
        dtype: of its numbers.
        compressed: as ``store``.
    """

    def __init__(self, f: h5py.File, key: str, shape: tuple[int, ...], dtype, compressed: bool):
        row_bytes = np.dtype(dtype).itemsize * int(np.prod(shape[1:], dtype=np.int64))
        self._in_chunk = max(1, min(shape[0], _CHUNK_BYTES // max(1, row_bytes)))
        chunks = (self._in_chunk, *shape[1:]) if 0 not in shape else None
        self.dataset = f.create_dataset(key, shape, dtype, chunks=chunks, **_filters(shape, compressed))
        self._waiting, self._written, self._checksum = [], 0, 0

    def add(self, rows: np.ndarray) -> None:
        """The next rows; the checksum is there after the last one."""
        self._checksum = _checksum(rows, self._checksum)
        self._waiting.append(rows)
        number = sum(map(len, self._waiting))
        ends = self._written + number == len(self.dataset)
        # Whole chunks only: to write one in parts is to compress it again for each.
        number = number if ends else number // self._in_chunk * self._in_chunk
        if number:
            rows = np.concatenate(self._waiting)
            self.dataset[self._written : self._written + number] = rows[:number]
            self._waiting, self._written = [rows[number:]], self._written + number
        if ends:
            self.dataset.attrs[CHECKSUM] = self._checksum


def read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, object]]:
    """All arrays and attributes of a file, of this program or of another.

    Raises:
        FileNotFoundError: it is not there.
        DamagedFile: it is damaged, or no HDF5 file.
    """
    path = Path(path)
    check(path)
    with _refusals(path), h5py.File(path, "r") as f:
        return _arrays(f), dict(f.attrs)


def check(path: Path) -> None:
    """Raises as ``read`` does where a file must not be given to HDF5, for whoever reads only some of its arrays."""
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there")
    with _refusals(path):
        if not _is_safe(path):
            _read_elsewhere(path)


@contextlib.contextmanager
def _refusals(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        text = " ".join(str(error).split())
        raise DamagedFile(
            f"{path} cannot be read as HDF5 ({text:.200}); it is damaged or no result of LFADS: write or copy it again"
        ) from error


def _arrays(f: h5py.File) -> dict[str, np.ndarray]:
    values = {key: f[key][()] for key in f if isinstance(f[key], h5py.Dataset)}
    for key, value in values.items():
        known = f[key].attrs.get(CHECKSUM)
        if known is not None and known != _checksum(value):
            raise OSError(f"{key}: the checksum does not match")
    return values


def _checksum(value: np.ndarray, before: int = 0) -> int:
    """Of an array, or of its next rows after those that ``before`` is of."""
    return zlib.crc32(np.ascontiguousarray(value), before)


def _checksum_of_file(path: Path, size: int) -> int:
    checksum = 0
    with path.open("rb") as file:
        while size > 0 and (block := file.read(min(size, _BLOCK))):
            checksum, size = zlib.crc32(block, checksum), size - len(block)
    return checksum


def _is_safe(path: Path) -> bool:
    """Whether a file is as it was written, or of the kind that the original and other programs write.

    Raises OSError when it is not as it was written, although nobody opened it since.
    """
    with path.open("rb") as file:
        start = file.read(36)
        file.seek(-min(_SEAL_BYTES, path.stat().st_size), 2)
        end = file.read()
    if end.startswith(_SEAL):
        if end[len(_SEAL) :] != b"%08x\n" % _checksum_of_file(path, path.stat().st_size - _SEAL_BYTES):
            raise OSError("the checksum of the file does not match")
        return True
    if start[8:9] == b"\2" and path.stat().st_size < int.from_bytes(start[28:36], "little"):
        raise OSError("the file is cut")
    return start[8:9] == b"\0"


def _read_elsewhere(path: Path) -> None:
    """Reads a file in a process of its own. Raises OSError when that fails."""
    code = f"import sys, h5py\nfrom {__name__} import _arrays\nwith h5py.File(sys.argv[1], 'r') as f: _arrays(f)"
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=_SECONDS,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise OSError(f"HDF5 has not read it in {_SECONDS} seconds") from None
    if done.returncode:
        last = done.stderr.strip().rpartition("\n")[2] if done.returncode > 0 else "it crashes the library"
        raise OSError(last)
    log.warning("%s was changed after it was written; its arrays match their checksums.", path)
