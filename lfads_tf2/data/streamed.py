"""Trials that are read while the model trains, for sessions that do not fit in memory."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from lfads_tf2.data import storage
from lfads_tf2.data.gathering import BatchMaker
from lfads_tf2.data.resident import ResidentTrials
from lfads_tf2.types import Batch, ModelSpec, Trials

BATCHES_AHEAD = 4


class StreamedTrials:
    """As ResidentTrials, with the trials left where they are and read some batches ahead by another thread.

    Args:
        halves, spec: as ResidentTrials takes them.
    """

    def __init__(self, halves: list[Trials | None], spec: ModelSpec):
        self._halves, self._maker = halves, BatchMaker(spec)
        self.counts = [0 if half is None else len(half.data) for half in halves]

    def _read(self, session: int, rows: np.ndarray) -> list[np.ndarray]:
        return self._maker.gathered(self._halves[int(session)], rows)

    def reader(self, sessions, trials):
        """``index -> Batch`` for the batches of an epoch, which must be asked for in order."""
        num_trials, shapes = trials.shape[1], self._maker.shapes.values()

        def read(session, rows):
            arrays = tf.numpy_function(self._read, [session, rows], [tf.float32] * len(shapes))
            for array, (bins, width) in zip(arrays, shapes, strict=True):
                array.set_shape([bins, num_trials, width])
            return session, rows, *arrays

        dataset = tf.data.Dataset.from_tensor_slices((sessions, trials)).map(read).prefetch(BATCHES_AHEAD)
        iterator = iter(dataset)

        def batch(index) -> Batch:
            return self._maker.batch(*next(iterator))

        return batch


def place(halves: list[Trials | None], spec: ModelSpec) -> ResidentTrials | StreamedTrials:
    """The trials of a model's sessions on the device, or streamed when any session's lie in a mapped file."""
    arrays = [
        a for half in halves if half is not None for a in (half.data, half.ext_input, half.recon) if a is not None
    ]
    kind = StreamedTrials if any(storage.is_mapped(array) for array in arrays) else ResidentTrials
    return kind(halves, spec)
