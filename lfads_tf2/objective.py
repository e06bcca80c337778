"""Outputs, batch and ramps -> named cost terms -> the total that training minimises. In nats a trial."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from lfads_tf2.hyperparameters import augmentation_names
from lfads_tf2.model.lfads import LFADS, Outputs
from lfads_tf2.model.priors import kl_inferred_inputs
from lfads_tf2.types import Batch, Dials, ModelSpec

# What a cost is counted in, by recon_reduce.
UNITS = {"sum": "nats a trial", "mean": "nats a bin and channel"}


class TrialTerms(NamedTuple):
    """What each trial contributes, B each. What is scored apart is None where the model has none of it."""

    log_likelihood: tf.Tensor  # ln p(x|z), summed over bins and channels
    kl_ic: tf.Tensor  # before kl_ic_weight
    kl_co: tf.Tensor  # before kl_co_weight; estimated at one sample, may be negative
    held_out: tf.Tensor | None = None  # ln p(x|z) of the channels that the encoders do not read, in the bins they do
    forward: tf.Tensor | None = None  # of the bins after those that the encoders read
    apart: tf.Tensor | None = None  # of the entries that sample validation holds out


class Ramps(NamedTuple):
    """Weights that rise from 0 to 1 in training."""

    kl: tf.Tensor
    l2: tf.Tensor


class Costs(NamedTuple):
    """Scalars: means over trials, and the total. With them, N sessions' own."""

    total: tf.Tensor
    recon: tf.Tensor
    kl: tf.Tensor  # with kl_ic_weight and kl_co_weight, before the ramp
    l2: tf.Tensor  # before the ramp
    correlation: tf.Tensor  # before co_mean_corr_scale
    kl_ic: tf.Tensor  # before its weight
    kl_co: tf.Tensor
    nll: tf.Tensor  # minus ln p(x|z) of all entries, whatever recon_reduce makes of it
    held_out: tf.Tensor  # minus ln p(x|z) of the entries that are scored apart; 0 where there are none
    forward: tf.Tensor
    apart: tf.Tensor
    session_recon: tf.Tensor  # N, the reconstruction of each session times its share of the trials; 0 of the others
    session_share: tf.Tensor  # N, that share

    @classmethod
    def zeros(cls, spec: ModelSpec, members: tuple[int, ...] = ()) -> Costs:
        """Zeros, to add to; ``members``: leading axes, where there is more than one model."""
        one, of_sessions = tf.zeros(members), tf.zeros([*members, len(spec.sessions)])
        return cls(*(of_sessions if name.startswith("session_") else one for name in cls._fields))


