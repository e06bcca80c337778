"""Windows merged against a known signal and against plain sums over all windows."""

from __future__ import annotations

import numpy as np
import pytest

from lfads_tf2.session_results.merging import MergeError, merge_windows, stretches


def chopped(signal: np.ndarray, bins: int, overlap: int) -> tuple[np.ndarray, np.ndarray]:
    """Windows of a signal and their offsets; the last one ends with the signal."""
    offsets = np.arange(0, len(signal) - bins, bins - overlap)
    offsets = np.append(offsets, len(signal) - bins)
    return np.stack([signal[o : o + bins] for o in offsets]), offsets


@pytest.mark.parametrize(("bins", "overlap"), [(20, 0), (20, 5), (20, 10), (20, 15), (100, 99)])
def test_a_known_signal_comes_back(bins, overlap):
    signal = np.random.default_rng(1).normal(size=(1013, 3))
    windows, offsets = chopped(signal, bins, overlap)
    assert offsets[-1] % (bins - overlap) or overlap == 99, "a last, moved window"
    np.testing.assert_allclose(merge_windows(windows, offsets), signal, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("bins", "overlap"), [(20, 5), (20, 15), (7, 6), (1, 0)])
def test_windows_that_differ_are_averaged_by_weight(bins, overlap):
    """Against the sums over all windows at once."""
    random = np.random.default_rng(2)
    _, offsets = chopped(np.zeros(61), bins, overlap)
    windows = random.normal(size=(len(offsets), bins, 2))
    total, weight = np.zeros((61, 2)), np.zeros((61, 1))
    for window, offset in zip(windows, offsets, strict=True):
        for bin in range(bins):
            w = min(bin + 1, bins - bin)
            total[offset + bin] += w * window[bin]
            weight[offset + bin] += w
    found = merge_windows(iter(windows), offsets)
    np.testing.assert_allclose(found, total / weight, rtol=1e-12)
    # A step between two windows becomes a ramp: no bin jumps from one window to the other.
    two = merge_windows(np.stack([np.zeros(20), np.ones(20)]), [0, 10])
    assert np.all(np.diff(two[9:21]) > 0) and two[9] == 0 and two[20] == 1


def test_types_and_gaps():
    found = merge_windows(np.ones((2, 4, 1), np.float32), [1, 9], length=15)
    assert found.dtype == np.float32 and found.shape == (15, 1)
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(found[:, 0])), [0, 5, 6, 7, 8, 13, 14])
    assert merge_windows(np.ones((1, 4), int), [0]).dtype == np.float64


def test_windows_shorter_than_their_arrays():
    """Weighted by their own middles; what pads them, be it NaN, is nowhere in the result."""
    random, own, offsets = np.random.default_rng(4), [20, 7, 12, 1, 0, 5], [0, 4, 15, 27, 27, 40]
    windows = random.normal(size=(6, 20, 2))
    total, weight = np.zeros((45, 2)), np.zeros((45, 1))
    for window, offset, bins in zip(windows, offsets, own, strict=True):
        window[bins:] = np.nan
        for bin in range(bins):
            w = min(bin + 1, bins - bin)
            total[offset + bin] += w * window[bin]
            weight[offset + bin] += w
    found = merge_windows(iter(windows), offsets, own_bins=own)
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(found, total / weight, rtol=1e-12)
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(found[:, 0])), np.arange(28, 40))
    assert len(merge_windows(windows[:3], offsets[:3], length=30, own_bins=own[:3])) == 30


@pytest.mark.parametrize(
    ("windows", "offsets", "message"),
    [
        ([np.ones(3)], [], "offsets must be"), ([np.ones(3)] * 2, [3, 1], "and rise"),
        ([np.ones(3)], [-1], "at least 0"), ([np.ones(3)], [0, 1], "each of the 2 offsets needs a window, got 1"),
        ([np.ones(3)] * 2, [0], "window 2 has shape"), ([np.ones(3), np.ones(4)], [0, 1], "window 2 has shape"),
        ([np.ones((0, 2))], [0], "window 1 has shape"), ([], [0], "got 0 windows"),
    ],
)  # fmt: skip
def test_refusals(windows, offsets, message):
    with pytest.raises(MergeError, match=message):
        merge_windows(windows, offsets)
    with pytest.raises(MergeError, match="beyond length=3"):
        merge_windows([np.ones(4)], [0], length=3)
    for bad in ([1], [5, 1], [-1, 2], [1.5, 2.0]):
        with pytest.raises(MergeError, match="own_bins must be one whole number from 0 to 4 for each window"):
            merge_windows(np.ones((2, 4)), [0, 2], own_bins=bad)


def test_stretches():
    """Overlapping and adjoining windows share a stretch, whatever their order; a gap or another grid ends it."""
    starts = np.array([5.0, 0.0, 0.1, 0.2, 5.053, 9.0])
    first, second, third = stretches(starts, bins=10, bin_ms=10.0)
    assert (first.start_s, first.bins, list(first.windows), list(first.offsets)) == (0.0, 30, [1, 2, 3], [0, 10, 20])
    assert first.shift_bins < 1e-9
    assert (second.start_s, second.bins, list(second.windows), list(second.offsets)) == (5.0, 15, [0, 4], [0, 5])
    assert second.shift_bins == pytest.approx(0.3)
    np.testing.assert_allclose(third.centres_s(10.0), 9.005 + np.arange(10) * 0.01)
    longer = stretches(np.array([0.0, 0.05, 0.15, 0.22]), np.array([20, 5, 5, 3]), 10.0)
    assert [(part.start_s, part.bins) for part in longer] == [(0.0, 20), (0.22, 3)], "a long one reaches over a short"
    apart = stretches(np.array([0.0, 0.1004]), bins=10, bin_ms=10.0)
    assert [part.start_s for part in apart] == [0.0, 0.1004], "it follows, but between the bins"
    with pytest.raises(MergeError, match="finite"):
        stretches(np.array([np.nan]), 10, 10.0)
