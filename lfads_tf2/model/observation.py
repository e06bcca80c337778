"""Observation models: from the read-out of the factors to rates and log-likelihoods."""

from __future__ import annotations

import math

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from lfads_tf2.model.affine import WeightInit, make_read_out
from lfads_tf2.types import ModelSpec

tfd = tfp.distributions


class Poisson(keras.layers.Layer):
    """Spike counts with log-rates that are affine in the factors ("fac_2_logrates").

    A single session with as many channels as factors has the fixed identity as read-out.
    """

    num_parameters = num_reported = 1  # a channel

    def __init__(self, spec: ModelSpec, init: WeightInit, **kwargs):
        super().__init__(**kwargs)
        self.clip = spec.hyperparameters._clip_value
        identity = len(spec.sessions) == 1 and spec.sessions[0].num_channels == spec.hyperparameters.factors_dim
        identity = identity and spec.hyperparameters.read_out == "auto"
        self.mean_map = None if identity else make_read_out(spec, init, "fac_2_logrates")
        self.read_outs = [] if identity else [self.mean_map]
        self.built = True

    def call(self, factors, session):
        """... x F factors -> ... x D log-rates (spikes/bin)."""
        return factors if self.mean_map is None else self.mean_map(factors, session)

    def distribution_parameters(self, log_rates):
        """Rates in expected counts a bin; the exponent is limited to ± _clip_value."""
        return tf.exp(tf.clip_by_value(log_rates, -self.clip, self.clip))

    def feedback_rates(self, log_rates, first: bool):
        """What a controller that reads rates sees; before the first bin the exponent is not limited."""
        return tf.exp(log_rates) if first else self.distribution_parameters(log_rates)

    def log_prob(self, counts, log_rates):
        """Log-likelihood of counts, entry by entry, ln k! included."""
        return counts * log_rates - tf.exp(log_rates) - tf.math.lgamma(counts + 1.0)


class Gaussian(keras.layers.Layer):
    """Values with means and log-variances that are affine in the factors ("fac_2_means", "fac_2_logvars")."""

    num_parameters = num_reported = 2

    def __init__(self, spec: ModelSpec, init: WeightInit, **kwargs):
        super().__init__(**kwargs)
        self.clip = spec.hyperparameters._clip_value
        self.mean_map = make_read_out(spec, init, "fac_2_means")
        self.logvar_map = make_read_out(spec, init, "fac_2_logvars")
        for index, session in enumerate(spec.sessions):
            flat = np.zeros((spec.hyperparameters.factors_dim, session.num_channels), np.float32)
            self.logvar_map.set_session(index, flat, np.ones(session.num_channels, np.float32))
        self.read_outs = [self.mean_map, self.logvar_map]
        self.built = True

    def call(self, factors, session):
        """... x F factors -> ... x 2D: means, then log-variances."""
        return tf.concat([self.mean_map(factors, session), self.logvar_map(factors, session)], axis=-1)

    def distribution_parameters(self, parameters):
        """Means, then variances; the exponent is limited to ± _clip_value."""
        mean, logvar = tf.split(parameters, 2, axis=-1)
        return tf.concat([mean, tf.exp(tf.clip_by_value(logvar, -self.clip, self.clip))], axis=-1)

    def feedback_rates(self, parameters, first: bool):
        """The means."""
        return tf.split(parameters, 2, axis=-1)[0]

    def log_prob(self, values, parameters):
        """Log-likelihood of values, entry by entry."""
        mean, logvar = tf.split(parameters, 2, axis=-1)
        scaled = (values - mean) * tf.exp(-0.5 * logvar)
        return -0.5 * (logvar + math.log(2.0 * math.pi) + tf.square(scaled))


OBSERVATION_MODELS = {"poisson": Poisson, "gaussian": Gaussian}
