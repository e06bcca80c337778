"""What the observation models accept: the one check of spike counts and of values, for files and arrays alike.

Entries are read in blocks of trials. Only the final array, in its small storage type, and one block in the type in
which they came are in memory at a time.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from lfads_tf2.data import storage
from lfads_tf2.data.blocks import trial_blocks
from lfads_tf2.data.errors import DataError
from lfads_tf2.errors import SettingsError
from lfads_tf2.hyperparameters import HyperParameters, augmentation_names
from lfads_tf2.settings.plugins import DISTRIBUTION_MEMBERS, load_class
from lfads_tf2.types import Trials

COUNT_LIMIT = 2**32
CHANNELS = "trials x time x channels"
INPUTS = "trials x time x inputs"
GAPS = (
    "fill the gaps or leave these trials out "
    "(--augmentations=selective_backprop takes NaN for entries that were not observed)"
)
CONTINUOUS = "use --output_dist=gaussian for continuous data"

# The array in its storage type (None if it cannot be used), and what is wrong with it.
Checked = tuple[np.ndarray | None, list[str]]
Check = Callable[[Any], Checked]


class _Found:
    """Entries of one kind that should not be there: how many, and where the first is."""

    def __init__(self, axes: str = CHANNELS) -> None:
        self.axes = tuple("bin" if axis == "time" else axis.removesuffix("s") for axis in axes.split(" x "))
        self.number = 0
        self.first: tuple[int, ...] = ()
        self.value: np.generic | None = None

    def add(self, bad: np.ndarray, block: np.ndarray, start: int) -> None:
        number = int(np.count_nonzero(bad))
        if number and not self.number:
            index = np.unravel_index(int(np.argmax(bad)), bad.shape)
            self.value = block[index]
            self.first = (start + int(index[0]), *(int(i) for i in index[1:]))
        self.number += number

    def __str__(self) -> str:
        place = ", ".join(f"{axis} {i}" for axis, i in zip(self.axes, self.first, strict=True))
        return f"{self.value} at {place} (counted from 0; {self.number} such in all)"


def check_for(hp: HyperParameters) -> Check:
    """The check of the data of an observation model.

    Raises:
        DataError: a user's observation model that cannot be loaded, or does not say what data it takes.
    """
    kind = ACCEPTED.get(hp.output_dist)
    if kind is None:
        try:
            kind = load_class(hp.output_dist, "output_dist", DISTRIBUTION_MEMBERS).data
        except SettingsError as error:
            raise DataError(error.problems) from error
    missing = "selective_backprop" in augmentation_names(hp)
    checks = {
        "counts": functools.partial(checked_counts, missing=missing),
        "values": functools.partial(checked_values, missing=missing),
        "positive": functools.partial(checked_values, missing=missing, above=hp.gamma_loc),
        "non-negative": functools.partial(checked_values, missing=missing, above=hp.gamma_loc, zeros=True),
    }
    if kind not in checks:
        raise DataError([f"--output_dist={hp.output_dist}: its data must be one of {', '.join(checks)}, got {kind!r}"])
    return checks[kind]


ACCEPTED = {"poisson": "counts", "gaussian": "values", "gamma": "positive", "zero_inflated_gamma": "non-negative"}


class CountCheck:
    """What is wrong with blocks of spike counts, wherever they come from.

    Args:
        axes: of the blocks, as messages name them, that which ``start`` of a block counts first.
        gaps: what to do about entries that are not known.
        continuous: what to do with data that are no counts.
    """

    def __init__(self, axes: str = CHANNELS, gaps: str = GAPS, continuous: str = CONTINUOUS) -> None:
        self._gaps, self._continuous = gaps, continuous
        self._not_finite, self._negative, self._fractional, self._too_large = (_Found(axes) for _ in range(4))

    def add(self, block: np.ndarray, start: int) -> None:
        """Looks at numbers of which the first belong to trial ``start``."""
        if block.dtype.kind == "f":
            finite = np.isfinite(block)
            self._not_finite.add(~finite, block, start)
            self._fractional.add(finite & (np.floor(block) != block), block, start)
            self._negative.add(finite & (block < 0), block, start)
            self._too_large.add(finite & (block >= COUNT_LIMIT), block, start)
        elif block.dtype.kind in "iu":
            self._negative.add(block < 0, block, start)
            self._too_large.add(block >= COUNT_LIMIT, block, start)

    @property
    def found(self) -> bool:
        """Whether any entry is no count."""
        kinds = (self._not_finite, self._negative, self._fractional, self._too_large)
        return any(kind.number for kind in kinds)

    def problems(self) -> list[str]:
        """A sentence for each kind that was found, with the first entry and what to do."""
        found = _not_finite(self._not_finite, self._gaps)
        if self._fractional.number:
            looks = "z-scored or continuous" if self._negative.number else "like rates or smoothed counts"
            found.append(
                f"not a whole number: {self._fractional}; the values look {looks}; store spike counts a bin, "
                f"or {self._continuous}"
            )
        elif self._negative.number:
            found.append(
                f"negative count: {self._negative}; spike counts are at least 0: remove trials that are marked as "
                f"missing, or {self._continuous}"
            )
        if self._too_large.number:
            found.append(f"count above {COUNT_LIMIT - 1}: {self._too_large}; these cannot be spike counts a bin")
        return found


def checked_counts(array: Any, missing: bool = False) -> Checked:
    """Spike counts a bin in the smallest of uint8, uint16, uint32 that holds them; None if any is no count.

    ``missing``: NaN is allowed and stands for "not observed"; where there is any, the counts come as float32.
    """
    unobserved, check = [], CountCheck()
    counts: np.ndarray | None = storage.empty(array.shape, np.uint8)
    for start, block in trial_blocks(array):
        if missing and block.dtype.kind == "f":
            unobserved.append(np.isnan(block))
            block = np.where(unobserved[-1], 0, block)
        check.add(block, start)
        if check.found:
            counts = None
        if counts is not None:
            needed = np.min_scalar_type(int(block.max()))
            if needed.itemsize > counts.dtype.itemsize:
                counts = storage.as_type(counts, needed)
            counts[start : start + len(block)] = block
            storage.release(counts)
    if counts is not None and any(block.any() for block in unobserved):
        whole = storage.empty(counts.shape, np.float32)
        whole[...] = counts
        whole[np.concatenate(unobserved)] = np.nan
        counts = whole
    return counts, check.problems()


def checked_values(
    array: Any, axes: str = CHANNELS, missing: bool = False, above: float | None = None, zeros: bool = False
) -> Checked:
    """Finite values as float32; None if there are others.

    ``missing``: NaN is allowed too; ``above``: the values must be greater, or, with ``zeros``, exactly 0.
    """
    not_finite, too_large, too_small = _Found(axes), _Found(axes), _Found(axes)
    values = storage.empty(array.shape, np.float32)
    for start, block in trial_blocks(array):
        stored = values[start : start + len(block)]
        with np.errstate(over="ignore", invalid="ignore"):
            stored[...] = block
        if block.dtype.kind == "f" and not np.isfinite(stored).all():
            finite = np.isfinite(block)
            not_finite.add(~finite & ~np.isnan(block) if missing else ~finite, block, start)
            too_large.add(finite & ~np.isfinite(stored), block, start)
        storage.release(values)
        if above is not None:
            too_small.add((stored <= above) & ~(zeros & (stored == 0)), block, start)
    problems = _not_finite(not_finite)
    if too_small.number:
        values_must = f"0 or greater than {above}" if zeros else f"greater than {above}"
        hint = "" if zeros else ", or use --output_dist=zero_inflated_gamma if zeros are part of the data"
        problems.append(f"not {values_must} (--gamma_loc): {too_small}; shift the values{hint}")
    if too_large.number:
        problems.append(f"too large for 32-bit floating point: {too_large}; rescale the values")
    return None if problems else values, problems


def _not_finite(found: _Found, gaps: str = GAPS) -> list[str]:
    if not found.number:
        return []
    of_inputs = "store 0 where there was no input"
    return [f"NaN or infinity: {found}; every bin needs a value: {of_inputs if found.axes[-1] == 'input' else gaps}"]


def zeros_for_missing(trials: Trials) -> Trials:
    """Trials whose encoders read 0 where NaN says "not observed"; the target keeps it."""
    unobserved = np.isnan(trials.data) if trials.data.dtype.kind == "f" else None
    if unobserved is None or not unobserved.any():
        return trials
    return trials._replace(data=np.where(unobserved, np.float32(0), trials.data), recon=trials.target)
