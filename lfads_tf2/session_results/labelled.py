"""Results as labelled arrays and tables of xarray, pandas and pynapple, which are imported only here and when asked."""

from __future__ import annotations

import importlib
from types import ModuleType

import numpy as np

from lfads_tf2.session_results.errors import ResultsError
from lfads_tf2.session_results.session_arrays import QUANTITIES, SessionArrays

AXES = {"unit": "unit", "factor": "factor", "input": "input"}


def needed(name: str, extra: str = "io") -> ModuleType:
    """An optional library. Raises ResultsError, with how to install it, when it is not there."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise ResultsError(f"this needs {name}: pip install 'lfads-tf2[{extra}]'") from None


def merges(results: SessionArrays, merge: bool | None) -> bool:
    """Whether windows are merged: as asked, else where they were chopped from a continuous recording."""
    return (results.link is not None and results.link.mode == "chopped") if merge is None else merge


def to_xarray(results: SessionArrays, merge: bool | None = None):
    """All quantities as an ``xarray.Dataset`` with units, trials, halves, conditions and times as coordinates.

    Args:
        merge: True: on the session's clock, axis ``time_s``, overlapping windows merged; False: ``trial`` by
            ``time_ms``; None: merged where the recording was continuous.

    Raises:
        ResultsError: xarray is missing, or the session's clock is not known and ``merge`` asks for it.
    """
    xarray = needed("xarray")
    variables, coordinates = {}, {}
    merging = merges(results, merge)
    for name in results.quantities:
        quantity = QUANTITIES[name]
        coordinates[quantity.column] = results.columns(name)
        if merging:
            clocked = results.on_clock(name)
            axes, values = ("time_s", quantity.column), clocked.values
            coordinates["time_s"] = ("time_s", clocked.times_s, {"units": "s", "long_name": "middle of each bin"})
        else:
            axes, values = ("trial", _time_axis(results), quantity.column), results.values(name)
        variables[name] = (axes, values, {"units": results.unit(name), "long_name": quantity.description})
    if not merging:
        coordinates |= _trial_coordinates(results)
        behavior = results.behavior
        if behavior is not None:
            labels = results.link.behavior_names or list(range(behavior.shape[2]))
            variables["behavior"] = (("trial", _time_axis(results), "behavior_dimension"), behavior)
            coordinates["behavior_dimension"] = labels
    if results.link is not None:
        coordinates |= {f"unit_{name}": ("unit", values) for name, values in results.link.unit_columns.items()}
    facts = {key: value for key, value in results.attributes.items() if np.ndim(value) == 0 and key != "units"}
    return xarray.Dataset(variables, coordinates, {"session": results.name, **facts})


def _time_axis(results: SessionArrays) -> str:
    return "bin" if results.bin_ms is None else "time_ms"


def _trial_coordinates(results: SessionArrays) -> dict[str, object]:
    found: dict[str, object] = {"trial": results.trial_index, "half": ("trial", results.halves)}
    if results.time_ms is None:
        found["bin"] = np.arange(results.bins)
    else:
        found["time_ms"] = ("time_ms", results.time_ms, {"units": "ms", "long_name": "middle of each bin"})
    if results.conditions is not None:
        found["condition"] = ("trial", results.conditions)
    if results.start_s is not None:
        found["start_s"] = ("trial", results.start_s, {"units": "s", "long_name": "left edge of the first bin"})
    return found


def to_pandas(results: SessionArrays, quantity: str = "rates", merge: bool | None = None):
    """One quantity as a ``pandas.DataFrame``, a row a bin and a column a unit, factor or input.

    Args:
        quantity: one of ``results.quantities``.
        merge: as in ``to_xarray``. Merged, the index is ``time_s``; else it is trial, half, (condition,) ``time_ms``.

    Raises:
        ResultsError: pandas is missing, or as ``to_xarray``.
    """
    pandas = needed("pandas")
    columns = pandas.Index(results.columns(quantity), name=QUANTITIES[quantity].column)
    if merges(results, merge):
        clocked = results.on_clock(quantity)
        return pandas.DataFrame(clocked.values, pandas.Index(clocked.times_s, name="time_s"), columns)
    values = results.values(quantity)
    count, bins = values.shape[:2]
    index = {"trial": np.repeat(results.trial_index, bins), "half": np.repeat(results.halves, bins)}
    if results.conditions is not None:
        index["condition"] = np.repeat(results.conditions, bins)
    times = results.time_ms
    index[_time_axis(results)] = np.tile(np.arange(bins) if times is None else times, count)
    rows = pandas.MultiIndex.from_arrays(list(index.values()), names=list(index))
    return pandas.DataFrame(values.reshape(count * bins, -1), rows, columns)


def to_pynapple(results: SessionArrays, quantity: str = "rates"):
    """One quantity on the session's clock as a ``pynapple.TsdFrame``, columns named as the units, with their metadata.

    The time support are the parts of the recording that windows cover; overlapping windows are merged.

    Raises:
        ResultsError: pynapple is missing, or the session's clock is not known.
    """
    clocked = results.on_clock(quantity)
    nap = needed("pynapple")
    width = results.bin_ms / 1000.0
    starts = np.array([part.start_s for part in clocked.stretches])
    support = nap.IntervalSet(starts, starts + [part.bins * width for part in clocked.stretches])
    known = results.link.unit_columns if quantity == "rates" and results.link is not None else {}
    metadata = {name: values for name, values in known.items() if values.ndim == 1}
    return nap.TsdFrame(
        t=clocked.times_s, d=clocked.values, time_support=support, columns=results.columns(quantity),
        metadata=metadata or None,
    )  # fmt: skip
