"""How the package's functions become graphs."""

from __future__ import annotations

import logging
from collections.abc import Callable

import tensorflow as tf

from lfads_tf2.hyperparameters import HyperParameters
from lfads_tf2.settings.plugins import has_own_parts

_traced: set[str] = set()  # qualified names of all functions that became graphs


def traced(function: Callable, hp: HyperParameters, **options):
    """``tf.function`` of what a model computes, without AutoGraph, which takes four fifths of the time of a trace.

    Loops and conditions over tensors are therefore written as ``tf.while_loop`` and ``tf.cond``. A user's own parts may
    have them as Python's statements: models with such parts are traced with AutoGraph.

    Args:
        function: to be traced.
        hp: of the model.
        options: further ones of ``tf.function``.
    """
    _traced.add(function.__qualname__)
    return tf.function(function, autograph=has_own_parts(hp), **options)


def worth_saying(record: logging.LogRecord) -> bool:
    """Filters TensorFlow's log: not that functions of ours are traced again and again.

    It counts those of all models of a process together, so that many models look like one that is traced too often.
    """
    message = record.getMessage()
    return not ("retracing" in message and any(f" {name} " in message for name in _traced))
