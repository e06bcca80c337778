"""Encoders: a forward and a reverse GRU over the data, for the initial condition and for the controller's input.

Sussillo et al. 2016, section 2.2; the original's ``ic_enc`` and ``ci_enc``.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from lfads_tf2.model.affine import serializable, unseeded
from lfads_tf2.model.cells import ClippedGRUCell


@serializable
class Encoder(keras.layers.Layer):
    """A GRU over the data in one direction, with a learned initial state.

    Args:
        units: size of the state.
        clip, scale, seeds: of the cell.
        reverse: from the last bin to the first.
        native, save_for_gradient, with_last: as ``gru_scan`` has them.
    """

    def __init__(
        self, units: int, clip: float = 5.0, scale: float = 1.0, reverse: bool = False, native: bool = False,
        save_for_gradient: bool = True, with_last: bool = False, seeds: list[int] | None = None, **kwargs,
    ):  # fmt: skip
        super().__init__(**kwargs)
        self.options = {
            "reverse": reverse, "native": native, "save_for_gradient": save_for_gradient, "with_last": with_last
        }  # fmt: skip
        self.cell = ClippedGRUCell(units, clip, scale, seeds, name="cell")
        # Checkpoints know the cell's maps under these names.
        self.gates, self.candidate = self.cell.gates, self.cell.candidate

    def build(self, input_shape):
        """Weights for inputs of this many last-axis entries."""
        self.cell.build(input_shape)
        shape = (1, self.cell.state_size)
        self.initial_state = self.add_weight(shape=shape, initializer="zeros", name="initial_state")

    @property
    def regularised(self):
        """What the L2 penalty covers."""
        return self.cell.regularised

    def call(self, x):
        """T x B x inputs -> T x B x units, indexed by data time; with ``with_last`` the last state, B x units, too."""
        start = tf.tile(tf.convert_to_tensor(self.initial_state), [tf.shape(x)[1], 1])
        return self.cell.scan(x, start, **self.options)

    def compute_output_shape(self, input_shape):
        """For summaries."""
        states = (*input_shape[:-1], self.cell.state_size)
        return (states, states[1:]) if self.options["with_last"] else states


@serializable
class BidirectionalEncoder(keras.layers.Layer):
    """A forward and, unless ``causal``, a reverse encoder with weights of their own; arguments as in ``Encoder``.

    ``seeds``: those of the forward cell, then those of the reverse one.
    """

    def __init__(
        self, units: int, clip: float = 5.0, scale: float = 1.0, causal: bool = False, native: bool = False,
        save_for_gradient: bool = True, with_last: bool = False, seeds: list[int] | None = None, **kwargs,
    ):  # fmt: skip
        super().__init__(**kwargs)
        seeds = unseeded(seeds, 4)

        def encoder(reverse, seeds):
            name = "reverse" if reverse else "forward"
            return Encoder(units, clip, scale, reverse, native, save_for_gradient, with_last, seeds, name=name)

        self.forward = encoder(False, seeds[:2])
        self.reverse = None if causal else encoder(True, seeds[2:])

    @property
    def directions(self) -> list[Encoder]:
        """The encoders that there are, forward first."""
        return [self.forward] if self.reverse is None else [self.forward, self.reverse]

    def build(self, input_shape):
        """Weights for inputs of this many last-axis entries."""
        for encoder in self.directions:
            encoder.build(input_shape)

    @property
    def regularised(self):
        """What the L2 penalty covers in both directions."""
        return [tensor for encoder in self.directions for tensor in encoder.regularised]

    def call(self, x):
        """T x B x inputs -> (forward states, reverse states or None), each T x B x units.

        With ``with_last`` each is a pair, as ``Encoder`` gives it.
        """
        return self.forward(x), None if self.reverse is None else self.reverse(x)
