"""Rates of which each was inferred without the encoders reading the spikes of its own trial, bin and channel.

A tenth of the entries at a time is masked, each entry once; the mean count of its channel stands in its place. What
was tried against this, and how well each ranks models, is in docs/quality.md. ``metrics.held_out`` scores the rates.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from lfads_tf2 import noise
from lfads_tf2.model.augmentation import masked, on_target
from lfads_tf2.model.lfads import LFADS
from lfads_tf2.tracing import traced
from lfads_tf2.types import Batch

MASKS = 10
# The same entries whatever the seed of a run, so that scores of runs compare.
SEED = 0


class HeldOutRates(tf.Module):
    """Held-out rates of batches.

    Args:
        model: whose weights are read at each call.
        means: for each of its sessions the mean count of each encoded channel in the training trials.
    """

    def __init__(self, model: LFADS, means: list[np.ndarray]):
        super().__init__()
        self.model = model
        widest = model.spec.max_encoded
        padded = [np.pad(np.asarray(m, np.float32), (0, widest - len(m))) for m in means]
        self.means = tf.constant(np.stack(padded))
        self._traced = traced(self._rates, model.spec.hyperparameters, reduce_retracing=True)

    def __call__(self, batch: Batch):
        """B x T x D rates (means) of the target; ``batch.trials`` decides which entries are masked together.

        Entries that the encoders never read are averaged over the masks.
        """
        return self._traced(batch)

    def _rates(self, batch: Batch):
        model, spec = self.model, self.model.spec
        mask_of = noise.fixed_folds(SEED, batch.session, batch.trials, batch.data.shape, MASKS)
        # The bins before the first serve the initial condition and are not scored.
        mask_of = tf.where((tf.range(batch.data.shape[0]) >= spec.first_bin)[:, None, None], mask_of, -1)
        num_trials = tf.shape(batch.data)[1]

        def add(mask, rates):
            chosen = mask_of == mask
            outputs = model(masked(batch, chosen, self.means), noise.no_noise(spec, num_trials))
            own = on_target(spec, batch.session, tf.cast(chosen, tf.float32), 1.0 / MASKS)[spec.first_bin :]
            means = model.observation.distribution_parameters(outputs.parameters)[..., : spec.max_channels]
            return mask + 1, rates + own * means

        rates = tf.zeros([spec.num_bins, num_trials, spec.max_channels])
        # The number of trials may be known before the loop and not after it.
        shapes = tf.TensorShape([]), tf.TensorShape([spec.num_bins, None, spec.max_channels])
        _, rates = tf.while_loop(lambda mask, _: mask < MASKS, add, (0, rates), shape_invariants=shapes)
        return tf.transpose(rates, [1, 0, 2])
