"""The recurrent loops as single operations with gradients: by the compiled kernels, or by loops of TensorFlow's own.

Everything is float32 and time-major. Gradients of weights are left out of the loops: both give the gradient of each
pre-activation, and one product over all steps and trials makes a weight's gradient of that. First-order gradients only.
The equations are those of ``gru_step`` and ``decoder_step``.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from lfads_tf2.model import loops
from lfads_tf2.model.kernels import kernels
from lfads_tf2.model.loops import DecoderInputs, DecoderOutputs, GruInputs


def gru_scan(
    inputs: GruInputs,
    clip: float,
    reverse: bool = False,
    native: bool = False,
    save_for_gradient: bool = True,
    with_last: bool = False,
):
    """States of a GRU over time.

    Args:
        inputs: see GruInputs.
        clip: states are limited to plus or minus this.
        reverse: run from the last step to the first; states stay indexed by data time.
        native: use the compiled CPU kernels, which give the same numbers faster.
        save_for_gradient: False needs a quarter of the memory, and no gradient can be taken.
        with_last: give the last state too. Its gradient costs less than that of a slice of the states, which is as
            large as all of them.

    Returns:
        T x B x H states; ``with_last`` these and the state after the last step taken, B x H.

    Raises:
        RuntimeError: ``native`` without kernels.
        tf.errors.InvalidArgumentError: a wrong shape, with the argument's name (kernels only).
    """
    backend = _backend(native)
    clip, reverse = float(clip), bool(reverse)

    def forward(*flat):
        x = GruInputs(*flat)
        saved = backend.gru_scan(x, clip, reverse, save_for_gradient)
        (steps, trials, width), units = x.x.shape.with_rank(3), x.h0.shape[1]
        stack = _shaped(saved.stack, None if steps is None else steps + 1, trials, units)
        before, states = (stack[1:], stack[:-1]) if reverse else (stack[:-1], stack[1:])

        def gradient(d_states, d_last):
            d_states = tf.zeros([0, 0, 0]) if _is_zeros(d_states) else d_states
            d_last = tf.zeros_like(x.h0) if _is_zeros(d_last) else d_last
            d = backend.gru_scan_grad(d_states, d_last, saved, x.w_gates, x.w_candidate, clip, reverse)
            _shaped(d.d_x_gates, steps, trials, 2 * units), _shaped(d.d_x_candidate, steps, trials, units)
            _shaped(d.reset_state, steps, trials, units), _shaped(d.d_h0, trials, units)
            # With a column of ones, the product that makes the weights' gradients makes those of the biases too.
            with_ones = tf.concat([x.x, _ones(d.d_x_candidate)], axis=-1)
            of_gates, of_candidate = (_over_rows(with_ones, part) for part in (d.d_x_gates, d.d_x_candidate))
            return GruInputs(
                x=_through(d.d_x_gates, x.x_w_gates) + _through(d.d_x_candidate, x.x_w_candidate),
                h0=d.d_h0,
                x_w_gates=of_gates[:width],
                x_w_candidate=of_candidate[:width],
                b_gates=of_gates[width:],
                b_candidate=of_candidate[width:],
                w_gates=_over_rows(before, d.d_x_gates),
                w_candidate=_over_rows(d.reset_state, d.d_x_candidate),
            )

        return (states, stack[0] if reverse else stack[-1]), gradient

    arguments = [tf.convert_to_tensor(x, tf.float32) for x in inputs]
    results = tf.custom_gradient(forward)(*arguments) if save_for_gradient else forward(*arguments)[0]
    return results if with_last else results[0]


def decoder_scan(
    inputs: DecoderInputs,
    clip: float,
    feedback: Callable | None = None,
    native: bool = False,
    save_for_gradient: bool = True,
) -> DecoderOutputs:
    """Controller, inferred inputs, generator and factors over time.

    Args:
        inputs: see DecoderInputs. Masks and noise get no gradient.
        clip: states of both cells are limited to plus or minus this.
        feedback: ``(factors B x F, first: bool) -> B x ...``, what the controller sees of the previous bin; None: the
            factors themselves. Only then are there kernels and a gradient of our own.
        native: use the compiled CPU kernels, which give the same numbers faster.
        save_for_gradient: False needs less memory, and no gradient can be taken.

    Raises:
        As ``gru_scan``.
    """
    if feedback is not None:
        saved = loops.decoder_scan(inputs, clip, False, feedback)
        return _outputs(saved)
    backend, clip, none = _backend(native), float(clip), tf.zeros([0, 0, 0])

    def forward(*flat):
        x = DecoderInputs(*flat)
        saved = backend.decoder_scan(x, clip, save_for_gradient)
        _shape_decoder(saved, x)

        def gradient(*d_outputs):
            d_outputs = [none if _is_zeros(d) else d for d in d_outputs]
            return _decoder_gradients(x, saved, backend.decoder_scan_grad(x, DecoderOutputs(*d_outputs), saved, clip))

        return tuple(_outputs(saved)), gradient

    inputs = inputs._replace(**{name: none for name, value in inputs._asdict().items() if value is None})
    inputs = inputs._replace(**{name: tf.reshape(getattr(inputs, name), [-1]) for name in ("b_mean", "b_logvar")})
    arguments = [tf.convert_to_tensor(x, tf.float32) for x in inputs]
    outputs = tf.custom_gradient(forward)(*arguments) if save_for_gradient else forward(*arguments)[0]
    return DecoderOutputs(*outputs)


def _outputs(saved: loops.DecoderScan) -> DecoderOutputs:
    states = saved.con_stack[1:], saved.co_mean, saved.co_logvar, saved.u, saved.gen_stack[1:], saved.factor_stack[1:]
    return DecoderOutputs(*states)


def _shape_decoder(saved, x):
    """Sets the static shapes, as far as they are known, of what the scan gives."""
    steps, trials, inferred = x.noise.shape.with_rank(3)
    after = None if steps is None else steps + 1
    for name, width in (("con", x.con_h0.shape[1]), ("gen", x.gen_h0.shape[1]), ("factor", x.fac_w.shape[1])):
        _shaped(getattr(saved, f"{name}_stack"), after, trials, width)
    for result in (saved.co_mean, saved.co_logvar, saved.u):
        _shaped(result, steps, trials, inferred)


def _decoder_gradients(x, saved, d):
    """The gradient of every field of DecoderInputs from `d`, those of pre-activations, states and factors."""
    steps, trials, inferred = x.noise.shape
    con, gen, factors = x.con_h0.shape[1], x.gen_h0.shape[1], x.fac_w.shape[1]
    for name, width in (("con", con), ("gen", gen)):
        _shaped(getattr(d, f"d_{name}_gates"), steps, trials, 2 * width)
        _shaped(getattr(d, f"d_{name}_candidate"), steps, trials, width)
        _shaped(getattr(d, f"{name}_reset_state"), steps, trials, width)
        _shaped(getattr(d, f"d_{name}_h0"), trials, width)
    _shaped(d.d_factors_total, steps, trials, factors), _shaped(d.d_first_factors, trials, factors)
    _shaped(d.d_mean, steps, trials, inferred), _shaped(d.d_logvar, steps, trials, inferred)

    con_states, gen_states = saved.con_stack[1:], saved.gen_stack[1:]
    fed = saved.factor_stack[:-1]
    if x.fb_mask.shape != [0, 0, 0]:
        fed = fed * x.fb_mask
    if x.gen_mask.shape != [0, 0, 0]:
        gen_states = gen_states * x.gen_mask
    shared, feeds_back = x.gen_x_gates.shape[:2] == [1, 1], loops.present(weights=x.fb_w_gates)
    return DecoderInputs(
        con_x_gates=d.d_con_gates,
        con_x_candidate=d.d_con_candidate,
        con_h0=d.d_con_h0,
        con_w_gates=_over_rows(saved.con_stack[:-1], d.d_con_gates),
        con_w_candidate=_over_rows(d.con_reset_state, d.d_con_candidate),
        fb_w_gates=_over_rows(fed, d.d_con_gates) if feeds_back else tf.zeros_like(x.fb_w_gates),
        fb_w_candidate=_over_rows(fed, d.d_con_candidate) if feeds_back else tf.zeros_like(x.fb_w_candidate),
        fb_mask=None,
        w_mean=_over_rows(con_states, d.d_mean),
        b_mean=tf.reduce_sum(d.d_mean, [0, 1]),
        w_logvar=_over_rows(con_states, d.d_logvar),
        b_logvar=tf.reduce_sum(d.d_logvar, [0, 1]),
        noise=None,
        gen_x_gates=_over_rows(_ones(d.d_gen_gates), d.d_gen_gates)[None] if shared else d.d_gen_gates,
        gen_x_candidate=_over_rows(_ones(d.d_gen_candidate), d.d_gen_candidate)[None] if shared else d.d_gen_candidate,
        gen_u_w_gates=_over_rows(saved.u, d.d_gen_gates),
        gen_u_w_candidate=_over_rows(saved.u, d.d_gen_candidate),
        gen_h0=d.d_gen_h0,
        gen_w_gates=_over_rows(saved.gen_stack[:-1], d.d_gen_gates),
        gen_w_candidate=_over_rows(d.gen_reset_state, d.d_gen_candidate),
        gen_mask=None,
        fac_w=_over_rows(gen_states, d.d_factors_total) + tf.matmul(x.gen_h0, d.d_first_factors, transpose_a=True),
    )


def _backend(native: bool):
    """Whose ``gru_scan``, ``gru_scan_grad``, ``decoder_scan`` and ``decoder_scan_grad`` run."""
    return kernels() if native else loops


def _shaped(tensor, *shape):
    tensor.set_shape(shape)
    return tensor


def _over_rows(a, b):
    """Sum over time and trials of a_t^T b_t: [T, B, M], [T, B, N] -> [M, N]."""
    a, b = (tf.reshape(x, [-1, x.shape[-1]]) for x in (a, b))
    return tf.matmul(a, b, transpose_a=True)


def _ones(d):
    """T x B x 1 for T x B x N. A product with it sums over time and trials, several times as fast as tf.reduce_sum."""
    return tf.ones_like(d[..., :1])


def _through(d, w):
    """d w^T for each bin and trial: T x B x N and M x N -> T x B x M."""
    return tf.tensordot(d, w, [[2], [1]])


def _is_zeros(gradient):
    """Whether a gradient is known, while a graph is made, to be the zeros that stand for an output nobody used."""
    if gradient is None:
        return True
    if tf.executing_eagerly():
        return False
    operation = gradient.op
    if operation.type == "Fill":
        return tf.get_static_value(operation.inputs[1]) == 0
    return operation.type == "ZerosLike"
