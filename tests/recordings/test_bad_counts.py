"""Entries of a source that are no spike counts."""

from __future__ import annotations

import numpy as np
import pytest

from lfads_tf2 import Recording
from lfads_tf2.recordings import RecordingError
from recordings.made import write_struct_array

BAD_COUNTS = {
    np.nan: "NaN or infinity: nan at {}; every bin needs a value: fill the gaps, or leave these trials or units out",
    -1.0: "negative count: -1.0 at {}; spike counts are at least 0: .*missing, or write continuous data into files",
    0.5: "not a whole number: 0.5 at {}; the values look .*; store spike counts a bin, or write continuous data",
}


@pytest.mark.parametrize("bad", BAD_COUNTS)
def test_counts_that_are_none(tmp_path, bad):
    """Are named with file, key, place, value and number, by the check of the files for training."""
    counts = np.random.default_rng(5).poisson(0.4, (4000, 6)).astype(float)
    counts[7, 2] = counts[1207, 4] = bad
    trials = counts.reshape(20, 200, 6)
    number = r"\(counted from 0; 2 such in all\)"
    of_session = BAD_COUNTS[bad].format(rf"bin 7, unit 2 {number}")
    of_trials = BAD_COUNTS[bad].format(rf"trial 0, bin 7, unit 2 {number}")
    np.save(tmp_path / "a.npy", counts.T)
    np.savez(tmp_path / "b.npz", spikes=trials, other=1)
    write_struct_array(tmp_path / "c.mat", trials)
    for name, axes, said in (
        ("a.npy", "units,time", rf"a\.npy: {of_session}"),
        ("b.npz", "trials,time,units", rf"b\.npz: spikes: {of_trials}"),
        ("c.mat", "time,units", rf"c\.mat: spikes: {of_trials}"),
    ):
        with pytest.raises(RecordingError, match=said):
            Recording.read(tmp_path / name, axes=axes, bin_ms=1.0)
    with pytest.raises(RecordingError, match=f"the trials: {of_trials}"):
        Recording.of(list(trials), bin_ms=1.0)
    with pytest.raises(RecordingError, match=f"the array: {of_session}"):
        Recording.of(counts, bin_ms=1.0, axes="time,units")
