"""Trials that stay on the device, from which compiled code picks its batches."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from lfads_tf2.data.gathering import BatchMaker
from lfads_tf2.types import Batch, ModelSpec, Trials


class ResidentTrials:
    """All sessions' trials in one stack, padded to the widest session, in the type they were read in.

    Args:
        halves: one Trials a session (None: no trials), in the order of the model's sessions.
        spec: of the model.
    """

    def __init__(self, halves: list[Trials | None], spec: ModelSpec):
        present = [half for half in halves if half is not None]
        self._maker = BatchMaker(spec)
        self._stacks = {
            name: _stack([getattr(half, name) for half in present], width) if width else None
            for name, (_, width) in self._maker.shapes.items()
        }
        self.counts = [0 if half is None else len(half.data) for half in halves]
        self._starts = tf.constant(np.cumsum([0, *self.counts[:-1]]), tf.int32)

    def batch(self, session, trials) -> Batch:
        """Trials (B indices within the session) of one session, time-major."""
        rows = trials + tf.gather(self._starts, session)
        picked = {
            name: None if stack is None else tf.transpose(tf.cast(tf.gather(stack, rows), tf.float32), [1, 0, 2])
            for name, stack in self._stacks.items()
        }
        return self._maker.batch(session, trials, **picked)

    def reader(self, sessions, trials):
        """``index -> Batch`` for the batches of an epoch: n sessions, n x B trials."""
        num_trials = trials.shape[1]
        return lambda index: self.batch(sessions[index], tf.ensure_shape(trials[index], [num_trials]))


def _stack(arrays: list[np.ndarray], width: int) -> tf.Tensor:
    """All trials in one array of one type, padded to this width."""
    stack = np.zeros((sum(map(len, arrays)), arrays[0].shape[1], width), np.result_type(*(a.dtype for a in arrays)))
    start = 0
    for array in arrays:
        stack[start : start + len(array), :, : array.shape[2]] = array
        start += len(array)
    return tf.constant(stack)
