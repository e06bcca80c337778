"""Linear maps: plain ones, the factors' normalised one, and one read-in and read-out for each session."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import tensorflow as tf

from lfads_tf2.types import ModelSpec, Session

serializable = keras.saving.register_keras_serializable("lfads_tf2")


class WeightSeeds:
    """A seed of its own for every weight matrix, in the order in which a model makes them, all derived from one."""

    def __init__(self, seed: int):
        self._seeds = (int(np.random.SeedSequence([seed, n]).generate_state(1)[0] >> 1) for n in itertools.count())

    def take(self, number: int) -> list[int]:
        """The next ones."""
        return list(itertools.islice(self._seeds, number))


def unseeded(seeds: list[int] | None, number: int) -> list[int | None]:
    """``seeds``, or as many None, with which Keras draws at random."""
    return [None] * number if seeds is None else seeds


def scaled_normal(fan_in: int, scale: float, seed: int | None) -> keras.initializers.Initializer:
    """N(0, scale / √fan_in), not truncated."""
    return keras.initializers.RandomNormal(stddev=scale / np.sqrt(fan_in), seed=seed)


def project(x, kernel, bias=None):
    """x kernel + bias over the last axis, as one matrix product over all leading axes."""
    y = tf.tensordot(x, kernel, 1)
    # Not y + bias: the gradient of that sums four times as slowly.
    return y if bias is None else tf.nn.bias_add(y, tf.reshape(bias, [-1]))


@serializable
class Linear(keras.layers.Layer):
    """``x W + b`` with W ~ N(0, scale / √inputs) and b = 0, a 1 x units row as in the original's files."""

    def __init__(self, units: int, seed: int | None = None, scale: float = 1.0, use_bias: bool = True, **kwargs):
        super().__init__(**kwargs)
        self.units, self.seed, self.scale, self.use_bias = units, seed, scale, use_bias

    def build(self, input_shape):
        """Weights for inputs of this many last-axis entries."""
        inputs = input_shape[-1]
        initializer = scaled_normal(inputs, self.scale, self.seed)
        self.kernel = self.add_weight(shape=(inputs, self.units), initializer=initializer, name="W")
        self.bias = self.add_weight(shape=(1, self.units), initializer="zeros", name="b") if self.use_bias else None

    def call(self, x):
        """... x inputs -> ... x units."""
        return project(x, self.kernel, self.bias)

    def compute_output_shape(self, input_shape):
        """For summaries."""
        return (*input_shape[:-1], self.units)


@serializable
class FactorMap(Linear):
    """Generator states -> factors: every column of W has length 1 where it is used; no bias.

    Sussillo et al. 2016, section 2.1; the unit columns are the original's ("gen_2_fac").
    """

    def __init__(self, units: int, seed: int | None = None, **kwargs):
        super().__init__(units, seed, use_bias=False, **kwargs)

    def normalised(self):
        """The G x F matrix with unit columns."""
        return tf.math.l2_normalize(tf.convert_to_tensor(self.kernel), axis=0, epsilon=1e-12)

    def call(self, states):
        """... x G states -> ... x F factors."""
        return project(states, self.normalised())


@serializable
class SessionLinear(keras.layers.Layer):
    """One affine map for each session, held in one stack that is padded to the widest session.

    A batch belongs to one session and picks its map by index, so that any number of sessions needs one compiled
    program. Sessions that are not in the batch get a zero gradient (not none), as in the original. Padded entries
    are zero, get zero gradients, and so stay zero. Pandarinath et al. 2018, Methods, multi-session models.

    Args:
        inputs, outputs: the widths of each session's map; one of the two lists is constant.
        seeds: one for each session.
    """

    def __init__(self, inputs: list[int], outputs: list[int], seeds: list[int] | None = None, **kwargs):
        super().__init__(**kwargs)
        self.inputs, self.outputs = list(inputs), list(outputs)
        self.seeds = unseeded(seeds, len(self.inputs))

    def build(self, input_shape=None):
        """All sessions' weights; the shape of a batch says nothing new."""
        shape = (len(self.inputs), max(self.inputs), max(self.outputs))
        self.kernel = self.add_weight(shape=shape, initializer="zeros", name="W")
        self.bias = self.add_weight(shape=(shape[0], 1, shape[2]), initializer="zeros", name="b")
        for session, (rows, columns, seed) in enumerate(zip(self.inputs, self.outputs, self.seeds, strict=True)):
            self.set_session(session, np.asarray(scaled_normal(rows, 1.0, seed)((rows, columns))))

    def set_session(self, session: int, kernel, bias=None) -> None:
        """Sets one session's map: kernel inputs x outputs, bias outputs (left as it is when None)."""
        for variable, value in ((self.kernel, kernel), (self.bias, bias)):
            if value is not None:
                whole, value = np.array(variable), np.atleast_2d(value)
                whole[session, : value.shape[0], : value.shape[1]] = value
                variable.assign(whole)

    def call(self, x, session):
        kernel = tf.gather(tf.convert_to_tensor(self.kernel), session)
        bias = tf.gather(tf.convert_to_tensor(self.bias), session)
        return project(x, kernel, bias)


def has_read_in(spec: ModelSpec) -> bool:
    """Whether data reach the encoders through a learned map; by default not those of one session, not aligned."""
    how, alone = spec.hyperparameters.read_in, len(spec.sessions) == 1 and not spec.sessions[0].has_alignment
    return how == "linear" or (how == "auto" and not alone)


def make_read_in(spec: ModelSpec, seeds: list[int]) -> SessionLinear:
    """Data -> input factors ("x_2_infac")."""
    hp, widths = spec.hyperparameters, [session.encoded_channels for session in spec.sessions]
    return SessionLinear(
        widths, [hp.factors_dim] * len(widths), seeds, name="read_in", trainable=hp.do_train_readin
    )  # fmt: skip


def make_read_out(spec: ModelSpec, seeds: list[int], name: str) -> SessionLinear:
    """Factors -> one parameter of the observation model for each channel ("glm/fac_2_...")."""
    hp, widths = spec.hyperparameters, [session.num_channels for session in spec.sessions]
    return SessionLinear(
        [hp.factors_dim] * len(widths), widths, seeds, name=name, trainable=hp.do_train_readout
    )  # fmt: skip


def align(read_in: SessionLinear | None, read_out: SessionLinear | None, sessions: list[Session]) -> None:
    """Starts read-in and read-out from the sessions' alignment matrices A and biases a.

    Read-in: (x − a) A. Read-out: f Aᵀ + a, with the bias as it is (not its logarithm), as in the original, or what the
    session gives for it. Channels that the encoders do not read are in the read-out alone.
    """
    for index, session in enumerate(sessions):
        matrix, bias = session.alignment_matrix, session.alignment_bias
        if matrix is not None:
            if read_in is not None:
                rows = slice(read_in.inputs[index])
                read_in.set_session(index, matrix[rows], None if bias is None else -(bias[rows] @ matrix[rows]))
            if read_out is not None:
                read_out.set_session(index, matrix.T if session.readout_matrix is None else session.readout_matrix)
        if bias is not None and read_out is not None:
            given = bias if session.readout_bias is None else session.readout_bias
            read_out.set_session(index, np.array(read_out.kernel)[index], given)
