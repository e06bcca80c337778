"""One batch on several devices: each replica takes a share of the trials, and gradients are averaged.

Noise and masks are drawn for the whole batch on every replica and then shared out, so that the numbers are those of
one device with the same batch.
"""

from __future__ import annotations

import contextlib

import tensorflow as tf

from lfads_tf2.types import Batch, Masks, Noise


def strategy_for(num_gpus: int) -> tf.distribute.Strategy | None:
    """A MirroredStrategy over the first GPUs; None for a single device."""
    return None if num_gpus < 2 else tf.distribute.MirroredStrategy([f"/gpu:{n}" for n in range(num_gpus)])


def scope(strategy: tf.distribute.Strategy | None):
    """Where variables are made."""
    return contextlib.nullcontext() if strategy is None else strategy.scope()


def own_share(batch: Batch, draws: Noise, masks: Masks) -> tuple[Batch, Noise, Masks]:
    """This replica's trials of a batch and what was drawn for them; all of it on a single device."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return batch, draws, masks
    number, index = context.num_replicas_in_sync, context.replica_id_in_sync_group

    def share(value, axis):
        return None if value is None else tf.stack(tf.split(value, number, axis=axis))[index]

    whole = ("session", "trials")
    return (
        Batch(
            **{name: share(value, 1) for name, value in batch._asdict().items() if name not in whole},
            session=batch.session,
        ),
        Noise(share(draws.g0, 0), share(draws.co, 1)),
        Masks(**{name: share(value, 0 if name == "ic_code" else 1) for name, value in masks._asdict().items()}),
    )


def mean(values):
    """The mean over replicas of a structure of tensors; the values themselves on a single device."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return values
    flat = tf.nest.flatten(values)
    return tf.nest.pack_sequence_as(values, context.all_reduce(tf.distribute.ReduceOp.MEAN, flat))


def run(strategy: tf.distribute.Strategy | None, step, *arguments):
    """``step(*arguments)`` on every replica; returns the first replica's result."""
    if strategy is None:
        return step(*arguments)
    results = strategy.run(step, arguments)
    return tf.nest.map_structure(lambda value: strategy.experimental_local_results(value)[0], results)
