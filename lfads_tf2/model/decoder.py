"""Controller and generator: one decoder step, and the scan over time.

At each bin the controller reads the encoding and the previous factors, infers an input u to the generator, and the
generator's new state gives the factors. All noise and dropout masks are drawn beforehand, so that the step is a pure
function and sampling, averaging and pushing means through are one path.
"""

from __future__ import annotations

from collections.abc import Callable

import keras
import tensorflow as tf

from lfads_tf2.hyperparameters import HyperParameters
from lfads_tf2.model import native_ops
from lfads_tf2.model.affine import FactorMap, Linear, WeightInit, project
from lfads_tf2.model.gru import gru_scan, gru_step, time_array
from lfads_tf2.types import DecoderInputs, DecoderOutputs


def decoder_step(inputs: DecoderInputs, read, con_state, gen_state, feedback, clip: float):
    """One bin: k = GRU(encoding, feedback); u ~ N(k W_m + b_m, exp(k W_v + b_v)); g = GRU(u); f = (g ⊙ mask) W_fac.

    ``read(name)`` gives this bin's row of a T x ... input, or None. Returns the row of each of DecoderOutputs.
    """
    x_gates, x_candidate = read("con_x_gates"), read("con_x_candidate")
    if inputs.fb_w_gates is not None:
        mask = read("fb_mask")
        feedback = feedback if mask is None else feedback * mask
        x_gates = x_gates + tf.matmul(feedback, inputs.fb_w_gates)
        x_candidate = x_candidate + tf.matmul(feedback, inputs.fb_w_candidate)
    con_state = gru_step(x_gates, x_candidate, con_state, inputs.con_w_gates, inputs.con_w_candidate, clip)
    mean = tf.matmul(con_state, inputs.w_mean) + inputs.b_mean
    logvar = tf.matmul(con_state, inputs.w_logvar) + inputs.b_logvar
    u = mean + tf.exp(0.5 * logvar) * read("noise")
    gen_state = gru_step(
        read("gen_x_gates") + tf.matmul(u, inputs.gen_u_w_gates),
        read("gen_x_candidate") + tf.matmul(u, inputs.gen_u_w_candidate),
        gen_state,
        inputs.gen_w_gates,
        inputs.gen_w_candidate,
        clip,
    )
    mask = read("gen_mask")
    factors = tf.matmul(gen_state if mask is None else gen_state * mask, inputs.fac_w)
    return DecoderOutputs(con_state, mean, logvar, u, gen_state, factors)


def decoder_scan_plain(inputs: DecoderInputs, clip: float, feedback: Callable) -> DecoderOutputs:
    """The scan in plain TensorFlow operations; arguments and result as ``decoder_scan``."""
    num_steps, num_trials = inputs.noise.shape[0], inputs.noise.shape[1]
    stacked = ("con_x_gates", "con_x_candidate", "fb_mask", "noise", "gen_x_gates", "gen_x_candidate", "gen_mask")
    present = {name: getattr(inputs, name) for name in stacked if getattr(inputs, name) is not None}
    # A row that is the same at every bin stays outside the loop.
    constant = {name: value[0] for name, value in present.items() if name.startswith("gen_x") and value.shape[0] == 1}
    arrays = {name: time_array(value, num_steps) for name, value in present.items() if name not in constant}
    widths = {
        "con_states": inputs.con_h0.shape[1], "co_mean": inputs.noise.shape[2], "co_logvar": inputs.noise.shape[2],
        "u": inputs.noise.shape[2], "gen_states": inputs.gen_h0.shape[1], "factors": inputs.fac_w.shape[1],
    }  # fmt: skip
    results = [tf.TensorArray(tf.float32, num_steps, element_shape=[num_trials, width]) for width in widths.values()]

    def step(t, con_state, gen_state, fed_back, *written):
        def read(name):
            return constant[name] if name in constant else arrays[name].read(t) if name in arrays else None

        now = decoder_step(inputs, read, con_state, gen_state, fed_back, clip)
        written = [array.write(t, value) for array, value in zip(written, now, strict=True)]
        return t + 1, now.con_states, now.gen_states, feedback(now.factors, False), *written

    before = feedback(tf.matmul(inputs.gen_h0, inputs.fac_w), True)
    start = (0, inputs.con_h0, inputs.gen_h0, before, *results)
    written = tf.while_loop(lambda t, *_: t < num_steps, step, start, maximum_iterations=num_steps)[4:]
    outputs = DecoderOutputs(*(array.stack() for array in written))
    for output, width in zip(outputs, widths.values(), strict=True):
        output.set_shape([num_steps, num_trials, width])
    return outputs


