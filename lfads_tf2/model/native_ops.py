"""The recurrent loops as single operations with gradients, computed by the kernels in `lfads_tf2.native`.

Everything is float32 and time-major. Gradients of weights are left out of the loops: the kernels give the gradient of
each pre-activation, and one product over all steps and trials makes a weight's gradient of that. First-order gradients
only. The equations are those of `gru_step` and `decoder_step`.
"""

import os

import tensorflow as tf

from lfads_tf2 import native
from lfads_tf2.types import DecoderInputs, DecoderOutputs

# The order in which the kernels take their inputs.
_WEIGHTS = [
    "con_w_gates",
    "con_w_candidate",
    "fb_w_gates",
    "fb_w_candidate",
    "w_mean",
    "b_mean",
    "w_logvar",
    "b_logvar",
]
_WEIGHTS += ["gen_u_w_gates", "gen_u_w_candidate", "gen_w_gates", "gen_w_candidate", "fac_w"]
_FORWARD = [
    "noise",
    "con_h0",
    "gen_h0",
    "con_x_gates",
    "con_x_candidate",
    "gen_x_gates",
    "gen_x_candidate",
    "gen_mask",
    "fb_mask",
]
_SAVED = ["con_stack", "gen_stack", "co_logvar", "con_gates", "con_candidate", "gen_gates", "gen_candidate"]


def available():
    """Whether the kernels can be used here; compiles them at the first call."""
    return native.load() is not None


def gru_scan(x_gates, x_candidate, h0, w_gates, w_candidate, clip, reverse=False, save_for_gradient=True):
    """A GRU over all time steps.

    Args:
        x_gates: [T, B, 2H] the inputs' part of the gates' pre-activations, biases included: reset, then update (to
            which the step adds 1).
        x_candidate: [T, B, H] the inputs' part of the candidate's pre-activation.
        h0: [B, H] state before the first step.
        w_gates, w_candidate: [H, 2H], [H, H] recurrent weights.
        clip: a number; states are limited to [-clip, clip].
        reverse: run from the last step to the first; results stay in the order of the data.
        save_for_gradient: False needs a quarter of the memory, and no gradient can be taken.

    Returns the states, [T, B, H]. Raises RuntimeError without kernels, tf.errors.InvalidArgumentError, naming the
    argument, for a wrong shape.
    """
    kernels = _kernels()
    options = {"clip": float(clip), "reverse": bool(reverse), "threads": _threads()}

    def forward(x_gates, x_candidate, h0, w_gates, w_candidate):
        saved = kernels.lfads_gru_scan(
            x_candidate, x_gates, h0, w_gates, w_candidate, save=save_for_gradient, **options
        )
        steps, trials, units = x_candidate.shape.with_rank(3)
        stack = _shaped(saved.stack, None if steps is None else steps + 1, trials, units)
        before, states = (stack[1:], stack[:-1]) if reverse else (stack[:-1], stack[1:])

        def gradient(d_states):
            reset_state, d_gates, d_candidate, d_h0 = kernels.lfads_gru_scan_grad(
                d_states, stack, saved.gates, saved.candidate, w_gates, w_candidate, **options
            )
            _shaped(d_gates, steps, trials, 2 * units), _shaped(d_candidate, steps, trials, units)
            _shaped(reset_state, steps, trials, units), _shaped(d_h0, trials, units)
            return d_gates, d_candidate, d_h0, _over_rows(before, d_gates), _over_rows(reset_state, d_candidate)

        return states, gradient

    arguments = [tf.convert_to_tensor(x, tf.float32) for x in (x_gates, x_candidate, h0, w_gates, w_candidate)]
    return tf.custom_gradient(forward)(*arguments) if save_for_gradient else forward(*arguments)[0]


