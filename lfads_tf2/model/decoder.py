"""Controller and generator: their weights, and the generator's run without a controller.

At each bin the controller reads the encoding and the previous factors, infers an input u to the generator, and the
generator's new state gives the factors (``lfads_tf2.model.scans``). All noise and dropout masks are drawn beforehand,
so that the step is a pure function and sampling, averaging and pushing means through are one path.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from lfads_tf2.hyperparameters import HyperParameters
from lfads_tf2.model.affine import FactorMap, Linear, WeightInit, project
from lfads_tf2.model.loops import DecoderOutputs
from lfads_tf2.model.scans import gru_scan


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
