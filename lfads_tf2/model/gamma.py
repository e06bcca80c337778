"""Further observation models: each parameter of a channel is affine in the factors, the rest is a distribution.

A distribution, ours or a user's, is a class with

- ``num_parameters``: how many parameters a channel has;
- ``data``: what it accepts: ``counts``, ``values``, ``positive`` or ``non-negative`` (both above ``gamma_loc``);
- ``__init__(spec)``: the model's ModelSpec;
- ``log_prob(values, parameters)``: ln p of each entry; ``parameters`` is a list of tensors like ``values``, T x B x D,
  as they come out of the affine maps, so any real number;
- ``mean(parameters)``: the mean of each entry;
- and perhaps ``link(parameters, session)``: the parameters that ``log_prob`` and ``mean`` are given, from those of the
  affine maps; ``penalty()``: a scalar that is added to the L2 cost; ``weights``: a list of keras variables of its own.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from lfads_tf2.model.affine import WeightInit, make_read_out
from lfads_tf2.model.observation import OBSERVATION_MODELS
from lfads_tf2.settings.plugins import DISTRIBUTION_MEMBERS, load_class
from lfads_tf2.types import ModelSpec


def gamma_log_prob(values, alpha, beta):
    """ln of the gamma density of positive values with shape α and rate β."""
    log_x = tf.math.log(values)
    return alpha * tf.math.log(beta) + (alpha - 1.0) * log_x - beta * values - tf.math.lgamma(alpha)


class Gamma:
    """Positive values x with density Γ(x − gamma_loc; α, β): the parameters are ln α and ln β."""

    num_parameters, data = 2, "positive"

    def __init__(self, spec: ModelSpec):
        hp = spec.hyperparameters
        self.location, self.clip = hp.gamma_loc, hp._clip_value

    def _natural(self, parameters):
        return [tf.exp(tf.clip_by_value(p, -self.clip, self.clip)) for p in parameters]

    def log_prob(self, values, parameters):
        """Log-likelihood of values above gamma_loc, entry by entry."""
        # Padded channels hold zeros; they are left out of the cost, but must not make it NaN.
        shifted = tf.maximum(values - self.location, 1e-30)
        return gamma_log_prob(shifted, *self._natural(parameters))

    def mean(self, parameters):
        """α/β + gamma_loc."""
        alpha, beta = self._natural(parameters)
        return alpha / beta + self.location


class ZeroInflatedGamma(Gamma):
    """Zero with probability 1 − q, else gamma_loc plus a gamma variable.

    Three affine maps: q is the sigmoid of the first, α and β are the sigmoids of the others times learned factors of
    each channel and session, which an L2 penalty pulls to gamma_scale_prior. The parameters are logit q, ln α, ln β.
    """

    num_parameters, data = 3, "non-negative"

    def __init__(self, spec: ModelSpec):
        super().__init__(spec)
        hp = spec.hyperparameters
        self.prior, self.l2 = hp.gamma_scale_prior, hp.l2_gamma_scale
        shape = (len(spec.sessions), 2, spec.max_channels)
        start = keras.initializers.Constant(self.prior)
        self.factors = keras.Variable(start, shape=shape, name="gamma_factors")
        self.weights = [self.factors]

    def link(self, parameters, session):
        """Logit q, ln α and ln β from the affine maps."""
        logit, *raw = parameters
        # Far from zero, where the penalty keeps them, softplus is the identity; it keeps them positive.
        factors = tf.math.log(tf.nn.softplus(tf.gather(self.factors.value, session)))
        return [logit, *(tf.math.log_sigmoid(r) + factors[n] for n, r in enumerate(raw))]

    def log_prob(self, values, parameters):
        """Log-likelihood of zeros and values above gamma_loc, entry by entry."""
        logit, (alpha, beta) = parameters[0], self._natural(parameters[1:])
        zero = values == 0.0
        # The branch that is not taken must be finite too, or its gradient is NaN.
        shifted = tf.where(zero, 1.0, tf.maximum(values - self.location, 1e-30))
        present = tf.math.log_sigmoid(logit) + gamma_log_prob(shifted, alpha, beta)
        return tf.where(zero, tf.math.log_sigmoid(-logit), present)

    def mean(self, parameters):
        """q (α/β + gamma_loc)."""
        logit, (alpha, beta) = parameters[0], self._natural(parameters[1:])
        return tf.sigmoid(logit) * (alpha / beta + self.location)

    def penalty(self):
        """l2_gamma_scale times the summed squared distance of the factors from gamma_scale_prior."""
        return self.l2 * tf.reduce_sum(tf.square(self.factors.value - self.prior))


class Distributed(keras.layers.Layer):
    """Read-outs of a distribution's parameters ("glm/fac_2_parameter0" ...), and what the model asks of them.

    Args:
        distribution: a class as this module describes it.
        spec, init: of the model.
    """

    def __init__(self, distribution: type, spec: ModelSpec, init: WeightInit, **kwargs):
        super().__init__(**kwargs)
        self.distribution = distribution(spec)
        self.num_parameters = self.distribution.num_parameters
        self.num_reported = 1 + self.num_parameters
        self.read_outs = [make_read_out(spec, init, f"fac_2_parameter{n}") for n in range(self.num_parameters)]
        for n, weight in enumerate(getattr(self.distribution, "weights", ())):
            setattr(self, f"own_{n}", weight)
        self.mean_map = None
        self.built = True

    def call(self, factors, session):
        """... x F factors -> ... x (D x parameters)."""
        parameters = [read_out(factors, session) for read_out in self.read_outs]
        if hasattr(self.distribution, "link"):
            parameters = self.distribution.link(parameters, session)
        return tf.concat(parameters, axis=-1)

    def distribution_parameters(self, parameters):
        """Means, then the parameters."""
        return tf.concat(
            [self.distribution.mean(tf.split(parameters, self.num_parameters, axis=-1)), parameters], axis=-1
        )

    def feedback_rates(self, parameters, first: bool):
        """The means."""
        return self.distribution.mean(tf.split(parameters, self.num_parameters, axis=-1))

    def log_prob(self, values, parameters):
        """Log-likelihood of values, entry by entry."""
        return self.distribution.log_prob(values, tf.split(parameters, self.num_parameters, axis=-1))

    @property
    def own_weights(self) -> list:
        """The distribution's own variables."""
        return list(getattr(self.distribution, "weights", ()))

    def penalty(self):
        """What is added to the L2 cost; 0 where the distribution has no penalty."""
        return self.distribution.penalty() if hasattr(self.distribution, "penalty") else 0.0


DISTRIBUTIONS = {"gamma": Gamma, "zero_inflated_gamma": ZeroInflatedGamma}


def make_observation(spec: ModelSpec, init: WeightInit, **kwargs) -> keras.layers.Layer:
    """The observation model that output_dist names."""
    name = spec.hyperparameters.output_dist
    if name in OBSERVATION_MODELS:
        return OBSERVATION_MODELS[name](spec, init, **kwargs)
    distribution = DISTRIBUTIONS.get(name) or load_class(name, "output_dist", DISTRIBUTION_MEMBERS)
    return Distributed(distribution, spec, init, **kwargs)
