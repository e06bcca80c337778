"""Every random draw of training and inference: noise, dropout masks and spike jitter.

All draws are stateless: a seed and the step decide them, so that a run that was killed and resumed needs no stored
generator to repeat them. They are made before the model runs; inside its time loop nothing is random.
"""

from __future__ import annotations

import math

import tensorflow as tf

from lfads_tf2.model import elementwise
from lfads_tf2.model.kernels import kernels
from lfads_tf2.types import Masks, ModelSpec, Noise

# One stream for each purpose, so that equal steps do not share draws.
TRAIN_NOISE, TRAIN_MASKS, TRAIN_JITTER, VALID_NOISE, POSTERIOR_NOISE, PRIOR_NOISE = range(6)
# The first of as many streams as there are augmentations.
TRAIN_AUGMENTATION = 1000


def stream(seed: int, purpose: int, step):
    """The seed pair of one purpose at one step; seed and step are integers or scalar tensors."""
    pair = tf.stack([tf.cast(seed, tf.int32), purpose])
    return tf.random.experimental.stateless_fold_in(pair, tf.cast(step, tf.int32))


def draw_noise(spec: ModelSpec, num_trials: int, seed) -> Noise:
    """Standard normal draws for the posterior samples of ``num_trials`` trials; zeros where there is no prior."""
    hp = spec.hyperparameters
    seeds = tf.random.experimental.stateless_split(seed, 2)
    g0 = tf.random.stateless_normal([num_trials, hp.ic_dim], seeds[0]) if hp.ic_dim else None
    co = tf.random.stateless_normal([spec.num_bins, num_trials, hp.co_dim], seeds[1]) if hp.co_dim else None
    # Without a prior there is no distribution to sample: a plain autoencoder takes the means.
    g0 = tf.zeros_like(g0) if hp.ic_dim and hp.ic_prior == "none" else g0
    co = tf.zeros_like(co) if hp.co_dim and hp.co_prior == "none" else co
    return Noise(g0, co)


def no_noise(spec: ModelSpec, num_trials) -> Noise:
    """Zero noise: every posterior sample is its mean."""
    hp = spec.hyperparameters
    g0 = tf.zeros([num_trials, hp.ic_dim]) if hp.ic_dim else None
    return Noise(g0, tf.zeros([spec.num_bins, num_trials, hp.co_dim]) if hp.co_dim else None)


def dropout_mask(shape, keep, seed, native: bool = False):
    """0 or 1/keep an element; ``native``: by the compiled CPU kernels, which give the same numbers faster."""
    passes = kernels() if native else elementwise
    return tf.reshape(passes.dropout_mask(seed, tf.convert_to_tensor(keep, tf.float32), math.prod(shape)), shape)


def draw_masks(spec: ModelSpec, num_trials: int, seed, keep_prob, native: bool = False) -> Masks:
    """Dropout masks of a training batch; all None when keep_prob is the number 1. ``native``: as ``dropout_mask``."""
    hp = spec.hyperparameters
    if isinstance(keep_prob, (int, float)) and keep_prob == 1:
        return Masks()
    sequence = [spec.num_bins, num_trials]
    shapes = {"data": [spec.data_bins, num_trials, spec.max_encoded], "gen_out": [*sequence, hp.gen_dim]}
    if hp.ext_input_dim:
        shapes["ext_input"] = [spec.first_bin + spec.num_bins, num_trials, hp.ext_input_dim]
    if hp.ic_dim:
        shapes["ic_code"] = [num_trials, 2 * hp.ic_enc_dim]
    if hp.co_dim:
        shapes["con_code"] = [*sequence, hp.ci_enc_dim * (1 if hp.do_causal_controller else 2)]
        if hp.do_feed_factors_to_controller:
            rates = hp.feedback_factors_or_rates == "rates"
            shapes["feedback"] = [*sequence, spec.max_channels if rates else hp.factors_dim]
    seeds = tf.random.experimental.stateless_split(seed, len(shapes))
    drawn = zip(shapes.items(), tf.unstack(seeds), strict=True)
    return Masks(**{name: dropout_mask(shape, keep_prob, own_seed, native) for (name, shape), own_seed in drawn})


def draw_shifts(num_trials: int, channels: int, std: float, largest: int, seed):
    """B x D whole numbers of bins: normal with this standard deviation, rounded, at most ``largest`` either way."""
    shifts = tf.round(std * tf.random.stateless_normal([num_trials, channels], seed))
    return tf.cast(tf.clip_by_value(shifts, -float(largest), float(largest)), tf.int32)


def fixed_entries(seed, session, trials, shape, rate: float):
    """T x B x D booleans, true for a share ``rate`` of the entries: the same ones whenever a trial comes up.

    Arguments as ``_fixed_numbers``.
    """
    return _fixed_numbers(seed, session, trials, shape) < tf.constant(int(rate * 2**32), tf.uint32)


def fixed_folds(seed, session, trials, shape, folds: int):
    """T x B x D whole numbers below ``folds``, equally likely: the same ones whenever a trial comes up.

    Arguments as ``_fixed_numbers``.
    """
    return tf.cast(_fixed_numbers(seed, session, trials, shape) // tf.constant(2**32 // folds + 1, tf.uint32), tf.int32)


def _fixed_numbers(seed, session, trials, shape):
    """T x B x D uint32 numbers, made by hashing seed, session, trial, bin and channel, so that nothing need be stored.

    Args:
        session: index of the session.
        trials: B indices of trials within it.
        shape: T, B, D.
    """

    def mixed(values):
        # The finaliser of MurmurHash3: every input bit reaches every output bit.
        for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
            shifted = tf.bitwise.right_shift(values, tf.constant(shift, tf.uint32))
            values = tf.bitwise.bitwise_xor(values, shifted) * tf.constant(factor, tf.uint32)
        return values

    number = mixed(tf.cast(seed, tf.uint32) + tf.constant(0x85EBCA6B, tf.uint32))
    for index, axis in ((session, None), (trials, 1), (tf.range(shape[0]), 0), (tf.range(shape[2]), 2)):
        index = tf.cast(index, tf.uint32)
        if axis is not None:
            index = tf.reshape(index, [-1 if n == axis else 1 for n in range(3)])
        number = mixed(number * tf.constant(31, tf.uint32) + index + tf.constant(0x9E3779B9, tf.uint32))
    return number


def jitter_spikes(counts, width: int, seed):
    """Moves every spike by a uniform integer in [−width, width) bins, reflected at both ends; counts are conserved.

    Args:
        counts: T x B x D float32, non-negative whole numbers.
    """
    num_bins = counts.shape[0]
    occupied = tf.where(counts > 0)
    spikes = tf.repeat(occupied, tf.cast(tf.gather_nd(counts, occupied), tf.int32), axis=0)
    shifts = tf.random.stateless_uniform([tf.shape(spikes)[0]], seed, -width, width, dtype=tf.int64)
    # Reflection folds time with this period, which also serves shifts longer than the trial.
    period = max(2 * (num_bins - 1), 1)
    times = tf.math.floormod(spikes[:, 0] + shifts, period)
    times = tf.minimum(times, period - times)
    moved = tf.concat([times[:, None], spikes[:, 1:]], axis=1)
    return tf.scatter_nd(moved, tf.ones([tf.shape(spikes)[0]]), tf.shape(counts, out_type=tf.int64))
