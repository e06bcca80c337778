"""Recordings that other packages hold in memory, known by what they can do; none of the packages is imported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lfads_tf2.recordings.recording import (
    RecordingData,
    RecordingError,
    Table,
    check_counts,
    counts_by_time,
    unit_table,
)
from lfads_tf2.recordings.spike_trials import columns_of, is_cell, is_trials_of_times, spikes_of_trials, trial_columns

KNOWN = (
    "a dict of spike times by unit, a pynapple TsGroup or TsdFrame of counts, neo SpikeTrains, a SpikeInterface "
    "sorting, a pandas DataFrame or xarray DataArray of counts (time x units), an array with axes=..., a list of "
    "units' spike times, a list of trials' counts (time x units), or of each trial a list of units' spike times"
)


def recording_of(value: Any, bin_ms: float | None, axes: str) -> RecordingData:
    """See ``RecordingData.of``."""
    kind = type(value).__module__.split(".")[0]
    if hasattr(value, "get_unit_ids") and hasattr(value, "get_unit_spike_train"):
        ids = list(value.get_unit_ids())
        rate = float(value.get_sampling_frequency())
        trains = [np.asarray(value.get_unit_spike_train(unit_id=unit), np.float64) / rate for unit in ids]
        return RecordingData(unit_table(ids), trains)
    if kind == "pynapple" and hasattr(value, "keys"):
        ids = list(value.keys())
        columns = {}
        if hasattr(value, "metadata_columns"):
            columns = {name: np.asarray(value[name]) for name in value.metadata_columns if name != "rate"}
        observed = [np.column_stack([value.time_support.start, value.time_support.end])] * len(ids)
        return RecordingData(
            Table(columns, np.array(ids)), [np.asarray(value[unit].t) for unit in ids], observed=observed
        )
    if kind == "pynapple" and np.ndim(getattr(value, "values", None)) == 2:
        return counts_of_frame(value, bin_ms)
    if kind == "xarray" and hasattr(value, "dims"):
        return _labelled(np.asarray(value), [str(d) for d in value.dims], value, bin_ms, axes)
    if kind == "pandas" and hasattr(value, "columns"):
        axes, labels = axes or "time,units", [value.index, value.columns]
        times, ids = labels if axes.strip().startswith("time") else labels[::-1]
        return continuous(value.to_numpy(), axes, bin_ms, "the DataFrame", list(ids), _seconds_of(times))
    if isinstance(value, Mapping):
        return spikes_by_unit(value, None, "the dict")
    if is_neo(value):
        trains = value if isinstance(value, Sequence) else [value]
        spikes = [np.asarray(train.rescale("s").magnitude, np.float64) for train in trains]
        ids = [getattr(train, "name", None) or n for n, train in enumerate(trains)]
        ends = [[float(train.t_start.rescale("s")), float(train.t_stop.rescale("s"))] for train in trains]
        return RecordingData(unit_table([str(i) for i in ids]), spikes, observed=[np.array([end]) for end in ends])
    if is_trials_of_times(value):
        return spikes_of_trials(value, axes, {}, "the trials", 1.0)
    if is_cell(value):
        return spikes_by_unit(value, None, "the list")
    if is_trials(value):
        return cut_already(value, axes or "time,units", bin_ms, "the trials")
    if isinstance(value, np.ndarray) and value.ndim in (2, 3):
        make = continuous if value.ndim == 2 else cut_already
        return make(value, axes, bin_ms, "the array")
    raise RecordingError(f"a {type(value).__name__} is no recording; give {KNOWN}")


def counts_of_frame(frame: Any, bin_ms: float | None) -> RecordingData:
    """A pynapple TsdFrame of counts, whose times are the bins' centres."""
    counts = counts_by_time(frame.values, "time,units", ("time", "units"), "the TsdFrame")
    check_counts([counts], ("time", "units"), "the TsdFrame")
    bin_s, start = _bins_at(np.asarray(frame.t, np.float64), bin_ms, "the TsdFrame")
    return RecordingData(unit_table(list(frame.columns)), counts=counts, bin_s=bin_s, start_s=start)


def _seconds_of(labels: Any) -> np.ndarray | None:
    """Times (s) that an axis is labelled with; None where its labels only count bins, or are none of a clock in s."""
    labels = np.asarray(labels)
    if labels.dtype.kind == "m":
        return labels / np.timedelta64(1, "s")
    return labels if labels.dtype.kind == "f" else None


def _bins_at(times: np.ndarray, bin_ms: float | None, name: str) -> tuple[float, float]:
    """Width and start, in seconds, of bins with their centres at these times."""
    exact = 1e-3
    steps = np.diff(times.astype(np.float64))
    if len(steps):
        told = float(times[-1] - times[0]) / len(steps)
        # Single precision has few digits left for bins after minutes.
        digits = 4 * np.finfo(times.dtype).eps * np.abs(times).max()
        if not told > 0 or not np.allclose(steps, told, rtol=exact, atol=digits):
            raise RecordingError(
                f"{name}: its times rise in steps from {steps.min():g} to {steps.max():g} s; bins of one width without "
                "gaps are needed: restrict it to one interval"
            )
        if bin_ms is not None and not abs(bin_ms / 1000.0 - told) <= exact * told + digits:
            raise RecordingError(
                f"{name}: bin_ms must be what its times say, {1000 * told:g} (they rise by {told:g} s), got {bin_ms:g};"
                " leave bin_ms out, or give times in seconds on the session's clock, or none"
            )
        bin_ms = 1000.0 * told if bin_ms is None else bin_ms
    bin_s = _seconds(bin_ms, name)
    return bin_s, float(times[0]) - bin_s / 2


