"""The tally of an epoch: means, skipped and first bad steps, for one model and for many, against plain sums."""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

from lfads_tf2.hyperparameters import HyperParameters
from lfads_tf2.objective import Costs
from lfads_tf2.training.tally import BAD_STEPS_IN_A_ROW, Tally, numbers, validation_means
from lfads_tf2.types import ModelSpec, SessionShape

SPEC = ModelSpec(HyperParameters(kl_increase_steps=8, l2_increase_steps=16), 6, (SessionShape("a", 5),) * 2)
RANDOM = np.random.default_rng(4)
# Steps of three models: one that fails now and then, one that fails for good after two, one that always fails.
GOOD = np.array([[1, 0, 1, 1, 0, 0, 1, 1], [1, 1, 0, 0, 0, 0, 0, 0], [0] * 8], bool)


def drawn(*leading: int) -> Costs:
    """Costs of several steps, every entry another number."""
    sizes = {"session_recon": [2], "session_share": [2]}
    return Costs(*(RANDOM.random([*leading, *sizes.get(name, [])]).astype(np.float32) for name in Costs._fields))


def tallied(costs: Costs, norms, good, variables, members=()):
    """The result of an epoch whose steps are along the first axis."""
    tally, step = Tally.start(SPEC, members), tf.zeros(members, tf.int64)
    for n in range(len(norms)):
        step += tf.cast(tally.goes_on, tf.int64)
        tally = tally.add(
            Costs(*(tf.constant(c[n]) for c in costs)), *map(tf.constant, (norms[n], good[n], variables[n]))
        )
    weights = [tf.ones([*members, 3]), tf.zeros([*members, 2, 2])]
    return numbers(tally.result(SPEC.hyperparameters, step - 1, weights))


def test_counts_good_steps_until_too_many_fail():
    costs, norms = drawn(8, 3), RANDOM.random((8, 3)).astype(np.float32)
    norms[~GOOD.T] = np.nan
    costs.total[~GOOD.T] = np.inf
    variables = RANDOM.integers(0, 9, (8, 3)).astype(np.int32)
    population = tallied(costs, norms, GOOD.T, variables, (3,))
    # By hand: the second model's last steps come after it was given up.
    assert population.steps_skipped.tolist() == [3, BAD_STEPS_IN_A_ROW, BAD_STEPS_IN_A_ROW]
    assert population.bad_in_a_row.tolist() == [0, BAD_STEPS_IN_A_ROW, BAD_STEPS_IN_A_ROW]
    assert population.first_bad.tolist() == [variables[4, 0], variables[2, 1], variables[0, 2]]
    np.testing.assert_allclose(population.kl_weight, [7 / 8, 6 / 8, 4 / 8])
    np.testing.assert_allclose(population.l2_weight, [7 / 16, 6 / 16, 4 / 16])
    for member, counted in enumerate(GOOD):
        one = tf.nest.map_structure(lambda array, m=member: array[m], population)
        assert one.went_bad == (member > 0) and one.weights_finite
        if not counted.any():
            assert math.isnan(one.costs.total) and math.isnan(one.gradient_norm)
            continue
        for name in set(Costs._fields) - {"l2"}:
            expected = getattr(costs, name)[counted, member].mean(0)
            np.testing.assert_allclose(getattr(one.costs, name), expected, rtol=1e-6, err_msg=name)
        assert one.costs.l2 == costs.l2[counted, member][-1]
        np.testing.assert_allclose(one.gradient_norm, norms[counted, member].mean(), rtol=1e-6)
        # The model alone has the very same numbers.
        alone = tallied(Costs(*(c[:, member] for c in costs)), norms[:, member], counted, variables[:, member])
        for mine, its in zip(tf.nest.flatten(alone), tf.nest.flatten(one), strict=True):
            np.testing.assert_array_equal(mine, its)


def test_weights_that_are_not_finite_are_found():
    tally = Tally.start(SPEC, (2,)).add(Costs.zeros(SPEC, (2,)), tf.zeros(2), tf.constant([True, True]))
    weights = [tf.ones([2, 3]), tf.constant([[0.0, 1.0], [math.nan, 0.0]])]
    assert tally.result(SPEC.hyperparameters, tf.constant([0, 0]), weights).weights_finite.numpy().tolist() == [
        True,
        False,
    ]


def test_validation_weighs_trials_not_batches():
    costs, weights = drawn(3), np.array([[1, 1, 1], [1, 0, 0], [1, 1, 0]], np.float32)
    means = numbers(
        tf.function(lambda: validation_means(
            lambda index, _: Costs(*(tf.gather(c, index) for c in costs)), SPEC, tf.constant(weights)
        ))()
    )  # fmt: skip
    for name in Costs._fields:
        expected = np.average(getattr(costs, name), axis=0, weights=weights.sum(1))
        np.testing.assert_allclose(getattr(means, name), expected, rtol=1e-6, err_msg=name)
