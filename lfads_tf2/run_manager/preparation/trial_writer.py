"""Trials into the two halves of an HDF5 file, block by block."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import h5py
import numpy as np

from lfads_tf2.data.blocks import trial_blocks
from lfads_tf2.data.entries import CountCheck
from lfads_tf2.run_manager.recordings.session_data import SessionDataError

HALVES = ("train", "valid")
CHUNK_BYTES = 2**20


class TrialWriter:
    """Writes arrays of trials as ``train_<key>`` and ``valid_<key>``, trials x bins x channels.

    Args:
        file: open for writing.
        name: of the dataset, for messages.
        num_trials: of the dataset.
        halves: which trials are train and valid.
    """

    def __init__(self, file: h5py.File, name: str, num_trials: int, halves: dict[str, np.ndarray]):
        self.file, self.name, self.halves = file, name, halves
        self._is_valid = np.zeros(num_trials, bool)
        self._is_valid[halves["valid"]] = True

    def write(self, key: str, source: Any, transform: Callable[[np.ndarray], np.ndarray], counts: bool = False) -> None:
        """Streams ``source`` (trials first) through ``transform`` into both halves.

        Args:
            counts: check for spike counts and store them as small integers; otherwise finite values as float32.

        Raises:
            SessionDataError: NaN, or something else than counts; names trial, channel and bin.
        """
        if not counts:
            self._stream(key, source, transform, np.dtype(np.float32), self._finite)
            return
        # Nearly all counts fit into 16 bits; the rare others start anew with 64.
        if not self._stream(key, source, transform, np.dtype(np.uint16), self._counts):
            for half in HALVES:
                self.file.pop(f"{half}_{key}", None)
            self._stream(key, source, transform, np.dtype(np.int64), self._counts)

    def _stream(self, key: str, source: Any, transform, dtype: np.dtype, check) -> bool:
        """False when a value is too large for ``dtype``."""
        done, stored = dict.fromkeys(HALVES, 0), {}
        for start, block in trial_blocks(source):
            check(key, block, start)
            binned = transform(block)
            if dtype == np.uint16 and binned.max(initial=0) > np.iinfo(dtype).max:
                return False
            valid = self._is_valid[start : start + len(block)]
            for half, rows in zip(HALVES, (~valid, valid), strict=True):
                if half not in stored:
                    stored[half] = self._create(f"{half}_{key}", len(self.halves[half]), binned.shape[1:], dtype)
                part = np.ascontiguousarray(binned[rows], dtype=dtype)
                if len(part):
                    stored[half][done[half] : done[half] + len(part)] = part
                done[half] += len(part)
        return True

    def _create(self, key: str, trials: int, shape: tuple[int, ...], dtype: np.dtype) -> h5py.Dataset:
        trial_bytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        rows = max(1, min(trials, CHUNK_BYTES // max(1, trial_bytes)))
        return self.file.create_dataset(
            key, (trials, *shape), dtype, chunks=(rows, *shape), compression="gzip", compression_opts=1, shuffle=True
        )

    def _finite(self, key: str, block: np.ndarray, start: int) -> None:
        wrong = ~np.isfinite(block) if np.asarray(block).dtype.kind == "f" else np.zeros(0, bool)
        if wrong.any():
            trial, channel, time = np.argwhere(wrong)[0]
            raise SessionDataError(
                f"{self.name}: {key}: NaN or infinity at trial {start + trial}, channel {channel}, bin {time} "
                f"(counted from 0; {wrong.sum()} such near it); fill the gaps or leave trials out"
            )

    def _counts(self, key: str, block: np.ndarray, start: int) -> None:
        block = np.asarray(block)
        if block.dtype.kind not in "fiub":
            raise SessionDataError(f"{self.name}: counts must be numbers, got {block.dtype}")
        check = CountCheck("trials x channels x time")
        check.add(block, start)
        if check.found:
            raise SessionDataError("\n".join(f"{self.name}: counts: {problem}" for problem in check.problems()))
