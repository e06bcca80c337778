"""Smoothing without the entry itself and condition averages, by brute force, and the width that is chosen."""

from __future__ import annotations

import numpy as np
import pytest

from lfads_tf2.metrics import baselines
from lfads_tf2.metrics.held_out import channel_means, score


def waves(trials=30, bins=60, channels=5, period=20, seed=0):
    random = np.random.default_rng(seed)
    phase = random.uniform(0, 2 * np.pi, (trials, 1, 1))
    rates = 0.5 * np.exp(1.2 * np.sin(2 * np.pi * np.arange(bins)[:, None] / period + phase + np.zeros(channels)))
    return rates, random.poisson(rates)


def test_smoothing_by_brute_force():
    _, spikes = waves(trials=2, bins=7, channels=3)
    means, width = channel_means(spikes), 1.5
    share = baselines.MEAN_SHARE * np.sqrt(2 * np.pi) * width
    expected = np.zeros(spikes.shape)
    for n, t, d in np.ndindex(spikes.shape):
        weights = {s: np.exp(-0.5 * ((t - s) / width) ** 2) for s in range(7) if s != t}
        total = sum(w * spikes[n, s, d] for s, w in weights.items()) + share * means[d]
        expected[n, t, d] = total / (sum(weights.values()) + share)
    np.testing.assert_allclose(baselines.smoothed_without_itself(spikes, width), expected)


def test_the_entry_itself_does_not_count():
    _, spikes = waves(trials=2)
    changed = spikes.copy()
    changed[1, 30, 2] += 50
    before, after = (baselines.smoothed_without_itself(x - channel_means(x) * 0, 2.0) for x in (spikes, changed))
    # Only by way of the channel's mean.
    assert abs(after[1, 30, 2] - before[1, 30, 2]) < 0.1 < after[1, 31, 2] - before[1, 31, 2]


@pytest.mark.parametrize("period", [12, 40])
def test_width_follows_the_data(period):
    rates, spikes = waves(period=period)
    found = baselines.best_smoothing(spikes)
    assert (1 if period == 12 else 3) <= found.width <= (3 if period == 12 else 8)
    assert 0 < found.gains.score().bits < score(rates, spikes).bits


def test_condition_averages():
    random = np.random.default_rng(0)
    conditions = np.repeat([0, 1], 200)
    rates = np.where(conditions[:, None, None] == 0, [[0.2, 1.0]], [[0.6, 0.1]]) * np.ones((400, 8, 2))
    train = random.poisson(rates).astype(float)
    train[0, 0, 0] = np.nan
    got = baselines.condition_averages(train, conditions, np.array([1, 0, 7]), 1.0)
    np.testing.assert_allclose(got[0], rates[-1], atol=0.1)
    np.testing.assert_allclose(got[1], rates[0], atol=0.1)
    np.testing.assert_allclose(got[2], np.broadcast_to(channel_means(train), (8, 2)))
    # NaN is no condition, though np.unique lists it.
    conditions = np.where(np.arange(400) % 2, conditions, np.nan)
    unknown = baselines.condition_averages(train, conditions, np.unique([0.0, 1.0, np.nan, np.nan]), 1.0)
    np.testing.assert_allclose(unknown[:2], rates[[0, -1]], atol=0.1)
    np.testing.assert_allclose(unknown[2], np.broadcast_to(channel_means(train), (8, 2)))
