"""Variables by name in .npz, .mat of any version and HDF5, through one function.

Large arrays of HDF5-based files (.mat version 7.3 included) are not read but handed out as :class:`Lazy`, from which
trials are read in blocks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from lfads_tf2.data import apart
from lfads_tf2.data.opening import leads_out, storage_problem
from lfads_tf2.recordings.recording import RecordingError

# Larger arrays stay in the file until trials are asked for.
LAZY_BYTES = 64 * 2**20
# Of groups and cells in each other; a group may also lie in itself.
DEEPEST = 20
SLOWEST_BYTES_A_SECOND = 10e6
_TRY_MAT = "import sys; from scipy.io import loadmat; loadmat(sys.argv[1], chars_as_strings=True, simplify_cells=True)"


class LoadError(RecordingError):
    """A file that cannot be read; the message says why and what to do."""


class Lazy:
    """An array in an HDF5 file, of which slices of the first axis are read when they are asked for.

    Args:
        path: the file. key: the dataset in it.
        reversed_axes: MATLAB's file, in which all axes are in reverse order.
    """

    def __init__(self, path: Path, key: str, reversed_axes: bool = False):
        self.path, self.key, self.reversed_axes = Path(path), key, reversed_axes
        with h5py.File(path, "r") as file:
            dataset = file[key]
            self.shape = tuple(dataset.shape[::-1] if reversed_axes else dataset.shape)
            self.dtype = dataset.dtype
            chunks = dataset.chunks
        self.ndim = len(self.shape)
        # Blocks of whole chunks are read once and not many times.
        self.rows_of_chunk = 1 if chunks is None else int(chunks[-1] if reversed_axes else chunks[0])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> np.ndarray:
        with h5py.File(self.path, "r") as file:
            dataset = file[self.key]
            return dataset[..., rows].transpose() if self.reversed_axes else dataset[rows]

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.asarray(self[:], dtype=dtype)


def load_file(path: Path) -> dict[str, Any]:
    """The variables of a .npz, .mat (versions 4 to 7.3) or HDF5 file by name, in the order of axes that wrote them.

    MATLAB's vectors come as 1-D arrays, its scalars as numbers, its strings as text, its structs as dicts, and cells
    as lists or, with two axes, arrays of objects; cells of strings or numbers as arrays.

    Raises:
        LoadError: there is no such file, or it is of none of these kinds.
    """
    path = Path(path)
    if not path.is_file():
        raise LoadError(f"there is no file {path}; check the dataset's rel_path and the collection's path")
    try:
        if path.suffix.lower() == ".npz":
            # Arrays of Python objects could run code; they are refused.
            with np.load(path, allow_pickle=False) as content:
                return {name: content[name] for name in content.files}
        if h5py.is_hdf5(path):
            return _load_hdf5(path)
        if path.suffix.lower() == ".mat":
            return _load_mat5(path)
    except RecordingError:
        raise
    except Exception as error:  # whatever the libraries make of a damaged file
        store = "; store plain arrays with np.savez" if path.suffix.lower() == ".npz" else "; write or copy it again"
        said = " ".join(str(error).split())
        raise LoadError(f"{path} cannot be read ({type(error).__name__}: {said:.200}){store}") from error
    raise LoadError(f"{path} is neither .npz nor .mat nor HDF5; load it in Dataset.load_data of your own subclass")


def _load_mat5(path: Path) -> dict[str, Any]:
    try:
        from scipy.io import loadmat
    except ModuleNotFoundError:
        raise LoadError(f"reading {path} needs scipy: pip install scipy, or save it from MATLAB with -v7.3") from None
    try:
        # A damaged file can end SciPy's reader by a signal: it is tried by a process that may be lost.
        apart.answer(_TRY_MAT, str(path), seconds=apart.SECONDS + path.stat().st_size / SLOWEST_BYTES_A_SECOND)
        content = loadmat(path, chars_as_strings=True, simplify_cells=True)
    except Exception as error:  # SciPy raises all sorts
        raise LoadError(f"{path} is not a readable .mat file: {error!s:.200}; write or copy it again") from error
    return {name: _texts(value) for name, value in content.items() if not name.startswith("__")}


def _texts(value: Any) -> Any:
    """A cell of strings as an array of text; empty strings come as empty arrays."""
    if not isinstance(value, np.ndarray) or value.dtype != object or not any(isinstance(v, str) for v in value.flat):
        return value
    parts = ["" if np.size(v) == 0 else v for v in value.flat]
    return np.array(parts) if all(isinstance(part, str) for part in parts) else value


def _load_hdf5(path: Path) -> dict[str, Any]:
    with h5py.File(path, "r") as file:
        names = [name for name in file if not name.startswith("#")]
        for name in names:
            outside = leads_out(file, name)
            if outside is not None:
                raise LoadError(f"{path}: {name} is a link out of this file, to {outside}; store the array itself")
        # MATLAB leaves its class on everything that it writes.
        matlab = any("MATLAB_class" in file[name].attrs for name in names)
        return {name: _item(path, file[name], matlab) for name in names}


def _item(path: Path, item: h5py.Group | h5py.Dataset, matlab: bool, depth: int = 0) -> Any:
    if depth > DEEPEST:
        raise LoadError(f"{path}: groups lie in each other more than {DEEPEST} deep; store the arrays at the top")
    if isinstance(item, h5py.Group):
        for name in item:
            if leads_out(item, name) is not None:
                raise LoadError(f"{path}: {item.name}/{name} is a link out of this file; store the array itself")
        return {name: _item(path, part, matlab, depth + 1) for name, part in item.items()}
    problem = storage_problem(item, str(path), False)
    if problem:
        raise LoadError(f"{path}: {item.name.lstrip('/')}: {problem}")
    if matlab:
        return _matlab_item(path, item, depth)
    if item.ndim > 1 and item.nbytes > LAZY_BYTES:
        return Lazy(path, item.name)
    value = item.asstr()[()] if h5py.check_string_dtype(item.dtype) else item[()]
    return value if np.ndim(value) else np.asarray(value).item()


def _matlab_item(path: Path, dataset: h5py.Dataset, depth: int) -> Any:
    kind = dataset.attrs.get("MATLAB_class", b"double")
    kind = kind.decode() if isinstance(kind, bytes) else str(kind)
    if dataset.attrs.get("MATLAB_empty", 0):
        return "" if kind == "char" else np.zeros(0)
    if h5py.check_ref_dtype(dataset.dtype) is not None:
        parts = [_item(path, dataset.file[ref], True, depth + 1) for ref in dataset[()].T.ravel()]
        texts = all(isinstance(part, str) for part in parts)
        numbers = all(isinstance(part, int | float) for part in parts)
        if texts or numbers:
            return np.array(parts)
        if dataset.ndim == 2 and 1 not in dataset.shape:
            cell = np.empty(len(parts), object)
            cell[:] = parts
            return cell.reshape(dataset.shape[::-1])
        return parts
    if kind == "char":
        return "".join(chr(code) for code in dataset[()].T.ravel())
    if dataset.ndim > 1 and dataset.nbytes > LAZY_BYTES:
        return Lazy(path, dataset.name, reversed_axes=True)
    value = dataset[()].transpose()
    if kind == "logical":
        value = value.astype(bool)
    if value.size == 1:
        return value.reshape(-1)[0].item()
    return value.reshape(-1) if value.ndim == 2 and 1 in value.shape else value
