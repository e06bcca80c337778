"""The clipped GRU of every network in LFADS: one step, and the scan over time.

Equations (states h, activated gates r and u, candidate c; ``clip`` is cell_clip_value)::

    r = σ(x_r + h W_r)        u = σ(x_u + h W_u + 1)        c = tanh(x_c + (r ⊙ h) W_c)
    h' = clip(u ⊙ h + (1 − u) ⊙ c)

The input parts x, learnable biases included, are computed for all time steps before the scan; only what truly recurs
is left inside. The update gate keeps the *old* state, and its +1 is a constant.
"""

from __future__ import annotations

import tensorflow as tf

from lfads_tf2.model import native_ops

UPDATE_GATE_BIAS = 1.0


def gru_step(x_gates, x_candidate, state, w_gates, w_candidate, clip: float):
    """One step for B trials: x_gates B x 2H, x_candidate, state B x H, w_gates H x 2H, w_candidate H x H -> B x H."""
    reset, update = tf.split(x_gates + tf.matmul(state, w_gates), 2, axis=-1)
    reset, update = tf.sigmoid(reset), tf.sigmoid(update + UPDATE_GATE_BIAS)
    candidate = tf.tanh(x_candidate + tf.matmul(reset * state, w_candidate))
    return tf.clip_by_value(update * state + (1.0 - update) * candidate, -clip, clip)


def time_array(stack, num_steps):
    """T x ... tensor as a TensorArray: reading a step from it has a cheap gradient, unlike ``stack[t]``."""
    return tf.TensorArray(tf.float32, size=num_steps, element_shape=stack.shape[1:]).unstack(stack)


def gru_scan_plain(x_gates, x_candidate, initial_state, w_gates, w_candidate, clip: float, reverse: bool = False):
    """The scan in plain TensorFlow operations; arguments and result as ``gru_scan``."""
    num_steps = tf.shape(x_gates)[0]
    gates, candidates = time_array(x_gates, num_steps), time_array(x_candidate, num_steps)
    states = tf.TensorArray(tf.float32, size=num_steps, element_shape=initial_state.shape)

    def step(count, state, states):
        t = num_steps - 1 - count if reverse else count
        state = gru_step(gates.read(t), candidates.read(t), state, w_gates, w_candidate, clip)
        return count + 1, state, states.write(t, state)

    _, _, states = tf.while_loop(
        lambda count, *_: count < num_steps, step, (0, initial_state, states), maximum_iterations=num_steps
    )
    stacked = states.stack()
    stacked.set_shape(x_candidate.shape)
    return stacked


def gru_scan(
    x_gates,
    x_candidate,
    initial_state,
    w_gates,
    w_candidate,
    clip: float,
    reverse: bool = False,
    native: bool = False,
    save_for_gradient: bool = True,
):
    """States of a GRU over time.

    Args:
        x_gates: T x B x 2H, input part of the pre-activations of the reset and the update gate, in this order.
        x_candidate: T x B x H, input part of the candidate's pre-activation.
        initial_state: B x H, the state before the first step taken.
        w_gates, w_candidate: H x 2H and H x H recurrent weights.
        clip: states are limited to plus or minus this.
        reverse: run from the last step to the first; states stay indexed by data time.
        native: use the compiled CPU kernels, which give the same numbers faster.
        save_for_gradient: False: the kernels keep nothing for gradients.

    Returns:
        T x B x H states.
    """
    arguments = (x_gates, x_candidate, initial_state, w_gates, w_candidate, clip, reverse)
    return native_ops.gru_scan(*arguments, save_for_gradient) if native else gru_scan_plain(*arguments)
