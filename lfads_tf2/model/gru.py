"""The clipped GRU of every network in LFADS: one step, and its gradient.

Equations (states h, activated gates r and u, candidate c; ``clip`` is cell_clip_value)::

    r = σ(x_r + h W_r)        u = σ(x_u + h W_u + 1)        c = tanh(x_c + (r ⊙ h) W_c)
    h' = clip(u ⊙ h + (1 − u) ⊙ c)

The input parts x, learnable biases included, are computed for all time steps before the scan; only what truly recurs
is left inside. The update gate keeps the *old* state, and its +1 is a constant. Cho et al. 2014 (arXiv:1406.1078),
limited as in the original.
"""

from __future__ import annotations

import tensorflow as tf

UPDATE_GATE_BIAS = 1.0


def gru_step(x_gates, x_candidate, state, w_gates, w_candidate, clip: float):
    """One step for B trials.

    Args:
        x_gates: B x 2H, input part of the pre-activations of the reset and the update gate, in this order.
        x_candidate, state: B x H.
        w_gates, w_candidate: H x 2H and H x H recurrent weights.
        clip: the state is limited to plus or minus this.

    Returns:
        The next state, B x H, and the activated gates, B x 2H, and candidate, B x H, of which gradients are made.
    """
    reset, update = tf.split(x_gates + tf.matmul(state, w_gates), 2, axis=-1)
    reset, update = tf.sigmoid(reset), tf.sigmoid(update + UPDATE_GATE_BIAS)
    candidate = tf.tanh(x_candidate + tf.matmul(reset * state, w_candidate))
    after = tf.clip_by_value(update * state + (1.0 - update) * candidate, -clip, clip)
    return after, tf.concat([reset, update], axis=-1), candidate


def gru_step_grad(d_after, state, gates, candidate, w_gates, w_candidate, clip: float):
    """Gradient of one step: ``d_after`` B x H is that of the next state, ``state`` the one before the step.

    Returns:
        Gradients of ``state``, B x H, of ``x_gates``, B x 2H, and of ``x_candidate``, B x H.
    """
    reset, update = tf.split(gates, 2, axis=-1)
    keep = 1.0 - update
    # No gradient passes where the state was limited; NaN compares false and passes on.
    d_after = tf.where(tf.abs(update * state + keep * candidate) > clip, 0.0, d_after)
    d_candidate = d_after * keep * (1.0 - tf.square(candidate))
    d_reset_state = tf.matmul(d_candidate, w_candidate, transpose_b=True)
    d_reset, d_update = d_reset_state * state * reset * (1.0 - reset), d_after * (state - candidate) * update * keep
    d_gates = tf.concat([d_reset, d_update], axis=-1)
    d_state = d_after * update + d_reset_state * reset + tf.matmul(d_gates, w_gates, transpose_b=True)
    return d_state, d_gates, d_candidate
