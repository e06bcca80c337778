"""LFADS: the sequential variational autoencoder as one keras.Model.

A batch (time-major, all trials of one session) and noise go in, every latent and the read-out come out. The model
draws nothing itself: see ``lfads_tf2.noise``.
"""

from __future__ import annotations

from typing import NamedTuple

import keras
import tensorflow as tf

from lfads_tf2.model.affine import Linear, WeightSeeds, has_read_in, make_read_in, serializable
from lfads_tf2.model.decoder import Controller, Generator, controlled_scan
from lfads_tf2.model.encoder import BidirectionalEncoder
from lfads_tf2.model.loops import DecoderOutputs
from lfads_tf2.model.observation import make_observation
from lfads_tf2.model.priors import make_co_prior, make_ic_prior
from lfads_tf2.settings.plugins import check_imported
from lfads_tf2.types import Batch, Masks, ModelSpec, Noise


class Encoding(NamedTuple):
    """What the encoders make of a batch; the decoder needs nothing else but external inputs."""

    ic_forward: tf.Tensor | None  # N x B x E
    ic_reverse: tf.Tensor | None
    ci_forward: tf.Tensor | None  # T x B x C
    ci_reverse: tf.Tensor | None
    post_g0_mean: tf.Tensor | None  # B x Z
    post_g0_logvar: tf.Tensor | None
    ext_input: tf.Tensor | None  # T x B x I, as the generator sees it
    con_x_gates: tf.Tensor | None  # T x B x 2K, encoded part of the controller's pre-activations, biases included
    con_x_candidate: tf.Tensor | None  # T x B x K
    num_trials: tf.Tensor  # scalar, B


class Outputs(NamedTuple):
    """Everything the model computes for a batch, time-major."""

    encoding: Encoding | None
    prior_g0_mean: tf.Tensor | None  # B x Z
    prior_g0_logvar: tf.Tensor | None
    g0: tf.Tensor | None  # B x Z, the code that entered the generator
    gen_ics: tf.Tensor  # B x G
    decoded: DecoderOutputs
    parameters: tf.Tensor  # T x B x (D x parameters a channel), read-out: log-rates, or means and log-variances


