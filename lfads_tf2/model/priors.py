"""Priors of the latents, and the KL costs that tie the posteriors to them.

A prior of the inferred inputs, ours or a user's, is a keras layer that is made with the HyperParameters and has

- ``log_prob(u)``: ln p(u_t | u_{t−1}), T x B x U, of inputs u of that shape;
- ``sample(noise)``: a draw, T x B x U, from standard normal noise of that shape;
- and perhaps ``kl(mean, logvar)``: the exact KL of independent normals to it, T x B x U or already summed to B. Without
  it the KL is estimated at the sample that drove the generator.
"""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from lfads_tf2.hyperparameters import HyperParameters
from lfads_tf2.settings.plugins import CO_PRIOR_MEMBERS, load_class

tfd = tfp.distributions
# Of the Gauss-Hermite rule for expectations under normal distributions.
NODES, WEIGHTS = (part.astype(np.float32) for part in np.polynomial.hermite_e.hermegauss(48))
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def normal(mean, logvar) -> tfd.Normal:
    """Independent normals from means and log-variances of one shape."""
    return tfd.Normal(mean, tf.exp(0.5 * logvar))


class InitialConditionPrior(keras.layers.Layer):
    """N(μ, σ²) of the initial-condition code, with a learned mean and a fixed or learned variance ("prior_g0").

    When ic_prior_var_max > ic_prior_var_min, σ² = sigmoid(exp(p)) · (max − min) + min with p learned, otherwise
    log σ² = p is constant. Either way p starts at log(ic_prior_var_scale).
    """

    def __init__(self, hp: HyperParameters, **kwargs):
        super().__init__(**kwargs)
        self.minimum, self.maximum = hp.ic_prior_var_min, hp.ic_prior_var_max
        self.learns_variance = self.maximum > self.minimum
        start = keras.initializers.Constant(np.log(hp.ic_prior_var_scale))
        shape = (1, hp.ic_dim)
        self.mean = self.add_weight(shape=shape, initializer="zeros", name="mean")
        self.raw_logvar = self.add_weight(shape=shape, initializer=start, trainable=self.learns_variance, name="logvar")
        self.built = True

    def call(self, num_trials):
        """Mean and log-variance, each B x Z, the same for every trial."""
        raw = tf.convert_to_tensor(self.raw_logvar)
        if self.learns_variance:
            raw = tf.math.log(tf.sigmoid(tf.exp(raw)) * (self.maximum - self.minimum) + self.minimum)
        return tuple(tf.tile(row, [num_trials, 1]) for row in (tf.convert_to_tensor(self.mean), raw))


class AutoregressivePrior(keras.layers.Layer):
    """A stationary AR(1) process for each inferred input ("u_prior_ar1").

    φ = exp(−1/τ), noise variance σ_e²; u_0 ~ N(0, σ_e²/(1 − φ²)), u_t ~ N(φ u_{t−1}, σ_e²). Learned: log τ, log σ_e².
    """

    def __init__(self, hp: HyperParameters, **kwargs):
        super().__init__(**kwargs)
        for name, start, trained in (
            ("log_tau", hp.prior_ar_atau, hp.do_train_prior_ar_atau),
            ("log_noise_variance", hp.prior_ar_nvar, hp.do_train_prior_ar_nvar),
        ):
            initializer = keras.initializers.Constant(np.log(start))
            setattr(
                self, name, self.add_weight(shape=(1, hp.co_dim), initializer=initializer, trainable=trained, name=name)
            )
        self.built = True

    def parameters(self):
        """φ, noise log-variance and process log-variance, each 1 x U."""
        phi = tf.exp(-tf.exp(-tf.convert_to_tensor(self.log_tau)))
        noise_logvar = tf.convert_to_tensor(self.log_noise_variance)
        return phi, noise_logvar, noise_logvar - tf.math.log1p(-tf.square(phi))

    def conditionals(self, u) -> tfd.Normal:
        """The T x B x U normals p(u_t | u_{t−1}) along given inputs u, T x B x U."""
        phi, noise_logvar, process_logvar = self.parameters()
        means = tf.concat([tf.zeros_like(u[:1]), phi * u[:-1]], axis=0)
        logvars = tf.concat([process_logvar[None], tf.tile(noise_logvar[None], [tf.shape(u)[0] - 1, 1, 1])], axis=0)
        return normal(means, logvars)

    def log_prob(self, u):
        """T x B x U log-densities ln p(u_t | u_{t−1}) of inputs u, T x B x U."""
        return self.conditionals(u).log_prob(u)

    def sample(self, noise):
        """A draw from the process, T x B x U, driven by standard normal noise of that shape."""
        phi, noise_logvar, process_logvar = self.parameters()
        first = tf.exp(0.5 * process_logvar) * noise[0]
        if noise.shape[0] == 1:
            return first[None]
        scaled = tf.exp(0.5 * noise_logvar) * noise[1:]
        return tf.concat([first[None], tf.scan(lambda u, e: phi * u + e, scaled, initializer=first)], axis=0)


