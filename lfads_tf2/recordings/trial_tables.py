"""Tables of trials for recordings that come without: given in Python, or vectors of events beside the activity."""

from __future__ import annotations

import dataclasses
import reprlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from lfads_tf2.errors import did_you_mean
from lfads_tf2.recordings.expressions import names_in
from lfads_tf2.recordings.recording import RecordingData, RecordingError, Table
from lfads_tf2.recordings.spike_trials import columns_of
from lfads_tf2.recordings.trials import CutOptions, first_of

# Columns that are times on the session's clock, whatever the others are.
TIMES = {"start_time", "stop_time"}


def with_trials(recording: RecordingData, given: Any) -> RecordingData:
    """A recording with a table of trials, where one is given.

    Args:
        recording: without trials of its own.
        given: a DataFrame, a dict of vectors, or one vector of times, which is then ``start_time``; None: nothing.

    Raises:
        RecordingError: the recording has trials already, or the table has columns that do not fit.
    """
    if given is None:
        return recording
    if "trials" in recording.tables:
        raise RecordingError(f"trials: {recording.name} has a table of trials of its own; leave trials= out")
    return dataclasses.replace(recording, tables={**recording.tables, "trials": given_table(given)})


def given_table(given: Any) -> Table:
    """The table of a DataFrame, a dict of vectors, or one vector of times. Raises RecordingError for anything else."""
    ids = None
    if hasattr(given, "columns"):
        given, ids = {name: given[name] for name in given.columns}, getattr(given, "index", None)
    elif not isinstance(given, Mapping):
        given = {"start_time": given}
    vectors = {str(name): _vector(f"trials: {name}", values) for name, values in given.items()}
    sizes = {name: len(values) for name, values in vectors.items()}
    if len(set(sizes.values())) != 1 or not min(sizes.values()):
        listed = ", ".join(f"{name} has {size}" for name, size in sizes.items()) or "there are none"
        raise RecordingError(
            f"trials: its columns must be equally long, one value a trial, but {listed}; give a DataFrame, a dict of "
            "vectors, or one vector of times in seconds"
        )
    number = min(sizes.values())
    columns = columns_of(vectors, number)
    for name in vectors:
        if name not in columns:
            raise RecordingError(f"trials: {name} must hold one number or text a trial; leave it out, or convert it")
    table = Table(columns, np.arange(number) if ids is None else np.asarray(ids))
    for name in columns.keys() & TIMES:
        table.times(name, "trials")
    return table


def with_vectors(recording: RecordingData, options: CutOptions) -> RecordingData:
    """A recording with a table of trials made of the vectors beside its activity, where it has no table.

    The rows are those of the vector that ``options.align`` names, or of ``start_time``; the columns are all vectors
    that are as long.

    Raises:
        RecordingError: there is no such vector, it holds no times, or another that is asked for is not as long.
    """
    if recording.tables or options.chop is not None:
        return recording
    vectors, align = recording.vectors, options.align or "start_time"
    if align not in vectors:
        numbers = _of_numbers(vectors)
        there = f"; its vectors are {first_of(numbers)}" if numbers else ""
        wanted = f"vector {align!r}{did_you_mean(align, numbers)}" if options.align else "trials"
        raise RecordingError(
            f"{recording.name} has no {wanted}{there}. Name a vector of the trials' times in the file with --align, "
            "give a table of them in Python (Recording.of(..., trials=...)), or cut the recording into windows with "
            "--chop 1000 --overlap 200"
        )
    number = len(vectors[align])
    for name in (options.condition, *names_in(options.where)):
        if name in vectors and len(vectors[name]) != number:
            raise RecordingError(
                f"{recording.name}: {name} has {len(vectors[name])} values and {align}, the trials' times, has "
                f"{number}; both need one value a trial"
            )
    columns = columns_of({name: values for name, values in vectors.items() if len(values) == number}, number)
    table = Table(columns, np.arange(number))
    for name in columns.keys() & TIMES | {align}:
        columns[name] = table.times(name, f"the vectors of {recording.name}") * recording.trial_unit_s
    return dataclasses.replace(recording, tables={"trials": table})


def vectors_in(content: Mapping[str, Any], without: list[Any], prefix: str = "") -> dict[str, Any]:
    """Vectors and lists by name, ``struct.field`` in a struct; not those that are one of ``without``."""
    found: dict[str, Any] = {}
    for name, value in content.items():
        if any(value is one for one in without):
            continue
        if isinstance(value, Mapping):
            found |= vectors_in(value, without, f"{prefix}{name}.")
        elif isinstance(value, np.ndarray) and value.ndim == 2 and 1 in value.shape:
            found[prefix + name] = value.ravel()
        elif isinstance(value, list) or (isinstance(value, np.ndarray) and value.ndim == 1):
            found[prefix + name] = value
    return found


def turned_axes(beside: Mapping[str, Any], trials: int, units: int) -> list[str]:
    """A note where vectors beside a cell trials x units are as long as it has units, and none as it has trials."""
    vectors = vectors_in(beside, [])
    sizes = {name: len(vectors[name]) for name in _of_numbers(vectors)}
    fitting = [name for name, size in sizes.items() if size == units]
    if not fitting or trials in sizes.values():
        return []
    return [f"{fitting[0]} has {units} values, as many as your units: are --axes the other way round?"]


def _of_numbers(vectors: Mapping[str, Any]) -> list[str]:
    return [name for name, values in vectors.items() if isinstance(values, np.ndarray) and values.dtype.kind in "iuf"]


def _vector(what: str, values: Any) -> np.ndarray:
    try:
        vector = np.asarray(values)
    except ValueError:  # lists of unequal length
        vector = np.zeros(())
    if vector.ndim != 1:
        raise RecordingError(
            f"{what} must be a vector, one number or text a trial, got {type(values).__name__} "
            f"{reprlib.repr(values)}; give a DataFrame, a dict of vectors, or one vector of times in seconds"
        )
    return vector
