"""Trials that are read while the model trains, for sessions that do not fit in memory."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from lfads_tf2.data import storage
from lfads_tf2.data.resident import ResidentTrials
from lfads_tf2.model.lfads import Batch
from lfads_tf2.types import Trials

BATCHES_AHEAD = 4
# Pages of the mapped file that were used are given back after so many batches: the system maps far more around each
# trial than the trial itself.
BATCHES_BETWEEN_RELEASES = 1


class StreamedTrials(tf.Module):
    """As ResidentTrials, with the trials left where they are and read some batches ahead by another thread.

    Args:
        halves: one Trials a session (None: no trials), in the order of the model's sessions.
        max_channels: width of the batches.
        ext_input_dim: external inputs that the model uses; 0 leaves them out.
    """

    def __init__(self, halves: list[Trials | None], max_channels: int, ext_input_dim: int):
        super().__init__()
        self._halves = [tuple(half) if half is not None else None for half in halves]
        self.counts = [0 if half is None else len(half.data) for half in halves]
        self._num_steps = next(half.data.shape[1] for half in halves if half is not None)
        self._max_channels, self._ext_input_dim = max_channels, ext_input_dim
        self._batches_read = 0

    def _read(self, session: int, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        half = Trials(*self._halves[int(session)])
        # In the order of the file: neighbouring trials share pages.
        order = np.argsort(rows)
        data = np.zeros((self._num_steps, len(rows), self._max_channels), np.float32)
        data[:, order, : half.data.shape[2]] = half.data[rows[order]].swapaxes(0, 1)
        ext_input = np.zeros((self._num_steps, len(rows), self._ext_input_dim), np.float32)
        if self._ext_input_dim:
            ext_input[:, order] = half.ext_input[rows[order]].swapaxes(0, 1)
        self._batches_read += 1
        if self._batches_read % BATCHES_BETWEEN_RELEASES == 0:
            for array in (half.data, half.ext_input):
                storage.release(array)
        return data, ext_input

    def reader(self, sessions, trials):
        """``index -> Batch`` for the batches of an epoch, which must be asked for in order."""
        num_trials = trials.shape[1]

        def read(session, rows):
            data, ext_input = tf.numpy_function(self._read, [session, rows], (tf.float32, tf.float32))
            data.set_shape([self._num_steps, num_trials, self._max_channels])
            ext_input.set_shape([self._num_steps, num_trials, self._ext_input_dim])
            return session, data, ext_input

        dataset = tf.data.Dataset.from_tensor_slices((sessions, trials)).map(read).prefetch(BATCHES_AHEAD)
        iterator = iter(dataset)

        def batch(index) -> Batch:
            session, data, ext_input = next(iterator)
            return Batch(data, ext_input if self._ext_input_dim else None, session)

        return batch


def place(halves: list[Trials | None], max_channels: int, ext_input_dim: int) -> ResidentTrials | StreamedTrials:
    """The trials on the device, or streamed when any session's lie in a mapped file."""
    arrays = [a for half in halves if half is not None for a in (half.data, half.ext_input) if a is not None]
    kind = StreamedTrials if any(storage.is_mapped(array) for array in arrays) else ResidentTrials
    return kind(halves, max_channels, ext_input_dim)
