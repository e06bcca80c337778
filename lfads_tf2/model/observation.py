"""Observation models: from the read-out of the factors to rates and log-likelihoods.

Poisson spikes with exponential rates (Sussillo et al. 2016, section 2.1), Gaussian values as in the original (its
``glm``), or a distribution.
"""

from __future__ import annotations

import math

import keras
import numpy as np
import tensorflow as tf

from lfads_tf2.model import elementwise
from lfads_tf2.model.affine import WeightSeeds, make_read_out, serializable, unseeded
from lfads_tf2.model.distributions import distribution_class
from lfads_tf2.model.kernels import kernels
from lfads_tf2.settings.plugins import check_imported
from lfads_tf2.types import ModelSpec


class ObservationModel(keras.layers.Layer):
    """Read-outs of a channel's parameters, and what the model asks of them.

    Args:
        spec: of the model.
        seeds: of each read-out's maps, session by session.
        native: use the compiled CPU kernels where there are some.
    """

    num_parameters = num_reported = 1  # a channel
    mean_map = None  # the read-out that an alignment matrix starts
    own_weights = ()  # variables beside the read-outs

    def __init__(self, spec: ModelSpec, seeds: list[int] | None = None, native: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.spec, self.seeds, self.native = spec, seeds, native
        names, each = self.map_names(spec), len(spec.sessions)
        seeds = unseeded(seeds, len(names) * each)
        self.read_outs = [
            make_read_out(spec, seeds[n * each : (n + 1) * each], name) for n, name in enumerate(names)
        ]  # fmt: skip

    @classmethod
    def map_names(cls, spec: ModelSpec) -> list[str]:
        """Names of the read-outs, by which files know them."""
        raise NotImplementedError

    def build(self, input_shape=None):
        """All read-outs."""
        for read_out in self.read_outs:
            read_out.build()

    def call(self, factors, session):
        """... x F factors -> ... x (D x num_parameters), any real numbers."""
        return tf.concat([read_out(factors, session) for read_out in self.read_outs], axis=-1)

    def distribution_parameters(self, parameters):
        """What is reported: means first."""
        raise NotImplementedError

    def feedback_rates(self, parameters, first: bool):
        """What a controller that reads rates sees; ``first``: before the first bin."""
        raise NotImplementedError

    def log_prob(self, values, parameters):
        """Log-likelihood of values, entry by entry."""
        raise NotImplementedError

    def penalty(self):
        """What is added to the L2 cost."""
        return 0.0

    def get_config(self):
        """Constructor's arguments in plain values."""
        return super().get_config() | {"spec": self.spec.as_dict(), "seeds": self.seeds}

    @classmethod
    def from_config(cls, config):
        """The layer of such a configuration."""
        spec = ModelSpec.from_dict(config["spec"])
        check_imported(spec.hyperparameters)
        return super().from_config(config | {"spec": spec})


@serializable
class Poisson(ObservationModel):
    """Spike counts with log-rates that are affine in the factors ("fac_2_logrates").

    A single session with as many channels as factors has the fixed identity as read-out.
    """

    def __init__(self, spec: ModelSpec, seeds: list[int] | None = None, **kwargs):
        super().__init__(spec, seeds, **kwargs)
        self.clip = spec.hyperparameters._clip_value
        self.mean_map = self.read_outs[0] if self.read_outs else None

    @classmethod
    def map_names(cls, spec):
        """One, or none for the identity."""
        hp, sessions = spec.hyperparameters, spec.sessions
        identity = hp.read_out == "auto" and len(sessions) == 1 and sessions[0].num_channels == hp.factors_dim
        return [] if identity else ["fac_2_logrates"]

    def call(self, factors, session):
        """... x F factors -> ... x D log-rates (spikes/bin)."""
        return factors if self.mean_map is None else self.mean_map(factors, session)

    def distribution_parameters(self, log_rates):
        """Rates in expected counts a bin; the exponent is limited to ± _clip_value."""
        return tf.exp(tf.clip_by_value(log_rates, -self.clip, self.clip))

    def feedback_rates(self, log_rates, first: bool):
        """Rates; before the first bin the exponent is not limited, as in the original."""
        return tf.exp(log_rates) if first else self.distribution_parameters(log_rates)

    def log_prob(self, counts, log_rates):
        """Log-likelihood of counts, entry by entry, ln k! included."""
        return (kernels() if self.native else elementwise).poisson_log_prob(counts, log_rates)


@serializable
class Gaussian(ObservationModel):
    """Values with means and log-variances that are affine in the factors ("fac_2_means", "fac_2_logvars").

    All log-variances start at 1, whatever the factors.
    """

    num_parameters = num_reported = 2

    def __init__(self, spec: ModelSpec, seeds: list[int] | None = None, **kwargs):
        super().__init__(spec, seeds, **kwargs)
        self.clip = spec.hyperparameters._clip_value
        self.mean_map, self.logvar_map = self.read_outs

    @classmethod
    def map_names(cls, spec):
        """Two."""
        return ["fac_2_means", "fac_2_logvars"]

    def build(self, input_shape=None):
        """Both read-outs."""
        super().build()
        for session, (rows, columns) in enumerate(zip(self.logvar_map.inputs, self.logvar_map.outputs, strict=True)):
            flat = np.zeros((rows, columns), np.float32)
            self.logvar_map.set_session(session, flat, np.ones(columns, np.float32))

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


@serializable
class Distributed(ObservationModel):
    """Any of ``lfads_tf2.model.distributions``, or a user's: read-outs "fac_2_parameter0" ..., and the distribution."""

    def __init__(self, spec: ModelSpec, seeds: list[int] | None = None, **kwargs):
        super().__init__(spec, seeds, **kwargs)
        self.num_parameters = len(self.read_outs)
        self.num_reported = 1 + self.num_parameters
        # Checkpoints find what an attribute of its own holds, but not what lists hold.
        for n, read_out in enumerate(self.read_outs):
            setattr(self, f"parameter_{n}", read_out)

    @classmethod
    def map_names(cls, spec):
        """One a parameter."""
        return [
            f"fac_2_parameter{n}" for n in range(distribution_class(spec.hyperparameters.output_dist).num_parameters)
        ]

    def build(self, input_shape=None):
        """The read-outs and the distribution, with its variables."""
        super().build()
        self.distribution = distribution_class(self.spec.hyperparameters.output_dist)(self.spec)
        self.own_weights = tuple(self.distribution.weights)
        for n, weight in enumerate(self.own_weights):
            setattr(self, f"own_{n}", weight)

    def _split(self, parameters):
        return tf.split(parameters, self.num_parameters, axis=-1)

    def call(self, factors, session):
        """... x F factors -> ... x (D x parameters)."""
        parameters = [read_out(factors, session) for read_out in self.read_outs]
        return tf.concat(self.distribution.link(parameters, session), axis=-1)

    def distribution_parameters(self, parameters):
        """Means, then the parameters."""
        return tf.concat([self.distribution.mean(self._split(parameters)), parameters], axis=-1)

    def feedback_rates(self, parameters, first: bool):
        """The means."""
        return self.distribution.mean(self._split(parameters))

    def log_prob(self, values, parameters):
        """Log-likelihood of values, entry by entry."""
        return self.distribution.log_prob(values, self._split(parameters))

    def penalty(self):
        """What the distribution adds to the L2 cost."""
        return self.distribution.penalty()


OBSERVATION_MODELS = {"poisson": Poisson, "gaussian": Gaussian}


def make_observation(spec: ModelSpec, seeds: WeightSeeds, **kwargs) -> ObservationModel:
    """The observation model that output_dist names."""
    kind = OBSERVATION_MODELS.get(spec.hyperparameters.output_dist, Distributed)
    return kind(spec, seeds.take(len(kind.map_names(spec)) * len(spec.sessions)), **kwargs)
