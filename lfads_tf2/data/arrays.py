"""Reading a trials x time x channels array in blocks of trials, checking each block on the way.

Only the final array, in its small storage type, and one block in the file's type are in memory at a time.
"""

from __future__ import annotations

from collections.abc import Iterator

import h5py
import numpy as np

from lfads_tf2.data import storage
from lfads_tf2.data.errors import by
from lfads_tf2.data.keys import SessionFile, name_of

BLOCK_BYTES = 32 * 2**20
# Reading through a compressed HDF5 chunk twice means unpacking it twice, so blocks are widened to whole chunks
# as long as they stay below this.
WIDEST_BLOCK_BYTES = 512 * 2**20
COUNT_LIMIT = 2**32
CHANNELS = "trials x time x channels"
INPUTS = "trials x time x inputs"


class _Found:
    """Entries of one kind that should not be there: how many, and where the first is."""

    def __init__(self, axes: str = CHANNELS) -> None:
        self.axes = ("trial", "bin", axes.split(" x ")[2].removesuffix("s"))
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


def has_shape(file: SessionFile, dataset: h5py.Dataset, axes: str = CHANNELS) -> bool:
    """Whether the dataset has three axes, none of them empty; if not, that is noted as a problem."""
    key, shape = name_of(dataset), dataset.shape
    if len(shape) != 3:
        hint = "; cut a continuous recording into trials first" if len(shape) == 2 else ""
        file.complain(key, f"has shape {by(shape)}; needs three axes, {axes}{hint}")
        return False
    for size, what in zip(shape, axes.split(" x "), strict=True):
        if size == 0:
            what = {"time": "bins"}.get(what, what)
            file.complain(key, f"has no {what} (shape {by(shape)}); store at least one, {axes}, or remove the key")
            return False
    return True


def blocks(dataset: h5py.Dataset) -> Iterator[tuple[int, np.ndarray]]:
    """First trial and values of one block of trials after the other."""
    trial_bytes = max(1, dataset.dtype.itemsize * int(np.prod(dataset.shape[1:], dtype=np.int64)))
    rows = max(1, BLOCK_BYTES // trial_bytes)
    if dataset.chunks:
        whole = -(-rows // dataset.chunks[0]) * dataset.chunks[0]
        rows = whole if whole * trial_bytes <= WIDEST_BLOCK_BYTES else rows
    for start in range(0, dataset.shape[0], rows):
        block = dataset[start : start + rows]
        # Half precision cannot hold the limits that values are compared with.
        yield start, block.astype(np.float32) if block.dtype == np.float16 else block


def read_counts(file: SessionFile, dataset: h5py.Dataset, missing: bool = False) -> np.ndarray | None:
    """Spike counts a bin in the smallest of uint8, uint16, uint32 that holds them; None if any is no count.

    ``missing``: NaN is allowed and stands for "not observed"; where there is any, the counts come as float32.
    """
    key, unobserved = name_of(dataset), []
    not_finite, negative, fractional, too_large = (_Found() for _ in range(4))
    counts: np.ndarray | None = storage.empty(dataset.shape, np.uint8)
    for start, block in blocks(dataset):
        if block.dtype.kind == "f":
            if missing:
                unobserved.append(np.isnan(block))
                block = np.where(unobserved[-1], 0, block)
            finite = np.isfinite(block)
            not_finite.add(~finite, block, start)
            fractional.add(finite & (np.floor(block) != block), block, start)
            negative.add(finite & (block < 0), block, start)
            too_large.add(finite & (block >= COUNT_LIMIT), block, start)
        elif block.dtype.kind in "iu":
            negative.add(block < 0, block, start)
            too_large.add(block >= COUNT_LIMIT, block, start)
        if not_finite.number or fractional.number or negative.number or too_large.number:
            counts = None
        if counts is not None:
            needed = np.min_scalar_type(int(block.max()))
            if needed.itemsize > counts.dtype.itemsize:
                counts = storage.as_type(counts, needed)
            counts[start : start + len(block)] = block
            storage.release(counts)
    _complain_of_values(file, key, not_finite)
    if fractional.number:
        looks = "z-scored or continuous" if negative.number else "like rates or smoothed counts"
        file.complain(
            key,
            f"not a whole number: {fractional}; the values look {looks}; store spike counts a bin, "
            "or use --output_dist=gaussian for continuous data",
        )
    elif negative.number:
        file.complain(
            key,
            f"negative count: {negative}; spike counts are at least 0: remove trials that are marked as missing, "
            "or use --output_dist=gaussian for continuous data",
        )
    if too_large.number:
        file.complain(key, f"count above {COUNT_LIMIT - 1}: {too_large}; these cannot be spike counts a bin")
    if counts is not None and any(block.any() for block in unobserved):
        whole = storage.empty(counts.shape, np.float32)
        whole[...] = counts
        whole[np.concatenate(unobserved)] = np.nan
        counts = whole
    return counts


def read_values(
    file: SessionFile,
    dataset: h5py.Dataset,
    axes: str = CHANNELS,
    missing: bool = False,
    above: float | None = None,
    zeros: bool = False,
) -> np.ndarray | None:
    """Finite values as float32; None if there are others.

    ``missing``: NaN is allowed too; ``above``: the values must be greater, or, with ``zeros``, exactly 0.
    """
    not_finite, too_large, too_small = _Found(axes), _Found(axes), _Found(axes)
    values = storage.empty(dataset.shape, np.float32)
    for start, block in blocks(dataset):
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
    _complain_of_values(file, name_of(dataset), not_finite)
    if too_small.number:
        values_must = f"0 or greater than {above}" if zeros else f"greater than {above}"
        hint = "" if zeros else ", or use --output_dist=zero_inflated_gamma if zeros are part of the data"
        file.complain(name_of(dataset), f"not {values_must} (--gamma_loc): {too_small}; shift the values{hint}")
    if too_large.number:
        file.complain(name_of(dataset), f"too large for 32-bit floating point: {too_large}; rescale the values")
    return None if not_finite.number or too_large.number or too_small.number else values


def _complain_of_values(file: SessionFile, key: str, not_finite: _Found) -> None:
    if not_finite.number:
        file.complain(
            key,
            f"NaN or infinity: {not_finite}; every bin needs a value: "
            + (
                "store 0 where there was no input"
                if not_finite.axes[2] == "input"
                else "fill the gaps or leave these trials out "
                "(--augmentations=selective_backprop takes NaN for entries that were not observed)"
            ),
        )


def same_content(first: h5py.Dataset, second: h5py.Dataset) -> bool:
    """Whether two datasets of one shape hold the same values (NaN equals NaN); read in blocks."""
    return all(np.array_equal(block, second[start : start + len(block)], True) for start, block in blocks(first))
