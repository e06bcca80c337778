"""What people hand to an estimator, checked: trials, continuous recordings, lists of trials."""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lfads_tf2.data.continuous import validation_windows, window_offsets, windows_of
from lfads_tf2.data.entries import INPUTS, check_for, checked_values, zeros_for_missing
from lfads_tf2.hyperparameters import HyperParameters, augmentation_names
from lfads_tf2.recordings.halves import TRAIN, VALID
from lfads_tf2.types import Trials

log = logging.getLogger("lfads_tf2")
# Every so many trials one is for validation, unless some are given.
TRIALS_A_VALIDATION_TRIAL = 5


class Arrays(NamedTuple):
    """How arrays are understood: by the settings, and by the window of continuous recordings."""

    hyperparameters: HyperParameters
    window: int | None
    overlap: int

    def of_cut(self, cut) -> tuple[np.ndarray, np.ndarray | None]:
        """What the encoders read of a ``recordings.Cut``, and the target where it has held-out units."""
        counts, seen = cut.counts, cut.num_encoded
        return counts[..., :seen], counts if seen < counts.shape[2] else None

    def trials(self, spikes, target, ext_input=None, bins: int | None = None) -> tuple[Trials, np.ndarray | None]:
        """Checked trials; of a continuous recording its windows, and the first bin of each.

        ``bins``: of the target where none is given; None: those of the spikes.
        """
        if hasattr(spikes, "num_encoded"):
            spikes, held_out = self.of_cut(spikes)
            target = held_out if target is None else target
        elif hasattr(spikes, "cut"):
            raise ValueError("spikes is a whole recording; cut it first: recording.cut(bin_ms=10, chop=1000) or align=")
        data, recon = (self.checked(name, array) for name, array in (("spikes", spikes), ("target", target)))
        inputs, offsets = self.checked_inputs(ext_input), None
        if data.ndim == 2:
            if recon is not None and (recon.ndim != 2 or len(recon) != len(data)):
                raise ValueError(f"target must be bins x channels with the bins of spikes, got {recon.shape}")
            if inputs is not None and (inputs.ndim != 2 or len(inputs) != len(data)):
                raise ValueError(f"ext_input must be bins x inputs with the bins of spikes, got {inputs.shape}")
            offsets = window_offsets(len(data), self.window, self.overlap)
            data, recon, inputs = (
                a if a is None else windows_of(a, offsets, self.window) for a in (data, recon, inputs)
            )
        if recon is not None:
            if recon.ndim != 3 or len(recon) != len(data) or np.any(np.less(recon.shape[1:], data.shape[1:])):
                raise ValueError(
                    f"target must have the trials of spikes and at least their bins and channels, got {recon.shape} "
                    f"for spikes {data.shape}"
                )
            bins = recon.shape[1]
            recon = None if recon.shape == data.shape and np.array_equal(recon, data, True) else recon
        inputs = _for_all_bins(inputs, data, bins or data.shape[1])
        return zeros_for_missing(Trials(data, inputs, recon=recon)), offsets

    def checked(self, name: str, array) -> np.ndarray | None:
        """The array in its storage type, by the check that files pass too."""
        return self._read(name, array, check_for(self.hyperparameters), np.nan)

    def checked_inputs(self, array) -> np.ndarray | None:
        """External inputs as ``checked``."""
        return self._read("ext_input", array, functools.partial(checked_values, axes=INPUTS), 0.0)

    def _read(self, name: str, array, check, filling: float) -> np.ndarray | None:
        """A checked array; lists of trials of unequal length end with the filling where they are allowed."""
        if array is None:
            return None
        axis = "inputs" if name == "ext_input" else "channels"
        if hasattr(array, "toarray"):
            raise ValueError(f"{name}: sparse input is not supported; give {name}.toarray()")
        if isinstance(array, list | tuple) and "selective_backprop" in augmentation_names(self.hyperparameters):
            array = _filled_up(array, filling)
        try:
            array = np.asarray(array)
            # Tables hand whole numbers out as objects.
            array = array.astype(np.float64) if array.dtype.kind == "O" else array
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{name} must be one array of numbers, trials x bins x {axis}; cut trials of unequal length to the "
                f"same bins, or set augmentations='selective_backprop' to have them filled up ({error})"
            ) from error
        if array.dtype.kind == "c":
            raise ValueError(f"{name} must be numbers: Complex data not supported; give its real part")
        axes = (3,) if self.window is None else (2, 3)
        if array.ndim not in axes or not array.size or array.dtype.kind not in "biuf":
            hint = f"; for bins x {axis} of a continuous recording set window=" if array.ndim == 2 else ""
            raise ValueError(
                f"{name} must be numbers, trials x bins x {axis}, with at least one entry, got {array.dtype} of "
                f"shape {array.shape}{hint}"
            )
        values, found = check(array if array.ndim == 3 else array[None])
        if found:
            raise ValueError("\n".join(f"{name}: {problem}" for problem in found))
        return values if array.ndim == 3 else values[0]

    def halves(self, spikes, target, ext_input=None) -> tuple[Trials, Trials | None]:
        """Trials to train on and to validate with."""
        if hasattr(spikes, "num_encoded"):
            trials = self.trials(spikes, target, ext_input)[0]
            trains, validates = spikes.half == TRAIN, spikes.half == VALID
            return _chosen(trials, trains), _chosen(trials, validates) if validates.any() else None
        trials, offsets = self.trials(spikes, target, ext_input)
        if offsets is None:
            validates = np.arange(len(trials.data)) % TRIALS_A_VALIDATION_TRIAL == TRIALS_A_VALIDATION_TRIAL - 1
            trains = ~validates
        else:
            trains, validates = validation_windows(offsets, self.window, offsets[-1] + self.window)
        return _chosen(trials, trains), _chosen(trials, validates) if validates.any() else None


