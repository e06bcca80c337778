"""Linear maps: plain ones, the factors' normalised one, and one read-in and read-out for each session."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import tensorflow as tf

from lfads_tf2.types import ModelSpec, Session


class WeightInit:
    """Gives every weight matrix an initialiser with a seed of its own, all derived from one seed."""

    def __init__(self, seed: int):
        self._seeds = (int(np.random.SeedSequence([seed, n]).generate_state(1)[0] >> 1) for n in itertools.count())

    def normal(self, fan_in: int, scale: float = 1.0) -> keras.initializers.Initializer:
        """N(0, scale / √fan_in), not truncated."""
        return keras.initializers.RandomNormal(stddev=scale / np.sqrt(fan_in), seed=next(self._seeds))


def project(x, kernel, bias=None):
    """x kernel + bias over the last axis, as one matrix product over all leading axes."""
    y = tf.tensordot(x, kernel, 1)
    return y if bias is None else y + bias


class Linear(keras.layers.Layer):
    """``x W + b`` with W ~ N(0, scale / √inputs) and b = 0, a 1 x outputs row as in the original's files."""

    def __init__(
        self, inputs: int, outputs: int, init: WeightInit, scale: float = 1.0, use_bias: bool = True, **kwargs
    ):
        super().__init__(**kwargs)
        self.kernel = self.add_weight(shape=(inputs, outputs), initializer=init.normal(inputs, scale), name="W")
        self.bias = self.add_weight(shape=(1, outputs), initializer="zeros", name="b") if use_bias else None
        self.built = True

    def call(self, x):
        return project(x, self.kernel, self.bias)


class FactorMap(keras.layers.Layer):
    """Generator states -> factors: every column of W has length 1 where it is used; no bias ("gen_2_fac")."""

    def __init__(self, inputs: int, outputs: int, init: WeightInit, **kwargs):
        super().__init__(**kwargs)
        self.kernel = self.add_weight(shape=(inputs, outputs), initializer=init.normal(inputs), name="W")
        self.built = True

    def normalised(self):
        """The G x F matrix with unit columns."""
        return tf.math.l2_normalize(tf.convert_to_tensor(self.kernel), axis=0, epsilon=1e-12)


class SessionLinear(keras.layers.Layer):
    """One affine map for each session, held in one stack that is padded to the widest session.

    A batch belongs to one session and picks its map by index, so that any number of sessions needs one compiled
    program. Sessions that are not in the batch get a zero gradient (not none), as in the original. Padded entries
    are zero, get zero gradients, and so stay zero.
    """

    def __init__(self, inputs: list[int], outputs: list[int], init: WeightInit, **kwargs):
        """``inputs`` and ``outputs``: the widths of each session's map; one of the two lists is constant."""
        super().__init__(**kwargs)
        self.inputs, self.outputs = list(inputs), list(outputs)
        shape = (len(inputs), max(inputs), max(outputs))
        self.kernel = self.add_weight(shape=shape, initializer="zeros", name="W")
        self.bias = self.add_weight(shape=(shape[0], 1, shape[2]), initializer="zeros", name="b")
        self.built = True
        for session, (rows, columns) in enumerate(zip(inputs, outputs, strict=True)):
            self.set_session(session, np.asarray(init.normal(rows)((rows, columns))))

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


def make_read_in(spec: ModelSpec, init: WeightInit) -> SessionLinear | None:
    """Data -> input factors ("x_2_infac"), or None for the fixed identity, by default of one session not aligned."""
    hp = spec.hyperparameters
    alone = len(spec.sessions) == 1 and not spec.sessions[0].has_alignment
    if hp.read_in == "identity" or (hp.read_in == "auto" and alone):
        return None
    widths = [session.encoded_channels for session in spec.sessions]
    layer = SessionLinear(widths, [hp.factors_dim] * len(widths), init, name="read_in")
    layer.trainable = hp.do_train_readin
    return layer


def make_read_out(spec: ModelSpec, init: WeightInit, name: str) -> SessionLinear:
    """Factors -> one parameter of the observation model for each channel ("glm/fac_2_...")."""
    widths = [session.num_channels for session in spec.sessions]
    layer = SessionLinear([spec.hyperparameters.factors_dim] * len(widths), widths, init, name=name)
    layer.trainable = spec.hyperparameters.do_train_readout
    return layer


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
