"""Whole epochs as compiled functions: the order of the batches goes in, a few scalars come out."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from lfads_tf2 import noise
from lfads_tf2.augment import Augmenter
from lfads_tf2.data.resident import ResidentTrials
from lfads_tf2.model.lfads import LFADS
from lfads_tf2.objective import Costs, costs, ramps, scaled_by, trial_terms
from lfads_tf2.training.optimizer import Adam, clip_gradients
from lfads_tf2.types import Dials

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
    """

    def __init__(
        self,
        model: LFADS,
        optimizer: Adam,
        train: ResidentTrials,
        valid: ResidentTrials | None,
        seed: int,
        jit_compile: bool = False,
        dials: Dials | None = None,
    ):
        super().__init__()
        self.model, self.optimizer, self.train_trials, self.valid_trials = model, optimizer, train, valid
        self.valid_offset = sum(train.counts)
        self.seed, self.traces = seed, {"train": 0, "validate": 0}
        self.dials = dials or Dials.of(model.spec.hyperparameters)
        self.augment = Augmenter(model.spec, seed, self.dials)
        self._gradients = tf.function(self._gradients_of, jit_compile=True) if jit_compile else self._gradients_of

    def _gradients_of(self, batch, draws, masks, step, dials):
        """Costs of a batch, their gradients clipped to the global norm, and that norm."""
        model = self.model
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self.optimizer.targets)
            outputs = model(batch, draws, masks)
            terms = trial_terms(model, batch, outputs, outputs.decoded.u)
            cost = costs(model, terms, outputs, ramps(model.spec.hyperparameters, step), dials=dials)
            scaled = scaled_by(dials.loss_scale, cost.total)
        gradients = tape.gradient(scaled, self.optimizer.targets, unconnected_gradients="zero")
        gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]
        clipped, norm = clip_gradients(gradients, model.spec.hyperparameters.max_grad_norm)
        return cost, gradients, clipped, norm

    def _train_step(self, session, trials):
        spec, step = self.model.spec, self.optimizer.step.read_value()
        num_trials = trials.shape[0]
        batch = self.train_trials.batch(session, trials)
        draws = noise.draw_noise(spec, num_trials, noise.stream(self.seed, noise.TRAIN_NOISE, step))
        # Read here: a number stays a number, a variable becomes this step's value.
        dials = Dials(*(d if isinstance(d, (int, float)) else tf.convert_to_tensor(d) for d in self.dials))
        batch = self.augment.train(batch, trials, step, dials)
        masks = noise.draw_masks(spec, num_trials, noise.stream(self.seed, noise.TRAIN_MASKS, step), dials.keep_prob)
        cost, gradients, clipped, norm = self._gradients(batch, draws, masks, step, dials)
        good = tf.math.is_finite(norm) & tf.math.is_finite(cost.total)

        def apply():
            self.optimizer.apply(clipped)
            return tf.constant(-1)

        def skip():
            # The count of batches goes on, so that the next step draws anew.
            self.optimizer.step.assign_add(1)
            bad = tf.stack([tf.reduce_any(~tf.math.is_finite(gradient)) for gradient in gradients])
            return tf.where(tf.reduce_any(bad), tf.argmax(bad, output_type=tf.int32), -1)

        return cost, norm, good, tf.cond(good, apply, skip)

    @tf.function(reduce_retracing=True)
    def train(self, sessions, trials) -> EpochResult:
        """One epoch. ``sessions``: n, ``trials``: n x B indices within the session of each batch."""
        self.traces["train"] += 1
        hp = self.model.spec.hyperparameters
        num_batches, num_trials = tf.shape(sessions)[0], trials.shape[1]
        zero = tf.constant(0.0)
        sums, norms = Costs(zero, zero, zero, zero, zero), zero
        index, counted, bad_in_a_row, first_bad, last_l2 = 0, 0, 0, -1, zero
        while index < num_batches and bad_in_a_row < BAD_STEPS_IN_A_ROW:
            cost, norm, good, bad = self._train_step(sessions[index], tf.ensure_shape(trials[index], [num_trials]))
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
        zero = tf.constant(0.0)
        sums, total_weight = Costs(zero, zero, zero, zero, zero), zero
        step = self.optimizer.step.read_value() - 1
        for index in tf.range(tf.shape(sessions)[0]):
            rows = tf.ensure_shape(trials[index], [num_trials])
            # Other trials than those of training: the entries that are held out must not be shared between them.
            batch = self.augment.validate(self.valid_trials.batch(sessions[index], rows), rows + self.valid_offset)
            seed = noise.stream(self.seed, noise.VALID_NOISE, step)
            seed = tf.random.experimental.stateless_fold_in(seed, index)
            outputs = self.model(batch, noise.draw_noise(spec, num_trials, seed))
            terms = trial_terms(self.model, batch, outputs, outputs.decoded.u)
            weights = tf.ensure_shape(trial_weights[index], [num_trials])
            cost = costs(self.model, terms, outputs, ramps(spec.hyperparameters, step), weights, self.dials)
            weight = tf.reduce_sum(weights)
            sums = Costs(*(total + weight * term for total, term in zip(sums, cost, strict=True)))
            total_weight += weight
        return Costs(*(total / total_weight for total in sums))