@serializable
class LFADS(keras.Model):
    """Latent Factor Analysis via Dynamical Systems.

    Sussillo et al. 2016 (arXiv:1608.06315), section 2; Pandarinath et al. 2018 (Nature Methods 15:805), Methods and
    Supplementary Figure 12; numbers and names are those of the authors' TensorFlow 1 program, "the original".

    Args:
        spec: hyperparameters with the number of bins and the sessions' channels.
        seed: of the initial weights.
        native: run the loops over time in the compiled CPU kernels; they are not for GPUs and not for XLA.
        for_training: False keeps nothing for gradients, which the kernels need much memory for.
    """

    def __init__(self, spec: ModelSpec, seed: int = 0, native: bool = False, for_training: bool = True, **kwargs):
        super().__init__(**kwargs)
        hp, seeds = spec.hyperparameters, WeightSeeds(seed)
        self.spec, self.seed = spec, seed
        self.has_controller = hp.co_dim > 0
        self.encodes_ext_input = hp.ext_input_dim > 0 and not hp.inject_ext_input_to_gen
        self.injects_ext_input = hp.ext_input_dim > 0 and hp.inject_ext_input_to_gen
        self.first_bin = spec.first_bin
        self.num_ic_bins = self.first_bin or min(hp.num_steps_for_gen_ic, spec.data_bins)
        self.scan_options = {"native": native, "save_for_gradient": for_training}
        self.read_in = make_read_in(spec, seeds.take(len(spec.sessions))) if has_read_in(spec) else None
        clip, scale = hp.cell_clip_value, hp.cell_weight_scale
        if hp.ic_dim > 0:
            self.ic_encoder = BidirectionalEncoder(
                hp.ic_enc_dim, clip, scale, **self.scan_options, with_last=True, seeds=seeds.take(4),
                name="ic_encoder",
            )  # fmt: skip
            self.post_g0_mean = Linear(hp.ic_dim, *seeds.take(1), name="post_g0_mean")
            self.post_g0_logvar = Linear(hp.ic_dim, *seeds.take(1), name="post_g0_logvar")
            self.ic_prior = make_ic_prior(hp)
        if self.has_controller:
            causal = hp.do_causal_controller
            self.ci_encoder = BidirectionalEncoder(
                hp.ci_enc_dim, clip, scale, causal, **self.scan_options, seeds=seeds.take(2 if causal else 4),
                name="ci_encoder",
            )  # fmt: skip
            num_encoded = hp.ci_enc_dim * len(self.ci_encoder.directions)
            self.controller = Controller(
                hp.con_dim, hp.co_dim, num_encoded, clip, scale, seeds.take(6), name="controller"
            )  # fmt: skip
            self.co_prior = make_co_prior(hp)
        has_inputs = self.has_controller or self.injects_ext_input
        self.generator = Generator(
            hp.gen_dim, hp.factors_dim, hp.ic_dim, has_inputs, clip, hp.gen_cell_input_weight_scale,
            hp.gen_cell_rec_weight_scale, **self.scan_options,
            seeds=seeds.take(Generator.num_matrices(hp.gen_dim, hp.ic_dim, has_inputs)), name="generator",
        )  # fmt: skip
        self.observation = make_observation(spec, seeds, native=native, name="observation")
        self.build()

    def build(self, input_shape=None):
        """All weights; the spec has every width."""
        spec, hp = self.spec, self.spec.hyperparameters
        width = spec.max_encoded if self.read_in is None else hp.factors_dim
        encoded = (None, None, width + (hp.ext_input_dim if self.encodes_ext_input else 0))
        shapes = {self.read_in: (None, None, spec.max_encoded)}
        if hp.ic_dim > 0:
            code = (None, 2 * hp.ic_enc_dim)
            shapes |= {self.ic_encoder: encoded, self.ic_prior: ()}
            shapes |= {self.post_g0_mean: code, self.post_g0_logvar: code}
        if self.has_controller:
            fed_back = 0
            if hp.do_feed_factors_to_controller:
                fed_back = spec.max_channels if hp.feedback_factors_or_rates == "rates" else hp.factors_dim
            shapes |= {self.ci_encoder: encoded, self.co_prior: ()}
            shapes |= {self.controller: (None, self.controller.num_encoded + fed_back)}
        inputs = hp.co_dim + (hp.ext_input_dim if self.injects_ext_input else 0)
        shapes |= {self.generator: (None, None, inputs), self.observation: (None, None, hp.factors_dim)}
        for layer, shape in shapes.items():
            # None stands for what this model lacks; a user's prior may have made its weights already.
            if layer is not None and not layer.built:
                layer.build(shape)

    def get_config(self):
        """The constructor's arguments in plain values."""
        options = {"native": self.scan_options["native"], "for_training": self.scan_options["save_for_gradient"]}
        return {"name": self.name, "spec": self.spec.as_dict(), "seed": self.seed, **options}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """The model of such a configuration, with the initial weights of its seed."""
        spec = ModelSpec.from_dict(config["spec"])
        check_imported(spec.hyperparameters)
        return cls(**config | {"spec": spec})

    def get_build_config(self):
        """Nothing: the constructor builds."""

    def encode(self, batch: Batch, masks: Masks = Masks()) -> Encoding:  # noqa: B008
        """Encoders and the posterior of the initial condition."""
        hp = self.spec.hyperparameters
        ext_input = batch.ext_input if masks.ext_input is None else batch.ext_input * masks.ext_input
        data = batch.data if masks.data is None else batch.data * masks.data
        x = data if self.read_in is None else self.read_in(data, batch.session)
        if self.encodes_ext_input:
            x = tf.concat([x, ext_input[: x.shape[0]]], axis=-1)
        ic_forward = ic_reverse = ci_forward = ci_reverse = mean = logvar = None
        if hp.ic_dim > 0:
            (ic_forward, last_forward), (ic_reverse, last_reverse) = self.ic_encoder(x[: self.num_ic_bins])
            code = tf.concat([last_forward, last_reverse], axis=-1)
            code = code if masks.ic_code is None else code * masks.ic_code
            mean, logvar = self.post_g0_mean(code), self.post_g0_logvar(code)
            if hp.ic_post_var_min > 0:
                logvar = tf.math.log(tf.exp(logvar) + hp.ic_post_var_min)
        if self.has_controller:
            ci_forward, ci_reverse = self.ci_encoder(x[self.first_bin :])
        if self.first_bin and ext_input is not None:
            ext_input = ext_input[self.first_bin :]
        encoding = Encoding(
            ic_forward, ic_reverse, ci_forward, ci_reverse, mean, logvar, ext_input, None, None, tf.shape(x)[1]
        )
        if not self.has_controller:
            return encoding
        # The encoded part of the controller's pre-activations: all bins in one product, once a trial.
        code = self.controller_code(encoding)
        gates, candidate = self.controller.encoded_parts(code if masks.con_code is None else code * masks.con_code)
        return encoding._replace(con_x_gates=gates, con_x_candidate=candidate)

    def controller_code(self, encoding: Encoding):
        """T x B x (2C or C): forward encoding of ``lag`` bins ago, reverse encoding of ``lag`` bins ahead, else 0.

        Beyond the encoded bins all is 0: what is predicted there comes from the generator's own dynamics.
        """
        lag, encoded = self.spec.hyperparameters.controller_input_lag, self.spec.data_bins - self.first_bin
        beyond = self.spec.num_bins - encoded

        def shifted(states, first: int, before: int):
            # tf.slice, whose gradient is a padding: that of states[...] is several times as slow (docs/performance.md).
            kept = tf.slice(states, [first, 0, 0], [encoded - lag, -1, -1])
            return tf.pad(kept, [[before, lag - before + beyond], [0, 0], [0, 0]])

        parts = [shifted(encoding.ci_forward, 0, lag)]
        if encoding.ci_reverse is not None:
            parts.append(shifted(encoding.ci_reverse, lag, 0))
        return tf.concat(parts, axis=-1)

    def decode(self, encoding: Encoding, session, noise: Noise, masks: Masks = Masks()) -> Outputs:  # noqa: B008
        """From an encoding and noise to factors and read-out."""
        hp = self.spec.hyperparameters
        num_trials = encoding.num_trials
        code = prior_mean = prior_logvar = None
        if hp.ic_dim > 0:
            if self.ic_prior is not None:
                prior_mean, prior_logvar = self.ic_prior(num_trials)
            code = encoding.post_g0_mean + tf.exp(0.5 * encoding.post_g0_logvar) * noise.g0
        gen_ics = self.generator.initial_states(code, num_trials)
        if self.has_controller:
            ext_input = encoding.ext_input if self.injects_ext_input else None
            decoded = controlled_scan(
                self.controller, self.generator, (encoding.con_x_gates, encoding.con_x_candidate), ext_input, noise.co,
                masks, gen_ics, self._rate_feedback(session),
            )  # fmt: skip
        else:
            inputs = self._generator_inputs(None, encoding.ext_input, num_trials)
            decoded = DecoderOutputs(None, None, None, None, *self.generator(inputs, gen_ics, masks.gen_out))
        parameters = self.observation(decoded.factors, session)
        return Outputs(encoding, prior_mean, prior_logvar, code, gen_ics, decoded, parameters)

    def call(self, batch: Batch, noise: Noise, masks: Masks = Masks()) -> Outputs:  # noqa: B008
        """Encodes and decodes a batch."""
        return self.decode(self.encode(batch, masks), batch.session, noise, masks)

    def generate(self, session, g0_noise, co_noise, ext_input=None) -> Outputs:
        """Draws from the prior: g0_noise B x Z, co_noise T x B x U standard normal, ext_input T x B x I if injected."""
        hp = self.spec.hyperparameters
        num_trials = tf.shape(co_noise)[1]
        code = mean = logvar = u = None
        if hp.ic_dim > 0:
            mean, logvar = self.ic_prior(num_trials)
            code = self.ic_prior.sample(g0_noise)
        if self.has_controller:
            u = self.co_prior.sample(co_noise)
        gen_ics = self.generator.initial_states(code, num_trials)
        decoded = self.generator(self._generator_inputs(u, ext_input, num_trials), gen_ics)
        decoded = DecoderOutputs(None, None, None, u, *decoded)
        parameters = self.observation(decoded.factors, session)
        return Outputs(None, mean, logvar, code, gen_ics, decoded, parameters)

    def _generator_inputs(self, u, ext_input, num_trials):
        """[u, injected external inputs], T x B x inputs, whichever exist."""
        parts = ([] if u is None else [u]) + ([ext_input] if self.injects_ext_input else [])
        return tf.concat(parts, axis=-1) if parts else tf.zeros([self.spec.num_bins, num_trials, 0])

    def _rate_feedback(self, session):
        """Previous factors -> previous rates, for a controller that reads rates; else None."""
        hp = self.spec.hyperparameters
        if not hp.do_feed_factors_to_controller or hp.feedback_factors_or_rates != "rates":
            return None

        def rates(factors, first: bool):
            return self.observation.feedback_rates(self.observation(factors, session), first)

        return rates
