"""Hashes of parameter values, bit-identical to those in the folder names that the MATLAB run manager made.

The MD5 runs over a description of the values as MATLAB holds them: class, size, content. Python values stand for
MATLAB's through :class:`Typed`, since a Python 8 may have been a double or a uint16.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
CLASSES = ("double", "single", "logical", "char", "cell", *INTEGERS)
# Wide integers are hashed as the narrowest of these that holds them.
_NARROWER = {"uint32": ("uint16",), "uint64": ("uint16", "uint32"), "int32": ("int16",), "int64": ("int16", "int32")}


class Typed(NamedTuple):
    """A value and the MATLAB class that it has there."""

    value: Any  # number, bool, text, NumPy array, or (class cell) a tuple of such values
    matlab_class: str


def matlab_class_of(value: Any) -> str:
    """The class that MATLAB gives a value that nobody declared a class for: numbers are doubles."""
    if isinstance(value, str):
        return "char"
    if isinstance(value, bool | np.bool_):
        return "logical"
    if isinstance(value, np.ndarray | np.generic):
        special = {"float32": "single", "bool": "logical"}
        return special.get(value.dtype.name, value.dtype.name if value.dtype.name in INTEGERS else "double")
    return "cell" if isinstance(value, tuple | list) else "double"


def short_hash(fields: Mapping[str, Typed]) -> str:
    """Six characters for a set of fields; their order does not matter, an empty set is T4MzIi."""
    digest = hashlib.md5(usedforsecurity=False)
    digest.update(_head("struct", (1, 1)))
    for name in sorted(fields):
        digest.update(name.encode("ascii"))
        _feed(digest, fields[name])
    text = base64.b64encode(digest.digest()).decode("ascii")
    return text.replace("/", "_").replace("+", "-")[:6]


def _head(matlab_class: str, shape: tuple[int, ...]) -> bytes:
    return matlab_class.encode("ascii") + np.array([len(shape), *shape], "<u8").tobytes()


def _feed(digest, typed: Typed) -> None:
    value, matlab_class = typed
    if matlab_class == "cell":
        digest.update(_head("cell", (1, len(value)) if len(value) else (0, 0)))
        for element in value:
            _feed(digest, Typed(element, matlab_class_of(element)))
    elif matlab_class == "char":
        digest.update(_head("char", (1, len(value.encode("utf-16-le")) // 2) if value else (0, 0)))
        digest.update(value.encode("utf-16-le"))
    else:
        array = _as_matlab(value)
        if matlab_class in _NARROWER:
            matlab_class = _narrowed(array, matlab_class)
        dtype = {"logical": "u1", "double": "<f8", "single": "<f4"}.get(matlab_class)
        dtype = dtype or np.dtype(matlab_class).newbyteorder("<")
        digest.update(_head(matlab_class, array.shape))
        digest.update(array.astype(dtype).tobytes(order="F"))


def _as_matlab(value: Any) -> np.ndarray:
    """At least two axes, as every MATLAB array has: scalars are 1 x 1, vectors rows, nothing is 0 x 0."""
    array = np.asarray(value)
    if array.ndim < 2:
        array = array.reshape((0, 0) if array.size == 0 else (1, -1))
    return array


def _narrowed(array: np.ndarray, matlab_class: str) -> str:
    if array.size:
        low, high = int(array.min()), int(array.max())
        for narrower in _NARROWER[matlab_class]:
            limits = np.iinfo(narrower)
            if limits.min <= low and high <= limits.max:
                return narrower
    return matlab_class
