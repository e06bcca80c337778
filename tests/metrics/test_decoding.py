"""Decoding of behaviour against scikit-learn's ridge regression, planted behaviour, and a monkey's reaches."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from conftest import SHARED

from lfads_tf2.metrics import decoding
from lfads_tf2.metrics.decoding import Half, decode


def made(trials=30, bins=12, channels=5, dimensions=2, seed=0, noise=0.5):
    """Rates, their spikes, and behaviour that is linear in the rates of the last three bins; the halves differ."""
    random = np.random.default_rng(seed)
    weights = random.normal(size=(3, channels, dimensions))
    halves = []
    for count in (trials, trials // 2):
        rates = np.exp(np.cumsum(random.normal(size=(count, bins, channels)), axis=1) / 3)
        earlier = [np.pad(rates, ((0, 0), (lag, 0), (0, 0)))[:, :bins] for lag in range(3)]
        behavior = sum(one @ weight for one, weight in zip(earlier, weights, strict=True)) + 40
        behavior += noise * random.normal(size=behavior.shape)
        halves.append(Half(rates, random.poisson(rates).astype(np.uint8), behavior))
    return halves


def scikit_learns(train, valid, behavior, behavior_valid):
    """Least loss in cross-validation, and R², of one dimension: scikit-learn's scaling, ridge, folds and score."""
    linear_model = pytest.importorskip("sklearn.linear_model")
    metrics = pytest.importorskip("sklearn.metrics")
    preprocessing = pytest.importorskip("sklearn.preprocessing")

    def rows(values):
        return np.array([trial[t - 2 : t + 1].ravel() for trial in values for t in range(2, len(trial))])

    x, y = preprocessing.StandardScaler().fit(rows(train)), behavior[:, 2:].ravel()
    scaled, known = x.transform(rows(train)), ~np.isnan(y)
    order = np.random.default_rng(0).permutation(len(train)) % decoding.FOLDS
    fold = np.repeat(order, train.shape[1] - 2)
    found = []
    for share in decoding.PENALTIES:
        loss = 0.0
        for number in range(decoding.FOLDS):
            left, held = known & (fold != number), known & (fold == number)
            model = linear_model.Ridge(alpha=share * left.sum()).fit(scaled[left], y[left])
            loss += np.sum((model.predict(scaled[held]) - y[held]) ** 2)
        model = linear_model.Ridge(alpha=share * known.sum()).fit(scaled[known], y[known])
        truth = behavior_valid[:, 2:].ravel()
        seen = ~np.isnan(truth)
        found.append((loss, metrics.r2_score(truth[seen], model.predict(x.transform(rows(valid)))[seen])))
    return min(found)


def by_kernel(spikes, width):
    """Smoothing written out."""
    bins = spikes.shape[1]
    result = np.zeros(spikes.shape)
    for t in range(bins):
        weights = np.exp(-0.5 * ((np.arange(bins) - t) / width) ** 2)
        result[:, t] = np.average(spikes, axis=1, weights=weights)
    return result


def test_both_ways_are_scikit_learns_ridge():
    train, valid = made()
    train.behavior[3, 4:9, 0] = np.nan  # known in other bins than the second dimension
    valid.behavior[1, :, 1] = np.nan
    found = decode(train, valid, names=["x", "y"])
    for k in range(2):
        y = train.behavior[..., k], valid.behavior[..., k]
        assert found.from_rates.r2[k] == pytest.approx(scikit_learns(train.rates, valid.rates, *y)[1], abs=1e-9)
        tried = {
            width: scikit_learns(by_kernel(train.spikes, width), by_kernel(valid.spikes, width), *y)
            for width in (0.5, 1, 2, 4, 8)
        }
        best = min(tried, key=lambda width: tried[width][0])
        assert found.from_smoothed.widths[k] == best
        assert found.from_smoothed.r2[k] == pytest.approx(tried[best][1], abs=1e-9)
    assert str(found).startswith("Behaviour decoded, R² of x, y: from inferred rates 0.9")


