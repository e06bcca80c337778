"""What augmentations do to a batch once everything random has been drawn.

``lfads_tf2.training.augmentations`` has their order and their draws.
"""

from __future__ import annotations

import tensorflow as tf

from lfads_tf2.types import Batch, ModelSpec


def encoded_channels(spec: ModelSpec, session):
    """Max encoded channels booleans: which of the stack's channels the encoders of this session read; None: all."""
    widths = [shape.encoded_channels for shape in spec.sessions]
    if min(widths) == spec.max_encoded:
        return None
    return tf.sequence_mask(tf.gather(widths, session), spec.max_encoded)


def on_target(spec: ModelSpec, session, values, elsewhere: float):
    """Values for the encoders' entries -> values for the target's, ``elsewhere`` where the encoders do not read.

    Args:
        values: T x B x D of the encoders' data.
    """
    read = encoded_channels(spec, session)
    if read is not None:
        values = tf.where(read, values, elsewhere)
    if not spec.separate_target:
        return values
    later = spec.first_bin + spec.num_bins - spec.data_bins
    wider = spec.max_channels - spec.max_encoded
    return tf.pad(values, [[0, later], [0, 0], [0, wider]], constant_values=elsewhere)


def encoders_part(spec: ModelSpec, session, target):
    """What the encoders read of a target, 0 in the channels that they do not read."""
    part = target[: spec.data_bins, :, : spec.max_encoded]
    read = encoded_channels(spec, session)
    return part if read is None else tf.where(read, part, 0.0)


def product(first, second):
    """Of two weights of entries, either of which may be None for 1."""
    return second if first is None else first * second


def coordinated_dropout(spec: ModelSpec, batch: Batch, mask, passed, rate) -> Batch:
    """Entries leave the encoders' input; the gradient of the cost comes from these, and from the passed ones, only.

    Keshtkaran and Pandarinath 2019. Entries that the encoders never read always send a gradient.

    Args:
        mask: T x B x D, 0 where an entry leaves, else 1/(1 − rate).
        passed: same shape, 1 where the gradient passes although the entry stayed, else 0.
        rate: 0 switches all of this off, so that it may be a dial.
    """
    flow = tf.where((mask > 0.0) & (rate > 0.0), passed, 1.0)
    return batch._replace(data=batch.data * mask, flow=product(batch.flow, on_target(spec, batch.session, flow, 1.0)))


def moved(spec: ModelSpec, batch: Batch, move) -> Batch:
    """``move`` applied to the target, and what the encoders read of it, so that both move alike.

    It must come before what takes entries from the encoders' data, which are made anew.
    """
    target = move(batch.target)
    return batch._replace(target=target, data=encoders_part(spec, batch.session, target))


def shifted(values, shifts):
    """Each channel of each trial shifted by whole bins and mirrored at the ends.

    Args:
        values: T x B x D.
        shifts: B x D whole numbers; positive is later.
    """
    num_bins = values.shape[0]
    period = max(2 * (num_bins - 1), 1)
    source = tf.math.floormod(tf.range(num_bins) - shifts[..., None], period)
    source = tf.minimum(source, period - source)
    return tf.transpose(tf.gather(tf.transpose(values, [1, 2, 0]), source, batch_dims=2), [2, 0, 1])


def held_out(spec: ModelSpec, batch: Batch, chosen, rate: float) -> Batch:
    """Entries leave input and cost and are scored apart. ``chosen``: T x B x D booleans. All means are kept."""
    kept = tf.where(chosen, 0.0, 1.0 / (1.0 - rate))
    apart = on_target(spec, batch.session, tf.where(chosen, 1.0 / rate, 0.0), 0.0)
    counted = on_target(spec, batch.session, kept, 1.0)
    return batch._replace(
        data=batch.data * kept,
        counted=product(batch.counted, counted),
        apart=apart if batch.counted is None else apart * batch.counted,
    )


def masked(batch: Batch, chosen, means) -> Batch:
    """Entries leave the encoders' input for their channel's mean count, which is what is expected without them.

    Args:
        chosen: T x B x D booleans.
        means: sessions x D, of the training trials.
    """
    return batch._replace(data=tf.where(chosen, tf.gather(means, batch.session), batch.data))
