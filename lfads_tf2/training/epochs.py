"""Whole epochs as compiled functions: the order of the batches goes in, a few scalars come out."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from lfads_tf2 import noise
from lfads_tf2.data.resident import ResidentTrials
from lfads_tf2.data.streamed import StreamedTrials
from lfads_tf2.model.lfads import LFADS
from lfads_tf2.objective import Costs, ramps
from lfads_tf2.training import replicas
from lfads_tf2.training.optimizer import Adam, clip_gradients
from lfads_tf2.training.steps import Steps
from lfads_tf2.types import Batch, Dials

# An epoch stops after so many steps in a row whose cost or gradients are not finite.
BAD_STEPS_IN_A_ROW = 5


class EpochResult(NamedTuple):
    """Scalars of one epoch of training."""

    costs: Costs  # means over the batches that counted; l2 of the last one
    kl_weight: tf.Tensor  # of the last batch
    l2_weight: tf.Tensor
    gradient_norm: tf.Tensor  # mean over the batches that counted, before clipping
    steps_skipped: tf.Tensor
    bad_in_a_row: tf.Tensor  # at the end; BAD_STEPS_IN_A_ROW when the epoch was given up
    first_bad: tf.Tensor  # index of the variable whose gradient went bad first; -1: the cost itself, or none
    weights_finite: tf.Tensor


class Epochs(tf.Module):
    """Training and validation epochs of one model on data that stay on the device.

    Args:
        model: what is trained.
        optimizer: holds the variables that are trained, their moments and the step count.
        train, valid: the trials; ``valid`` may be None.
        seed: of every draw.
        jit_compile: compile the step with XLA.
        dials: hyperparameters that change in training, as scalar variables; None: those of the model, as constants.
        strategy: shares each batch between devices; model and optimizer must have been made in its scope.
    """

    def __init__(
        self,
        model: LFADS,
        optimizer: Adam,
        train: ResidentTrials | StreamedTrials,
        valid: ResidentTrials | StreamedTrials | None,
        seed: int,
        jit_compile: bool = False,
        dials: Dials | None = None,
        strategy: tf.distribute.Strategy | None = None,
    ):
        super().__init__()
        self.model, self.optimizer, self.train_trials, self.valid_trials = model, optimizer, train, valid
        self.seed, self.traces = seed, {"train": 0, "validate": 0}
        self.strategy = strategy
        self.dials = dials or Dials.of(model.spec.hyperparameters)
        # Models whose seed is a tensor are compared with each other: they hold the same entries out.
        held_out_seed = seed if isinstance(seed, int) else max(model.spec.hyperparameters.seed, 0)
        self.steps = Steps(model, self.dials, held_out_seed, first_valid=sum(train.counts))
        self._gradients = tf.function(self._gradients_of, jit_compile=True) if jit_compile else self._gradients_of

    def _gradients_of(self, batch, draws, masks, step, dials):
        return self.steps.gradients(batch, draws, masks, step, dials, self.optimizer.targets)

    def _train_step(self, batch: Batch):
        step, hp = self.optimizer.step.read_value(), self.model.spec.hyperparameters
        # Read here: a number stays a number, a variable becomes this step's value.
        dials = Dials(*(d if isinstance(d, (int, float)) else tf.convert_to_tensor(d) for d in self.dials))
        shares = replicas.own_share(*self.steps.training_inputs(batch, self.seed, step, dials))
        cost, gradients = replicas.mean(self._gradients(*shares, step, dials))
        clipped, norm = clip_gradients(gradients, hp.max_grad_norm)
        good = tf.math.is_finite(norm) & tf.math.is_finite(cost.total)

        def apply():
            self.optimizer.apply(clipped, dials.weight_decay)
            return tf.constant(-1)

        def skip():
            # The count of batches goes on, so that the next step draws anew.
            self.optimizer.count_step()
            bad = tf.stack([tf.reduce_any(~tf.math.is_finite(gradient)) for gradient in gradients])
            return tf.where(tf.reduce_any(bad), tf.argmax(bad, output_type=tf.int32), -1)

        return cost, norm, good, tf.cond(good, apply, skip)

    @tf.function(reduce_retracing=True)
    def train(self, sessions, trials) -> EpochResult:
        """One epoch. ``sessions``: n, ``trials``: n x B indices within the session of each batch."""
        self.traces["train"] += 1
        hp = self.model.spec.hyperparameters
        num_batches, zero = tf.shape(sessions)[0], tf.constant(0.0)
        sums, norms = Costs.zeros(self.model.spec), zero
        read = self.train_trials.reader(sessions, trials)
        index, counted, bad_in_a_row, first_bad, last_l2 = 0, 0, 0, -1, zero
        while index < num_batches and bad_in_a_row < BAD_STEPS_IN_A_ROW:
            cost, norm, good, bad = replicas.run(self.strategy, self._train_step, read(index))
            # A sum must not be multiplied by a flag: 0 · NaN is NaN.
            sums = Costs(*(total + tf.where(good, term, 0.0) for total, term in zip(sums, cost, strict=True)))
            norms += tf.where(good, norm, 0.0)
            last_l2 = tf.where(good, cost.l2, last_l2)
            first_bad = tf.where(good | (bad_in_a_row > 0), first_bad, bad)
            bad_in_a_row = tf.where(good, 0, bad_in_a_row + 1)
            counted += tf.cast(good, tf.int32)
            index += 1
        # With no good step at all the means are 0/0: NaN, which the caller sees.
        means = Costs(*(total / tf.cast(counted, tf.float32) for total in sums))._replace(l2=last_l2)
        weights = ramps(hp, self.optimizer.step - 1)
        norm = norms / tf.cast(counted, tf.float32)
        finite = tf.reduce_all(tf.stack([tf.reduce_all(tf.math.is_finite(v)) for v in self.optimizer.targets]))
        return EpochResult(means, weights.kl, weights.l2, norm, index - counted, bad_in_a_row, first_bad, finite)

    @tf.function(reduce_retracing=True)
    def validate(self, sessions, trials, trial_weights) -> Costs:
        """Costs over all validation trials, each counted once. ``trial_weights``: n x B, 0 for filling."""
        self.traces["validate"] += 1
        spec, num_trials = self.model.spec, trials.shape[1]
        sums, total_weight = Costs.zeros(spec), tf.constant(0.0)
        step = self.optimizer.step.read_value() - 1
        read = self.valid_trials.reader(sessions, trials)
        for index in tf.range(tf.shape(sessions)[0]):
            batch = self.steps.augment.validate(read(index))
            draws = self.steps.validation_noise(num_trials, self.seed, step, index)
            weights = tf.ensure_shape(trial_weights[index], [num_trials])
            cost = self.steps.validation_costs(batch, draws, weights, step, self.dials)
            weight = tf.reduce_sum(weights)
            sums = Costs(*(total + weight * term for total, term in zip(sums, cost, strict=True)))
            total_weight += weight
        return Costs(*(total / total_weight for total in sums))

    @tf.function(reduce_retracing=True)
    def valid_rates(self, session, trials):
        """Rates (means) of B validation trials of one session, B x T x D, from the posterior means."""
        observation = self.model.observation
        batch = self.valid_trials.reader(session[None], trials[None])(0)
        outputs = self.model(batch, noise.no_noise(self.model.spec, tf.shape(trials)[0]))
        rates = observation.distribution_parameters(outputs.parameters)[..., : self.model.spec.max_channels]
        return tf.transpose(rates, [1, 0, 2])