def decoder_scan(inputs, clip, save_for_gradient=True):
    """Controller, inferred inputs, generator and factors over all time steps.

    Args:
        inputs: DecoderInputs. The masks and the noise get no gradient.
        clip: a number; states of both cells are limited to [-clip, clip].
        save_for_gradient: False needs less memory, and no gradient can be taken.

    Returns DecoderOutputs. Raises as `gru_scan` does.
    """
    kernels = _kernels()
    feed_factors = inputs.fb_w_gates is not None
    options = {"clip": float(clip), "feed_factors": feed_factors, "threads": _threads()}
    none = tf.zeros([0, 0, 0])

    def forward(*flat):
        x = DecoderInputs(*flat)
        weights = [getattr(x, name) for name in _WEIGHTS]
        data = [getattr(x, name) for name in _FORWARD]
        saved = kernels.lfads_decoder_scan(*data, *weights, save=save_for_gradient, **options)
        _shape_decoder(saved, x)

        def gradient(*d_outputs):
            d_outputs = [none if _is_zeros(d) else d for d in d_outputs]
            activations = [getattr(saved, name) for name in _SAVED]
            d = kernels.lfads_decoder_scan_grad(
                x.noise, *d_outputs, *activations, x.gen_mask, x.fb_mask, *weights, **options
            )
            return _decoder_gradients(x, saved, d, feed_factors)

        outputs = (saved.con_stack[1:], saved.co_mean, saved.co_logvar, saved.u, saved.gen_stack[1:])
        return (*outputs, saved.factor_stack[1:]), gradient

    inputs = inputs._replace(**{name: none for name, value in inputs._asdict().items() if value is None})
    inputs = inputs._replace(**{name: tf.reshape(getattr(inputs, name), [-1]) for name in ("b_mean", "b_logvar")})
    arguments = [tf.convert_to_tensor(x, tf.float32) for x in inputs]
    outputs = tf.custom_gradient(forward)(*arguments) if save_for_gradient else forward(*arguments)[0]
    return DecoderOutputs(*outputs)


def _shape_decoder(saved, x):
    """Sets the static shapes, as far as they are known, of what the forward kernel gives."""
    steps, trials, inferred = x.noise.shape.with_rank(3)
    after = None if steps is None else steps + 1
    for name, width in (("con", x.con_h0.shape[1]), ("gen", x.gen_h0.shape[1]), ("factor", x.fac_w.shape[1])):
        _shaped(getattr(saved, f"{name}_stack"), after, trials, width)
    for result in (saved.co_mean, saved.co_logvar, saved.u):
        _shaped(result, steps, trials, inferred)


def _decoder_gradients(x, saved, d, feed_factors):
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
    shared = x.gen_x_gates.shape[:2] == [1, 1]
    return DecoderInputs(
        con_x_gates=d.d_con_gates,
        con_x_candidate=d.d_con_candidate,
        con_h0=d.d_con_h0,
        con_w_gates=_over_rows(saved.con_stack[:-1], d.d_con_gates),
        con_w_candidate=_over_rows(d.con_reset_state, d.d_con_candidate),
        fb_w_gates=_over_rows(fed, d.d_con_gates) if feed_factors else tf.zeros_like(x.fb_w_gates),
        fb_w_candidate=_over_rows(fed, d.d_con_candidate) if feed_factors else tf.zeros_like(x.fb_w_candidate),
        fb_mask=None,
        w_mean=_over_rows(con_states, d.d_mean),
        b_mean=tf.reduce_sum(d.d_mean, [0, 1]),
        w_logvar=_over_rows(con_states, d.d_logvar),
        b_logvar=tf.reduce_sum(d.d_logvar, [0, 1]),
        noise=None,
        gen_x_gates=tf.reduce_sum(d.d_gen_gates, [0, 1], keepdims=True) if shared else d.d_gen_gates,
        gen_x_candidate=tf.reduce_sum(d.d_gen_candidate, [0, 1], keepdims=True) if shared else d.d_gen_candidate,
        gen_u_w_gates=_over_rows(saved.u, d.d_gen_gates),
        gen_u_w_candidate=_over_rows(saved.u, d.d_gen_candidate),
        gen_h0=d.d_gen_h0,
        gen_w_gates=_over_rows(saved.gen_stack[:-1], d.d_gen_gates),
        gen_w_candidate=_over_rows(d.gen_reset_state, d.d_gen_candidate),
        gen_mask=None,
        fac_w=_over_rows(gen_states, d.d_factors_total) + tf.matmul(x.gen_h0, d.d_first_factors, transpose_a=True),
    )


def _kernels():
    kernels = native.load()
    if kernels is None:
        raise RuntimeError("the native kernels are not available here; ask available() before using them")
    return kernels


def _threads():
    """As many threads as TensorFlow was told to use in one operation, or as there are usable cores."""
    configured = tf.config.threading.get_intra_op_parallelism_threads()
    if configured > 0:
        return configured
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _shaped(tensor, *shape):
    tensor.set_shape(shape)
    return tensor


def _over_rows(a, b):
    """Sum over time and trials of a_t^T b_t: [T, B, M], [T, B, N] -> [M, N]."""
    a, b = (tf.reshape(x, [-1, x.shape[-1]]) for x in (a, b))
    return tf.matmul(a, b, transpose_a=True)


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
