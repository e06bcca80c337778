"""Trials that are read while the model trains, for sessions that do not fit in memory."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from lfads_tf2.data import storage
from lfads_tf2.data.resident import ResidentTrials, with_target
from lfads_tf2.types import Batch, ModelSpec, Trials

BATCHES_AHEAD = 4
# Pages of the mapped file that were used are given back after so many batches: the system maps far more around each
# trial than the trial itself.
BATCHES_BETWEEN_RELEASES = 1


class StreamedTrials(tf.Module):
    """As ResidentTrials, with the trials left where they are and read some batches ahead by another thread.

    Args:
        halves: one Trials a session (None: no trials), in the order of the model's sessions.
        max_channels, ext_input_dim, target_channels, observed_shares: as ResidentTrials takes them.
    """

    def __init__(
        self,
        halves: list[Trials | None],
        max_channels: int,
        ext_input_dim: int,
        target_channels: int | None = None,
        observed_shares: list[float] | None = None,
    ):
        super().__init__()
        self._halves = [tuple(half) if half is not None else None for half in halves]
        self.counts = [0 if half is None else len(half.data) for half in halves]
        first = next(half for half in halves if half is not None)
        # Data, external inputs, target: the bins and the width of each; 0 wide where there is none.
        self._shapes = (
            (first.data.shape[1], max_channels),
            (first.target.shape[1], ext_input_dim),
            (first.target.shape[1], target_channels or 0),
        )
        self._shares = None if observed_shares is None else tf.constant(observed_shares, tf.float32)
        self._batches_read = 0

    def _read(self, session: int, rows: np.ndarray) -> list[np.ndarray]:
        half = Trials(*self._halves[int(session)])
        # In the order of the file: neighbouring trials share pages.
        order = np.argsort(rows)
        arrays, found = (half.data, half.ext_input, half.target), []
        for array, (bins, width) in zip(arrays, self._shapes, strict=True):
            found.append(np.zeros((bins, len(rows), width), np.float32))
            if width:
                found[-1][:, order, : array.shape[2]] = array[rows[order]].swapaxes(0, 1)
        self._batches_read += 1
        if self._batches_read % BATCHES_BETWEEN_RELEASES == 0:
            for array in arrays:
                storage.release(array)
        return found

    def reader(self, sessions, trials):
        """``index -> Batch`` for the batches of an epoch, which must be asked for in order."""
        num_trials = trials.shape[1]

        def read(session, rows):
            arrays = tf.numpy_function(self._read, [session, rows], [tf.float32] * 3)
            for array, (bins, width) in zip(arrays, self._shapes, strict=True):
                array.set_shape([bins, num_trials, width])
            return session, rows, *arrays

        dataset = tf.data.Dataset.from_tensor_slices((sessions, trials)).map(read).prefetch(BATCHES_AHEAD)
        iterator = iter(dataset)

        def batch(index) -> Batch:
            session, rows, data, ext_input, target = next(iterator)
            batch = Batch(data, ext_input if ext_input.shape[2] else None, session, trials=rows)
            return with_target(batch, target, self._shares) if target.shape[2] else batch

        return batch


def place(halves: list[Trials | None], spec: ModelSpec) -> ResidentTrials | StreamedTrials:
    """The trials of a model's sessions on the device, or streamed when any session's lie in a mapped file."""
    arrays = [
        a for half in halves if half is not None for a in (half.data, half.ext_input, half.recon) if a is not None
    ]
    kind = StreamedTrials if any(storage.is_mapped(array) for array in arrays) else ResidentTrials
    shares = [session.observed_share for session in spec.sessions] if spec.partly_observed else None
    target = spec.max_channels if spec.separate_target else None
    return kind(halves, spec.max_encoded, spec.hyperparameters.ext_input_dim, target, shares)
