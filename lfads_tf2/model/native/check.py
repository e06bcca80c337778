"""A program that compares a library of compiled kernels with the plain loops, on one tiny call of each kind."""

import sys
from collections import namedtuple

import numpy as np
import tensorflow as tf

from lfads_tf2.model import elementwise, loops
from lfads_tf2.model.kernels import Kernels
from lfads_tf2.model.native.building import DIFFERENT, NOT_LOADABLE

# Steps, trials (two shares of the batch), and units: no multiple of any vector's length.
STEPS, TRIALS, CONTROLLER, INPUTS, GENERATOR, FACTORS = 3, 33, 10, 2, 19, 5
Result = namedtuple("Result", ["result"])

CLIP = 0.8  # some states touch it
TOLERANCE = 1e-4  # of the largest magnitude: rounding stays a hundred times below, any mistake is far above


def main() -> None:
    """Reads the library's path; the exit code is 0, DIFFERENT or NOT_LOADABLE, with a line that says how."""
    library = sys.stdin.read()
    if not library:  # there is nothing to check: the compiler failed
        return
    try:
        kernels = Kernels(tf.load_op_library(library))
    except tf.errors.OpError as error:
        print(error.message)
        sys.exit(NOT_LOADABLE)
    try:
        found = difference(kernels)
    except (tf.errors.OpError, AttributeError, TypeError) as error:
        found = str(error).splitlines()[0]
    if found:
        print(found)
        sys.exit(DIFFERENT)


def difference(kernels: Kernels) -> str | None:
    """The first result in which `kernels` differ from the plain loops and passes, or None."""
    x, d, gru, d_states, d_last = _inputs()
    for name, arguments in (
        ("dropout_mask", ([1, 2], tf.constant(0.8), 999)),
        ("poisson_log_prob", (tf.abs(d.u), d.u)),
    ):
        actual, expected = (getattr(passes, name)(*arguments) for passes in (kernels, elementwise))
        found = _compare(name, [actual], Result(expected))
        if found:
            return found
    for reverse in (False, True):
        saved = loops.gru_scan(gru, CLIP, reverse, True)
        found = _compare("gru_scan", kernels.gru_scan(gru, CLIP, reverse, True), saved)
        weights = gru.w_gates, gru.w_candidate
        for d_each in (d_states, tf.zeros([0, 0, 0])):
            gradient = [
                scans.gru_scan_grad(d_each, d_last, saved, *weights, CLIP, reverse) for scans in (kernels, loops)
            ]
            found = found or _compare("gru_scan_grad", *gradient)
        if found:
            return found
    saved = loops.decoder_scan(x, CLIP, True)
    found = _compare("decoder_scan", kernels.decoder_scan(x, CLIP, True), saved)
    gradient = [scans.decoder_scan_grad(x, d, saved, CLIP) for scans in (kernels, loops)]
    return found or _compare("decoder_scan_grad", *gradient)


def _compare(scan, actual, expected):
    for name, a, b in zip(expected._fields, actual, expected, strict=True):
        a, b = a.numpy(), b.numpy()
        error, largest = np.abs(a - b).max() if a.shape == b.shape else np.inf, np.abs(b).max()
        if not error <= TOLERANCE * largest:  # NaN too
            return f"{scan}, {name}: off by {error:.2g} where the largest is {largest:.2g}"
    return None


def _inputs():
    """DecoderInputs, gradients of DecoderOutputs, GruInputs, and gradients of the states and of the last one."""
    generator = np.random.default_rng(0)

    def draw(*shape, scale=1.0):
        return tf.constant(generator.normal(0, scale, shape), tf.float32)

    def weights(rows, units):
        return [draw(rows, 2 * units, scale=rows**-0.5), draw(rows, units, scale=rows**-0.5)]

    def mask(width):
        return tf.constant(generator.random((STEPS, TRIALS, width)) < 0.8, tf.float32) / 0.8

    def pre_activations(units):
        return [draw(STEPS, TRIALS, 2 * units), draw(STEPS, TRIALS, units), draw(TRIALS, units, scale=0.4)]

    k, u, g, f = CONTROLLER, INPUTS, GENERATOR, FACTORS
    con_x_gates, con_x_candidate, con_h0 = pre_activations(k)
    gen_x_gates, gen_x_candidate, gen_h0 = pre_activations(g)
    x = loops.DecoderInputs(
        con_x_gates, con_x_candidate, con_h0, *weights(k, k), *weights(f, k), mask(f),
        draw(k, u), draw(u), draw(k, u), draw(u), draw(STEPS, TRIALS, u),
        gen_x_gates, gen_x_candidate, *weights(u, g), gen_h0, *weights(g, g), mask(g), draw(g, f),
    )  # fmt: skip
    d = loops.DecoderOutputs(*(draw(STEPS, TRIALS, width) for width in (k, u, u, u, g, f)))
    h0, biases = draw(TRIALS, g, scale=0.4), (draw(1, 2 * g), draw(1, g))
    gru = loops.GruInputs(draw(STEPS, TRIALS, f), h0, *weights(f, g), *biases, *weights(g, g))
    return x, d, gru, draw(STEPS, TRIALS, g), draw(TRIALS, g)
