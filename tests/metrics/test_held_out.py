"""The score of held-out spikes against plain sums, the bootstrap, and what theory says of it."""

from __future__ import annotations

import numpy as np
import pytest

from lfads_tf2.metrics import held_out
from lfads_tf2.metrics.rates import bits_per_spike


def example(trials=40, bins=30, channels=6, seed=0):
    random = np.random.default_rng(seed)
    phase = random.uniform(0, 2 * np.pi, (trials, 1, 1))
    rates = 0.3 * np.exp(np.sin(0.3 * np.arange(bins)[:, None] + phase + random.uniform(0, 6, channels)))
    return rates, random.poisson(rates), random


def test_value_is_bits_per_spike():
    rates, spikes, _ = example()
    partly = np.where(np.arange(30)[:, None] % 7 == 3, np.nan, spikes.astype(float))
    for observed in (spikes, partly):
        assert held_out.score(rates, observed).bits == pytest.approx(bits_per_spike(rates, observed), rel=1e-10)


def test_error_is_that_of_the_bootstrap():
    rates, spikes, random = example(trials=200)
    means = held_out.channel_means(spikes)
    values = []
    for _ in range(400):
        rows = random.integers(200, size=200)
        sums = held_out.Gains()
        sums.add(rates[rows], spikes[rows], means)
        values.append(sums.score().bits)
    assert held_out.score(rates, spikes).error == pytest.approx(np.std(values), rel=0.15)


def test_blocks_and_sessions_add_up():
    (rates, spikes, _), (other, more, _) = example(), example(channels=4, seed=1)
    sums = held_out.Gains()
    for part in (slice(0, 13), slice(13, 40)):
        sums.add(rates[part], spikes[part], held_out.channel_means(spikes))
    assert sums.score() == pytest.approx(held_out.score(rates, spikes))
    sums.add(other, more, held_out.channel_means(more))
    a, b = (held_out.score(r, s).bits * s.sum() for r, s in ((rates, spikes), (other, more)))
    assert sums.score().bits == pytest.approx((a + b) / (spikes.sum() + more.sum()))


def test_true_rates_are_the_ceiling_of_honest_ones():
    """Rates made from the spikes themselves score above the truth: that is what the masks are for."""
    rates, spikes, random = example(trials=300)
    truth = held_out.score(rates, spikes)
    noisy = held_out.score(rates * np.exp(0.3 * random.normal(size=rates.shape)), spikes)
    copied = held_out.score(0.5 * (rates + spikes), spikes)
    assert noisy.bits < truth.bits - 2 * truth.error < truth.bits + 2 * truth.error < copied.bits


def test_nothing_to_score():
    silent = held_out.score(np.full((3, 2, 2), 0.1), np.zeros((3, 2, 2)))
    assert np.isnan(silent.bits) and np.isnan(silent.error)
    one = held_out.score(np.full((1, 2, 2), 0.5), np.ones((1, 2, 2)))
    assert np.isfinite(one.bits) and np.isnan(one.error)
    with pytest.raises(ValueError, match="same shape"):
        held_out.score(np.ones((1, 2, 2)), np.ones((1, 2, 3)))
    with pytest.raises(ValueError, match="not log-rates"):
        held_out.score(-np.ones((1, 2, 2)), np.ones((1, 2, 2)))
