"""The loops over time in TensorFlow's own operations: for GPUs, XLA and populations, and where nothing can be compiled.

They keep and give what the compiled kernels do, so that ``lfads_tf2.model.scans`` can use either. Their gradients are
loops of their own: a loop that TensorFlow differentiates does more work, and ``tf.vectorized_map`` does not take it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from lfads_tf2.model.gru import gru_step, gru_step_grad


class GruInputs(NamedTuple):
    """All that a GRU's scan needs."""

    x: tf.Tensor  # T x B x D; D may be 0
    h0: tf.Tensor  # B x H, the state before the first step taken
    x_w_gates: tf.Tensor  # D x 2H, weights of x: of the reset gate, then of the update gate
    x_w_candidate: tf.Tensor  # D x H
    b_gates: tf.Tensor  # 1 x 2H, without the 1 that the step adds to the update gate
    b_candidate: tf.Tensor  # 1 x H
    w_gates: tf.Tensor  # H x 2H, recurrent weights
    w_candidate: tf.Tensor  # H x H


class DecoderInputs(NamedTuple):
    """All that the scan needs. Masks are scaled by 1/keep; None means no dropout."""

    con_x_gates: tf.Tensor  # T x B x 2K, encoded part of the controller's input pre-activations, biases included
    con_x_candidate: tf.Tensor  # T x B x K
    con_h0: tf.Tensor  # B x K
    con_w_gates: tf.Tensor  # K x 2K
    con_w_candidate: tf.Tensor  # K x K
    fb_w_gates: tf.Tensor | None  # F x 2K, weights of the feedback; None: no feedback
    fb_w_candidate: tf.Tensor | None  # F x K
    fb_mask: tf.Tensor | None  # T x B x F
    w_mean: tf.Tensor  # K x U
    b_mean: tf.Tensor  # 1 x U
    w_logvar: tf.Tensor  # K x U
    b_logvar: tf.Tensor  # 1 x U
    noise: tf.Tensor  # T x B x U, standard normal; zero for means
    gen_x_gates: tf.Tensor  # T x B x 2G or 1 x 1 x 2G, biases and injected external inputs
    gen_x_candidate: tf.Tensor  # T x B x G or 1 x 1 x G
    gen_u_w_gates: tf.Tensor  # U x 2G
    gen_u_w_candidate: tf.Tensor  # U x G
    gen_h0: tf.Tensor  # B x G
    gen_w_gates: tf.Tensor  # G x 2G
    gen_w_candidate: tf.Tensor  # G x G
    gen_mask: tf.Tensor | None  # T x B x G
    fac_w: tf.Tensor  # G x F, unit columns


class DecoderOutputs(NamedTuple):
    """Time-major; the controller's four are None without a controller."""

    con_states: tf.Tensor | None  # T x B x K
    co_mean: tf.Tensor | None  # T x B x U
    co_logvar: tf.Tensor | None  # T x B x U
    u: tf.Tensor | None  # T x B x U, what entered the generator
    gen_states: tf.Tensor  # T x B x G
    factors: tf.Tensor  # T x B x F


class GruScan(NamedTuple):
    """States, and what their gradient needs."""

    stack: tf.Tensor  # T + 1 x B x H, states with the initial one first, or last if in reverse
    gates: tf.Tensor | None  # T x B x 2H, activated: reset, then update
    candidate: tf.Tensor | None  # T x B x H, activated


class GruScanGrad(NamedTuple):
    """Gradients of pre-activations and of the initial state."""

    reset_state: tf.Tensor  # T x B x H, r ⊙ h, of which the candidate's weights have their gradient
    d_x_gates: tf.Tensor  # T x B x 2H
    d_x_candidate: tf.Tensor  # T x B x H
    d_h0: tf.Tensor  # B x H


