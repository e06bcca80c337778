"""How the package's functions become graphs."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from lfads_tf2.hyperparameters import HyperParameters
from lfads_tf2.settings.plugins import has_own_parts


def traced(function: Callable, hp: HyperParameters, **options):
    """``tf.function`` of what a model computes, without AutoGraph, which takes four fifths of the time of a trace.

    Loops and conditions over tensors are therefore written as ``tf.while_loop`` and ``tf.cond``. A user's own parts may
    have them as Python's statements: models with such parts are traced with AutoGraph.

    Args:
        function: to be traced.
        hp: of the model.
        options: further ones of ``tf.function``.
    """
    return tf.function(function, autograph=has_own_parts(hp), **options)