def test_planted_behaviour_is_found_and_its_figures_are_of_the_predictions():
    train, valid = made(noise=0.0)
    found = decode(train, valid)
    assert (found.from_rates.r2 > 0.999).all() and (found.from_smoothed.r2 < 0.95).all()
    assert (found.from_smoothed.r2 > 0.2).all() and found.names == ["0", "1"]
    for one in (found.from_rates, found.from_smoothed):
        assert one.values.shape == valid.behavior.shape and np.isnan(one.values[:, :2]).all()
        error = np.sum((one.values - valid.behavior)[:, 2:] ** 2, axis=(0, 1))
        total = np.sum((valid.behavior[:, 2:] - valid.behavior[:, 2:].mean(axis=(0, 1))) ** 2, axis=(0, 1))
        np.testing.assert_allclose(one.r2, 1 - error / total, atol=1e-12)
    noise = [half._replace(rates=np.random.default_rng(1).random(half.rates.shape)) for half in (train, valid)]
    assert (decode(*noise).from_rates.r2 < 0.05).all()


def test_constant_and_unknown_dimensions_have_no_score_and_touch_no_other():
    train, valid = made(dimensions=1)

    def beside(half, constant):
        still = np.full(half.behavior.shape, constant)
        return half._replace(behavior=np.concatenate([still, half.behavior, still * np.nan], axis=2))

    alone, among = decode(train, valid), decode(beside(train, 7.0), beside(valid, 7.0))
    np.testing.assert_allclose(among.from_rates.r2, [np.nan, alone.from_rates.r2[0], np.nan])
    np.testing.assert_allclose(among.from_smoothed.r2, [np.nan, alone.from_smoothed.r2[0], np.nan])
    assert "R² of 1: from" in str(among)
    changes = beside(valid, 7.0).behavior + np.arange(12)[:, None]
    assert np.isnan(decode(beside(train, 7.0), valid._replace(behavior=changes)).from_rates.r2[0])


def test_what_one_array_lacks_is_left_out():
    train, valid = made()
    whole = decode(train, valid)
    rates = np.concatenate([train.rates, np.ones((30, 3, 5))], axis=1)  # bins that are forecast
    longer = decode(train._replace(rates=rates, behavior=train.behavior[:20]), valid)
    shorter = decode(Half(*(array[:20] for array in train)), valid)
    np.testing.assert_array_equal(longer.from_rates.r2, shorter.from_rates.r2)
    assert longer.known == (20, 15) and whole.known == (30, 15)
    # Bins of the spikes before the first of the rates are read by the smoothing.
    earlier = [half._replace(rates=half.rates[:, 4:], behavior=half.behavior[:, 4:]) for half in (train, valid)]
    late = decode(*earlier, first_bin=4)
    assert late.behavior.shape == (15, 8, 2)
    assert (
        late.from_smoothed.r2 != decode(*(Half(*(a[:, -8:] for a in half)) for half in earlier)).from_smoothed.r2
    ).all()
    for k, width in enumerate(late.from_smoothed.widths):
        given = [half._replace(rates=by_kernel(half.spikes, width)[:, 4:]) for half in earlier]
        assert decode(*given, first_bin=4).from_rates.r2[k] == pytest.approx(late.from_smoothed.r2[k], abs=1e-9)
    # Trials that were not inferred.
    gone = np.where(np.arange(15)[:, None, None] < 3, np.nan, valid.rates)
    fewer = decode(train, valid._replace(rates=gone))
    np.testing.assert_array_equal(fewer.trials, np.arange(3, 15))
    assert decode(train, valid._replace(rates=np.where(np.arange(12)[:, None] % 3 > 0, valid.rates, np.nan))) is None
    kept = decode(train, Half(*(array[3:] for array in valid)))
    np.testing.assert_allclose(fewer.from_rates.r2, kept.from_rates.r2)