class DecoderScan(NamedTuple):
    """Everything a decoder's scan computes; activations are None where no gradient is wanted."""

    con_stack: tf.Tensor  # T + 1 x B x K, initial state first, as in all stacks
    gen_stack: tf.Tensor  # T + 1 x B x G
    factor_stack: tf.Tensor  # T + 1 x B x F
    co_mean: tf.Tensor  # T x B x U
    co_logvar: tf.Tensor
    u: tf.Tensor
    con_gates: tf.Tensor | None  # T x B x 2K
    con_candidate: tf.Tensor | None  # T x B x K
    gen_gates: tf.Tensor | None
    gen_candidate: tf.Tensor | None


class DecoderScanGrad(NamedTuple):
    """Gradients of pre-activations, initial states and factors, time-major."""

    d_con_gates: tf.Tensor  # T x B x 2K
    d_con_candidate: tf.Tensor
    d_gen_gates: tf.Tensor
    d_gen_candidate: tf.Tensor
    con_reset_state: tf.Tensor  # T x B x K
    gen_reset_state: tf.Tensor
    d_mean: tf.Tensor  # T x B x U
    d_logvar: tf.Tensor
    d_factors_total: tf.Tensor  # T x B x F, with what comes back from the next step's controller
    d_first_factors: tf.Tensor  # B x F, of the factors of the initial state
    d_con_h0: tf.Tensor  # B x K
    d_gen_h0: tf.Tensor


def over_time(step: Callable, carried: list, rows: dict, widths: list[int], reverse: bool = False):
    """``step(carried, row) -> (carried, results)`` for every row.

    Args:
        step: ``row`` is a dict of this step's rows; ``results`` a list of tensors with the last axes ``widths``.
        carried: what goes from step to step, B x ... each.
        rows: T x B x ... tensors by name.
        widths: of the results.
        reverse: from the last row to the first.

    Returns:
        What the last step carried, and the results, T x B x width each.
    """
    length, num_trials = next(iter(rows.values())).shape[0], carried[0].shape[0]
    steps = tf.shape(next(iter(rows.values())))[0] if length is None else length
    arrays = {
        name: tf.TensorArray(tf.float32, steps, element_shape=row.shape[1:]).unstack(row) for name, row in rows.items()
    }
    results = [tf.TensorArray(tf.float32, steps, element_shape=[num_trials, width]) for width in widths]

    def body(count, carried, results):
        t = steps - 1 - count if reverse else count
        carried, now = step(carried, {name: array.read(t) for name, array in arrays.items()})
        return count + 1, carried, [array.write(t, value) for array, value in zip(results, now, strict=True)]

    start = (tf.constant(0), list(carried), results)
    _, last, results = tf.while_loop(lambda count, *_: count < steps, body, start, maximum_iterations=steps)
    stacked = [array.stack() for array in results]
    for result, width in zip(stacked, widths, strict=True):
        result.set_shape([length, num_trials, width])
    return last, stacked


def present(**tensors) -> dict:
    """Those that are there: neither None nor the 0 x 0 x 0 that stands for it in operations."""
    return {name: x for name, x in tensors.items() if x is not None and x.shape != [0, 0, 0]}


def gru_scan(x: GruInputs, clip: float, reverse: bool, save: bool) -> GruScan:
    """A GRU over all steps; arguments as those of ``scans.gru_scan``."""
    units = x.h0.shape[1]
    x_gates = tf.tensordot(x.x, x.x_w_gates, 1) + x.b_gates
    x_candidate = tf.tensordot(x.x, x.x_w_candidate, 1) + x.b_candidate

    def step(carried, row):
        after, *activated = gru_step(row["gates"], row["candidate"], carried[0], x.w_gates, x.w_candidate, clip)
        return [after], [after, *activated] if save else [after]

    widths = [units, 2 * units, units] if save else [units]
    _, results = over_time(step, [x.h0], {"gates": x_gates, "candidate": x_candidate}, widths, reverse)
    ends = [results[0], x.h0[None]] if reverse else [x.h0[None], results[0]]
    return GruScan(tf.concat(ends, axis=0), *(results[1:] or (None, None)))


