"""LFADS: the sequential variational autoencoder as one keras.Model.

A batch (time-major, all trials of one session) and noise go in, every latent and the read-out come out. The model
draws nothing itself: see ``lfads_tf2.noise``.
"""

from __future__ import annotations

from typing import NamedTuple

import keras
import tensorflow as tf

from lfads_tf2.model.affine import Linear, WeightInit, make_read_in, project
from lfads_tf2.model.decoder import Controller, Generator
from lfads_tf2.model.encoder import BidirectionalEncoder
from lfads_tf2.model.gamma import make_observation
from lfads_tf2.model.loops import DecoderInputs, DecoderOutputs
from lfads_tf2.model.priors import InitialConditionPrior, make_co_prior, normal_to_student_t
from lfads_tf2.model.scans import decoder_scan
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


class LFADS(keras.Model):
    """Latent Factor Analysis via Dynamical Systems.

    Args:
        spec: hyperparameters with the number of bins and the sessions' channels.
        seed: of the initial weights.
        native: run the loops over time in the compiled CPU kernels; they are not for GPUs and not for XLA.
        for_training: False keeps nothing for gradients, which the kernels need much memory for.
    """

    def __init__(self, spec: ModelSpec, seed: int = 0, native: bool = False, for_training: bool = True, **kwargs):
        super().__init__(**kwargs)
        hp, init = spec.hyperparameters, WeightInit(seed)
        self.spec = spec
        self.causal, self.has_controller = hp.do_causal_controller, hp.co_dim > 0
        self.encodes_ext_input = hp.ext_input_dim > 0 and not hp.inject_ext_input_to_gen
        self.injects_ext_input = hp.ext_input_dim > 0 and hp.inject_ext_input_to_gen
        self.first_bin = spec.first_bin
        self.num_ic_steps = self.first_bin or min(hp.num_steps_for_gen_ic, spec.data_steps)
        self.read_in = make_read_in(spec, init)
        width = spec.max_encoded if self.read_in is None else hp.factors_dim
        width += hp.ext_input_dim if self.encodes_ext_input else 0
        self.scan_options = {"clip": hp.cell_clip_value, "native": native, "save_for_gradient": for_training}
        scale = hp.cell_weight_scale
        if hp.ic_dim > 0:
            self.ic_encoder = BidirectionalEncoder(
                width, hp.ic_enc_dim, scale, self.scan_options, init, name="ic_encoder"
            )
            self.post_g0_mean = Linear(2 * hp.ic_enc_dim, hp.ic_dim, init, name="post_g0_mean")
            self.post_g0_logvar = Linear(2 * hp.ic_enc_dim, hp.ic_dim, init, name="post_g0_logvar")
            self.ic_prior = None if hp.ic_prior == "none" else InitialConditionPrior(hp, name="prior_g0")
        generator_inputs = hp.co_dim + (hp.ext_input_dim if self.injects_ext_input else 0)
        if self.has_controller:
            self.ci_encoder = BidirectionalEncoder(
                width, hp.ci_enc_dim, scale, self.scan_options, init, causal=self.causal, name="ci_encoder"
            )
            feedback = 0
            if hp.do_feed_factors_to_controller:
                rates = hp.feedback_factors_or_rates == "rates"
                feedback = spec.max_channels if rates else hp.factors_dim
            self.num_encoded = hp.ci_enc_dim * (1 if self.causal else 2)
            self.controller = Controller(self.num_encoded + feedback, hp, init, name="controller")
            self.co_prior = make_co_prior(hp)
        self.generator = Generator(generator_inputs, hp, self.scan_options, init, name="generator")
        self.observation = make_observation(spec, init, name="observation")
        self.built = True

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
            ic_forward, ic_reverse = self.ic_encoder(x[: self.num_ic_steps])
            code = tf.concat([ic_forward[-1], ic_reverse[0]], axis=-1)
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
        return self._for_controller(encoding, masks) if self.has_controller else encoding

    def _for_controller(self, encoding: Encoding, masks: Masks) -> Encoding:
        """Adds the encoded part of the controller's pre-activations: all bins in one product, once a trial."""
        cell, code = self.controller.cell, self.controller_code(encoding)
        code = code if masks.con_code is None else code * masks.con_code
        gates, candidate = (
            project(code, kernel[: self.num_encoded], bias)
            for kernel, bias in zip(cell.input_kernels(), cell.biases(), strict=True)
        )
        return encoding._replace(con_x_gates=gates, con_x_candidate=candidate)

    def controller_code(self, encoding: Encoding):
        """T x B x (2C or C): forward encoding of ``lag`` bins ago, reverse encoding of ``lag`` bins ahead, else 0.

        Beyond the encoded bins all is 0: what is predicted there comes from the generator's own dynamics.
        """
        lag, encoded = self.spec.hyperparameters.controller_input_lag, self.spec.data_steps - self.first_bin
        beyond = self.spec.num_steps - encoded
        shifted = [tf.pad(encoding.ci_forward[: encoded - lag], [[lag, beyond], [0, 0], [0, 0]])]
        if not self.causal:
            shifted.append(tf.pad(encoding.ci_reverse[lag:], [[0, lag + beyond], [0, 0], [0, 0]]))
        return tf.concat(shifted, axis=-1)

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
            decoded = self._controlled_scan(encoding, session, noise, masks, gen_ics)
        else:
            inputs = self._generator_inputs(None, encoding.ext_input, num_trials)
            decoded = self.generator.scan(inputs, gen_ics, masks.gen_out)
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
            if hp.ic_prior == "student_t":
                g0_noise = normal_to_student_t(g0_noise, hp.ic_prior_df)
            code = mean + tf.exp(0.5 * logvar) * g0_noise
        if self.has_controller:
            u = self.co_prior.sample(co_noise)
        gen_ics = self.generator.initial_states(code, num_trials)
        decoded = self.generator.scan(self._generator_inputs(u, ext_input, num_trials), gen_ics, None)._replace(u=u)
        parameters = self.observation(decoded.factors, session)
        return Outputs(None, mean, logvar, code, gen_ics, decoded, parameters)

    def _generator_inputs(self, u, ext_input, num_trials):
        """[u, injected external inputs], T x B x inputs, whichever exist."""
        parts = ([] if u is None else [u]) + ([ext_input] if self.injects_ext_input else [])
        return tf.concat(parts, axis=-1) if parts else tf.zeros([self.spec.num_steps, num_trials, 0])

    def _controlled_scan(self, encoding, session, noise, masks, gen_ics) -> DecoderOutputs:
        hp, controller, cell = self.spec.hyperparameters, self.controller, self.generator.cell
        for_gates, for_candidate = controller.cell.input_kernels()
        split = self.num_encoded
        feeds_back = hp.do_feed_factors_to_controller
        gen_x_gates, gen_x_candidate = (bias[None] for bias in cell.biases())
        u_gates, u_candidate = cell.input_kernels()
        if self.injects_ext_input:
            gen_x_gates = project(encoding.ext_input, u_gates[hp.co_dim :], gen_x_gates)
            gen_x_candidate = project(encoding.ext_input, u_candidate[hp.co_dim :], gen_x_candidate)
        con_w_gates, con_w_candidate = controller.cell.recurrent_kernels()
        gen_w_gates, gen_w_candidate = cell.recurrent_kernels()
        inputs = DecoderInputs(
            con_x_gates=encoding.con_x_gates,
            con_x_candidate=encoding.con_x_candidate,
            con_h0=tf.tile(tf.convert_to_tensor(controller.initial_state), [encoding.num_trials, 1]),
            con_w_gates=con_w_gates,
            con_w_candidate=con_w_candidate,
            fb_w_gates=for_gates[split:] if feeds_back else None,
            fb_w_candidate=for_candidate[split:] if feeds_back else None,
            fb_mask=masks.feedback,
            w_mean=tf.convert_to_tensor(controller.mean.kernel),
            b_mean=tf.convert_to_tensor(controller.mean.bias),
            w_logvar=tf.convert_to_tensor(controller.logvar.kernel),
            b_logvar=tf.convert_to_tensor(controller.logvar.bias),
            noise=noise.co,
            gen_x_gates=gen_x_gates,
            gen_x_candidate=gen_x_candidate,
            gen_u_w_gates=u_gates[: hp.co_dim],
            gen_u_w_candidate=u_candidate[: hp.co_dim],
            gen_h0=gen_ics,
            gen_w_gates=gen_w_gates,
            gen_w_candidate=gen_w_candidate,
            gen_mask=masks.gen_out,
            fac_w=self.generator.factor_map.normalised(),
        )
        return decoder_scan(inputs, feedback=self._rate_feedback(session), **self.scan_options)

    def _rate_feedback(self, session):
        """Previous factors -> previous rates, for a controller that reads rates; else None."""
        hp = self.spec.hyperparameters
        if not hp.do_feed_factors_to_controller or hp.feedback_factors_or_rates != "rates":
            return None

        def rates(factors, first: bool):
            return self.observation.feedback_rates(self.observation(factors, session), first)

        return rates
