"""Priors of the latents, and the KL costs that tie the posteriors to them."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from lfads_tf2.errors import SettingsError
from lfads_tf2.hyperparameters import HyperParameters
from lfads_tf2.model.affine import serializable
from lfads_tf2.settings.plugins import CO_PRIOR_MEMBERS, load_class, with_defaults

tfd = tfp.distributions
# Of the Gauss-Hermite rule for expectations under normal distributions.
NODES, WEIGHTS = (part.astype(np.float32) for part in np.polynomial.hermite_e.hermegauss(48))
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def normal(mean, logvar) -> tfd.Normal:
    """Independent normals from means and log-variances of one shape."""
    return tfd.Normal(mean, tf.exp(0.5 * logvar))


@serializable
class InitialConditionPrior(keras.layers.Layer):
    """N(μ, σ²) or Student's t of the initial-condition code, with a learned mean and a fixed or learned scale.

    When maximum > minimum, σ² = sigmoid(exp(p)) · (maximum − minimum) + minimum with p learned, otherwise log σ² = p is
    constant. Either way p starts at log(variance). The original's "prior_g0".

    Args:
        units: size of the code.
        variance, minimum, maximum: σ² at the start and its limits.
        df: degrees of freedom of Student's t, whose location is μ and whose scale is σ; None: normal.
    """

    def __init__(
        self, units: int, variance: float = 0.1, minimum: float = 0.1, maximum: float = 0.1, df: float | None = None,
        **kwargs,
    ):  # fmt: skip
        super().__init__(**kwargs)
        self.units, self.variance, self.minimum, self.maximum, self.df = units, variance, minimum, maximum, df
        self.learns_variance = maximum > minimum

    def build(self, input_shape=None):
        """Mean and scale."""
        start = keras.initializers.Constant(np.log(self.variance))
        shape = (1, self.units)
        self.mean = self.add_weight(shape=shape, initializer="zeros", name="mean")
        self.raw_logvar = self.add_weight(shape=shape, initializer=start, trainable=self.learns_variance, name="logvar")

    def call(self, num_trials):
        """Mean (location) and log-variance (twice the log scale), each B x Z, the same for every trial."""
        raw = tf.convert_to_tensor(self.raw_logvar)
        if self.learns_variance:
            raw = tf.math.log(tf.sigmoid(tf.exp(raw)) * (self.maximum - self.minimum) + self.minimum)
        return tuple(tf.tile(row, [num_trials, 1]) for row in (tf.convert_to_tensor(self.mean), raw))

    def sample(self, noise):
        """A draw for each trial, B x Z, from standard normal noise of that shape."""
        mean, logvar = self(tf.shape(noise)[0])
        return mean + tf.exp(0.5 * logvar) * (noise if self.df is None else normal_to_student_t(noise, self.df))

    def kl(self, mean, logvar):
        """KL of each trial's posterior N(mean, exp(logvar)), B x Z each: B nats."""
        prior_mean, prior_logvar = self(tf.shape(mean)[0])
        if self.df is None:
            return kl_initial_condition(mean, logvar, prior_mean, prior_logvar)
        return tf.reduce_sum(kl_to_student_t(mean, logvar, self.df, prior_mean, tf.exp(0.5 * prior_logvar)), axis=-1)


class InputPrior(keras.layers.Layer):
    """What the model asks of a prior of the inferred inputs, and the default of what it need not have."""

    def log_prob(self, u):
        """ln p(u_t | u_{t−1}), T x B x U, of inputs u of that shape."""
        raise NotImplementedError

    def sample(self, noise):
        """A draw, T x B x U, from standard normal noise of that shape."""
        raise NotImplementedError

    def kl(self, mean, logvar):
        """Exact KL of independent normals to it, T x B x U or summed to B; None where there is no closed form."""
        return None

    def learned(self) -> dict[str, np.ndarray]:
        """What of it training moves and a log shows, U values each."""
        return {}

    def call(self, num_bins) -> tfd.Distribution:
        """The joint distribution of one trial's inputs, T bins x U."""
        raise NotImplementedError(f"{type(self).__name__} gives no joint distribution")


@serializable
class AutoregressivePrior(InputPrior):
    """A stationary AR(1) process for each inferred input (the original's "u_prior_ar1").

    φ = exp(−1/τ), noise variance σ_e²; u_0 ~ N(0, σ_e²/(1 − φ²)), u_t ~ N(φ u_{t−1}, σ_e²). Learned: log τ, log σ_e².
    Pandarinath et al. 2018, Methods, autoregressive prior.

    Args:
        units: inferred inputs.
        tau, noise_variance: at the start.
        learns_tau, learns_noise_variance: False keeps them there.
    """

    def __init__(
        self, units: int, tau: float = 10.0, noise_variance: float = 0.1, learns_tau: bool = True,
        learns_noise_variance: bool = True, **kwargs,
    ):  # fmt: skip
        super().__init__(**kwargs)
        self.units, self.tau, self.noise_variance = units, tau, noise_variance
        self.learns_tau, self.learns_noise_variance = learns_tau, learns_noise_variance

    def build(self, input_shape=None):
        """Time constants and noise."""

        def row(name, start, learned):
            start = keras.initializers.Constant(np.log(start))
            return self.add_weight(shape=(1, self.units), initializer=start, trainable=learned, name=name)

        self.log_tau = row("log_tau", self.tau, self.learns_tau)
        self.log_noise_variance = row("log_noise_variance", self.noise_variance, self.learns_noise_variance)

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

    def learned(self):
        """τ and σ_e²."""
        logs = {"ar1_tau": self.log_tau, "ar1_noise_variance": self.log_noise_variance}
        return {name: np.exp(np.ravel(log)) for name, log in logs.items()}

    def call(self, num_bins) -> tfd.MarkovChain:
        """The joint distribution of one trial's inputs, T bins x U."""
        phi, noise_logvar, process_logvar = (row[0] for row in self.parameters())
        start = tfd.Independent(normal(tf.zeros_like(process_logvar), process_logvar), 1)
        return tfd.MarkovChain(start, lambda _, u: tfd.Independent(normal(phi * u, noise_logvar), 1), num_bins)


