"""The optional keys of a session's file: trial numbers, conditions, alignment, bin width."""

from __future__ import annotations

import h5py
import numpy as np

from lfads_tf2.data.errors import by, listing
from lfads_tf2.data.keys import HALVES, SessionFile, kind_of, name_of, vector

CONDITIONS = ("conditions", "condition_id", "conditionId")

# Only names that say the unit; a plain "binsize" may be seconds.
BIN_WIDTH_NAMES = ("bin_width_ms", "bin_size_ms", "bin_ms")


def read_indices(file: SessionFile, num_trials: dict[str, int]) -> dict[str, np.ndarray | None]:
    """Position of every trial in the recording, counted from 0, for each half; None where the file does not say.

    ``num_trials``: trials of each half that has data. MATLAB writes trial numbers from 1: they are taken to start at
    1 when the smallest of both halves is 1.
    """
    nothing: dict[str, np.ndarray | None] = dict.fromkeys(HALVES)
    found: dict[str, np.ndarray] = {}
    names: dict[str, str] = {}
    for half, number in num_trials.items():
        dataset = file.numbers(f"{half}_inds")
        if dataset is None:
            continue
        numbers = vector(file, dataset, number, "trials")
        if numbers is None:
            return nothing
        names[half] = name_of(dataset)
        if not np.isfinite(numbers).all() or (np.floor(numbers) != numbers).any() or (numbers < 0).any():
            file.complain(names[half], "holds something else than whole numbers of at least 0; store trial numbers")
            return nothing
        found[half] = numbers.astype(np.int64)
    if not found:
        return nothing
    if len(found) < len(num_trials):
        missing = listing(f"{half}_inds" for half in num_trials if half not in found)
        if file.key(missing) is None:
            file.complain(missing, f"missing while {listing(names.values())} is there; store both or neither")
        return nothing
    numbers, times = np.unique(np.concatenate(list(found.values())), return_counts=True)
    if (times > 1).any():
        file.complain(
            " and ".join(names.values()),
            f"trial number {numbers[times > 1][0]} occurs {times[times > 1][0]} times; each trial needs its own number",
        )
        return nothing
    first = 1 if numbers[0] == 1 else 0
    return {half: found[half] - first if half in found else None for half in HALVES}


def read_conditions(file: SessionFile, half: str, num_trials: int) -> np.ndarray | None:
    """Condition of each trial, numbers or text, or None."""
    dataset = file.dataset(*(f"{half}_{name}" for name in CONDITIONS))
    if dataset is None:
        return None
    kind = kind_of(dataset)
    if kind not in ("numbers", "text"):
        file.complain(name_of(dataset), f"holds {kind}; store one number or one text a trial")
        return None
    conditions = vector(file, dataset, num_trials, "trials")
    return conditions.astype(str) if conditions is not None and kind == "text" else conditions


def condition_names(conditions: np.ndarray) -> np.ndarray:
    """Conditions as text, the same for 1 and 1.0; empty for trials that have none (NaN, text without letters)."""

    def name(value) -> str:
        if isinstance(value, bytes):
            value = value.decode(errors="replace")
        if isinstance(value, str):
            return value.strip()
        if not np.isfinite(value):
            return ""
        return str(int(value)) if value == int(value) else str(value)

    return np.array([name(value) for value in np.ravel(conditions).tolist()], str)


def read_alignment(file: SessionFile) -> dict[str, np.ndarray | None]:
    """The fields of Session that start read-in and read-out, float32; None where absent or not usable."""
    return {
        "alignment_matrix": _matrix(file, "alignment_matrix_cxf", "channels x factors"),
        "alignment_bias": _per_channel(file, "alignment_bias_c"),
        "readout_matrix": _matrix(file, "alignment_readout_matrix_fxc", "factors x channels"),
        "readout_bias": _per_channel(file, "alignment_readout_bias_c"),
    }


def _matrix(file: SessionFile, key: str, axes: str) -> np.ndarray | None:
    dataset = file.numbers(key)
    if dataset is None:
        return None
    if len(dataset.shape) != 2 or 0 in dataset.shape:
        file.complain(name_of(dataset), f"has shape {by(dataset.shape)}; needs {axes}")
        return None
    return _finite(file, name_of(dataset), dataset[()])


def _per_channel(file: SessionFile, key: str) -> np.ndarray | None:
    dataset = file.numbers(key)
    values = None if dataset is None else vector(file, dataset, None, "channels")
    return None if values is None else _finite(file, name_of(dataset), values)


def _finite(file: SessionFile, key: str, values: np.ndarray) -> np.ndarray | None:
    with np.errstate(over="ignore"):
        values = values.astype(np.float32)
    if np.isfinite(values).all():
        return values
    index = [int(i[0]) for i in np.nonzero(~np.isfinite(values))]
    file.complain(key, f"NaN or infinity at {index} (counted from 0); every entry needs a finite value")
    return None


def read_conversion_factor(file: SessionFile) -> float:
    """What the true rates are multiplied by to be spikes/bin; 1 when the file does not say."""
    dataset = file.numbers("conversion_factor")
    if dataset is None:
        return 1.0
    value = float(dataset[()].reshape(-1)[0]) if dataset.size == 1 else float("nan")
    if 0 < value < float("inf"):
        return value
    is_now = f"is {value}" if dataset.size == 1 else f"has shape {by(dataset.shape)}"
    file.complain(name_of(dataset), f"{is_now}; needs one finite number above 0: truth times this is spikes/bin")
    return 1.0


def read_bin_width(file: SessionFile) -> float | None:
    """Bin width in ms from a root attribute or a key called ``bin_width_ms``, ``bin_size_ms`` or ``bin_ms``.

    Only for labels, so a strange one is left out with a warning and stops nothing.
    """
    places = {key: file.handle.attrs for key in file.handle.attrs if str(key).casefold() in BIN_WIDTH_NAMES}
    places |= {key: file.handle for key in map(file.key, BIN_WIDTH_NAMES) if key}
    widths = set()
    for name, place in places.items():
        try:
            value = place[name]
            width = float(np.asarray(value[()] if isinstance(value, h5py.Dataset) else value).reshape(()))
        except (TypeError, ValueError, KeyError, OSError):
            width = float("nan")
        if not 0 < width < float("inf"):
            file.warnings.append(f"{file.path}: {name} is no bin width in ms; the bin width is left unknown")
            return None
        widths.add(width)
    if len(widths) > 1:
        file.warnings.append(f"{file.path}: {listing(places)} disagree; the bin width is left unknown")
        return None
    return widths.pop() if widths else None
