"""Statistics of every random draw: rates, moments, and counts that jitter conserves."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from lfads_tf2 import noise
from lfads_tf2.hyperparameters import HyperParameters
from lfads_tf2.types import ModelSpec, SessionShape


def spec_of(**settings) -> ModelSpec:
    hp = HyperParameters(
        co_dim=2, ic_dim=5, gen_dim=9, con_dim=4, ci_enc_dim=3, ic_enc_dim=6, factors_dim=4, **settings
    )
    return ModelSpec(hp, 40, (SessionShape("a", 11),))


@pytest.mark.parametrize("keep", [0.3, 0.5, 0.95, 0.999])
def test_dropout_mask_is_unbiased(keep):
    mask = noise.dropout_mask([101, 103, 7], keep, tf.constant([1, 2])).numpy()
    assert set(np.unique(mask)) <= {0.0, np.float32(1 / keep)}
    rate, entries = (mask > 0).mean(), mask.size
    assert abs(rate - keep) < 4 * np.sqrt(keep * (1 - keep) / entries) + 2**-16
    # Neighbours are independent: the product's mean is the squared rate.
    kept = (mask > 0).astype(float).ravel()
    assert abs((kept[1:] * kept[:-1]).mean() - keep**2) < 5 * np.sqrt(1 / entries)


def test_masks_fit_the_model_and_are_none_without_dropout():
    spec = spec_of(keep_prob=0.9)
    masks = noise.draw_masks(spec, 6, tf.constant([1, 2]), 0.9)
    shapes = {name: value.shape.as_list() for name, value in masks._asdict().items() if value is not None}
    assert shapes == {
        "data": [40, 6, 11], "gen_out": [40, 6, 9], "ic_code": [6, 12], "con_code": [40, 6, 6], "feedback": [40, 6, 4],
    }  # fmt: skip
    assert all(mask is None for mask in noise.draw_masks(spec, 6, tf.constant([1, 2]), 1.0))


def test_noise_is_standard_normal_and_streams_differ():
    spec = spec_of()
    drawn = noise.draw_noise(spec, 500, noise.stream(3, noise.TRAIN_NOISE, 7))
    for values in (drawn.g0.numpy(), drawn.co.numpy()):
        error = 4 / np.sqrt(values.size)
        assert abs(values.mean()) < error and abs(values.std() - 1) < error
    again = noise.draw_noise(spec, 500, noise.stream(3, noise.TRAIN_NOISE, tf.constant(7, tf.int64)))
    np.testing.assert_array_equal(drawn.co, again.co)
    for other in (noise.stream(4, noise.TRAIN_NOISE, 7), noise.stream(3, noise.VALID_NOISE, 7), noise.stream(3, 0, 8)):
        assert np.abs(noise.draw_noise(spec, 500, other).co - drawn.co).max() > 0.1


@pytest.mark.parametrize("width", [1, 3, 25])
def test_jitter_conserves_counts_and_stays_within_its_width(width):
    random = np.random.default_rng(0)
    counts = random.poisson(0.6, (30, 8, 5)).astype(np.float32)
    moved = tf.function(noise.jitter_spikes)(tf.constant(counts), width, tf.constant([1, 2])).numpy()
    np.testing.assert_array_equal(moved.sum(0), counts.sum(0))
    assert (moved != counts).any()


def test_jitter_shifts_are_uniform_and_reflected():
    """One spike a trial in the middle lands on [−w, w) equally often; one at the start is mirrored there."""
    trials, width = 40000, 2
    counts = np.zeros((9, trials, 2), np.float32)
    counts[4, :, 0] = counts[0, :, 1] = 1
    moved = noise.jitter_spikes(tf.constant(counts), width, tf.constant([5, 6])).numpy()
    middle, start = moved[:, :, 0].mean(1), moved[:, :, 1].mean(1)
    error = 4 * np.sqrt(0.25 * 0.75 / trials)
    np.testing.assert_allclose(middle, [0, 0, 0.25, 0.25, 0.25, 0.25, 0, 0, 0], atol=error)
    # Shifts −2, −1, 0, 1 from bin 0 land on 2, 1, 0, 1.
    np.testing.assert_allclose(start, [0.25, 0.5, 0.25, 0, 0, 0, 0, 0, 0], atol=error)


def test_jitter_without_spikes():
    empty = tf.zeros([5, 3, 2])
    np.testing.assert_array_equal(noise.jitter_spikes(empty, 3, tf.constant([1, 2])), empty)
