"""The clipped GRU as Keras cells, with the two layouts of weights that the original has.

``keras.layers.RNN(cell)`` runs one in Keras' own loop; ``scan`` gives the same states in ours, which is what the model
uses. The equations are in ``lfads_tf2.model.gru``.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from lfads_tf2.model.affine import Linear, project, serializable, unseeded
from lfads_tf2.model.gru import gru_step
from lfads_tf2.model.loops import GruInputs
from lfads_tf2.model.scans import gru_scan


class _GRUCell(keras.layers.Layer):
    """What both layouts share. ``gates`` and ``candidate`` are the maps that hold the recurrent weights and biases."""

    def __init__(self, units: int, clip: float, **kwargs):
        super().__init__(**kwargs)
        self.state_size = self.output_size = units
        self.clip = clip

    def biases(self):
        """1 x 2H and 1 x H."""
        return [tf.convert_to_tensor(linear.bias) for linear in (self.gates, self.candidate)]

    @property
    def regularised(self):
        """What the L2 penalty covers: the recurrent weights and the biases."""
        return [*self.recurrent_kernels(), *self.biases()]

    def input_parts(self, x):
        """... x inputs -> their part of the pre-activations, biases included: ... x 2H and ... x H."""
        return [project(x, *weights) for weights in zip(self.input_kernels(), self.biases(), strict=True)]

    def call(self, inputs, states):
        """One step, as ``keras.layers.RNN`` asks for it: B x inputs and [B x H] -> B x H and [B x H]."""
        (state,) = states
        after, *_ = gru_step(*self.input_parts(inputs), state, *self.recurrent_kernels(), self.clip)
        return after, [after]

    def scan(self, inputs, initial_state, **options):
        """T x B x inputs and B x H -> T x B x H states, indexed by data time; ``options``: those of ``gru_scan``."""
        weights = *self.input_kernels(), *self.biases(), *self.recurrent_kernels()
        return gru_scan(GruInputs(inputs, initial_state, *weights), clip=self.clip, **options)


@serializable
class ClippedGRUCell(_GRUCell):
    """A GRU whose states are limited; one matrix on [input, state] for the gates and one for the candidate.

    Input rows come first. The encoders' cell (the original's ``GRU``).

    Args:
        units: size of the state.
        clip: states are limited to plus or minus this.
        scale: of the gates' initial weights; the candidate's has always scale 1, as in the original.
        seeds: of gates and candidate.
    """

    def __init__(self, units: int, clip: float = 5.0, scale: float = 1.0, seeds: list[int] | None = None, **kwargs):
        super().__init__(units, clip, **kwargs)
        of_gates, of_candidate = unseeded(seeds, 2)
        self.gates = Linear(2 * units, of_gates, scale, name="gates")
        self.candidate = Linear(units, of_candidate, name="candidate")

    def build(self, input_shape):
        """Weights for inputs of this many last-axis entries."""
        self.num_inputs = input_shape[-1]
        for linear in (self.gates, self.candidate):
            linear.build((None, self.num_inputs + self.state_size))

    def input_kernels(self):
        """inputs x 2H and inputs x H."""
        return [tf.convert_to_tensor(linear.kernel)[: self.num_inputs] for linear in (self.gates, self.candidate)]

    def recurrent_kernels(self):
        """H x 2H and H x H."""
        return [tf.convert_to_tensor(linear.kernel)[self.num_inputs :] for linear in (self.gates, self.candidate)]


@serializable
class GenGRUCell(_GRUCell):
    """The same with matrices of their own for inputs and for the state, biases with the latter.

    The cell of generator and controller (the original's ``GenGRU``).

    Args:
        units, clip: as in ``ClippedGRUCell``.
        has_inputs: False for a cell that is driven by its initial state alone; its inputs have width 0.
        input_scale, recurrent_scale: of the initial weights.
        seeds: of input gates, gates, input candidate and candidate; without inputs of gates and candidate.
    """

    def __init__(
        self, units: int, clip: float = 5.0, has_inputs: bool = True, input_scale: float = 1.0,
        recurrent_scale: float = 1.0, seeds: list[int] | None = None, **kwargs,
    ):  # fmt: skip
        super().__init__(units, clip, **kwargs)
        self.has_inputs, seeds = has_inputs, iter(unseeded(seeds, 4))

        def linear(name, columns, of_inputs):
            scale = input_scale if of_inputs else recurrent_scale
            return Linear(columns, next(seeds), scale, use_bias=not of_inputs, name=name)

        self.input_gates = linear("x_2_ru", 2 * units, True) if has_inputs else None
        self.gates = linear("h_2_ru", 2 * units, False)
        self.input_candidate = linear("x_2_c", units, True) if has_inputs else None
        self.candidate = linear("rh_2_c", units, False)

    def build(self, input_shape):
        """Weights for inputs of this many last-axis entries."""
        for linear in (self.input_gates, self.input_candidate) if self.has_inputs else ():
            linear.build((None, input_shape[-1]))
        for linear in (self.gates, self.candidate):
            linear.build((None, self.state_size))

    def input_kernels(self):
        """inputs x 2H and inputs x H; 0 x 2H and 0 x H where there are none."""
        if not self.has_inputs:
            return [kernel[:0] for kernel in self.recurrent_kernels()]
        return [tf.convert_to_tensor(linear.kernel) for linear in (self.input_gates, self.input_candidate)]

    def recurrent_kernels(self):
        """H x 2H and H x H."""
        return [tf.convert_to_tensor(linear.kernel) for linear in (self.gates, self.candidate)]

    @property
    def regularised(self):
        """The same, each map's matrix before its bias: the order in which the original sums."""
        return [part for pair in zip(self.recurrent_kernels(), self.biases(), strict=True) for part in pair]
