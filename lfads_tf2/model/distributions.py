"""Distributions of a channel's values, each of whose parameters is affine in the factors.

``Distribution`` says what one must have and what it may have; docs/own_parts.md tells users.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from lfads_tf2.settings.plugins import DISTRIBUTION_MEMBERS, load_class, with_defaults
from lfads_tf2.types import ModelSpec


class Distribution:
    """What ``Distributed`` asks of a distribution, and the defaults of what it need not have.

    Parameters are lists of tensors like ``values``, T x B x D, which may be any real number.
    """

    num_parameters: int  # a channel
    data: str  # what it accepts: counts, values, positive or non-negative (both above gamma_loc)
    weights = ()  # keras variables of its own

    def __init__(self, spec: ModelSpec):
        """``spec``: of the model."""

    def log_prob(self, values, parameters):
        """ln p of each entry."""
        raise NotImplementedError

    def mean(self, parameters):
        """The mean of each entry."""
        raise NotImplementedError

    def link(self, parameters, session):
        """The parameters that the other methods are given, from those of the affine maps; the same ones."""
        return parameters

    def penalty(self):
        """A scalar that is added to the L2 cost; none."""
        return 0.0


def gamma_log_prob(values, alpha, beta):
    """ln of the gamma density of positive values with shape α and rate β."""
    log_x = tf.math.log(values)
    return alpha * tf.math.log(beta) + (alpha - 1.0) * log_x - beta * values - tf.math.lgamma(alpha)


class Gamma(Distribution):
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


DISTRIBUTIONS = {"gamma": Gamma, "zero_inflated_gamma": ZeroInflatedGamma}


def distribution_class(name: str) -> type[Distribution]:
    """The distribution that output_dist names; a user's has what ``Distribution`` has by default."""
    if name in DISTRIBUTIONS:
        return DISTRIBUTIONS[name]
    return with_defaults(load_class(name, "output_dist", DISTRIBUTION_MEMBERS), Distribution)