def scored_apart(spec: ModelSpec) -> tuple[str, ...]:
    """Which of the entries that are scored apart a model has: fields of ``TrialTerms`` and ``Costs``."""
    held_out = any(session.num_encoded is not None for session in spec.sessions)
    forward = spec.data_bins < spec.first_bin + spec.num_bins
    apart = "sample_validation" in augmentation_names(spec.hyperparameters)
    present = {"held_out": held_out, "forward": forward, "apart": apart}
    return tuple(name for name, there in present.items() if there)


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
        batch: the data, T x B x D; channels beyond the session's own, and bins before the decoder's first, are left
            out.
        outputs: of the model for that batch.
        co_sample: T x B x U, sample of the inferred inputs at which their KL is estimated; None without a controller.
    """
    unweighted = unweighted_log_prob(model, batch, outputs)
    log_prob = weighted(model, batch, unweighted)
    log_likelihood = tf.reduce_sum(log_prob, axis=[0, 2])
    kl_ic = kl_co = tf.zeros_like(log_likelihood)
    encoding = outputs.encoding
    if encoding.post_g0_mean is not None and outputs.prior_g0_mean is not None:
        kl_ic = model.ic_prior.kl(encoding.post_g0_mean, encoding.post_g0_logvar)
    if co_sample is not None and model.co_prior is not None:
        kl_co = kl_inferred_inputs(model.co_prior, co_sample, outputs.decoded.co_mean, outputs.decoded.co_logvar)
    apart = {name: _apart(name, model.spec, batch, unweighted) for name in scored_apart(model.spec)}
    return TrialTerms(log_likelihood, kl_ic, kl_co, **apart)


def _apart(name: str, spec: ModelSpec, batch: Batch, log_prob):
    """ln p(x|z) of the entries of one of ``scored_apart`` for each trial, B."""
    if name == "apart":
        # At inference nothing is held out.
        none = tf.zeros(tf.shape(log_prob)[1:2])
        return none if batch.apart is None else tf.reduce_sum(log_prob * batch.apart[spec.first_bin :], [0, 2])
    if batch.counted is not None:
        log_prob = tf.where(batch.counted[spec.first_bin :] > 0.0, log_prob, 0.0)
    encoded = spec.data_bins - spec.first_bin
    if name == "forward":
        return tf.reduce_sum(log_prob[encoded:], [0, 2])
    widths = tf.gather([session.encoded_channels for session in spec.sessions], batch.session)
    held_out = ~tf.sequence_mask(widths, spec.max_channels)
    return tf.reduce_sum(tf.where(held_out, log_prob[:encoded], 0.0), [0, 2])


def unweighted_log_prob(model: LFADS, batch: Batch, outputs: Outputs):
    """ln p(x|z) of each entry, T x B x D, 0 in channels that the session does not have."""
    target = batch.data if batch.target is None else batch.target
    log_prob = model.observation.log_prob(target[model.first_bin :], outputs.parameters)
    widths = [session.num_channels for session in model.spec.sessions]
    if min(widths) < max(widths):
        log_prob *= tf.sequence_mask(tf.gather(widths, batch.session), max(widths), tf.float32)
    return log_prob


def weighted(model: LFADS, batch: Batch, log_prob):
    """The same with the weights and the stopped gradients that the batch asks for."""
    counted, flow = (None if v is None else v[model.first_bin :] for v in (batch.counted, batch.flow))
    if counted is not None:
        log_prob *= counted
    if flow is not None:
        log_prob = flow * log_prob + tf.stop_gradient((1.0 - flow) * log_prob)
    return log_prob


def is_off(scale) -> bool:
    """Whether a cost is known to be left out; a scale that is a tensor may become anything."""
    return isinstance(scale, (int, float)) and scale == 0


def scaled_by(scale, value):
    """scale · value, without a product where the scale is the number 1."""
    return value if isinstance(scale, (int, float)) and scale == 1 else scale * value


def l2_cost(model: LFADS, dials: Dials):
    """Σ ½ scale ‖v‖² / Σ numel(v) over the recurrent matrices and biases of the regularised cells; 0 if none is."""
    sets = [(dials.l2_gen_scale, model.generator.cell.regularised)]
    if model.has_controller:
        sets.append((dials.l2_con_scale, model.controller.cell.regularised))
    # The denominator counts both cells whatever their scale, as in the original; encoders have one of their own each.
    cost = _penalty(sets)
    if model.spec.hyperparameters.ic_dim and not is_off(dials.l2_ic_enc_scale):
        cost += _penalty([(dials.l2_ic_enc_scale, model.ic_encoder.regularised)])
    if model.has_controller and not is_off(dials.l2_ci_enc_scale):
        cost += _penalty([(dials.l2_ci_enc_scale, model.ci_encoder.regularised)])
    return cost


def _penalty(sets):
    """Σ ½ scale ‖v‖² / Σ numel(v) over pairs of a scale and the tensors that it penalises."""
    if all(is_off(scale) for scale, _ in sets):
        return tf.constant(0.0)
    count = sum(tensor.shape.num_elements() for _, tensors in sets for tensor in tensors)
    penalties = [
        scale * 0.5 * tf.reduce_sum(tf.square(t)) for scale, tensors in sets if not is_off(scale) for t in tensors
    ]
    return tf.add_n(penalties) / float(count)


def weights_cost(model: LFADS, dials: Dials):
    """What the weights cost, before the ramp: ``l2_cost``, and what the observation model asks for."""
    return l2_cost(model, dials) + model.observation.penalty()


def correlation_cost(model: LFADS, outputs: Outputs, dials: Dials):
    """The correlation terms of each trial, B, before co_mean_corr_scale; None where they are left out."""
    if not model.has_controller or is_off(dials.co_mean_corr_scale):
        return None
    return correlation_terms(outputs.decoded.co_mean)


def correlation_terms(co_mean):
    """Mean over pairs i < j of ½ (Σ_t mean_i mean_j)² of posterior means T x B x U, for each trial: B; 0 when U < 2."""
    num_inputs = co_mean.shape[-1]
    if num_inputs < 2:
        return tf.zeros(tf.shape(co_mean)[1:2])
    products = tf.einsum("tbi,tbj->bij", co_mean, co_mean)
    upper = tf.linalg.band_part(tf.ones([num_inputs, num_inputs]), 0, -1) - tf.eye(num_inputs)
    pairs = num_inputs * (num_inputs - 1) / 2
    return tf.reduce_sum(0.5 * tf.square(products) * upper, axis=[1, 2]) / pairs


def reconstruction(spec: ModelSpec, nll, session):
    """Minus log-likelihoods of trials of one session, as recon_reduce counts them in the cost."""
    if spec.hyperparameters.recon_reduce == "sum":
        return nll
    widths = [float(shape.num_channels) for shape in spec.sessions]
    channels = max(widths) if min(widths) == max(widths) else tf.gather(widths, session)
    return nll / (float(spec.num_bins) * channels)


def costs(
    model: LFADS,
    terms: TrialTerms,
    outputs: Outputs,
    weights: Ramps,
    trial_weights=None,
    dials: Dials | None = None,
    session=0,
) -> Costs:
    """All cost terms of a batch.

    Args:
        model: for its weights and hyperparameters.
        terms, outputs: of the batch.
        weights: both ramps.
        trial_weights: B, 0 for trials that only fill the batch up; None counts every trial.
        dials: hyperparameters that change in training; None takes the model's own.
        session: of the batch, a scalar index.
    """
    dials = dials or Dials.of(model.spec.hyperparameters)
    if trial_weights is None:
        mean = tf.reduce_mean
    else:

        def mean(values):
            return tf.reduce_sum(values * trial_weights) / tf.reduce_sum(trial_weights)

    def minus_mean(values):
        return tf.constant(0.0) if values is None else -mean(values)

    nll = -mean(terms.log_likelihood)
    recon = reconstruction(model.spec, nll, session)
    kl = mean(dials.kl_ic_weight * terms.kl_ic + dials.kl_co_weight * terms.kl_co)
    l2 = weights_cost(model, dials)
    total = recon + weights.kl * kl + weights.l2 * l2
    correlation, of_trials = tf.constant(0.0), correlation_cost(model, outputs, dials)
    if of_trials is not None:
        correlation = mean(of_trials)
        total += dials.co_mean_corr_scale * correlation
    share = tf.one_hot(session, len(model.spec.sessions))
    return Costs(
        total, recon, kl, l2, correlation, mean(terms.kl_ic), mean(terms.kl_co), nll, minus_mean(terms.held_out),
        minus_mean(terms.forward), minus_mean(terms.apart), recon * share, share,
    )  # fmt: skip
