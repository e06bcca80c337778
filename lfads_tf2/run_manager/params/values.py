"""Values of parameters: checked, made immutable, compared and written as text."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lfads_tf2.errors import LFADSError, one_of
from lfads_tf2.hyperparameters import declared, value_problem
from lfads_tf2.run_manager.params.fields import Param
from lfads_tf2.run_manager.params.matlab_hash import INTEGERS, matlab_class_of
from lfads_tf2.settings.mapping import coerce


class ParamError(LFADSError, ValueError):
    """A parameter that does not exist or a value that it cannot take."""


def checked(name: str, field: Param, value: Any) -> Any:
    """The value as it is stored: immutable, and of the field's type where that loses nothing.

    Raises:
        ParamError: another type, out of range, or not one of the choices.
    """
    value = _as_class(name, field, value)
    if field.choices and value not in field.choices:
        raise ParamError(f"{name} must be {one_of(field.choices, value)}")
    plain = name.removeprefix("c_")
    if name.startswith("c_") and plain in declared():
        value = coerce(plain, value)
        problem = value_problem(plain, value)
        if problem:
            raise ParamError(f"c_{problem.removeprefix('--')}")
    return value


def _as_class(name: str, field: Param, value: Any) -> Any:
    matlab_class = field.matlab_class
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if isinstance(value, np.generic) and matlab_class:
        value = value.item()
    if matlab_class == "cell":
        pairs = [part for item in value.items() for part in item] if isinstance(value, dict) else value
        return _cell(name, [pairs] if isinstance(pairs, str) else pairs)
    if matlab_class == "char":
        return _of(name, value, isinstance(value, str), "text")
    if isinstance(value, list | np.ndarray) or (matlab_class and isinstance(value, tuple)):
        return _array(name, value, matlab_class)
    if isinstance(value, tuple):
        return _cell(name, value)
    if matlab_class == "logical":
        right = isinstance(value, bool) or (isinstance(value, int | float) and value in (0, 1))
        return bool(_of(name, value, right, "true or false"))
    if matlab_class in INTEGERS:
        limits = np.iinfo(matlab_class)
        right = isinstance(value, int | float) and not isinstance(value, bool) and float(value).is_integer()
        right = right and limits.min <= value <= limits.max
        return int(_of(name, value, right, f"a whole number from {limits.min} to {limits.max}"))
    if matlab_class in ("double", "single"):
        right = isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)
        return float(_of(name, value, right, "a number"))
    right = isinstance(value, bool | int | float | str | np.generic)
    return _of(name, value, right, "a number, true or false, text, or a list of numbers")


def _of(name: str, value: Any, right: bool, words: str) -> Any:
    if not right:
        raise ParamError(f"{name} must be {words}, got {value!r}")
    return value


def _cell(name: str, values: Any) -> tuple:
    return tuple(_as_class(name, Param(None), value) for value in values)


def _array(name: str, value: Any, matlab_class: str) -> np.ndarray:
    try:
        dtype = {"": None, "double": "f8", "single": "f4", "logical": "?"}.get(matlab_class, matlab_class)
        array = np.array(value, dtype) if matlab_class or isinstance(value, np.ndarray) else np.array(value, "f8")
    except (TypeError, ValueError):
        raise ParamError(f"{name} must be a list of numbers (a tuple holds mixed values), got {value!r}") from None
    array.setflags(write=False)
    return array


def same(first: Any, second: Any) -> bool:
    """Whether two values are equal, whatever their types, as MATLAB's isequal sees it."""
    if isinstance(first, tuple) or isinstance(second, tuple):
        both = isinstance(first, tuple) and isinstance(second, tuple) and len(first) == len(second)
        return both and all(same(a, b) for a, b in zip(first, second, strict=True))
    if isinstance(first, str) or isinstance(second, str):
        return isinstance(first, str) and isinstance(second, str) and first == second
    return np.shape(first) == np.shape(second) and bool(np.all(np.asarray(first) == np.asarray(second)))


def as_text(value: Any) -> str:
    """Short text for lists of parameters: long arrays as [...], cells in braces."""
    if isinstance(value, bool | np.bool_):
        return str(bool(value)).lower()
    if isinstance(value, np.ndarray):
        return "[...]" if value.size >= 6 else "[" + " ".join(as_text(v) for v in value.ravel()) + "]"
    if isinstance(value, tuple):
        return "{" + ", ".join(as_text(v) for v in value) + "}"
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return str(value)


def as_flag(value: Any, whole: bool = False) -> str:
    """Text of a value on the command line; shorter numbers never lose digits. Empty values give empty text."""
    if isinstance(value, np.ndarray | tuple):
        return ",".join(as_flag(v) for v in np.ravel(value).tolist())
    if isinstance(value, bool | np.bool_):
        return str(bool(value)).lower()
    if isinstance(value, str):
        return value
    return str(int(value)) if whole or isinstance(value, int | np.integer) else repr(float(value))


def to_json(value: Any) -> Any:
    """What stands for a value in JSON."""
    if isinstance(value, np.ndarray | np.generic):
        return {"matlab_class": matlab_class_of(value), "value": value.tolist()}
    if isinstance(value, tuple):
        return {"matlab_class": "cell", "value": [to_json(v) for v in value]}
    return value


def from_json(value: Any) -> Any:
    """The value that :func:`to_json` wrote."""
    if not isinstance(value, dict):
        return value
    if value["matlab_class"] == "cell":
        return tuple(from_json(v) for v in value["value"])
    dtype = {"double": "f8", "single": "f4", "logical": "?"}.get(value["matlab_class"], value["matlab_class"])
    return np.array(value["value"], dtype)
