"""What is said where no unit or no window is left: the cause, with its numbers, and all that was left out."""

from __future__ import annotations

import numpy as np
import pytest

from lfads_tf2 import Recording
from lfads_tf2.recordings import RecordingError, command
from lfads_tf2.recordings.recording import Table, unit_table
from recordings.made import TRIALS, nwb_file, spikes, times_of_trial


def said(recording, **options) -> str:
    with pytest.raises(RecordingError) as error:
        recording.cut(**options)
    return str(error.value)


def test_counts_that_are_all_zero(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((20, 50, 6), np.uint8))
    words = ["--axes", "trials,time,units", "--stored-bin-ms", "10", "-o", str(tmp_path / "data")]
    with pytest.raises(RecordingError, match="all 6 units are silent in every window: their counts are 0; look at"):
        command.main([str(tmp_path / "a.npy"), *words])
    whole = Recording.of(np.zeros((500, 6), np.uint8), bin_ms=10.0, axes="time,units")
    assert "all 6 units are silent in every window: their counts are 0" in said(whole, chop=1000.0)


def test_stored_bins_in_seconds():
    counts = np.random.default_rng(0).poisson(0.4, (20, 80, 6))
    text = said(Recording.of(counts, bin_ms=0.01, axes="trials,time,units"), bin_ms=10.0)
    assert "trials last 0.8 ms at most, and a bin is 10 ms; choose smaller bins, and look at the units of time" in text


@pytest.mark.parametrize("options", [{}, {"align": "go", "window": (-200.0, 600.0)}])
def test_trials_in_ms_and_spikes_in_seconds(tmp_path, options):
    rows = [{name: 1000 * time for name, time in times_of_trial(n).items()} for n in range(TRIALS)]
    rows[0]["result"] = "F"
    recording = Recording.read(nwb_file(tmp_path / "a.nwb", trials=rows, series=False))
    text = said(recording, where="result == 'R'", bin_ms=1000.0 if not options else 10.0, **options)
    assert "all 5 units are silent in every window; 0 of 4500 spikes lie in the windows, which begin from 3" in text
    assert "the last spike is at 59.9" in text and "are all times in seconds, of one clock?" in text
    assert "left out: 1 trial (not result == 'R'): 0" in text and "unobserved" not in text


def test_intervals_in_units_that_are_too_small():
    starts = np.arange(20.0)
    table = Table({"start_time": starts, "stop_time": starts + 0.0008}, np.arange(20))
    recording = Recording(unit_table(5), spikes(), tables={"trials": table})
    assert "trials last 0.8 ms at most, and a bin is 10 ms" in said(recording)


@pytest.mark.parametrize(
    "policy, left", [("drop-unit", "2 units"), ("drop-trial", "20 windows"), ("nan", "20 windows")]
)
def test_nothing_that_was_observed(policy, left):
    first, second = np.array([[0.0, 25.0]]), np.array([[25.0, 60.0]])
    observed = [first + 60, second + 60] if policy == "nan" else [first, second]
    table = Table({"start_time": np.arange(20.0) * 2}, np.arange(20))
    recording = Recording(unit_table(2), spikes()[:2], tables={"trials": table}, observed=observed)
    text = said(recording, window=(0.0, 1000.0), unobserved=policy)
    assert f"none of the {left} is left; " in text and "look at when units were observed" in text
    assert ("use --unobserved nan, or" in text) == (policy != "nan")
    assert "left out: " in text and "observed" in text.partition("left out: ")[2]


def test_units_that_were_not_chosen_are_not_counted():
    units = Table({"good": np.array([1, 0])}, np.arange(2))
    table = Table({"start_time": np.arange(20.0)}, np.arange(20))
    recording = Recording(units, [np.arange(30.0, 50.0), np.arange(0, 20, 0.1)], tables={"trials": table})
    text = said(recording, units="good == 1", window=(0.0, 500.0))
    assert "all 1 units are silent in every window; 0 of 20 spikes lie in the windows" in text
