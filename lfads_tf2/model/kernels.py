"""The loops over time by the compiled operations; the same four functions as ``lfads_tf2.model.loops``."""

from __future__ import annotations

import contextlib
import contextvars
import inspect
import os

import tensorflow as tf

from lfads_tf2.model.loops import (
    DecoderInputs,
    DecoderOutputs,
    DecoderScan,
    DecoderScanGrad,
    GruScan,
    GruScanGrad,
    present,
)


class Kernels:
    """Inputs and outputs go by the names that ``native/ops.cc`` registers: no order is known here."""

    def __init__(self, operations):
        """``operations``: what ``native.load()`` gives."""
        self.operations = operations

    def gru_scan(self, x_gates, x_candidate, h0, w_gates, w_candidate, clip: float, reverse: bool, save: bool):
        """As ``loops.gru_scan``; without ``save`` the activations are empty."""
        weights = {"w_gates": w_gates, "w_candidate": w_candidate}
        inputs = {"x_gates": x_gates, "x_candidate": x_candidate, "h0": h0, **weights}
        return GruScan(**_call(self.operations.lfads_gru_scan, inputs, clip=clip, reverse=reverse, save=save))

    def gru_scan_grad(self, d_states, saved: GruScan, w_gates, w_candidate, clip: float, reverse: bool):
        """As ``loops.gru_scan_grad``."""
        inputs = saved._asdict() | {"d_states": d_states, "w_gates": w_gates, "w_candidate": w_candidate}
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
    """As many as TensorFlow was told to use in one operation, or as there are usable cores."""
    configured = tf.config.threading.get_intra_op_parallelism_threads()
    return max(1, (configured if configured > 0 else usable_cores()) // _models_at_once.get())
