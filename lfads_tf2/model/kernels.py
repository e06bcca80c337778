"""What the compiled operations compute: the functions of ``lfads_tf2.model.loops`` and ``elementwise``, faster."""

from __future__ import annotations

import contextlib
import contextvars
import inspect
import os

import tensorflow as tf

from lfads_tf2.model import native
from lfads_tf2.model.loops import (
    DecoderInputs,
    DecoderOutputs,
    DecoderScan,
    DecoderScanGrad,
    GruInputs,
    GruScan,
    GruScanGrad,
    present,
)


def kernels() -> Kernels:
    """Those of this machine. Raises RuntimeError where there are none."""
    operations = native.load()
    if operations is None:
        raise RuntimeError("the native kernels are not available here; ask native.available() before using them")
    return Kernels(operations)


class Kernels:
    """Inputs and outputs go by the names that ``native/ops.cc`` registers: no order is known here."""

    def __init__(self, operations):
        """``operations``: what ``native.load()`` gives."""
        self.operations = operations

    def gru_scan(self, x: GruInputs, clip: float, reverse: bool, save: bool):
        """As ``loops.gru_scan``; without ``save`` the activations are empty."""
        operation = self.operations.lfads_gru_scan
        return GruScan(**_call(operation, x._asdict(), clip=clip, reverse=reverse, save=save))

    def gru_scan_grad(self, d_states, d_last, saved: GruScan, w_gates, w_candidate, clip: float, reverse: bool):
        """As ``loops.gru_scan_grad``."""
        given = {"d_states": d_states, "d_last": d_last, "w_gates": w_gates, "w_candidate": w_candidate}
        inputs = saved._asdict() | given
        return GruScanGrad(**_call(self.operations.lfads_gru_scan_grad, inputs, clip=clip, reverse=reverse))

    def decoder_scan(self, x: DecoderInputs, clip: float, save: bool):
        """As ``loops.decoder_scan`` with factors as feedback; without ``save`` the activations are empty."""
        operation, feeds = self.operations.lfads_decoder_scan, bool(present(weights=x.fb_w_gates))
        return DecoderScan(**_call(operation, x._asdict(), clip=clip, feed_factors=feeds, save=save))

    def decoder_scan_grad(self, x: DecoderInputs, d: DecoderOutputs, saved: DecoderScan, clip: float):
        """As ``loops.decoder_scan_grad``."""
        operation, feeds = self.operations.lfads_decoder_scan_grad, bool(present(weights=x.fb_w_gates))
        inputs = x._asdict() | saved._asdict() | {f"d_{name}": value for name, value in d._asdict().items()}
        return DecoderScanGrad(**_call(operation, inputs, clip=clip, feed_factors=feeds))

    def dropout_mask(self, seed, keep, count: int):
        """As ``elementwise.dropout_mask``, to the bit."""
        random = tf.raw_ops.StatelessRandomGetKeyCounter(seed=seed)
        # The operations know floats alone; these are only carried.
        inputs = {name: tf.bitcast(getattr(random, name), tf.float32) for name in ("key", "counter")}
        mask = self.operations.lfads_dropout_mask(**inputs, keep=keep, count=count, threads=threads_of_one_operation())
        mask.set_shape([count])
        return mask

    def poisson_log_prob(self, counts, log_rates):
        """As ``elementwise.poisson_log_prob``; counts get no gradient."""

        def forward(counts, log_rates):
            inputs = {"counts": counts, "log_rates": log_rates}
            log_prob, slope = _call(self.operations.lfads_poisson, inputs).values()
            for result in (log_prob, slope):
                result.set_shape(log_rates.shape)
            return log_prob, lambda d_log_prob: (None, d_log_prob * slope)

        return tf.custom_gradient(forward)(counts, log_rates)


def _call(operation, inputs: dict, **attributes) -> dict:
    """Outputs by name; of `inputs`, the operation gets those that it knows."""
    known = inspect.signature(operation).parameters
    inputs = {name: value for name, value in inputs.items() if name in known}
    return operation(**inputs, **attributes, threads=threads_of_one_operation())._asdict()


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_models_at_once = contextvars.ContextVar("models_at_once", default=1)


@contextlib.contextmanager
def side_by_side(models: int):
    """Operations that are made within share the threads with those of so many models that run at the same time."""
    before = _models_at_once.set(models)
    try:
        yield
    finally:
        _models_at_once.reset(before)


def threads_of_one_operation() -> int:
    """As many as TensorFlow was told to use in all, or as there are usable cores."""
    configured = tf.config.threading.get_inter_op_parallelism_threads()
    return max(1, (configured if configured > 0 else usable_cores()) // _models_at_once.get())