def gru_scan_grad(d_states, d_last, saved: GruScan, w_gates, w_candidate, clip: float, reverse: bool) -> GruScanGrad:
    """Gradients of ``gru_scan`` from those of its states, T x B x H or 0 x 0 x 0 for none, and of the last, B x H."""
    units = saved.candidate.shape[2]
    before = saved.stack[1:] if reverse else saved.stack[:-1]
    rows = present(d_state=d_states) | {"state": before, "gates": saved.gates, "candidate": saved.candidate}

    def step(carried, row):
        d_after = carried[0] + row.pop("d_state") if "d_state" in row else carried[0]
        d_state, *d_inputs = gru_step_grad(d_after, **row, w_gates=w_gates, w_candidate=w_candidate, clip=clip)
        return [d_state], d_inputs

    (d_h0,), results = over_time(step, [d_last], rows, [2 * units, units], not reverse)
    return GruScanGrad(saved.gates[..., :units] * before, *results, d_h0)


def decoder_step(x: DecoderInputs, row: dict, con_state, gen_state, fed_back, clip: float):
    """One bin: k = GRU(encoding, feedback); u ~ N(k W_m + b_m, exp(k W_v + b_v)); g = GRU(u); f = (g ⊙ mask) W_fac.

    ``row``: this bin's row of each of the inputs that there are. Returns DecoderOutputs, and the activated gates and
    candidates of controller and generator.
    """
    x_gates, x_candidate = row["con_x_gates"], row["con_x_candidate"]
    if present(weights=x.fb_w_gates):
        fed_back = fed_back * row["fb_mask"] if "fb_mask" in row else fed_back
        x_gates = x_gates + tf.matmul(fed_back, x.fb_w_gates)
        x_candidate = x_candidate + tf.matmul(fed_back, x.fb_w_candidate)
    con_state, *con = gru_step(x_gates, x_candidate, con_state, x.con_w_gates, x.con_w_candidate, clip)
    mean = tf.matmul(con_state, x.w_mean) + x.b_mean
    logvar = tf.matmul(con_state, x.w_logvar) + x.b_logvar
    u = mean + tf.exp(0.5 * logvar) * row["noise"]
    x_gates = row.get("gen_x_gates", x.gen_x_gates[0]) + tf.matmul(u, x.gen_u_w_gates)
    x_candidate = row.get("gen_x_candidate", x.gen_x_candidate[0]) + tf.matmul(u, x.gen_u_w_candidate)
    gen_state, *gen = gru_step(x_gates, x_candidate, gen_state, x.gen_w_gates, x.gen_w_candidate, clip)
    factors = tf.matmul(gen_state * row["gen_mask"] if "gen_mask" in row else gen_state, x.fac_w)
    return DecoderOutputs(con_state, mean, logvar, u, gen_state, factors), [*con, *gen]


def decoder_scan(x: DecoderInputs, clip: float, save: bool, feedback: Callable | None = None) -> DecoderScan:
    """Controller, inputs, generator and factors over all steps; arguments as those of ``scans.decoder_scan``."""
    feedback = feedback or (lambda factors, first: factors)
    con, inferred, gen, factors = x.con_h0.shape[1], x.noise.shape[2], x.gen_h0.shape[1], x.fac_w.shape[1]
    rows = present(
        con_x_gates=x.con_x_gates, con_x_candidate=x.con_x_candidate, fb_mask=x.fb_mask, noise=x.noise,
        gen_mask=x.gen_mask,
    )  # fmt: skip
    # A row that is the same at every bin stays outside the loop.
    if x.gen_x_gates.shape[:2] != [1, 1]:
        rows |= {"gen_x_gates": x.gen_x_gates, "gen_x_candidate": x.gen_x_candidate}

    def step(carried, row):
        now, activated = decoder_step(x, row, *carried, clip)
        return [now.con_states, now.gen_states, feedback(now.factors, False)], [*now, *(activated if save else [])]

    first = tf.matmul(x.gen_h0, x.fac_w)
    widths = [con, inferred, inferred, inferred, gen, factors] + ([2 * con, con, 2 * gen, gen] if save else [])
    _, results = over_time(step, [x.con_h0, x.gen_h0, feedback(first, True)], rows, widths)
    now = DecoderOutputs(*results[:6])
    starts = ((x.con_h0, now.con_states), (x.gen_h0, now.gen_states), (first, now.factors))
    stacks = [tf.concat([start[None], rest], axis=0) for start, rest in starts]
    return DecoderScan(*stacks, now.co_mean, now.co_logvar, now.u, *(results[6:] or [None] * 4))