def _for_all_bins(inputs: np.ndarray | None, data: np.ndarray, bins: int) -> np.ndarray | None:
    """External inputs of trials for so many bins; those that end with the encoders' data go on as zeros."""
    if inputs is None:
        return None
    if len(inputs) != len(data) or inputs.ndim != 3 or inputs.shape[1] not in (data.shape[1], bins):
        raise ValueError(
            f"ext_input must be trials x bins x inputs with the trials and bins of spikes or target, got {inputs.shape}"
            f" for {len(data)} trials of {data.shape[1]} bins"
        )
    if inputs.shape[1] < bins:
        log.warning("ext_input has %d bins and the target %d: it is taken to be 0 in the others", inputs.shape[1], bins)
    return np.pad(inputs, ((0, 0), (0, bins - inputs.shape[1]), (0, 0)))


def check_inputs(hyperparameters: HyperParameters, ext_input: np.ndarray | None) -> None:
    """Raises ValueError where external inputs (... x inputs) are not those that the settings ask for."""
    wanted, width = hyperparameters.ext_input_dim, 0 if ext_input is None else np.shape(ext_input)[-1]
    if wanted != width:
        raise ValueError(
            f"ext_input {f'has {width} inputs a bin' if width else 'is missing'}, but ext_input_dim={wanted}; give the "
            f"measured inputs of every bin as ext_input=, and their number as ext_input_dim={width or wanted}"
        )


def _filled_up(trials: Sequence, filling: float) -> list | np.ndarray:
    """Trials of unequal length as one array, the filling after their ends; anything else as it is."""
    arrays = [np.asarray(trial) for trial in trials]
    if {array.ndim for array in arrays} != {2} or len({array.shape[1] for array in arrays}) != 1:
        return trials
    filled = np.full((len(arrays), max(map(len, arrays)), arrays[0].shape[1]), filling)
    for row, array in zip(filled, arrays, strict=True):
        row[: len(array)] = array
    return filled


def refuse_target_as_y(spikes, y, target) -> None:
    """What looks like a target is not ignored."""
    shapes = [np.shape(y), np.shape(spikes)] if hasattr(y, "shape") and hasattr(spikes, "shape") else []
    if target is None and shapes and len(shapes[0]) == len(shapes[1]) == 3 and np.all(np.greater_equal(*shapes)):
        raise ValueError("the second argument, y, is ignored; give what is reconstructed as target=")


def _chosen(trials: Trials, rows: np.ndarray) -> Trials:
    return Trials(**{name: None if array is None else array[rows] for name, array in trials._asdict().items()})
