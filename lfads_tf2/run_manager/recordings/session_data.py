"""What a lab's code returns for one dataset: counts and what belongs to them, checked, rebinned, in blocks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from lfads_tf2.errors import LFADSError

TRUTH_UNITS = ("spikes/bin", "spikes/s")
AXES = ("trials,channels,time", "trials,time,channels")


class SessionDataError(LFADSError, ValueError):
    """Data of one dataset that cannot be used; the message names field, requirement and what came."""


# What MATLAB code calls the same fields.
_ALIASES = {"timeVecMs": "time_vec_ms", "conditionId": "condition_id", "externalInputs": "external_inputs"}


@dataclasses.dataclass
class SessionData:
    """One dataset in its own bin width. Large arrays may be anything with a shape whose trials can be sliced.

    Args:
        counts: trials x channels x time, spike counts (values, for a Gaussian model).
        time_vec_ms: time of each bin; its step is the bin width. Without it bins are 1 ms.
        condition_id: of each trial, numbers or text; NaN or '' leaves a trial out of the alignment.
        truth: true rates, same shape as counts. ``truth_unit`` says in which unit: spikes/bin or spikes/s.
        external_inputs: trials x inputs x time.
        axes: ``trials,time,channels`` where counts, truth and inputs come so (as from ``load_nwb``); they are turned.
        trial_index, trial_ids, start_s, unit_ids: where trials and channels come from, for your own use.
    """

    counts: Any
    time_vec_ms: Any = None
    condition_id: Any = None
    truth: Any = None
    external_inputs: Any = None
    truth_unit: str = "spikes/bin"
    axes: str = AXES[0]
    trial_index: Any = None
    trial_ids: Any = None
    start_s: Any = None
    unit_ids: Any = None

    def __post_init__(self) -> None:
        if self.axes not in AXES:
            raise SessionDataError(f"axes must be one of {' or '.join(AXES)}, got {self.axes!r}")
        if self.axes == AXES[1]:
            for field in ("counts", "truth", "external_inputs"):
                value = getattr(self, field)
                if value is not None and np.ndim(value) == 3:
                    setattr(self, field, np.swapaxes(np.asarray(value), 1, 2))
            self.axes = AXES[0]

    @classmethod
    def of(cls, value: Any) -> SessionData:
        """A SessionData, or one made of a mapping with its fields' names (or their names in MATLAB)."""
        if isinstance(value, cls):
            return value
        if not isinstance(value, Mapping):
            raise SessionDataError(f"generate_counts_for_dataset must return SessionData or a dict, got {type(value)}")
        fields = {_ALIASES.get(name, name): part for name, part in value.items()}
        unknown = sorted(fields.keys() - {f.name for f in dataclasses.fields(cls)})
        if unknown or "counts" not in fields:
            what = f"unknown fields {', '.join(unknown)}" if unknown else "no field counts"
            known = ", ".join(f.name for f in dataclasses.fields(cls))
            raise SessionDataError(f"generate_counts_for_dataset returned {what}; the fields are {known}")
        return cls(**fields)

    @property
    def num_trials(self) -> int:
        return int(self.counts.shape[0])

    @property
    def num_channels(self) -> int:
        return int(self.counts.shape[1])

    @property
    def times(self) -> np.ndarray:
        """Time of each bin in ms."""
        if self.time_vec_ms is None:
            return np.arange(1.0, self.counts.shape[2] + 1)
        return np.asarray(self.time_vec_ms, dtype=np.float64).reshape(-1)

    @property
    def bin_ms(self) -> float:
        """Width of the data's own bins."""
        times = self.times
        return float(np.median(np.diff(times))) if len(times) > 1 else 1.0

    def check(self, name: str, ext_input_dim: int) -> None:
        """Refuses what cannot be used.

        Raises:
            SessionDataError: shapes that do not fit each other, uneven times, or other inputs than ext_input_dim says.
        """
        for field in ("counts", "truth", "external_inputs"):
            value = getattr(self, field)
            if value is not None and not hasattr(value, "shape"):
                setattr(self, field, np.asarray(value))
        shape = tuple(self.counts.shape)
        problems = []
        if len(shape) != 3 or 0 in shape:
            raise SessionDataError(f"{name}: counts must be trials x channels x time with no empty axis, got {shape}")
        times = self.times
        if len(times) != shape[2]:
            problems.append(f"time_vec_ms needs one time for each of the {shape[2]} bins of counts, got {len(times)}")
        elif len(times) > 1:
            steps = np.diff(times)
            if not (np.all(steps > 0) and np.allclose(steps, steps[0], rtol=1e-3)):
                problems.append(f"time_vec_ms must rise in equal steps, got steps from {steps.min()} to {steps.max()}")
        if self.condition_id is not None and len(np.ravel(self.condition_id)) != shape[0]:
            count = len(np.ravel(self.condition_id))
            problems.append(f"condition_id needs one value for each of the {shape[0]} trials, got {count}")
        if self.truth is not None and tuple(self.truth.shape) != shape:
            problems.append(f"truth must have the shape of counts, {shape}, got {tuple(self.truth.shape)}")
        if self.truth_unit not in TRUTH_UNITS:
            problems.append(f"truth_unit must be one of {', '.join(TRUTH_UNITS)}, got {self.truth_unit!r}")
        given = None if self.external_inputs is None else tuple(self.external_inputs.shape)
        if given is None and ext_input_dim:
            problems.append(f"external_inputs are missing, but c_ext_input_dim is {ext_input_dim}")
        if given is not None and (len(given) != 3 or given[::2] != shape[::2] or given[1] != ext_input_dim):
            wanted = (shape[0], ext_input_dim, shape[2])
            problems.append(f"external_inputs must be trials x c_ext_input_dim x time, {wanted}, got {given}")
        if problems:
            raise SessionDataError("\n".join(f"{name}: {problem}" for problem in problems))

    @property
    def conditions(self) -> np.ndarray | None:
        """Condition of each trial, text as text."""
        if self.condition_id is None:
            return None
        values = np.ravel(self.condition_id)
        return values.astype(str) if values.dtype.kind in "OSU" else values


class Rebinning:
    """From the data's bins to the model's. Bins that are left over at the end are dropped.

    Raises SessionDataError when the model's bins are no whole multiple of the data's.
    """

    def __init__(self, name: str, data: SessionData, bin_ms: float):
        ratio = bin_ms / data.bin_ms
        self.factor = round(ratio)
        if self.factor < 1 or abs(ratio - self.factor) > 1e-6 * ratio:
            raise SessionDataError(
                f"{name}: spikeBinMs={bin_ms:g} must be a whole multiple of the data's bins of {data.bin_ms:g} ms; "
                f"the nearest is {max(self.factor, 1) * data.bin_ms:g}"
            )
        self.bins = int(data.counts.shape[2]) // self.factor
        if not self.bins:
            raise SessionDataError(
                f"{name}: trials of {data.counts.shape[2]} bins are shorter than one bin of {bin_ms:g} ms"
            )

    def __call__(self, values: np.ndarray, mean: bool = False) -> np.ndarray:
        """Trials x channels x time to trials x bins x channels; summed, or averaged, within bins."""
        kept = values[..., : self.bins * self.factor]
        if self.factor > 1:
            kept = kept.reshape(*kept.shape[:-1], self.bins, self.factor)
            kept = kept.mean(axis=-1) if mean else kept.sum(axis=-1)
        return kept.swapaxes(1, 2)

    def times(self, data: SessionData) -> np.ndarray:
        """Time of each of the model's bins, that of its first bin of the data."""
        return data.times[:: self.factor][: self.bins]
