"""Who is traced with AutoGraph, and what TensorFlow says of functions that are traced again."""

from __future__ import annotations

import pytest
import tensorflow as tf

from lfads_tf2.hyperparameters import HyperParameters
from lfads_tf2.tracing import traced, worth_saying


def at_least_one(x):
    if x < 1.0:
        x = tf.ones_like(x)
    return x


@pytest.mark.parametrize("flag", ["output_dist", "co_prior", "augmentations"])
def test_own_parts_may_have_conditions_over_tensors(flag):
    run = traced(at_least_one, HyperParameters(**{flag: "my_module:Mine"}))
    assert [float(run(tf.constant(x))) for x in (0.5, 2.0)] == [1.0, 2.0]


def test_the_packages_own_are_traced_without_autograph():
    with pytest.raises(tf.errors.OperatorNotAllowedInGraphError):
        traced(at_least_one, HyperParameters())(tf.constant(0.5))


@pytest.fixture
def tensorflow_log(caplog):
    log = tf.get_logger()
    log.addFilter(worth_saying)
    yield caplog
    log.removeFilter(worth_saying)


def doubled(x):
    return 2.0 * x


def halved(x):
    return 0.5 * x


def test_that_functions_of_many_models_are_traced_is_not_told(tensorflow_log):
    """TensorFlow counts those of all models of a process as one; others than ours are still told."""
    for _ in range(12):
        traced(doubled, HyperParameters())(tf.constant(1.0))
        tf.function(halved)(tf.constant(1.0))
    assert "calls to <function halved at" in tensorflow_log.text and "doubled" not in tensorflow_log.text
