"""Passes over many entries in TensorFlow's own operations; the compiled kernels have the same functions."""

from __future__ import annotations

import tensorflow as tf


def dropout_mask(seed, keep, count: int):
    """``count`` elements, 0 or 1/keep. Sixteen random bits decide each, half of what a uniform float would cost.

    Args:
        seed: a pair, of which alone the bits depend.
        keep: scalar float32.
    """
    bits = tf.random.stateless_uniform([(count + 1) // 2], seed, minval=None, maxval=None, dtype=tf.uint32)
    largest = tf.cast(tf.round(keep * 65536.0) - 1.0, tf.uint16)
    kept = tf.reshape(tf.bitcast(bits, tf.uint16), [-1])[:count] <= largest
    return tf.cast(kept, tf.float32) / keep


def poisson_log_prob(counts, log_rates):
    """ln of the Poisson probability of counts, T x B x D, entry by entry, ln k! included."""
    return counts * log_rates - tf.exp(log_rates) - tf.math.lgamma(counts + 1.0)
