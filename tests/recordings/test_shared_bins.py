"""Windows and whole intervals that share bins are kept out of each other's half; those that share none are all kept."""

from __future__ import annotations

import numpy as np
import pytest

from lfads_tf2 import Recording
from lfads_tf2.recordings.halves import NEITHER, TRAIN, VALID, overlapping, sharing
from lfads_tf2.recordings.recording import Table, unit_table
from recordings.made import spikes


def recording(starts, stops) -> Recording:
    table = Table({"start_time": np.asarray(starts), "stop_time": np.asarray(stops)}, np.arange(len(starts)))
    return Recording(unit_table(5), spikes(), tables={"trials": table})


def brute_force(starts, stops, which, others) -> list[int]:
    def overlap(a, b):
        return starts[a] < stops[b] and starts[b] < stops[a]

    return [n for n in np.flatnonzero(which) if any(overlap(n, other) for other in np.flatnonzero(others))]


def test_sharing_is_that_of_brute_force():
    random = np.random.default_rng(0)
    for _ in range(20):
        starts = np.sort(random.uniform(0, 30, 40))
        stops, half = starts + random.exponential(1.0, 40), random.integers(0, 3, 40)
        for which, others in ((TRAIN, VALID), (VALID, TRAIN)):
            found = sharing(starts, stops, half == which, half == others)
            assert found.tolist() == brute_force(starts, stops, half == which, half == others)
        everything = np.ones(40, bool)
        assert overlapping(starts, stops) == any(
            brute_force(starts, stops, everything & (np.arange(40) == n), np.arange(40) > n) for n in range(40)
        )
    unknown = np.full(4, np.nan)
    assert not overlapping(unknown, unknown) and not len(sharing(unknown, unknown, unknown != 0, unknown != 0))


def test_whole_intervals_that_overlap_are_not_divided():
    starts = 0.5 * np.arange(60)
    made = recording(starts, starts + 1.0)
    cut = made.cut()
    starts, stops = cut.windows.start_s, cut.windows.start_s + 1.0 - 1e-9
    assert not brute_force(starts, stops, cut.half == VALID, cut.half == TRAIN)
    assert 0 < (cut.half == NEITHER).sum() < 20 and "share bins with" not in cut.report()
    assert "12 of 12 validation windows share bins with training windows" in made.cut(halves="every").report()


@pytest.mark.parametrize("halves", ["auto", "every", "blocks"])
def test_padded_trials_that_follow_each_other_share_nothing(halves):
    ends = np.cumsum(np.tile([1.0, 0.7, 0.4], 8))
    made = recording(np.concatenate([[0.0], ends[:-1]]), ends)
    cut = made.cut(lengths="pad", halves=halves)
    assert not (cut.half == NEITHER).any() and (cut.half == VALID).sum() >= 4
    assert "share" not in cut.report()
    if halves == "auto":
        np.testing.assert_array_equal(cut.half, made.cut(lengths="pad", halves="every").half)


def test_a_long_trial_over_others_counts_as_long_as_it_is():
    starts = np.concatenate([[0.0], np.arange(1.0, 20.0)])
    stops = np.concatenate([[10.0], np.arange(1.5, 20.5)])
    cut = recording(starts, stops).cut(lengths="pad")
    valid = np.flatnonzero(cut.half == VALID)
    assert valid.max() > 10 and not (cut.half[0] == TRAIN and (valid < 10).any())
    # Trials on clocks of their own share nothing, however far their windows reach.
    trials = [[np.array([0.0, 0.1]), np.array([0.3, 1.0])]] * 20
    reaching = Recording.of(trials).cut(window=(-1000.0, 2000.0), halves="every", max_crosstalk=1.0)
    assert "share" not in reaching.report()
