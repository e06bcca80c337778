"""Controller and generator, alone and together.

At each bin the controller reads the encoding and the previous factors, infers an input u to the generator, and the
generator's new state gives the factors. All noise and dropout masks are drawn beforehand, so that the step is a pure
function and sampling, averaging and pushing means through are one path. Sussillo et al. 2016, section 2.1 (generator)
and 2.3 (controller); Pandarinath et al. 2018, Supplementary Figure 12.
"""

from __future__ import annotations

from collections.abc import Callable

import keras
import tensorflow as tf

from lfads_tf2.model.affine import FactorMap, Linear, project, serializable, unseeded
from lfads_tf2.model.cells import GenGRUCell
from lfads_tf2.model.loops import DecoderInputs, DecoderOutputs
from lfads_tf2.model.scans import decoder_scan
from lfads_tf2.types import Masks


@serializable
class Controller(keras.layers.Layer):
    """Encoding and feedback -> posterior of the inferred inputs (the original's ``con``).

    Args:
        units: size of the state.
        num_inferred: inferred inputs.
        num_encoded: inputs that come from the encoders, the first ones; the others are fed back.
        clip, scale: of the cell.
        seeds: of the cell's four matrices, of the means' map and of the log-variances'.
    """

    def __init__(
        self, units: int, num_inferred: int, num_encoded: int, clip: float = 5.0, scale: float = 1.0,
        seeds: list[int] | None = None, **kwargs,
    ):  # fmt: skip
        super().__init__(**kwargs)
        *of_cell, of_mean, of_logvar = unseeded(seeds, 6)
        self.num_encoded = num_encoded
        self.cell = GenGRUCell(units, clip, True, scale, scale, of_cell, name="cell")
        self.mean = Linear(num_inferred, of_mean, name="mean")
        self.logvar = Linear(num_inferred, of_logvar, name="logvar")

    def build(self, input_shape):
        """Weights for inputs, encoded and fed back, of this many last-axis entries."""
        shape = (1, self.cell.state_size)
        self.initial_state = self.add_weight(shape=shape, initializer="zeros", name="c0")
        self.cell.build(input_shape)
        self.mean.build(shape)
        self.logvar.build(shape)

    def initial_states(self, num_trials):
        """The learned state before the first bin, B x K."""
        return tf.tile(tf.convert_to_tensor(self.initial_state), [num_trials, 1])

    def call(self, inputs, state):
        """One bin: B x inputs and B x K -> means and log-variances, B x U each, and the next state, B x K."""
        state, _ = self.cell(inputs, [state])
        return self.mean(state), self.logvar(state), state

    def encoded_parts(self, code):
        """Pre-activations' parts of an encoding, T x B x num_encoded, biases included: T x B x 2K and T x B x K."""
        kernels = [kernel[: self.num_encoded] for kernel in self.cell.input_kernels()]
        return [project(code, *weights) for weights in zip(kernels, self.cell.biases(), strict=True)]

    def feedback_kernels(self):
        """Weights of what is fed back, inputs x 2K and inputs x K; None each where nothing is."""
        kernels = [kernel[self.num_encoded :] for kernel in self.cell.input_kernels()]
        return kernels if kernels[0].shape[0] else [None, None]