def decoder_scan(
    inputs: DecoderInputs,
    clip: float,
    feedback: Callable | None = None,
    native: bool = False,
    save_for_gradient: bool = True,
) -> DecoderOutputs:
    """Controller, inferred inputs, generator and factors over time.

    Args:
        inputs: see DecoderInputs.
        clip: states are limited to plus or minus this.
        feedback: ``(factors B x F, first: bool) -> B x ...``, what the controller sees of the previous bin; None: the
            factors themselves.
        native: use the compiled CPU kernels, which give the same numbers faster; they know factors as feedback only.
        save_for_gradient: False: the kernels keep nothing for gradients.
    """
    if native and feedback is None:
        return native_ops.decoder_scan(inputs, clip, save_for_gradient)
    return decoder_scan_plain(inputs, clip, feedback or (lambda factors, first: factors))


class RecurrentCell(keras.layers.Layer):
    """Weights of a GRU whose input and recurrent parts have separate matrices ("GenGRU")."""

    def __init__(self, inputs: int, units: int, init: WeightInit, input_scale: float, recurrent_scale: float, **kwargs):
        super().__init__(**kwargs)

        def linear(rows, columns, scale, use_bias, name):
            return Linear(rows, columns, init, scale=scale, use_bias=use_bias, name=name)

        self.input_gates = linear(inputs, 2 * units, input_scale, False, "x_2_ru") if inputs else None
        self.gates = linear(units, 2 * units, recurrent_scale, True, "h_2_ru")
        self.input_candidate = linear(inputs, units, input_scale, False, "x_2_c") if inputs else None
        self.candidate = linear(units, units, recurrent_scale, True, "rh_2_c")
        self.built = True

    @property
    def regularised(self):
        """What the L2 penalty covers: the recurrent matrices and their biases."""
        return [self.gates.kernel, self.gates.bias, self.candidate.kernel, self.candidate.bias]

    def biases(self):
        """1 x 2H and 1 x H."""
        return tf.convert_to_tensor(self.gates.bias), tf.convert_to_tensor(self.candidate.bias)

    def input_kernels(self):
        """inputs x 2H and inputs x H."""
        return tf.convert_to_tensor(self.input_gates.kernel), tf.convert_to_tensor(self.input_candidate.kernel)

    def recurrent_kernels(self):
        """H x 2H and H x H."""
        return tf.convert_to_tensor(self.gates.kernel), tf.convert_to_tensor(self.candidate.kernel)


class Controller(keras.layers.Layer):
    """Encoding and feedback -> posterior of the inferred inputs."""

    def __init__(self, inputs: int, hp: HyperParameters, init: WeightInit, **kwargs):
        super().__init__(**kwargs)
        scale = hp.cell_weight_scale
        self.cell = RecurrentCell(inputs, hp.con_dim, init, scale, scale, name="cell")
        self.initial_state = self.add_weight(shape=(1, hp.con_dim), initializer="zeros", name="c0")
        self.mean = Linear(hp.con_dim, hp.co_dim, init, name="mean")
        self.logvar = Linear(hp.con_dim, hp.co_dim, init, name="logvar")
        self.built = True


class Generator(keras.layers.Layer):
    """Initial condition and inputs -> generator states -> factors."""

    def __init__(self, inputs: int, hp: HyperParameters, scan: dict, init: WeightInit, **kwargs):
        """``scan``: keyword arguments of ``gru_scan``."""
        super().__init__(**kwargs)
        input_scale, recurrent_scale = hp.gen_cell_input_weight_scale, hp.gen_cell_rec_weight_scale
        self.scan_options = scan
        self.cell = RecurrentCell(inputs, hp.gen_dim, init, input_scale, recurrent_scale, name="cell")
        self.initial_state = self.from_code = None
        if hp.ic_dim == 0:
            self.initial_state = self.add_weight(shape=(1, hp.gen_dim), initializer="zeros", name="g0")
        elif hp.ic_dim != hp.gen_dim:
            self.from_code = Linear(hp.ic_dim, hp.gen_dim, init, name="g0_2_gen_ic")
        self.factor_map = FactorMap(hp.gen_dim, hp.factors_dim, init, name="gen_2_fac")
        self.built = True

    def initial_states(self, code, num_trials):
        """Code, B x Z or None -> state before the first bin, B x G; the identity when Z = G."""
        if code is None:
            return tf.tile(tf.convert_to_tensor(self.initial_state), [num_trials, 1])
        return code if self.from_code is None else self.from_code(code)

    def scan(self, inputs, initial_state, mask) -> DecoderOutputs:
        """Without a controller: inputs T x B x inputs (T x B x 0 for none), initial state B x G."""
        x_gates, x_candidate = self.cell.biases()
        if self.cell.input_gates is not None:
            for_gates, for_candidate = self.cell.input_kernels()
            x_gates, x_candidate = project(inputs, for_gates, x_gates), project(inputs, for_candidate, x_candidate)
        else:
            leading = tf.concat([tf.shape(inputs)[:2], [1]], axis=0)
            x_gates, x_candidate = tf.tile(x_gates[None], leading), tf.tile(x_candidate[None], leading)
        states = gru_scan(x_gates, x_candidate, initial_state, *self.cell.recurrent_kernels(), **self.scan_options)
        factors = project(states if mask is None else states * mask, self.factor_map.normalised())
        return DecoderOutputs(None, None, None, None, states, factors)
