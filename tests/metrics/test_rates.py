"""Measures of inferred rates against hand-computed cases and scipy."""

import numpy as np
import pytest
from scipy import stats

from lfads_tf2.metrics.rates import bits_per_spike, mean_channel_correlation, r2_per_channel_mean, r2_truth


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def test_r2_by_hand():
    truth = np.array([[[0.0, 10.0], [2.0, 14.0]]])  # channel means 1 and 12: total 2 + 8
    rates = np.array([[[0.0, 10.0], [1.0, 14.0]]])  # squared error 1 + 0
    assert r2_truth(rates, truth) == pytest.approx(1 - 1 / 10)
    assert r2_per_channel_mean(rates, truth) == pytest.approx((0.5 + 1.0) / 2)


def test_differences_between_channel_means_earn_nothing(rng):
    truth = rng.normal(size=(4, 10, 3)) + np.array([0.0, 100.0, 200.0])
    constant = np.broadcast_to(truth.mean((0, 1)), truth.shape)
    assert r2_truth(constant, truth) == pytest.approx(0.0, abs=1e-9)
    assert r2_truth(truth, truth) == 1.0


def test_correlation_is_scipys(rng):
    truth, rates = rng.normal(size=(2, 5, 20, 3))
    rates += truth
    expected = np.mean([stats.pearsonr(rates[..., c].ravel(), truth[..., c].ravel())[0] for c in range(3)])
    assert mean_channel_correlation(rates, truth) == pytest.approx(expected)


def test_constant_channels_are_left_out(rng):
    truth = rng.normal(size=(5, 20, 2))
    rates = truth + rng.normal(size=truth.shape)
    with_constant = [np.concatenate([x, np.full((5, 20, 1), 0.1)], axis=2) for x in (rates, truth)]
    assert mean_channel_correlation(*with_constant) == pytest.approx(mean_channel_correlation(rates, truth))
    assert r2_per_channel_mean(*with_constant) == pytest.approx(r2_per_channel_mean(rates, truth))
    ones = np.full((2, 3, 1), 0.1)
    assert all(np.isnan(score(ones, ones)) for score in (r2_truth, r2_per_channel_mean, mean_channel_correlation))


def test_bits_per_spike_is_the_poisson_likelihood_gain(rng):
    rates = rng.gamma(2.0, 0.2, size=(6, 15, 4))
    spikes = rng.poisson(rates)
    null = np.broadcast_to(spikes.mean((0, 1)), rates.shape)
    nll = [-stats.poisson.logpmf(spikes, mean).sum() for mean in (null, rates)]
    assert bits_per_spike(rates, spikes) == pytest.approx((nll[0] - nll[1]) / spikes.sum() / np.log(2))
    assert bits_per_spike(null, spikes) == pytest.approx(0.0, abs=1e-12)


def test_bits_per_spike_by_hand():
    spikes = np.array([[[0], [2]]], dtype=np.uint8)
    rates = np.array([[[0.0], [2.0]]])
    # Model: 2 ln 2 - 2 - 1e-9; constant rate of 1: 0 - 2.
    before = rates.copy()
    assert bits_per_spike(rates, spikes) == pytest.approx(1.0)
    np.testing.assert_array_equal(rates, before)


def test_missing_spikes_are_left_out(rng):
    rates = rng.gamma(2.0, 0.3, size=(6, 15, 2))
    spikes = rng.poisson(rates).astype(float)
    spikes[3:] = np.nan
    assert bits_per_spike(rates, spikes) == pytest.approx(bits_per_spike(rates[:3], spikes[:3]))
    spikes[:, :, 1] = np.nan
    assert bits_per_spike(rates, spikes) == pytest.approx(bits_per_spike(rates[:3, :, :1], spikes[:3, :, :1]))


def test_no_spikes_no_number():
    assert np.isnan(bits_per_spike(np.ones((2, 3, 1)), np.zeros((2, 3, 1))))


@pytest.mark.parametrize("bad", [-0.1, np.nan])
def test_impossible_rates_are_refused(bad):
    rates = np.ones((2, 3, 2))
    rates[1, 1, 1] = bad
    with pytest.raises(ValueError, match="got 1 negative or NaN entries in channel 1; give expected spikes"):
        bits_per_spike(rates, np.ones((2, 3, 2)))


@pytest.mark.parametrize("score", [r2_truth, r2_per_channel_mean, mean_channel_correlation, bits_per_spike])
@pytest.mark.parametrize("shapes", [((2, 3, 1), (2, 4, 1)), ((3, 1), (3, 1)), ((0, 3, 1), (0, 3, 1))])
def test_shapes_are_checked(score, shapes):
    with pytest.raises(ValueError, match="must have the same shape, trials x bins x channels"):
        score(np.ones(shapes[0]), np.ones(shapes[1]))
