"""The score of held-out spikes while a model trains: bits a spike of validation trials, ``metrics.held_out``."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from lfads_tf2.held_out import HeldOutRates
from lfads_tf2.metrics.held_out import Gains, Score, channel_means
from lfads_tf2.tracing import traced
from lfads_tf2.training.epochs import Epochs
from lfads_tf2.types import Session

# Of a session; they are spread evenly over its validation trials.
MOST_TRIALS = 512


class HeldOutScore(tf.Module):
    """Scores the model of ``epochs`` when called.

    Args:
        epochs: of training, with its data.
        sessions: in the model's order.
    """

    def __init__(self, epochs: Epochs, sessions: list[Session]):
        super().__init__()
        spec = epochs.model.spec
        self.trials, self.size, self.targets = epochs.valid_trials, spec.hyperparameters.batch_size, []
        counts = spec.hyperparameters.output_dist == "poisson"
        for index, session in enumerate(sessions if counts else ()):
            if session.valid is not None:
                number = len(session.valid.data)
                rows = np.unique(np.linspace(0, number - 1, min(number, MOST_TRIALS)).round().astype(int))
                target = np.asarray(session.valid.target[rows, spec.first_bin :])
                self.targets.append((index, rows, target, channel_means(target)))
        if self.targets:
            self.rates = HeldOutRates(epochs.model, [channel_means(session.train.observed) for session in sessions])
            self._rates = traced(self._rates_of, spec.hyperparameters, reduce_retracing=True)

    def __bool__(self) -> bool:
        return bool(self.targets)

    def __call__(self) -> Score:
        return self.gains().score()

    def gains(self) -> Gains:
        """Trial by trial, so that two models can be compared."""
        sums = Gains()
        for session, rows, target, means in self.targets:
            for start in range(0, len(rows), self.size):
                part = rows[start : start + self.size]
                # A short last batch is filled up, so that one compiled program serves all.
                padded = np.resize(part, min(self.size, len(rows)))
                rates = self._rates(tf.constant(session), tf.constant(padded, tf.int32)).numpy()[: len(part)]
                sums.add(rates[..., : target.shape[2]], target[start : start + self.size], means)
        return sums

    def _rates_of(self, session, trials):
        return self.rates(self.trials.reader(session[None], trials[None])(0))
