"""Sums over the batches of an epoch, and the means that come of them: of one model, or of each of many at once."""

from __future__ import annotations

import math
from typing import NamedTuple

import tensorflow as tf

from lfads_tf2.objective import Costs, ramps
from lfads_tf2.types import ModelSpec

# An epoch stops after so many steps in a row whose cost or gradients are not finite.
BAD_STEPS_IN_A_ROW = 5


class EpochResult(NamedTuple):
    """Scalars of one epoch of training; of a population, each with a leading axis of members."""

    costs: Costs  # means over the batches that counted; l2 of the last one
    kl_weight: tf.Tensor  # of the last batch
    l2_weight: tf.Tensor
    gradient_norm: tf.Tensor  # mean over the batches that counted, before clipping
    steps_skipped: tf.Tensor
    bad_in_a_row: tf.Tensor  # at the end; BAD_STEPS_IN_A_ROW when the epoch was given up
    first_bad: tf.Tensor  # index of the trained variable whose gradient went bad first; -1: the cost, or none
    weights_finite: tf.Tensor

    @property
    def went_bad(self) -> bool:
        """Of one model, as numbers: whether it must not go on from where the epoch left it."""
        return self.bad_in_a_row >= BAD_STEPS_IN_A_ROW or not self.weights_finite or math.isnan(self.costs.total)


class Tally(NamedTuple):
    """Sums over the batches of a training epoch; all with the leading axes of ``members`` that ``start`` was given."""

    costs: Costs
    gradient_norm: tf.Tensor
    last_l2: tf.Tensor
    counted: tf.Tensor  # batches, int32
    skipped: tf.Tensor
    bad_in_a_row: tf.Tensor
    first_bad: tf.Tensor

    @classmethod
    def start(cls, spec: ModelSpec, members: tuple[int, ...] = ()) -> Tally:
        """Before the first batch; ``members``: empty for one model."""
        zero, none = tf.zeros(members), tf.zeros(members, tf.int32)
        return cls(Costs.zeros(spec, members), zero, zero, none, none, none, none - 1)

    @property
    def goes_on(self) -> tf.Tensor:
        """Whether the epoch has not been given up."""
        return self.bad_in_a_row < BAD_STEPS_IN_A_ROW

    def add(self, cost: Costs, norm, good, bad_variable=-1) -> Tally:
        """After one more batch, which does not count for a model that has been given up.

        Args:
            cost: of the batch.
            norm: of its gradient.
            good: whether both are finite, so that the step was applied.
            bad_variable: index of the trained variable whose gradient is not finite; -1: none.
        """
        counts, fails = good & self.goes_on, ~good & self.goes_on
        return Tally(
            tf.nest.map_structure(lambda total, term: total + _where(counts, term), self.costs, cost),
            self.gradient_norm + _where(counts, norm),
            tf.where(counts, cost.l2, self.last_l2),
            self.counted + tf.cast(counts, tf.int32),
            self.skipped + tf.cast(fails, tf.int32),
            tf.where(counts, 0, self.bad_in_a_row + tf.cast(fails, tf.int32)),
            tf.where(fails & (self.bad_in_a_row == 0), bad_variable, self.first_bad),
        )

    def result(self, hp, last_step, trained: list) -> EpochResult:
        """What the epoch comes to.

        Args:
            hp: for the ramps.
            last_step: batches taken before the last one.
            trained: the trained variables at the end.
        """
        # With no good step at all the means are 0/0: NaN, which went_bad sees.
        counted, weights = tf.cast(self.counted, tf.float32), ramps(hp, last_step)
        means = tf.nest.map_structure(lambda total: total / _beside(counted, total), self.costs)
        ones, axes = tf.ones_like(counted), counted.shape.rank
        finite = tf.stack([_all_finite(variable, axes) for variable in trained])
        return EpochResult(
            means._replace(l2=self.last_l2), weights.kl * ones, weights.l2 * ones, self.gradient_norm / counted,
            self.skipped, self.bad_in_a_row, self.first_bad, tf.reduce_all(finite, axis=0),
        )  # fmt: skip


def validation_means(costs_of, spec: ModelSpec, trial_weights, members: tuple[int, ...] = ()) -> Costs:
    """Mean costs over validation batches, in which each trial counts with its weight.

    Args:
        costs_of: (index of a batch, its B weights) -> its costs.
        spec: of the model.
        trial_weights: n x B, 0 for trials that only fill a batch up.
        members: as in ``Tally.start``.
    """

    def add(index, sums, total_weight):
        weights = tf.ensure_shape(trial_weights[index], trial_weights.shape[1:])
        cost, weight = costs_of(index, weights), tf.reduce_sum(weights)
        sums = Costs(*(total + weight * term for total, term in zip(sums, cost, strict=True)))
        return index + 1, sums, total_weight + weight

    number = tf.shape(trial_weights)[0]
    _, sums, total_weight = tf.while_loop(
        lambda index, *_: index < number, add, (0, Costs.zeros(spec, members), tf.constant(0.0))
    )
    return Costs(*(total / total_weight for total in sums))


def numbers(structure):
    """The same structure of NumPy scalars and arrays, out of tensors."""
    return tf.nest.map_structure(lambda tensor: tensor.numpy(), structure)


def _beside(flags, values):
    """Flags of members, so that they go with values of more axes."""
    return tf.reshape(flags, [*flags.shape, *[1] * (values.shape.rank - flags.shape.rank)])


def _where(chosen, values):
    """Values of the chosen members, else 0. A sum must not be multiplied by a flag: 0 · NaN is NaN."""
    return tf.where(_beside(chosen, values), values, 0.0)


def _all_finite(values, axes: int):
    """Whether all of a member's entries are finite; ``axes``: leading ones of the members."""
    return tf.reduce_all(tf.math.is_finite(values), axis=list(range(axes, values.shape.rank)))