def kl_initial_condition(post_mean, post_logvar, prior_mean, prior_logvar):
    """Analytic KL of each trial's initial-condition code, B nats."""
    return tf.reduce_sum(tfd.kl_divergence(normal(post_mean, post_logvar), normal(prior_mean, prior_logvar)), axis=-1)


def kl_inferred_inputs(prior: AutoregressivePrior, sample, mean, logvar):
    """KL of each trial's inferred inputs, estimated at one sample of them (T x B x U): B nats, possibly negative."""
    return tf.reduce_sum(normal(mean, logvar).log_prob(sample) - prior.log_prob(sample), axis=[0, 2])


def normal_to_student_t(noise, df: float):
    """Standard normal values -> values of Student's t with as many degrees of freedom, at the same quantiles."""
    # Both tails are symmetric; the lower one keeps its digits in single precision.
    two_sided = 2.0 * tfd.Normal(0.0, 1.0).cdf(-tf.abs(noise))
    inverse = tfp.math.betaincinv(df / 2.0, 0.5, tf.minimum(two_sided, 1.0))
    size = tf.sqrt(df * tf.maximum(1.0 / tf.maximum(inverse, 1e-30) - 1.0, 0.0))
    return tf.sign(noise) * size


def kl_to_student_t(mean, logvar, df: float, location, scale):
    """KL of normals to Student's t, entry by entry, by a quadrature of 48 nodes; exact to about 1e-3 nats
    unless the normal is very much wider than the scale."""
    values = mean[..., None] + tf.exp(0.5 * logvar)[..., None] * NODES
    expected = tf.reduce_sum(
        WEIGHTS * tfd.StudentT(df, tf.expand_dims(location, -1), tf.expand_dims(scale, -1)).log_prob(values), axis=-1
    )
    return -0.5 * (1.0 + np.log(2.0 * np.pi)) - 0.5 * logvar - expected


def make_co_prior(hp: HyperParameters) -> keras.layers.Layer | None:
    """The prior of the inferred inputs that co_prior names; None for none."""
    if hp.co_prior == "none":
        return None
    if hp.co_prior == "ar1":
        return AutoregressivePrior(hp, name="u_prior_ar1")
    if hp.co_prior in ("gaussian", "student_t"):
        return IndependentPrior(hp, name="u_prior")
    return load_class(hp.co_prior, "co_prior", CO_PRIOR_MEMBERS)(hp)


class IndependentPrior(keras.layers.Layer):
    """N(0, σ²) or Student's t of every inferred input in every bin, with a learned σ² ("u_prior").

    Args:
        hp: co_prior_var_scale is σ² at the start; co_prior says which, co_prior_df the degrees of freedom.
    """

    def __init__(self, hp: HyperParameters, **kwargs):
        super().__init__(**kwargs)
        self.df = hp.co_prior_df if hp.co_prior == "student_t" else None
        start = keras.initializers.Constant(np.log(hp.co_prior_var_scale))
        self.logvar = self.add_weight(shape=(1, hp.co_dim), initializer=start, name="logvar")
        self.built = True

    def _scale(self):
        return tf.exp(0.5 * tf.convert_to_tensor(self.logvar))

    def log_prob(self, u):
        """T x B x U log-densities."""
        if self.df is None:
            return tfd.Normal(0.0, self._scale()).log_prob(u)
        return tfd.StudentT(self.df, 0.0, self._scale()).log_prob(u)

    def sample(self, noise):
        """A draw, T x B x U."""
        return self._scale() * (noise if self.df is None else normal_to_student_t(noise, self.df))

    def kl(self, mean, logvar):
        """KL of each entry, T x B x U."""
        if self.df is not None:
            return kl_to_student_t(mean, logvar, self.df, tf.zeros([1]), self._scale())
        return tfd.kl_divergence(tfd.Normal(mean, tf.exp(0.5 * logvar)), tfd.Normal(0.0, self._scale()))
