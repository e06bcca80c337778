"""From arrays of trials to the batch that the model reads, wherever the trials lie and whatever the batch is for."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from lfads_tf2.data import storage
from lfads_tf2.types import Batch, ModelSpec, Trials


class BatchMaker:
    """Shapes of a model's batches, and how one is made.

    Args:
        spec: of the model.
    """

    def __init__(self, spec: ModelSpec):
        target_bins = spec.first_bin + spec.num_bins
        # Bins and width of each array of a batch; 0 wide where the model has none.
        self.shapes = {
            "data": (spec.data_bins, spec.max_encoded),
            "ext_input": (target_bins, spec.hyperparameters.ext_input_dim),
            "target": (target_bins, spec.max_channels if spec.separate_target else 0),
        }
        self._shares = None
        if spec.partly_observed:
            self._shares = [session.observed_share for session in spec.sessions]

    def gathered(self, trials: Trials, rows: np.ndarray) -> list[np.ndarray]:
        """Trials by number: data, external inputs and target, time-major, float32, padded to their width."""
        # In the order of the file, where the trials lie in one: neighbouring trials share pages.
        order, found = np.argsort(rows), []
        for name, (bins, width) in self.shapes.items():
            array = getattr(trials, name)
            found.append(np.zeros((bins, len(rows), width), np.float32))
            if width:
                found[-1][:, order, : array.shape[2]] = array[rows[order]].swapaxes(0, 1)
                storage.release(array)
        return found

    def batch(self, session, trials, data, ext_input, target) -> Batch:
        """A batch of B trials.

        Entries of the target that were not observed (NaN) have no weight, and the others of a session as much more as
        keeps its training trials' mean weight at 1: a cost stays what it would be if all were observed.

        Args:
            session: index of the session, a scalar.
            trials: B numbers of the trials within the session.
            data, ext_input, target: time-major; the latter two are not looked at where the model has none.
        """
        batch = Batch(data, ext_input if self.shapes["ext_input"][1] else None, session, trials=trials)
        if not self.shapes["target"][1]:
            return batch
        if self._shares is None:
            return batch._replace(target=target)
        observed = ~tf.math.is_nan(target)
        weights = tf.cast(observed, tf.float32) / tf.gather(self._shares, session)
        return batch._replace(target=tf.where(observed, target, 0.0), counted=weights)

    def observed(self, log_likelihood, session):
        """The log-likelihood of a session's entries as a batch weighs them -> that of the observed ones, each at 1."""
        return log_likelihood if self._shares is None else log_likelihood * tf.gather(self._shares, session)