def test_nothing_to_decode_is_none():
    train, valid = made()
    silent = valid._replace(behavior=np.full_like(valid.behavior, np.nan))
    assert decode(train, silent) is None and decode(silent, valid) is None
    assert decode(Half(*(array[:1] for array in train)), valid) is None
    assert decode(train, Half(*(array[:0] for array in valid))) is None
    assert decode(train, valid, first_bin=12) is None
    still = [half._replace(behavior=np.zeros(half.behavior.shape, int)) for half in (train, valid)]
    assert decode(*still) is None
    assert decode(*(half._replace(behavior=half.behavior[..., :0]) for half in (train, valid))) is None


@pytest.mark.parametrize("odd", [{"trials": 2}, {"bins": 1}, {"bins": 2}, {"channels": 1, "dimensions": 1}], ids=str)
def test_the_smallest_data(odd):
    train, valid = made(**odd)
    found = decode(train, valid)
    assert found.behavior.shape == valid.behavior.shape
    dead = [half._replace(rates=np.ones_like(half.rates), spikes=np.zeros_like(half.spikes)) for half in (train, valid)]
    constant = decode(*dead)
    assert constant is None or (constant.from_rates.r2 <= 1e-9).all()


def test_gaps_in_spikes_count_as_their_means():
    train, valid = made()
    holes = [half._replace(spikes=half.spikes.astype(np.float32)) for half in (train, valid)]
    filled = [half._replace(spikes=half.spikes.copy()) for half in holes]
    for half in holes:
        half.spikes[1:4, 2:5, 0] = np.nan
    mean = np.nanmean(holes[0].spikes[..., 0])
    for half, with_holes in zip(filled, holes, strict=True):
        half.spikes[np.isnan(with_holes.spikes)] = mean
    np.testing.assert_allclose(decode(*holes).from_smoothed.r2, decode(*filled).from_smoothed.r2, atol=1e-6)


def test_many_bins_and_channels_are_cut(monkeypatch):
    train, valid = made(trials=60, channels=20)
    whole = decode(train, valid)
    monkeypatch.setattr(decoding, "MOST_ROWS", 300)
    few = decode(train, valid)
    assert few.known == (60, 30) and few.used == (30, 30) and few.from_rates.r2.mean() > 0.9
    monkeypatch.setattr(decoding, "MOST_ROWS", 100)
    assert decode(train, valid).trials.tolist() == np.linspace(0, 29, 10).round().astype(int).tolist()
    monkeypatch.undo()
    # Channels that repeat others: all of their variance lies in as many components.
    twice = [half._replace(rates=np.tile(half.rates, 2)) for half in (train, valid)]
    monkeypatch.setattr(decoding, "MOST_CHANNELS", 20)
    np.testing.assert_allclose(decode(*twice).from_rates.r2, whole.from_rates.r2, atol=0.02)


def test_arrays_of_other_data_are_refused():
    train, valid = made()
    with pytest.raises(ValueError, match=r"rates must be .* got train \(30, 12, 5\) and valid \(15, 12, 4\)"):
        decode(train, valid._replace(rates=valid.rates[..., :4]))
    with pytest.raises(ValueError, match="behavior must be trials x bins x columns"):
        decode(train, valid._replace(behavior=valid.behavior[..., 0]))


def test_a_monkeys_reaches():
    """Smoothed counts decode position and velocity as well as they do elsewhere (shared/data/README.md)."""
    path = SHARED / "data" / "chewie_100ms.h5"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    with h5py.File(path) as file:
        halves = [
            Half(file[f"{h}_data"][()], file[f"{h}_data"][()], file[f"{h}_behavior"][()]) for h in ("train", "valid")
        ]
    found = decode(*halves)
    np.testing.assert_allclose(found.from_smoothed.r2, [0.796, 0.812, 0.767, 0.681], atol=0.05)
    # Counts that are not smoothed tell less.
    assert (found.from_rates.r2 < found.from_smoothed.r2).all()
