"""Who is traced with AutoGraph: models with parts of a user's own, and no others."""

from __future__ import annotations

import pytest
import tensorflow as tf

from lfads_tf2.hyperparameters import HyperParameters
from lfads_tf2.tracing import traced


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