@serializable
class IndependentPrior(InputPrior):
    """N(0, σ²) or Student's t of every inferred input in every bin, with a learned σ² ("u_prior").

    Args:
        units: inferred inputs.
        variance: σ² at the start.
        df: degrees of freedom of Student's t, whose scale is σ; None: normal.
    """

    def __init__(self, units: int, variance: float = 0.1, df: float | None = None, **kwargs):
        super().__init__(**kwargs)
        self.units, self.variance, self.df = units, variance, df

    def build(self, input_shape=None):
        """The scale."""
        start = keras.initializers.Constant(np.log(self.variance))
        self.logvar = self.add_weight(shape=(1, self.units), initializer=start, name="logvar")

    def _scale(self):
        return tf.exp(0.5 * tf.convert_to_tensor(self.logvar))

    def _about(self, location) -> tfd.Distribution:
        return (
            tfd.Normal(location, self._scale()) if self.df is None else tfd.StudentT(self.df, location, self._scale())
        )

    def log_prob(self, u):
        """T x B x U log-densities."""
        return self._about(0.0).log_prob(u)

    def sample(self, noise):
        """A draw, T x B x U."""
        return self._scale() * (noise if self.df is None else normal_to_student_t(noise, self.df))

    def kl(self, mean, logvar):
        """KL of each entry, T x B x U."""
        if self.df is not None:
            return kl_to_student_t(mean, logvar, self.df, tf.zeros([1]), self._scale())
        return tfd.kl_divergence(tfd.Normal(mean, tf.exp(0.5 * logvar)), self._about(0.0))

    def call(self, num_bins) -> tfd.Independent:
        """The joint distribution of one trial's inputs, T bins x U."""
        return tfd.Independent(self._about(tf.zeros([num_bins, self.units])), 2)


def kl_initial_condition(post_mean, post_logvar, prior_mean, prior_logvar):
    """Analytic KL of each trial's initial-condition code, B nats."""
    return tf.reduce_sum(tfd.kl_divergence(normal(post_mean, post_logvar), normal(prior_mean, prior_logvar)), axis=-1)


def kl_inferred_inputs(prior: InputPrior, sample, mean, logvar):
    """KL of each trial's inferred inputs, B nats: exact where the prior can.

    Else it is estimated at one sample of them, T x B x U, as in the original, and possibly negative.
    """
    kl = prior.kl(mean, logvar)
    if kl is None:
        return tf.reduce_sum(normal(mean, logvar).log_prob(sample) - prior.log_prob(sample), axis=[0, 2])
    return tf.reduce_sum(kl, axis=[0, 2]) if len(kl.shape) == 3 else kl


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


def make_ic_prior(hp: HyperParameters) -> InitialConditionPrior | None:
    """The prior of the initial condition that ic_prior names; None for none."""
    if hp.ic_prior == "none":
        return None
    limits = (hp.ic_prior_var_scale, hp.ic_prior_var_min, hp.ic_prior_var_max)
    df = hp.ic_prior_df if hp.ic_prior == "student_t" else None
    return InitialConditionPrior(hp.ic_dim, *limits, df, name="prior_g0")


def make_co_prior(hp: HyperParameters) -> InputPrior | None:
    """The prior of the inferred inputs that co_prior names; None for none. A user's has InputPrior's defaults."""
    if hp.co_prior == "none":
        return None
    if hp.co_prior == "ar1":
        learned = (hp.do_train_prior_ar_atau, hp.do_train_prior_ar_nvar)
        return AutoregressivePrior(hp.co_dim, hp.prior_ar_atau, hp.prior_ar_nvar, *learned, name="u_prior_ar1")
    if hp.co_prior in ("gaussian", "student_t"):
        df = hp.co_prior_df if hp.co_prior == "student_t" else None
        return IndependentPrior(hp.co_dim, hp.co_prior_var_scale, df, name="u_prior")
    own = load_class(hp.co_prior, "co_prior", CO_PRIOR_MEMBERS)
    if not issubclass(own, keras.layers.Layer):
        raise SettingsError([f"--co_prior={hp.co_prior}: the class must derive from keras.layers.Layer"])
    return with_defaults(own, InputPrior)(hp)