def is_neo(value: Any) -> bool:
    """Whether a value is a neo SpikeTrain, or a list of them."""
    first = value[0] if isinstance(value, Sequence) and len(value) else value
    return hasattr(first, "rescale") and hasattr(first, "t_stop")


def is_trials(value: Any) -> bool:
    """Whether a value is a list of trials: arrays of two axes, or structs that hold one."""
    if not isinstance(value, list | tuple) and not (isinstance(value, np.ndarray) and value.dtype == object):
        return False
    try:
        return len(value) > 0 and all(np.ndim(_of_struct(trial)) == 2 for trial in value)
    except ValueError:  # rows of unequal length
        return False


def _of_struct(trial: Any) -> Any:
    """A trial's counts, where it is a struct with more than those."""
    if isinstance(trial, Mapping):
        arrays = {name: part for name, part in trial.items() if np.ndim(part) == 2}
        return arrays.get("counts", arrays.get("spikes", next(iter(arrays.values()), None)))
    return trial


def spikes_by_unit(times: Any, units: Any, name: str) -> RecordingData:
    """Spike times (s) of each unit: a dict or list of them, or one row of times beside one of the units' ids."""
    if isinstance(times, Mapping):
        return RecordingData(unit_table(list(times)), list(times.values()), source_path=name)
    if units is None:
        if not isinstance(times, list | tuple) and np.asarray(times).dtype != object:
            raise RecordingError(f"{name}: spike times need the unit of each, as spike_clusters or units")
        return RecordingData(unit_table(len(times)), list(times), source_path=name)
    times, units = np.ravel(np.asarray(times)), np.ravel(np.asarray(units))
    if len(times) != len(units):
        raise RecordingError(f"{name}: {len(times)} spike times and {len(units)} units; each spike needs its unit")
    ids = np.unique(units)
    order = np.argsort(times, kind="stable")
    times, units = times[order], units[order]
    return RecordingData(unit_table(ids), [times[units == unit] for unit in ids], source_path=name)


def continuous(
    array: Any, axes: str, bin_ms: float | None, name: str, ids: list | None = None, times: np.ndarray | None = None
) -> RecordingData:
    """Counts of a whole session, with bins that have their centres at ``times`` (s), or begin at 0."""
    counts = counts_by_time(array, axes, ("time", "units"), name)
    check_counts([counts], ("time", "units"), name)
    bin_s, start = (_seconds(bin_ms, name), 0.0) if times is None else _bins_at(times, bin_ms, name)
    return RecordingData(
        unit_table(counts.shape[1] if ids is None else ids),
        counts=counts,
        bin_s=bin_s,
        start_s=start,
        source_path=name,
    )


def cut_already(
    value: Any, axes: str, bin_ms: float | None, name: str, beside: Mapping[str, Any] | None = None
) -> RecordingData:
    """Counts of trials: an array trials x time x units in any order, or a list of arrays time x units.

    ``beside``: what may be columns of the trials: one number or text in each.
    """
    if isinstance(value, np.ndarray) and value.dtype != object:
        trials = list(counts_by_time(value, axes, ("trials", "time", "units"), name))
    else:
        trials = [
            counts_by_time(_of_struct(trial), axes, ("time", "units"), f"{name}, trial {n}")
            for n, trial in enumerate(value)
        ]
    widths = {trial.shape[1] for trial in trials}
    if len(widths) > 1:
        raise RecordingError(f"{name}: trials have {sorted(widths)} units; all need the same (are the axes {axes}?)")
    check_counts((trial[None] for trial in trials), ("trials", "time", "units"), name)
    table = Table(trial_columns(value) | columns_of(beside or {}, len(trials)), np.arange(len(trials)))
    return RecordingData(
        unit_table(widths.pop()), trials=trials, bin_s=_seconds(bin_ms, name), tables={"trials": table},
        source_path=name,
    )  # fmt: skip


def _labelled(values: np.ndarray, dims: list[str], array: Any, bin_ms: float | None, axes: str) -> RecordingData:
    """An xarray DataArray: the axis called time or bin is time, the other one units."""
    if not axes:
        known = {"time": "time", "bin": "time", "bins": "time", "trial": "trials", "trials": "trials"}
        axes = ",".join(known.get(dim, "units") for dim in dims)
    dim_of = {axis.strip(): dim for axis, dim in zip(axes.split(","), dims, strict=False)}
    labels = {axis: np.asarray(array[dim]) for axis, dim in dim_of.items() if dim in array.coords}
    times = _seconds_of(labels["time"]) if "time" in labels and values.size else None
    if values.ndim == 3:
        # Where trials lie on the clock is not said by times that all of them share.
        bin_ms = bin_ms if times is None else 1000.0 * _bins_at(times, bin_ms, "the DataArray")[0]
        return cut_already(values, axes, bin_ms, "the DataArray")
    return continuous(
        values, axes, bin_ms, "the DataArray", list(labels["units"]) if "units" in labels else None, times
    )


def _seconds(bin_ms: float | None, name: str) -> float:
    if bin_ms is None or not 0 < bin_ms < float("inf"):
        raise RecordingError(
            f"{name}: the width of the stored bins is needed, such as --stored-bin-ms 10 (bin_ms=10), got {bin_ms}"
        )
    return bin_ms / 1000.0