@serializable
class Generator(keras.layers.Layer):
    """Initial condition and inputs -> generator states -> factors (the original's ``gen``).

    Args:
        units: size of the state.
        num_factors: latent factors.
        code_size: of the initial-condition code; the code is the state where both have one size, and with 0 a learned
            state takes its place.
        has_inputs, clip, input_scale, recurrent_scale: of the cell.
        native, save_for_gradient: as ``gru_scan`` has them.
        seeds: of the cell's matrices, of the code's map where there is one, and of the factors' map.
    """

    def __init__(
        self, units: int, num_factors: int, code_size: int, has_inputs: bool = True, clip: float = 5.0,
        input_scale: float = 1.0, recurrent_scale: float = 1.0, native: bool = False, save_for_gradient: bool = True,
        seeds: list[int] | None = None, **kwargs,
    ):  # fmt: skip
        super().__init__(**kwargs)
        number = self.num_matrices(units, code_size, has_inputs)
        *of_cell, of_factors = unseeded(seeds, number)
        of_code = of_cell.pop() if code_size not in (0, units) else None
        self.code_size, self.options = code_size, {"native": native, "save_for_gradient": save_for_gradient}
        self.cell = GenGRUCell(units, clip, has_inputs, input_scale, recurrent_scale, of_cell, name="cell")
        self.initial_state = self.from_code = None
        if code_size not in (0, units):
            self.from_code = Linear(units, of_code, name="g0_2_gen_ic")
        self.factor_map = FactorMap(num_factors, of_factors, name="gen_2_fac")

    @staticmethod
    def num_matrices(units: int, code_size: int, has_inputs: bool) -> int:
        """How many seeds it needs."""
        return (4 if has_inputs else 2) + (code_size not in (0, units)) + 1

    def build(self, input_shape):
        """Weights for inputs of this many last-axis entries."""
        shape = (1, self.cell.state_size)
        if self.code_size == 0:
            self.initial_state = self.add_weight(shape=shape, initializer="zeros", name="g0")
        self.cell.build(input_shape)
        if self.from_code is not None:
            self.from_code.build((None, self.code_size))
        self.factor_map.build(shape)

    def initial_states(self, code, num_trials):
        """Code, B x Z or None -> state before the first bin, B x G; the identity when Z = G."""
        if code is None:
            return tf.tile(tf.convert_to_tensor(self.initial_state), [num_trials, 1])
        return code if self.from_code is None else self.from_code(code)

    def call(self, inputs, initial_state, dropout=None):
        """States, T x B x G, and factors, T x B x F.

        Args:
            inputs: T x B x inputs; T x B x 0 for none.
            initial_state: B x G.
            dropout: T x B x G mask of what the factors see, scaled by 1/keep.
        """
        states = self.cell.scan(inputs, initial_state, **self.options)
        return states, self.factor_map(states if dropout is None else states * dropout)


def controlled_scan(
    controller: Controller, generator: Generator, encoded, ext_input, noise, masks: Masks, gen_ics,
    feedback: Callable | None,
) -> DecoderOutputs:  # fmt: skip
    """Controller and generator together over all bins.

    Args:
        encoded: pre-activations of the controller, as ``encoded_parts`` gives them.
        ext_input: T x B x I, what is injected into the generator beside the inferred inputs; None: nothing.
        noise: T x B x U.
        gen_ics: B x G.
        feedback: as ``decoder_scan`` has it.
    """
    cell = generator.cell
    num_inferred = controller.mean.units
    gen_x = [bias[None] for bias in cell.biases()]
    if ext_input is not None:
        of_ext_input = [kernel[num_inferred:] for kernel in cell.input_kernels()]
        gen_x = [project(ext_input, *weights) for weights in zip(of_ext_input, gen_x, strict=True)]
    con_w, fb_w = controller.cell.recurrent_kernels(), controller.feedback_kernels()
    of_inferred, gen_w = [kernel[:num_inferred] for kernel in cell.input_kernels()], cell.recurrent_kernels()
    inputs = DecoderInputs(
        con_x_gates=encoded[0],
        con_x_candidate=encoded[1],
        con_h0=controller.initial_states(tf.shape(gen_ics)[0]),
        con_w_gates=con_w[0],
        con_w_candidate=con_w[1],
        fb_w_gates=fb_w[0],
        fb_w_candidate=fb_w[1],
        fb_mask=masks.feedback,
        w_mean=tf.convert_to_tensor(controller.mean.kernel),
        b_mean=tf.convert_to_tensor(controller.mean.bias),
        w_logvar=tf.convert_to_tensor(controller.logvar.kernel),
        b_logvar=tf.convert_to_tensor(controller.logvar.bias),
        noise=noise,
        gen_x_gates=gen_x[0],
        gen_x_candidate=gen_x[1],
        gen_u_w_gates=of_inferred[0],
        gen_u_w_candidate=of_inferred[1],
        gen_h0=gen_ics,
        gen_w_gates=gen_w[0],
        gen_w_candidate=gen_w[1],
        gen_mask=masks.gen_out,
        fac_w=generator.factor_map.normalised(),
    )
    return decoder_scan(inputs, cell.clip, feedback, **generator.options)