def decoder_scan_grad(x: DecoderInputs, d: DecoderOutputs, saved: DecoderScan, clip: float) -> DecoderScanGrad:
    """Gradients of ``decoder_scan`` with factors as feedback, from those of its outputs (0 x 0 x 0: zero)."""
    con, inferred, gen = saved.con_candidate.shape[2], x.noise.shape[2], saved.gen_candidate.shape[2]
    feeds_back = bool(present(weights=x.fb_w_gates))
    rows = present(**d._asdict(), gen_mask=x.gen_mask, fb_mask=x.fb_mask) | {
        "con": saved.con_stack[:-1], "con_gates": saved.con_gates, "con_candidate": saved.con_candidate,
        "gen": saved.gen_stack[:-1], "gen_gates": saved.gen_gates, "gen_candidate": saved.gen_candidate,
        "spread": 0.5 * tf.exp(0.5 * saved.co_logvar) * x.noise,
    }  # fmt: skip

    def through(d_x, *weights):
        return tf.add_n([tf.matmul(part, w, transpose_b=True) for part, w in zip(d_x, weights, strict=True)])

    def step(carried, row):
        def plus(value, name):
            return value + row[name] if name in row else value

        def back(d_after, cell, w_gates, w_candidate):
            activated = (row[cell], row[f"{cell}_gates"], row[f"{cell}_candidate"])
            d_state, *d_x = gru_step_grad(d_after, *activated, w_gates, w_candidate, clip)
            return d_state, d_x

        d_con, d_gen, d_fed = carried
        d_factors = plus(d_fed, "factors")
        d_masked = through([d_factors], x.fac_w)
        d_gen = plus(d_gen + (d_masked * row["gen_mask"] if "gen_mask" in row else d_masked), "gen_states")
        d_gen, d_gen_x = back(d_gen, "gen", x.gen_w_gates, x.gen_w_candidate)
        d_input = plus(through(d_gen_x, x.gen_u_w_gates, x.gen_u_w_candidate), "u")
        d_heads = [plus(d_input, "co_mean"), plus(d_input * row["spread"], "co_logvar")]
        d_con = plus(d_con + through(d_heads, x.w_mean, x.w_logvar), "con_states")
        d_con, d_con_x = back(d_con, "con", x.con_w_gates, x.con_w_candidate)
        if feeds_back:
            d_fed = through(d_con_x, x.fb_w_gates, x.fb_w_candidate)
            d_fed = d_fed * row["fb_mask"] if "fb_mask" in row else d_fed
        return [d_con, d_gen, d_fed], [*d_con_x, *d_gen_x, *d_heads, d_factors]

    start = [tf.zeros_like(stack[0]) for stack in (saved.con_stack, saved.gen_stack, saved.factor_stack)]
    widths = [2 * con, con, 2 * gen, gen, inferred, inferred, x.fac_w.shape[1]]
    (d_con, d_gen, d_first), results = over_time(step, start, rows, widths, reverse=True)
    reset = [
        gates[..., : stack.shape[2]] * stack[:-1]
        for gates, stack in ((saved.con_gates, saved.con_stack), (saved.gen_gates, saved.gen_stack))
    ]
    d_gen += through([d_first], x.fac_w)
    return DecoderScanGrad(*results[:4], *reset, *results[4:], d_first, d_con, d_gen)
