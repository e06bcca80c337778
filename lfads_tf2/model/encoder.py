"""Encoders: a forward and a reverse GRU over the data, for the initial condition and for the controller's input."""

from __future__ import annotations

import keras
import tensorflow as tf

from lfads_tf2.model.affine import Linear, WeightInit, project
from lfads_tf2.model.scans import gru_scan


class Encoder(keras.layers.Layer):
    """A GRU over the data in one direction, with a learned initial state.

    One matrix acts on [input, state] for the gates and one for the candidate, input rows first.
    """

    def __init__(self, inputs: int, units: int, scale: float, scan: dict, init: WeightInit, **kwargs):
        """``scan``: keyword arguments of ``gru_scan``."""
        super().__init__(**kwargs)
        self.num_inputs, self.scan = inputs, scan
        self.gates = Linear(inputs + units, 2 * units, init, scale=scale, name="gates")
        self.candidate = Linear(inputs + units, units, init, name="candidate")
        self.initial_state = self.add_weight(shape=(1, units), initializer="zeros", name="initial_state")
        self.built = True

    @property
    def regularised(self):
        """What the L2 penalty covers: the recurrent rows and the biases."""
        rows = [linear.kernel.value[self.num_inputs :] for linear in (self.gates, self.candidate)]
        return [*rows, self.gates.bias.value, self.candidate.bias.value]

    def call(self, x):
        """T x B x inputs -> T x B x units, indexed by data time."""
        weights = []
        for linear in (self.gates, self.candidate):
            kernel = tf.convert_to_tensor(linear.kernel)
            from_input, from_state = kernel[: self.num_inputs], kernel[self.num_inputs :]
            weights.append((project(x, from_input, linear.bias), from_state))
        (x_gates, w_gates), (x_candidate, w_candidate) = weights
        start = tf.tile(tf.convert_to_tensor(self.initial_state), [tf.shape(x)[1], 1])
        return gru_scan(x_gates, x_candidate, start, w_gates, w_candidate, **self.scan)


class BidirectionalEncoder(keras.layers.Layer):
    """A forward and, unless ``causal``, a reverse encoder with weights of their own."""

    def __init__(self, inputs: int, units: int, scale: float, scan: dict, init: WeightInit, causal=False, **kwargs):
        super().__init__(**kwargs)
        self.forward = Encoder(inputs, units, scale, scan, init, name="forward")
        self.reverse = None
        if not causal:
            self.reverse = Encoder(inputs, units, scale, scan | {"reverse": True}, init, name="reverse")
        self.built = True

    @property
    def regularised(self):
        """What the L2 penalty covers in both directions."""
        return [tensor for layer in (self.forward, self.reverse) if layer is not None for tensor in layer.regularised]

    def call(self, x):
        """T x B x inputs -> (forward states, reverse states or None), each T x B x units."""
        return self.forward(x), None if self.reverse is None else self.reverse(x)
