"""Trials that stay on the device, from which compiled code picks its batches."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from lfads_tf2.model.lfads import Batch
from lfads_tf2.types import Trials


class ResidentTrials(tf.Module):
    """All sessions' trials in one stack, padded to the widest session, in the type they were read in.

    Args:
        halves: one Trials a session, in the order of the model's sessions.
        max_channels: width of the stack.
        ext_input_dim: external inputs that the model uses; 0 leaves them out.
    """

    def __init__(self, halves: list[Trials | None], max_channels: int, ext_input_dim: int):
        super().__init__()
        present = [half for half in halves if half is not None]
        dtype = np.result_type(*(half.data.dtype for half in present))
        stack = np.zeros((sum(len(h.data) for h in present), present[0].data.shape[1], max_channels), dtype)
        start = 0
        for half in present:
            stack[start : start + len(half.data), :, : half.data.shape[2]] = half.data
            start += len(half.data)
        self.counts = [0 if half is None else len(half.data) for half in halves]
        self._starts = tf.constant(np.cumsum([0, *self.counts[:-1]]), tf.int32)
        self._data = tf.constant(stack)
        self._ext_input = None
        if ext_input_dim:
            self._ext_input = tf.constant(np.concatenate([half.ext_input for half in present]), tf.float32)

    def batch(self, session, trials) -> Batch:
        """Trials (B indices within the session) of one session, time-major."""
        rows = trials + tf.gather(self._starts, session)
        data = tf.transpose(tf.cast(tf.gather(self._data, rows), tf.float32), [1, 0, 2])
        ext_input = None
        if self._ext_input is not None:
            ext_input = tf.transpose(tf.gather(self._ext_input, rows), [1, 0, 2])
        return Batch(data, ext_input, session)

    def reader(self, sessions, trials):
        """``index -> Batch`` for the batches of an epoch: n sessions, n x B trials."""
        num_trials = trials.shape[1]
        return lambda index: self.batch(sessions[index], tf.ensure_shape(trials[index], [num_trials]))
