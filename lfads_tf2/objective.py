"""Outputs, batch and ramps -> named cost terms -> the total that training minimises. All in nats a trial."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from lfads_tf2.model.lfads import LFADS, Batch, Outputs
from lfads_tf2.model.priors import kl_inferred_inputs, kl_initial_condition
from lfads_tf2.types import Dials


class TrialTerms(NamedTuple):
    """What each trial contributes, B each."""

    log_likelihood: tf.Tensor  # ln p(x|z), summed over bins and channels
    kl_ic: tf.Tensor  # before kl_ic_weight
    kl_co: tf.Tensor  # before kl_co_weight; estimated at one sample, may be negative


class Ramps(NamedTuple):
    """Weights that rise from 0 to 1 in training."""

    kl: tf.Tensor
    l2: tf.Tensor


class Costs(NamedTuple):
    """Scalars: means over trials, and the total."""

    total: tf.Tensor
    recon: tf.Tensor
    kl: tf.Tensor  # with kl_ic_weight and kl_co_weight, before the ramp
    l2: tf.Tensor  # before the ramp
    correlation: tf.Tensor  # before co_mean_corr_scale


def ramp(step, start: int, increase: int):
    """clip((step − start)/increase, 0, 1); a ramp of 0 steps is 1 from the start. ``step``: batches already taken."""
    if increase == 0:
        return tf.constant(1.0)
    return tf.clip_by_value(tf.cast(step - start, tf.float32) / float(increase), 0.0, 1.0)


def ramps(hp, step) -> Ramps:
    """Both ramps after ``step`` batches."""
    return Ramps(
        ramp(step, hp.kl_start_step, hp.kl_increase_steps),
        ramp(step, hp.l2_start_step, hp.l2_increase_steps),
    )


def trial_terms(model: LFADS, batch: Batch, outputs: Outputs, co_sample) -> TrialTerms:
    """Log-likelihood and KL of each trial.

    Args:
        model: for its priors and observation model.
        batch: the data, T x B x D; channels beyond the session's own are left out.
        outputs: of the model for that batch.
        co_sample: T x B x U, sample of the inferred inputs at which their KL is estimated; None without a controller.
    """
    log_prob = model.observation.log_prob(batch.data, outputs.parameters)
    widths = [session.num_channels for session in model.spec.sessions]
    if min(widths) < max(widths):
        log_prob *= tf.sequence_mask(tf.gather(widths, batch.session), max(widths), tf.float32)
    log_likelihood = tf.reduce_sum(log_prob, axis=[0, 2])
    kl_ic = kl_co = tf.zeros_like(log_likelihood)
    encoding = outputs.encoding
    if encoding.post_g0_mean is not None:
        kl_ic = kl_initial_condition(
            encoding.post_g0_mean, encoding.post_g0_logvar, outputs.prior_g0_mean, outputs.prior_g0_logvar
        )
    if co_sample is not None:
        kl_co = kl_inferred_inputs(model.co_prior, co_sample, outputs.decoded.co_mean, outputs.decoded.co_logvar)
    return TrialTerms(log_likelihood, kl_ic, kl_co)


def is_off(scale) -> bool:
    """Whether a cost is known to be left out; a scale that is a tensor may become anything."""
    return isinstance(scale, (int, float)) and scale == 0


def l2_cost(model: LFADS, dials: Dials):
    """Σ ½ scale ‖v‖² / Σ numel(v) over recurrent matrices and biases of generator and controller; 0 if both are 0."""
    sets = [(dials.l2_gen_scale, model.generator.cell.regularised)]
    if model.has_controller:
        sets.append((dials.l2_con_scale, model.controller.cell.regularised))
    if all(is_off(scale) for scale, _ in sets):
        return tf.constant(0.0)
    # The denominator counts both cells whatever their scale, as in the original.
    count = sum(variable.value.shape.num_elements() for _, variables in sets for variable in variables)
    penalties = [scale * tf.nn.l2_loss(v.value) for scale, variables in sets if not is_off(scale) for v in variables]
    return tf.add_n(penalties) / float(count)


def correlation_terms(co_mean):
    """Mean over pairs i < j of ½ (Σ_t mean_i mean_j)² of posterior means T x B x U, for each trial: B; 0 when U < 2."""
    num_inputs = co_mean.shape[-1]
    if num_inputs < 2:
        return tf.zeros(tf.shape(co_mean)[1:2])
    products = tf.einsum("tbi,tbj->bij", co_mean, co_mean)
    upper = tf.linalg.band_part(tf.ones([num_inputs, num_inputs]), 0, -1) - tf.eye(num_inputs)
    pairs = num_inputs * (num_inputs - 1) / 2
    return tf.reduce_sum(0.5 * tf.square(products) * upper, axis=[1, 2]) / pairs


def costs(
    model: LFADS, terms: TrialTerms, outputs: Outputs, weights: Ramps, trial_weights=None, dials: Dials | None = None
) -> Costs:
    """All cost terms of a batch.

    Args:
        model: for its weights and hyperparameters.
        terms, outputs: of the batch.
        weights: both ramps.
        dials: hyperparameters that change in training; None takes the model's own.
        trial_weights: B, 0 for trials that only fill the batch up; None counts every trial.
    """
    dials = dials or Dials.of(model.spec.hyperparameters)
    if trial_weights is None:
        mean = tf.reduce_mean
    else:

        def mean(values):
            return tf.reduce_sum(values * trial_weights) / tf.reduce_sum(trial_weights)

    recon = -mean(terms.log_likelihood)
    kl = mean(dials.kl_ic_weight * terms.kl_ic + dials.kl_co_weight * terms.kl_co)
    l2 = l2_cost(model, dials)
    total = recon + weights.kl * kl + weights.l2 * l2
    correlation = tf.constant(0.0)
    if model.has_controller and not is_off(dials.co_mean_corr_scale):
        correlation = mean(correlation_terms(outputs.decoded.co_mean))
        total += dials.co_mean_corr_scale * correlation
    return Costs(total, recon, kl, l2, correlation)
