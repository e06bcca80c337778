"""Trials that stay on the device, from which compiled code picks its batches."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from lfads_tf2.types import Batch, Trials


class ResidentTrials(tf.Module):
    """All sessions' trials in one stack, padded to the widest session, in the type they were read in.

    Args:
        halves: one Trials a session, in the order of the model's sessions.
        max_channels: width of the stack.
        ext_input_dim: external inputs that the model uses; 0 leaves them out.
        target_channels: width of what is reconstructed where that is not the data themselves; None: it is.
        observed_shares: where some of it is NaN, not observed, the share of each session that is: the observed
            entries weigh as much more. None: all is observed.
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
        present = [half for half in halves if half is not None]
        self._data = _stack([half.data for half in present], max_channels)
        self._target = self._shares = None
        if target_channels is not None:
            self._target = _stack([half.target for half in present], target_channels)
        if observed_shares is not None:
            self._shares = tf.constant(observed_shares, tf.float32)
        self.counts = [0 if half is None else len(half.data) for half in halves]
        self._starts = tf.constant(np.cumsum([0, *self.counts[:-1]]), tf.int32)
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
        batch = Batch(data, ext_input, session, trials=trials)
        if self._target is None:
            return batch
        target = tf.transpose(tf.cast(tf.gather(self._target, rows), tf.float32), [1, 0, 2])
        return with_target(batch, target, self._shares)

    def reader(self, sessions, trials):
        """``index -> Batch`` for the batches of an epoch: n sessions, n x B trials."""
        num_trials = trials.shape[1]
        return lambda index: self.batch(sessions[index], tf.ensure_shape(trials[index], [num_trials]))


def with_target(batch: Batch, target, shares) -> Batch:
    """The batch with its target, T x B x D; ``shares``: None, or the observed share of each session's entries."""
    if shares is None:
        return batch._replace(target=target)
    observed = ~tf.math.is_nan(target)
    weights = tf.cast(observed, tf.float32) / tf.gather(shares, batch.session)
    return batch._replace(target=tf.where(observed, target, 0.0), counted=weights)


def _stack(arrays: list[np.ndarray], channels: int) -> tf.Tensor:
    """All trials in one array of one type, padded to so many channels."""
    stack = np.zeros((sum(map(len, arrays)), arrays[0].shape[1], channels), np.result_type(*(a.dtype for a in arrays)))
    start = 0
    for array in arrays:
        stack[start : start + len(array), :, : array.shape[2]] = array
        start += len(array)
    return tf.constant(stack)
