"""Behaviour in the bins of windows: NaN where it was not measured, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from lfads_tf2 import Recording
from lfads_tf2.recordings import RecordingError
from lfads_tf2.recordings.binning import window_series
from lfads_tf2.recordings.recording import Series, Table, unit_table
from recordings.made import spikes

START = np.zeros(1)


def series(times, *columns) -> Series:
    """Of one column or several; without columns its values are its times."""
    times = np.asarray(times, np.float64)
    return Series(times, np.stack(columns or (times,), axis=1), ["hand"])


def binned(one: Series, bins: int, bin_s: float, how: str = "interpolate") -> np.ndarray:
    return window_series(one, START, bins, bin_s, 0.0, how)[0]


def test_a_sample_that_is_missing_costs_its_own_bin_and_column_alone():
    times = np.arange(0, 10, 0.01) + 0.005
    one, other = np.sin(times), np.cos(times)
    one[[105, 250]] = np.nan
    one[300:310], times[700] = np.inf, np.nan
    found = binned(series(times, one, other), 100, 0.1, "mean")
    for column, values in enumerate((one, other)):
        good = np.isfinite(times) & np.isfinite(values)
        bins = np.floor(times[good] / 0.1 + 1e-6).astype(int)
        expected = [values[good][bins == n].mean() if (bins == n).any() else np.nan for n in range(100)]
        np.testing.assert_allclose(found[:, column], expected, rtol=1e-5)
    assert np.flatnonzero(np.isnan(found[:, 0])).tolist() == [30] and np.isfinite(found[:, 1]).all()


def test_gaps_are_not_interpolated_over():
    times = np.concatenate([np.arange(0, 1, 0.01), np.arange(9, 10, 0.01)])
    found, centres = binned(series(times), 1000, 0.01)[:, 0], 0.01 * np.arange(1000) + 0.005
    known = (centres < 0.99) | ((centres > 9.0) & (centres < 9.99))
    np.testing.assert_array_equal(np.isfinite(found), known)
    np.testing.assert_allclose(found[known], centres[known], rtol=1e-5)
    # Values that are NaN make the same gap, in their own column.
    times = np.arange(0, 10, 0.01)
    lost = np.where((times > 1) & (times < 9), np.nan, times)
    both = binned(series(times, lost, times), 999, 0.01)
    assert np.isnan(both[101:899, 0]).all() and np.isfinite(both[:99]).all() and np.isfinite(both[:, 1]).all()
    # At a sample beside the gap it was measured.
    assert binned(series([0.0, 0.01, 0.02, 0.03, 0.995, 1.0]), 100, 0.01)[99, 0] == np.float32(0.995)
    assert np.isnan(binned(series([]), 10, 0.01)).all()
    assert binned(series([0.5]), 1, 1.0)[0, 0] == 0.5


def test_irregular_and_slow_samples_leave_no_holes():
    random = np.random.default_rng(0)
    centres = 0.01 * (np.arange(980) + 0.5)
    jittered = np.arange(0, 10, 0.01) + random.uniform(0, 0.008, 1000)
    frames_lost = np.arange(0, 10, 0.01)[np.concatenate([[True], random.uniform(size=999) > 0.3])]
    # Many samples a bin, between which some gap is many times the median.
    bursts = np.sort(np.concatenate([np.arange(0, 10, 0.009) + n * 1e-4 for n in range(5)]))
    slow = np.arange(0.0, 11.0, 0.7)
    twice = np.repeat(np.arange(0, 10, 0.01), 2)
    for times in (jittered, frames_lost, bursts, slow, twice):
        found = binned(series(times), 980, 0.01)[:, 0]
        assert np.isfinite(found[1:]).all()
        np.testing.assert_allclose(found[1:], centres[1:], atol=1e-5)


def recording(one: Series) -> Recording:
    """Trials that follow each other at once, the last of which are shorter."""
    stops = np.array([1.0, 2.0, 3.0, 3.5, 4.0, 5.0])
    table = Table({"start_time": np.concatenate([[0.0], stops[:-1]]), "stop_time": stops}, np.arange(6))
    return Recording(unit_table(5), spikes(), tables={"trials": table}, series={"hand": one})


@pytest.mark.parametrize("how", ["interpolate", "mean"])
def test_padded_bins_have_no_behaviour_of_the_next_trial(how):
    cut = recording(series(np.arange(0, 60, 0.001))).cut(lengths="pad", behavior=("hand",), behavior_how=how)
    padded = np.isnan(cut.counts[..., 0])
    assert padded[3:5, 50:].all() and padded.sum() == 100
    np.testing.assert_array_equal(np.isnan(cut.behavior[..., 0]), padded)


def test_timestamps_that_fall_are_refused():
    times = np.arange(0, 60, 0.01)
    times[3000:] -= 20
    message = r"the timestamps of the time series 'hand' must not fall, and 10\.0.* s comes after 29\.99.*; sort"
    with pytest.raises(RecordingError, match=message):
        recording(series(times)).cut(lengths="pad", behavior=("hand",))
    times = np.arange(0, 60, 0.01)
    times[[7, 9]] = times[8], np.nan  # at one time, and not known
    assert np.isfinite(recording(series(times)).cut(window=(0, 500), behavior=("hand",)).behavior[1:]).all()
